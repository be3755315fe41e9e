"""What nodes refuse of a server, what servers refuse of an app, and the words that they do it in."""

from contextlib import nullcontext

import msgspec
import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower

from protocols.flower import SecAgg, SecAggGrid, SecAggMod, SecAggSettings, check_strategy
from protocols.flower.announcement import Announcement, pack_node_ids
from protocols.flower.envelope import RECORD, REFUSED, record_of
from protocols.masking.client import Client
from secagg.errors import ParameterError, StateError

from .in_process import (
    METRICS,
    MODEL,
    NODE_IDS,
    VanishedError,
    make_app,
    make_grid,
    of_another_version,
    train_messages,
    usual_training,
)

SETTINGS = SecAggSettings(metrics=METRICS)


def run(grid, settings=SETTINGS, messages=None):
    secure = SecAggGrid(grid, settings)
    replies = list(secure.send_and_receive(messages or train_messages(nodes=list(grid.nodes)), timeout=5))
    return replies, secure.reports[-1]


def failures(training, settings=SETTINGS):
    """One node of six trains otherwise: why it is left out."""
    app = make_app(lambda arrays, partition: (training if partition == 2 else usual_training)(arrays, partition))
    _, report = run(make_grid(app), settings)
    assert set(report.failures) == {NODE_IDS[2]}
    return report.failures[NODE_IDS[2]]


def returns(arrays=None, records=None, **metrics):
    def training(sent, partition):
        usual, numbers = usual_training(sent, partition)
        content = {"arrays": ArrayRecord(list(usual if arrays is None else arrays(usual)))}
        numbers = {key: value for key, value in (numbers | metrics).items() if value is not None}
        return RecordDict(content | {"metrics": MetricRecord(numbers)} | (records or {}))

    return training


def changed(index, array):
    return lambda usual: [array(each) if i == index else each for i, each in enumerate(usual)]


BAD_TRAININGS = {
    "shape": (returns(changed(0, lambda a: a.T)), "of shape (3, 2) and was returned as float32 of shape (2, 3)"),
    "kind": (returns(changed(0, lambda a: a.astype(np.int64))), "was returned as int64"),
    "dtype": (returns(changed(1, lambda a: a.astype(complex))), "not of complex128"),
    "an array too few": (returns(lambda usual: usual[:2]), "the arrays lack ['2']: return those that came"),
    "an array too many": (returns(lambda usual: [*usual, usual[0]]), "arrays have ['3'], which did not come: return"),
    "no number": (returns(changed(0, lambda a: a * np.nan)), "not finite"),
    "beyond the clip": (returns(changed(0, lambda a: a + 5)), "beyond clip (1): raise clip"),
    "counters": (returns(changed(2, lambda a: a + 2**40)), "changed by more than 2**31"),
    "no weight": (returns(**{"num-examples": None}), "must return 'num-examples'"),
    "broken weight": (returns(**{"num-examples": 2.5}), "as a whole number"),
    "negative weight": (returns(**{"num-examples": -1}), "as a whole number"),
    "large weight": (returns(**{"num-examples": 10_001}), "above max_weight, 10000: raise max_weight"),
    "undeclared metric": (returns(accuracy=0.5), "not declared: ['accuracy']: say metrics="),
    "missing metric": (returns(loss=None), "training did not return the declared metrics ['loss']: say metrics="),
    "long metric": (returns(bins=[1.0, 2.0, 3.0]), "'bins' was declared as a list of 2"),
    "scalar metric": (returns(bins=1.0), "returned a single number"),
    "large metric": (returns(loss=1e7), "beyond metric_limit, 1e+06"),
    "infinite metric": (returns(loss=float("nan")), "not finite"),
    "two models": (returns(records={"more": ArrayRecord([np.zeros(2)])}), "2 ArrayRecords"),
    "a note": (returns(records={"note": ConfigRecord({"name": "Alice"})}), "ConfigRecords ['note']"),
}


@pytest.mark.parametrize("name", BAD_TRAININGS)
def test_what_cannot_be_summed_is_refused_by_its_own_node(name):
    training, text = BAD_TRAININGS[name]
    assert text in failures(training)


def test_refusals_tell_the_server_no_values():
    def training(arrays, partition):
        raise ValueError("patient 4711 is ill")

    reason = failures(training)
    assert "training failed with ValueError" in reason
    assert "4711" not in reason
    assert "20731" not in failures(returns(**{"num-examples": 20731}))
    assert "7.5" not in failures(returns(changed(0, lambda a: a + 7.5)))
    assert "Alice" not in failures(BAD_TRAININGS["a note"][0])


