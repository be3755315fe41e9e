"""Which group a node is in, and which draws it took part in: a file of its operator's, one for each identity.

It is on the disk before an answer leaves, and outlives runs and states of Flower's that come back. It goes by the
node's own identity, and not by the node's id, which the SuperLink gives.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from flwr.app import Context

from secagg.errors import ContradictoryRequest, UnexpectedMessage
from secagg.signatures import Identity

from ..core.dumps import decode_state, encode_state
from ..core.files import write_whole
from ..core.participants import Participants
from ..groups import Groups, PastDraws, Terms, member_policy
from ..masking.policy import ClientPolicy
from .announcement import Announcement, node_id_of, pack_node_ids, participants_of
from .answered import folder_of
from .durable import alone, make, noting
from .envelope import RECORD

KEPT_GROUPS = 100
"""Groups of so many runs are kept, the last ones; a node takes no part in a run whose group it has forgotten."""
_FOLDER = "draws"


class OwnGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """The group that a node is in, in one run.

    Attributes:
        run_id: Flower's.
        node_ids: of its members, ascending, eight bytes each.
        identities: theirs, in the same order.
        max_corrupt: how many of them the session must withstand.
        honest_minimum: how many inputs of others a sum must have.
        asked: the fingerprint of the message that it settled by.
        answer: to that message, which is given again where it was lost.
    """

    run_id: int
    node_ids: bytes
    identities: tuple[bytes, ...]
    max_corrupt: int
    honest_minimum: int
    asked: bytes = b""
    answer: bytes = b""

    @classmethod
    def of(cls, run_id: int, terms: Terms, groups: Groups, name: str, asked: bytes, answer: bytes) -> OwnGroup:
        """Return the group of a participant of a draw, which it has settled by such an answer."""
        members = groups.members[groups.of(name)]
        return cls(
            run_id,
            pack_node_ids(map(node_id_of, members)),
            tuple(members.keys[each] for each in members),
            terms.plan.max_corrupt(len(members)),
            terms.plan.honest_minimum,
            asked,
            answer,
        )

    def participants(self) -> Participants:
        """Return the members."""
        return participants_of(self.node_ids, self.identities)

    def policy(self, own: ClientPolicy) -> ClientPolicy:
        """Return what the node asks of its group's sessions; raise ParameterError if it asks for more nodes."""
        return member_policy(len(self.identities), self.max_corrupt, self.honest_minimum, own)


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    past: bytes
    groups: tuple[OwnGroup, ...]


class Draws:
    """What a node remembers of draws. `save` before an answer leaves."""

    def __init__(self, path: Path) -> None:
        self._path = path
        kept = decode_state(path.read_bytes(), _Kept) if path.exists() else None
        self.past = PastDraws.load(kept.past) if kept else PastDraws()
        self._groups = {group.run_id: group for group in kept.groups} if kept else {}

    def group(self, run_id: int) -> OwnGroup | None:
        """Return the node's group in a run; None where none was drawn.

        Raises:
            UnexpectedMessage: one was, and is forgotten.
        """
        group = self._groups.get(run_id)
        if group is None and self.past.coin(data_of(run_id)) is not None:
            raise UnexpectedMessage("this node was in a group in this run, and has forgotten it: it takes no part")
        return group

    def settle(self, group: OwnGroup) -> None:
        """Keep the node's group of a run."""
        self._groups[group.run_id] = group

    def save(self) -> None:
        """Have it on the disk; raise OSError if that fails."""
        kept = _Kept(self.past.dump(), tuple(self._groups.values())[-KEPT_GROUPS:])
        write_whole(self._path, encode_state(kept), mode=0o600)


def data_of(run_id: int) -> str:
    """Return a node's own name for what it hands in in a run: updates, which change from run to run."""
    return f"updates of run {run_id}"


@contextmanager
def remembered(node: Mapping[str, Any], identity: Identity) -> Iterator[Draws]:
    """Return what a node remembers of draws, while no other process of this machine changes it.

    Raises:
        ParameterError: it cannot be read or written; where and why is in the node's log.
        StateError: it is damaged.
    """
    path = _path(node, identity)
    with noting(path):
        make(path.parent)
        lock = os.open(path.with_name("lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            with alone(lock):
                yield Draws(path)
        finally:
            os.close(lock)


def group_in(node: Mapping[str, Any], identity: Identity | None, run_id: int) -> OwnGroup | None:
    """Return a node's group in a run; None where none was drawn, as always without an identity. Raises as `Draws`."""
    if identity is None:
        return None
    path = _path(node, identity)
    with noting(path):
        return Draws(path).group(run_id) if path.exists() else None


def group_of(announcement: Announcement, context: Context, identity: Identity | None) -> OwnGroup | None:
    """Return the node's group, if an announcement of training is of its session; None for a session without groups.

    Raises:
        UnexpectedMessage, ContradictoryRequest: the session is of others than the node's group.
    """
    group = group_in(context.node_config, identity, context.run_id)
    if group is None and not announcement.node_ids:
        raise UnexpectedMessage("invited to the session of a group, but this node is in none in this run")
    if group is not None and (announcement.node_ids or announcement.identities):
        raise ContradictoryRequest(
            "invited to a session of other nodes than its group's: this node is in one group in this run"
        )
    if group is None:
        _check_undrawn(context, identity)
    return group


def check_goes_on(announcement: Announcement, context: Context, identity: Identity | None) -> None:
    """Return if a session of training may go on: its nodes may have drawn groups since it began.

    Args:
        announcement: of the session; with the members, where it is of a group.
        context: of the node. A session that may not go on is taken out of its state.
        identity: of the node.

    Raises:
        ContradictoryRequest: the session is of others than the node's group.
    """
    group = group_in(context.node_config, identity, context.run_id)
    try:
        if group is None:
            _check_undrawn(context, identity)
        elif (announcement.node_ids, announcement.identities) != (group.node_ids, group.identities):
            raise ContradictoryRequest(
                "asked to go on with a session of other nodes than its group's: this node is in one group in this run"
            )
    except ContradictoryRequest:
        context.state.pop(RECORD, None)
        raise


def _check_undrawn(context: Context, identity: Identity | None) -> None:
    """Return if a node without a group has shown no nonce in a run: who has them all knows the groups to come."""
    if identity is None:
        return
    path = _path(context.node_config, identity)
    with noting(path):
        if path.exists() and Draws(path).past.num_shown(data_of(context.run_id)):
            raise ContradictoryRequest(
                "asked for a session of other nodes than its group's: this node has shown its nonce in this run"
            )


def _path(node: Mapping[str, Any], identity: Identity) -> Path:
    return folder_of(node) / _FOLDER / identity.public_bytes.hex()
