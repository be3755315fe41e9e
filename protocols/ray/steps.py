"""What a worker of the cluster does: some phases of one group's session, from a dump to the next."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..core.machine import GivenInputs
from ..masking.warming import warm_up
from ..simulation.memory import own_peak_memory_bytes
from .cluster import ClusterError, load_ray, versions
from .running import GroupRun, GroupTask

MAX_OBJECT_BYTES = 1 << 22
"""No object in the cluster's store is larger: dumps go there in ranges of so many bytes."""


class Step(msgspec.Struct, frozen=True):
    """What a step came to; its dump follows, range by range.

    Attributes:
        phase: that comes next, or how the session ended.
        ended: whether the session is over.
        ranges: how many follow.
        process: node and process in which it ran.
        peak_memory_bytes: of that process.
    """

    phase: str
    ended: bool
    ranges: int
    process: tuple[str, int]
    peak_memory_bytes: int


def take_step(
    expected: dict[str, str],
    task: GroupTask,
    given: bytes | Mapping[str, Sequence[Any]],
    ranges: Sequence[Any],
    seconds: float,
) -> Iterator[Step | bytes]:
    """Take one phase of a session, and further ones until it has computed for so long.

    Args:
        expected: `versions` of the driver.
        task: what the session is about.
        given: name -> a client's inputs, as a pickled function: what Ray itself hands over may not be changed; or
            name -> references to the ranges of a client's inputs, pickled.
        ranges: references to the newest dump's; none to begin.
        seconds: of a processor, after which no phase is begun, but for the first.

    Yields:
        What it came to, then its dump, in ranges of at most MAX_OBJECT_BYTES.

    Raises:
        ClusterError: this worker has other versions than the driver.
        StateError: as `GroupRun.load`.
    """
    ray = load_ray()
    node = str(ray.get_runtime_context().get_node_id())
    check_versions(expected, node)
    warm_up(task.config)

    inputs: Callable[[str], GivenInputs]
    if isinstance(given, bytes):
        inputs = ray.cloudpickle.loads(given)
    else:
        kept = given

        def inputs(name: str) -> GivenInputs:
            made: GivenInputs = ray.cloudpickle.loads(b"".join(ray.get(one) for one in kept[name]))
            return made

    dumped = b"".join(ray.get(one) for one in ranges)
    run = GroupRun.load(task, inputs, dumped) if dumped else GroupRun(task, inputs)
    started = time.process_time()
    run.step()
    while not run.ended and time.process_time() - started < seconds:
        run.step()
    parts = in_ranges(run.dump())
    yield Step(run.phase, run.ended, len(parts), (node, os.getpid()), own_peak_memory_bytes())
    yield from (part for part in parts)  # a generator, since Ray sends to what it runs


def check_versions(expected: dict[str, str], node: str) -> None:
    """Raise ClusterError if what runs here is not what the driver runs."""
    for name, there in expected.items():
        here = versions()[name]
        if here != there:
            raise ClusterError(
                f"{name} is {here} on node {node[:12]}, but {there} where the driver runs: install the same on all"
            )


def in_ranges(dumped: bytes) -> list[bytes]:
    """Return a dump's ranges, in order."""
    return [dumped[at : at + MAX_OBJECT_BYTES] for at in range(0, len(dumped), MAX_OBJECT_BYTES)]
