"""What the server's operator can know of a session: who took part, who failed and why, what it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from dp.sensitivity import Unit
from secagg.errors import ParameterError

from .logs import INFO, WARNING, log

SHOWN = 5
"""How many failures a log or an error names one by one."""


@dataclass
class SessionReport:
    """One session; nodes are named by Flower's ids.

    Attributes:
        invited: how many nodes were asked.
        survivors: those whose inputs are in the sum; empty if there is none.
        failures: node -> what went wrong with it first. Late and repeated answers are no failures; to give no answer
            is one.
        error: why there is no sum, or None.
        seconds: exchange -> wall seconds, what the nodes do in it included; "server" is the server's own part.
        bytes_sent: by the nodes, all together, in the protocol's messages.
        bytes_received: by the nodes, likewise.
    """

    invited: int
    survivors: frozenset[int] = frozenset()
    failures: dict[int, str] = field(default_factory=dict)
    error: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_sent: int = 0
    bytes_received: int = 0
    outcome: ClassVar[str] = "answer"
    """What there is of the nodes where there is no error."""

    def add_silent(self, exchange: str, nodes: Iterable[int], timeout: float | None) -> None:
        """Say of nodes that they gave no answer, unless something went wrong with them before."""
        for node in nodes:
            self.failures.setdefault(
                node, f"{exchange}: no answer{'' if timeout is None else f' within {timeout:g} s'}"
            )

    def check_anyone(self, able: Collection[int]) -> None:
        """Return if somebody can begin, or if nobody says why not: then it is bad luck.

        Raises:
            ParameterError: nobody can begin although somebody answers, so that it is the apps or the settings.
        """
        if not able and any("no answer" not in reason for reason in self.failures.values()):
            distinct = list(dict.fromkeys(self.failures.values()))
            raise ParameterError("no node can take part: " + "; ".join(distinct[:SHOWN]))

    @property
    def commonest_failure(self) -> str:
        """What most of the nodes that failed say, as the end of a sentence; empty if none failed."""
        for reason, count in Counter(self.failures.values()).most_common(1):
            return f"; {count} of {self.invited} nodes failed with: {reason}"
        return ""

    def log(self) -> None:
        """Write the outcome to Flower's log."""
        for node, reason in list(self.failures.items())[:SHOWN]:
            log(WARNING, "secagg: node %d: %s", node, reason)
        if len(self.failures) > SHOWN:
            log(WARNING, "secagg: and %d more nodes failed", len(self.failures) - SHOWN)
        if self.error is not None:
            log(WARNING, "secagg: no %s in this round: %s", self.outcome, self.error)
            return
        log(INFO, "secagg: %s of %d of %d nodes", self.outcome, len(self.survivors), self.invited)


@dataclass
class GroupsReport:
    """What became of the groups of one round. Groups are named by their places, from 0.

    Attributes:
        rule: what makes one vector of their means: the plan's rule, or Flower's strategy.
        bears: how many spoilt groups it bears.
        groups: how many there are.
        left_out: place -> why the group has no mean.
        lied: places of groups whose mean no honest nodes can reach. It was brought to what they can.
        distances: place -> how far the group's mean is from what the rule made of all, L2; empty for strategies.
    """

    rule: str
    bears: int
    groups: int
    left_out: dict[int, str]
    lied: tuple[int, ...] = ()
    distances: dict[int, float] = field(default_factory=dict)

    def log(self) -> None:
        """Write it to Flower's log."""
        log(
            INFO,
            "secagg: %d of %d groups have a mean; %s bears %d spoilt",
            self.groups - len(self.left_out),
            self.groups,
            self.rule,
            self.bears,
        )
        for place, reason in self.left_out.items():
            log(WARNING, "secagg: group %d is left out: %s", place, reason)
        if self.lied:
            log(WARNING, "secagg: in groups %s a node has lied: no honest nodes have such a mean", list(self.lied))


@dataclass
class RoundReport(SessionReport):
    """One round of training under secure aggregation: beside what is said of each session, what its mean is.

    The model that nodes train is not counted in bytes.

    Attributes:
        total_weight: sum of the survivors' num-examples.
        step: how far rounding has moved a coordinate of the mean at most; 0 in private rounds.
        num_clipped: how many coordinates of all survivors' updates were clipped together; 0 in private rounds.
        epsilon: what this round, by itself, has cost each unit at the delta of the settings; None if not private.
        unit: whose epsilon it is: a client's (a node's), or a record's.
        groups: what became of the groups, where rounds are in groups and some were drawn.
    """

    total_weight: int = 0
    step: float = 0.0
    num_clipped: int = 0
    epsilon: float | None = None
    unit: Unit = Unit.CLIENT
    groups: GroupsReport | None = None
    outcome: ClassVar[str] = "mean"

    def log(self) -> None:
        """Write the outcome to Flower's log."""
        super().log()
        if self.groups is not None:
            self.groups.log()
        if self.error is not None:
            return
        if self.epsilon is not None:
            whose = "node" if self.unit is Unit.CLIENT else self.unit
            log(INFO, "secagg: the round by itself has cost each %s epsilon %.4g", whose, self.epsilon)
        if self.num_clipped:
            log(WARNING, "secagg: %d coordinates of all updates were clipped: think of raising clip", self.num_clipped)
