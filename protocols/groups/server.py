"""The server of a draw: collects commitments, then nonces. It has no say in who is in which group."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from enum import StrEnum
from typing import Self

import msgspec

from secagg.errors import MalformedMessage, PeerError, StateError, ThresholdError, UnexpectedMessage
from secagg.randomness import SYSTEM, RandomBytes

from ..core.dumps import decode_state, encode_state
from ..core.machine import Receipt
from .drawing import NONCE_BYTES, Groups, Terms, coin_of, deal, nonce_statement
from .messages import (
    Commitment,
    Commitments,
    Invitation,
    Message,
    Nonce,
    Nonces,
    Settled,
    ToClient,
    ToServer,
    decode,
    encode,
)


class ServerDrawPhase(StrEnum):
    """What the server of a draw collects, or how it ended."""

    COMMITMENTS = "commitments"
    NONCES = "nonces"
    SETTLEMENT = "settlement"
    COMPLETED = "completed"
    ABORTED = "aborted"


_EXPECTED: Mapping[ServerDrawPhase, type[Message]] = {
    ServerDrawPhase.COMMITMENTS: Commitment,
    ServerDrawPhase.NONCES: Nonce,
    ServerDrawPhase.SETTLEMENT: Settled,
}


_SHOWN = 5
"""So many who said nothing an error names."""


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    terms: bytes
    run: bytes
    phase: ServerDrawPhase
    said: dict[ServerDrawPhase, list[bytes]]
    excluded: dict[str, str]
    commitments: bytes
    outgoing: bytes
    coin: bytes


class GroupServer:
    """One draw, driven as other coordinators are: `outgoing`, `receive`, `close_phase`.

    Everyone must commit and show its nonce, or there are no groups. Who does not commit can be left out of the terms of
    another draw: nothing was shown. Who commits and holds its nonce back ends the draw, too, and that draw counts: see
    `PastDraws`. To outlive its process, store `dump` before a message of a new phase leaves, and before a receipt does.

    Args:
        terms: as the clients know them.
        random: where the name of the run comes from, 32 bytes.
    """

    def __init__(self, terms: Terms, *, random: RandomBytes = SYSTEM) -> None:
        self._terms = terms
        self._run = random(NONCE_BYTES)
        self._phase = ServerDrawPhase.COMMITMENTS
        self._said: dict[ServerDrawPhase, dict[int, Message]] = {phase: {} for phase in _EXPECTED}
        self._excluded: dict[str, str] = {}
        self._commitments = b""
        self._outgoing: Message | None = Invitation(self._run, terms.digest)
        self._result: Groups | None = None
        self._lock = threading.RLock()

    @property
    def phase(self) -> ServerDrawPhase:
        """Which phase is being collected, or how the draw ended."""
        return self._phase

    @property
    def ended(self) -> bool:
        """Whether the draw is over."""
        return self._phase in (ServerDrawPhase.COMPLETED, ServerDrawPhase.ABORTED)

    @property
    def awaited(self) -> frozenset[str]:
        """Who may still answer in this phase."""
        with self._lock:
            if self.ended:
                return frozenset()
            answered = self._terms.participants.named(self._said[self._phase])
            return frozenset(self._terms.participants) - answered - self._excluded.keys()

    @property
    def excluded(self) -> dict[str, str]:
        """Whose messages were bad, and why: the draw cannot succeed with them."""
        with self._lock:
            return dict(self._excluded)

    @property
    def shown(self) -> bool:
        """Whether clients were asked for their nonces; from then on the draw counts for them."""
        return self._phase not in (ServerDrawPhase.COMMITMENTS, ServerDrawPhase.ABORTED) or bool(self._commitments)

    @property
    def result(self) -> Groups:
        """Who is in which group. Raises StateError before the nonces are there, or if the draw was aborted."""
        if self._result is None:
            raise StateError(f"there are no groups: the draw is in {self._phase}")
        return self._result

    def outgoing(self) -> Mapping[str, bytes]:
        """Return what each participant is to be sent in this phase; it stays the same until `close_phase`."""
        with self._lock:
            data = None if self._outgoing is None else encode(self._outgoing)
        return {} if data is None else dict.fromkeys(self._terms.participants, data)

    def receive(self, sender: str, data: bytes) -> Receipt:
        """Take in what a participant sent; `sender` is who the transport authenticated.

        Raises:
            MalformedMessage, AuthenticationFailed: the content is bad. The sender is excluded, if it was awaited.
            UnexpectedMessage: another draw's, another's, a second one that differs, or from a stranger.
        """
        with self._lock:
            if sender not in self._terms.participants:
                raise UnexpectedMessage("a message from none of the participants", culprits={sender})
            try:
                return self._take(sender, decode(data, ToServer, self._terms.plan.num_clients))
            except PeerError as error:
                if sender in self.awaited and not isinstance(error, UnexpectedMessage):
                    self._excluded[sender] = error.reason
                raise type(error)(error.reason, culprits={sender}) from None

    def close_phase(self) -> None:
        """End the phase, and begin the next.

        Raises:
            ThresholdError: somebody, whom it names (`missing`), did not answer; there are no groups by this draw.
            StateError: the draw is over.
        """
        with self._lock:
            if self.ended:
                raise StateError(f"the draw is {self._phase}")
            said, count = self._said[self._phase], len(self._terms.participants)
            if self._phase is ServerDrawPhase.SETTLEMENT:
                self._phase, self._outgoing = ServerDrawPhase.COMPLETED, None
                return
            if len(said) < count:
                phase, self._phase, self._outgoing = self._phase, ServerDrawPhase.ABORTED, None
                missing = sorted(frozenset(self._terms.participants) - self._terms.participants.named(said))
                named = ", ".join(map(repr, missing[:_SHOWN])) + (", ..." if len(missing) > _SHOWN else "")
                raise ThresholdError(
                    f"{len(missing)} of {count} participants said nothing of use in {phase}, {named}: leave them out "
                    "of the next draw",
                    needed=count,
                    have=len(said),
                    missing=missing,
                )
            in_order = [said[number] for number in sorted(said)]
            if self._phase is ServerDrawPhase.COMMITMENTS:
                made = [(m.commitment, m.signature) for m in in_order if isinstance(m, Commitment)]
                self._commitments = self._terms.commitments(self._run, (commitment for commitment, _ in made))
                self._outgoing = Commitments(self._run, *map(tuple, zip(*made, strict=True)))
                self._phase = ServerDrawPhase.NONCES
            else:
                shown = [(m.nonce, m.signature) for m in in_order if isinstance(m, Nonce)]
                self._outgoing = Nonces(self._run, *map(tuple, zip(*shown, strict=True)))
                coin = coin_of(self._commitments, (nonce for nonce, _ in shown))
                self._result = deal(self._terms.plan, self._terms.participants, coin)
                self._phase = ServerDrawPhase.SETTLEMENT

    def dump(self) -> bytes:
        """Return the draw as bytes, for `load`. They hold no secret that the server keeps from anybody."""
        with self._lock:
            said = {phase: [encode(said[number]) for number in sorted(said)] for phase, said in self._said.items()}
            outgoing = b"" if self._outgoing is None else encode(self._outgoing)
            coin = b"" if self._result is None else self._result.coin
            state = _State(
                self._terms.digest,
                self._run,
                self._phase,
                said,
                self._excluded,
                self._commitments,
                outgoing,
                coin,
            )
            return encode_state(state)

    @classmethod
    def load(cls, terms: Terms, dumped: bytes) -> Self:
        """Return the server that was dumped: it sends what it sent, and takes what is left to say.

        Raises:
            StateError: the bytes are no such dump, were damaged, or are of a draw by other terms.
        """
        state = decode_state(dumped, _State)
        if state.terms != terms.digest:
            raise StateError("the dump is of a draw by another plan, or of other participants")
        count, made = terms.plan.num_clients, cls(terms)
        made._run, made._phase, made._excluded = state.run, state.phase, state.excluded
        for phase, said in state.said.items():
            messages: list[Commitment | Nonce | Settled] = [decode(data, ToServer, count) for data in said]
            made._said[phase] = {message.sender: message for message in messages}
        made._commitments = state.commitments
        made._outgoing = decode(state.outgoing, ToClient, count) if state.outgoing else None
        made._result = deal(terms.plan, terms.participants, state.coin) if state.coin else None
        return made

    def _take(self, sender: str, message: Commitment | Nonce | Settled) -> Receipt:
        number = self._terms.participants.number(sender)
        if message.run != self._run or message.sender != number:
            raise UnexpectedMessage("a message of another draw, or of another participant")
        phase = next(phase for phase, kind in _EXPECTED.items() if isinstance(message, kind))
        if number in self._said[phase]:
            if self._said[phase][number] == message:
                return Receipt.DUPLICATE
            raise UnexpectedMessage("a second message that differs from the first")
        if sender in self._excluded:
            raise UnexpectedMessage("its messages were refused before")
        if phase is not self._phase:
            if self.ended or list(_EXPECTED).index(phase) < list(_EXPECTED).index(self._phase):
                return Receipt.LATE
            raise UnexpectedMessage(f"the draw is in {self._phase}, which has no {type(message).__name__}")
        self._check(number, message)
        self._said[phase][number] = message
        return Receipt.ACCEPTED

    def _check(self, number: int, message: Commitment | Nonce | Settled) -> None:
        terms = self._terms
        match message:
            case Commitment():
                statement = terms.commitment_statement(self._run, number, message.commitment)
                terms.check_signature(number, statement, message.signature)
            case Nonce():
                committed = self._said[ServerDrawPhase.COMMITMENTS][number]
                if isinstance(committed, Commitment):
                    terms.check_nonce(self._run, number, message.nonce, committed.commitment)
                statement = nonce_statement(self._commitments, number, message.nonce)
                terms.check_signature(number, statement, message.signature)
            case Settled():
                if message.coin != self.result.coin:
                    raise MalformedMessage("settled by another coin than this draw's")
