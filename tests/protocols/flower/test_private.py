"""Private rounds in a Flower app: noise by one more argument, a budget that pays, nodes that check."""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord
from flwr.serverapp import strategy as flower

from dp.ledger import Budget, Composition, Ledger
from dp.sensitivity import Adjacency
from protocols import ClientPolicy, PrivacyDemand
from protocols.flower import Privacy, SecAgg, SecAggGrid, SecAggMod, SecAggSettings
from protocols.flower.announcement import node_name
from secagg.errors import ParameterError

from .in_process import NODE_IDS, VanishedError, make_app, make_grid, train_messages
from .state_dict_app import ADAPTIVE_KEEPS_NUMBERS

MODEL = [np.full((3, 2), 0.25, dtype=np.float32), np.arange(4.0)]
EPSILON, DELTA = 8.0, 1e-5


def training(arrays, partition):
    moved = [arrays[0] + np.float32(0.1), arrays[1] - 0.05 * partition]
    return moved, {"num-examples": 10 + partition, "loss": 0.5 * partition}


def settings(**privacy):
    stated = {"l2_clip": 1.0, "epsilon": EPSILON, "delta": DELTA, "min_participants": 6} | privacy
    return SecAggSettings(corrupt_fraction=0.1, dropout_fraction=0.3, privacy=Privacy(**stated))


LENIENT = SecAggMod(policy=ClientPolicy(min_participants=6))


def run(grid, stated, nodes=NODE_IDS):
    secure = SecAggGrid(grid, stated)
    replies = list(secure.send_and_receive(train_messages(MODEL, nodes), timeout=5))
    return replies, secure.reports[-1]


def grid_of(mod=LENIENT, train=training, **options):
    return make_grid(make_app(train, mods=(mod,)), 10, **options)


def drop(*partitions, exchange):
    gone = {NODE_IDS[partition] for partition in partitions}

    def disturb(number, node_id, message, answer):
        if node_id in gone and number >= exchange:
            raise VanishedError
        return answer(message)

    return disturb


def plain(partitions):
    updates = [
        np.concatenate([(a - b).ravel() for a, b in zip(training(MODEL, p)[0], MODEL, strict=True)]) for p in partitions
    ]
    clipped = [u * min(1.0, 1.0 / float(np.linalg.norm(u))) for u in updates]
    return np.mean(clipped, axis=0)


def moved(reply):
    arrays = reply.content["arrays"].to_numpy_ndarrays()
    return np.concatenate([(a - b).ravel() for a, b in zip(arrays, MODEL, strict=True)])


@pytest.mark.parametrize("exchange", [None, 2, 3])
def test_the_mean_has_the_planned_noise_and_every_node_weighs_the_same(exchange):
    grid = grid_of(disturb=drop(2, 5, exchange=exchange) if exchange else None)
    stated = settings()
    (reply,), report = run(grid, stated)
    partitions = [p for p in range(10) if exchange is None or p not in (2, 5)]
    deviation = stated.private_plan(10, 10, bytes(32)).sum_deviation(len(partitions)) / len(partitions)
    off = moved(reply) - plain(partitions)
    assert 0.2 * deviation < np.sqrt(np.mean(off**2)) < 3 * deviation
    assert reply.content["metrics"]["num-examples"] == len(partitions) == report.total_weight
    assert "loss" not in reply.content["metrics"]  # metrics stay on the nodes
    assert 0 < report.epsilon <= EPSILON
    if exchange is None:
        assert report.epsilon < 0.95 * EPSILON  # ten survived where seven were promised


def test_without_noise_it_is_the_mean_of_clipped_updates(monkeypatch):
    from dp.distributed import NoiseShare

    monkeypatch.setattr(NoiseShare, "draw", lambda self, **_: np.zeros(self.dimension, dtype=np.int64))
    (reply,), _ = run(grid_of(), settings())
    assert np.abs(moved(reply) - plain(range(10))).max() < 0.05


def test_too_few_survivors_give_no_mean():
    replies, report = run(grid_of(disturb=drop(0, 1, 2, 3, exchange=3)), settings())
    assert all(reply.has_error() for reply in replies)
    assert "7 are needed" in report.error


