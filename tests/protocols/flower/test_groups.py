"""Rounds in groups: strategies that compare results get the groups' means, and a liar among the nodes is borne."""

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower

from protocols.flower import SecAgg, SecAggGrid, SecAggSettings
from protocols.flower.announcement import node_id_of
from protocols.flower.grouped import RunGroups
from protocols.flower.mean import Means
from protocols.flower.own_group import group_in
from protocols.flower.report import RoundReport
from protocols.flower.session import Session
from protocols.groups import Rule, combine
from secagg.errors import ParameterError, StateError

from .grouped import (
    MODEL,
    RUN_ID,
    SETTLEMENT,
    WEIGHT,
    group_means,
    groups_of,
    identity_of,
    make_nodes,
    node_id,
    partition_of,
    plan_of,
    roster,
)
from .in_process import VanishedError, train_messages

PRECISION = 1e-4
"""value_bits 28 at max_weight / weight of 1."""


def settings(folder, plan, count=15, **changes):
    options = {"metrics": ["loss"], "max_weight": WEIGHT, "value_bits": 28, "dropout_fraction": plan.dropout_fraction}
    return {"groups": plan, "roster": roster(folder, count)} | options | changes


def start(strategy, grid, num_rounds=1):
    return strategy.start(grid, ArrayRecord([a.copy() for a in MODEL]), num_rounds=num_rounds, timeout=30)


def everyone(count=15):
    return {"min_train_nodes": count, "min_available_nodes": count, "fraction_evaluate": 0.0}


def plain(kind, means, **options):
    """What the same strategy of Flower's makes of these means, without us."""
    replies = []
    for arrays in means:
        metrics = MetricRecord({"num-examples": 5 * WEIGHT, "loss": 0.0})
        (message,) = train_messages(MODEL, nodes=[7])
        content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics})
        message.metadata.__dict__["_message_id"] = "m"
        replies.append(Message(content, reply_to=message))
    return kind(fraction_evaluate=0.0, **options).aggregate_train(1, replies)[0].to_numpy_ndarrays()


CASES = {
    "FedMedian": (flower.FedMedian, {}, "median", 15, 3),
    "FedTrimmedAvg": (flower.FedTrimmedAvg, {"beta": 0.34}, "trimmed-mean", 15, 3),
    "Krum": (flower.Krum, {"num_malicious_nodes": 1}, "krum", 25, 5),
    "MultiKrum": (flower.MultiKrum, {"num_malicious_nodes": 1, "num_nodes_to_select": 2}, "multi-krum", 25, 5),
    "Bulyan": (flower.Bulyan, {"num_malicious_nodes": 1}, "multi-krum", 28, 7),
}
"""Strategy, its options, the plan's rule, nodes, groups."""


@pytest.mark.parametrize("name", CASES)
def test_a_strategy_that_compares_results_gets_the_means_of_groups(name, tmp_path):
    kind, options, rule, count, number = CASES[name]
    plan = plan_of(count, rule, groups=number)
    grid = make_nodes(tmp_path, count)
    strategy = SecAgg(kind(**everyone(count), **options), **settings(tmp_path, plan, count))
    result = start(strategy, grid)
    (report,) = strategy.reports
    assert report.error is None
    assert report.failures == {}
    assert (report.groups.rule, report.groups.bears, report.groups.groups) == (name, 1, number)
    assert report.groups.left_out == {}
    assert report.total_weight == count * WEIGHT
    groups = groups_of(grid)
    assert sorted(partition for group in groups for partition in group) == list(range(count))
    wanted = plain(kind, group_means(groups), **options)
    for got, expected in zip(result.arrays.to_numpy_ndarrays(), wanted, strict=True):
        np.testing.assert_allclose(got, expected, atol=PRECISION)
    losses = [np.mean(group) / 100 for group in groups]
    assert min(losses) - 1e-4 <= result.train_metrics_clientapp[1]["loss"] <= max(losses) + 1e-4


