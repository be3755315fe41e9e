"""Participants in processes of their own: the same session, nothing secret on the way, and no hang when one ends."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from protocols.core.machine import Inputs, Receipt, take_inputs
from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector
from protocols.masking.config import RoundConfig
from protocols.masking.transitions import ServerPhase
from protocols.privacy.plans import PrivatePlan
from protocols.simulation import driver
from protocols.simulation.checked import run_checked_round
from protocols.simulation.checked_private import run_checked_private_round
from protocols.simulation.driver import Session
from protocols.simulation.masked import Simulation
from protocols.simulation.places import Answer, Here
from protocols.simulation.workers import MANY_CLIENTS, LostWorkerError, Workers, _work, useful_workers, working
from secagg.encoding import Rounding
from secagg.errors import MalformedMessage, ParameterError, SecAggError
from secagg.prg import cpu_count

NAMES = [f"party-{number}" for number in range(1, 8)]


class Phase(StrEnum):
    FIRST = "first"
    SECOND = "second"
    OVER = "over"


@dataclass
class Hearer:
    """Asks everyone the same twice, and keeps what it hears; `on_hearing` is called while it computes."""

    question: bytes
    on_hearing: Callable[[], None] = lambda: None
    phase: Phase = Phase.FIRST
    heard: dict[str, list[Any]] = field(default_factory=dict)
    relay_to: frozenset[str] = frozenset()

    @property
    def ended(self) -> bool:
        return self.phase is Phase.OVER

    @property
    def result(self) -> dict[str, list[Any]]:
        return self.heard

    def outgoing(self) -> dict[str, bytes]:
        return dict.fromkeys(NAMES, self.question)

    def receive(self, sender: str, data: bytes) -> Receipt:
        self.on_hearing()
        self.heard.setdefault(sender, []).append(json.loads(data))
        return Receipt.ACCEPTED

    def close_phase(self) -> None:
        self.phase = {Phase.FIRST: Phase.SECOND, Phase.SECOND: Phase.OVER}[self.phase]


class Teller:
    """Tells of the process that it is in, or does there what it is asked."""

    def __init__(self, name: str, everyone: Participants) -> None:
        self.name, self.everyone, self.deliveries = name, everyone, 0

    def respond(self, data: bytes, inputs: Any = None) -> bytes:
        match data.decode().split(" "):
            case ["who"]:
                return self._facts(weight=take_inputs(inputs).weight)
            case ["end", name] if name == self.name:
                os.kill(os.getpid(), signal.SIGKILL)
            case ["leave", name] if name == self.name:
                os._exit(7)
            case ["end" | "leave", _]:
                time.sleep(600)  # nobody waits for the others
            case ["refuse", name] if name == self.name:
                raise MalformedMessage("no", culprits={"the coordinator"})
            case ["fill", name] if name == self.name:
                raise MemoryError("full")
            case ["mark", folder]:
                mark = Path(folder) / self.name
                mark.touch()
                time.sleep(0.2 if self.name == NAMES[5] else 0)  # so that one worker is through long before
                mark.unlink()
        return self._facts()

    def _facts(self, **more: Any) -> bytes:
        facts = {
            "process": os.getpid(),
            "deliveries": self.deliveries,
            "key": self.everyone.keys[self.name].hex(),
            "deaf": signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            "threads": os.environ.get("OPENBLAS_NUM_THREADS"),
            "environment": {name: os.environ.get(name) for name in ("SAID_BEFORE", "SAID_SINCE")},
            "drawn": float(np.random.random()),
            "loaded": "secagg._stream_kernels" in sys.modules,
            "parent": os.getppid(),
        }
        return json.dumps(facts | more).encode()

    def delivered(self) -> None:
        self.deliveries += 1


class Weights:
    """Gives the number in a name as a weight, and counts for whom."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def __call__(self, name: str) -> Inputs:
        self.given.append(name)
        return Inputs({}, int(name[-1]))


