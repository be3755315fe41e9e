"""The client's computations, one a round: from a state and a checked message to the next state and the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from secagg import aead, masking, shamir
from secagg.errors import AuthenticationFailed, ContradictoryRequest, ParameterError
from secagg.key_agreement import KeyPair
from secagg.randomness import RandomBytes
from secagg.residues import Residues, pack, reduce_in_place
from secagg.signatures import Identity

from ...core.participants import Participants
from .. import derivations
from ..config import RoundConfig
from ..messages import (
    COMMITMENTS_BYTES,
    SEALED_SHARES_BYTES,
    SECRET_BYTES,
    SHARE_BYTES,
    AdvertiseKeys,
    Confirmation,
    InputRequest,
    Invitation,
    MaskedInput,
    Roster,
    ShareDelivery,
    ShareKeys,
    ShareReceipt,
    SurvivorList,
    UnmaskingRequest,
    UnmaskingShares,
    records,
)
from ..policy import ClientPolicy
from . import checks
from .state import Accepted, Advertised, Completed, Confirmed, Invited, Masked, Peer, Session, Shared


@dataclass(frozen=True)
class Party:
    """Who the client is, what it insists on and where its randomness comes from, in all phases."""

    policy: ClientPolicy
    identity: Identity | None
    participants: Participants | None
    random: RandomBytes
    threads: int | None

    def known_keys(self) -> Mapping[int, bytes]:
        """Return number -> identity key of all participants that are known beforehand."""
        return self.participants.numbered_keys() if self.participants else {}

    def check_identities(self, config: RoundConfig, number: int) -> None:
        """Raise ParameterError if the round needs identities and this party lacks one of them."""
        if self.participants is not None and len(self.participants) != config.num_clients:
            raise ParameterError(
                f"the round is of {config.num_clients} clients, but this client knows of {len(self.participants)} "
                "participants: give both sides the same"
            )
        if not config.threat_model.adversary.needs_identities:
            return
        if self.identity is None or not self.known_keys():
            raise ParameterError(
                "a malicious-server session needs this client's identity, and everyone's public key: "
                "Client(identity=..., participants=Participants({name: public key, ...}))"
            )
        own_key = self.known_keys().get(number)
        if own_key != self.identity.public_bytes:
            raise ParameterError(
                f"the server gives this client the number {number}, which is another participant's, or its public key "
                "is another one than its identity's"
            )


def advertise(party: Party, _: Invited, invitation: Invitation) -> tuple[Advertised, AdvertiseKeys]:
    """Accept the round, and make the keys of the session."""
    config, number = invitation.config, invitation.recipient
    party.policy.check(config)
    checks.check_own_number(config, number)
    party.check_identities(config, number)
    session = Session(config, invitation.session_id, number)
    adversary, random = config.threat_model.adversary, party.random
    cipher, mask = KeyPair.generate(random=random), KeyPair.generate(random=random)
    confirmation = Identity.generate(random=random) if adversary.may_equivocate else None
    self_mask_seed = random(SECRET_BYTES)
    keys = AdvertiseKeys(
        session_id=session.session_id,
        sender=number,
        cipher_public_key=cipher.public_bytes,
        mask_public_key=mask.public_bytes,
        self_mask_commitment=derivations.self_mask_commitment(session.session_id, number, self_mask_seed),
        confirmation_public_key=confirmation.public_bytes if confirmation else None,
    )
    if adversary.needs_identities and party.identity is not None:
        keys = msgspec.structs.replace(keys, signature=party.identity.sign(derivations.keys_statement(keys)))
    following = Advertised(
        session,
        cipher.private_bytes,
        mask.private_bytes,
        confirmation.private_bytes if confirmation else b"",
        self_mask_seed,
        keys,
    )
    return following, keys


def share(party: Party, state: Advertised, roster: Roster) -> tuple[Shared, ShareKeys]:
    """Deal shares of both secrets to the neighbours, each sealed for one."""
    session, own_id = state.session, state.session.number
    entries = checks.check_roster(session, party.policy, state.advertised, roster, party.known_keys())
    topology = session.config.topology
    holders = [*entries, own_id] if topology.complete else [*entries]
    seed_shares = shamir.split(state.self_mask_seed, threshold=topology.threshold, indices=holders, random=party.random)
    key_shares = shamir.split(
        state.mask_private_key, threshold=topology.threshold, indices=holders, random=party.random
    )

    cipher = KeyPair(state.cipher_private_key)
    own_end = (own_id, cipher.public_bytes)
    commitments = [
        derivations.share_commitments(session.session_id, own_id, holder, (seed_shares[holder], key_shares[holder]))
        for holder in holders
    ]
    peers: dict[int, Peer] = {}
    sealed: list[bytes] = []
    for peer_id, entry in entries.items():
        peer_end = (peer_id, entry.cipher_public_key)
        agreed = _agree(cipher, peer_id, entry.cipher_public_key)
        sealing_key, opening_key = derivations.share_encryption_keys(agreed, session.session_id, own_end, peer_end)
        peers[peer_id] = Peer(entry.mask_public_key, entry.confirmation_public_key or b"", opening_key)
        sealed.append(
            aead.seal(
                sealing_key,
                seed_shares[peer_id] + key_shares[peer_id],
                associated_data=derivations.share_associated_data(session.session_id, own_id, peer_id),
                random=party.random,
            )
        )
    shown = {entry.sender: derivations.entry_digest(entry) for entry in roster.entries}
    checks.check_everyone(session, roster.everyone, shown)
    following = Shared(
        session,
        state.mask_private_key,
        state.advertised.mask_public_key,
        state.confirmation_private_key,
        state.self_mask_seed,
        seed_shares.get(own_id, b""),
        peers,
        roster.everyone,
    )
    seen = derivations.seen_digest(roster.everyone, shown, shown)
    return following, ShareKeys(session.session_id, own_id, seen, b"".join(sealed), b"".join(commitments))


def accept(party: Party, state: Shared, delivery: ShareDelivery) -> tuple[Accepted, ShareReceipt]:
    """Open the shares that came, and complain of whoever's do not open or fit what their dealer committed to.

    A peer that deals rubbish must not end the round for its neighbours: they are not counted as holders of its secrets.
    """
    session, own_id = state.session, state.session.number
    checks.check_delivery(session, party.policy, state.peers.keys(), delivery)
    shares = {}
    dealt = zip(
        delivery.dealers,
        records(delivery.sealed, SEALED_SHARES_BYTES),
        records(delivery.commitments, COMMITMENTS_BYTES),
        strict=True,
    )
    for peer_id, sealed, commitments in sorted(dealt):
        associated_data = derivations.share_associated_data(session.session_id, peer_id, own_id)
        try:
            opened = aead.open(state.peers[peer_id].opening_key, sealed, associated_data=associated_data)
        except AuthenticationFailed:
            continue
        pair = (opened[:SHARE_BYTES], opened[SHARE_BYTES:])
        if derivations.share_commitments(session.session_id, peer_id, own_id, pair) == commitments:
            shares[peer_id] = pair
    peers = {
        peer_id: (state.peers[peer_id].mask_public_key, state.peers[peer_id].confirmation_public_key)
        for peer_id in sorted(delivery.dealers)
    }
    complaints = tuple(peer_id for peer_id in peers if peer_id not in shares)
    following = Accepted(
        session,
        state.mask_private_key,
        state.mask_public_key,
        state.confirmation_private_key,
        state.self_mask_seed,
        state.own_share,
        peers,
        shares,
        complaints,
        state.everyone,
    )
    return following, ShareReceipt(session.session_id, own_id, complaints)


def go_on(party: Party, state: Accepted, request: InputRequest) -> Accepted:
    """Leave out the peers that do not go on, and their shares."""
    checks.check_peers(state.session, party.policy, state.peers.keys(), request)
    going_on = set(request.peers)
    return msgspec.structs.replace(
        state,
        peers={peer_id: keys for peer_id, keys in state.peers.items() if peer_id in going_on},
        shares={peer_id: pair for peer_id, pair in state.shares.items() if peer_id in going_on},
        complaints=(),  # the receipt had them
    )


def mask(party: Party, state: Accepted, vectors: Sequence[Residues]) -> tuple[Masked, MaskedInput]:
    """Mask the encoded vectors, in place, with the self mask and one mask for each peer."""
    session, own_id = state.session, state.session.number
    mask_key = KeyPair(state.mask_private_key)
    own_end = (own_id, state.mask_public_key)
    pairwise_seeds = {}
    for peer_id, (peer_key, _) in state.peers.items():
        agreed = _agree(mask_key, peer_id, peer_key)
        pairwise_seeds[peer_id] = derivations.pairwise_mask_seed(
            agreed, session.session_id, own_end, (peer_id, peer_key)
        )
    masking.mask(
        vectors,
        client_id=own_id,
        self_mask_seed=derivations.self_mask_stream_seed(session.session_id, own_id, state.self_mask_seed),
        pairwise_seeds=pairwise_seeds,
        threads=party.threads,
    )
    packed = tuple(
        memoryview(pack(reduce_in_place(vector, codec.modulus_bits), codec.modulus_bits))
        for vector, codec in zip(vectors, session.config.codecs, strict=True)
    )
    following = Masked(
        session,
        state.confirmation_private_key,
        state.own_share,
        {peer_id: confirmation_key for peer_id, (_, confirmation_key) in state.peers.items()},
        state.shares,
        state.everyone,
    )
    return following, MaskedInput(session.session_id, own_id, packed, state.complaints)


def confirm(party: Party, state: Masked, survivor_list: SurvivorList) -> tuple[Confirmed, Confirmation]:
    """Sign who shared keys and whose input arrived."""
    if not state.confirmation_private_key:
        raise ContradictoryRequest("a curious-server session has no consistency check")
    checks.check_survivor_list(state, party.policy, survivor_list)
    session_id = state.session.session_id
    statement = derivations.survivors_statement(
        session_id, state.everyone, survivor_list.shared, survivor_list.survivors
    )
    signature = Identity(state.confirmation_private_key).sign(statement)
    kept = msgspec.structs.replace(state, confirmation_private_key=b"")
    surviving_peers = tuple(sorted(state.peers.keys() & set(survivor_list.survivors)))
    following = Confirmed(kept, statement, surviving_peers, len(survivor_list.survivors))
    return following, Confirmation(session_id, state.session.number, signature)


def unmask_confirmed(party: Party, state: Confirmed, request: UnmaskingRequest) -> tuple[Completed, UnmaskingShares]:
    """Give shares once enough neighbours are shown to have signed the same."""
    checks.check_confirmations(state, request)
    return _give_shares(party, state.masked, request)


def unmask_unconfirmed(party: Party, state: Masked, request: UnmaskingRequest) -> tuple[Completed, UnmaskingShares]:
    """Give shares to a server that tells one story by assumption."""
    if state.confirmation_private_key:
        raise ContradictoryRequest("against a server that may equivocate, unmasking comes after the consistency check")
    return _give_shares(party, state, request)


def _give_shares(party: Party, state: Masked, request: UnmaskingRequest) -> tuple[Completed, UnmaskingShares]:
    checks.check_unmasking_request(state, party.policy, request)
    dropped = set(request.dropped)
    given = {owner: key if owner in dropped else seed for owner, (seed, key) in state.shares.items()}
    if state.own_share:
        given[state.session.number] = state.own_share
    shares = b"".join([given[owner] for owner in sorted(given)])
    return Completed(), UnmaskingShares(state.session.session_id, state.session.number, shares)


def _agree(own: KeyPair, peer_id: int, peer_public_key: bytes) -> bytes:
    """Agree on a secret, or blame the peer whose key does not allow it."""
    try:
        return own.agree(peer_public_key)
    except AuthenticationFailed as error:
        raise AuthenticationFailed(error.reason, culprits={peer_id}) from None
