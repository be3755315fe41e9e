"""What a client contributes: named vectors, and how they are encoded."""

from .vectors import FloatVector, IntegerVector, PrivateCounts, PrivateVector

__all__ = ["FloatVector", "IntegerVector", "PrivateCounts", "PrivateVector"]
