"""The client of secure aggregation: a machine without I/O."""

from .client import Client

__all__ = ["Client"]