def test_few_clipped_coordinates_are_counted_and_let_through():
    def training(arrays, partition):
        moved = arrays[0].copy()
        moved[0] += 3 if partition == 2 else 0.5
        return [moved], {"num-examples": 10}

    grid = make_grid(make_app(training))
    (reply,), report = run(grid, SecAggSettings(), train_messages([np.zeros(200)]))
    assert report.num_clipped == 1
    assert reply.content["arrays"].to_numpy_ndarrays()[0][0] == pytest.approx((5 * 0.5 + 1.0) / 6, abs=1e-3)


def test_a_missing_mod_is_named_and_its_plain_update_is_not_used():
    grid = make_grid(make_app(usual_training, mods=[]))
    with pytest.raises(ParameterError, match="is secagg_mod missing"):
        run(grid)
    careless = make_app(lambda arrays, partition: ([], {}), mods=[])
    careless._registered_funcs["train.default"] = lambda message, context: Message(
        RecordDict({"arrays": ArrayRecord([np.full(3, 99.0)]), "metrics": MetricRecord({"num-examples": 1})}),
        reply_to=message,
    )
    with pytest.raises(ParameterError, match="Its answer is not used; is secagg_mod missing"):
        run(make_grid(careless))


def test_a_mod_refuses_to_train_in_clear():
    trained = []
    grid = make_grid(make_app(lambda arrays, partition: trained.append(partition)))
    replies = list(grid.send_and_receive(train_messages()))
    assert all("under secure aggregation only" in reply.error.reason for reply in replies)
    assert not trained


@pytest.mark.parametrize("side", ["node", "server"])
def test_versions_that_differ_are_named(side):
    with pytest.raises(ParameterError, match="install the same version of secagg on both"):
        run(make_grid(make_app(usual_training), disturb=of_another_version(side)))


REFUSED_STRATEGIES = {
    "Krum": flower.Krum,
    "MultiKrum": flower.MultiKrum,
    "Bulyan": flower.Bulyan,
    "FedMedian": flower.FedMedian,
    "FedTrimmedAvg": flower.FedTrimmedAvg,
    "QFedAvg": lambda: flower.QFedAvg(client_learning_rate=0.1, q=0.1, train_loss_key="loss"),
    "FedXgbBagging": flower.FedXgbBagging,
    "FedXgbCyclic": flower.FedXgbCyclic,
    "server-side clipping": lambda: flower.DifferentialPrivacyServerSideFixedClipping(flower.FedAvg(), 1.0, 1.0, 5),
    "server-side adaptive": lambda: flower.DifferentialPrivacyServerSideAdaptiveClipping(flower.FedAvg(), 0.1, 5),
    "client-side adaptive": lambda: flower.DifferentialPrivacyClientSideAdaptiveClipping(flower.FedAvg(), 0.1, 5),
    "within a wrapper": lambda: flower.DifferentialPrivacyClientSideFixedClipping(flower.FedMedian(), 1.0, 1.0, 5),
}


@pytest.mark.parametrize("name", REFUSED_STRATEGIES)
def test_strategies_that_need_more_than_the_mean_are_refused(name):
    strategy = REFUSED_STRATEGIES[name]()
    for insists in (False, True):
        with pytest.raises(ParameterError, match="does not work under secure aggregation: it "):
            SecAgg(strategy, only_needs_mean=insists)


@pytest.mark.parametrize(("given", "name"), [(flower.FedAvg, "FedAvg, the class: make one of it"), ("FedAvg()", "str")])
def test_what_is_no_strategy_is_refused(given, name):
    with pytest.raises(ParameterError, match=rf"such as FedAvg\(\), but was given {name}$"):
        SecAgg(given)


def test_a_strategy_of_flowers_older_module_is_told_from_that_of_the_newer():
    from flwr.server import strategy as older

    for given in (older.FedAvg(), older.FedAvg):
        with pytest.raises(ParameterError, match=r"older than the Message API: take flwr\.serverapp\.strategy\.FedAvg"):
            SecAgg(given)


def test_unknown_strategies_need_the_callers_word():
    class Own(flower.FedAvg):
        def aggregate_train(self, server_round, replies):
            return super().aggregate_train(server_round, replies)

    with pytest.raises(ParameterError, match="only_needs_mean=True"):
        check_strategy(Own())
    check_strategy(Own(), only_needs_mean=True)
    with pytest.raises(ParameterError, match="train_metrics_aggr_fn"):
        check_strategy(flower.FedAvg(train_metrics_aggr_fn=lambda records, key: MetricRecord({})))


