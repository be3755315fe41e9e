"""Who says what to whom, and in which order: secure aggregation as state machines without I/O.

Read as layers, lowest first: `core`, `reporting` and `inputs`; `masking` and `paillier`; `privacy`; `statistics` and
`groups`; `simulation`; `flower`, `ray` and `service`; `audit`; `cli`. A folder imports from layers beneath its own.
"""

from .core import Adversary, Inputs, Participants, Receipt, ThreatModel, once
from .inputs import FloatVector, IntegerVector, ModelLayout, PrivateCounts, PrivateVector, PrivateVotes
from .masking import (
    Bracket,
    Client,
    ClientPolicy,
    EncodingDemand,
    GraphKind,
    MagnitudeCounts,
    PrivacyDemand,
    RoundConfig,
    RoundResult,
    Server,
    warm_up,
)
from .privacy import HistogramPlan, JointPlan, PlannedCounts, PlannedVector, PrivatePlan, weighed

__all__ = [
    "Adversary",
    "Bracket",
    "Client",
    "ClientPolicy",
    "EncodingDemand",
    "FloatVector",
    "GraphKind",
    "HistogramPlan",
    "Inputs",
    "IntegerVector",
    "JointPlan",
    "MagnitudeCounts",
    "ModelLayout",
    "Participants",
    "PlannedCounts",
    "PlannedVector",
    "PrivacyDemand",
    "PrivateCounts",
    "PrivatePlan",
    "PrivateVector",
    "PrivateVotes",
    "Receipt",
    "RoundConfig",
    "RoundResult",
    "Server",
    "ThreatModel",
    "once",
    "warm_up",
    "weighed",
]
