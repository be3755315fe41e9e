"""Who says what to whom, and in which order: secure aggregation as state machines without I/O."""

from .inputs.vectors import FloatVector, IntegerVector, PrivateCounts, PrivateVector
from .masking.client.client import Client
from .masking.config import RoundConfig
from .masking.policy import ClientPolicy, PrivacyDemand
from .masking.result import RoundResult
from .masking.server.server import Server
from .masking.topology import Adversary, ThreatModel
from .privacy.plans import PrivateHistogram, PrivateRound

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
