"""What a session is bound to beside its configuration: which nodes take part, and what they train or answer.

It comes with the invitation. Its digest is in the name of the first vector, and so in the session id: nodes that were
told different things share no masks, and their inputs do not come out.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta

from secagg.derivation import Label, digest
from secagg.encoding import Rounding
from secagg.errors import ParameterError

from ..core.participants import Participants
from ..inputs.vectors import FloatVector, IntegerVector, PrivateVector, VectorSpec
from ..masking.config import RoundConfig
from ..masking.messages import Bytes32
from ..statistics import Plan, Query
from .envelope import ADAPTER_VERSION, STATISTICS
from .settings import CLIPPED, COUNTER_BITS, COUNTER_LIMIT, COUNTERS, METRIC_BITS, METRICS, QUERY, UPDATE, WEIGHT

NODE_ID_BYTES = 8
_ROUNDING = Rounding.STOCHASTIC  # to the nearest, few bits and a large clip would tell which coordinates are large


class Announcement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What a round is about: everything that must be the same for all of its nodes.

    Attributes:
        run_id: Flower's.
        message_type: of the train message, or STATISTICS.
        node_ids: Flower's ids of the nodes, ascending, eight bytes each; the i-th node is client i. None for a session
            of a group: each node knows its own.
        identities: Ed25519 public keys in the same order, against a malicious server; else none, and none for a group.
        content: digest of the train message, or of the query, of which nothing else is announced.
        weighted_by: the key of the weight among the metrics that training returns.
        metrics: names of the others, with the length of their lists (0 for single numbers).
        max_clipped_fraction: a greater fraction of coordinates beyond the clip is refused.
    """

    run_id: int
    message_type: str
    node_ids: bytes
    identities: tuple[Bytes32, ...]
    content: Bytes32
    weighted_by: str
    metrics: tuple[tuple[str, Annotated[int, Meta(ge=0)]], ...]
    max_clipped_fraction: Annotated[float, Meta(ge=0, le=1)]

    @property
    def context(self) -> bytes:
        """The 32 bytes that stand for all of it in the session."""
        return digest(Label.FLOWER_CONTEXT, bytes([ADAPTER_VERSION]), msgspec.msgpack.encode(self))

    def participants(self) -> Participants:
        """Return the nodes by name, numbered by their ids, with their identities where there are any.

        Raises:
            ParameterError: the ids are cut off or not ascending, so that one may stand there twice, or the identities
                are not as many, or not distinct.
        """
        return participants_of(self.node_ids, self.identities)

    def check_config(self, config: RoundConfig, num_nodes: int | None = None) -> None:
        """Return if the configuration is of this announcement: clients, vectors in order, and the bound context.

        Args:
            config: of the session.
            num_nodes: in the node's own group, where none are announced.

        Raises:
            ParameterError: it is not; the text says in what.
        """
        self._check_number(config, num_nodes)
        if config.private:
            self._check_private(config)
            return
        names = (UPDATE + self.context.hex(), COUNTERS, METRICS, WEIGHT, CLIPPED)
        match config.vectors:
            case (
                FloatVector(rounding=update_rounding) as update,
                FloatVector(clip=float(counter_limit), value_bits=counter_bits, rounding=counter_rounding),
                FloatVector(length=num_metrics, value_bits=metric_bits, rounding=metric_rounding),
                IntegerVector(length=1),
                IntegerVector(length=1, max_value=most_clipped),
            ) if not config.weighted:
                pass
            case _:
                raise ParameterError(
                    "the server proposes other vectors than this adapter knows: install the same versions"
                )
        if tuple(spec.name for spec in config.vectors) != names:
            raise ParameterError("the round is not bound to what the server announces: install the same versions")
        if num_metrics != sum(length or 1 for _, length in self.metrics):
            raise ParameterError("the round has another number of metrics than the server announces")
        # No setting moves these: a node that refused because of one would tell of its update what it need not.
        fixed = (counter_limit, counter_bits, metric_bits, most_clipped)
        roundings = {update_rounding, counter_rounding, metric_rounding}
        if fixed != (COUNTER_LIMIT, COUNTER_BITS, METRIC_BITS, max(1, update.length)) or roundings != {_ROUNDING}:
            raise ParameterError("the server proposes other limits than this adapter knows: install the same versions")

    def check_query(self, config: RoundConfig, query: Query) -> None:
        """Return if the configuration is of this announcement, and this of a query and nothing else.

        Raises:
            ParameterError: it is not; the text says in what.
        """
        self._check_number(config)
        if self.message_type != STATISTICS or self.content != query.digest:
            raise ParameterError("the server announces another query than this node has agreed to answer")
        if config.vectors != query_vectors(self, Plan(query)) or config.weighted:
            raise ParameterError(
                "the session sums other vectors than the query's, or is not bound to it: install the same versions"
            )

    def _check_number(self, config: RoundConfig, num_nodes: int | None = None) -> None:
        num_nodes = len(self.node_ids) // NODE_ID_BYTES if num_nodes is None else num_nodes
        if config.num_clients != num_nodes:
            raise ParameterError(f"the server lists {num_nodes} nodes, but proposes a round of {config.num_clients}")

    def _check_private(self, config: RoundConfig) -> None:
        if len(config.vectors) != 1 or not isinstance(config.vectors[0], PrivateVector) or self.metrics:
            raise ParameterError("a private round sums the update and nothing else: install the same versions")
        if config.vectors[0].name != UPDATE + self.context.hex():
            raise ParameterError("the round is not bound to what the server announces: install the same versions")


def participants_of(node_ids: bytes, identities: tuple[bytes, ...]) -> Participants:
    """Return nodes by name, with their identities where there are any; raises as `Announcement.participants`."""
    if len(node_ids) % NODE_ID_BYTES:
        raise ParameterError("the list of nodes is cut off")
    starts = range(0, len(node_ids), NODE_ID_BYTES)
    nodes = [int.from_bytes(node_ids[at : at + NODE_ID_BYTES], "big") for at in starts]
    if any(one >= other for one, other in pairwise(nodes)):
        raise ParameterError("the announced nodes are not in ascending order: the server lists a node twice")
    if not identities:
        return Participants(map(node_name, nodes))
    if len(identities) != len(nodes) or len(set(identities)) != len(nodes):
        raise ParameterError("the server must announce one identity for each node, all distinct")
    return Participants(dict(zip(map(node_name, nodes), identities, strict=True)))


def query_announcement(run_id: int, nodes: Iterable[int], identities: tuple[bytes, ...], query: Query) -> Announcement:
    """Return the announcement of a session that answers a query."""
    return Announcement(
        run_id=run_id,
        message_type=STATISTICS,
        node_ids=pack_node_ids(nodes),
        identities=identities,
        content=query.digest,
        weighted_by="",
        metrics=(),
        max_clipped_fraction=0.0,
    )


def query_vectors(announcement: Announcement, plan: Plan) -> tuple[VectorSpec, ...]:
    """Return what a query's session sums: nothing, by a name that binds it to the announcement, and the query's own."""
    return (IntegerVector(QUERY + announcement.context.hex(), 0), *plan.vectors)


def node_name(node_id: int) -> str:
    """Return what a node is called in sessions and ledgers: its id with leading zeros, so that names sort as ids do."""
    return f"node-{node_id:020}"


def node_id_of(name: str) -> int:
    """Return Flower's id of a node by that name."""
    return int(name.removeprefix("node-"))


def pack_node_ids(node_ids: Iterable[int]) -> bytes:
    """Return eight bytes an id, big-endian."""
    return b"".join(node_id.to_bytes(NODE_ID_BYTES, "big") for node_id in node_ids)
