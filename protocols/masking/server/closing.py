"""What closing a phase demands and computes: who is left, whether that is enough, and the unmasking at the end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from secagg.errors import InconsistentShares, ThresholdError
from secagg.residues import Residues

from ..graph import Graph
from ..messages import COMMITMENTS_BYTES, records
from ..transitions import ServerPhase
from . import unmasking
from .holding import bound, owners, recipients, refuted
from .state import ServerState

GARBAGE = "dealt shares of which more holders complain than can be corrupt"


def turns(  # noqa: PLR0911 - a table
    state: ServerState, *, confirms: bool
) -> tuple[Iterable[int], Collection[int]]:
    """Return who may speak in the state's phase, and the collection that holds who has spoken."""
    match state.phase:
        case ServerPhase.ADVERTISE_KEYS:
            return range(1, state.config.num_clients + 1), state.advertised
        case ServerPhase.SHARE_KEYS:
            return state.advertised, state.sealed
        case ServerPhase.ACCEPT_SHARES:
            return state.shared, state.receipts
        case ServerPhase.MASKED_INPUT:
            return state.shared, state.masked
        case ServerPhase.CONSISTENCY_CHECK:
            return state.masked, state.confirmations
        case ServerPhase.UNMASKING:
            return state.confirmations if confirms else state.masked, state.responses
        case _:
            return (), ()


def recoverable(state: ServerState, graph: Graph, clients: Iterable[int]) -> frozenset[int]:
    """Leave out clients whose secrets too few of the others would hold, until none is left that must be left out.

    Raises:
        ThresholdError: fewer are left than the round's minimum.
    """
    remaining = set(clients) - state.excluded.keys()
    threshold = state.config.topology.threshold
    while True:
        lonely = {client for client in remaining if len(bound(state, graph, client) & remaining) < threshold}
        if not lonely:
            break
        remaining -= lonely
    _check_minimum(state, len(remaining))
    return frozenset(remaining)


def leave_out(state: ServerState, graph: Graph) -> list[int]:
    """Leave out whose shares too few have accepted; return those of them that are known to have dealt rubbish.

    Raises:
        ThresholdError: fewer are left than the round's minimum.
    """
    state.shared = set(recoverable(state, graph, state.receipts))
    state.sealed = {}
    return sorted(refuted(state, state.receipts - state.shared))


def check_survivors(state: ServerState, graph: Graph, responsive: Iterable[int]) -> None:
    """Every secret that will be needed must have enough holders among the responsive.

    Raises:
        InconsistentShares: one has not, and more of its holders complain than can be corrupt: the owner is named.
        ThresholdError: one has not, and nobody is known to be to blame.
    """
    _check_minimum(state, len(state.masked))
    responsive = frozenset(responsive)
    threshold = state.config.topology.threshold
    left = {owner: len(bound(state, graph, owner) & responsive) for owner in state.shared}
    short = [owner for owner, have in left.items() if have < threshold]
    if not short:
        return
    culprits = refuted(state, short)
    if culprits:
        raise InconsistentShares(GARBAGE, culprits=culprits)
    have = min(left.values())
    raise ThresholdError(
        f"only {have} holders of a client's shares are left, but {threshold} are needed", needed=threshold, have=have
    )


def unmask(
    state: ServerState, graph: Graph, session_id: bytes, sums: Sequence[Residues], threads: int | None
) -> set[int]:
    """Take the masks that did not cancel from the sums, in place; return who gave wrong shares.

    Raises:
        InconsistentShares: a secret cannot be reconstructed.
    """
    given = unmasking.Given(
        (holder, owners(state, graph, holder), shares) for holder, shares in state.responses.items()
    )
    dropped = state.shared - state.masked
    advertised = frozenset(state.advertised)

    def committed(dealer: int) -> dict[int, bytes]:
        holders = [*recipients(graph, dealer, advertised), dealer]  # the dealer itself in the complete graph alone
        return dict(zip(holders, records(state.commitments[dealer], COMMITMENTS_BYTES), strict=False))

    recovered = unmasking.recover(
        session_id,
        state.advertised,
        committed,
        given,
        survivors=state.masked,
        dropped=dropped,
        threshold=state.config.topology.threshold,
    )
    unmasking.remove_masks(
        sums,
        session_id,
        state.advertised,
        recovered,
        orphans={owner: sorted(graph.neighbours(owner, state.masked)) for owner in dropped},
        threads=threads,
    )
    return set(recovered.liars)


def aborted(state: ServerState) -> ServerState:
    """Keep who was excluded or lied, `revealed`, and what was accepted, for retries; forget the rest."""
    return ServerState(
        state.config,
        state.nonce,
        ServerPhase.ABORTED,
        state.names,
        state.keys,
        revealed=state.revealed,
        excluded=state.excluded,
        accepted=state.accepted,
        liars=state.liars,
    )


def _check_minimum(state: ServerState, have: int) -> None:
    needed = state.config.min_survivors
    if have < needed:
        raise ThresholdError(f"{have} clients are left, but {needed} are needed", needed=needed, have=have)
