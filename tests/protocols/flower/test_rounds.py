"""Rounds over a grid in this process: what comes out, who may fail, and what the server gets to see."""

import numpy as np
import pytest
from flwr.app import ArrayRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower

from protocols import Adversary, ClientPolicy
from protocols.flower import Privacy, SecAgg, SecAggGrid, SecAggMod, SecAggSettings, rounds
from protocols.flower.announcement import Announcement
from protocols.flower.envelope import RECORD, REFUSED
from secagg.errors import ParameterError

from .in_process import (
    METRICS,
    MODEL,
    NODE_IDS,
    VanishedError,
    make_app,
    make_grid,
    plain_mean,
    train_messages,
    usual_training,
)

PRECISION = 2e-3
"""value_bits 22 at max_weight / weight of 1000, several standard deviations."""

SETTINGS = SecAggSettings(metrics=METRICS)
EXCHANGES = ("advertise-keys", "share-keys", "masked-input", "consistency-check", "unmasking")


def start(strategy, grid, *, num_rounds=1, arrays=MODEL, **options):
    return strategy.start(grid, ArrayRecord(list(arrays)), num_rounds=num_rounds, timeout=5, **options)


def run(grid, settings=SETTINGS, messages=None):
    secure = SecAggGrid(grid, settings)
    replies = list(secure.send_and_receive(messages or train_messages(nodes=list(grid.nodes)), timeout=5))
    return replies, secure.reports[-1]


def assert_mean(arrays, partitions):
    expected, _ = plain_mean(partitions)
    for got, wanted, sent in zip(arrays, expected, MODEL, strict=True):
        assert got.dtype == sent.dtype
        assert got.shape == sent.shape
        np.testing.assert_allclose(got, wanted, atol=PRECISION)


@pytest.mark.parametrize("adversary", ["curious-server", "semi-malicious-server"])
def test_one_reply_carries_the_weighted_mean(adversary):
    settings = SecAggSettings(metrics=METRICS, adversary=adversary)
    app = make_app(usual_training, mods=[SecAggMod(policy=ClientPolicy.permissive())])
    (reply,), report = run(make_grid(app), settings)
    assert_mean(reply.content["arrays"].to_numpy_ndarrays(), range(6))
    metrics = reply.content["metrics"]
    assert metrics["num-examples"] == sum(range(10, 16))
    assert metrics["loss"] == pytest.approx(plain_mean(range(6))[1], abs=1e-3)
    assert metrics["bins"] == pytest.approx([1.0, 2 * plain_mean(range(6))[1]], abs=1e-3)
    assert report.survivors == set(NODE_IDS[:6])
    assert report.failures == {}


def test_the_precision_is_as_documented():
    """A mean is off by a few steps of clip / 2**(value_bits - 1) * max_weight / weight, and by more with fewer bits."""

    def largest_error(value_bits):
        settings = SecAggSettings(metrics=METRICS, value_bits=value_bits, max_step=1.0)
        (reply,), _ = run(make_grid(make_app(usual_training)), settings)
        return max(
            float(np.abs(got - wanted).max())
            for got, wanted in zip(
                reply.content["arrays"].to_numpy_ndarrays()[:2], plain_mean(range(6))[0], strict=False
            )
        )

    assert largest_error(30) < 2**-(29) * 10_000 / 75 * 6
    assert largest_error(14) > 2**-(29) * 10_000 / 75 * 6


