"""What a client contributes: named vectors, and how they are encoded."""

from .codec import VectorCodec
from .models import ModelLayout
from .vectors import FloatVector, IntegerVector, PrivateCounts, PrivateVector, PrivateVotes

__all__ = [
    "FloatVector",
    "IntegerVector",
    "ModelLayout",
    "PrivateCounts",
    "PrivateVector",
    "PrivateVotes",
    "VectorCodec",
]
