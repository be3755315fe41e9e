"""The server of secure aggregation: a machine without I/O."""

from .server import Server

__all__ = ["Server"]
