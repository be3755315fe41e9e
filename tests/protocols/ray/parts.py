"""Small rounds in groups, inputs that end the worker that asks for them, and a driver to kill."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from protocols import ClientPolicy, FloatVector, IntegerVector, Participants, RoundConfig
from protocols.groups import GroupedRounds, GroupPlan, Rule, deal
from protocols.masking.transitions import ServerPhase
from protocols.ray import driver, run_on_ray
from protocols.ray.running import GroupTask

NODE = {"num_cpus": 1, "object_store_memory": 1 << 27}
COUNT = 24
NAMES = Participants.numbered(COUNT).names
DROPS = {ServerPhase.MASKED_INPUT: (NAMES[3],), ServerPhase.UNMASKING: (NAMES[9],)}
VECTORS = (
    FloatVector("update", 40, clip=2.0, value_bits=16, rounding="nearest"),
    IntegerVector("counts", 5, max_value=9, min_value=-3),
)


def grouped(vectors=VECTORS, *, count=COUNT, groups=3, coin=7, **changes):
    settings = {"honest_minimum": 2, "dropout_fraction": 0.25, "rule": Rule.SUM} | changes
    plan = GroupPlan(count, 0.0, 0.0, groups=groups, **settings)
    dealt = deal(plan, Participants.numbered(count), bytes([coin]) * 32)
    return GroupedRounds(plan, dealt, lambda model: RoundConfig(model, vectors))


def task_of(rounds, place=0, silent=None):
    members = rounds.groups.members[place]
    policy = rounds.policy(len(members), ClientPolicy.permissive())
    return GroupTask(place, members.names, rounds.configs[place], policy, silent or {})


def inputs(name):
    rng = np.random.default_rng(int(name.rpartition("-")[2]))
    return {"update": rng.normal(size=40), "counts": rng.integers(-3, 10, size=5)}


class Slow:
    """The same inputs, some time later."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self, name):
        time.sleep(self.seconds)
        return inputs(name)


class Deadly:
    """The same inputs, from a source that ends its process some time after it came there, once for each ticket.

    Args:
        tickets: a folder of files; whoever removes one dies.
        seconds: at most, from the beginning of a step.
        pause: before each client's inputs, so that steps last as long as the source lets its process live.
    """

    def __init__(self, tickets: Path, seconds: float, pause: float = 0.0) -> None:
        self.tickets, self.seconds, self.pause = tickets, seconds, pause

    def __setstate__(self, state):
        self.__dict__.update(state)
        if any(self.tickets.iterdir()):
            after = np.random.default_rng().uniform(0, self.seconds)
            threading.Timer(after, self.die).start()

    def die(self):
        for ticket in self.tickets.iterdir():
            try:
                ticket.unlink()
            except FileNotFoundError:  # another has taken it
                continue
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, name):
        time.sleep(self.pause)
        return inputs(name)


def tickets(folder: Path, count: int) -> Path:
    """Make a folder of so many tickets."""
    folder.mkdir()
    for number in range(count):
        (folder / str(number)).touch()
    return folder


class DeadlyVersions(dict):
    """Versions that end the worker that is told of them, once for each ticket."""

    def __init__(self, known: dict[str, str], tickets: Path) -> None:
        super().__init__(known)
        self.given = (os.getpid(), dict(known), tickets)

    def __reduce__(self):
        return _told, self.given


def _told(driver_process: int, known: dict[str, str], tickets: Path) -> dict[str, str]:
    if os.getpid() != driver_process:
        Deadly(tickets, 0.0).die()
    return known


def main(address: str, folder: str, tickets: str) -> None:
    """Drive a round from a process of its own, with a dump for each phase."""
    driver.STEP_SECONDS = 0.0
    source = Deadly(Path(tickets), 0.5, pause=0.02)
    run_on_ray(grouped(), source, DROPS, workers=2, address=address, folder=Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