def test_strategies_train_on():
    result = SecAgg(flower.FedAvg(min_train_nodes=10, min_available_nodes=10, fraction_evaluate=0.0), settings()).start(
        grid_of(), ArrayRecord(list(MODEL)), num_rounds=2, timeout=5
    )
    assert not np.array_equal(result.arrays.to_numpy_ndarrays()[1], MODEL[1])


# The budget.


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    url = str(tmp_path / "ledger.sqlite")
    with Ledger.open(url, create=True) as opened:
        opened.create(Budget("app", 14, "1e-5", adjacency=Adjacency.ADD_REMOVE, composition=Composition.RENYI))
    return url


def test_rounds_are_paid_for_until_the_budget_is_gone(ledger):
    grid, stated = grid_of(), settings(budget=ledger, subject="app")
    outcomes = [run(grid, stated) for _ in range(4)]
    errors = [report.error for _, report in outcomes]
    assert errors[0] is None
    assert "app" in errors[-1]
    sent = len(grid.to_nodes)
    run(grid, stated)
    assert len(grid.to_nodes) == sent  # nothing is asked of nodes once the budget is gone
    with Ledger.open(ledger) as opened:
        status = opened.status("app")
        assert status.open == 0
        assert status.epsilon <= 14
        assert len(opened.participants("app")) == 10
        assert len(opened.participant("app", node_name(NODE_IDS[3])).rounds) == errors.count(None)


def test_a_round_without_a_mean_is_given_back(ledger):
    _, report = run(grid_of(disturb=drop(0, 1, 2, 3, exchange=2)), settings(budget=ledger, subject="app"))
    assert report.error
    with Ledger.open(ledger) as opened:
        assert opened.status("app").epsilon == 0


def test_a_round_that_fails_while_it_is_unmasked_counts_as_spent(ledger):
    gone = drop(*range(9), exchange=5)  # one alone is below any threshold, whatever graph is drawn
    _, report = run(grid_of(disturb=gone), settings(budget=ledger, subject="app"))
    assert report.error
    with Ledger.open(ledger) as opened:
        assert len(opened.open_reservations("app")) == 1
        assert opened.status("app").epsilon > 0


def test_a_result_that_cannot_be_committed_is_not_given_out(ledger, monkeypatch):
    from dp.errors import LedgerStorageError

    def commit(self, *arguments, **options):
        raise LedgerStorageError("the disk is full")

    monkeypatch.setattr(Ledger, "commit", commit)
    replies, report = run(grid_of(), settings(budget=ledger, subject="app"))
    assert all(reply.has_error() for reply in replies)
    assert report.error == "the disk is full"


def test_a_ledger_that_is_not_there_stops_the_round_before_it_begins(tmp_path):
    grid = grid_of()
    _, report = run(grid, settings(budget=str(tmp_path / "none.sqlite"), subject="app"))
    assert "no ledger" in report.error
    assert grid.to_nodes == []


@pytest.mark.parametrize(("file", "subject", "words"), [(0, "app", "no ledger at /"), (1, "none", "no budget 'none'")])
def test_a_run_that_nothing_can_pay_for_does_not_begin(ledger, tmp_path, monkeypatch, file, subject, words):
    monkeypatch.chdir(tmp_path)
    grid = grid_of()
    strategy = SecAgg(flower.FedAvg(), settings(budget=("none.sqlite", ledger)[file], subject=subject))
    with pytest.raises(ParameterError, match=words):
        strategy.start(grid, ArrayRecord(MODEL), num_rounds=1)
    assert grid.to_nodes == []


# What is refused.


