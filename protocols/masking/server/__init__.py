"""The server of secure aggregation: a machine without I/O."""
