"""Rounds of training in groups at the server: groups drawn once a run, a session for each, and what a strategy gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from flwr.app import ArrayRecord, MetricRecord, RecordDict

from secagg.errors import EncodingError, ParameterError, ThresholdError
from secagg.randomness import RandomBytes

from ..groups import GroupedRounds, GroupPlan, Groups, GroupServer
from ..masking.server import Server
from .announcement import Announcement, node_id_of
from .content import Model
from .mean import Means
from .report import GroupsReport, RoundReport
from .session import Session
from .settings import CLIPPED, SecAggSettings


@final
class RunGroups:
    """The groups of a run: who is in which, once they are drawn.

    Args:
        plan: of the groups.
        fewest: how many groups' means the strategy needs, each as one result; None where it gets what the plan's rule
            makes of them, as one result.
        named: what makes one vector of the means.
    """

    def __init__(self, plan: GroupPlan, fewest: int | None = None, named: str = "") -> None:
        self.plan = plan
        self.fewest = fewest
        self.named = named or str(plan.rule)
        self._draw: GroupServer | None = None

    def check_number(self, nodes: int) -> None:
        """Return if so many nodes can draw the groups, or these are drawn: then others are failures of their own.

        Raises:
            ParameterError: the plan is for another number.
        """
        if self._draw is None and nodes != self.plan.num_clients:
            raise ParameterError(
                f"the strategy trains on {nodes} nodes, but the groups are planned for {self.plan.num_clients}: set "
                "min_train_nodes and min_available_nodes to that, or plan anew"
            )

    def of(self, session: Session) -> Groups:
        """Return the groups; they are drawn by the first round's nodes, and stay. Raises as `Session.draw`.

        Members that have not said that they are settled are told the nonces again.
        """
        if self._draw is None:
            self._draw = session.draw(self.plan)
        session.settle(self._draw)
        drawn = self._draw.result
        members = {node_id_of(name) for group in drawn.members for name in group}
        session.report.failures |= dict.fromkeys(
            session.exchange.messages.keys() - members,
            "it is in none of the run's groups, which are drawn once: have the strategy sample the same nodes",
        )
        for node in members - session.exchange.messages.keys():
            session.report.failures.setdefault(node, "it is in a group, but the strategy did not sample it")
        return drawn


@dataclass(frozen=True)
class GroupedRound:
    """One round in groups.

    Attributes:
        run: the groups of its run.
        session: over Flower's grid.
        settings: of the run.
        announcement: without nodes; the same for all groups.
        content: of the strategy's train messages.
        model: in it.
        timeout: seconds to wait for inputs; without limit when None.
        report: is filled in.
        random: where the nonces of sessions come from.
    """

    run: RunGroups
    session: Session
    settings: SecAggSettings
    announcement: Announcement
    content: RecordDict
    model: Model
    timeout: float | None
    report: RoundReport
    random: RandomBytes

    def results(self) -> list[tuple[int, ArrayRecord, MetricRecord]]:
        """Run all sessions, and return what the strategy gets: for each result a node of its group, model and metrics.

        Raises:
            ParameterError: nobody can begin, and somebody says why; or the numbers do not go together.
            ThresholdError: fewer groups have a mean than the plan's rule or the strategy needs.
            EncodingError: more groups have a mean that no honest nodes reach than the plan bears.
            SecAggError: there are no groups, or no mean.
        """
        plan = self.run.plan
        groups = self.run.of(self.session)
        length, counters = self.model.length("floats"), self.model.length("integers")
        context = self.announcement.context
        rounds = GroupedRounds(plan, groups, lambda model: self.settings.group_config(model, length, counters, context))
        servers = [
            Server(config, members, random=self.random)
            for config, members in zip(rounds.configs, groups.members, strict=True)
        ]
        failed = self.session.run_together(servers, self.announcement, self.content, self.timeout)
        left_out = {place: str(error) for place, error in failed.items()}
        self.report.groups = GroupsReport(self.run.named, plan.max_spoilt, len(servers), left_out)
        done = rounds.finish({place: server.result for place, server in enumerate(servers) if place not in failed})
        means: dict[int, Means] = {}
        for place, result in done.results.items():
            self.report.num_clipped += int(result.sum(CLIPPED)[0])
            try:
                means[place] = Means.of(result, self.settings, self.announcement.weighted_by)
            except EncodingError as error:
                left_out[place] = str(error)
        self._check_enough(rounds, len(means))
        lied = self.report.groups.lied = tuple(place for place, each in means.items() if each.beyond is not None)
        if len(lied) > plan.max_spoilt:
            raise EncodingError(
                f"in {len(lied)} groups a node has lied about its input or its weight, but {self.run.named} bears "
                f"{plan.max_spoilt} such groups: {means[lied[0]].beyond}"
            )
        means = {place: each.bounded(self.settings) for place, each in means.items()}
        self.report.total_weight = sum(each.total_weight for each in means.values())
        self.report.step = max(each.step for each in means.values())
        nodes = {place: min(map(node_id_of, done.results[place].survivors)) for place in means}
        if self.run.fewest is None:
            made, combined = Means.combined(plan, list(means.values()))
            self.report.groups.distances = dict(zip(means, map(float, combined.distances), strict=True))
            results = {min(nodes.values()): made}
        else:
            results = {nodes[place]: each for place, each in means.items()}
        self.report.survivors = frozenset(node_id_of(name) for place in means for name in done.results[place].survivors)
        weighted_by = self.announcement.weighted_by
        return [(node, *each.records(self.model, self.settings, weighted_by)) for node, each in results.items()]

    def _check_enough(self, rounds: GroupedRounds, groups: int) -> None:
        rounds.check_enough(groups, "a mean")
        if self.run.fewest is not None and groups < self.run.fewest:
            raise ThresholdError(
                f"{groups} of {len(rounds.configs)} groups have a mean, but {self.run.named} needs {self.run.fewest}",
                needed=self.run.fewest,
                have=groups,
            )
