"""Who says what to whom, and in which order: secure aggregation as state machines without I/O."""

from .client import Client
from .configuration import ClientPolicy, FloatVector, IntegerVector, RoundConfig
from .parameters import Adversary, ThreatModel
from .result import RoundResult
from .server import Server

__all__ = [
    "Adversary",
    "Client",
    "ClientPolicy",
    "FloatVector",
    "IntegerVector",
    "RoundConfig",
    "RoundResult",
    "Server",
    "ThreatModel",
]
