"""The client's side of a round: a machine without I/O that eats the server's messages and produces its own.

Source: Bonawitz et al. 2017, figure 4 (complete graph, malicious server), and Bell et al. 2020, algorithm 2 (sparse
graph). One method a round; each validates the whole message, computes, and only then moves on to the next state,
which holds the secrets that are still needed and no others. A step that fails ends the session for this client.

What protects the client here: it derives its neighbours and the survivors itself; it never gives out both shares of one
peer, answers each request once, refuses to call itself dropped, and refuses to unmask sums that are too small.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, final

import msgspec
import numpy.typing as npt

from secagg import aead, masking, shamir
from secagg.errors import (
    AuthenticationFailed,
    ContradictoryRequest,
    ParameterError,
    StateError,
    UnexpectedMessage,
)
from secagg.key_agreement import KeyPair
from secagg.residues import pack, reduce_in_place
from secagg.signatures import Identity

from . import bindings, client_checks
from .client_state import Aborted, Advertised, ClientState, Completed, Confirmed, Invited, Masked, Peer, Session, Shared
from .configuration import ClientPolicy
from .messages import (
    SECRET_BYTES,
    SHARE_BYTES,
    VERSION,
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
from .parameters import Adversary
from .transitions import CLIENT_TRANSITIONS, ClientPhase

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
    version: int
    client_id: int
    state: ClientState


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
        self.client_id = client_id
        self.num_clipped: dict[str, int] = {}
        """After `mask_input`: how many coordinates of each vector were clipped."""
        self._policy = policy or ClientPolicy()
        self._identity = identity
        self._known_identities = dict(known_identities or {})
        self._threads = threads
        self._state: ClientState = Invited()

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

    def advertise_keys(self, invitation: Invitation) -> AdvertiseKeys:
        """Answer an invitation with fresh public keys, if the round is acceptable.

        Raises:
            ParameterError: the round does not meet the client's policy, or needs identities that the client lacks.
            UnexpectedMessage: not invited, or not at this time; nothing changes.
        """
        return self._step(Invited, invitation, lambda _: self._advertise(invitation))

    def share_keys(self, roster: Roster) -> ShareKeys:
        """Answer the roster of neighbours with sealed shares of the self-mask seed and of the mask key.

        Raises:
            ContradictoryRequest: the roster lacks the client, changes its keys, names a stranger or a peer twice.
            AuthenticationFailed: a peer's key is of low order or, against a malicious server, not signed by it.
            ThresholdError: too few neighbours.
            UnexpectedMessage: for another session or recipient, or not at this time; nothing changes.
        """
        return self._step(Advertised, roster, lambda state: self._share(state, roster))

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
        state = self._expect(Shared, delivery)
        encoded = state.session.config.encode(values, weight)
        response = self._step(
            Shared, delivery, lambda state: self._mask(state, delivery, [part.residues for part in encoded])
        )
        lanes = state.session.config.lanes
        self.num_clipped = {lane.name: part.num_clipped for lane, part in zip(lanes, encoded, strict=True)}
        return response

    def confirm_survivors(self, survivor_list: SurvivorList) -> Confirmation:
        """Sign the roster and the survivors as this client sees them (malicious-server sessions only).

        Raises:
            ContradictoryRequest: survivors who never shared keys, a survivor twice, or without this client.
            ThresholdError: too few survivors.
            UnexpectedMessage: for another session or recipient, or not at this time; nothing changes.
        """
        return self._step(Masked, survivor_list, lambda state: self._confirm(state, survivor_list))

    def unmask(self, request: UnmaskingRequest) -> UnmaskingShares:
        """Give one share of each neighbour: of its mask key if it dropped, of its self-mask seed if not.

        Raises:
            ContradictoryRequest: dropped ones who are no neighbours, this client among them, or other survivors than
                were signed for.
            AuthenticationFailed: fewer valid confirmations than the threshold, against a malicious server.
            ThresholdError: too few survivors.
            UnexpectedMessage: for another session or recipient, or not at this time; nothing changes.
        """
        if isinstance(self._state, Confirmed):
            return self._step(Confirmed, request, lambda state: self._unmask_confirmed(state, request))
        return self._step(Masked, request, lambda state: self._unmask(state, request))

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process.

        Security: as secret as the keys that it holds. Restore a dump once, and never an older one than the last answer:
        a second masked input under the same masks would reveal the difference of the two.
        """
        return msgspec.msgpack.encode(_Dump(VERSION, self.client_id, self._state))

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
        """Restore what `dump` returned; the other arguments as on construction.

        Raises:
            StateError: the bytes are no dump of this version.
        """
        try:
            restored = msgspec.msgpack.decode(dumped, type=_Dump)
        except (msgspec.DecodeError, ValueError):
            raise StateError("these bytes are no dump of a client") from None
        if restored.version != VERSION:
            raise StateError(f"the dump has version {restored.version}, but this is version {VERSION}")
        client = cls(
            restored.client_id,
            policy=policy,
            identity=identity,
            known_identities=known_identities,
            threads=threads,
        )
        client._state = restored.state
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
        state = self._expect(state_type, message)
        expected = CLIENT_TRANSITIONS[self.phase, str(type(message).__struct_config__.tag)]
        try:
            following, response = compute(state)
            if _PHASES[type(following)] is not expected:
                raise StateError(f"a step led to {type(following).__name__} instead of {expected}")
        except BaseException as error:
            self._state = Aborted(type(error).__name__)
            raise
        self._state = following
        return response

    def _advertise(self, invitation: Invitation) -> tuple[ClientState, AdvertiseKeys]:
        config = invitation.config
        self._policy.check(config)
        client_checks.check_own_id(config, self.client_id)
        signed = config.threat_model.adversary is Adversary.MALICIOUS_SERVER
        if signed:
            self._check_identities(config.threat_model.num_clients)
        session = Session(config, invitation.session_id)
        cipher, mask = KeyPair.generate(), KeyPair.generate()
        self_mask_seed = os.urandom(SECRET_BYTES)
        keys = AdvertiseKeys(
            session_id=session.session_id,
            sender=self.client_id,
            cipher_public_key=cipher.public_bytes,
            mask_public_key=mask.public_bytes,
            self_mask_commitment=bindings.self_mask_commitment(session.session_id, self.client_id, self_mask_seed),
        )
        if signed and self._identity is not None:
            signature = self._identity.sign(bindings.keys_statement(keys))
            keys = msgspec.structs.replace(keys, signature=signature)
        return Advertised(session, cipher.private_bytes, mask.private_bytes, self_mask_seed, keys), keys

    def _check_identities(self, num_clients: int) -> None:
        if self._identity is None or self._known_identities.get(self.client_id) != self._identity.public_bytes:
            raise ParameterError(
                "a malicious-server session needs this client's identity, and its public key among known_identities"
            )
        missing = set(range(1, num_clients + 1)) - self._known_identities.keys()
        if missing:
            raise ParameterError(
                f"known_identities lacks {len(missing)} of {num_clients} clients, first {min(missing)}"
            )

    def _share(self, state: Advertised, roster: Roster) -> tuple[ClientState, ShareKeys]:
        session, own_id = state.session, self.client_id
        entries = client_checks.check_roster(session, self._policy, state.advertised, roster, self._known_identities)
        topology = session.config.topology
        holders = [*sorted(entries), own_id] if topology.complete else sorted(entries)
        seed_shares = shamir.split(state.self_mask_seed, threshold=topology.threshold, indices=holders)
        key_shares = shamir.split(state.mask_private_key, threshold=topology.threshold, indices=holders)

        cipher = KeyPair(state.cipher_private_key)
        own_end = (own_id, cipher.public_bytes)
        peers: dict[int, Peer] = {}
        sealed: dict[int, bytes] = {}
        for peer_id, entry in entries.items():
            peer_end = (peer_id, entry.cipher_public_key)
            try:
                agreed = cipher.agree(entry.cipher_public_key)
            except AuthenticationFailed as error:
                raise AuthenticationFailed(error.reason, culprits={peer_id}) from None
            opening_key = bindings.share_encryption_key(agreed, session.session_id, peer_end, own_end)
            peers[peer_id] = Peer(entry.mask_public_key, opening_key)
            sealed[peer_id] = aead.seal(
                bindings.share_encryption_key(agreed, session.session_id, own_end, peer_end),
                seed_shares[peer_id] + key_shares[peer_id],
                associated_data=bindings.share_associated_data(session.session_id, own_id, peer_id),
            )
        following = Shared(
            session,
            state.mask_private_key,
            state.advertised.mask_public_key,
            state.self_mask_seed,
            seed_shares.get(own_id, b""),
            peers,
            bindings.roster_digest(roster.entries),
        )
        return following, ShareKeys(session.session_id, own_id, sealed)

    def _mask(self, state: Shared, delivery: ShareDelivery, vectors: list[Any]) -> tuple[ClientState, MaskedInput]:
        session, own_id = state.session, self.client_id
        client_checks.check_delivery(session, self._policy, state.peers.keys(), delivery)
        shares = self._open_shares(state, delivery)
        mask_key = KeyPair(state.mask_private_key)
        own_end = (own_id, state.mask_public_key)
        pairwise_seeds = {}
        for peer_id in sorted(delivery.sealed):
            peer_key = state.peers[peer_id].mask_public_key
            try:
                agreed = mask_key.agree(peer_key)
            except AuthenticationFailed as error:
                raise AuthenticationFailed(error.reason, culprits={peer_id}) from None
            pairwise_seeds[peer_id] = bindings.pairwise_mask_seed(
                agreed, session.session_id, own_end, (peer_id, peer_key)
            )
        masking.mask(
            vectors,
            client_id=own_id,
            self_mask_seed=bindings.self_mask_stream_seed(session.session_id, own_id, state.self_mask_seed),
            pairwise_seeds=pairwise_seeds,
            threads=self._threads,
        )
        lanes = session.config.lanes
        packed = tuple(
            pack(reduce_in_place(vector, lane.modulus_bits), lane.modulus_bits)
            for vector, lane in zip(vectors, lanes, strict=True)
        )
        following = Masked(session, state.own_share, tuple(sorted(delivery.sealed)), shares, state.roster_digest)
        return following, MaskedInput(session.session_id, own_id, packed)

    def _open_shares(self, state: Shared, delivery: ShareDelivery) -> dict[int, tuple[bytes, bytes]]:
        """Open what opens.

        A peer that sends rubbish must not end the round for its neighbours, who hold its masks in their input all the
        same; but a malicious server may have made the peer up, so there it does.
        """
        session_id = state.session.session_id
        shares = {}
        for peer_id, sealed in delivery.sealed.items():
            associated_data = bindings.share_associated_data(session_id, peer_id, self.client_id)
            try:
                opened = aead.open(state.peers[peer_id].opening_key, sealed, associated_data=associated_data)
            except AuthenticationFailed as error:
                if state.session.config.threat_model.adversary is Adversary.MALICIOUS_SERVER:
                    raise AuthenticationFailed(error.reason, culprits={peer_id}) from None
                continue
            shares[peer_id] = (opened[:SHARE_BYTES], opened[SHARE_BYTES:])
        return shares

    def _confirm(self, state: Masked, survivor_list: SurvivorList) -> tuple[ClientState, Confirmation]:
        if self._identity is None or state.session.config.threat_model.adversary is not Adversary.MALICIOUS_SERVER:
            raise ContradictoryRequest("only a malicious-server session has a consistency check, with identities")
        client_checks.check_survivors(state, self._policy, self.client_id, survivor_list)
        statement = client_checks.survivors_statement(state, self.client_id, survivor_list.survivors)
        response = Confirmation(state.session.session_id, self.client_id, self._identity.sign(statement))
        return Confirmed(state, tuple(sorted(survivor_list.survivors))), response

    def _unmask_confirmed(self, state: Confirmed, request: UnmaskingRequest) -> tuple[ClientState, UnmaskingShares]:
        client_checks.check_confirmations(state, self.client_id, request, self._known_identities)
        return self._give_shares(state.masked, request)

    def _unmask(self, state: Masked, request: UnmaskingRequest) -> tuple[ClientState, UnmaskingShares]:
        if state.session.config.threat_model.adversary is Adversary.MALICIOUS_SERVER:
            raise ContradictoryRequest("a malicious-server session unmasks only after the consistency check")
        return self._give_shares(state, request)

    def _give_shares(self, state: Masked, request: UnmaskingRequest) -> tuple[ClientState, UnmaskingShares]:
        client_checks.check_unmasking_request(state, self._policy, self.client_id, request)
        dropped = set(request.dropped)
        seed_shares = {peer_id: shares[0] for peer_id, shares in state.shares.items() if peer_id not in dropped}
        key_shares = {peer_id: shares[1] for peer_id, shares in state.shares.items() if peer_id in dropped}
        if state.own_share:
            seed_shares[self.client_id] = state.own_share
        return Completed(), UnmaskingShares(state.session.session_id, self.client_id, seed_shares, key_shares)


def _session(state: ClientState) -> Session | None:
    match state:
        case Advertised(session=session) | Shared(session=session) | Masked(session=session):
            return session
        case Confirmed(masked=masked):
            return masked.session
        case _:
            return None
