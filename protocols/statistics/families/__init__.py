"""Statistics by family: the totals that each needs, how a site counts them, and what their sums tell."""
