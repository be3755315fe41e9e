"""The operator of a group below the highest level: a server to its members, a client to the level above."""

from __future__ import annotations

from typing import final

import msgspec

from secagg.errors import ParameterError, StateError
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import Identity

from ..core import dumps
from ..core.listener import Listener, ignore
from ..core.machine import GivenInputs, Inputs
from ..core.numbers import whole
from ..core.one_copy import OneCopy
from ..core.participants import Participants
from ..masking.client import Client
from ..masking.policy import ClientPolicy
from ..masking.server import Server
from ..masking.transitions import ClientPhase, ServerPhase
from .levels import Hierarchy
from .policy import Consent, policy_of
from .total import Total


class _Dump(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    hierarchy: Hierarchy
    level: int
    policy: ClientPolicy
    consent: Consent
    group: bytes
    above: bytes

    def __repr__(self) -> str:  # both sessions are secret
        return "_Dump(...)"


@final
class Operator(OneCopy):
    """One group's operator in one round: `group` is the session below, and it answers above as a `Participant`.

    It answers the level above from the first message on, and with its total as soon as that is there. A group that ends
    without a sum answers nothing more, and is left out above.

    Args:
        hierarchy: the terms.
        level: of the group, from 0, below the highest.
        members: the group's; with their public keys where the level's adversary is a malicious server.
        policy: the operator's own, as a client of the level above.
        consent: what it demands of all levels.
        identity: of the operator, for a level above whose adversary is a malicious server.
        peers: the operators of the group above, with their public keys, for the same.
        listener: hears of the group's transitions.
        random: where the randomness of both sessions comes from.
        threads: for masking and unmasking; as many as there are processors when None.

    Raises:
        ParameterError: there is no level above, the group has another number of members than its level, or the
            hierarchy is not as demanded.
    """

    def __init__(
        self,
        hierarchy: Hierarchy,
        level: int,
        members: Participants,
        *,
        policy: ClientPolicy | None = None,
        consent: Consent | None = None,
        identity: Identity | None = None,
        peers: Participants | None = None,
        listener: Listener = ignore,
        random: RandomBytes = SYSTEM,
        threads: int | None = None,
    ) -> None:
        self._prepare(hierarchy, level, policy, consent)
        self.group = Server(
            hierarchy.config(level, len(members)), members, listener=listener, random=random, threads=threads
        )
        self._above = Client(
            policy=self._level_policy, identity=identity, participants=peers, random=random, threads=threads
        )

    def _prepare(self, hierarchy: Hierarchy, level: int, policy: ClientPolicy | None, consent: Consent | None) -> None:
        self._stay_in_process()
        level = whole(level, "level", 0)
        if level + 1 >= len(hierarchy.levels):
            raise ParameterError(
                f"nothing is above level {level}: the highest group has a plain Server, and `Total.of` reads its result"
            )
        self._hierarchy, self._level = hierarchy, level
        self._policy, self._consent = policy or ClientPolicy(), consent or Consent()
        self._level_policy = policy_of(hierarchy, level + 1, self._policy, self._consent)

    @property
    def total(self) -> Total:
        """What the group and all below it have come to.

        Raises:
            StateError: there is no sum, or not yet.
            EncodingError: what the members have handed up cannot be.
        """
        return Total.of(self._hierarchy, self._level, self.group.result)

    @property
    def phase(self) -> ClientPhase:
        """What the operator has done last in the session above."""
        return self._above.phase

    @property
    def ended(self) -> bool:
        """Whether the operator has nothing more to say above."""
        return self._above.ended

    @property
    def outgoing(self) -> bytes:
        """The last answer to the level above."""
        return self._above.outgoing

    def respond(self, data: bytes, inputs: GivenInputs | None = None) -> bytes:
        """Answer a message of the level above. Its inputs are the group's total, whatever `inputs` are.

        Raises:
            StateError: the group has ended without a sum, or has none yet and is asked for it; nothing changes.
            EncodingError: what the members have handed up cannot be.
            SecAggError: as `Client.respond`.
        """
        self._stay_in_process()
        if self.group.phase is ServerPhase.ABORTED:
            raise StateError("this group has ended without a sum, and is left out above")
        return self._above.respond(data, self._handed_up)

    def delivered(self) -> None:
        """Forget the last answer: the level above has it."""
        self._above.delivered()

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process, both sessions included. Restore the newest only.

        Security: it holds the group's sum and secrets of both sessions. Keep it before an answer leaves.
        """
        self._stay_in_process()
        above = self._above.dump()  # first: a total that was handed up is never newer than the group
        return dumps.encode_state(
            _Dump(self._hierarchy, self._level, self._policy, self._consent, self.group.dump(), above)
        )

    @classmethod
    def load(
        cls,
        dumped: bytes,
        *,
        identity: Identity | None = None,
        peers: Participants | None = None,
        listener: Listener = ignore,
        random: RandomBytes = SYSTEM,
        threads: int | None = None,
    ) -> Operator:
        """Restore what `dump` returned; the other arguments as on construction.

        Raises:
            StateError: the bytes are no dump of this version, or damaged.
            ParameterError: they are of a hierarchy that is not as demanded, or identities are lacking.
        """
        state = dumps.decode_state(dumped, _Dump)
        made = cls.__new__(cls)
        made._prepare(state.hierarchy, state.level, state.policy, state.consent)
        made.group = Server.load(state.group, listener=listener, threads=threads)
        made._above = Client.load(
            state.above,
            policy=made._level_policy,
            identity=identity,
            participants=peers,
            random=random,
            threads=threads,
        )
        return made

    def __repr__(self) -> str:
        return f"Operator(group={self.group.phase}, above={self.phase})"

    def _handed_up(self) -> Inputs:
        return self.total.handed_up()
