"""Nodes of one process that have identities and join groups, and what their rounds should come to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message, RecordDict

from protocols.core.identity_files import read_participants, write_participants
from protocols.core.participants import Participants
from protocols.flower import SecAggMod
from protocols.flower.announcement import node_name
from protocols.flower.own_group import group_in
from protocols.groups import GroupPlan
from secagg.signatures import Identity

from .in_process import RUN_ID, InProcessGrid, make_app, set_identity

MALICIOUS = "malicious-server"
MODEL = [np.full((3, 2), 0.25), np.arange(4.0), np.array([7], dtype=np.int64)]
WEIGHT = 10
COMMITMENTS, NONCES, SETTLEMENT = 2, 3, 4
"""Exchanges of a first round; the first asks who nodes are, and the sessions' follow."""


def plan_of(count: int = 15, rule: str = "median", **changes: Any) -> GroupPlan:
    """One bad node; groups of five."""
    usual = {"bad_fraction": 1.01 / count, "corrupt_fraction": 0.1, "honest_minimum": 2, "dropout_fraction": 0.2}
    return GroupPlan(count, rule=rule, adversary=MALICIOUS, **(usual | changes))


def identity_of(partition: int) -> Identity:
    return Identity(bytes([partition + 1]) * 32)


def node_id(partition: int) -> int:
    return 1000 + 7 * partition


def partition_of(node: int) -> int:
    return (node - 1000) // 7


def roster(folder: Path, count: int) -> str:
    path = folder / f"roster-{count}.json"
    if path.exists():
        return str(path)
    keys = {f"node-{partition:03}": identity_of(partition).public_bytes for partition in range(count)}
    write_participants(path, Participants(keys))
    return str(path)


def training(arrays: list[np.ndarray], partition: int) -> Any:
    """Each node moves the model its own way, by a little; weights are the same, but metrics are not."""
    rng = np.random.default_rng([5, partition])
    moved = [arrays[0] + rng.uniform(0.1, 0.2, arrays[0].shape), arrays[1] - rng.uniform(0.1, 0.2, 4), arrays[2] + 3]
    return moved, {"num-examples": WEIGHT, "loss": partition / 100}


def make_nodes(
    folder: Path,
    count: int = 15,
    *,
    train: Callable[..., Any] = training,
    disturb: Callable[..., Any] | None = None,
    options: Callable[[int], dict[str, Any]] = lambda partition: {},
    node_config: Callable[[int], dict[str, Any]] = lambda partition: {},
    run_config: dict[str, Any] | None = None,
) -> InProcessGrid:
    """A grid of so many nodes; `options` are of each one's SecAggMod, beside identity, roster and consent."""
    set_identity()
    path = roster(folder, count)
    rosters = (path, read_participants(Path(path)))  # either will do
    mods = {
        partition: SecAggMod(
            **({"min_group": 3} | options(partition)), identity=identity_of(partition), roster=rosters[partition % 2]
        )
        for partition in range(count)
    }

    def mod(message: Message, context: Context, call_next: Any) -> Message:
        return mods[context.node_config["partition-id"]](message, context, call_next)

    nodes = {
        node_id(partition): Context(
            run_id=RUN_ID,
            node_id=node_id(partition),
            node_config={"partition-id": partition, **node_config(partition)},
            state=RecordDict(),
            run_config=run_config or {},
        )
        for partition in range(count)
    }
    return InProcessGrid(make_app(train, mods=(mod,)), nodes, disturb)


def groups_of(grid: InProcessGrid) -> list[list[int]]:
    """Partitions in each group, as the nodes themselves remember, by the least of them."""
    known = {}
    for context in grid.nodes.values():
        partition = context.node_config["partition-id"]
        group = group_in(context.node_config, identity_of(partition), RUN_ID)
        if group is not None:
            names = {node_name(node): partition_of(node) for node in grid.nodes}
            known[partition] = sorted(names[name] for name in group.participants())
    return sorted(map(list, {tuple(members) for members in known.values()}))


def group_means(groups: list[list[int]], train: Callable[..., Any] = training) -> list[list[np.ndarray]]:
    """What a plain computation makes of each group: the means of its members' arrays, all of one weight."""
    return [
        [
            np.mean(arrays, axis=0)
            for arrays in zip(*(train([a.copy() for a in MODEL], partition)[0] for partition in group), strict=True)
        ]
        for group in groups
    ]