@pytest.mark.parametrize("insists", [False, True])
def test_secagg_goes_around_a_strategy_once(insists):
    with pytest.raises(ParameterError, match="around it once"):
        SecAgg(SecAgg(flower.FedAvg()), only_needs_mean=insists)


@pytest.mark.parametrize(("clip", "trained"), [(1.0, True), (1e-6, False)])
def test_a_run_without_any_mean_is_an_error_that_says_why(clip, trained):
    strategy = SecAgg(flower.FedAvg(fraction_evaluate=0.0), metrics=METRICS, clip=clip)
    expected = (
        nullcontext() if trained else pytest.raises(StateError, match=r"not one of 2 rounds had a mean.*raise clip")
    )
    with expected:
        strategy.start(make_grid(make_app(usual_training)), ArrayRecord(MODEL), num_rounds=2, timeout=5)
    assert len(strategy.reports) == 2


def test_a_run_with_one_mean_is_none():
    def disturb(number, node_id, message, answer):
        if number == 1:  # nobody is there in the first round
            raise VanishedError
        return answer(message)

    strategy = SecAgg(flower.FedAvg(fraction_evaluate=0.0), metrics=METRICS)
    grid = make_grid(make_app(usual_training), disturb=disturb)
    strategy.start(grid, ArrayRecord(MODEL), num_rounds=2, timeout=5)
    assert [report.error is None for report in strategy.reports] == [False, True]


def test_secagg_inside_another_wrapper_trains_nobody():
    wrapped = flower.DifferentialPrivacyClientSideFixedClipping(SecAgg(flower.FedAvg()), 1.0, 1.0, 6)
    grid = make_grid(make_app(usual_training))
    with pytest.raises(ParameterError, match="outermost"):
        wrapped.start(grid, ArrayRecord(MODEL), num_rounds=1)
    assert grid.exchange == 0


def other_message(node_id, **config):
    return Message(RecordDict({"arrays": ArrayRecord(MODEL), "config": ConfigRecord(config)}), node_id, "train")


BAD_EXCHANGES = {
    "one node": (lambda: train_messages(nodes=NODE_IDS[:1]), "trains on 1 node"),
    "a node twice": (lambda: train_messages(nodes=NODE_IDS[:3] + NODE_IDS[:1]), "two train messages to one node"),
    "different contents": (lambda: [*train_messages(), other_message(NODE_IDS[7], lr=0.0)], "different models"),
    "mixed": (lambda: [*train_messages(), Message(RecordDict(), 5, "evaluate")], "mixes training with other"),
    "two types": (lambda: [*train_messages(), Message(RecordDict(), 4, "train.fast")], "mixes the types"),
    "text arrays": (lambda: train_messages([np.zeros(3, dtype=complex)]), "sends a model that cannot be averaged"),
}


@pytest.mark.parametrize("name", BAD_EXCHANGES)
def test_exchanges_that_cannot_be_served_are_refused_before_anything_is_sent(name):
    messages, text = BAD_EXCHANGES[name]
    grid = make_grid(make_app(usual_training))
    with pytest.raises(ParameterError, match=text):
        list(SecAggGrid(grid, SETTINGS).send_and_receive(messages(), timeout=5))
    assert grid.exchange == 0
    with pytest.raises(ParameterError, match="use send_and_receive"):
        SecAggGrid(grid, SETTINGS).push_messages(train_messages())


@pytest.mark.parametrize(
    ("option", "value"),
    [("clip", 0.0), ("value_bits", 1), ("max_weight", 0), ("metrics", "loss"), ("metrics", {"loss": -1}),
     ("max_clipped_fraction", 1.5), ("stage_timeout", 0.0), ("dropout_fraction", 1.0), ("adversary", "nobody"),
     ("adversary", "malicious-server"), ("roster", "roster.json"), ("metric_limit", float("nan")),
     ("privacy", {"epsilon": 8.0})],
)  # fmt: skip
def test_impossible_settings_are_refused_at_once(option, value):
    with pytest.raises(ParameterError):
        SecAgg(flower.FedAvg(), **{option: value})


def test_a_node_refuses_strange_keys_of_ours_in_its_configuration():
    grid = make_grid(make_app(usual_training), node_config=lambda _: {"secagg-minimum-client": 3})
    with pytest.raises(ParameterError, match="the node's configuration has"):
        run(grid)


