"""What a client holds against the server's messages before it answers: pure functions that return or raise."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from secagg import signatures
from secagg.errors import AuthenticationFailed, ContradictoryRequest, MalformedMessage, ParameterError, ThresholdError

from . import bindings
from .client_state import Confirmed, Masked, Session
from .configuration import ClientPolicy, RoundConfig
from .graph import Graph
from .messages import AdvertiseKeys, Roster, ShareDelivery, SurvivorList, UnmaskingRequest
from .parameters import Adversary


def check_own_id(config: RoundConfig, client_id: int) -> None:
    """The client's id must be one of the round's."""
    if not 1 <= client_id <= config.threat_model.num_clients:
        raise ParameterError(
            f"client_id is {client_id}, but the round's are 1 to {config.threat_model.num_clients}: number them anew"
        )


def check_roster(
    session: Session,
    policy: ClientPolicy,
    own: AdvertiseKeys,
    roster: Roster,
    known_identities: Mapping[int, bytes],
) -> dict[int, AdvertiseKeys]:
    """The roster must have the client's own keys unchanged, and beside them unique neighbours, enough of them.

    Returns:
        The neighbours' entries by id, in order.
    """
    entries = {entry.sender: entry for entry in roster.entries}
    if len(entries) != len(roster.entries):
        raise ContradictoryRequest("the roster lists a client twice")
    if entries.pop(own.sender, None) != own:
        raise ContradictoryRequest(f"the roster lacks client {own.sender} or changes its keys")
    config = session.config
    graph = Graph(config.topology, config.threat_model.num_clients, bindings.graph_seed(session.session_id))
    strangers = entries.keys() - graph.neighbours(own.sender)
    if strangers:
        raise ContradictoryRequest("the roster lists clients that are no neighbours", culprits=strangers)
    if any(entry.session_id != session.session_id for entry in entries.values()):
        raise ContradictoryRequest("the roster lists keys of another session")
    keys = [key for entry in roster.entries for key in (entry.cipher_public_key, entry.mask_public_key)]
    if len(set(keys)) != len(keys):
        raise ContradictoryRequest("the roster lists the same public key twice")
    if config.threat_model.adversary is Adversary.MALICIOUS_SERVER:
        for entry in entries.values():
            check_key_signature(entry, known_identities)
    _check_enough(config, policy, len(entries), "neighbours advertised keys")
    return dict(sorted(entries.items()))


def check_key_signature(keys: AdvertiseKeys, known_identities: Mapping[int, bytes]) -> None:
    """Advertised keys must be signed by the identity that is known for their sender."""
    identity = known_identities.get(keys.sender)
    if identity is None or keys.signature is None:
        raise AuthenticationFailed("advertised keys without a known identity's signature", culprits={keys.sender})
    try:
        signatures.verify(identity, bindings.keys_statement(keys), keys.signature)
    except AuthenticationFailed as error:
        raise AuthenticationFailed(error.reason, culprits={keys.sender}) from None


def check_delivery(session: Session, policy: ClientPolicy, peers: Collection[int], delivery: ShareDelivery) -> None:
    """Shares must come from clients of the roster, and from enough of them."""
    strangers = delivery.sealed.keys() - set(peers)
    if strangers:
        raise ContradictoryRequest("shares from clients that are not in the roster", culprits=strangers)
    _check_enough(session.config, policy, len(delivery.sealed), "neighbours shared keys")


def check_survivors(state: Masked, policy: ClientPolicy, own_id: int, survivor_list: SurvivorList) -> None:
    """The survivors must be clients that shared keys, each once, this one among them, and enough of them."""
    survivors = set(survivor_list.survivors)
    if len(survivors) != len(survivor_list.survivors):
        raise ContradictoryRequest("the survivor list has a client twice")
    if own_id not in survivors:
        raise ContradictoryRequest(f"the survivor list lacks client {own_id}")
    strangers = survivors - {own_id} - set(state.peers)
    if strangers:
        raise ContradictoryRequest("the survivor list has clients that shared no keys", culprits=strangers)
    _check_survivors(state.session.config, policy, len(survivors), len(survivors) - 1)


def survivors_statement(state: Masked, own_id: int, survivors: Collection[int]) -> bytes:
    """Return what this client signs, and what it expects that others have signed."""
    shared = {*state.peers, own_id}
    return bindings.survivors_statement(state.session.session_id, state.roster_digest, shared, survivors)


def check_confirmations(
    state: Confirmed, own_id: int, request: UnmaskingRequest, known_identities: Mapping[int, bytes]
) -> None:
    """As many survivors as the threshold must have signed for the same view, and the dropped be the others."""
    if set(request.dropped) != set(state.masked.peers) - set(state.survivors):
        raise ContradictoryRequest("the request drops others than those missing from the confirmed survivors")
    strangers = request.confirmations.keys() - set(state.survivors)
    if strangers:
        raise ContradictoryRequest("confirmations by clients that did not survive", culprits=strangers)
    statement = survivors_statement(state.masked, own_id, state.survivors)
    for signer, signature in request.confirmations.items():
        try:
            signatures.verify(known_identities[signer], statement, signature)
        except AuthenticationFailed:
            raise AuthenticationFailed(
                "a confirmation of other survivors or another roster", culprits={signer}
            ) from None
    needed = state.masked.session.config.topology.threshold
    have = len(request.confirmations.keys() | {own_id})
    if have < needed:
        raise ThresholdError(
            f"{have} clients confirmed the survivors, but {needed} are needed", needed=needed, have=have
        )


def check_unmasking_request(state: Masked, policy: ClientPolicy, own_id: int, request: UnmaskingRequest) -> None:
    """The dropped must be neighbours, each once and not this client, and leave enough survivors."""
    dropped = set(request.dropped)
    if len(dropped) != len(request.dropped):
        raise ContradictoryRequest("the unmasking request drops a client twice")
    if own_id in dropped:
        raise ContradictoryRequest(f"the unmasking request drops client {own_id}, whose input is in the sum")
    strangers = dropped - set(state.peers)
    if strangers:
        raise ContradictoryRequest("the unmasking request drops clients that are no neighbours", culprits=strangers)
    config = state.session.config
    surviving_neighbours = len(state.peers) - len(dropped)
    at_least = surviving_neighbours + 1
    claimed = request.num_survivors
    if claimed < at_least or (config.topology.complete and claimed != at_least):
        raise ContradictoryRequest(f"the request claims {claimed} survivors, but this client knows of {at_least}")
    if claimed > config.threat_model.num_clients:
        raise MalformedMessage(f"the request claims {claimed} survivors of {config.threat_model.num_clients} clients")
    _check_survivors(config, policy, claimed, surviving_neighbours)


def _check_survivors(config: RoundConfig, policy: ClientPolicy, survivors: int, surviving_neighbours: int) -> None:
    needed = max(config.minimum_survivors, policy.minimum_survivors)
    if survivors < needed:
        raise ThresholdError(f"{survivors} clients survived, but {needed} are needed", needed=needed, have=survivors)
    _check_enough(config, policy, surviving_neighbours, "neighbours survived")


def _check_enough(config: RoundConfig, policy: ClientPolicy, neighbours: int, what: str) -> None:
    """In the complete graph the client holds a share as well and counts towards the threshold."""
    own = 1 if config.topology.complete else 0
    needed = max(config.topology.threshold - own, policy.minimum_neighbours)
    if neighbours < needed:
        raise ThresholdError(f"{neighbours} {what}, but {needed} are needed", needed=needed, have=neighbours)
