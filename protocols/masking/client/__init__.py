"""The client of secure aggregation: a machine without I/O."""
