"""Models as frameworks have them: BatchNorm's counters, buffers that nobody trains, halves, nothing at all."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.serverapp import strategy as flower

from protocols.flower import SecAgg, by_fit, secagg_mod
from protocols.flower.content import Model
from secagg.errors import EncodingError, StateError

from .engines import Process, environment
from .in_process import make_app, make_grid
from .state_dict_app import ADAPTIVE_KEEPS_NUMBERS, BATCH_NORM, layout, trained

EVERYONE = {"fraction_evaluate": 0.0, "min_train_nodes": 6, "min_available_nodes": 6}


def start(strategy, app, *, num_rounds=3, arrays=BATCH_NORM):
    return strategy.start(make_grid(app), record(arrays), num_rounds=num_rounds, timeout=5)


def training(arrays, partition):
    moved = trained(dict(zip(BATCH_NORM, arrays, strict=True)), partition)
    return list(moved.values()), {"num-examples": 10}


def app_of(train):
    """Training that returns arrays by their names."""

    def by_name(arrays, partition):
        moved, metrics = train(arrays, partition)
        named = record(dict(zip(BATCH_NORM, moved, strict=True)))
        return RecordDict({"arrays": named, "metrics": MetricRecord(metrics)})

    return make_app(by_name)


def record(arrays):
    return ArrayRecord({key: Array(array) for key, array in arrays.items()})


ADAPTIVE = (flower.FedAdam, flower.FedYogi, flower.FedAdagrad) if ADAPTIVE_KEEPS_NUMBERS else ()


@pytest.mark.parametrize("kind", [flower.FedAvg, *ADAPTIVE, flower.FedAvgM])
def test_every_strategy_keeps_the_integers_of_a_model_with_batch_norm(kind):
    """Adaptive strategies move counters by fractions: nodes refused floats in the place of integers from then on."""
    seen = []

    def seeing(arrays, partition):
        seen.append(layout(arrays))
        return training(arrays, partition)

    strategy = SecAgg(kind(**EVERYONE))
    start(strategy, app_of(seeing))
    assert [report.failures for report in strategy.reports] == [{}, {}, {}]
    assert seen == [layout(BATCH_NORM.values())] * 18


def test_fedavg_counts_batches_as_it_does_in_clear():
    strategy = SecAgg(flower.FedAvg(**EVERYONE))
    result = start(strategy, app_of(training))
    got = dict(zip(BATCH_NORM, result.arrays.to_numpy_ndarrays(), strict=True))
    assert got["bn.num_batches_tracked"] == 3 * 12
    np.testing.assert_array_equal(got["frozen"], BATCH_NORM["frozen"])
    np.testing.assert_allclose(got["bn.running_mean"], np.full(4, 3 * 0.1 * 2.5), atol=5e-3)


@pytest.mark.parametrize(
    ("moved", "dtype", "wanted"),
    [
        (7.4, "int64", 7),
        (7.6, "uint8", 8),
        (-1.0, "uint16", 0),
        (300.0, "int8", 127),
        (1e30, "int32", 2**31 - 1),
        (1e30, "int64", 2**63 - 1024),
        (1e30, "uint64", 2**64 - 2048),
        (0.5, "bool", True),
    ],
)
@pytest.mark.parametrize("shape", [(), (2,)])
def test_what_a_strategy_makes_of_integers_becomes_the_nearest_that_there_is(moved, dtype, wanted, shape):
    model = Model.of(record({"n": np.full(shape, moved), "w": np.zeros(2)}))
    array = model.with_integers({"n": dtype}).record()["n"].numpy()
    assert (array.dtype, array.shape) == (np.dtype(dtype), shape)
    assert np.all(array == wanted)


def test_integers_that_are_no_numbers_any_more_are_named():
    with pytest.raises(EncodingError, match="'n' has values that are not finite"):
        Model.of(record({"n": np.array(np.nan)})).with_integers({"n": "int64"})


@pytest.mark.parametrize("dtype", ["V2", "complex64", "U3"])
def test_what_cannot_be_averaged_is_named_before_anybody_trains(dtype):
    """V2 is what numpy makes of a bfloat16 of other libraries."""
    strategy = SecAgg(flower.FedAvg(**EVERYONE))
    with pytest.raises(ValueError, match=r"'odd'.*convert"):
        start(strategy, app_of(training), arrays={"odd": np.zeros(2, dtype=dtype)})


# --- apps of NumPyClient --------------------------------------------------------------------------------------------


class Usual(NumPyClient):
    """As in Flower's quickstarts."""

    def __init__(self, partition):
        self.partition = partition

    def fit(self, parameters, config):
        moved, metrics = training(parameters, self.partition)
        return moved, metrics["num-examples"], {"loss": 0.5 * config["scale"]}


