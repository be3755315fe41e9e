"""The server's side of a round: a machine without I/O that collects clients' messages and closes rounds.

Source: Bonawitz et al. 2017, figure 4, and Bell et al. 2020, algorithm 2. Time is the caller's: it hands in what
arrives with `receive`, and calls `close_round` when all have answered or it will not wait any longer. A bad message
costs its sender the session, and nobody else. Inputs are added as they arrive; none is kept. Threads may call any
method at any time: steps are taken one after another. What is to be sent stays in `outgoing` until the round is closed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import final

import msgspec
import numpy as np

from secagg.errors import (
    MalformedMessage,
    ParameterError,
    PeerError,
    StateError,
    ThresholdError,
    UnexpectedMessage,
)
from secagg.residues import Residues, reduce_in_place

from ...core import dumps
from .. import derivations, wire
from ..config import RoundConfig, written_down
from ..graph import Graph
from ..key_checks import check_advertised_keys
from ..messages import (
    AdvertiseKeys,
    Confirmation,
    Invitation,
    MaskedInput,
    ShareKeys,
    ToClient,
    ToServer,
    UnmaskingShares,
)
from ..result import RoundResult
from ..transitions import SERVER_TRANSITIONS, ServerPhase
from . import checks, outgoing, unmasking
from .state import ServerState


@final
class Server:
    """The server in one session.

    Args:
        config: what the round is about.
        known_identities: client id -> Ed25519 public key, for malicious-server sessions: lets the server drop clients
            whose keys the others would refuse.
        threads: for unmasking; as many as there are processors when None.

    Security: transports authenticate clients, so that `client_id` is who sent a message.
    """

    def __init__(
        self,
        config: RoundConfig,
        *,
        known_identities: Mapping[int, bytes] | None = None,
        threads: int | None = None,
    ) -> None:
        config = written_down(config)
        state = ServerState(config, os.urandom(32), ServerPhase.ADVERTISE_KEYS)
        sums = [np.zeros(lane.length, dtype=lane.dtype) for lane in config.lanes]
        self._open(state, sums, known_identities, threads)

    def _open(
        self,
        state: ServerState,
        sums: list[Residues],
        known_identities: Mapping[int, bytes] | None,
        threads: int | None,
    ) -> None:
        config = state.config
        self._lock = threading.RLock()
        self._state = state
        self._known_identities = dict(known_identities or {})
        self._threads = threads
        self._invitation = Invitation(1, config, state.nonce)
        self._session_id = self._invitation.session_id
        seed = derivations.graph_seed(self._session_id)
        self._graph = Graph(config.topology, config.threat_model.num_clients, seed)
        adversary = config.threat_model.adversary
        self._confirms = adversary.may_equivocate
        missing = set(range(1, config.threat_model.num_clients + 1)) - self._known_identities.keys()
        if adversary.needs_identities and missing:
            raise ParameterError(f"known_identities lacks {len(missing)} clients, first {min(missing)}")
        self._max_bytes = wire.max_bytes(config)
        self._public_keys = {key for keys in state.advertised.values() for key in checks.public_keys(keys)}
        self._sums = sums
        self._statement = b""
        self._result: RoundResult | None = None
        self._enter(state.phase)

    @property
    def phase(self) -> ServerPhase:
        """Which round is being collected, or how the session ended."""
        return self._state.phase

    @property
    def session_id(self) -> bytes:
        """What both sides hash from the invitation."""
        return self._session_id

    @property
    def excluded(self) -> dict[int, str]:
        """Clients whose messages were bad, and why; they count as dropped from then on."""
        return dict(self._state.excluded)

    @property
    def awaited(self) -> frozenset[int]:
        """Clients that may still answer in this round; when it is empty there is nothing to wait for."""
        with self._lock:
            silent = (client for client in self._speakers if client not in self._heard)
            return frozenset(silent) - self._state.excluded.keys()

    @property
    def result(self) -> RoundResult:
        """The sum, once the session has completed. Raises StateError before, or if it was aborted."""
        if self._result is None:
            raise StateError(f"there is no result: the session is in {self.phase}")
        return self._result

    def outgoing(self) -> Mapping[int, ToClient]:
        """Return what each client is to be sent in this round: invitations at first, nothing once the session ended.

        It stays the same until the round is closed, and `load` restores it, so that a message may be sent again.
        """
        with self._lock:
            return outgoing.compose(self._state, self._invitation, self._graph, sorted(self._speakers))

    def receive_bytes(self, client_id: int, data: bytes) -> None:
        """Decode and `receive` what a client sent. Raises as `receive`."""
        try:
            message: ToServer = wire.decode(data, ToServer, max_bytes=self._max_bytes)
        except MalformedMessage as error:
            raise self._exclude(client_id, error) from None
        self.receive(client_id, message)

    def receive(self, client_id: int, message: ToServer) -> None:
        """Take in one client's message of this round.

        Raises:
            UnexpectedMessage: late, twice, out of turn, for another session or in another's name: ignored.
            MalformedMessage, AuthenticationFailed: the content is bad; the sender is excluded from here on. What
                others sent stands.
        """
        with self._lock:
            self._admit(client_id, message)
        vectors: Sequence[Residues] = ()
        try:
            # Unpacking takes long and needs nothing that changes: others need not wait for it.
            if isinstance(message, MaskedInput):
                vectors = checks.unpack_input(message, self._state.config.lanes)
        except PeerError as error:
            raise self._exclude(client_id, error) from None
        with self._lock:
            self._admit(client_id, message)
            try:
                self._take(client_id, message, vectors)
            except PeerError as error:
                raise self._exclude(client_id, error) from None

    def _admit(self, client_id: int, message: ToServer) -> None:
        """Raise UnexpectedMessage unless this client may send this message now."""
        tag = str(type(message).__struct_config__.tag)
        if (self.phase, tag) not in SERVER_TRANSITIONS:
            raise UnexpectedMessage(f"a {tag} during {self.phase}", culprits={client_id})
        if client_id in self._state.excluded:
            raise UnexpectedMessage(f"a {tag} from a client that was excluded", culprits={client_id})
        if client_id not in self._speakers:
            raise UnexpectedMessage(f"a {tag} from a client that has no part in {self.phase}", culprits={client_id})
        if client_id in self._heard:
            raise UnexpectedMessage(f"a second {tag}", culprits={client_id})
        if message.session_id != self._session_id or message.sender != client_id:
            raise UnexpectedMessage(f"a {tag} of another session or sender", culprits={client_id})

    def close_round(self) -> Mapping[int, ToClient]:
        """End the round with whoever has answered, and return the next round's message for each client (`outgoing`).

        After the last round the mapping is empty and `result` is there.

        Raises:
            ThresholdError: too few are left; the session is aborted and nothing was revealed.
            InconsistentShares: a secret cannot be reconstructed; aborted.
            EncodingError: the sum is beyond what its summands can reach, so some input was no encoding; aborted.
            StateError: the session has ended.
        """
        steps: dict[ServerPhase, Callable[[], None]] = {
            ServerPhase.ADVERTISE_KEYS: self._close_advertise_keys,
            ServerPhase.SHARE_KEYS: self._close_share_keys,
            ServerPhase.MASKED_INPUT: self._close_masked_input,
            ServerPhase.CONSISTENCY_CHECK: self._close_consistency_check,
            ServerPhase.UNMASKING: self._close_unmasking,
        }
        with self._lock:
            if self.phase not in steps:
                raise StateError(f"the session has ended: it is {self.phase}")
            following = self._following_phase()
            try:
                steps[self.phase]()
            except BaseException:  # an interrupt, too, must leave no round half closed
                self._abort()
                raise
            self._enter(following)
            return self.outgoing()

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process.

        Security: during Unmasking it holds shares of secrets; keep it as safe as the server's memory.
        """
        with self._lock:
            sums = [lanes.tobytes() for lanes in self._sums]
            return dumps.encode_state(msgspec.structs.replace(self._state, sums=sums))

    @classmethod
    def load(
        cls,
        dumped: bytes,
        *,
        known_identities: Mapping[int, bytes] | None = None,
        threads: int | None = None,
    ) -> Server:
        """Restore what `dump` returned; the other arguments as on construction.

        Raises:
            StateError: the bytes are no dump of this version, or damaged.
        """
        state = dumps.decode_state(dumped, ServerState)
        lanes = state.config.lanes
        if [len(data) for data in state.sums] != [lane.length * lane.dtype.itemsize for lane in lanes]:
            raise StateError("the dump's sums do not fit its configuration")
        sums = [np.frombuffer(data, dtype=lane.dtype).copy() for data, lane in zip(state.sums, lanes, strict=True)]
        server = cls.__new__(cls)
        server._open(state, sums, known_identities, threads)
        state.sums = []
        if state.phase is ServerPhase.COMPLETED:
            server._result = server._decode()
        return server

    def __repr__(self) -> str:
        return f"Server(phase={self.phase}, awaited={len(self.awaited)})"

    def _following_phase(self) -> ServerPhase:
        if self.phase is ServerPhase.MASKED_INPUT and self._confirms:
            return ServerPhase.CONSISTENCY_CHECK
        return next(after for (before, _), after in SERVER_TRANSITIONS.items() if before is self.phase)

    def _enter(self, phase: ServerPhase) -> None:
        """Begin to collect a round: who may speak in it, and where what they say is kept."""
        state = self._state
        state.phase = phase
        turns: dict[ServerPhase, tuple[Iterable[int], Container[int]]] = {
            ServerPhase.ADVERTISE_KEYS: (range(1, state.config.threat_model.num_clients + 1), state.advertised),
            ServerPhase.SHARE_KEYS: (state.advertised, state.sealed),
            ServerPhase.MASKED_INPUT: (state.shared, state.masked),
            ServerPhase.CONSISTENCY_CHECK: (state.masked, state.confirmations),
            ServerPhase.UNMASKING: (state.confirmations if self._confirms else state.masked, state.responses),
        }
        speakers, self._heard = turns.get(phase, ((), ()))
        self._speakers = frozenset(speakers)
        if phase is ServerPhase.CONSISTENCY_CHECK:
            complete = state.config.topology.complete
            roster = derivations.roster_digest(state.advertised.values()) if complete else b""
            self._statement = derivations.survivors_statement(self._session_id, roster, state.shared, state.masked)

    def _abort(self) -> None:
        """Forget everything but who was excluded."""
        state = self._state
        self._state = ServerState(state.config, state.nonce, ServerPhase.ABORTED, state.excluded, liars=state.liars)
        self._sums = [np.zeros_like(lanes) for lanes in self._sums]
        self._enter(ServerPhase.ABORTED)

    def _exclude(self, client_id: int, error: PeerError) -> PeerError:
        """Let a client pay for a bad message; return the error with its name."""
        with self._lock:
            if client_id in self.awaited:
                self._state.excluded[client_id] = f"{type(error).__name__}: {error.reason}"
        return type(error)(error.reason, culprits={client_id})

    def _take(self, client_id: int, message: ToServer, vectors: Sequence[Residues]) -> None:
        """Check the whole message, then keep what is needed of it; of an input, the vectors that it was unpacked to."""
        state = self._state
        match message:
            case AdvertiseKeys():
                check_advertised_keys(message, state.config.threat_model.adversary, self._known_identities)
                checks.check_keys(message, self._public_keys)
                self._public_keys |= set(checks.public_keys(message))
                state.advertised[client_id] = message
            case ShareKeys():
                checks.check_recipients(message, self._graph.neighbours(client_id) & self._speakers)
                state.sealed[client_id] = message.sealed
            case MaskedInput():
                for lanes, vector in zip(self._sums, vectors, strict=True):
                    np.add(lanes, vector, out=lanes)
                state.masked.add(client_id)
            case Confirmation():
                checks.check_confirmation(message, self._statement, state.advertised[client_id])
                state.confirmations[client_id] = message.signature
            case UnmaskingShares():
                neighbours = self._graph.holders(client_id) & state.shared
                checks.check_response(message, neighbours & state.masked, neighbours - state.masked)
                state.responses[client_id] = message

    def _close_advertise_keys(self) -> None:
        advertised = self._recoverable(self._state.advertised)
        self._state.advertised = {client_id: self._state.advertised[client_id] for client_id in advertised}

    def _close_share_keys(self) -> None:
        self._state.shared = set(self._recoverable(self._state.sealed))

    def _close_masked_input(self) -> None:
        self._check_survivors(self._state.masked)
        self._state.sealed = {}

    def _close_consistency_check(self) -> None:
        self._check_survivors(self._state.confirmations)

    def _close_unmasking(self) -> None:
        state = self._state
        self._check_survivors(state.responses)
        seed_shares, key_shares = unmasking.collect_shares(state.responses.values())
        dropped = state.shared - state.masked
        recovered = unmasking.recover(
            self._session_id,
            state.advertised,
            seed_shares={owner: seed_shares.get(owner, {}) for owner in state.masked},
            key_shares={owner: key_shares.get(owner, {}) for owner in dropped},
            threshold=state.config.topology.threshold,
        )
        unmasking.remove_masks(
            self._sums,
            self._session_id,
            state.advertised,
            recovered,
            orphans={owner: sorted(self._graph.neighbours(owner) & state.masked) for owner in dropped},
            threads=self._threads,
        )
        for lanes, lane in zip(self._sums, state.config.lanes, strict=True):
            reduce_in_place(lanes, lane.modulus_bits)
        state.liars = set(recovered.liars)
        state.responses = {}
        self._result = self._decode()

    def _decode(self) -> RoundResult:
        state = self._state
        return RoundResult.decode(
            state.config, self._session_id, self._sums, frozenset(state.masked), state.excluded, state.liars
        )

    def _recoverable(self, clients: Iterable[int]) -> frozenset[int]:
        """Leave out clients whose secrets too few of the others would hold, until none is left that must be left out.

        Raises:
            ThresholdError: fewer are left than the round's minimum.
        """
        remaining = set(clients) - self._state.excluded.keys()
        threshold = self._state.config.topology.threshold
        while True:
            lonely = {client for client in remaining if len(self._graph.holders(client) & remaining) < threshold}
            if not lonely:
                break
            remaining -= lonely
        self._check_minimum(len(remaining))
        return frozenset(remaining)

    def _check_survivors(self, responsive: Iterable[int]) -> None:
        """Every secret that will be needed must have enough holders among the responsive."""
        self._check_minimum(len(self._state.masked))
        responsive = frozenset(responsive)
        threshold = self._state.config.topology.threshold
        have = min((len(self._graph.holders(owner) & responsive) for owner in self._state.shared), default=0)
        if have < threshold:
            raise ThresholdError(
                f"only {have} holders of a client's shares are left, but {threshold} are needed",
                needed=threshold,
                have=have,
            )

    def _check_minimum(self, have: int) -> None:
        needed = self._state.config.min_survivors
        if have < needed:
            raise ThresholdError(f"{have} clients are left, but {needed} are needed", needed=needed, have=have)
