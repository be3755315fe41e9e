"""Everyone in one process: what commands, the audit, tests and benchmarks drive."""