@pytest.mark.parametrize("rule", ["median", "geometric-median", "norm-clipped-mean"])
def test_a_strategy_that_takes_a_mean_gets_what_the_plans_rule_makes(rule, tmp_path):
    grid = make_nodes(tmp_path)
    strategy = SecAgg(flower.FedAvg(**everyone()), **settings(tmp_path, plan_of(15, rule)))
    result = start(strategy, grid)
    (report,) = strategy.reports
    assert report.error is None
    means = group_means(groups_of(grid))
    updates = [np.concatenate([(a - sent).ravel() for a, sent in zip(m[:2], MODEL, strict=False)]) for m in means]
    made = combine(Rule(rule), updates, 1)
    moved = [a - sent for a, sent in zip(result.arrays.to_numpy_ndarrays(), MODEL, strict=True)]
    np.testing.assert_allclose(np.concatenate([moved[0].ravel(), moved[1]]), made.value, atol=PRECISION)
    assert moved[2].tolist() == [3]
    assert report.groups.rule == rule
    np.testing.assert_allclose(sorted(report.groups.distances.values()), sorted(made.distances), atol=10 * PRECISION)


def test_the_sum_over_groups_is_the_mean_of_all(tmp_path):
    grid = make_nodes(tmp_path)
    plan = plan_of(15, "sum", bad_fraction=0.0, groups=3)
    strategy = SecAgg(flower.FedAvg(**everyone()), **settings(tmp_path, plan))
    result = start(strategy, grid)
    wanted = group_means([list(range(15))])[0]
    for got, expected in zip(result.arrays.to_numpy_ndarrays(), wanted, strict=True):
        np.testing.assert_allclose(got, expected, atol=PRECISION)
    assert result.train_metrics_clientapp[1]["loss"] == pytest.approx(0.07, abs=1e-4)


def lying(monkeypatch, times):
    """The node of partition 4 hands in its update so many times over, whatever the clip says of one node's."""
    from protocols.flower import mod

    honest = mod.contribution

    def contribution(announcement, config, sent, returned):
        values = honest(announcement, config, sent, returned)
        metrics = next(iter(returned.metric_records.values()))
        if metrics["loss"] == 4 / 100:
            update = config.vectors[0]
            values[update.name] = np.clip(values[update.name] * times, -update.clip, update.clip)
        return values

    monkeypatch.setattr(mod, "contribution", contribution)


@pytest.mark.parametrize("name", ["FedMedian", "Krum", "our rule"])
def test_a_liar_that_sends_a_thousandfold_is_borne(name, tmp_path, monkeypatch):
    kind, options, rule, count, number = CASES.get(name, (flower.FedAvg, {}, "median", 15, 3))
    lying(monkeypatch, -1000)
    grid = make_nodes(tmp_path, count)
    plan = plan_of(count, rule, groups=number)
    strategy = SecAgg(kind(**everyone(count), **options), **settings(tmp_path, plan, count))
    result = start(strategy, grid)
    assert strategy.reports[0].error is None
    honest = [group for group in groups_of(grid) if 4 not in group]
    assert len(honest) == number - 1
    means = group_means(honest)
    for at, got in enumerate(result.arrays.to_numpy_ndarrays()[:2]):
        least, most = (edge([mean[at] for mean in means], axis=0) for edge in (np.min, np.max))
        assert (got >= least - PRECISION).all()
        assert (got <= most + PRECISION).all()


def test_the_same_liar_moves_a_mean(tmp_path, monkeypatch):
    """The test above must be able to fail."""
    lying(monkeypatch, -1000)
    grid = make_nodes(tmp_path)
    plan = plan_of(15, "sum", bad_fraction=0.0, groups=3)
    strategy = SecAgg(flower.FedAvg(**everyone()), **settings(tmp_path, plan))
    result = start(strategy, grid)
    means = group_means([[p] for p in range(15) if p != 4])
    least = np.min([mean[0] for mean in means], axis=0)
    assert (result.arrays.to_numpy_ndarrays()[0] < least).all()


def lying_beyond(monkeypatch, *losses):
    """Nodes with these losses add the whole clip, as if they had ten times the examples that they state."""
    from protocols.flower import mod

    honest = mod.contribution

    def contribution(announcement, config, sent, returned):
        values = honest(announcement, config, sent, returned)
        if next(iter(returned.metric_records.values()))["loss"] in losses:
            update = config.vectors[0]
            values |= {update.name: np.full(update.length, update.clip)}
        return values

    monkeypatch.setattr(mod, "contribution", contribution)


