"""Sums of sums, to any depth: a group's operator is a client of the level above, and nothing is rounded twice."""

from .levels import Hierarchy, Learned, Level
from .operator import Operator
from .policy import Consent, LevelPolicy, policy_of
from .total import Total
from .tree import Tree

__all__ = ["Consent", "Hierarchy", "Learned", "Level", "LevelPolicy", "Operator", "Total", "Tree", "policy_of"]
