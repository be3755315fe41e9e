"""Secure aggregation by masks: SecAgg (Bonawitz et al. 2017) and SecAgg+ (Bell et al. 2020)."""

from .client import Client
from .config import RoundConfig
from .policy import ClientPolicy, EncodingDemand, PrivacyDemand
from .result import RoundResult
from .server import Server
from .topology import GraphKind

__all__ = [
    "Client",
    "ClientPolicy",
    "EncodingDemand",
    "GraphKind",
    "PrivacyDemand",
    "RoundConfig",
    "RoundResult",
    "Server",
]