@pytest.mark.parametrize("key", ["secagg-minimum-client", "secagg-identity", "secagg-answered"])
def test_a_node_refuses_what_a_run_cannot_demand(key):
    """A slip of the pen would be a demand that nobody makes; files are named by the node's operator alone."""
    with pytest.raises(ParameterError, match="the run's configuration has"):
        run(make_grid(make_app(usual_training), run_config={key: "x", "other": 1}))


def test_where_all_nodes_say_the_same_the_error_says_it_too():
    replies, report = run(make_grid(make_app(usual_training)), SecAggSettings())
    assert "; 6 of 6 nodes failed with: masked-input: secagg: EncodingError: training returned metrics" in report.error
    assert "were not declared" in report.error
    assert all(reply.has_error() for reply in replies)


# --- servers that cheat ---------------------------------------------------------------------------------------------


def cheat(change, exchange, victims=(NODE_IDS[2],)):
    """Change what some nodes are sent in one exchange; return the round's report and replies."""

    def disturb(number, node_id, message, answer):
        if number == exchange and node_id in victims:
            change(message.content, node_id)
        return answer(message)

    return run(make_grid(make_app(usual_training), disturb=disturb))


def announce(records, **changes):
    announcement = msgspec.msgpack.decode(records[RECORD]["announcement"], type=Announcement)
    records[RECORD]["announcement"] = msgspec.msgpack.encode(msgspec.structs.replace(announcement, **changes))


INVITATION_CHEATS = {
    "another model": (lambda c, _: announce(c, content=bytes(32)), "not bound to what the server announces"),
    "other nodes": (
        lambda c, _: announce(c, node_ids=pack_node_ids(sorted([*NODE_IDS[:5], 999]))),
        "not bound to what the server announces",
    ),
    "another run": (lambda c, _: announce(c, run_id=8), "another run"),
    "more clipping": (lambda c, _: announce(c, max_clipped_fraction=1.0), "not bound to what the server announces"),
    "strange bytes": (lambda c, _: c[RECORD].update({"announcement": b"\xc1"}), "cannot be decoded"),
    "no protocol": (lambda c, _: c[RECORD].update({"message": b"SAGG"}), "no message of ours"),
}


@pytest.mark.parametrize("name", INVITATION_CHEATS)
def test_a_node_that_is_told_another_story_takes_no_part(name):
    change, text = INVITATION_CHEATS[name]
    _, report = cheat(change, 1)
    assert text in report.failures[NODE_IDS[2]]


def test_whatever_stands_in_our_records_place_is_answered_with_an_error():
    records = [ArrayRecord([np.zeros(2)]), MetricRecord({"version": 1}), ConfigRecord({}), ConfigRecord({"version": 1})]
    records += [ConfigRecord({"version": 1, field: 5}) for field in ("message", "ask", "announcement")]
    records += [ConfigRecord({"version": 2, "ask": b"identity"})]
    grid = make_grid(make_app(usual_training))
    for record in records:
        (reply,) = grid.send_and_receive([Message(RecordDict({RECORD: record}), NODE_IDS[0], "train")])
        assert reply.error.code == REFUSED


def test_the_server_does_not_hear_where_a_node_keeps_its_keys(tmp_path):
    grid = make_grid(make_app(usual_training), node_config=lambda _: {"secagg-identity": str(tmp_path / "hidden.pem")})
    with pytest.raises(ParameterError, match="identity or roster cannot be used: its log tells why"):
        run(grid)
    assert b"hidden.pem" not in b"".join(grid.from_nodes)


def test_no_node_plays_two_clients_and_no_client_is_two_nodes():
    """A node's number is its place among the announced, ascending ids, which every node hashes into the session."""
    ids = sorted(NODE_IDS[:6])
    stored = {}

    def swap(content, node_id):
        if not stored:  # the first node's invitation goes to the second as well
            stored["invitation"] = content[RECORD]["message"]
        content[RECORD]["message"] = stored["invitation"]

    _, report = cheat(swap, 1, victims=NODE_IDS[:6])
    assert sum("which is another's" in reason for reason in report.failures.values()) == 5
    announcement = Announcement(7, "train", pack_node_ids([5, 5, 17]), (), bytes(32), "w", (), 0.0)
    with pytest.raises(ParameterError, match="lists a node twice"):
        announcement.participants()
    names = msgspec.structs.replace(announcement, node_ids=pack_node_ids(ids)).participants().names
    assert names == tuple(f"node-{node_id:020}" for node_id in ids)


