"""Who says what to whom, and in which order: secure aggregation as state machines without I/O."""