class Tellers:
    def __init__(self) -> None:
        self.inputs = Weights()

    def prepare(self) -> None:
        self.prepared = os.getpid()

    def settle(self, names: list[str]) -> dict[str, bytes]:
        assert self.prepared == os.getpid()
        return {name: name[-1].encode() * 32 for name in names}

    def meet(self, everyone: Participants) -> None:
        self.everyone = everyone

    def join(self, name: str) -> Teller:
        return Teller(name, self.everyone)


def session(workers: Workers, question: str, on_hearing: Callable[[], None] = lambda: None) -> Session:
    workers.meet(Participants(workers.settle(NAMES)))
    nowhere = Tellers()
    return Session(Hearer(question.encode(), on_hearing), nowhere.join, nowhere.inputs, elsewhere=workers)


@pytest.fixture(autouse=True)
def _nobody_stays():
    yield
    assert not multiprocessing.active_children()


def test_a_session_is_driven_in_workers_as_it_is_here():
    before = dict(os.environ)
    progress = []
    with working(Tellers(), 2) as workers:
        running = session(workers, "who")
        running.on_progress = lambda *each: progress.append(each)
        heard = running.run({"second": {NAMES[0]}})
        left = workers.leave()
    assert progress == [("first", 7, 7), ("second", 6, 6)]
    assert list(heard) == NAMES
    homes = [heard[name][0]["process"] for name in NAMES]
    assert homes[0] != homes[1]
    assert os.getpid() not in homes
    assert homes == [homes[at % 2] for at in range(7)]
    assert [each["process"] for each in heard[NAMES[1]]] == [homes[1]] * 2  # it stays there
    assert [heard[name][0]["weight"] for name in NAMES] == list(range(1, 8))
    assert [each["deliveries"] for each in heard[NAMES[1]]] == [0, 1]
    assert len(heard[NAMES[0]]) == 1
    assert {heard[name][0]["key"] for name in NAMES} == {name[-1].encode().hex() * 32 for name in NAMES}
    assert not running.participants
    assert not running.refusals
    assert running.costs[NAMES[1]].received_bytes == 2 * len(b"who")
    assert running.costs[NAMES[1]].sent_bytes > running.costs[NAMES[0]].sent_bytes > 0
    assert min(cost.seconds for cost in running.costs.values()) >= 0
    # What was asked for inputs comes back as it has become there.
    assert [each.inputs.given for each in left] == [[*NAMES[::2], *NAMES[2::2]], NAMES[1::2] * 2]
    assert min(each.peak_memory_bytes for each in left) > 1 << 20
    # Ctrl-C reaches the process that started them, whose own signals and environment are as they were.
    assert all(heard[name][0]["deaf"] and heard[name][0]["threads"] == "1" for name in NAMES)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert dict(os.environ) == before


def test_workers_come_from_one_process_that_has_loaded_what_is_slow_to_load():
    with working(Tellers(), 2) as workers:
        heard = session(workers, "who").run()
    assert all(heard[name][0]["loaded"] for name in NAMES)  # though those who tell load nothing
    (parent,) = {heard[name][0]["parent"] for name in NAMES}
    assert parent != os.getpid()
    assert len({heard[name][0]["drawn"] for name in NAMES}) == len(NAMES)  # by numpy's own generator, which it loaded


def test_workers_have_the_environment_of_when_they_are_started(monkeypatch):
    """Which is not that of the process that they are forked from."""

    def told():
        with working(Tellers(), 1) as workers:
            return session(workers, "who").run()[NAMES[0]][0]["environment"]

    monkeypatch.setenv("SAID_BEFORE", "a")
    assert told() == {"SAID_BEFORE": "a", "SAID_SINCE": None}
    monkeypatch.delenv("SAID_BEFORE")
    monkeypatch.setenv("SAID_SINCE", "b")
    assert told() == {"SAID_BEFORE": None, "SAID_SINCE": "b"}


@pytest.mark.parametrize(("question", "how"), [("end", r"ended by SIGKILL, as .* memory"), ("leave", "exit code 7")])
def test_a_worker_that_ends_while_it_is_asked_is_named(question, how):
    with pytest.raises(LostWorkerError, match=rf"^worker 2 of 3, .* {how}"), working(Tellers(), 3) as workers:
        session(workers, f"{question} {NAMES[1]}").run()