def test_a_server_cannot_have_one_node_train_another_model():
    """Model inconsistency: all but one node are given a model that makes their updates vanish."""
    trained = []

    def training(arrays, partition):
        trained.append(partition)
        return usual_training(arrays, partition)

    def disturb(number, node_id, message, answer):
        if number == 3 and node_id == NODE_IDS[2]:
            message.content["arrays"] = ArrayRecord([array * 0 for array in MODEL])
        if number == 3 and node_id == NODE_IDS[3]:
            message.content["config"] = ConfigRecord({"lr": 0.0})
        return answer(message)

    _, report = run(
        make_grid(make_app(training), disturb=disturb), SecAggSettings(metrics=METRICS, dropout_fraction=0.4)
    )
    for node in NODE_IDS[2:4]:
        assert "not what the server announced to all nodes" in report.failures[node]
    assert sorted(trained) == [0, 1, 4, 5]


def test_a_repeated_message_gets_no_second_answer():
    """Training is not run again. No answer is kept to be repeated: masked models would fill a SuperNode's memory."""
    trained, second = [], {}

    def training(arrays, partition):
        trained.append(partition)
        return usual_training(arrays, partition)

    def disturb(number, node_id, message, answer):
        reply = answer(message)
        if number > 1:  # a second invitation would begin a new session, with new keys
            second[number, node_id] = answer(message)
        return reply

    (reply,), _report = run(make_grid(make_app(training), disturb=disturb))
    assert reply.has_content()
    assert sorted(trained) == list(range(6))
    assert len(second) == 4 * 6
    for again in second.values():
        assert again.has_error()
        assert "UnexpectedMessage" in again.error.reason


def test_a_message_of_another_run_finds_no_session():
    grid = make_grid(make_app(usual_training))
    original = grid.answer

    def disturb(number, node_id, message, answer):
        if number == 3 and node_id == NODE_IDS[2]:
            grid.nodes[node_id].run_id = 8
        return original(message)

    grid.disturb = disturb
    _, report = run(grid)
    assert "this node is in no session" in report.failures[NODE_IDS[2]]


def test_the_training_function_cannot_reach_the_sessions_secrets():
    seen = []
    app = make_app(usual_training)
    inner = app._registered_funcs["train.default"]
    from protocols.flower import secagg_mod

    def spying(message, context):
        def call_next(message, context):
            seen.append((RECORD in context.state, RECORD in message.content))
            return Message(
                RecordDict(
                    {
                        "arrays": ArrayRecord(message.content["arrays"].to_numpy_ndarrays()),
                        "metrics": MetricRecord({"num-examples": 1, "loss": 0.0, "bins": [0.0, 0.0]}),
                    }
                ),
                reply_to=message,
            )

        return secagg_mod(message, context, call_next)

    assert inner is not None
    app._registered_funcs["train.default"] = spying
    run(make_grid(app))
    assert seen == [(False, False)] * 6


def test_state_is_gone_when_the_round_is_over():
    grid = make_grid(make_app(usual_training))
    run(grid)
    assert all(RECORD not in context.state for context in grid.nodes.values())


def test_a_node_that_loses_its_state_drops_out():
    def disturb(number, node_id, message, answer):
        if number == 2 and node_id == NODE_IDS[2]:
            grid.nodes[node_id].state = RecordDict()
        return answer(message)

    grid = make_grid(make_app(usual_training), disturb=disturb)
    _, report = run(grid)
    assert "this node is in no session" in report.failures[NODE_IDS[2]]


def test_reprs_hold_no_secrets():
    from protocols.flower.memory import Memory

    client = Client()
    grid = make_grid(make_app(usual_training))
    memory = Memory(
        Announcement(7, "train", b"", (), bytes(32), "w", (), 0.0),
        SETTINGS.round_config(6, 1, 0, b""),
        b"",
        client.dump(),
    )
    assert repr(memory) == "Memory(...)"
    assert "SecAggMod" in repr(SecAggMod())
    assert grid.exchange == 0
    assert record_of(message=b"x")["version"] == 1


def test_silence_is_no_reason_to_blame_the_app():
    def disturb(number, node_id, message, answer):
        raise VanishedError

    replies, report = run(make_grid(make_app(usual_training), disturb=disturb))
    assert all(reply.has_error() for reply in replies)
    assert "0 clients are left" in report.error