@pytest.mark.parametrize("kind", [flower.FedMedian, flower.FedAvg], ids=["strategy", "rule"])
def test_a_mean_that_no_honest_nodes_reach_is_named_bounded_and_borne(kind, tmp_path, monkeypatch):
    lying_beyond(monkeypatch, 4 / 100)
    grid = make_nodes(tmp_path)
    strategy = SecAgg(kind(**everyone()), **settings(tmp_path, plan_of(), max_weight=10 * WEIGHT))
    result = start(strategy, grid)
    (report,) = strategy.reports
    assert report.error is None
    (place,) = report.groups.lied
    means = group_means([group for group in groups_of(grid) if 4 not in group])
    np.testing.assert_array_less(
        result.arrays.to_numpy_ndarrays()[0], np.max([mean[0] for mean in means], axis=0) + PRECISION
    )
    if kind is flower.FedAvg:  # each of ten coordinates is at most the clip, 1, away; by what it sent it is 2
        assert 2 < report.groups.distances[place] < np.sqrt(10)


def test_more_groups_in_which_a_node_has_lied_than_the_plan_bears_are_no_mean(tmp_path, monkeypatch):
    lying_beyond(monkeypatch, 4 / 100)
    grid = make_nodes(tmp_path)
    plan = plan_of(15, "sum", bad_fraction=0.0, groups=3)
    strategy = SecAgg(flower.FedAvg(**everyone()), **settings(tmp_path, plan, max_weight=10 * WEIGHT))
    with pytest.raises(StateError, match="in 1 groups a node has lied about its input or its weight, but sum bears 0"):
        start(strategy, grid)


def test_means_are_brought_to_what_honest_nodes_reach(tmp_path):
    limits = SecAggSettings(**settings(tmp_path, plan_of(), clip=0.5, metric_limit=2.0))
    lie = Means(10, 0.0, np.array([0.3, -9.0]), np.array([-(2.0**40)]), np.array([7.0, 1.0]), "the update")
    bounded = lie.bounded(limits)
    assert bounded.update.tolist() == [0.3, -0.5]
    assert bounded.counters.tolist() == [-(2.0**31)]
    assert bounded.metrics.tolist() == [2.0, 1.0]
    assert (bounded.total_weight, bounded.beyond) == (10, "the update")


def test_groups_stay_over_the_rounds_of_a_run_and_identities_are_asked_once(tmp_path):
    grid = make_nodes(tmp_path)
    strategy = SecAgg(flower.FedMedian(**everyone()), **settings(tmp_path, plan_of()))
    start(strategy, grid, num_rounds=3)
    assert [report.error for report in strategy.reports] == [None] * 3
    first, *later = (set(report.seconds) for report in strategy.reports)
    draw = {"identities", "draw-commitments", "draw-nonces", "draw-settlement"}
    assert draw < first
    assert all(not draw & exchanges for exchanges in later)


def test_one_exchange_carries_a_phase_of_all_groups(tmp_path):
    grid = make_nodes(tmp_path)
    strategy = SecAgg(flower.FedMedian(**everyone()), **settings(tmp_path, plan_of()))
    start(strategy, grid)
    draw = ["identities", "draw-commitments", "draw-nonces", "draw-settlement"]
    keys = ["advertise-keys", "share-keys", "accept-shares"]
    inputs = ["masked-input", "consistency-check", "unmasking"]
    assert list(strategy.reports[0].seconds) == [*draw, *keys, *inputs, "server"]
    assert grid.exchange == 10 + 1  # the last one is for the evaluation, of nobody