def test_a_worker_that_ended_before_it_is_asked_is_named():
    with working(Tellers(), 2) as workers:
        running = session(workers, "who")
        running.step()
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)
            child.join()
        with pytest.raises(LostWorkerError, match=r"^worker 1 of 2, .* SIGKILL"):
            running.step()


def test_a_worker_that_ends_before_it_has_begun_is_named(monkeypatch):
    def start(self: ForkServerProcess) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(ForkServerProcess, "start", start)
    with pytest.raises(LostWorkerError, match=r"^worker 1 of 2 ended while it was started"), working(Tellers(), 2):
        pass


def test_a_script_that_workers_would_run_again_is_told_so(tmp_path):
    """Python runs it in each worker as it begins."""
    path = tmp_path / "script.py"
    path.write_text(
        "from protocols.simulation.workers import working\n"
        "from tests.protocols.simulation.test_workers import Tellers\n"
        "with working(Tellers(), 1) as workers:\n"
        "    workers.settle(['a'])\n"
    )
    there = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, path], env=there, capture_output=True, text=True, check=False)  # noqa: S603
    assert re.search(r'LostWorkerError: worker 1 of 1, .* no `if __name__ == "__main__":`, or is no file', ended.stderr)


def test_refusals_come_back_and_end_nothing():
    with working(Tellers(), 2) as workers:
        running = session(workers, f"refuse {NAMES[1]}")
        heard = running.run()
    assert heard.keys() == {*NAMES} - {NAMES[1]}
    (refusal, _) = running.refusals
    assert (refusal.name, refusal.by_coordinator, refusal.phase) == (NAMES[1], False, "first")
    assert isinstance(refusal.error, MalformedMessage)
    assert refusal.error.culprits == {"the coordinator"}


def test_what_nobody_foresaw_is_raised_here_and_says_where_it_was():
    with pytest.raises(MemoryError, match="full") as caught, working(Tellers(), 2) as workers:
        session(workers, f"fill {NAMES[1]}").run()
    assert "in respond" in caught.value.__notes__[0]


class TakesTwoError(Exception):
    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} {where}")


class HoldsALockError(SecAggError):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Line:
    """Asks a worker in this process for inputs that cannot be made, and hears what it sends."""

    def __init__(self, company: Any, *asked: Any) -> None:
        self.asked, self.heard = iter([company, *asked]), []

    def recv(self) -> Any:
        for each in self.asked:
            return each
        raise EOFError

    def send(self, what: Any) -> None:
        self.heard.append(ForkingPickler.loads(ForkingPickler.dumps(what)))

    def send_bytes(self, data: bytes) -> None: ...


@pytest.mark.parametrize("raised", [TakesTwoError("no data", "today"), HoldsALockError("no data today")])
def test_an_error_that_cannot_cross_is_told_as_text(raised, monkeypatch):
    def failing(*_: Any) -> Any:
        raise raised

    monkeypatch.setattr(Tellers, "settle", failing)
    monkeypatch.setattr(Tellers, "join", lambda self, name: SimpleNamespace(respond=failing))
    line = Line(Tellers(), ("settle", (["a"],)), ("ask", ([], [("a", b"")])))
    _work(line, dict(os.environ))
    settled, asked = line.heard  # the second as a refusal, where it is one of ours
    for error in (settled, asked[1].error if isinstance(asked, tuple) else asked):
        assert type(error) is SecAggError
        assert re.search(f"{type(raised).__name__}: no data today .*does not cross", str(error))
        assert "in failing" in error.__notes__[0]


def test_nobody_computes_while_the_coordinator_does(tmp_path):
    seen = []
    with working(Tellers(), 2) as workers:
        running = session(workers, f"mark {tmp_path}", lambda: seen.append(list(tmp_path.iterdir())))
        running.run()
    assert seen == [[]] * 14


