"""Who says what to whom, and in which order: secure aggregation as state machines without I/O."""

from .client import Client
from .configuration import RoundConfig
from .parameters import Adversary, ThreatModel
from .policy import ClientPolicy
from .result import RoundResult
from .server import Server
from .vectors import FloatVector, IntegerVector

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
