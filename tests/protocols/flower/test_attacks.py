"""Servers that play with a node's state, its choices and its errors; nodes that lie. Each attack worked once."""

import os
import time

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.serverapp import strategy as flower

from protocols import ClientPolicy, PrivacyDemand
from protocols.core.identity_files import read_identity, write_identity, write_participants
from protocols.core.participants import Participants
from protocols.flower import Privacy, SecAgg, SecAggGrid, SecAggMod, SecAggSettings, answered
from protocols.flower.envelope import RECORD, REFUSED, record_of
from protocols.masking.transitions import ClientPhase
from secagg.errors import ParameterError, UnexpectedMessage
from secagg.signatures import Identity

from .in_process import METRICS, MODEL, NODE_IDS, make_app, make_grid, train_messages, usual_training

SETTINGS = SecAggSettings(metrics=METRICS)
VICTIM = NODE_IDS[2]


def run(grid, settings=SETTINGS, messages=None, **options):
    secure = SecAggGrid(grid, settings, **options)
    replies = list(secure.send_and_receive(messages or train_messages(nodes=list(grid.nodes)), timeout=5))
    return replies, secure.reports[-1]


# --- a node's state -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", [2, 3, 4], ids=["share-keys", "masked-input", "unmasking"])
def test_a_state_that_comes_back_is_not_answered_again(exchange):
    """As when the app's process is killed after Flower has sent its answer, and before it has kept its state.

    Two masked inputs under the same masks give away the difference of what was trained.
    """
    second = []

    def training(arrays, partition):
        moved, metrics = usual_training(arrays, partition)
        return [moved[0] + np.float32(0.1 * len(second)), *moved[1:]], metrics

    def disturb(number, node_id, message, answer):
        if (number, node_id) != (exchange, VICTIM):
            return answer(message)
        context = grid.nodes[node_id]
        before = recorddict_to_proto(context.state)
        reply = answer(message)
        after, context.state = context.state, recorddict_from_proto(before)
        second.append(answer(message))
        context.state = after
        return reply

    grid = make_grid(make_app(training), disturb=disturb)
    (reply,), report = run(grid)
    assert reply.has_content()
    assert report.failures == {}
    (again,) = second
    assert again.has_error()
    assert "gives no second answer" in again.error.reason


def test_what_cannot_be_noted_is_not_answered(tmp_path):
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / "file" / "folder")
    grid = make_grid(make_app(usual_training), node_config=lambda p: {"secagg-answered": folder} if p == 2 else {})
    (reply,), report = run(grid)
    assert reply.has_content()
    assert "cannot note what it has answered" in report.failures[VICTIM]
    assert b"folder" not in b"".join(grid.from_nodes)


def test_notes_are_kept_for_their_time_in_a_folder_of_ones_own(flower_home):
    one, other = bytes(32), bytes([1] * 32)
    folder = answered.folder_of({})
    assert folder.parent == flower_home
    last = answered.KEPT_RUNS + 3
    old = time.time() - answered.KEPT_SECONDS - 60
    for run_id in range(1, last):
        answered.claim(folder, run_id, 5, one, ClientPhase.ADVERTISED)
        if run_id in (1, 3):
            os.utime(folder / str(run_id), (old - run_id, old - run_id))
    assert (folder / "2" / "5").stat().st_mode & 0o777 == 0o700
    answered.claim(folder, last, 5, one, ClientPhase.ADVERTISED)
    kept = sorted(int(run.name) for run in folder.iterdir())
    assert kept == [2, *range(4, last + 1)]  # of the two that are old enough, both, since there are as many newer ones
    answered.claim(folder, 2, 6, one, ClientPhase.ADVERTISED)
    answered.claim(folder, 2, 5, one, ClientPhase.SHARED)
    answered.claim(folder, 2, 5, other, ClientPhase.SHARED)
    for phase in (ClientPhase.ADVERTISED, ClientPhase.SHARED):
        with pytest.raises(UnexpectedMessage):
            answered.claim(folder, 2, 5, one, phase)
    answered.claim(folder, 2, 5, other, ClientPhase.ADVERTISED)  # whoever begins a session has left the others
    assert all(note.name.startswith(other.hex()) for note in (folder / "2" / "5").iterdir())
    assert len(list((folder / "2" / "6").iterdir())) == 1


