"""Statistics over data that stays with its owners."""
