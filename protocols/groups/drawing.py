"""What both sides of a draw compute: terms, what is committed to and signed, the coin, and who is in which group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from secagg import signatures
from secagg.derivation import Label, digest, frame
from secagg.errors import AuthenticationFailed, ParameterError
from secagg.prg import keystream

from ..core.participants import Participants
from .plan import GroupPlan

NONCE_BYTES = 32
_WORD_BYTES = 16


@dataclass(frozen=True)
class Terms:
    """What a draw is about: the plan, and everyone who is dealt to groups, with identities.

    Raises:
        ParameterError: the plan is for another number of participants, or one has no key.
    """

    plan: GroupPlan
    participants: Participants

    def __post_init__(self) -> None:
        """Refuse a plan for others, and participants whom a server could make up."""
        _check_number(self.plan, self.participants)
        if len(self.participants.keys) != len(self.participants):
            raise ParameterError(
                "groups are drawn by participants that know each other's identities: give "
                "Participants({name: public key, ...})"
            )

    @cached_property
    def digest(self) -> bytes:
        """What tells these terms from any others."""
        keys = self.participants.numbered_keys()
        table = b"".join(_id(number) + keys[number] for number in sorted(keys))
        return digest(Label.GROUPS_TERMS, self.plan.written(), table)

    def commitment(self, run: bytes, number: int, nonce: bytes) -> bytes:
        """Return the commitment to a nonce, which it hides: 32 uniform bytes."""
        return digest(Label.GROUPS_COMMITMENT, run, self.digest, _id(number), nonce)

    def commitment_statement(self, run: bytes, number: int, commitment: bytes) -> bytes:
        """Return what an identity signs when it commits."""
        return frame(Label.SIGN_GROUPS_COMMITMENT, run, self.digest, _id(number), commitment)

    def commitments(self, run: bytes, commitments: Iterable[bytes]) -> bytes:
        """Return a digest of everyone's commitments, in order of numbers."""
        return digest(Label.GROUPS_COMMITMENTS, run, self.digest, b"".join(commitments))

    def check_signature(self, number: int, statement: bytes, signature: bytes) -> None:
        """Return if a participant signed this; raise AuthenticationFailed if not."""
        try:
            signatures.verify(self.participants.key(number), statement, signature)
        except AuthenticationFailed:
            raise AuthenticationFailed(
                f"what is said to come from {self.participants.name(number)!r} is not signed by it, in this draw and "
                "after these commitments"
            ) from None

    def check_nonce(self, run: bytes, number: int, nonce: bytes, commitment: bytes) -> None:
        """Return if this is what a participant committed to; raise AuthenticationFailed if not."""
        if self.commitment(run, number, nonce) != commitment:
            raise AuthenticationFailed(
                f"a nonce in the name of {self.participants.name(number)!r} is not what was committed to"
            )


@dataclass(frozen=True)
class Groups:
    """Who is in which group of a run.

    Attributes:
        coin: 32 bytes that it follows from.
        members: of each group, with their identities.
    """

    coin: bytes
    members: tuple[Participants, ...]

    def of(self, name: str) -> int:
        """Return the place of a participant's group, from 0; raise ParameterError for a stranger."""
        for place, group in enumerate(self.members):
            if name in group:
                return place
        raise ParameterError(f"{name!r} is in none of the {len(self.members)} groups")


def deal(plan: GroupPlan, participants: Participants, coin: bytes) -> Groups:
    """Return who is in which group: everyone, sorted by 16 bytes each of the coin's stream, cut into the sizes.

    Args:
        plan: for as many.
        participants: with identities or without.
        coin: 32 bytes, uniform: the joint coin of a draw (`coin_of`).

    Raises:
        ParameterError: the plan is for another number.
    """
    names, keys = participants.names, participants.keys
    _check_number(plan, participants)
    stream = keystream(coin, _WORD_BYTES * len(names))
    words = [stream[at : at + _WORD_BYTES] for at in range(0, len(stream), _WORD_BYTES)]
    order = iter(sorted(range(len(names)), key=lambda place: (words[place], place)))
    members = ([names[place] for place in islice(order, size)] for size in plan.sizes)
    made = (Participants({name: keys[name] for name in group} if keys else group) for group in members)
    return Groups(coin, tuple(made))


def nonce_statement(commitments: bytes, number: int, nonce: bytes) -> bytes:
    """Return what an identity signs when it shows its nonce: the digest of everyone's commitments is in it."""
    return frame(Label.SIGN_GROUPS_NONCE, commitments, _id(number), nonce)


def coin_of(commitments: bytes, nonces: Iterable[bytes]) -> bytes:
    """Return the joint coin: uniform if one nonce is, for all were chosen before any was shown."""
    return digest(Label.GROUPS_COIN, commitments, b"".join(nonces))


def _check_number(plan: GroupPlan, participants: Participants) -> None:
    if len(participants) != plan.num_clients:
        raise ParameterError(
            f"the plan is for {plan.num_clients} clients, but there are {len(participants)} participants"
        )


def _id(number: int) -> bytes:
    return number.to_bytes(4, "big")