@pytest.mark.parametrize("exchange", [1, 2, 3, 4, 5], ids=EXCHANGES)
@pytest.mark.parametrize("how", ["silent", "error", "garbage", "plain"])
def test_a_node_that_fails_in_any_exchange_costs_itself_alone(exchange, how):
    victim = NODE_IDS[2]

    def disturb(number, node_id, message, answer):
        if (number, node_id) != (exchange, victim):
            return answer(message)
        if how == "silent":
            raise VanishedError
        if how == "error":
            return Message(Error(2, "out of memory"), reply_to=message)
        if how == "plain":
            return Message(RecordDict({"arrays": ArrayRecord(MODEL), "metrics": MetricRecord({})}), reply_to=message)
        reply = answer(message)
        field = reply.content[RECORD]
        field["message"] = field["message"][:-1] + b"\x00\x01"
        return reply

    (reply,), report = run(make_grid(make_app(usual_training), disturb=disturb))
    assert set(report.failures) == {victim}
    # Its input is in the sum if it came, whatever becomes of the node after that.
    survivors = set(range(6)) - ({2} if exchange < 4 else set())
    assert_mean(reply.content["arrays"].to_numpy_ndarrays(), survivors)
    assert report.survivors == {NODE_IDS[i] for i in survivors}


@pytest.mark.parametrize("of_exchange", [2, 3], ids=["late", "duplicate"])
def test_what_a_node_said_before_is_no_offence_and_no_answer(of_exchange):
    victim, said = NODE_IDS[2], {}

    def disturb(number, node_id, message, answer):
        reply = answer(message)
        if node_id == victim:
            said[number] = reply.content
            if number == 5:
                return Message(said[of_exchange], reply_to=message)
        return reply

    (reply,), report = run(make_grid(make_app(usual_training), disturb=disturb))
    assert report.failures == {victim: "unmasking: no answer within 120 s"}
    assert_mean(reply.content["arrays"].to_numpy_ndarrays(), range(6))


def test_nodes_may_fail_in_every_exchange_and_new_ones_come_between_rounds():
    lost = dict(zip([1, 3, 5], NODE_IDS, strict=False))

    def disturb(number, node_id, message, answer):
        if lost.get(number) == node_id:
            raise VanishedError
        return answer(message)

    grid = make_grid(make_app(usual_training), 10, disturb=disturb)
    newcomer = NODE_IDS[9]
    context = grid.nodes.pop(newcomer)
    (reply,), report = run(grid, SecAggSettings(metrics=METRICS, dropout_fraction=0.4))
    assert set(report.failures) == set(NODE_IDS[:3])
    assert_mean(reply.content["arrays"].to_numpy_ndarrays(), range(2, 9))
    grid.nodes[newcomer] = context
    (reply,), report = run(grid)
    assert_mean(reply.content["arrays"].to_numpy_ndarrays(), range(10))


def test_too_few_survivors_give_no_mean_and_the_strategy_goes_on():
    def disturb(number, node_id, message, answer):
        if number == 3 and node_id in NODE_IDS[:3]:
            raise VanishedError
        return answer(message)

    grid = make_grid(make_app(usual_training), disturb=disturb)
    replies, report = run(grid)
    assert all(reply.has_error() for reply in replies)
    assert len(replies) == 6
    assert "3 clients are left, but 5 are needed" in report.error
    assert report.survivors == frozenset()
    grid.exchange = 0
    strategy = SecAgg(flower.FedAvg(fraction_evaluate=0.0), metrics=METRICS)
    result = start(strategy, grid, num_rounds=2)
    assert [report.error is None for report in strategy.reports] == [False, True]
    for got, wanted in zip(result.arrays.to_numpy_ndarrays(), plain_mean(range(6))[0], strict=True):
        np.testing.assert_allclose(got, wanted, atol=PRECISION)


def test_counters_stay_integers_although_strategies_average_floats():
    dtypes = []

    def training(arrays, partition):
        dtypes.append(arrays[2].dtype)
        return [arrays[0], arrays[1], arrays[2] + 100], usual_training(MODEL, partition)[1]

    strategy = SecAgg(flower.FedAvg(fraction_evaluate=0.0), metrics=METRICS)
    result = start(strategy, make_grid(make_app(training)), num_rounds=3)
    assert set(dtypes) == {np.dtype(np.int64)}
    assert result.arrays.to_numpy_ndarrays()[2] == 7 + 300