def usual(context):
    return Usual(context.node_config["partition-id"]).to_client()


def run_bridged(client_fn, **options):
    app = ClientApp(mods=[secagg_mod])
    app.train()(by_fit(client_fn))
    strategy = SecAgg(flower.FedAvg(**EVERYONE), **({"metrics": ["loss"]} | options))
    result = strategy.start(
        make_grid(app),
        record(BATCH_NORM),
        num_rounds=1,
        timeout=5,
        train_config=ConfigRecord({"scale": 3.0}),
    )
    return result, strategy.reports[0]


@pytest.mark.parametrize("client_fn", [usual, lambda context: Usual(context.node_config["partition-id"])])
def test_an_app_of_numpy_client_trains_through_the_bridge(client_fn):
    result, report = run_bridged(client_fn)
    assert report.failures == {}
    assert list(result.arrays) == list(BATCH_NORM)
    assert result.train_metrics_clientapp[1]["loss"] == pytest.approx(1.5, abs=1e-4)
    np.testing.assert_allclose(result.arrays["bn.running_mean"].numpy(), np.full(4, 0.25), atol=5e-3)


class TooFew(Usual):
    def fit(self, parameters, config):
        return parameters[1:], 10, {"loss": 1.0}


class Words(Usual):
    def fit(self, parameters, config):
        return parameters, 10, {"loss": "small"}


@pytest.mark.parametrize(("kind", "words"), [(TooFew, "fit returned 6 arrays, but 7 came"), (Words, "'loss' is a str")])
def test_what_fit_returns_is_held_to_what_can_be_summed(kind, words):
    with pytest.raises(StateError, match=words):
        run_bridged(lambda context: kind(0))


def test_an_app_of_numpy_client_without_the_bridge_is_told_of_it():
    app = ClientApp(client_fn=usual, mods=[secagg_mod])
    with pytest.raises(
        StateError, match=r"app of NumPyClient: register its fit, app\.train\(\)\(by_fit\(client_fn\)\)"
    ):
        start(SecAgg(flower.FedAvg(**EVERYONE)), app)


# --- over Flower's engine -------------------------------------------------------------------------------------------


def test_models_with_batch_norm_go_through_flowers_engine(tmp_path):
    """FedAvg, FedAdam, private rounds and an app of NumPyClient; on Ray, which moves arrays by its own ways."""
    script = Path(__file__).with_name("state_dict_app.py")
    env = environment(tmp_path / "home") | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = Process(tmp_path / "simulations.log", sys.executable, script, env=env)
    try:
        text = process.wait(600)
    finally:
        process.kill()
    findings = [json.loads(told) for told in re.findall(r"^FINDINGS (.*)$", text, flags=re.MULTILINE)]
    usual, bridged = findings
    assert usual.keys() == {"FedAvg", "private", *(["FedAdam"] if ADAPTIVE else [])}
    assert bridged.keys() == {"FedAvg"}
    for found in findings:
        assert all(of["failures"] == [{}, {}] for of in found.values())
        assert found["FedAvg"]["batches"] == 2 * 12
        assert found["FedAvg"]["mean"] == pytest.approx([2 * 0.1 * 4.5] * 4, abs=5e-3)
    assert usual["private"]["batches"] == 0
    assert not ADAPTIVE or max(map(abs, usual["FedAdam"]["mean"])) > 0.1
