"""The comparison: ours against peers and physical limits on this machine, in one run, and a report of it."""
