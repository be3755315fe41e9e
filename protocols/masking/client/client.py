"""The client's side of a round: a machine without I/O that eats the server's messages and produces its own.

Source: Bonawitz et al. 2017, figure 4 (complete graph, malicious server), and Bell et al. 2020, algorithm 2 (sparse
graph). One method a round; each validates the whole message, computes, and only then moves on to the next state,
which holds the secrets that are still needed and no others. A step that fails ends the session for this client.

What protects the client: it derives its neighbours itself; it never gives out both shares of one peer, answers each
request once, refuses to call itself dropped or to unmask sums that are too small, and against a server that may
equivocate gives nothing before enough neighbours are shown to have signed the same story.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, TypeVar, final

import msgspec
import numpy.typing as npt

from secagg.errors import StateError, UnexpectedMessage
from secagg.signatures import Identity

from ...core import dumps
from ...core.threat_model import MAX_CLIENTS
from .. import derivations, wire
from ..messages import (
    AdvertiseKeys,
    Confirmation,
    Invitation,
    MaskedInput,
    Roster,
    ShareDelivery,
    ShareKeys,
    SurvivorList,
    ToClient,
    ToServer,
    UnmaskingRequest,
    UnmaskingShares,
)
from ..policy import ClientPolicy
from ..transitions import CLIENT_TRANSITIONS, ClientPhase
from . import steps
from .state import Aborted, Advertised, ClientState, Completed, Confirmed, Invited, Masked, Session, Shared

S = TypeVar("S", Invited, Advertised, Shared, Masked, Confirmed)
R = TypeVar("R")

_PHASES: dict[type[Any], ClientPhase] = {
    Invited: ClientPhase.INVITED,
    Advertised: ClientPhase.ADVERTISED,
    Shared: ClientPhase.SHARED,
    Masked: ClientPhase.MASKED,
    Confirmed: ClientPhase.CONFIRMED,
    Completed: ClientPhase.COMPLETED,
    Aborted: ClientPhase.ABORTED,
}


class _Dump(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    client_id: Annotated[int, msgspec.Meta(ge=1, le=MAX_CLIENTS)]
    policy: ClientPolicy
    state: ClientState
    request_digest: bytes = b""
    answer: bytes = b""


@final
class Client:
    """One client in one session.

    Args:
        client_id: 1 to n, as the transport knows it.
        policy: what the client demands of the round.
        identity: signs in malicious-server sessions.
        known_identities: client id -> Ed25519 public key, known beforehand, for malicious-server sessions.
        threads: for masking; as many as there are processors when None.

    Security: one object, one session. Transports authenticate the server, and keep what clients send from each other.
    """

    def __init__(
        self,
        client_id: int,
        *,
        policy: ClientPolicy | None = None,
        identity: Identity | None = None,
        known_identities: Mapping[int, bytes] | None = None,
        threads: int | None = None,
    ) -> None:
        self.num_clipped: dict[str, int] = {}
        """After `mask_input`: how many coordinates of each vector were clipped. Not part of a dump."""
        self._party = steps.Party(client_id, policy or ClientPolicy(), identity, dict(known_identities or {}), threads)
        self._state: ClientState = Invited()
        self._request_digest, self._answer = b"", b""
        self._stepping = threading.RLock()

    @property
    def client_id(self) -> int:
        """1 to n, as the transport knows it."""
        return self._party.client_id

    @property
    def phase(self) -> ClientPhase:
        """What the client has done last."""
        return _PHASES[type(self._state)]

    def respond(
        self, message: ToClient, values: Mapping[str, npt.NDArray[Any]] | None = None, *, weight: int = 1
    ) -> ToServer:
        """Hand any message to the method that answers it; `values` and `weight` are used by `mask_input` alone."""
        match message:
            case Invitation():
                return self.advertise_keys(message)
            case Roster():
                return self.share_keys(message)
            case ShareDelivery():
                return self.mask_input(message, values or {}, weight=weight)
            case SurvivorList():
                return self.confirm_survivors(message)
            case UnmaskingRequest():
                return self.unmask(message)
            case _:
                raise UnexpectedMessage(f"a {type(message).__name__} is no message to a client")

    def respond_bytes(
        self, data: bytes, values: Mapping[str, npt.NDArray[Any]] | None = None, *, weight: int = 1
    ) -> bytes:
        """Answer bytes with bytes. The same bytes again get the same answer, which `dump` keeps for that.

        Raises:
            MalformedMessage: the bytes are no message to a client; nothing changes. Otherwise as `respond`.
        """
        request_digest = hashlib.sha256(data).digest()
        with self._alone():
            if request_digest == self._request_digest:
                return self._answer
            session = _session(self._state)
            limit = wire.max_request_bytes(session.config) if session else wire.MAX_INVITATION_BYTES
            message: ToClient = wire.decode(data, ToClient, max_bytes=limit)
            answer = wire.encode(self.respond(message, values, weight=weight))
            self._request_digest, self._answer = request_digest, answer
            return answer

    @property
    def outgoing(self) -> bytes:
        """The last answer of `respond_bytes`, to be sent again where it may have been lost; empty if there is none."""
        return self._answer

    def advertise_keys(self, invitation: Invitation) -> AdvertiseKeys:
        """Answer an invitation with fresh public keys, if the round is acceptable.

        Raises:
            ParameterError: the round does not meet the client's policy, or needs identities that the client lacks.
            UnexpectedMessage: not invited, or not at this time; nothing changes.
        """
        return self._step(Invited, invitation, lambda _: steps.advertise(self._party, invitation))

    def share_keys(self, roster: Roster) -> ShareKeys:
        """Answer the roster of neighbours with sealed shares of the self-mask seed and of the mask key.

        Raises:
            ContradictoryRequest: the roster lacks the client, changes its keys, names a stranger or a peer twice.
            AuthenticationFailed: a peer's key is of low order or, against a malicious server, not signed by it.
            ThresholdError: too few neighbours.
            UnexpectedMessage: for another session or recipient, or not at this time; nothing changes.
        """
        return self._step(Advertised, roster, lambda state: steps.share(self._party, state, roster))

    def mask_input(
        self, delivery: ShareDelivery, values: Mapping[str, npt.NDArray[Any]], *, weight: int = 1
    ) -> MaskedInput:
        """Answer the neighbours' sealed shares with the masked input.

        Args:
            delivery: the server's message.
            values: a one-dimensional array for each vector of the round.
            weight: of this client, where the round is weighted.

        Raises:
            EncodingError: the input cannot be encoded; nothing changes, correct it and call again.
            ContradictoryRequest: shares from a stranger.
            AuthenticationFailed: shares that do not open, against a malicious server; otherwise those are left out.
            ThresholdError: too few neighbours.
            UnexpectedMessage: for another session or recipient, or not at this time; nothing changes.
        """
        # Encoded before the step, so that a bad input can be corrected: only a failed step ends the session.
        session = self._expect(Shared, delivery).session
        config = session.config
        encoded = config.encode(values, weight, rotation_seed=partial(derivations.rotation_seed, session.session_id))
        vectors = [part.residues for part in encoded]
        response = self._step(Shared, delivery, lambda state: steps.mask(self._party, state, delivery, vectors))
        lanes = config.lanes
        self.num_clipped = {lane.name: part.num_clipped for lane, part in zip(lanes, encoded, strict=True)}
        return response

    def confirm_survivors(self, survivor_list: SurvivorList) -> Confirmation:
        """Sign who shared keys and whose input arrived, as this client was told (if the server may equivocate).

        Raises:
            ContradictoryRequest: others shared keys than those whose shares came; survivors who never did, a client
                twice, or without this client.
            ThresholdError: too few survivors.
            UnexpectedMessage: for another session or recipient, or not at this time; nothing changes.
        """
        return self._step(Masked, survivor_list, lambda state: steps.confirm(self._party, state, survivor_list))

    def unmask(self, request: UnmaskingRequest) -> UnmaskingShares:
        """Give one share of each neighbour: of its mask key if it dropped, of its self-mask seed if not.

        Raises:
            ContradictoryRequest: dropped ones who are no neighbours, this client among them, or other survivors than
                were signed for.
            AuthenticationFailed: a neighbour's confirmation is of something else, if the server may equivocate.
            ThresholdError: too few survivors or confirmations.
            UnexpectedMessage: for another session or recipient, or not at this time; nothing changes.
        """
        if isinstance(self._state, Confirmed):
            return self._step(Confirmed, request, lambda state: steps.unmask_confirmed(self._party, state, request))
        return self._step(Masked, request, lambda state: steps.unmask_unconfirmed(self._party, state, request))

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process, the last answer and the policy included.

        Identities are not. Keep the dump before the answer leaves: then the answer can be sent after a crash.

        Security: as secret as the keys that it holds. Restore a dump once, and never an older one than the last answer:
        a second masked input under the same masks would reveal the difference of the two.
        """
        return dumps.encode_state(
            _Dump(self.client_id, self._party.policy, self._state, self._request_digest, self._answer)
        )

    @classmethod
    def load(
        cls,
        dumped: bytes,
        *,
        policy: ClientPolicy | None = None,
        identity: Identity | None = None,
        known_identities: Mapping[int, bytes] | None = None,
        threads: int | None = None,
    ) -> Client:
        """Restore what `dump` returned; the other arguments as on construction, but for the policy, which is kept.

        Raises:
            StateError: the bytes are no dump of this version, or damaged.
            ParameterError: the session needs identities that are not given, or does not meet the policy that is.
        """
        restored = dumps.decode_state(dumped, _Dump)
        client = cls(
            restored.client_id,
            policy=policy or restored.policy,
            identity=identity,
            known_identities=known_identities,
            threads=threads,
        )
        client._state = restored.state
        client._request_digest, client._answer = restored.request_digest, restored.answer
        session = _session(restored.state)
        if session is not None:
            client._party.policy.check(session.config)
            client._party.check_identities(session.config)
        return client

    def __repr__(self) -> str:
        return f"Client({self.client_id}, phase={self.phase})"

    def _expect(self, state_type: type[S], message: ToClient) -> S:
        """Return the state if the message is for this client, this session and this time; else change nothing."""
        tag = str(type(message).__struct_config__.tag)
        if not isinstance(self._state, state_type) or (self.phase, tag) not in CLIENT_TRANSITIONS:
            raise UnexpectedMessage(f"client {self.client_id} is {self.phase} and expects no {tag}")
        if message.recipient != self.client_id:
            raise UnexpectedMessage(f"a {tag} for client {message.recipient} reached client {self.client_id}")
        session = _session(self._state)
        if session is not None and message.session_id != session.session_id:
            raise UnexpectedMessage(f"client {self.client_id} got a {tag} of another session")
        return self._state

    def _step(self, state_type: type[S], message: ToClient, compute: Callable[[S], tuple[ClientState, R]]) -> R:
        """Take one step of the table: all of it, or into Aborted."""
        with self._alone():
            state = self._expect(state_type, message)
            expected = CLIENT_TRANSITIONS[self.phase, str(type(message).__struct_config__.tag)]
            self._state = Aborted("interrupted")  # until the step has succeeded
            self._request_digest, self._answer = b"", b""
            try:
                following, response = compute(state)
            except BaseException as error:
                self._state = Aborted(type(error).__name__)
                raise
            if _PHASES[type(following)] is not expected:
                raise StateError(f"a step led to {type(following).__name__} instead of {expected}")
            self._state = following
            return response

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuse a second thread: two answers to one message would be two inputs under one mask."""
        if not self._stepping.acquire(blocking=False):
            raise UnexpectedMessage(f"client {self.client_id} is answering another message")
        try:
            yield
        finally:
            self._stepping.release()


def _session(state: ClientState) -> Session | None:
    match state:
        case Advertised(session=session) | Shared(session=session) | Masked(session=session):
            return session
        case Confirmed(masked=masked):
            return masked.session
        case _:
            return None