class Clock:
    """Time that passes only where the test lets it."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return 2 * self.now  # as of two threads


class Slow(Here):
    def ask(self, messages):
        for name, _ in messages:
            CLOCK.now += 100
            yield name, Answer(b"0", 50.0)


CLOCK = Clock()


def test_the_coordinators_seconds_are_its_own(monkeypatch):
    monkeypatch.setattr(driver, "time", CLOCK)

    def hear() -> None:
        CLOCK.now += 1

    nowhere = Tellers()
    place = Slow(nowhere.join, nowhere.inputs)
    running = Session(Hearer(b"who", hear), nowhere.join, nowhere.inputs, elsewhere=place)
    running.run()
    assert running.coordinator_seconds == 14
    assert running.coordinator_processor_seconds == 28
    assert {cost.seconds for cost in running.costs.values()} == {100.0}
    assert running.phase_seconds == {"first": 707, "second": 707}


def config(adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER) -> RoundConfig:
    return RoundConfig(ThreatModel(12, 0.1, 0.25, adversary), (FloatVector("v", 50, rounding=Rounding.NEAREST),))


@pytest.mark.parametrize("adversary", list(Adversary))
def test_rounds_in_workers_and_here_give_the_same_from_the_same_seed(adversary):
    fractions = {ServerPhase.SHARE_KEYS: 0.1, ServerPhase.MASKED_INPUT: 0.1, ServerPhase.UNMASKING: 0.05}
    here, there = (run_checked_round(config(adversary), fractions, seed=5, workers=workers) for workers in (1, 2))
    assert here.exact
    assert there.exact
    assert here.report.result.survivors == there.report.result.survivors
    assert len(there.report.result.survivors) == 10
    assert np.array_equal(here.report.result.levels["v"], there.report.result.levels["v"])
    costs = [
        {name: (cost.sent_bytes, cost.received_bytes) for name, cost in each.report.clients.items()}
        for each in (here, there)
    ]
    assert costs[0].keys() == costs[1].keys()
    assert (here.facts()["workers"], there.facts()["workers"]) == (1, 2)
    assert [len(each.report.sources) for each in (here, there)] == [1, 2]
    assert there.facts()["peak_memory_bytes"] > here.facts()["peak_memory_bytes"]


def test_a_wrong_plain_sum_of_a_single_worker_is_seen(monkeypatch):
    real = Workers.leave

    def leave(self: Workers) -> list[Any]:
        left = real(self)
        left[1].inputs.plain_sum[7] += 1
        return left

    monkeypatch.setattr(Workers, "leave", leave)
    assert not run_checked_round(config(), {}, seed=5, workers=2).exact


def test_private_rounds_in_workers_have_the_noise_that_was_promised():
    plan = PrivatePlan(threat_model=ThreatModel(12, 0.1, 0.25), length=300, l2_clip=1.0, epsilon=2.0, delta=1e-3)
    outcome = run_checked_private_round(plan, {ServerPhase.MASKED_INPUT: 0.1}, seed=1, workers=2)
    assert outcome.as_promised
    assert len(outcome.report.result.survivors) == 11
    assert outcome.facts()["workers"] == 2


def test_there_are_no_more_workers_than_clients():
    few = RoundConfig(ThreatModel(2, 0.0, 0.0), (FloatVector("v", 5, rounding=Rounding.NEAREST),))
    assert run_checked_round(few, {}, seed=1, workers=5).report.workers == 2


def test_few_clients_live_here():
    assert useful_workers(MANY_CLIENTS - 1) == 1
    assert useful_workers(MANY_CLIENTS) == cpu_count()


SMALL = RoundConfig(ThreatModel(num_clients=10), (FloatVector("u", length=4),))


@pytest.mark.parametrize("workers", [0, -1, True, 2.0, None])
def test_what_is_no_number_of_workers_is_refused(workers):
    with pytest.raises(ParameterError, match=r"workers is .*, but must be an integer from 1"):
        Simulation(SMALL, lambda name: {"u": np.zeros(4)}, workers=workers).run()


def test_inputs_that_cannot_be_sent_are_refused_before_a_worker_starts():
    with pytest.raises(ParameterError, match=r"inputs cannot be sent to workers \(.*lambda.*workers=1"):
        Simulation(SMALL, lambda name: {"u": np.zeros(4)}, workers=2).run()
    assert not multiprocessing.active_children()
