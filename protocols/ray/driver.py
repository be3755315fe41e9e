"""A round in groups on a Ray cluster: sessions side by side, each a chain of steps from dump to dump.

The driver alone says which dump is a session's newest: it takes one from a step, keeps it, and gives it to the next.
So a worker or a node that dies costs one step, which is taken again elsewhere, and a driver that dies goes on from what
it kept. Two sessions a worker are under way: a step of one waits there while the driver keeps what the other came to.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from secagg.errors import ParameterError, SecAggError, StateError, ThresholdError

from ..core.machine import GivenInputs
from ..core.numbers import whole
from ..core.participants import Participants
from ..groups.rounds import GroupedRounds
from ..masking.policy import ClientPolicy
from ..masking.server import Server
from ..masking.transitions import ServerPhase
from ..simulation.grouped import GroupedReport
from ..simulation.masked import Simulation, SimulationReport
from ..simulation.memory import own_peak_memory_bytes
from .cluster import ClusterError, connected, num_nodes, num_processors, versions
from .kept import Kept
from .running import GroupTask, has_ended, outcome
from .steps import MAX_OBJECT_BYTES, Step, in_ranges, take_step

MAX_LOSSES = 20
"""So many workers may be lost at one step of one session, before the round is given up."""
SESSIONS_A_WORKER = 2
"""So many are under way for each worker, of which it computes one."""
STEP_SECONDS = 1.0
"""A step computes for so long, and ends with its phase: a lost one costs little, and short ones no dump each."""
_LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class RayReport(GroupedReport):
    """What a round in groups gave and cost, and what it ran on.

    Attributes (besides):
        workers: how many steps ran side by side at most.
        nodes: that were alive in the end.
        lost_steps: that were taken again, since a worker or a node was lost.
        start_seconds: wall-clock time to join the cluster, or to start one.
        peak_memory_bytes: of this process and of the largest of so many workers' processes, each at its own peak;
            without Ray's own.
    """

    workers: int
    nodes: int
    lost_steps: int
    start_seconds: float
    peak_memory_bytes: int


def run_on_ray(
    rounds: GroupedRounds,
    inputs: Callable[[str], GivenInputs],
    drops: Mapping[ServerPhase, Collection[str]] | None = None,
    *,
    workers: int | None = None,
    address: str | None = None,
    folder: Path | None = None,
    policy: ClientPolicy | None = None,
    on_progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> RayReport:
    """Run the groups' sessions on a cluster, clients simulated beside their servers. Same sums as `run_in_groups`.

    Args:
        rounds: of the round.
        inputs: name -> a client's inputs, the same each time; sent to workers, which have secagg installed.
        drops: phase -> the clients that vanish before they answer in it.
        workers: how many steps are taken at a time, on a processor each; None for all processors.
        address: of the cluster, as `connected` has it.
        folder: keeps the round; where it was begun there, with the same arguments, it goes on. Else it dies with this
            process.
        policy: of every client, beside what its group's plan makes it ask; None takes what is proposed.
        on_progress: called with what is done, how many groups have ended, and out of how many.

    Raises:
        ParameterError: no such number of workers; inputs that cannot be sent; a folder of another round.
        ClusterError: no cluster, one that is too small or has become so, another version on a node, or a step that no
            worker survives.
        ThresholdError: fewer groups than planned ended with a sum; its cause is that of the first that did not.
        StateError: what the folder keeps was damaged.
    """
    tasks = _tasks(rounds, drops or {}, policy or ClientPolicy.permissive())
    ran = _run(tasks, lambda ray: _sent(ray, inputs), workers, address, folder, on_progress)
    reports = {number: each for number, each in ran.ended.items() if isinstance(each, SimulationReport)}
    failures = {number: each for number, each in ran.ended.items() if isinstance(each, SecAggError)}
    try:
        result = rounds.finish({number: report.result for number, report in reports.items()})
    except ThresholdError as error:
        raise error from next(iter(failures.values()), None)
    return RayReport(result, reports, failures, ran.workers, ran.nodes, ran.lost, ran.start_seconds, ran.peak)


def run_session_on_ray(
    simulation: Simulation, *, workers: int | None = None, address: str | None = None, folder: Path | None = None
) -> SimulationReport:
    """Run one session on a cluster, a phase at a time: what `simulation.run()` gives, to the byte.

    Args:
        simulation: of the session. Each client's inputs are made here and sent to workers by themselves.
        workers: as `run_on_ray` has it; one computes at a time.
        address: the same.
        folder: the same.

    Raises:
        ParameterError, ClusterError, StateError: as `run_on_ray`; or the session has a server of its own kind, such as
            one that is paid for.
        SecAggError: the session ended without a sum; the text says why.
    """
    if simulation.make_server is not Server:
        raise ParameterError("sessions on a cluster have the default server: run those that are paid for here")
    names = simulation.participants
    if names is None:
        names = Participants.numbered(simulation.config.num_clients)
    silent = {str(phase): tuple(sorted(gone)) for phase, gone in simulation.drops.items()}
    task = GroupTask(0, names.names, simulation.config, simulation.policy, silent)
    ran = _run(
        [task],
        lambda ray: {name: _put(ray, simulation.inputs(name)) for name in names.names},
        workers,
        address,
        folder,
        lambda what, done, total: None,
    )
    ended = ran.ended[0]
    if isinstance(ended, SecAggError):
        raise SecAggError(str(ended).removeprefix("group 0: "))
    return replace(ended, workers=ran.workers, peak_memory_bytes=ran.peak)


@dataclass(frozen=True)
class _Ran:
    """What sessions came to: place -> report, or why there is no sum; and what they ran on."""

    ended: Mapping[int, SimulationReport | SecAggError]
    workers: int
    nodes: int
    lost: int
    start_seconds: float
    peak: int


def _run(
    tasks: Sequence[GroupTask],
    send: Callable[[Any], Any],
    workers: int | None,
    address: str | None,
    folder: Path | None,
    on_progress: Callable[[str, int, int], None],
) -> _Ran:
    """Take sessions to their ends; `send` puts their inputs, or what makes them, into the cluster's store."""
    workers = workers if workers is None else whole(workers, "workers", 1)
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="secagg-round-")))
        kept = Kept(place, _fingerprint(tasks))
        stack.enter_context(kept.alone())
        started = time.perf_counter()
        ray = stack.enter_context(connected(address, workers))
        took = time.perf_counter() - started
        workers = workers or num_processors(ray)
        flights = _Flights(ray, send(ray), kept, workers)
        flights.run(tasks, on_progress)
        nodes = num_nodes(ray)
        ended = {task.place: _outcome(kept, task) for task in tasks}
    peak = own_peak_memory_bytes() + sum(sorted(flights.peaks.values())[-workers:])
    return _Ran(ended, workers, nodes, flights.lost, took, peak)


