"""Who holds shares of whose secrets: what is dealt, complained of and given."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet

from ..graph import Graph
from ..messages import MaskedInput, ShareKeys, ShareReceipt, UnmaskingShares
from . import checks
from .state import ServerState


def bound(state: ServerState, graph: Graph, owner: int) -> frozenset[int]:
    """Return who holds shares of a client's secrets and has not complained of them."""
    complaining = state.complaints.get(owner)
    return graph.holders(owner) - complaining if complaining else graph.holders(owner)


def refuted(state: ServerState, clients: Iterable[int]) -> frozenset[int]:
    """Return the clients of whom more holders complain than can be corrupt, so that an honest one does."""
    most = state.config.topology.max_corrupt_holders
    return frozenset(client for client in clients if len(state.complaints.get(client, ())) > most)


def take(state: ServerState, graph: Graph, message: ShareKeys | ShareReceipt | MaskedInput | UnmaskingShares) -> None:
    """Check what a client says about shares, and keep it."""
    sender = message.sender
    match message:
        case ShareKeys():
            neighbours = graph.neighbours(sender) & state.advertised.keys()
            checks.check_recipients(message, neighbours, neighbours | (graph.holders(sender) & {sender}))
            state.sealed[sender], state.commitments[sender] = message.sealed, message.commitments
        case ShareReceipt():
            _take_complaints(state, sender, message.complaints, graph.neighbours(sender) & state.shared)
            state.receipts.add(sender)
        case MaskedInput():
            receipts_came = state.config.threat_model.adversary.needs_identities
            judged = frozenset[int]() if receipts_came else graph.neighbours(sender) & state.shared
            _take_complaints(state, sender, message.complaints, judged)
        case _:
            held = graph.holders(sender) & state.shared  # who holds a client's shares deals it shares
            owners = {owner for owner in held if sender not in state.complaints.get(owner, ())}
            checks.check_response(message, owners & state.masked, owners - state.masked)
            state.responses[sender] = message


def _take_complaints(state: ServerState, holder: int, complaints: Collection[int], judged: AbstractSet[int]) -> None:
    checks.check_complaints(complaints, judged)
    for dealer in complaints:
        state.complaints.setdefault(dealer, set()).add(holder)