STATE_DICT = {
    "bn.num_batches_tracked": np.array(2**60 + 1),  # no dimensions, and no float64 has it
    "bn.running_mean": np.zeros(3, dtype=np.float32),
    "empty": np.empty((0, 4), dtype=np.float32),
    "frozen": np.array(2**62 + 1, dtype=np.uint64),
    "half": np.full((2, 2), 0.5, dtype=np.float16),
    "mask": np.array([True, False, True]),
    "scalar": np.array(0.25),
}


def test_a_state_dict_with_scalars_empty_arrays_and_booleans_goes_through():
    def training(arrays, partition):
        trained = dict(zip(STATE_DICT, arrays, strict=True))
        assert [array.dtype for array in arrays] == [array.dtype for array in STATE_DICT.values()]
        trained["bn.num_batches_tracked"] = trained["bn.num_batches_tracked"] + 12
        trained["half"] = trained["half"] + np.float16(0.125)
        trained["mask"] = np.array([True, partition < 5, False])
        trained["scalar"] = np.asarray(trained["scalar"] + 0.5)
        return list(map(np.asarray, trained.values())), {"num-examples": 10}

    messages = train_messages(list(STATE_DICT.values()))
    (reply,), report = run(make_grid(make_app(training)), SecAggSettings(), messages)
    assert report.failures == {}
    got = dict(zip(STATE_DICT, reply.content["arrays"].to_numpy_ndarrays(), strict=True))
    expected = STATE_DICT | {
        "bn.num_batches_tracked": np.array(2**60 + 13),
        "half": np.full((2, 2), 0.625, dtype=np.float16),
        "mask": np.array([True, True, False]),
        "scalar": np.array(0.75),
    }
    for key, array in expected.items():
        assert (got[key].dtype, got[key].shape) == (array.dtype, array.shape)
        np.testing.assert_allclose(got[key].astype(float), array.astype(float), atol=PRECISION, rtol=0)
    for key in ("bn.num_batches_tracked", "frozen", "mask"):
        assert got[key].tolist() == expected[key].tolist()


def test_a_run_with_a_counter_without_dimensions_goes_on_for_rounds():
    def training(arrays, partition):
        return [arrays[0], np.asarray(arrays[1] + 100)], {"num-examples": 10}

    strategy = SecAgg(flower.FedAvg(fraction_evaluate=0.0))
    result = start(strategy, make_grid(make_app(training)), num_rounds=2, arrays=[MODEL[0], np.array(7)])
    assert result.arrays.to_numpy_ndarrays()[1] == 207


def test_training_runs_once_a_round_and_evaluation_is_untouched_where_the_app_admits_it():
    calls = []

    def training(arrays, partition):
        calls.append(partition)
        return usual_training(arrays, partition)

    strategy = SecAgg(flower.FedAvg(), metrics=METRICS)
    app = make_app(training, mods=[SecAggMod(in_clear=["evaluate"])])
    result = start(strategy, make_grid(app), num_rounds=2)
    assert sorted(calls) == sorted([*range(6)] * 2)
    assert result.evaluate_metrics_clientapp[2]["partition"] == pytest.approx(2.5)
    assert result.train_metrics_clientapp[1]["loss"] == pytest.approx(plain_mean(range(6))[1], abs=1e-3)


def test_nothing_that_the_server_sees_holds_an_update():
    rng = np.random.default_rng(5)
    updates = rng.uniform(-0.5, 0.5, (6, 50))

    def training(arrays, partition):
        return [arrays[0] + updates[partition]], {"num-examples": 9973, "loss": 123.456}

    settings = SecAggSettings(metrics=["loss"], max_weight=9973, value_bits=32)
    model = [np.zeros(50)]
    grid = make_grid(make_app(training))
    (reply,), _ = run(grid, settings, train_messages(model, nodes=list(grid.nodes)))
    np.testing.assert_allclose(reply.content["arrays"].to_numpy_ndarrays()[0], updates.mean(axis=0), atol=1e-7)
    seen = b"".join(grid.from_nodes)
    assert len(seen) > 6 * 50 * 4
    levels = np.floor(updates * (2**31 - 1))  # the weight is the largest, so that levels are those of the update
    for update, low in zip(updates, levels, strict=True):
        for number in (0, 7, 49):
            for dtype in ("<f8", "<f4", ">f8", ">f4"):
                assert np.array(update[number], dtype).tobytes() not in seen
            for level in (low[number], low[number] + 1):
                for size in (4, 8):
                    assert int(level).to_bytes(size, "little", signed=True) not in seen
                    assert int(level).to_bytes(size, "big", signed=True) not in seen
    assert np.array(123.456).tobytes() not in seen
    assert b"loss" not in seen


