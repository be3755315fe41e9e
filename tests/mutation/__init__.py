"""Mutation testing of what security hangs on: `make mutation`; the scores and the survivors are in REPORT.md."""