def test_a_node_keeps_the_notes_of_one_session_alone(flower_home):
    grid = make_grid(make_app(usual_training))
    for _ in range(3):
        run(grid)
    folders = list(answered.folder_of({}).glob("*/*"))
    assert len(folders) == 6
    assert [len(list(folder.iterdir())) for folder in folders] == [4] * 6


@pytest.mark.parametrize("kind", ["evaluate", "train"])
def test_no_function_of_the_app_sees_or_loses_the_session(kind):
    """A server may ask for evaluation in mid-session."""
    seen = []

    def spying(message, context):
        seen.append([name for name in context.state if name.startswith(RECORD)])
        context.state.clear()
        context.state["mine"] = ConfigRecord({"kept": True})
        metrics = {"num-examples": 1, "loss": 0.0, "bins": [0.0, 0.0]}
        return Message(RecordDict({"arrays": ArrayRecord(MODEL), "metrics": MetricRecord(metrics)}), reply_to=message)

    app = make_app(usual_training, mods=[SecAggMod(in_clear=["evaluate"])])
    app._registered_funcs[f"{kind}.default"] = lambda message, context: app._mods[0](message, context, spying)

    def disturb(number, node_id, message, answer):
        if kind == "evaluate":
            answer(Message(message.content, node_id, "evaluate"))
        return answer(message)

    grid = make_grid(app, disturb=disturb)
    (reply,), report = run(grid)
    assert reply.has_content()
    assert report.failures == {}
    assert seen == [[]] * (30 if kind == "evaluate" else 6)
    assert all("mine" in context.state for context in grid.nodes.values())


# --- what a server may choose ---------------------------------------------------------------------------------------


def test_a_server_cannot_have_one_node_run_another_training():
    """All are invited to `train`; one is then asked for `train.other`, which is not in the digest of the content."""
    app = make_app(usual_training)
    other = []

    @app.train("other")
    def _other(message, context):
        other.append(context.node_id)
        return app._registered_funcs["train.default"](message, context)

    def disturb(number, node_id, message, answer):
        if number == 3 and node_id == VICTIM:
            message.metadata.__dict__["_message_type"] = "train.other"
        return answer(message)

    _, report = run(make_grid(app, disturb=disturb))
    assert other == []
    assert "another type of message" in report.failures[VICTIM]


def one_hot(arrays, partition):
    """A metric that is zero for all but one node, as counts of a rare class are."""
    moved, _ = usual_training(arrays, partition)
    return moved, {"num-examples": 10, "rare": int(partition == 2)}


def test_a_server_cannot_weigh_all_nodes_but_one_away():
    settings = SecAggSettings(metrics=["num-examples"], max_weight=10)
    with pytest.raises(ParameterError, match="weighs updates by 'rare', but this app by 'num-examples'"):
        run(make_grid(make_app(one_hot)), settings, weighted_by="rare")
    # That it would have been the node's own update:
    grid = make_grid(make_app(one_hot, mods=[SecAggMod(weighted_by="rare")]))
    (reply,), _ = run(grid, settings, weighted_by="rare")
    own, _ = one_hot(MODEL, 2)
    np.testing.assert_allclose(reply.content["arrays"].to_numpy_ndarrays()[1], own[1], atol=2e-2)


def test_a_strategys_own_weight_is_told_to_the_nodes_too():
    def training(arrays, partition):
        return usual_training(arrays, partition)[0], {"tokens": 40}

    app = make_app(training, mods=[SecAggMod(weighted_by="tokens")])
    strategy = SecAgg(flower.FedAvg(weighted_by_key="tokens", fraction_evaluate=0.0))
    strategy.start(make_grid(app), ArrayRecord(MODEL), num_rounds=1, timeout=5)
    assert strategy.reports[0].total_weight == 6 * 40


