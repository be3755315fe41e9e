"""Secure aggregation by masks: SecAgg (Bonawitz et al. 2017) and SecAgg+ (Bell et al. 2020)."""

from .client import Client
from .config import RoundConfig
from .policy import ClientPolicy, EncodingDemand, PrivacyDemand
from .quantiles import Bracket, MagnitudeCounts
from .result import RoundResult
from .server import Server
from .topology import GraphKind
from .warming import warm_up

__all__ = [
    "Bracket",
    "Client",
    "ClientPolicy",
    "EncodingDemand",
    "GraphKind",
    "MagnitudeCounts",
    "PrivacyDemand",
    "RoundConfig",
    "RoundResult",
    "Server",
    "warm_up",
]
