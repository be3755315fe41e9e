"""Private rounds of records in a Flower app: training returns a change of the model for each record of a sample."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from flwr.app import ArrayRecord
from flwr.serverapp import strategy as flower

from dp import sample_records
from dp.accounting import epsilon_of
from dp.distributed import NoiseShare
from dp.events import PoissonSampled
from dp.sensitivity import Adjacency, Unit
from protocols import ClientPolicy, PrivacyDemand
from protocols.flower import Privacy, SecAgg, SecAggGrid, SecAggMod, SecAggSettings
from secagg.errors import ParameterError

from .in_process import NODE_IDS, make_app, make_grid, train_messages

MODEL = [np.full((3, 2), 0.25, dtype=np.float32), np.arange(4.0), np.array([7], dtype=np.int64)]
LENGTH, RATE, EXPECTED, EPSILON, DELTA = 10, 0.5, 40.0, 8.0, 1e-5
DEMAND = PrivacyDemand(EPSILON, DELTA, rounds=20, unit=Unit.RECORD, sampling_rate=RATE)


def changes(partition: int) -> list[np.ndarray]:
    """Of all of a node's records: as many as twice its number, none at all in node 0; half of them beyond the clip."""
    rows = np.random.default_rng(partition).normal(scale=0.3, size=(2 * partition, LENGTH))
    return [rows[:, :6].reshape(-1, 3, 2).astype(np.float32), rows[:, 6:]]


def training(arrays: list[np.ndarray], partition: int) -> tuple[list[np.ndarray], dict[str, float]]:
    own = changes(partition)
    chosen = sample_records(2 * partition, RATE)
    return [*(part[chosen] for part in own), arrays[2]], {"loss": 0.5}


def settings(**privacy) -> SecAggSettings:
    stated = {"l2_clip": 1.0, "epsilon": EPSILON, "delta": DELTA, "min_participants": 6, "rounds": 20}
    stated |= {"unit": "record", "max_records": 30, "sampling_rate": RATE, "expected_records": EXPECTED} | privacy
    return SecAggSettings(corrupt_fraction=0.1, dropout_fraction=0.3, privacy=Privacy(**stated))


def grid_of(train=training, demand: PrivacyDemand | None = DEMAND):
    mod = SecAggMod(policy=ClientPolicy(min_participants=6, privacy=demand))
    return make_grid(make_app(train, mods=(mod,)), 10)


def run(grid, stated: SecAggSettings):
    secure = SecAggGrid(grid, stated)
    replies = list(secure.send_and_receive(train_messages(MODEL, NODE_IDS), timeout=5))
    return replies, secure.reports[-1]


def moved(reply) -> np.ndarray:
    arrays = reply.content["arrays"].to_numpy_ndarrays()
    return np.concatenate([(a - b).ravel() for a, b in zip(arrays[:2], MODEL, strict=False)])


def everyone(arrays: list[np.ndarray], partition: int) -> tuple[list[np.ndarray], dict[str, float]]:
    return [*changes(partition), arrays[2]], {}


def test_the_model_moves_by_the_clipped_changes_of_all_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoiseShare, "draw", lambda self, **_: np.zeros(self.dimension, dtype=np.int64))
    (reply,), report = run(grid_of(everyone), settings())
    rows = np.concatenate([np.hstack([part.reshape(len(part), -1) for part in changes(p)]) for p in range(1, 10)])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    assert 0.2 < np.mean(norms > 1) < 0.8
    expected = (rows * np.minimum(1, 1 / norms)).sum(axis=0) / EXPECTED
    assert np.abs(moved(reply) - expected).max() < 0.05
    assert reply.content["arrays"].to_numpy_ndarrays()[2] == MODEL[2]  # integers stay
    assert report.error is None


def test_a_round_costs_its_epsilon_for_each_record_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    stated = settings()
    with caplog.at_level(logging.INFO):
        (reply,), report = run(grid_of(), stated)
    plan = stated.private_plan(10, LENGTH, bytes(32))
    assert plan is not None
    assert report.unit is Unit.RECORD
    spent = PoissonSampled(RATE, plan.config.event(10, Adjacency.ADD_REMOVE))
    assert report.epsilon == pytest.approx(epsilon_of(spent, DELTA))
    assert 0 < report.epsilon < plan.epsilon_total <= EPSILON
    assert "has cost each record epsilon" in caplog.text
    assert np.abs(moved(reply)).max() > 0


@pytest.mark.parametrize(
    "demand", [PrivacyDemand(EPSILON, DELTA, 20), PrivacyDemand(EPSILON, DELTA, 20, unit=Unit.RECORD)]
)
def test_a_node_that_counts_on_less_refuses(demand: PrivacyDemand) -> None:
    with pytest.raises(ParameterError, match=f"for each {demand.unit}, but this client demands at most 8"):
        run(grid_of(demand=demand), settings())


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda own: [own[0].sum(axis=0), own[1]], "one change for each record"),
        (lambda own: [own[0][1:], own[1]], "each record is in all"),
        (lambda own: [own[0].astype(np.int64), own[1]], "must be of floats"),
        (lambda own: own[:1], "must be of floats of shape (records, 4)"),
    ],
)
def test_what_are_no_changes_of_records_counts_as_none_and_is_told_to_the_node_alone(spoil, words, caplog) -> None:
    def train(arrays, partition):
        own = changes(partition)
        return spoil(own) if partition == 3 else own, {}

    (_,), report = run(grid_of(train), settings())
    assert len(report.survivors) == 10
    assert report.failures == {}
    assert words in caplog.text


def test_strategies_train_on_records() -> None:
    strategy = flower.FedAvg(min_train_nodes=10, min_available_nodes=10, fraction_evaluate=0.0)
    result = SecAgg(strategy, settings()).start(grid_of(), ArrayRecord(list(MODEL)), num_rounds=2, timeout=5)
    assert not np.array_equal(result.arrays.to_numpy_ndarrays()[1], MODEL[1])


@pytest.mark.parametrize(
    ("privacy", "words"),
    [
        ({"expected_records": None}, "expected_records"),
        ({"expected_records": 0.0}, "expected_records"),
        ({"unit": "client"}, "expected_records"),
        ({"unit": "patient"}, "unit"),
        ({"sampling_rate": None}, "sampling_rate"),
        ({"max_records": 0}, "max_records"),
    ],
)
def test_what_does_not_go_together_is_refused(privacy, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        settings(**privacy)


def test_a_rate_for_whole_nodes_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ParameterError, match="sampling_rate"):
        settings(unit="client", expected_records=None, max_records=1).private_plan(10, LENGTH, bytes(32))
