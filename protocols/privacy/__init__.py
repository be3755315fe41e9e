"""Private rounds: planned from a goal, and paid for from a ledger."""