@pytest.mark.parametrize(("limit", "value"), [("COUNTER_LIMIT", 2.0), ("COUNTER_BITS", 20), ("METRIC_BITS", 30)])
def test_a_server_cannot_move_limits_that_no_setting_moves(limit, value, monkeypatch):
    from protocols.flower import settings

    monkeypatch.setattr(settings, limit, value)
    with pytest.raises(ParameterError, match="other limits than this adapter knows"):
        run(make_grid(make_app(usual_training)))


def test_a_demand_on_privacy_is_for_so_many_rounds():
    trained = []

    def training(arrays, partition):
        trained.append(partition)
        return [arrays[0] + 0.01], {"num-examples": 1}

    demand = PrivacyDemand(8.0, 1e-5, rounds=2)
    grid = make_grid(make_app(training, mods=[SecAggMod(policy=ClientPolicy(privacy=demand))]), 10)
    settings = SecAggSettings(dropout_fraction=0.0, privacy=Privacy(l2_clip=1.0, epsilon=8.0, delta=1e-5, rounds=2))
    messages = train_messages([np.zeros(5)], NODE_IDS)
    for _ in range(2):
        (reply,), _report = run(grid, settings, messages)
        assert reply.has_content()
    with pytest.raises(ParameterError, match="has taken part in 2 private rounds, in all runs together"):
        run(grid, settings, messages)
    assert len(trained) == 20


# --- what errors tell -----------------------------------------------------------------------------------------------


def broken_contribution(*arguments):
    raise RuntimeError("patient 4711 is ill")


@pytest.mark.parametrize("name", ["too large a number", "no reply", "a defect"])
def test_what_nobody_foresaw_is_refused_without_its_text(name, monkeypatch):
    """Flower sends the text of an exception to the server."""
    from protocols.flower import mod

    app = make_app(
        lambda arrays, partition: (usual_training(arrays, partition)[0], {"num-examples": 1, "loss": 10**400})
    )
    if name == "no reply":
        app._registered_funcs["train.default"] = lambda message, context: app._mods[0](
            message, context, lambda *_: None
        )
    if name == "a defect":
        monkeypatch.setattr(mod, "contribution", broken_contribution)
    grid = make_grid(app)
    replies, report = run(grid, SecAggSettings(metrics=["loss"]))
    assert all(reply.has_error() for reply in replies)
    assert len(report.failures) == 6
    assert all("Error, which is unforeseen: the node's log tells more" in reason for reason in report.failures.values())
    assert b"4711" not in b"".join(grid.from_nodes)
    assert all(RECORD not in context.state for context in grid.nodes.values())


def broken_evaluation(message, *_):
    raise KeyError("patient 4711")


def refusing_evaluation(message, *_):
    return Message(Error(77, "patient 4711"), reply_to=message)


@pytest.mark.parametrize(
    ("evaluation", "told"),
    [
        (broken_evaluation, "evaluate failed with KeyError"),
        (refusing_evaluation, "evaluate answered with error 77"),
        (lambda *_: None, "evaluate failed with AttributeError"),
    ],
)
def test_what_goes_wrong_in_a_message_that_is_admitted_in_clear_stays_in_the_nodes_log(evaluation, told, caplog):
    app = make_app(usual_training, mods=[])
    app._registered_funcs["evaluate.default"] = lambda message, context: SecAggMod(in_clear=["evaluate"])(
        message, context, evaluation
    )
    grid = make_grid(app)
    with caplog.at_level("ERROR", logger="flwr"):
        reply = grid.answer(Message(RecordDict(), VICTIM, "evaluate"))
    assert (reply.error.code, reply.error.reason) == (REFUSED, f"secagg: {told}: the node's log tells more")
    assert b"4711" not in b"".join(grid.from_nodes)
    assert "4711" in caplog.text or "NoneType" in caplog.text


