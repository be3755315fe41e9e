"""Encrypted sums: contributors encrypt, an aggregator adds, and a committee opens the sum and nothing else."""

from .aggregator import Aggregator
from .contributor import Contributor, encrypt_update
from .key_use import KeyUse
from .member import CommitteeMember
from .parameters import RoundParameters
from .result import PaillierResult
from .state import EncryptedUpdate

__all__ = [
    "Aggregator",
    "CommitteeMember",
    "Contributor",
    "EncryptedUpdate",
    "KeyUse",
    "PaillierResult",
    "RoundParameters",
    "encrypt_update",
]
