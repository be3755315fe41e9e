"""A group's session from dump to dump, and the folder that keeps them: without a cluster."""

import socket
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from protocols import ClientPolicy, FloatVector
from protocols.core import Adversary
from protocols.masking.server import closing
from protocols.masking.transitions import ServerPhase
from protocols.ray import cluster, driver
from protocols.ray.cluster import ClusterError, connected, versions
from protocols.ray.driver import MAX_LOSSES
from protocols.ray.kept import Kept
from protocols.ray.running import GroupRun, has_ended, outcome
from protocols.ray.steps import MAX_OBJECT_BYTES, Step, check_versions, in_ranges
from protocols.simulation.grouped import run_in_groups
from secagg.errors import MissingDependencyError, ParameterError, SecAggError, StateError

from .parts import DROPS, grouped, inputs, task_of


class RayErrors:
    """Of a Ray that is not there."""

    RayError = RayTaskError = type("RayError", (Exception,), {})


@pytest.mark.parametrize("adversary", [Adversary.SEMI_MALICIOUS_SERVER, Adversary.MALICIOUS_SERVER])
def test_a_session_goes_on_from_its_dump_after_every_phase(adversary):
    rounds = grouped(adversary=adversary)
    one = run_in_groups(rounds, inputs, DROPS).reports
    for place, members in enumerate(rounds.groups.members):
        silent = {str(phase): tuple(set(names) & set(members)) for phase, names in DROPS.items()}
        task = task_of(rounds, place, silent)
        run, phases, sessions = GroupRun(task, inputs), [], set()
        while not run.ended:
            phases.append(run.phase)
            run.step()
            dumped = run.dump()
            assert has_ended(task, dumped) == run.ended
            run = GroupRun.load(task, inputs, dumped)
            sessions.add(run._session.coordinator.session_id)
        report = outcome(task, dumped)
        assert phases == list(report.phase_seconds)
        assert len(sessions) == 1
        assert report.result.survivors == one[place].result.survivors
        for name, levels in report.result.levels.items():
            assert levels.tobytes() == one[place].result.levels[name].tobytes()
        assert {name: cost.sent_bytes for name, cost in report.clients.items()} == {
            name: cost.sent_bytes for name, cost in one[place].clients.items()
        }


def test_a_session_computes_on_one_processor_before_its_dump_and_after(monkeypatch):
    """Workers have one each."""
    task, taken = task_of(grouped()), []
    run = GroupRun(task, inputs)
    original = closing.unmask
    monkeypatch.setattr(closing, "unmask", lambda *given: taken.append(given[-1]) or original(*given))
    while not run.ended:
        assert run._session.coordinator._threads == 1
        run.step()
        run = GroupRun.load(task, inputs, run.dump())
        assert all(client._party.threads == 1 for client in run._session.participants.values())
    assert taken == [1]


def test_a_round_is_told_by_each_of_its_sessions():
    """By members, their order, what is summed, what clients ask and who vanishes: two that differ are two rounds."""
    rounds = grouped()
    tasks = [task_of(rounds, place) for place in range(3)]
    other, stricter = rounds.groups.members[1].names, ClientPolicy()
    config = grouped((FloatVector("update", 41, clip=2.0),)).configs[0]
    changed = [replace(tasks[0], members=other), replace(tasks[0], config=config), replace(tasks[0], policy=stricter)]
    changed += [replace(tasks[0], silent={"unmasking": other[:1]})]
    known = {driver._fingerprint([each, *tasks[1:]]) for each in [tasks[0], *changed]}
    known |= {driver._fingerprint(tasks[::-1]), driver._fingerprint(tasks[:2])}
    assert len(known) == 1 + len(changed) + 2
    assert driver._fingerprint([task_of(grouped(), place) for place in range(3)]) in known
    assert driver._fingerprint([task_of(grouped(coin=8), place) for place in range(3)]) not in known


def test_an_ended_session_keeps_nothing_of_its_clients():
    task = task_of(grouped())
    run = GroupRun(task, inputs)
    run.step()
    before = run.dump()
    while not run.ended:
        run.step()
    assert GroupRun.load(task, inputs, before)._session.participants.keys() == set(task.members)
    assert not GroupRun.load(task, inputs, run.dump())._session.participants


def test_a_session_without_a_sum_says_why():
    rounds = grouped()
    members = rounds.groups.members[1].names
    task = task_of(rounds, 1, {str(ServerPhase.MASKED_INPUT): members[:5]})
    run = GroupRun(task, inputs)
    while not run.ended:
        run.step()
    why = outcome(task, run.dump())
    assert isinstance(why, SecAggError)
    assert str(why).startswith("group 1: ThresholdError: ")


