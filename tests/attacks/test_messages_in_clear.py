"""What leaves a node beside the masked training: evaluation read a node's exact gradient, and arrays left unmasked."""

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import strategy as flower

from protocols import ClientPolicy, PrivacyDemand
from protocols.flower import SecAgg, SecAggGrid, SecAggMod
from protocols.flower.envelope import REFUSED

from ..protocols.flower.conftest import flower_home  # noqa: F401 - a home of the test's own
from ..protocols.flower.in_process import NODE_IDS, make_app, make_grid, set_identity, usual_training

rng = np.random.default_rng(3)
FEATURES, LABELS = rng.normal(size=(30, 8)), rng.normal(size=30)
VICTIM = NODE_IDS[2]
DEMAND = ClientPolicy(privacy=PrivacyDemand(0.5, 1e-5))


def app_of(mod, *, beside=None) -> ClientApp:
    """One that returns the loss of the model that came on its own data, as examples of Flower's do."""
    app = ClientApp(mods=[mod])

    def loss(message, context):
        weights = message.content["arrays"].to_numpy_ndarrays()[0]
        value = float(np.mean((FEATURES @ weights - LABELS) ** 2))
        content = RecordDict({"metrics": MetricRecord({"num-examples": 30, "loss": value})})
        if beside is not None:
            content["beside"] = beside
        return Message(content, reply_to=message)

    app.evaluate()(loss)
    app.query()(loss)
    return app


def asked(grid, weights, kind="evaluate"):
    """One node's reply, past any strategy, as the SuperLink's owner would ask."""
    set_identity()
    message = Message(RecordDict({"arrays": ArrayRecord([weights])}), VICTIM, kind)
    (reply,) = SecAggGrid(grid, SecAgg(flower.FedAvg()).settings).send_and_receive([message])
    return reply


def stolen_gradient(grid, at):
    """Differences of the loss, two messages a coordinate; None where the node does not answer."""
    gradient = []
    for step in np.eye(at.size):
        both = [asked(grid, at + sign * step) for sign in (1, -1)]
        if any(reply.has_error() for reply in both):
            return None
        losses = [reply.content["metrics"]["loss"] for reply in both]
        gradient.append((losses[0] - losses[1]) / 2)
    return np.array(gradient)


NODES = {
    "by default": (SecAggMod(), {}),
    "with a demand in code": (SecAggMod(policy=DEMAND), {}),
    "with a demand, whatever the code admits": (SecAggMod(policy=DEMAND, in_clear=["evaluate"]), {}),
    "with a demand of its operator": (SecAggMod(in_clear=["evaluate"]), {"secagg-epsilon": 0.5, "secagg-delta": 1e-5}),
    "where its operator says no": (SecAggMod(in_clear=["evaluate"]), {"secagg-in-clear": ""}),
    "where the code says no": (SecAggMod(in_clear=[]), {"secagg-in-clear": "evaluate"}),
}


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("kind", ["evaluate", "query"])
def test_a_node_answers_nothing_in_clear(name, kind):
    mod, config = NODES[name]
    grid = make_grid(app_of(mod), node_config=lambda _: config)
    reply = asked(grid, np.zeros(8), kind)
    assert reply.error.code == REFUSED
    assert "in clear" in reply.error.reason
    assert stolen_gradient(grid, np.zeros(8)) is None


def test_a_run_cannot_have_nodes_answer_in_clear_but_can_forbid_it():
    allowed = make_grid(app_of(SecAggMod()), run_config={"secagg-in-clear": "evaluate"})
    assert asked(allowed, np.zeros(8)).has_error()
    forbidden = make_grid(app_of(SecAggMod(in_clear=["evaluate"])), run_config={"secagg-in-clear": ""})
    assert asked(forbidden, np.zeros(8)).has_error()


@pytest.mark.parametrize(
    ("mod", "config"),
    [(SecAggMod(in_clear=["evaluate"]), {}), (SecAggMod(), {"secagg-in-clear": "query, evaluate"})],
    ids=["code", "operator"],
)
def test_who_admits_evaluation_in_clear_gives_the_gradient_away_and_no_arrays(mod, config):
    """That the attack works where a node says so, and what even then does not leave."""
    at = rng.normal(size=8)
    gradient = 2 * FEATURES.T @ (FEATURES @ at - LABELS) / 30
    np.testing.assert_allclose(stolen_gradient(make_grid(app_of(mod), node_config=lambda _: config), at), gradient)
    for beside in (ArrayRecord([FEATURES]), ConfigRecord({"data": FEATURES.tobytes()})):
        grid = make_grid(app_of(mod, beside=beside), node_config=lambda _: config)
        reply = asked(grid, at)
        assert reply.error.code == REFUSED
        assert "metrics alone leave" in reply.error.reason
        assert FEATURES.tobytes()[:64] not in b"".join(grid.from_nodes)


def test_a_strategy_trains_on_where_nodes_refuse_to_evaluate():
    strategy = SecAgg(flower.FedAvg(), metrics={"loss": 0, "bins": 2})
    result = strategy.start(
        make_grid(make_app(usual_training)), ArrayRecord([np.zeros(3), np.zeros(2), np.array([7])]), num_rounds=2
    )
    assert [report.error for report in strategy.reports] == [None, None]
    assert not result.evaluate_metrics_clientapp


@pytest.mark.parametrize("given", ["evaluate", ["train"], ["evaluate", 5]])
def test_what_cannot_be_in_clear_is_named(given):
    with pytest.raises(ValueError, match="in_clear"):
        SecAggMod(in_clear=given)
