"""Encrypted sums: contributors encrypt, an aggregator adds, and a committee opens the sum and nothing else."""

from .aggregator import Aggregator, Result
from .contributor import Contributor, encrypt_update
from .member import CommitteeMember
from .parameters import RoundParameters

__all__ = ["Aggregator", "CommitteeMember", "Contributor", "Result", "RoundParameters", "encrypt_update"]
