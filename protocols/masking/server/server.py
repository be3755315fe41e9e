"""The server of a session: a sans-I/O state machine that collects clients' messages and closes phases.

Source: Bonawitz et al. 2017, figure 4, and Bell et al. 2020, algorithm 2. Time is the caller's: it hands in what
arrives with `receive`, and calls `close_phase` when all have answered or it will not wait any longer. Whoever sends a
bad message is out of the session; the others go on. Inputs are added as they arrive; none is kept. Threads may call any
method at any time: steps are taken one after another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import final

import msgspec
import numpy as np

from secagg.errors import InconsistentShares, ParameterError, PeerError, SecAggError, StateError, UnexpectedMessage
from secagg.randomness import SYSTEM, RandomBytes
from secagg.residues import Residues, add_packed, reduce_in_place

from ...core import dumps
from ...core.listener import (
    Listener,
    MessageAccepted,
    ParticipantExcluded,
    PhaseClosed,
    PhaseOpened,
    SessionEnded,
    Telling,
    Transition,
    ignore,
)
from ...core.machine import Receipt
from ...core.numbers import whole
from ...core.one_copy import OneCopy
from ...core.participants import Participants
from .. import derivations, wire
from ..config import RoundConfig, written_down
from ..graph import Graph
from ..key_checks import check_advertised_keys
from ..messages import AdvertiseKeys, Confirmation, Invitation, MaskedInput, ShareKeys, ToServer
from ..result import RoundResult
from ..transitions import SERVER_TRANSITIONS, ServerPhase
from . import checks, closing, holding, outbox
from .state import ServerState

_COLLECTED_IN = {tag: phase for phase, tag in SERVER_TRANSITIONS}
_ORDER = {phase: number for number, phase in enumerate(ServerPhase)}


@final
class Server(OneCopy):
    """The server in one session; a `core.machine.Coordinator`.

    Args:
        config: what the round is about.
        participants: the clients by name; with their public keys in malicious-server sessions, where the server drops
            clients whose keys the others would refuse. client-1, client-2 and so on when None.
        listener: called with every transition; see `core.listener`.
        random: gives the session's nonce, 32 bytes.
        threads: for unmasking; as many as there are processors when None.

    Raises:
        ParameterError: the number of participants is not the round's, keys are missing, or threads is no number from 1.

    Security: transports authenticate clients, so that `sender` is who sent a message.
    """

    def __init__(
        self,
        config: RoundConfig,
        participants: Participants | None = None,
        *,
        listener: Listener = ignore,
        random: RandomBytes = SYSTEM,
        threads: int | None = None,
    ) -> None:
        config = written_down(config)
        if participants is None:
            participants = Participants.numbered(config.num_clients)
        if len(participants) != config.num_clients:
            raise ParameterError(f"the round is of {config.num_clients} clients, but {len(participants)} take part")
        state = ServerState(config, random(32), ServerPhase.ADVERTISE_KEYS, participants.names, participants.keys)
        sums = [np.zeros(codec.length, dtype=codec.dtype) for codec in config.codecs]
        self._open(state, sums, listener, threads)
        listener(PhaseOpened(self.phase, config.num_clients))

    def _open(self, state: ServerState, sums: Sequence[Residues], listener: Listener, threads: int | None) -> None:
        self._stay_in_process()
        self._lock = threading.RLock()
        self._state = state
        self._participants, self._listener = state.participants(), listener
        self._threads = None if threads is None else whole(threads, "threads", 1)
        self._invitation = Invitation(1, state.config, state.nonce)
        self._session_id = self._invitation.session_id
        adversary = state.config.threat_model.adversary
        self._accepts = adversary.needs_identities
        self._confirms = adversary.may_equivocate
        self._known = self._participants.numbered_keys()
        if adversary.needs_identities and not self._known:
            raise ParameterError(
                "a malicious-server session needs everyone's public key: give Participants a mapping of names to keys "
                "(`secagg keygen` makes them)"
            )
        self._max_bytes = wire.max_bytes(state.config)
        self._public_keys = {key for keys in state.advertised.values() for key in keys.public_keys}
        self._entries = {number: derivations.entry_digest(keys) for number, keys in state.advertised.items()}
        self._sums, self._statement = sums, b""
        self._result: RoundResult | None = None
        self._graph = Graph.of(state.config, self._session_id, state.everyone)
        self._enter(state.phase)

    @property
    def phase(self) -> ServerPhase:
        """Which phase is being collected, or how the session ended."""
        return self._state.phase

    @property
    def ended(self) -> bool:
        """Whether the session has completed or was aborted."""
        return self.phase in (ServerPhase.COMPLETED, ServerPhase.ABORTED)

    @property
    def session_id(self) -> bytes:
        """What both sides hash from the invitation, 32 bytes."""
        return self._session_id

    @property
    def participants(self) -> Participants:
        """The clients by name."""
        return self._participants

    @property
    def excluded(self) -> dict[str, str]:
        """Clients whose messages were bad, and why; they count as dropped from then on."""
        with self._lock:
            return {self._participants.name(number): why for number, why in self._state.excluded.items()}

    @property
    def awaited(self) -> frozenset[str]:
        """Clients that may still answer in this phase; when it is empty there is nothing to wait for."""
        with self._lock:
            return self._participants.named(filter(self._is_awaited, self._speakers))

    @property
    def num_awaited(self) -> int:
        """How many clients may still answer in this phase; cheap, whatever their number."""
        with self._lock:
            out = sum(number in self._speakers and number not in self._heard for number in self._state.excluded)
            return len(self._speakers) - len(self._heard) - out

    @property
    def relay_to(self) -> frozenset[str]:
        """Nobody: clients' messages go to the server alone."""
        return frozenset()

    @property
    def revealed(self) -> bool:
        """Whether clients were asked for shares that unmask the sum; it stays so when the session is aborted."""
        return self._state.revealed

    @property
    def result(self) -> RoundResult:
        """The sum, once the session has completed. Raises StateError before, or if it was aborted."""
        if self._result is None:
            raise StateError(f"there is no result: the session is in {self.phase}")
        return self._result

    @property
    def graph(self) -> Graph:
        """Who is whose neighbour, once everyone's keys are there; before that it is not the session's."""
        return self._graph

    def outgoing(self) -> Mapping[str, bytes]:
        """Return what each client is to be sent in this phase: invitations at first, nothing once the session ended.

        Messages are encoded when they are asked for. They stay the same until `close_phase`, and `load` restores them.
        """
        with self._lock:
            snapshot = msgspec.structs.replace(self._state)
            return outbox.Outgoing(snapshot, self._invitation, self._graph, self._participants, self._speakers)

    def receive(self, sender: str, data: bytes) -> Receipt:
        """Take in what a client sent.

        Raises:
            MalformedMessage, AuthenticationFailed: the content is bad; the sender, if it was still awaited in this
                phase, is excluded from here on. What others sent stands.
            UnexpectedMessage: early, a second one that differs, for another session, in another's name, or from
                somebody who was excluded or has no part in this phase; nothing changes.

        Any other exception, such as an interrupt in the middle of a sum, aborts the session.
        """
        if sender not in self._participants:
            raise UnexpectedMessage("a message from a stranger", culprits={sender})
        number = self._participants.number(sender)
        try:
            # Decoding needs nothing that changes: others need not wait for it.
            message: ToServer = wire.decode(data, ToServer, max_bytes=self._max_bytes)
        except PeerError as error:
            with self._step() as transitions, self._lock:
                raise self._exclude(number, error, transitions) from None
        fingerprint = wire.fingerprint(data)
        with self._step() as transitions, self._lock:
            receipt = self._admit(number, message, fingerprint)
            if receipt is not Receipt.ACCEPTED:
                return receipt
            try:
                self._take(number, message)
                self._state.accepted[number] = fingerprint
            except PeerError as error:
                raise self._exclude(number, error, transitions) from None
            except BaseException as error:  # an interrupt, too, must leave no input half added
                self._abort()
                transitions.append(SessionEnded(0, type(error).__name__, str(error)))
                raise
            transitions.append(MessageAccepted(self.phase, sender, len(data)))
            return receipt

    def close_phase(self) -> None:
        """End the phase with whoever has answered, and begin the next: `outgoing` has its messages.

        After the last phase `result` is there.

        Raises:
            ThresholdError: too few are left; aborted, without a sum. Whether a privacy budget is spent, `revealed`
                says: it is if unmasking had begun.
            InconsistentShares: a secret cannot be reconstructed; aborted.
            EncodingError: the sum is beyond what its summands can reach, so some input was no encoding; aborted.
            StateError: the session has ended.
        """
        with self._step() as transitions, self._lock:
            if self.ended:
                raise StateError(f"the session has ended: it is {self.phase}")
            started, phase, answered = time.perf_counter(), self.phase, len(self._heard)
            missing, opened = self.awaited, self._opened
            try:
                self._close(transitions)
                following = self._following_phase()
                self._enter(following)
            except BaseException as error:  # an interrupt, too, must leave no phase half closed
                self._abort()
                if isinstance(error, SecAggError):
                    error = self._by_name(error)
                transitions.append(SessionEnded(0, type(error).__name__, str(error)))
                raise error from None
            took = time.perf_counter() - started
            transitions.append(PhaseClosed(phase, answered, missing, started - opened, took))
            if following is ServerPhase.COMPLETED:
                transitions.append(SessionEnded(len(self._state.masked)))
            else:
                transitions.append(PhaseOpened(following, len(self._speakers)))

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process, what is to be sent and participants included.

        Security: it holds sealed shares and, during unmasking, shares of secrets; keep it as safe as the server's
        memory. Restore the newest dump only: an older one would not know what was received since.
        """
        self._stay_in_process()
        with self._lock:
            sums = [residues.tobytes() for residues in self._sums]
            return dumps.encode_state(msgspec.structs.replace(self._state, sums=sums))

    @classmethod
    def load(cls, dumped: bytes, *, listener: Listener = ignore, threads: int | None = None) -> Server:
        """Restore what `dump` returned; the other arguments as on construction.

        Raises:
            StateError: the bytes are no dump of this version, or damaged.
        """
        state = dumps.decode_state(dumped, ServerState)
        codecs = state.config.codecs
        if [len(data) for data in state.sums] != [codec.length * codec.dtype.itemsize for codec in codecs]:
            raise StateError("the dump's sums do not fit its configuration")
        if len(state.names) != state.config.num_clients or set(state.keys) not in (set(), set(state.names)):
            raise StateError("the dump's participants do not fit its configuration")
        sums = [np.frombuffer(data, codec.dtype).copy() for data, codec in zip(state.sums, codecs, strict=True)]
        server = cls.__new__(cls)
        server._open(state, sums, listener, threads)
        state.sums = []
        if state.phase is ServerPhase.COMPLETED:
            server._result = server._decode()
        return server

    def __repr__(self) -> str:
        return f"Server(phase={self.phase}, awaited={len(self.awaited)})"

    def _step(self) -> Telling:
        """Begin a step, which is taken under the lock; listeners hear of it when it is whole and the lock is free."""
        self._stay_in_process()
        return Telling(self._listener)

    def _is_awaited(self, number: int) -> bool:
        return number in self._speakers and number not in self._heard and number not in self._state.excluded

    def _admit(self, number: int, message: ToServer, fingerprint: bytes) -> Receipt:
        """Return whether to take a message in; raise UnexpectedMessage if it breaks a rule."""
        tag = str(type(message).__struct_config__.tag)
        if message.session_id != self._session_id or message.sender != number:
            raise self._unexpected(number, f"a {tag} of another session or sender")
        if self._state.accepted.get(number) == fingerprint:
            return Receipt.DUPLICATE
        due = _COLLECTED_IN[tag]
        if self.ended or _ORDER[due] < _ORDER[self.phase]:
            return Receipt.LATE
        if due is not self.phase:
            raise self._unexpected(number, f"a {tag} during {self.phase}")
        if number in self._state.excluded:
            raise self._unexpected(number, f"a {tag} from a client that was excluded")
        if number not in self._speakers:
            raise self._unexpected(number, f"a {tag} from a client that has no part in {self.phase}")
        if number in self._heard:
            raise self._unexpected(number, f"a second {tag}")
        return Receipt.ACCEPTED

    def _unexpected(self, number: int, reason: str) -> UnexpectedMessage:
        return UnexpectedMessage(reason, culprits={self._participants.name(number)})

    def _take(self, number: int, message: ToServer) -> None:
        """Check the whole message, then keep what is needed of it; an input is added to the sums."""
        state = self._state
        match message:
            case AdvertiseKeys():
                check_advertised_keys(message, state.config.threat_model.adversary, self._known)
                checks.check_keys(message, self._public_keys)
                self._public_keys |= set(message.public_keys)
                state.advertised[number] = message
                self._entries[number] = derivations.entry_digest(message)
            case ShareKeys():
                peers = self._graph.neighbours(number, self._speakers)
                checks.check_roster_seen(message, state.everyone, self._entries, [*peers, number])
                holding.take_dealt(state, self._graph, message, len(peers))
            case MaskedInput():
                checks.check_input(message, state.config.codecs)
                holding.take(state, self._graph, message)
                for total, vector, codec in zip(self._sums, message.vectors, state.config.codecs, strict=True):
                    add_packed(total, vector, codec.modulus_bits)
                state.masked.add(number)
            case Confirmation():
                checks.check_confirmation(message, self._statement, state.advertised[number])
                state.confirmations[number] = message.signature
            case _:
                holding.take(state, self._graph, message)

    def _exclude(self, number: int, error: PeerError, transitions: list[Transition]) -> PeerError:
        """Let a client pay for a bad message; return the error with its name."""
        if self._is_awaited(number):
            self._leave_out(number, error, transitions)
        return type(error)(error.reason, culprits={self._participants.name(number)})

    def _leave_out(self, number: int, error: PeerError, transitions: list[Transition]) -> None:
        name, kind = self._participants.name(number), type(error).__name__
        self._state.excluded[number] = f"{kind}: {error.reason}"
        transitions.append(ParticipantExcluded(self.phase, name, kind, error.reason))

    def _close(self, transitions: list[Transition]) -> None:
        state = self._state
        match state.phase:
            case ServerPhase.ADVERTISE_KEYS:
                state.everyone = derivations.roster_digest(self._entries)
                self._graph = Graph.of(state.config, self._session_id, state.everyone)
                advertised = closing.recoverable(state, self._graph, state.advertised)
                state.advertised = {number: state.advertised[number] for number in sorted(advertised)}
            case ServerPhase.SHARE_KEYS:
                state.shared = set(closing.recoverable(state, self._graph, state.sealed))
            case ServerPhase.ACCEPT_SHARES:
                for number in closing.leave_out(state, self._graph):
                    self._leave_out(number, InconsistentShares(closing.GARBAGE), transitions)
            case ServerPhase.MASKED_INPUT:
                closing.check_survivors(state, self._graph, state.masked)
                state.sealed = {}
            case ServerPhase.CONSISTENCY_CHECK:
                closing.check_survivors(state, self._graph, state.confirmations)
            case _:
                closing.check_survivors(state, self._graph, state.responses)
                state.liars = closing.unmask(state, self._graph, self._session_id, self._sums, self._threads)
                for total, codec in zip(self._sums, state.config.codecs, strict=True):
                    reduce_in_place(total, codec.modulus_bits)
                state.responses = {}
                self._result = self._decode()

    def _following_phase(self) -> ServerPhase:
        if self.phase is ServerPhase.SHARE_KEYS and self._accepts:
            return ServerPhase.ACCEPT_SHARES
        if self.phase is ServerPhase.MASKED_INPUT and self._confirms:
            return ServerPhase.CONSISTENCY_CHECK
        return next(after for (before, _), after in SERVER_TRANSITIONS.items() if before is self.phase)

    def _enter(self, phase: ServerPhase) -> None:
        """Begin to collect a phase."""
        state = self._state
        state.revealed = state.revealed or phase in (ServerPhase.UNMASKING, ServerPhase.COMPLETED)
        state.phase = phase
        speakers, self._heard = closing.turns(state, confirms=self._confirms)
        self._speakers = frozenset(speakers)
        self._opened = time.perf_counter()
        if phase is ServerPhase.CONSISTENCY_CHECK:
            self._statement = derivations.survivors_statement(
                self._session_id, state.everyone, state.shared, state.masked
            )

    def _abort(self) -> None:
        """End without a result; what was collected is forgotten."""
        self._state = closing.aborted(self._state)
        self._sums, self._result = [np.zeros_like(total) for total in self._sums], None
        self._enter(ServerPhase.ABORTED)

    def _by_name(self, error: SecAggError) -> SecAggError:
        """Return an error whose culprits are names."""
        if isinstance(error, PeerError):
            return type(error)(error.reason, culprits={self._participants.name(int(who)) for who in error.culprits})
        return error

    def _decode(self) -> RoundResult:
        state, names = self._state, self._participants
        return RoundResult.decode(
            state.config,
            self._session_id,
            self._sums,
            names.named(state.masked),
            self.excluded,
            names.named(state.liars),
        )
