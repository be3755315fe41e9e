"""What a client holds against the server's messages before it answers: pure functions that return or raise."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from secagg import signatures
from secagg.errors import AuthenticationFailed, ContradictoryRequest, MalformedMessage, ParameterError, ThresholdError

from .. import derivations
from ..config import RoundConfig
from ..graph import Graph
from ..key_checks import check_advertised_keys
from ..messages import (
    COMMITMENTS_BYTES,
    SEALED_SHARES_BYTES,
    AdvertiseKeys,
    InputRequest,
    Roster,
    ShareDelivery,
    SurvivorList,
    UnmaskingRequest,
)
from ..policy import ClientPolicy
from .state import Confirmed, Masked, Session


def check_own_number(config: RoundConfig, number: int) -> None:
    """The client's number must be one of the round's."""
    if not 1 <= number <= config.num_clients:
        raise ParameterError(
            f"the server gives this client the number {number}, but the round's are 1 to {config.num_clients}"
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
    graph = Graph.of(config, session.session_id, roster.everyone)
    strangers = entries.keys() - graph.neighbours(own.sender)
    if strangers:
        raise ContradictoryRequest("the roster lists clients that are no neighbours", culprits=strangers)
    if any(entry.session_id != session.session_id for entry in entries.values()):
        raise ContradictoryRequest("the roster lists keys of another session")
    keys = [key for entry in roster.entries for key in entry.public_keys]
    if len(set(keys)) != len(keys):
        raise ContradictoryRequest("the roster lists the same public key twice")
    for entry in entries.values():
        try:
            check_advertised_keys(entry, config.threat_model.adversary, known_identities)
        except MalformedMessage as error:  # the roster is well-formed, and contradicts the configuration
            raise ContradictoryRequest(error.reason, culprits=error.culprits) from None
    _check_enough(config, policy.min_neighbours, len(entries), "neighbours advertised keys")
    return dict(sorted(entries.items()))


def check_everyone(session: Session, everyone: bytes, shown: Mapping[int, bytes]) -> None:
    """In the complete graph a client is shown everyone's keys, and can tell whether the digest is of them."""
    if session.config.topology.complete and everyone != derivations.roster_digest(shown):
        raise ContradictoryRequest("the roster's digest of everyone's keys is of other keys than it lists")


def check_delivery(session: Session, policy: ClientPolicy, peers: Collection[int], delivery: ShareDelivery) -> None:
    """Shares must come from clients of the roster, once each, from enough of them, and with what was committed to."""
    dealers = set(delivery.dealers)
    if len(dealers) != len(delivery.dealers):
        raise ContradictoryRequest("the share delivery lists a client twice")
    strangers = dealers - set(peers)
    if strangers:
        raise ContradictoryRequest("shares from clients that are not in the roster", culprits=strangers)
    for what, size in (("sealed", SEALED_SHARES_BYTES), ("commitments", COMMITMENTS_BYTES)):
        given = len(getattr(delivery, what))
        if given != size * len(dealers):
            raise ContradictoryRequest(f"{given} bytes of {what} for {len(dealers)} clients, who have {size} each")
    _check_enough(session.config, policy.min_neighbours, len(dealers), "neighbours shared keys")


def check_peers(session: Session, policy: ClientPolicy, accepted: Collection[int], request: InputRequest) -> None:
    """Those that go on must be clients whose shares came, each once, and enough of them."""
    peers = set(request.peers)
    if len(peers) != len(request.peers):
        raise ContradictoryRequest("the input request lists a client twice")
    strangers = peers - set(accepted)
    if strangers:
        raise ContradictoryRequest("the input request lists clients whose shares did not come", culprits=strangers)
    _check_enough(session.config, policy.min_neighbours, len(peers), "neighbours go on")


