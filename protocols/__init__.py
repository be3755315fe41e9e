"""Who says what to whom, and in which order: secure aggregation as state machines without I/O."""

from .client import Client
from .configuration import RoundConfig
from .parameters import Adversary, ThreatModel
from .policy import ClientPolicy, PrivacyDemand
from .private_round import PrivateHistogram, PrivateRound
from .result import RoundResult
from .server import Server
from .vectors import FloatVector, IntegerVector, PrivateCounts, PrivateVector

__all__ = [
    "Adversary",
    "Client",
    "ClientPolicy",
    "FloatVector",
    "IntegerVector",
    "PrivacyDemand",
    "PrivateCounts",
    "PrivateHistogram",
    "PrivateRound",
    "PrivateVector",
    "RoundConfig",
    "RoundResult",
    "Server",
    "ThreatModel",
]
