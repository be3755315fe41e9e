"""What the server sends in each phase, as a function of its state: a state that was restored sends the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ..graph import Graph
from ..messages import Invitation, Roster, ShareDelivery, SurvivorList, ToClient, UnmaskingRequest
from ..transitions import ServerPhase
from .state import ServerState


def compose(
    state: ServerState, invitation: Invitation, graph: Graph, recipients: Sequence[int]
) -> Mapping[int, ToClient]:
    """Return the message of the state's phase for each recipient; none once the session has ended."""
    session_id = invitation.session_id
    match state.phase:
        case ServerPhase.ADVERTISE_KEYS:
            return {client_id: msgspec.structs.replace(invitation, recipient=client_id) for client_id in recipients}
        case ServerPhase.SHARE_KEYS:
            return {client_id: _roster(state, session_id, graph, client_id) for client_id in recipients}
        case ServerPhase.MASKED_INPUT:
            return {client_id: _delivery(state, session_id, graph, client_id) for client_id in recipients}
        case ServerPhase.CONSISTENCY_CHECK:
            shared, survivors = tuple(sorted(state.shared)), tuple(sorted(state.masked))
            return {client_id: SurvivorList(session_id, client_id, shared, survivors) for client_id in recipients}
        case ServerPhase.UNMASKING:
            dropped = state.shared - state.masked
            return {client_id: _request(state, session_id, graph, client_id, dropped) for client_id in recipients}
        case _:
            return {}


def _roster(state: ServerState, session_id: bytes, graph: Graph, client_id: int) -> Roster:
    members = sorted((graph.neighbours(client_id) | {client_id}) & state.advertised.keys())
    return Roster(session_id, client_id, tuple(state.advertised[member] for member in members))


def _delivery(state: ServerState, session_id: bytes, graph: Graph, client_id: int) -> ShareDelivery:
    senders = sorted(graph.neighbours(client_id) & state.shared)
    return ShareDelivery(session_id, client_id, {sender: state.sealed[sender][client_id] for sender in senders})


def _request(
    state: ServerState, session_id: bytes, graph: Graph, client_id: int, dropped: set[int]
) -> UnmaskingRequest:
    neighbours = graph.neighbours(client_id)
    # As many of its neighbours' confirmations as a client wants to see; there are none in curious sessions.
    confirming = sorted(neighbours & state.confirmations.keys())[: state.config.topology.threshold]
    return UnmaskingRequest(
        session_id,
        client_id,
        len(state.masked),
        tuple(sorted(neighbours & dropped)),
        {signer: state.confirmations[signer] for signer in confirming},
    )