def test_bytes_that_are_no_dump_of_this_group_are_refused():
    rounds = grouped()
    run = GroupRun(task_of(rounds, 0), inputs)
    dumped = run.dump()
    with pytest.raises(StateError, match="of group 0, not of group 1"):
        GroupRun.load(task_of(rounds, 1), inputs, dumped)
    with pytest.raises(StateError, match="was damaged"):
        GroupRun.load(task_of(rounds, 0), inputs, dumped[:-1] + bytes([dumped[-1] ^ 1]))
    with pytest.raises(StateError, match="no dump of ours"):
        has_ended(task_of(rounds, 0), b"")


def test_dumps_of_any_size_go_in_ranges():
    dumped = np.random.default_rng(1).bytes(2 * MAX_OBJECT_BYTES + 3)
    ranges = in_ranges(dumped)
    assert [len(one) for one in ranges] == [MAX_OBJECT_BYTES, MAX_OBJECT_BYTES, 3]
    assert b"".join(ranges) == dumped
    assert in_ranges(b"") == []


def test_a_folder_keeps_the_newest_dump_of_each_group_for_its_owner_alone(tmp_path):
    kept = Kept(tmp_path / "a" / "round", "this")
    assert kept.newest(3) is None
    kept.keep(3, b"one")
    kept.keep(3, b"two")
    assert Kept(tmp_path / "a" / "round", "this").newest(3) == b"two"
    assert kept.file(3).stat().st_mode & 0o077 == 0
    assert kept.file(3).parent.stat().st_mode & 0o077 == 0


def test_workers_are_counted_as_lost_at_one_step_and_not_in_all(tmp_path, monkeypatch):
    ray = SimpleNamespace(
        remote=lambda step: SimpleNamespace(options=lambda **_: step), get=lambda one: one, exceptions=RayErrors
    )
    flights = driver._Flights(ray, None, Kept(tmp_path / "round", "this"), 1)
    monkeypatch.setattr(flights, "_check_alive", lambda: None)
    task = task_of(grouped(), 0)
    for _ in range(2):
        for _ in range(MAX_LOSSES):
            assert not flights._finish(task, iter(()))
        flights._finish(task, iter([Step("unmasking", False, 1, ("node", 1), 0), b"a dump"]))
    assert flights.lost == 2 * MAX_LOSSES


def test_folders_of_other_things_are_refused(tmp_path):
    Kept(tmp_path / "round", "this")
    with pytest.raises(ParameterError, match="keeps another round"):
        Kept(tmp_path / "round", "that")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ParameterError, match="holds other files"):
        Kept(tmp_path / "other", "this")


def test_two_drivers_do_not_drive_one_round(tmp_path):
    first, second = Kept(tmp_path / "round", "this"), Kept(tmp_path / "round", "this")
    with first.alone(), pytest.raises(ParameterError, match="another driver is at work"), second.alone():
        pass
    with second.alone():
        pass


def test_a_worker_of_another_version_is_named():
    check_versions(versions(), "0123456789abcdef")
    with pytest.raises(ClusterError, match=r"secagg is 0\.1\.0 \(sources .*\) on node 0123456789ab, but 0\.0\.9"):
        check_versions(versions() | {"secagg": "0.0.9"}, "0123456789abcdef")


def test_a_cluster_of_another_version_is_named():
    class Older:
        def init(self, **_):
            raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0")

    with pytest.raises(ClusterError, match=r"cannot join the Ray cluster at auto: Version mismatch: .* Ray: 2\.9\.0"):
        cluster._connect(Older(), "auto", 1)


def test_the_extra_is_named_where_ray_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install '\.\[ray\]'"):
        cluster.load_ray()


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("nonsense", ParameterError, "must be host:port or auto"),
        ("ray://127.0.0.1:10001", ParameterError, "must be host:port or auto"),
        ("127.0.0.1:70000", ParameterError, "must be host:port or auto"),
        ("127.0.0.1:1", ClusterError, "no Ray cluster at 127.0.0.1:1"),
    ],
)
def test_an_address_without_a_cluster_is_named(address, error, words):
    with pytest.raises(error, match=words), connected(address, 1):
        pass


@contextmanager
def listening(answer):
    """A port that accepts, and says so much and no more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve():
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    if answer is None:
                        connection.close()
                    else:
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [(b"", "no answer"), (None, ""), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "something else answers")],
)
def test_a_port_that_accepts_but_is_not_rays_is_named_and_not_waited_for(answer, why, monkeypatch):
    monkeypatch.setattr(cluster, "_ANSWERS_WITHIN_SECONDS", 0.3)
    with listening(answer) as address, pytest.raises(ClusterError, match=rf"no Ray cluster at {address} \(.*{why}"):
        connected(address, None).__enter__()