def test_a_group_below_its_threshold_is_left_out_where_one_is_to_spare(tmp_path):
    grid = make_nodes(tmp_path, 25)
    plan = plan_of(25, "median", groups=5, spare=1)
    strategy = SecAgg(flower.FedMedian(**everyone(25)), **settings(tmp_path, plan, 25))
    gone = []

    def disturb(number, node, message, answer):
        if number == 7:
            gone[:] = groups_of(grid)[0][:3]
        if number >= 7 and node in map(node_id, gone):
            raise VanishedError
        return answer(message)

    grid.disturb = disturb
    result = start(strategy, grid)
    (report,) = strategy.reports
    assert report.error is None
    ((_, why),) = report.groups.left_out.items()
    assert "clients are left, but 4 are needed" in why
    wanted = plain(flower.FedMedian, group_means(groups_of(grid)[1:]))
    for got, expected in zip(result.arrays.to_numpy_ndarrays(), wanted, strict=True):
        np.testing.assert_allclose(got, expected, atol=PRECISION)
    assert report.survivors == {node_id(p) for group in groups_of(grid)[1:] for p in group}


def test_fewer_groups_than_planned_are_no_mean_by_name_and_flower_goes_on(tmp_path):
    grid = make_nodes(tmp_path)
    strategy = SecAgg(flower.FedMedian(**everyone()), **settings(tmp_path, plan_of()))

    def disturb(number, node, message, answer):
        if 7 <= number <= 10 and node in map(node_id, groups_of(grid)[0][:3]):
            raise VanishedError
        return answer(message)

    grid.disturb = disturb
    start(strategy, grid, num_rounds=2)
    first, second = strategy.reports
    assert "2 of 3 groups have a sum, but median needs 3, of which 1 may be spoilt" in first.error
    assert first.survivors == frozenset()
    assert second.error is None


def test_a_draw_that_somebody_misses_is_a_round_without_a_mean_and_the_next_one_draws(tmp_path):
    grid = make_nodes(tmp_path)
    strategy = SecAgg(flower.FedMedian(**everyone()), **settings(tmp_path, plan_of()))

    def disturb(number, node, message, answer):
        if number == 3 and node == node_id(6):
            raise VanishedError
        return answer(message)

    grid.disturb = disturb
    start(strategy, grid, num_rounds=2)
    first, second = strategy.reports
    assert "1 of 15 participants said nothing of use in nonces" in first.error
    assert first.failures == {node_id(6): "draw-nonces: no answer within 120 s"}
    assert second.error is None


def test_the_plan_is_for_as_many_nodes_as_are_sampled(tmp_path):
    grid = make_nodes(tmp_path, 16)
    strategy = SecAgg(flower.FedMedian(**everyone(15)), **settings(tmp_path, plan_of(15), 16))
    with pytest.raises(ParameterError, match="trains on 16 nodes, but the groups are planned for 15: set min_train"):
        start(strategy, grid)
    assert not grid.to_nodes


def test_other_nodes_than_those_that_drew_take_no_part(tmp_path):
    grid = make_nodes(tmp_path, 17)
    secure = SecAggGrid(grid, SecAggSettings(**settings(tmp_path, plan_of(15), 17)))

    def run(partitions):
        return list(secure.send_and_receive(train_messages(MODEL, [node_id(p) for p in partitions]), timeout=30))

    assert run(range(15))[0].has_content()
    assert run([*range(14), 15, 16])[0].has_content()  # the fifteenth counts as one that has vanished; two have come
    report = secure.reports[-1]
    for newcomer in (15, 16):
        assert "in none of the run's groups" in report.failures[node_id(newcomer)]
    assert "the strategy did not sample it" in report.failures[node_id(14)]
    assert report.survivors == {node_id(p) for p in range(14)}


def test_a_node_that_missed_the_last_exchange_of_the_draw_is_told_again(tmp_path):
    asked, answered = node_id(1), node_id(2)

    def disturb(number, node, message, answer):
        if number == SETTLEMENT and node in (asked, answered):
            if node == answered:
                answer(message)
            raise VanishedError
        return answer(message)

    plan = plan_of(6, "sum", bad_fraction=0.0, groups=2)
    grid = make_nodes(tmp_path, 6, disturb=disturb)
    groups = RunGroups(plan)
    with pytest.raises(ParameterError, match="trains on 7 nodes, but the groups are planned for 6"):
        groups.check_number(7)
    reports, knows = [], []
    for _ in range(3):
        messages = {message.metadata.dst_node_id: message for message in train_messages(MODEL, list(grid.nodes))}
        stated = SecAggSettings(**settings(tmp_path, plan, 6))
        session = Session(grid, stated, messages, RoundReport(6), run_id=RUN_ID)
        drawn = groups.of(session)
        reports.append(session.report)
        knows.append(group_in(grid.nodes[asked].node_config, identity_of(1), RUN_ID) is not None)
    first, second, third = reports
    assert first.failures == dict.fromkeys([asked, answered], "draw-settlement: no answer within 120 s")
    assert (second.failures, third.failures) == ({}, {})
    assert "draw-nonces" in first.seconds
    assert (list(second.seconds), list(third.seconds)) == (["draw-settlement"], [])
    assert knows == [False, True, True]
    told = (map(partition_of, map(node_id_of, members)) for members in drawn.members)
    assert sorted(map(sorted, told)) == groups_of(grid)
    groups.check_number(7)


