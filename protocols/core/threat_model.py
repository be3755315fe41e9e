"""Who takes part, and what may go wrong: what every protocol is configured by."""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

from secagg.errors import ParameterError

from .numbers import real, whole

MAX_CLIENTS = 1_000_000


MAX_BAD_FRACTION = 0.9


ROUNDING_SLACK = 1e-14
"""Keeps the rounding error of fraction * n from being magnified by floor or ceil in the unsafe direction."""


class Adversary(StrEnum):
    """What the server, together with the corrupt clients, is assumed to do. Each includes the ones before."""

    CURIOUS_SERVER = "curious-server"
    """Follows the protocol, and learns what it can from what it sees."""
    SEMI_MALICIOUS_SERVER = "semi-malicious-server"
    """Follows the protocol while keys are exchanged; then may tell different clients different stories."""
    MALICIOUS_SERVER = "malicious-server"
    """Does anything; clients know each other's identities beforehand."""

    @property
    def strength(self) -> int:
        """Position in the order of strength, from 0."""
        return list(Adversary).index(self)

    @property
    def may_equivocate(self) -> bool:
        """Whether it may tell different clients different stories, so that thresholds must not be met twice."""
        match self:
            case Adversary.CURIOUS_SERVER:
                return False
            case Adversary.SEMI_MALICIOUS_SERVER | Adversary.MALICIOUS_SERVER:
                return True

    @property
    def needs_identities(self) -> bool:
        """Whether keys are signed and survivors confirmed, on the complete graph."""
        match self:
            case Adversary.CURIOUS_SERVER | Adversary.SEMI_MALICIOUS_SERVER:
                return False
            case Adversary.MALICIOUS_SERVER:
                return True


class ThreatModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Who takes part, and what may go wrong.

    Attributes:
        num_clients: how many clients are invited (n), 2 to 1,000,000.
        corrupt_fraction: the largest fraction of those invited that colludes with the server (gamma).
        dropout_fraction: the largest fraction of them that vanishes, in all rounds together (delta).
        adversary: what the server may do.

    Raises:
        ParameterError: a value is out of range, or the fractions leave too few honest survivors.
    """

    num_clients: int
    corrupt_fraction: float = 0.1
    dropout_fraction: float = 0.1
    adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER

    def __post_init__(self) -> None:
        """Check every field and their sum."""
        set_field = msgspec.structs.force_setattr
        set_field(self, "num_clients", whole(self.num_clients, "num_clients", 2, MAX_CLIENTS))
        for name in ("corrupt_fraction", "dropout_fraction"):
            set_field(self, name, real(getattr(self, name), name, 0, 1))
        if self.adversary not in tuple(Adversary):
            raise ParameterError(f"adversary is {self.adversary!r}, but must be one of {', '.join(Adversary)}")
        set_field(self, "adversary", Adversary(self.adversary))
        curious = not self.adversary.may_equivocate
        bad = self.corrupt_fraction + (1 if curious else 2) * self.dropout_fraction
        if bad > MAX_BAD_FRACTION:
            weight = "" if curious else "2 * "
            raise ParameterError(
                f"corrupt_fraction + {weight}dropout_fraction is {bad:.3g} against a {self.adversary}, but must be at "
                f"most {MAX_BAD_FRACTION}: assume fewer corrupt clients or dropouts"
            )

    @property
    def max_corrupt(self) -> int:
        """The largest number of corrupt clients: floor(gamma n)."""
        return math.floor((self.corrupt_fraction + ROUNDING_SLACK) * self.num_clients)

    @property
    def max_dropouts(self) -> int:
        """The largest number of dropouts: floor(delta n)."""
        return math.floor((self.dropout_fraction + ROUNDING_SLACK) * self.num_clients)

    @property
    def min_survivors(self) -> int:
        """The number of clients that are left when all dropouts have happened: ceil((1 - delta) n)."""
        return math.ceil((1 - self.dropout_fraction - ROUNDING_SLACK) * self.num_clients)
