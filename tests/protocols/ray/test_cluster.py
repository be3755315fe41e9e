"""Rounds in groups on a cluster of two nodes on this machine. Nodes are started once."""

import functools
import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from protocols import FloatVector, Participants
from protocols.cli.app import app
from protocols.masking.server import Server
from protocols.masking.transitions import ServerPhase
from protocols.ray import ClusterError, driver, run_on_ray, run_session_on_ray
from protocols.ray import cluster as clusters
from protocols.ray.cluster import load_ray, num_nodes, versions
from protocols.ray.running import GroupRun
from protocols.ray.steps import MAX_OBJECT_BYTES, in_ranges
from protocols.simulation.grouped import run_in_groups
from protocols.simulation.masked import Simulation
from secagg.errors import ParameterError, SecAggError, StateError, ThresholdError
from tests.command_line import separating_runner

from .parts import COUNT, DROPS, NAMES, NODE, Deadly, Slow, grouped, inputs, task_of, tickets

ROOT = Path(__file__).parents[3]


@pytest.fixture
def a_phase_a_step(monkeypatch):
    """As many dumps as can be."""
    monkeypatch.setattr(driver, "STEP_SECONDS", 0.0)


@functools.cache
def in_one_process():
    return run_in_groups(grouped(), inputs, DROPS).result


def same(result):
    """Whether a round came to what one process makes of it, to the byte."""
    joint, one = result.joint, in_one_process().joint
    levels = all(joint.levels[name].tobytes() == one.levels[name].tobytes() for name in ("update", "counts"))
    return levels and joint.survivors == one.survivors == set(NAMES) - {NAMES[3]}


@pytest.mark.parametrize("workers", [1, None])
def test_sums_are_those_of_one_process_whatever_the_workers(cluster, workers):
    seen = []
    report = run_on_ray(grouped(), inputs, DROPS, workers=workers, on_progress=lambda *what: seen.append(what))
    assert same(report.result)
    assert (report.workers, report.nodes, report.lost_steps) == (workers or 2, 2, 0)
    assert seen == [("groups", done, 3) for done in range(4)]
    assert report.peak_memory_bytes > 1 << 20
    assert {name for each in report.reports.values() for name in each.clients} == set(NAMES)


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, 15), (3600.0, 3)])
def test_a_step_takes_phases_until_its_time_is_over(cluster, monkeypatch, seconds, steps):
    begin, begun = driver._Flights._begin, []
    monkeypatch.setattr(driver, "STEP_SECONDS", seconds)
    monkeypatch.setattr(driver._Flights, "_begin", lambda self, task: begun.append(task) or begin(self, task))
    assert same(run_on_ray(grouped(), inputs, DROPS, workers=2).result)
    assert len(begun) == steps


def test_no_more_sessions_are_under_way_than_is_said(cluster, monkeypatch):
    begin, finish, under_way = driver._Flights._begin, driver._Flights._finish, [0]

    def counted(change, method):
        def call(self, *arguments):
            under_way.append(under_way[-1] + change)
            return method(self, *arguments)

        return call

    monkeypatch.setattr(driver._Flights, "_begin", counted(1, begin))
    monkeypatch.setattr(driver._Flights, "_finish", counted(-1, finish))
    assert same(run_on_ray(grouped(), inputs, DROPS, workers=1).result)
    assert max(under_way) == driver.SESSIONS_A_WORKER == 2
    assert under_way[-1] == 0


def test_a_group_without_a_sum_is_left_out_or_the_round_refused(cluster):
    rounds = grouped(spare=1)
    out = rounds.groups.members[1]
    drops = {ServerPhase.MASKED_INPUT: out.names[:5]}
    report = run_on_ray(rounds, inputs, drops, workers=2)
    assert report.result.left_out == (1,)
    assert "ThresholdError" in str(report.failures[1])
    assert report.result.survivors == set(NAMES) - set(out)
    with pytest.raises(ThresholdError, match="2 of 3 groups have a sum") as caught:
        run_on_ray(grouped(), inputs, drops, workers=2)
    assert "group 1: ThresholdError" in str(caught.value.__cause__)


def test_dumps_that_are_larger_than_an_object_may_be_go_in_ranges(cluster, a_phase_a_step, monkeypatch):
    length = MAX_OBJECT_BYTES // 4 + 10  # sums of words
    rounds = grouped((FloatVector("update", length, clip=1.0, value_bits=8, rounding="nearest"),), count=5, groups=1)
    put = []
    monkeypatch.setattr(driver, "in_ranges", lambda dumped: put.append(in_ranges(dumped)) or put[-1])

    def made(name):
        return {"update": np.full(length, (int(name[-1]) - 3) / 8)}

    report = run_on_ray(rounds, made, workers=1)
    assert not report.result.joint.sum("update").any()
    assert max(len(ranges) for ranges in put) > 1
    assert all(len(one) <= MAX_OBJECT_BYTES for ranges in put for one in ranges)