class _Flights:
    """The sessions that are under way."""

    def __init__(self, ray: Any, inputs: Any, kept: Kept, workers: int) -> None:
        self._ray, self._inputs, self._kept, self._workers = ray, inputs, kept, workers
        # Who takes a step again is this driver, from the newest dump; Ray would take it from one that it remembers.
        self._step = ray.remote(take_step).options(num_cpus=1, max_retries=0, num_returns="streaming")
        self._losses: Counter[int] = Counter()
        self.lost = 0
        self.peaks: dict[tuple[str, int], int] = {}

    def run(self, tasks: Collection[GroupTask], on_progress: Callable[[str, int, int], None]) -> None:
        """Take all sessions to their ends."""
        waiting = deque(task for task in tasks if not self._over(task))
        done = len(tasks) - len(waiting)
        on_progress("groups", done, len(tasks))
        under_way: dict[Any, GroupTask] = {}
        try:
            while waiting or under_way:
                while waiting and len(under_way) < SESSIONS_A_WORKER * self._workers:
                    task = waiting.popleft()
                    under_way[self._begin(task)] = task
                ready, _ = self._ray.wait(list(under_way), timeout=_LOOK_SECONDS, fetch_local=False)
                if not ready:
                    self._check_alive()
                for step in ready:
                    task = under_way.pop(step)
                    if self._finish(task, step):
                        done += 1
                        on_progress("groups", done, len(tasks))
                    else:
                        under_way[self._begin(task)] = task
        finally:
            for step in under_way:
                self._ray.cancel(step, force=True)

    def _over(self, task: GroupTask) -> bool:
        with _naming(self._kept, task):
            dumped = self._kept.newest(task.place)
            return dumped is not None and has_ended(task, dumped)

    def _begin(self, task: GroupTask) -> Any:
        with _naming(self._kept, task):
            dumped = self._kept.newest(task.place) or b""
        ranges = [self._ray.put(one) for one in in_ranges(dumped)]
        return self._step.remote(versions(), task, self._inputs, ranges, STEP_SECONDS)

    def _finish(self, task: GroupTask, step: Any) -> bool:
        """Keep what a step came to, and return whether the session is over; a step that was lost came to nothing."""
        try:
            taken: Step = self._ray.get(next(step))
            dumped = b"".join(self._ray.get(next(step)) for _ in range(taken.ranges))
        except (self._ray.exceptions.RayError, StopIteration) as error:
            self._lose(task, error)
            return False
        self._kept.keep(task.place, dumped)
        self._losses[task.place] = 0
        self.peaks[taken.process] = max(taken.peak_memory_bytes, self.peaks.get(taken.process, 0))
        return taken.ended

    def _lose(self, task: GroupTask, error: Exception) -> None:
        """Count a step as lost; raise what is no loss, and what comes again and again."""
        if isinstance(error, self._ray.exceptions.RayTaskError):
            if isinstance(error.cause, SecAggError):
                raise error.cause from None
            if not isinstance(error.cause, self._ray.exceptions.RayError):
                raise error.cause from error
        self._check_alive()
        self.lost += 1
        self._losses[task.place] += 1
        if self._losses[task.place] > MAX_LOSSES:
            why = str(error).strip().partition("\n")[0]
            raise ClusterError(
                f"group {task.place} has lost {self._losses[task.place]} workers at one step ({why}): does a group of "
                f"{len(task.members)} fit in a node's memory? Ask for more groups, or for fewer workers"
            ) from None

    def _check_alive(self) -> None:
        have = num_processors(self._ray)
        if have < 1:
            raise ClusterError(
                f"the cluster has lost its workers: {num_nodes(self._ray)} nodes are alive, without a processor. With "
                "the same folder, the round goes on when there are some"
            )


