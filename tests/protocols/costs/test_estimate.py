import json
from dataclasses import replace

import pytest

from protocols import Adversary
from protocols.costs import Quantity, Session, Stored, Work, measuring, of_groups, of_session, planned_groups, shipped
from protocols.costs import table as tables
from protocols.costs.estimate import held, seconds
from protocols.costs.measuring import Case, Measured, fit
from protocols.groups import GroupPlan, Rule
from protocols.masking.config import RoundConfig
from secagg.errors import MissingDependencyError, ParameterError

CASES = (*measuring.QUICK, *measuring.QUICK_HELD_OUT, Case(70, 7_000), Case(90, 90, 0.2), Case(2_000, 50))
UNITS = {work: (number + 1) * 1e-7 for number, work in enumerate(Work)}
BYTES = {what: 10.0 ** (number + 1) for number, what in enumerate(Stored)}


def invented(case, workers=2):
    """What a session would cost on a machine with these unit costs, exactly."""
    table = replace(shipped(), seconds=UNITS, memory=BYTES)
    return replace(one := Measured(case, workers), values=one.estimated(table))


def test_a_machine_that_is_as_the_model_says_is_found():
    looked_up = [({work: 1e5}, 1e5 * UNITS[work]) for work in (Work.SCANNED, Work.SORTED)]
    table = fit([invented(case) for case in CASES], [invented(Case(300, 400, 0.1))], looked_up=looked_up)
    for case in (Case(45, 1_000), Case(5_000, 100_000, 0.05)):
        session = case.session
        invention = replace(table, seconds=UNITS, memory=BYTES)
        for counts in (session.client(), session.server()):
            assert seconds(table, counts) == pytest.approx(seconds(invention, counts), rel=1e-4)
        for counts in (session.client_memory(), session.server_memory()):
            assert held(table, counts) == pytest.approx(held(invention, counts), rel=1e-4)
    assert (table.fitted, table.held_out) == (len(CASES), 1)
    assert max(table.errors.values()) < 1e-4
    assert set(table.errors) == set(Quantity)


def test_the_error_is_that_of_the_worst_session_that_nothing_was_fitted_on():
    others = [invented(Case(300, 400)), invented(Case(80, 900))]
    off = replace(
        others[1], values=others[1].values | {Quantity.SERVER_SECONDS: 2 * others[1].values["server-seconds"]}
    )
    table = fit([invented(case) for case in CASES], [others[0], off])
    assert table.errors[Quantity.SERVER_SECONDS] == pytest.approx(0.5, rel=1e-3)
    assert table.errors[Quantity.CLIENT_SECONDS] < 1e-4


def test_no_cost_is_below_zero_and_memory_may_be_given():
    few = [invented(case, workers=1) for case in CASES[:3]]
    table = fit([replace(one, values=one.values | {Quantity.CLIENT_SECONDS: 1.0}) for one in few], few, memory=BYTES)
    assert min(table.seconds.values()) >= 0
    assert table.memory == BYTES


def test_a_measured_session_has_the_bytes_that_were_counted():
    done = measuring.run(Case(12, 300, 0.1, corrupt=0.0))
    assert done.values[Quantity.SENT_BYTES] == pytest.approx(done.estimated(shipped())[Quantity.SENT_BYTES], rel=0.01)
    assert min(done.values.values()) > 0
    assert Quantity.SERVER_MEMORY not in done.values  # clients were in the same process


def test_a_table_is_read_as_it_was_written(tmp_path):
    tables.write(shipped(), tmp_path / "table.json")
    assert tables.read(tmp_path / "table.json") == shipped()
    assert json.loads((tmp_path / "table.json").read_text())["processor"] == shipped().processor


def test_the_shipped_table_has_all_costs_and_says_how_far_it_is_off():
    table = shipped()
    assert table.seconds.keys() == set(Work)
    assert table.memory.keys() == set(Stored)
    assert table.errors.keys() == set(Quantity)
    assert table.held_out >= 2
    assert table.seconds[Work.MASK_BYTE] > 0
    assert table.seconds[Work.AGREEMENT] + table.seconds[Work.NEIGHBOUR] > 1e-6