def test_workers_that_are_killed_are_replaced_from_dumps(cluster, a_phase_a_step, tmp_path):
    folder = tickets(tmp_path / "tickets", 3)
    report = run_on_ray(grouped(), Deadly(folder, 0.3, pause=0.02), DROPS, workers=2)
    assert not list(folder.iterdir())
    assert report.lost_steps >= 1  # who dies between two steps costs none
    assert same(report.result)


def test_a_driver_that_was_killed_goes_on_with_the_same_sessions(cluster, tmp_path):
    folder, none = tmp_path / "round", tickets(tmp_path / "tickets", 0)
    begun = drive(cluster, folder, none)
    while len(list(folder.glob("group-*"))) < 2 and begun.poll() is None:
        time.sleep(0.01)
    begun.send_signal(signal.SIGKILL)
    assert begun.wait() == -signal.SIGKILL
    rounds = grouped()
    bare = {place: file.read_bytes() for place in range(3) if (file := folder / f"group-{place:06}").exists()}
    kept = {place: dumped.partition(b"\n")[2] for place, dumped in bare.items()}  # behind the round's fingerprint
    sessions = {place: session_of(rounds, place, dumped) for place, dumped in kept.items()}
    assert sessions
    report = run_on_ray(rounds, Deadly(none, 0), DROPS, workers=2, folder=folder)
    assert same(report.result)
    assert {place: report.reports[place].session_id for place in sessions} == sessions
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    again = run_on_ray(rounds, Deadly(none, 0), DROPS, workers=2, folder=folder)  # all is there
    assert same(again.result)
    assert before == {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    with pytest.raises(ParameterError, match="keeps another round"):
        run_on_ray(grouped(coin=8), inputs, DROPS, workers=2, folder=folder)
    own = (folder / "group-000001").read_bytes()
    another = bytes([own[0] ^ 1]) + own[1:]  # it has the place, but is of another round
    damaged = own.partition(b"\n")[0] + b"\nSAGGDUMP"
    for wrong, why in ((another, "it is no dump of this round"), (damaged, "these bytes are no dump of ours")):
        (folder / "group-000001").write_bytes(wrong)
        with pytest.raises(StateError, match=f"group-000001: {why}; delete it to run that group anew"):
            run_on_ray(rounds, inputs, DROPS, workers=2, folder=folder)


def drive(cluster, folder, tickets_folder):
    """Start a driver in a process of its own."""
    command = [sys.executable, "-m", "tests.protocols.ray.parts", cluster.address, str(folder), str(tickets_folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603


def session_of(rounds, place, dumped):
    return GroupRun.load(task_of(rounds, place), inputs, dumped)._session.coordinator.session_id


def test_a_node_that_vanishes_costs_steps_and_no_sum(cluster, a_phase_a_step):
    node = cluster.add_node(**NODE)
    gone = []

    def on_progress(what, done, total):
        if not gone:
            gone.append(threading.Timer(1.0, cluster.remove_node, (node, False)))
            gone[0].start()

    report = run_on_ray(grouped(), Slow(0.05), DROPS, workers=3, on_progress=on_progress)
    gone[0].join()
    assert same(report.result)
    while num_nodes(load_ray()) > 2:  # until the cluster knows
        time.sleep(0.1)


def test_a_step_that_no_worker_survives_is_named(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "MAX_LOSSES", 1)
    folder = tickets(tmp_path / "tickets", 50)
    with pytest.raises(ClusterError, match=r"group \d has lost 2 workers at one step .*fit in a node's memory"):
        run_on_ray(grouped(), Deadly(folder, 0.0), DROPS, workers=1)


def test_a_cluster_without_processors_is_named(cluster, tmp_path, monkeypatch):
    have = iter([2, 2])
    monkeypatch.setattr(driver, "num_processors", lambda ray: next(have, 0))
    with pytest.raises(ClusterError, match="has lost its workers: 2 nodes are alive"):
        run_on_ray(grouped(), Deadly(tickets(tmp_path / "tickets", 9), 0.0), DROPS)


def test_what_the_cluster_is_not_is_named(cluster, monkeypatch):
    with pytest.raises(ClusterError, match="has 2 processors on 2 nodes, but 3 workers need one each"):
        run_on_ray(grouped(), inputs, workers=3)
    with pytest.raises(ParameterError, match="workers is 0"):
        run_on_ray(grouped(), inputs, workers=0)
    with pytest.raises(ParameterError, match="connected to a Ray cluster already"):
        run_on_ray(grouped(), inputs, workers=1, address=cluster.address)
    monkeypatch.setattr(driver, "versions", lambda: versions() | {"secagg": "0.0.9 (sources 0)"})
    with pytest.raises(ClusterError, match=r"secagg is 0\.1\.0 .* but 0\.0\.9 .*install the same on all"):
        run_on_ray(grouped(), inputs, workers=1)


@pytest.mark.parametrize("error", [RuntimeError, ValueError, TimeoutError])
def test_a_cluster_that_cannot_be_started_here_is_named(monkeypatch, error):
    def init(**options):
        raise error("no room\nfor a store")

    there = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setattr(clusters, "load_ray", lambda: there)
    with pytest.raises(ClusterError, match=r"^cannot start a Ray cluster here: no room for a store"):
        run_on_ray(grouped(), inputs, workers=1)


def test_inputs_that_cannot_be_sent_or_made_are_named(cluster):
    lock = threading.Lock()
    with pytest.raises(ParameterError, match="inputs cannot be sent to workers"):
        run_on_ray(grouped(), lambda name: lock, workers=1)
    large = np.zeros(MAX_OBJECT_BYTES, dtype=np.uint8)
    with pytest.raises(ParameterError, match=r"inputs take 4,19\d,\d\d\d bytes"):
        run_on_ray(grouped(), lambda name: large, workers=1)

    def broken(name):
        raise ZeroDivisionError("no data today")

    with pytest.raises(ZeroDivisionError, match="no data today"):
        run_on_ray(grouped(), broken, workers=1)


def test_the_command_runs_groups_on_ray(cluster):
    arguments = ["round", "--clients", str(COUNT), "--dim", "30", "--groups", "2", "--corrupt", "0", "--dropout", "0.1"]
    arguments.append("--json")
    here = json.loads(separating_runner().invoke(app, arguments).stdout)
    there = json.loads(separating_runner().invoke(app, [*arguments, "--engine", "ray", "--workers", "2"]).stdout)
    assert (here.pop("engine"), there.pop("engine")) == ("here", "ray")
    assert (here.pop("workers"), there.pop("workers")) == (1, 2)
    assert (there.pop("nodes"), there.pop("lost_steps")) == (2, 0)
    for facts in (here, there):
        for measured in ("seconds", "peak_memory_bytes"):
            facts.pop(measured)
    assert here == there
    assert (here["exact"], here["groups"], here["left_out"], here["survivors"]) == (True, 2, [], 22)


def test_statistics_are_those_of_one_process(cluster, tmp_path):
    rng = np.random.default_rng(5)
    for site in range(4):
        rows = "".join(f"{rng.integers(20, 90)},{'ab'[rng.integers(2)]}\n" for _ in range(50))
        (tmp_path / f"site-{site}.csv").write_text("age,arm\n" + rows)
    asked = ["stats", "--data", str(tmp_path / "*.csv"), "--count", "--mean", "age", "--bounds", "age:0:120"]
    asked += ["--group-by", "arm", "--levels", "arm:a,b", "--two-rounds", "--json"]
    runs = (separating_runner().invoke(app, [*asked, *more]) for more in ([], ["--engine", "ray"]))
    here, there = (json.loads(run.stdout) for run in runs)
    assert here["exact"] is there["exact"] is True
    assert here["results"] == there["results"]


def test_a_session_that_ends_without_a_sum_says_why(cluster):
    config = grouped().configs[0]
    simulation = Simulation(config, inputs, {ServerPhase.MASKED_INPUT: Participants.numbered(8).names[:5]})
    with pytest.raises(SecAggError, match=r"^ThresholdError: "):
        run_session_on_ray(simulation, workers=1)
    assert len(run_session_on_ray(replace(simulation, drops={}), workers=1).result.survivors) == 8


def test_a_session_that_is_paid_for_is_not_run_by_another_server():
    def make_server(config, participants):
        return Server(config, participants, threads=1)

    simulation = Simulation(grouped().configs[0], inputs, make_server=make_server)
    with pytest.raises(ParameterError, match="paid for"):
        run_session_on_ray(simulation)


@pytest.mark.long
def test_fifty_kills_of_workers_and_of_the_driver(cluster, a_phase_a_step, tmp_path):
    kills, rng = 0, np.random.default_rng()
    while kills < 50:
        folder, count = tmp_path / f"round-{kills}", int(rng.integers(1, 6))
        left = tickets(tmp_path / f"tickets-{kills}", count)
        while True:
            process = drive(cluster, folder, left)
            try:
                process.wait(float(rng.uniform(3, 9)))
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
            if process.wait() == 0:
                break
        kills += count - len(list(left.iterdir()))
        report = run_on_ray(grouped(), Deadly(left, 0.1), DROPS, workers=2, folder=folder)
        assert same(report.result)