def _tasks(
    rounds: GroupedRounds, drops: Mapping[ServerPhase, Collection[str]], policy: ClientPolicy
) -> list[GroupTask]:
    tasks = []
    for place, (members, config) in enumerate(zip(rounds.groups.members, rounds.configs, strict=True)):
        silent = {str(phase): tuple(sorted(set(names) & set(members))) for phase, names in drops.items()}
        own = rounds.policy(len(members), policy)
        tasks.append(GroupTask(place, members.names, config, own, silent))
    return tasks


def _fingerprint(tasks: Collection[GroupTask]) -> str:
    """Return what tells a round from others, but for its inputs: all of its sessions, and who is in which."""
    what = [(task.members, task.config, task.policy, sorted(task.silent.items())) for task in tasks]
    return sha256(msgspec.msgpack.encode(what)).hexdigest()


def _put(ray: Any, given: GivenInputs) -> list[Any]:
    """Put one client's inputs into the cluster's store; return references to their ranges."""
    return [ray.put(one) for one in in_ranges(ray.cloudpickle.dumps(given))]


def _sent(ray: Any, inputs: Callable[[str], GivenInputs]) -> Any:
    """Put the inputs' source into the cluster's store; return a reference."""
    try:
        pickled = ray.cloudpickle.dumps(inputs)
    except Exception as error:  # objects raise what they like when they are taken apart
        raise ParameterError(f"inputs cannot be sent to workers ({error}): give a function that can be") from None
    if len(pickled) > MAX_OBJECT_BYTES:
        raise ParameterError(
            f"inputs take {len(pickled):,} bytes to send to workers, but at most {MAX_OBJECT_BYTES:,} are: give a "
            "function that makes or loads a client's when it is asked for them"
        )
    return ray.put(pickled)


def _outcome(kept: Kept, task: GroupTask) -> SimulationReport | SecAggError:
    with _naming(kept, task):
        return outcome(task, kept.newest(task.place) or b"")


@contextmanager
def _naming(kept: Kept, task: GroupTask) -> Iterator[None]:
    """Name the file of a dump that is none."""
    try:
        yield
    except StateError as error:
        raise StateError(f"{kept.file(task.place)}: {error}; delete it to run that group anew") from None