def check_survivor_list(state: Masked, policy: ClientPolicy, survivor_list: SurvivorList) -> None:
    """Those of the neighbours must have shared keys whose masks are in the input; survivors be among them, and enough.

    Each client is listed once, and this one is a survivor.
    """
    config, own_id = state.session.config, state.session.number
    shared, survivors = set(survivor_list.shared), set(survivor_list.survivors)
    if len(survivors) != len(survivor_list.survivors) or len(shared) != len(survivor_list.shared):
        raise ContradictoryRequest("the survivor list has a client twice")
    if own_id not in survivors:
        raise ContradictoryRequest(f"the survivor list lacks client {own_id}")
    if survivors - shared:
        raise ContradictoryRequest("the survivor list has clients that shared no keys", culprits=survivors - shared)
    if max(shared) > config.num_clients:
        raise ContradictoryRequest("the survivor list has clients that were not invited")
    graph = Graph.of(config, state.session.session_id, state.everyone)
    others = (graph.neighbours(own_id) & shared) ^ state.peers.keys()
    if others:
        raise ContradictoryRequest(
            "other neighbours shared keys than those whose masks are in the input", culprits=others
        )
    _check_survivors(config, policy, len(survivors), len(survivors & state.peers.keys()))


def check_confirmations(state: Confirmed, request: UnmaskingRequest) -> None:
    """As many neighbours as the threshold must have signed the same as this client; the dropped must be the others.

    With 2t > k + corrupt neighbours, two stories cannot both have the signatures that a client wants to see, and no
    neighbour that answers can be made out to have dropped (SPEC section 9).
    """
    session, peers, own_id = state.masked.session, state.masked.peers, state.masked.session.number
    surviving = set(state.surviving_peers)
    if set(request.dropped) != peers.keys() - surviving or request.num_survivors != state.num_survivors:
        raise ContradictoryRequest("the request tells of other survivors than those that were confirmed")
    strangers = request.confirmations.keys() - surviving - {own_id}
    if strangers:
        raise ContradictoryRequest("confirmations by others than surviving neighbours", culprits=strangers)
    others = {signer: signature for signer, signature in request.confirmations.items() if signer != own_id}
    for signer, signature in others.items():
        try:
            signatures.verify(peers[signer], state.statement, signature)
        except AuthenticationFailed:
            raise AuthenticationFailed("a confirmation of another story", culprits={signer}) from None
    _check_enough(session.config, 0, len(others), "neighbours confirmed the survivors")


def check_unmasking_request(state: Masked, policy: ClientPolicy, request: UnmaskingRequest) -> None:
    """The dropped must be neighbours, each once and not this client, and leave enough survivors."""
    dropped, own_id = set(request.dropped), state.session.number
    if len(dropped) != len(request.dropped):
        raise ContradictoryRequest("the unmasking request drops a client twice")
    if own_id in dropped:
        raise ContradictoryRequest(f"the unmasking request drops client {own_id}, whose input is in the sum")
    strangers = dropped - state.peers.keys()
    if strangers:
        raise ContradictoryRequest("the unmasking request drops clients that are no neighbours", culprits=strangers)
    config = state.session.config
    surviving_neighbours = len(state.peers) - len(dropped)
    at_least = surviving_neighbours + 1
    claimed = request.num_survivors
    if claimed < at_least or (config.topology.complete and claimed != at_least):
        raise ContradictoryRequest(f"the request claims {claimed} survivors, but this client knows of {at_least}")
    if claimed > config.num_clients:
        raise ContradictoryRequest(f"the request claims {claimed} survivors of {config.num_clients} clients")
    _check_survivors(config, policy, claimed, surviving_neighbours)


def _check_survivors(config: RoundConfig, policy: ClientPolicy, survivors: int, surviving_neighbours: int) -> None:
    needed = max(config.min_survivors, policy.min_survivors)
    if survivors < needed:
        raise ThresholdError(f"{survivors} clients survived, but {needed} are needed", needed=needed, have=survivors)
    _check_enough(config, policy.min_neighbours, surviving_neighbours, "neighbours survived")


def _check_enough(config: RoundConfig, demanded: int, neighbours: int, what: str) -> None:
    """In the complete graph the client holds a share as well and counts towards the threshold."""
    own = 1 if config.topology.complete else 0
    needed = max(config.topology.threshold - own, demanded)
    if neighbours < needed:
        raise ThresholdError(f"{neighbours} {what}, but {needed} are needed", needed=needed, have=neighbours)
