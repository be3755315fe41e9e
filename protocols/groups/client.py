"""A client of a draw: commits to a nonce, shows it, and computes its group itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Self

import msgspec

from secagg.errors import ContradictoryRequest, MalformedMessage, ParameterError, StateError, UnexpectedMessage
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import Identity

from ..core.dumps import decode_state, encode_state
from ..core.framing import fingerprint
from ..core.one_copy import OneCopy
from .drawing import NONCE_BYTES, Groups, Terms, coin_of, deal, nonce_statement
from .messages import Commitment, Commitments, Invitation, Message, Nonce, Nonces, Settled, ToClient, decode, encode
from .past_draws import PastDraws


class DrawPhase(StrEnum):
    """What a client has done last."""

    NEW = "new"
    COMMITTED = "committed"
    SHOWN = "shown"
    SETTLED = "settled"
    ABORTED = "aborted"


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    terms: bytes
    number: int
    data: str
    phase: DrawPhase
    run: bytes
    nonce: bytes
    all: bytes
    commitments: tuple[bytes, ...]
    coin: bytes
    asked: bytes
    answer: bytes

    def __repr__(self) -> str:  # the nonce is secret until it is shown
        return f"_State({self.phase})"


class GroupClient(OneCopy):
    """One client in one draw. It believes the server nothing: terms, its own part, and all signatures are checked.

    To outlive its process, store `dump` and that of `past` before an answer leaves; a restored one has it as `answer`.

    Args:
        terms: what this client agreed to, known before the draw.
        identity: of this client; its public key is one of the participants'.
        past: what this client remembers of draws; it is asked and told.
        data: the client's own name for what it will hand in: see `PastDraws`.
        random: where the nonce comes from.

    Raises:
        ParameterError: no participant has this identity.
        ContradictoryRequest: the data are in a group already, or too many draws were broken off.
    """

    def __init__(
        self, terms: Terms, identity: Identity, past: PastDraws, data: str, *, random: RandomBytes = SYSTEM
    ) -> None:
        numbers = {key: number for number, key in terms.participants.numbered_keys().items()}
        if identity.public_bytes not in numbers:
            raise ParameterError("none of the participants has this client's public key")
        past.check(data)
        self._terms, self._identity, self._past, self._data = terms, identity, past, data
        self._number = numbers[identity.public_bytes]
        self._random = random
        self._phase = DrawPhase.NEW
        self._run = self._nonce = self._all = self._asked = self._answer = b""
        self._commitments: tuple[bytes, ...] = ()
        self._groups: Groups | None = None
        self._stepping = threading.Lock()
        self._stay_in_process()

    @property
    def phase(self) -> DrawPhase:
        """What this client has done last."""
        return self._phase

    @property
    def ended(self) -> bool:
        """Whether it has nothing more to say."""
        return self._phase in (DrawPhase.SETTLED, DrawPhase.ABORTED)

    @property
    def groups(self) -> Groups:
        """Who is in which group. Raises StateError until it is settled."""
        if self._groups is None:
            raise StateError(f"the groups are not settled: this client is {self._phase}")
        return self._groups

    @property
    def answer(self) -> bytes:
        """What it said last, to be sent again if that was lost; empty before the first answer."""
        return self._answer

    def dump(self) -> bytes:
        """Return what is needed to go on in another process; as secret as the nonce, until that is shown."""
        with self._stepping:
            state = _State(
                self._terms.digest,
                self._number,
                self._data,
                self._phase,
                self._run,
                self._nonce,
                self._all,
                self._commitments,
                b"" if self._groups is None else self._groups.coin,
                self._asked,
                self._answer,
            )
        return encode_state(state)

    @classmethod
    def load(cls, terms: Terms, identity: Identity, past: PastDraws, dumped: bytes) -> Self:
        """Return the client that was dumped.

        An older dump shows no nonce twice, since `past` knows the run: restore that as it was last.

        Args:
            terms: as on construction.
            identity: of this client.
            past: its memory.
            dumped: by `dump`.

        Raises:
            StateError: the bytes are no such dump, were damaged, or are of another client or of other terms.
        """
        state = decode_state(dumped, _State)
        made = cls(terms, identity, PastDraws(), state.data)
        if (state.terms, state.number) != (terms.digest, made._number):
            raise StateError("the dump is of another client, or of a draw by another plan or of other participants")
        made._past, made._phase = past, state.phase
        made._run, made._nonce, made._all = state.run, state.nonce, state.all
        made._asked, made._answer, made._commitments = state.asked, state.answer, state.commitments
        made._groups = deal(terms.plan, terms.participants, state.coin) if state.coin else None
        return made

    def respond(self, data: bytes) -> bytes:
        """Answer a message of the server's. The same bytes again get the same answer, and count for nothing.

        Raises:
            MalformedMessage, UnexpectedMessage: not a message for this client at this time; nothing changes.
            ContradictoryRequest: other terms than agreed, a redraw over the same data, or this client's own part was
                altered. The draw is over for this client, as after the next.
            AuthenticationFailed: what is said to be another's is not, or was said after other commitments.
        """
        self._stay_in_process()
        with self._stepping:
            message: Message = decode(data, ToClient, self._terms.plan.num_clients)
            asked = fingerprint(data)
            if self._answer and asked == self._asked:  # what was said may have been lost on its way
                return self._answer
            if self._phase is not DrawPhase.NEW and message.run != self._run:
                raise UnexpectedMessage("the message is of another draw")
            match self._phase, message:
                case DrawPhase.NEW, Invitation():
                    self._step(DrawPhase.COMMITTED, lambda: self._commit(message))
                case DrawPhase.COMMITTED, Commitments():
                    self._in_full(message.commitments, message.signatures)
                    self._step(DrawPhase.SHOWN, lambda: self._show(message))
                case DrawPhase.SHOWN, Nonces():
                    self._in_full(message.nonces, message.signatures)
                    self._step(DrawPhase.SETTLED, lambda: self._settle(message))
                case _:
                    raise UnexpectedMessage(f"this client is {self._phase} and expects no {type(message).__name__}")
            self._asked = asked
            return self._answer

    def _step(self, reached: DrawPhase, take: Callable[[], Message]) -> None:
        self._phase = DrawPhase.ABORTED
        self._answer = b""
        self._answer = encode(take())
        self._phase = reached

    def _commit(self, message: Invitation) -> Commitment:
        if message.terms != self._terms.digest:
            raise ContradictoryRequest(
                "invited to draw groups by another plan, or with other participants, than this client knows"
            )
        self._past.check(self._data, message.run)
        self._run, self._nonce = message.run, self._random(NONCE_BYTES)
        commitment = self._terms.commitment(self._run, self._number, self._nonce)
        statement = self._terms.commitment_statement(self._run, self._number, commitment)
        self._commitments = (commitment,)
        return Commitment(self._run, self._number, commitment, self._identity.sign(statement))

    def _show(self, message: Commitments) -> Nonce:
        if message.commitments[self._number - 1] != self._commitments[0]:
            raise ContradictoryRequest("shown another commitment as this client's own")
        for number, (commitment, signature) in enumerate(
            zip(message.commitments, message.signatures, strict=True), start=1
        ):
            statement = self._terms.commitment_statement(self._run, number, commitment)
            self._terms.check_signature(number, statement, signature)
        self._past.show(self._run, self._data)
        self._commitments = message.commitments
        self._all = self._terms.commitments(self._run, message.commitments)
        signature = self._identity.sign(nonce_statement(self._all, self._number, self._nonce))
        return Nonce(self._run, self._number, self._nonce, signature)

    def _settle(self, message: Nonces) -> Settled:
        if message.nonces[self._number - 1] != self._nonce:
            raise ContradictoryRequest("shown another nonce as this client's own")
        for number, (nonce, signature) in enumerate(zip(message.nonces, message.signatures, strict=True), start=1):
            self._terms.check_nonce(self._run, number, nonce, self._commitments[number - 1])
            self._terms.check_signature(number, nonce_statement(self._all, number, nonce), signature)
        coin = coin_of(self._all, message.nonces)
        self._past.settle(self._run, self._data, coin)
        self._groups = deal(self._terms.plan, self._terms.participants, coin)
        return Settled(self._run, self._number, coin)

    def _in_full(self, said: Sequence[bytes], signatures: Sequence[bytes]) -> None:
        if not len(said) == len(signatures) == self._terms.plan.num_clients:
            raise MalformedMessage(
                f"{len(said)} entries and {len(signatures)} signatures for {self._terms.plan.num_clients} participants"
            )
