"""Flower's own log, with the levels that we use: what a node or server says to its operator."""

from flwr.common.logger import log

__all__ = ["ERROR", "INFO", "WARNING", "log"]

INFO = 20
WARNING = 30
ERROR = 40
