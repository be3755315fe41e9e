"""Who holds shares of whose secrets: what is dealt, complained of and given, and in which order it lies there."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
import numpy.typing as npt

from ..graph import Graph
from ..messages import (
    COMMITMENTS_BYTES,
    SEALED_SHARES_BYTES,
    MaskedInput,
    ShareKeys,
    ShareReceipt,
    UnmaskingShares,
)
from . import checks
from .state import ServerState


def bound(state: ServerState, graph: Graph, owner: int) -> frozenset[int]:
    """Return who holds shares of a client's secrets and has not complained of them."""
    complaining = state.complaints.get(owner)
    return graph.holders(owner) - complaining if complaining else graph.holders(owner)


def recipients(graph: Graph, dealer: int, advertised: AbstractSet[int]) -> list[int]:
    """Return for whom a client deals shares, in the order of its records: its neighbours who advertised keys."""
    return sorted(graph.neighbours(dealer, advertised))


def owners(state: ServerState, graph: Graph, holder: int) -> list[int]:
    """Return of whom a client gives shares, in the order in which it does: of whom it has not complained."""
    held = graph.holders(holder, state.shared)  # who holds a client's shares deals it shares
    complained = {owner for owner, complaining in state.complaints.items() if holder in complaining}
    return sorted(held - complained if complained else held)


class Dealt:
    """What dealers have dealt, by recipient: records that came by dealer leave by recipient, a million in all.

    Args:
        state: once all have dealt.
        graph: of the session.
        dealers: whose records are delivered, ascending.
    """

    def __init__(self, state: ServerState, graph: Graph, dealers: Sequence[int]) -> None:
        advertised = frozenset(state.advertised)
        lists = [recipients(graph, dealer, advertised) for dealer in dealers]
        counts = np.fromiter(map(len, lists), np.intp, len(lists))
        to = np.fromiter(itertools.chain.from_iterable(lists), np.int32, counts.sum())
        order = to.argsort(kind="stable")  # by recipient, and by dealer for each
        self._ends = np.searchsorted(to[order], np.arange(1, state.config.num_clients + 2)).tolist()
        self._dealers = np.repeat(np.array(dealers, dtype=np.int32), counts)[order]
        ends = (COMMITMENTS_BYTES * counts).tolist()  # behind which the complete graph has what stays with the dealer
        commitments = [state.commitments[dealer][:end] for dealer, end in zip(dealers, ends, strict=True)]
        self._sealed = _rows(map(state.sealed.__getitem__, dealers), SEALED_SHARES_BYTES, order)
        self._commitments = _rows(commitments, COMMITMENTS_BYTES, order)

    def to(self, recipient: int) -> tuple[tuple[int, ...], bytes, bytes]:
        """Return who has dealt to a recipient, ascending, and the sealed shares and commitments of each in a row."""
        first, end = self._ends[recipient - 1 : recipient + 1]
        dealers = tuple(self._dealers[first:end].tolist())
        return dealers, self._sealed[first:end].tobytes(), self._commitments[first:end].tobytes()


def _rows(dealt: Iterable[bytes], size: int, order: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(dealt), np.uint8).reshape(-1, size).take(order, axis=0)


def refuted(state: ServerState, clients: Iterable[int]) -> frozenset[int]:
    """Return the clients of whom more holders complain than can be corrupt, so that an honest one does."""
    most = state.config.topology.max_corrupt_holders
    return frozenset(client for client in clients if len(state.complaints.get(client, ())) > most)


def take_dealt(state: ServerState, graph: Graph, message: ShareKeys, count: int) -> None:
    """Check that a client deals shares to so many neighbours, those in its roster, and keep them."""
    sender = message.sender
    checks.check_dealt(message, count, count + (sender in graph.holders(sender)))
    state.sealed[sender], state.commitments[sender] = message.sealed, message.commitments


def take(state: ServerState, graph: Graph, message: ShareReceipt | MaskedInput | UnmaskingShares) -> None:
    """Check what a client says about shares, and keep it."""
    sender = message.sender
    match message:
        case ShareReceipt():
            _take_complaints(state, sender, message.complaints, graph.neighbours(sender, state.shared))
            state.receipts.add(sender)
        case MaskedInput():
            receipts_came = state.config.threat_model.adversary.needs_identities
            judged = frozenset[int]() if receipts_came else graph.neighbours(sender, state.shared)
            _take_complaints(state, sender, message.complaints, judged)
        case _:
            checks.check_response(message, len(owners(state, graph, sender)))
            state.responses[sender] = message.shares


def _take_complaints(state: ServerState, holder: int, complaints: Collection[int], judged: AbstractSet[int]) -> None:
    checks.check_complaints(complaints, judged)
    for dealer in complaints:
        state.complaints.setdefault(dealer, set()).add(holder)
