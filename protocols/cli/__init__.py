"""The `secagg` command."""
