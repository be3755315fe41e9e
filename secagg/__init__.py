"""Primitives of secure aggregation: pure functions and small value types; no I/O, no clock, no network.

Modules, each usable alone: `encoding` and `arrays` (floats to residues and back), `residues`, `prg` and `masking`,
`shamir` on `field`, `key_agreement`, `aead`, `signatures`, `derivation`, `errors`; `loops` says when numba is loaded.
"""

from .errors import (
    AuthenticationFailed,
    ContradictoryRequest,
    EncodingError,
    EstimateError,
    InconsistentShares,
    MalformedMessage,
    MissingDependencyError,
    ParameterError,
    PeerError,
    QueryRefused,
    SecAggError,
    StateError,
    ThresholdError,
    UnexpectedMessage,
)

__version__ = "0.1.0"

__all__ = [
    "AuthenticationFailed",
    "ContradictoryRequest",
    "EncodingError",
    "EstimateError",
    "InconsistentShares",
    "MalformedMessage",
    "MissingDependencyError",
    "ParameterError",
    "PeerError",
    "QueryRefused",
    "SecAggError",
    "StateError",
    "ThresholdError",
    "UnexpectedMessage",
]