def test_the_search_finds_updates_where_there_is_no_aggregation():
    """The test above must be able to fail."""
    grid = make_grid(make_app(usual_training, mods=[]))
    list(grid.send_and_receive(train_messages()))
    value = (MODEL[1] - 0.05 * 3)[1]
    assert np.array(value).tobytes() in b"".join(grid.from_nodes)


STRATEGIES = {
    "FedAvg": (flower.FedAvg, {}),
    "FedProx": (flower.FedProx, {"proximal_mu": 0.1}),
    "FedAdam": (flower.FedAdam, {"eta": 0.01}),
    "FedYogi": (flower.FedYogi, {"eta": 0.01}),
    "FedAdagrad": (flower.FedAdagrad, {"eta": 0.01}),
    "FedAvgM": (flower.FedAvgM, {"server_momentum": 0.5}),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_do_what_they_do_in_clear(name):
    """The same strategy, over the same updates, with and without."""
    kind, options = STRATEGIES[name]
    model = MODEL[:2]

    def training(arrays, partition):
        # Every coordinate moves by much more than the precision: adaptive steps amplify what is near zero.
        moved = [arrays[0] + np.float32(0.2 + 0.01 * partition), arrays[1] - 0.3 - 0.05 * partition]
        return moved, {"num-examples": 900 + partition, "loss": 1.0}

    def final(strategy, mods):
        return start(strategy, make_grid(make_app(training, mods=mods)), num_rounds=2, arrays=model).arrays

    plain = final(kind(fraction_evaluate=0.0, **options), [])
    secure = final(SecAgg(kind(fraction_evaluate=0.0, **options), metrics=["loss"]), [SecAggMod()])
    assert list(secure) == list(plain)
    for got, wanted in zip(secure.to_numpy_ndarrays(), plain.to_numpy_ndarrays(), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_client_side_clipping_for_differential_privacy_works_inside():
    from flwr.clientapp.mod import fixedclipping_mod

    app = make_app(
        lambda arrays, partition: ([arrays[0] + 1], {"num-examples": 10}), mods=[SecAggMod(), fixedclipping_mod]
    )
    inner = flower.FedAvg(fraction_evaluate=0.0)
    wrapped = flower.DifferentialPrivacyClientSideFixedClipping(inner, 0.0, 0.3, 6)
    result = start(SecAgg(wrapped), make_grid(app), arrays=[np.zeros(9)])
    np.testing.assert_allclose(result.arrays.to_numpy_ndarrays()[0], np.full(9, 0.1), atol=PRECISION)


MALICIOUS = {"adversary": "malicious-server"}


@pytest.fixture
def keys(tmp_path):
    from protocols.core.identity_files import write_identity, write_participants
    from protocols.core.participants import Participants
    from secagg.signatures import Identity

    identities = {f"node-{i}": Identity.generate() for i in range(6)}
    for name, identity in identities.items():
        write_identity(tmp_path / f"{name}.pem", identity)
    write_participants(
        tmp_path / "roster.json", Participants({name: identity.public_bytes for name, identity in identities.items()})
    )
    return tmp_path


def credentials(keys):
    return lambda partition: {
        "secagg-identity": str(keys / f"node-{partition}.pem"),
        "secagg-roster": str(keys / "roster.json"),
        "secagg-adversary": "malicious-server",
    }


def test_malicious_server_rounds_use_identities_from_files(keys):
    grid = make_grid(make_app(usual_training), node_config=credentials(keys))
    settings = SecAggSettings(metrics=METRICS, roster=str(keys / "roster.json"), **MALICIOUS)
    (reply,), report = run(grid, settings)
    assert_mean(reply.content["arrays"].to_numpy_ndarrays(), range(6))
    assert report.failures == {}
    assert set(report.seconds) == {"identities", *EXCHANGES, "accept-shares", "server"}


def test_nodes_refuse_identities_that_they_do_not_trust(keys, tmp_path):
    from protocols.core.identity_files import write_identity, write_participants
    from secagg.signatures import Identity

    stranger = Identity.generate()
    write_identity(tmp_path / "stranger.pem", stranger)
    everyone = {f"node-{i}": b"" for i in range(5)}
    from protocols.core.identity_files import read_participants
    from protocols.core.participants import Participants

    trusted = read_participants(keys / "roster.json").keys
    write_participants(
        tmp_path / "server.json",
        Participants({name: trusted[name] for name in everyone} | {"x": stranger.public_bytes}),
    )

    def node_config(partition):
        config = credentials(keys)(partition)
        return config | {"secagg-identity": str(tmp_path / "stranger.pem")} if partition == 5 else config

    grid = make_grid(make_app(usual_training), node_config=node_config)
    settings = SecAggSettings(metrics=METRICS, roster=str(tmp_path / "server.json"), **MALICIOUS)
    with pytest.raises(ParameterError, match="not in this node's roster"):
        run(grid, settings)


def test_a_node_refuses_a_server_that_gives_its_number_to_another_identity(keys, monkeypatch):
    def swapped(*, identities, **fields):
        return Announcement(identities=(identities[1], identities[0], *identities[2:]), **fields)

    monkeypatch.setattr(rounds, "Announcement", swapped)
    grid = make_grid(make_app(usual_training), node_config=credentials(keys))
    settings = SecAggSettings(metrics=METRICS, roster=str(keys / "roster.json"), **MALICIOUS)
    _, report = run(grid, settings)
    first, second = sorted(NODE_IDS[:6])[:2]
    assert all("its public key is another one than its identity's" in report.failures[node] for node in (first, second))


def test_a_node_without_identity_takes_no_part_in_malicious_server_rounds(keys):
    def node_config(partition):
        return {} if partition == 0 else credentials(keys)(partition)

    grid = make_grid(make_app(usual_training), node_config=node_config)
    settings = SecAggSettings(metrics=METRICS, roster=str(keys / "roster.json"), **MALICIOUS)
    (reply,), report = run(grid, settings)
    assert_mean(reply.content["arrays"].to_numpy_ndarrays(), range(1, 6))
    assert "has no identity" in report.failures[NODE_IDS[0]]


def test_silence_about_identities_is_a_round_without_a_mean(keys):
    def disturb(number, node_id, message, answer):
        raise VanishedError

    grid = make_grid(make_app(usual_training), node_config=credentials(keys), disturb=disturb)
    settings = SecAggSettings(metrics=METRICS, roster=str(keys / "roster.json"), **MALICIOUS)
    replies, report = run(grid, settings)
    assert all(reply.has_error() for reply in replies)
    assert report.error.startswith(
        "0 of 6 nodes said who they are, and 2 must; 6 of 6 nodes failed with: identities: no answer"
    )


STATED = {
    "survivors": ({"min_survivors": 5}, 4, "min_survivors is 5, but must be an integer from 0 to 4"),
    "participants": (
        {"metrics": (), "privacy": Privacy(l2_clip=1.0, epsilon=8.0, delta=1e-5, min_participants=5)},
        4,
        "4 nodes can take part, but a private sum needs 5",
    ),
    "corrupt": ({"corrupt_fraction": 0.5, "dropout_fraction": 0.2}, 2, "1 of 2 clients may be corrupt"),
}


@pytest.mark.parametrize("name", STATED)
def test_fewer_identities_than_the_settings_serve_are_a_round_without_a_mean(name, keys):
    """Else nodes that are silent at the right time would end the run."""
    stated, have, why = STATED[name]

    def disturb(number, node_id, message, answer):
        if node_id in NODE_IDS[have:]:
            raise VanishedError
        return answer(message)

    grid = make_grid(make_app(usual_training), node_config=credentials(keys), disturb=disturb)
    settings = SecAggSettings(**{"metrics": METRICS, "roster": str(keys / "roster.json"), **MALICIOUS, **stated})
    replies, report = run(grid, settings)
    assert all(reply.has_error() for reply in replies)
    assert report.error.startswith(f"{have} of 6 nodes said who they are, which are too few: {why}")
    assert grid.exchange == 1


def test_settings_that_not_even_all_nodes_would_serve_are_named_as_such(keys):
    def disturb(number, node_id, message, answer):
        return None if node_id == NODE_IDS[0] else answer(message)

    grid = make_grid(make_app(usual_training), node_config=credentials(keys), disturb=disturb)
    settings = SecAggSettings(metrics=METRICS, roster=str(keys / "roster.json"), min_survivors=7, **MALICIOUS)
    with pytest.raises(ParameterError, match="min_survivors is 7, but must be an integer from 0 to 6"):
        run(grid, settings)


def test_once_something_was_trained_no_round_ends_the_run():
    """Flower's `start` would lose all that was trained: one node refuses while all others are late, or one is left."""

    def disturb(number, node_id, message, answer):
        if node_id == NODE_IDS[0]:
            return Message(Error(REFUSED, "its demand is used up"), reply_to=message)
        raise VanishedError

    grid = make_grid(make_app(usual_training), disturb=disturb)
    secure = SecAggGrid(grid, SETTINGS)

    def train(nodes=NODE_IDS[:6]):
        return secure.send_and_receive(train_messages(nodes=nodes), timeout=5)

    with pytest.raises(ParameterError, match="no node can take part: advertise-keys: its demand is used up"):
        train()
    grid.disturb = None
    assert train()[0].has_content()
    with pytest.raises(ParameterError, match="two train messages to one node"):  # the strategy's own mistakes still do
        train(NODE_IDS[:2] + NODE_IDS[:1])
    assert all(reply.has_error() for reply in train(NODE_IDS[:1]))
    assert "trains on 1 node, but a sum hides nothing" in secure.reports[-1].error
    grid.disturb = disturb
    assert all(reply.has_error() for reply in train())
    assert secure.reports[-1].error.startswith("no node can take part: advertise-keys: its demand is used up")
    grid.disturb = None
    assert train()[0].has_content()


DEMANDS = {
    "node": {"node_config": lambda _: {"secagg-adversary": "semi-malicious-server"}},
    "run": {"run_config": {"secagg-adversary": "semi-malicious-server"}},
}


@pytest.mark.parametrize("source", DEMANDS)
def test_nodes_refuse_a_server_that_proposes_less_than_they_demand(source):
    app = make_app(usual_training, mods=[SecAggMod(policy=ClientPolicy.permissive())])
    grid = make_grid(app, **DEMANDS[source])
    with pytest.raises(ParameterError, match="curious-server, but this client demands semi-malicious-server"):
        run(grid, SecAggSettings(metrics=METRICS, adversary=Adversary.CURIOUS_SERVER))
    run(grid, SecAggSettings(metrics=METRICS, adversary=Adversary.SEMI_MALICIOUS_SERVER))


def test_the_run_cannot_lower_what_code_and_operator_demand():
    app = make_app(usual_training, mods=[SecAggMod(policy=ClientPolicy(min_clients=7))])
    grid = make_grid(app, run_config={"secagg-min-clients": 2}, node_config=lambda _: {"secagg-min-clients": 3})
    with pytest.raises(ParameterError, match="invites 6 clients, but this client demands 7"):
        run(grid)
