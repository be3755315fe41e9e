"""Encrypted sums: contributors encrypt, an aggregator adds, and a committee opens the sum and nothing else."""

from .aggregator import Aggregator
from .contributor import Contributor, encrypt_update
from .member import CommitteeMember
from .parameters import RoundParameters
from .result import PaillierResult

__all__ = ["Aggregator", "CommitteeMember", "Contributor", "PaillierResult", "RoundParameters", "encrypt_update"]
