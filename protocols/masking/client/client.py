"""The client of a session: a sans-I/O state machine, messages in, messages out.

Source: Bonawitz et al. 2017, figure 4 (complete graph, malicious server), and Bell et al. 2020, algorithm 2 (sparse
graph). One step a phase; each validates the whole message, computes, and only then moves on to the next state, which
holds the secrets that are still needed and no others. A step that fails ends the session for this client.

What protects the client: it derives its neighbours itself; it never gives out both shares of one peer, answers each
request once, refuses to call itself dropped or to unmask sums that are too small, and against a server that may
equivocate gives nothing before enough neighbours are shown to have signed the same story.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, final

import msgspec

from secagg.errors import StateError, UnexpectedMessage
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import Identity

from ...core import dumps
from ...core.machine import GivenInputs, take_inputs
from ...core.numbers import whole
from ...core.one_copy import OneCopy
from ...core.participants import Participants
from .. import wire
from ..config import RoundConfig
from ..messages import (
    InputRequest,
    Invitation,
    Message,
    Roster,
    ShareDelivery,
    SurvivorList,
    ToClient,
    UnmaskingRequest,
)
from ..policy import ClientPolicy
from ..transitions import CLIENT_TRANSITIONS, ClientPhase
from . import steps
from .state import Aborted, Accepted, Advertised, ClientState, Confirmed, Invited, Masked, Session, Shared

_Step = Callable[[steps.Party, Any, Any], tuple[ClientState, Message]]

_STEPS: dict[tuple[type[Any], type[Any]], _Step] = {
    (Invited, Invitation): steps.advertise,
    (Advertised, Roster): steps.share,
    (Shared, ShareDelivery): steps.accept,
    (Masked, SurvivorList): steps.confirm,
    (Masked, UnmaskingRequest): steps.unmask_unconfirmed,
    (Confirmed, UnmaskingRequest): steps.unmask_confirmed,
}
"""The step for a state and a message, but for the message that asks for the inputs."""


class _Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """The state, and the last answer with the fingerprint of the message that it answers."""

    state: ClientState
    request: bytes = b""
    answer: bytes = b""

    def __repr__(self) -> str:  # states are secret
        return f"_Memory({self.state!r})"


class _Dump(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    policy: ClientPolicy
    memory: _Memory

    def __repr__(self) -> str:
        return "_Dump(...)"


@final
class Client(OneCopy):
    """One client in one session; a `core.machine.Participant`.

    Args:
        policy: what the client demands of the round.
        identity: signs in malicious-server sessions.
        participants: everyone by name with their public keys, known beforehand, for malicious-server sessions.
        random: where keys, seeds, coefficients, nonces, rounding and noise come from.
        threads: for masking; as many as there are processors when None.

    Attributes:
        num_clipped: name of a vector -> how many coordinates its clip has changed, once inputs were masked: all of a
            private vector that was scaled down or not finite, or of counts that were too many. Not part of a dump.

    Security: one object, one session. Transports authenticate the server, and keep what clients send from each other.
    """

    def __init__(
        self,
        *,
        policy: ClientPolicy | None = None,
        identity: Identity | None = None,
        participants: Participants | None = None,
        random: RandomBytes = SYSTEM,
        threads: int | None = None,
    ) -> None:
        self.num_clipped: dict[str, int] = {}
        threads = None if threads is None else whole(threads, "threads", 1)
        self._party = steps.Party(policy or ClientPolicy(), identity, participants, random, threads)
        self._memory = _Memory(Invited())
        self._stepping = threading.Lock()
        self._changing = threading.Lock()
        self._stay_in_process()

    @property
    def number(self) -> int:
        """What the client is called on the wire, 1 to n; 0 before the invitation and after the end."""
        session = _session(self._memory.state)
        return session.number if session else 0

    @property
    def config(self) -> RoundConfig | None:
        """What the session is about, once it has met the client's policy; None before, and after the end."""
        session = _session(self._memory.state)
        return session.config if session else None

    @property
    def phase(self) -> ClientPhase:
        """What the client has done last."""
        return self._memory.state.phase

    @property
    def ended(self) -> bool:
        """Whether the client has nothing more to say."""
        return self.phase in (ClientPhase.COMPLETED, ClientPhase.ABORTED)

    @property
    def outgoing(self) -> bytes:
        """The last answer, to be sent again where it may have been lost; empty if there is none."""
        return self._memory.answer

    def delivered(self) -> None:
        """Forget the last answer, which holds shares at the end: the server has it."""
        with self._alone(), self._changing:
            self._memory = _Memory(self._memory.state)

    def respond(self, data: bytes, inputs: GivenInputs | None = None) -> bytes:
        """Answer a message of the server's.

        Args:
            data: the message. The same bytes again get the same answer, until `delivered`.
            inputs: named vectors and weight, or a function that makes them. They are asked for when the server has
                shown that enough others take part, and not before.

        Raises:
            EncodingError: the inputs cannot be encoded, or are missing; nothing changes. What a function of inputs
                raises goes the same way.
            MalformedMessage: not a message to a client; nothing changes.
            UnexpectedMessage: not for this client, this session or this time; nothing changes.
            ParameterError: the round does not meet the client's policy, or needs identities that the client lacks; the
                session has ended for this client, as for any other error:
            ContradictoryRequest, AuthenticationFailed, ThresholdError: see SPEC section 9.
        """
        with self._alone():
            if self._memory.answer and wire.fingerprint(data) == self._memory.request:
                return self._memory.answer
            session = _session(self._memory.state)
            if isinstance(self._memory.state, Invited) and (model := wire.proposed_model(data)) is not None:
                with self._or_aborted():  # before anything is derived, which a server could make take long
                    self._party.policy.check_model(model)
            limit = wire.max_request_bytes(session.config) if session else wire.MAX_INVITATION_BYTES
            message: ToClient = wire.decode(data, ToClient, max_bytes=limit)
            self._expect(message)
            if _asks_for_inputs(self._memory.state, message):
                return self._mask(data, message, inputs)
            step = _STEPS[type(self._memory.state), type(message)]
            return self._take(data, message, lambda state: step(self._party, state, message))

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process, the last answer and the policy included.

        Identity and participants are not in it. While inputs are being made, it is as before.

        Security: as secret as the keys that it holds. Keep it before the answer that it follows leaves. Restore a dump
        once, and never an older one than the last answer: a second masked input under the same masks would reveal the
        difference of the two.
        """
        self._stay_in_process()
        with self._changing:
            return dumps.encode_state(_Dump(self._party.policy, self._memory))

    @classmethod
    def load(
        cls,
        dumped: bytes,
        *,
        policy: ClientPolicy | None = None,
        identity: Identity | None = None,
        participants: Participants | None = None,
        random: RandomBytes = SYSTEM,
        threads: int | None = None,
    ) -> Client:
        """Restore what `dump` returned; the other arguments as on construction, but for the policy, which is kept.

        Raises:
            StateError: the bytes are no dump of this version, or damaged.
            ParameterError: the session needs identities that are not given, or does not meet the policy that is.
        """
        restored = dumps.decode_state(dumped, _Dump)
        client = cls(
            policy=policy or restored.policy,
            identity=identity,
            participants=participants,
            random=random,
            threads=threads,
        )
        client._memory = restored.memory
        session = _session(restored.memory.state)
        if session is not None:
            client._party.policy.check(session.config)
            client._party.check_identities(session.config, session.number)
        return client

    def __repr__(self) -> str:
        return f"Client(phase={self.phase})"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuse a second thread: two answers to one message would be two inputs under one mask."""
        self._stay_in_process()
        if not self._stepping.acquire(blocking=False):
            raise UnexpectedMessage("the client is answering another message")
        try:
            yield
        finally:
            self._stepping.release()

    @contextmanager
    def _or_aborted(self) -> Iterator[None]:
        """End the session for this client if what is done within fails."""
        try:
            yield
        except BaseException as error:
            with self._changing:
                self._memory = _Memory(Aborted(type(error).__name__))
            raise

    def _expect(self, message: ToClient) -> None:
        """Raise UnexpectedMessage unless the message is for this client, this session and this time."""
        tag = str(type(message).__struct_config__.tag)
        if (self.phase, tag) not in CLIENT_TRANSITIONS:
            raise UnexpectedMessage(f"the client is {self.phase} and expects no {tag}")
        session = _session(self._memory.state)
        if session is None or isinstance(message, Invitation):
            return
        if message.recipient != session.number:
            raise UnexpectedMessage(f"a {tag} for client {message.recipient} reached client {session.number}")
        if message.session_id != session.session_id:
            raise UnexpectedMessage(f"client {session.number} got a {tag} of another session")

    def _mask(self, data: bytes, message: Any, inputs: GivenInputs | None) -> bytes:
        """Answer with the masked inputs, which are made once those who go on are found to be enough."""
        state: Any = self._memory.state
        with self._or_aborted():
            if isinstance(message, ShareDelivery):
                accepted, _ = steps.accept(self._party, state, message)
            else:
                accepted = steps.go_on(self._party, state, message)
        given = take_inputs(inputs if inputs is not None else {})
        session = state.session
        encoded = session.config.encode(
            given.values, given.weight, session_id=session.session_id, random=self._party.random
        )
        vectors = [vector.residues for vector in encoded]
        answer = self._take(data, message, lambda _: steps.mask(self._party, accepted, vectors))
        clipped = (vector.num_clipped for vector in encoded)
        self.num_clipped = dict(zip((spec.name for spec in session.config.vectors), clipped, strict=False))
        return answer

    def _take(self, data: bytes, message: ToClient, compute: Callable[[Any], tuple[ClientState, Message]]) -> bytes:
        """Take one step of the table: all of it, or into Aborted."""
        expected = CLIENT_TRANSITIONS[self.phase, str(type(message).__struct_config__.tag)]
        with self._changing:
            state = self._memory.state
            self._memory = _Memory(Aborted("interrupted"))  # until the step has succeeded
            try:
                following, response = compute(state)
                answer = wire.encode(response)
            except BaseException as error:
                self._memory = _Memory(Aborted(type(error).__name__))
                raise
            if following.phase not in expected:
                raise StateError(f"a step led to {following.phase} instead of {', '.join(expected)}")
            self._memory = _Memory(following, wire.fingerprint(data), answer)
            return answer


def _asks_for_inputs(state: ClientState, message: Message) -> bool:
    """Whether masked inputs answer the message: in malicious sessions only the one after the receipt."""
    session = _session(state)
    receipts = session is not None and session.config.threat_model.adversary.needs_identities
    return isinstance(message, InputRequest if receipts else ShareDelivery)


def _session(state: ClientState) -> Session | None:
    match state:
        case (
            Advertised(session=session) | Shared(session=session) | Accepted(session=session) | Masked(session=session)
        ):
            return session
        case Confirmed(masked=masked):
            return masked.session
        case _:
            return None