def test_nodes_demand_noise_by_code_operator_and_run_and_the_strictest_holds(tmp_path_factory, monkeypatch):
    def refusals(stated, *, demand=None, node=None, run_config=None):
        monkeypatch.setenv("FLWR_HOME", str(tmp_path_factory.mktemp("home")))  # nothing has been answered there
        mod = SecAggMod(policy=ClientPolicy(min_participants=6, privacy=demand))
        grid = grid_of(mod, node_config=lambda _: node or {}, run_config=run_config)
        try:
            _, report = run(grid, stated)
        except ParameterError as error:
            return str(error)
        return "".join(report.failures.values())

    fits = {"secagg-epsilon": 8.0, "secagg-delta": 1e-5}
    assert refusals(settings(), node=fits, run_config=fits, demand=PrivacyDemand(8.0, 1e-5)) == ""
    assert "demands at most 7" in refusals(settings(), demand=PrivacyDemand(7.0, 1e-5), node=fits)
    assert "demands at most 6" in refusals(settings(), node={**fits, "secagg-epsilon": 6.0}, run_config=fits)
    assert "demands at most 8" in refusals(settings(), node=fits, run_config={**fits, "secagg-rounds": 2})
    assert "has no noise" in refusals(SecAggSettings(metrics=["loss"]), node=fits)
    assert "go together" in refusals(settings(), node={"secagg-epsilon": 8.0})
    assert "secagg-epsilon is -1" in refusals(settings(), node={**fits, "secagg-epsilon": -1})
    assert "10 inputs" not in refusals(settings(), node={"secagg-min-participants": 7})
    assert "demands 8" in refusals(settings(), node={"secagg-min-participants": 8})


def test_nodes_insist_on_ten_participants_by_default():
    with pytest.raises(ParameterError, match="this client demands 10"):
        run(grid_of(SecAggMod()), settings())


def test_metrics_have_no_place_in_private_rounds():
    with pytest.raises(ParameterError, match="leave metrics out"):
        SecAggSettings(metrics=["loss"], privacy=Privacy(l2_clip=1.0, epsilon=1.0, delta=1e-5))


def test_integers_and_booleans_stay_on_the_nodes_in_private_rounds():
    """As BatchNorm counts its batches; a strategy that averages makes floats of what it is given."""
    seen = []

    def counting(arrays, partition):
        seen.append([array.dtype.kind for array in arrays])
        moved, metrics = training(arrays[:2], partition)
        return [*moved, np.asarray(arrays[2] + 1), ~arrays[3]], metrics

    sent = [*MODEL, np.array(2**60 + 1), np.array([True, False])]
    kind = flower.FedAdam if ADAPTIVE_KEEPS_NUMBERS else flower.FedAvg
    strategy = SecAgg(kind(min_train_nodes=10, min_available_nodes=10, fraction_evaluate=0.0), settings())
    result = strategy.start(grid_of(train=counting), ArrayRecord(sent), num_rounds=2, timeout=5)
    assert [report.failures for report in strategy.reports] == [{}, {}]
    assert seen == [["f", "f", "i", "b"]] * 20
    assert not np.array_equal(result.arrays.to_numpy_ndarrays()[1], MODEL[1])


def test_what_training_does_wrong_is_told_to_the_node_alone_and_zeros_are_sent_for_it(caplog):
    def failing(arrays, partition):
        if partition < 3:
            raise RuntimeError("patient 4711 is ill")
        return training(arrays, partition)

    grid, stated = grid_of(train=failing), settings()
    with caplog.at_level("ERROR", logger="flwr"):
        (reply,), report = run(grid, stated)
    assert report.failures == {}
    assert reply.content["metrics"]["num-examples"] == 10
    assert caplog.text.count("zeros with noise are sent") == 3
    assert b"4711" not in b"".join(grid.from_nodes)
    deviation = stated.private_plan(10, 10, bytes(32)).sum_deviation(10) / 10
    assert np.sqrt(np.mean((moved(reply) - 0.7 * plain(range(3, 10))) ** 2)) < 3 * deviation


@pytest.mark.parametrize(
    ("privacy", "words"),
    [
        ({"epsilon": -1.0}, "epsilon"),
        ({"l2_clip": 0.0}, "l2_clip"),
        ({"min_participants": 11}, "10 nodes can take part, but a private sum needs 11: raise min_train_nodes"),
        ({"delta": 2.0}, "delta"),
    ],
)
def test_impossible_goals_are_named_before_anything_is_sent(privacy, words):
    grid = grid_of()
    with pytest.raises(ParameterError, match=words):
        run(grid, settings(**privacy))
    assert grid.to_nodes == []


def test_half_a_budget_is_refused():
    with pytest.raises(ParameterError, match="both or neither"):
        Privacy(l2_clip=1.0, epsilon=1.0, delta=1e-5, budget="ledger.sqlite")
