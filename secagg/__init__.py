"""Primitives of secure aggregation: pure functions and small value types; no I/O, no clock, no network."""

__version__ = "0.1.0"
