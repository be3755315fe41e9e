"""A draw, and a round in groups, with everyone on one machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from secagg.errors import EncodingError, PeerError, SecAggError, ThresholdError

from ..core.machine import GivenInputs
from ..groups.client import GroupClient
from ..groups.drawing import Groups
from ..groups.rounds import GroupedResult, GroupedRounds
from ..groups.server import GroupServer
from ..masking.policy import ClientPolicy
from ..masking.transitions import ServerPhase
from .masked import Simulation, SimulationReport

__all__ = ["GroupedReport", "draw_locally", "run_in_groups"]


@dataclass(frozen=True)
class GroupedReport:
    """What a simulated round in groups gave and what it cost.

    Attributes:
        result: of the groups that ended with a sum.
        reports: place of a group -> what its session cost, where it ended with a sum.
        failures: place of a group -> why it has none.
    """

    result: GroupedResult
    reports: Mapping[int, SimulationReport]
    failures: Mapping[int, SecAggError]


def draw_locally(server: GroupServer, clients: Mapping[str, GroupClient]) -> Groups:
    """Carry a draw to its end, and return the groups as the server has them: each client has its own.

    Raises:
        SecAggError: what the first client that refuses says, or the server.
    """
    while not server.ended:
        for name, data in server.outgoing().items():
            server.receive(name, clients[name].respond(data))
        server.close_phase()
    return server.result


def run_in_groups(
    rounds: GroupedRounds,
    inputs: Callable[[str], GivenInputs],
    drops: Mapping[ServerPhase, Collection[str]] | None = None,
    *,
    policy: ClientPolicy | None = None,
    workers: int = 1,
    on_progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> GroupedReport:
    """Run the groups' sessions one after another.

    Args:
        rounds: of the round.
        inputs: name -> a client's inputs.
        drops: phase -> the clients that vanish before they answer in it.
        policy: of every client, beside what its group's plan makes it ask; None takes what is proposed.
        workers: processes for the clients of a group.
        on_progress: called with what is done, how many groups have ended, and out of how many.

    Raises:
        ThresholdError: fewer groups than planned ended with a sum; its cause is that of the first that did not.
    """
    reports: dict[int, SimulationReport] = {}
    failures: dict[int, SecAggError] = {}
    for place, (members, config) in enumerate(zip(rounds.groups.members, rounds.configs, strict=True)):
        vanishing = {phase: [name for name in names if name in members] for phase, names in (drops or {}).items()}
        own = rounds.policy(len(members), policy or ClientPolicy.permissive())
        try:
            simulated = Simulation(config, inputs, vanishing, own, workers=workers, participants=members)
            reports[place] = simulated.run()
        except (ThresholdError, PeerError, EncodingError) as error:
            failures[place] = error
        on_progress("groups", place + 1, len(rounds.configs))
    try:
        result = rounds.finish({place: report.result for place, report in reports.items()})
    except ThresholdError as error:
        raise error from next(iter(failures.values()), None)
    return GroupedReport(result, reports, failures)