def test_groups_cost_what_their_sessions_do():
    plan = GroupPlan(50, 0.0, 0.05, honest_minimum=2, rule=Rule.SUM, groups=4)
    vectors = Case(50, 1_000).session.config.vectors

    def configure(model):
        return RoundConfig(model, vectors)

    sessions = [Session(configure(plan.model(size)), size // 10) for size in plan.sizes]
    found = of_groups(plan, configure, 0.1, workers=3)
    assert (found.clients, found.groups, found.group, found.workers, found.dropped) == (50, 4, 13, 3, 1)
    servers = sum(seconds(shipped(), session.server()) for session in sessions)
    assert found.servers_seconds == pytest.approx(servers)
    assert found.servers_wall_seconds == pytest.approx(servers * 2 / 4)  # two turns of three, the last with one
    assert found.simulated_wall_seconds > found.servers_wall_seconds
    assert found.server_seconds == seconds(shipped(), sessions[0].server())
    one = of_session(sessions[0].config, sessions[0].dropped)
    assert one.client_seconds == found.client_seconds
    assert one.servers_wall_seconds == one.servers_seconds == one.server_seconds
    assert found.servers_received_bytes > 3.5 * one.servers_received_bytes
    assert json.loads(json.dumps(found.facts()))["errors"].keys() == set(Quantity)


def test_what_is_beyond_the_measured_sessions_is_said():
    assert of_session(Case(500, 5_000).session.config).beyond == ()
    told = of_session(Case(8, 2_000_000, corrupt=0.0).session.config).beyond
    (numbers,) = (one for one in told if "numbers: this one has 2,000,00" in one)
    assert "extrapolated" in numbers
    assert any("clients: this one has 8," in one for one in told)


def test_more_work_costs_more():
    config = Case(100, 1_000).session.config
    base = of_session(config)
    assert of_session(config, 10).server_seconds > base.server_seconds
    assert of_session(Case(100, 100_000).session.config).client_seconds > base.client_seconds
    malicious = of_session(Case(100, 1_000, adversary=Adversary.MALICIOUS_SERVER).session.config)
    assert malicious.client_received_bytes > base.client_received_bytes


@pytest.mark.parametrize(
    ("clients", "workers", "groups"),
    [(10_000, 64, 1), (10_001, 1, 2), (1_000_000, 64, 128), (1_000_000, 1, 100), (640_000, 64, 64)],
)
def test_groups_that_nobody_named_are_as_few_as_keep_all_workers_busy(clients, workers, groups):
    assert planned_groups(clients, workers) == groups


def test_no_workers_are_refused():
    for estimate in (lambda: of_session(Case(20, 10).session.config, workers=0), lambda: planned_groups(20_000, 0)):
        with pytest.raises(ParameterError, match="workers is 0"):
            estimate()


@pytest.mark.parametrize("dropped", [-5, 20, 30, 2.0])
def test_no_more_vanish_than_there_are(dropped):
    with pytest.raises(ParameterError, match=r"dropped is .* from 0 to 19"):
        of_session(Case(20, 10).session.config, dropped)


@pytest.mark.parametrize("dropout", [-0.1, 2.0, float("nan")])
def test_dropout_is_a_fraction(dropout):
    plan = GroupPlan(50, 0.0, 0.05, honest_minimum=2, rule=Rule.SUM, groups=4)
    with pytest.raises(ParameterError, match=r"dropout is .* from 0 to 1"):
        of_groups(plan, lambda model: RoundConfig(model, Case(50, 10).session.config.vectors), dropout)


def test_fitting_without_scipy_names_what_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scipy.optimize", None)
    with pytest.raises(MissingDependencyError, match="statistics"):
        measuring.measure_here(BYTES)