def test_an_invitation_of_too_many_is_refused_before_anything_is_derived_from_it(monkeypatch):
    """The graph of a million clients takes a node seconds, and the invitation 160 bytes."""
    from protocols.flower import mod

    read = mod.wire.decode

    def decode(data, kind, **limits):
        assert kind is not mod.Invitation
        return read(data, kind, **limits)

    monkeypatch.setattr(mod.wire, "decode", decode)
    app = make_app(usual_training, mods=[SecAggMod(policy=ClientPolicy(max_clients=5))])
    with pytest.raises(ParameterError, match="invites 6 clients, but this client takes part with at most 5"):
        run(make_grid(app))


def test_a_nodes_error_cannot_write_on_the_servers_terminal():
    def disturb(number, node_id, message, answer):
        if node_id == VICTIM:
            return Message(Error(REFUSED, "first line\nall is well\x1b[2K\x1b[1A"), reply_to=message)
        return answer(message)

    _, report = run(make_grid(make_app(usual_training), disturb=disturb))
    assert report.failures[VICTIM].isprintable()
    assert "first line" not in report.failures[VICTIM]


# --- nodes that lie -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", ["update", "counters", "metrics"])
def test_a_mean_that_honest_nodes_cannot_reach_is_an_error(lie, monkeypatch):
    """One node weighs one example, and counts ten thousand times as much."""
    from protocols.flower import mod

    honest = mod.contribution

    def contribution(announcement, config, sent, returned):
        values = honest(announcement, config, sent, returned)
        if values["num-examples"][0] == 12:
            update = config.vectors[0].name
            spec = {"update": config.vectors[0], "counters": config.vectors[1], "metrics": config.vectors[2]}[lie]
            values[update if lie == "update" else lie] = np.full(spec.length, spec.clip)
        return values

    replies, report = run(make_grid(make_app(usual_training)))
    assert replies[0].has_content()
    monkeypatch.setattr(mod, "contribution", contribution)
    replies, report = run(make_grid(make_app(usual_training)))
    assert all(reply.has_error() for reply in replies)
    assert "a node has lied" in report.error


def test_a_node_cannot_take_the_place_of_another_whose_public_key_it_knows(tmp_path):
    names = [f"node-{i}" for i in range(6)]
    for name in names:
        write_identity(tmp_path / f"{name}.pem", Identity.generate())
    keys = {name: read_identity(tmp_path / f"{name}.pem") for name in names}
    write_participants(tmp_path / "roster.json", Participants({name: key.public_bytes for name, key in keys.items()}))
    grid = make_grid(
        make_app(usual_training),
        node_config=lambda p: {
            "secagg-identity": str(tmp_path / f"node-{p}.pem"),
            "secagg-roster": str(tmp_path / "roster.json"),
        },
    )
    thief, owner = NODE_IDS[0], NODE_IDS[2]

    def disturb(number, node_id, message, answer):
        reply = answer(message)
        if number == 1 and node_id == thief:
            stolen = answer(Message(message.content, owner, "train")).content[RECORD]
            reply.content[RECORD] = record_of(identity=keys["node-2"].public_bytes, proof=stolen["proof"])
        return reply

    grid.disturb = disturb
    settings = SecAggSettings(
        metrics=METRICS, adversary="malicious-server", roster=str(tmp_path / "roster.json"), dropout_fraction=0.2
    )
    (reply,), report = run(grid, settings)
    assert reply.has_content()
    assert owner in report.survivors
    assert set(report.failures) == {thief}
    assert "cannot show" in report.failures[thief]


def test_a_node_without_roster_is_told_what_is_missing(tmp_path):
    for i in range(6):
        write_identity(tmp_path / f"node-{i}.pem", Identity.generate())
    keys = {f"node-{i}": read_identity(tmp_path / f"node-{i}.pem").public_bytes for i in range(6)}
    write_participants(tmp_path / "roster.json", Participants(keys))
    grid = make_grid(
        make_app(usual_training), node_config=lambda p: {"secagg-identity": str(tmp_path / f"node-{p}.pem")}
    )
    settings = SecAggSettings(metrics=METRICS, adversary="malicious-server", roster=str(tmp_path / "roster.json"))
    with pytest.raises(ParameterError, match="name the file of public keys in its configuration, secagg-roster"):
        run(grid, settings)