TOO_FEW = {
    "Krum's malicious": (flower.Krum, {}, plan_of(25, "krum"), "num_malicious_nodes=1"),
    "Krum's rule": (
        flower.Krum,
        {"num_malicious_nodes": 1},
        plan_of(25),
        "the rule median: plan with rule='krum'",
    ),
    "Krum for more": (flower.Krum, {"num_malicious_nodes": 2}, plan_of(25, "krum"), "Krum of 5 groups bears 0"),
    "MultiKrum's selected": (
        flower.MultiKrum,
        {"num_malicious_nodes": 1, "num_nodes_to_select": 4},
        plan_of(25, "multi-krum"),
        "num_nodes_to_select of at most",
    ),
    "Bulyan": (flower.Bulyan, {"num_malicious_nodes": 1}, plan_of(25, "multi-krum"), r"groups=4 \* 1 \+ 3 or more"),
    "FedTrimmedAvg": (flower.FedTrimmedAvg, {}, plan_of(15, "trimmed-mean"), r"set beta above 0\.333"),
}


@pytest.mark.parametrize("name", TOO_FEW)
def test_a_strategy_that_needs_more_results_than_there_are_groups_is_refused(name, tmp_path):
    kind, options, plan, text = TOO_FEW[name]
    with pytest.raises(ParameterError, match=text):
        SecAgg(kind(**options), **settings(tmp_path, plan))


def test_where_a_strategy_needs_more_groups_than_the_plans_rule_its_number_holds(tmp_path):
    """Bulyan of six groups, where the plan's rule would do with five, makes nothing of them and says so to its log."""
    plan = plan_of(28, "multi-krum", groups=7, spare=1)
    grid = make_nodes(tmp_path, 28)
    strategy = SecAgg(flower.Bulyan(**everyone(28), num_malicious_nodes=1), **settings(tmp_path, plan, 28))

    def disturb(number, node, message, answer):
        if number >= 7 and node in map(node_id, groups_of(grid)[0][:3]):
            raise VanishedError
        return answer(message)

    grid.disturb = disturb
    with pytest.raises(StateError, match="6 of 7 groups have a mean, but Bulyan needs 7"):
        start(strategy, grid)


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        (lambda: flower.QFedAvg(client_learning_rate=0.1, q=0.1, train_loss_key="loss"), "does not work under"),
        (
            lambda: flower.DifferentialPrivacyClientSideFixedClipping(flower.FedAvg(), 1.0, 1.0, 15),
            "is for one mean of all nodes",
        ),
        (
            lambda: flower.DifferentialPrivacyServerSideFixedClipping(flower.FedMedian(), 1.0, 1.0, 15),
            "does not work under",
        ),
    ],
)
def test_what_groups_do_not_help_is_refused_as_ever(strategy, text, tmp_path):
    with pytest.raises(ParameterError, match=text):
        SecAgg(strategy(), **settings(tmp_path, plan_of()))


def test_nothing_that_the_server_sees_holds_an_update(tmp_path):
    grid = make_nodes(tmp_path)
    start(SecAgg(flower.FedMedian(**everyone()), **settings(tmp_path, plan_of())), grid)
    seen = b"".join(grid.from_nodes)
    from .grouped import training

    for partition in range(15):
        moved, _ = training(MODEL, partition)
        for value in (moved[0][0, 0], moved[0][0, 0] - MODEL[0][0, 0]):
            for dtype in ("<f8", "<f4", ">f8", ">f4"):
                assert np.array(value, dtype).tobytes() not in seen
