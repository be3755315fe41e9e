"""What a node's site has agreed to answer, from the question until the session asks for it under masks.

The site is asked once: that it answers is in its journal before the server hears of it, and what it adds to the sum is
what it has noted. Its totals lie in the node's own state as long, beside the session's keys.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context

from secagg.errors import UnexpectedMessage

from ..core import framing
from ..core.machine import Inputs, Values
from ..masking.policy import ClientPolicy
from ..statistics import Query, read_query
from .content import Model
from .memory import AGREED, TOTALS


class Agreed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What a site has agreed to.

    Attributes:
        run_id: Flower's, of the run that asked.
        query: as it was read.
        min_clients: fewer nodes than this are not summed with.
        min_survivors: sums of fewer are refused.
    """

    run_id: int
    query: bytes
    min_clients: int
    min_survivors: int

    def stricter(self, policy: ClientPolicy) -> ClientPolicy:
        """Return a policy that demands what it did, and as many nodes as the site does."""
        return replace(
            policy,
            min_clients=max(policy.min_clients, self.min_clients),
            min_survivors=max(policy.min_survivors, self.min_survivors),
        )


def agree(context: Context, query: Query, demand: ClientPolicy, inputs: Inputs) -> None:
    """Keep what a site has agreed to, in place of what was before."""
    agreed = Agreed(context.run_id, query.encoded, demand.min_clients, demand.min_survivors)
    context.state[AGREED] = ConfigRecord({"agreed": msgspec.msgpack.encode(agreed)})
    context.state[TOTALS] = ArrayRecord({name: Array(np.asarray(value)) for name, value in inputs.values.items()})


def agreed_query(context: Context) -> tuple[Agreed, Query]:
    """Return what the site has agreed to.

    Raises:
        UnexpectedMessage: nothing, or in another run.
        MalformedMessage: what is kept is damaged.
    """
    record = context.state.get(AGREED)
    kept = record.get("agreed") if isinstance(record, ConfigRecord) else None
    agreed = framing.decode_body(kept, Agreed) if isinstance(kept, bytes) else None
    if agreed is None or agreed.run_id != context.run_id:
        raise UnexpectedMessage("this node has agreed to no query: it was not asked, refused, or was started anew")
    return agreed, read_query(agreed.query)


def take_totals(context: Context) -> Values:
    """Return what the site adds to the sum, and forget it.

    Raises:
        UnexpectedMessage: there is nothing.
    """
    totals = context.state.get(TOTALS)
    forget(context)
    if not isinstance(totals, ArrayRecord):
        raise UnexpectedMessage("this node has given its answer to that query, or lost it")
    return dict(Model.of(totals).arrays)


def forget(context: Context) -> None:
    """Forget what the site has agreed to, if it has."""
    for name in (AGREED, TOTALS):
        context.state.pop(name, None)
