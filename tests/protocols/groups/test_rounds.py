import dataclasses

import numpy as np
import pytest
from msgspec.structs import replace

from dp.sensitivity import Unit
from protocols import (
    ClientPolicy,
    FloatVector,
    Inputs,
    IntegerVector,
    Participants,
    PrivatePlan,
    RoundConfig,
    ThreatModel,
)
from protocols.groups import GroupedRounds, GroupPlan, Groups, Rule, combine, deal
from protocols.masking.transitions import ServerPhase
from protocols.simulation import Simulation
from protocols.simulation.grouped import run_in_groups
from secagg.errors import EncodingError, ParameterError, ThresholdError

COUNT = 23
NAMES = Participants.numbered(COUNT).names
COIN = bytes(31) + b"\x07"
VECTORS = (
    FloatVector("update", 40, clip=2.0, value_bits=16, weighted=True, rounding="nearest"),
    IntegerVector("counts", 5, max_value=9, min_value=-3),
)


def plan_of(rule, **changes):
    fractions = {
        "bad_fraction": 0.0,
        "corrupt_fraction": 0.05,
        "honest_minimum": 3,
        "groups": 3,
        "dropout_fraction": 0.2,
    }
    return GroupPlan(COUNT, rule=rule, **(fractions | changes))


def grouped(rule, *, vectors=VECTORS, max_weight=6, **changes):
    plan = plan_of(rule, **changes)
    groups = deal(plan, Participants.numbered(COUNT), COIN)
    return GroupedRounds(plan, groups, lambda model: RoundConfig(model, vectors, max_weight=max_weight))


def inputs(name):
    rng = np.random.default_rng(NAMES.index(name))
    values = {"update": rng.normal(size=40), "counts": rng.integers(-3, 10, size=5)}
    return Inputs(values, weight=1 + NAMES.index(name) % 6)


def test_the_sum_over_groups_is_that_of_one_session_bit_by_bit():
    gone = (NAMES[3], NAMES[11])
    drops = {ServerPhase.MASKED_INPUT: gone}
    rounds = grouped(Rule.SUM)
    result = run_in_groups(rounds, inputs, drops).result
    joint = result.joint
    whole = RoundConfig(ThreatModel(COUNT, 0.05, 0.2), VECTORS, max_weight=6)
    one = Simulation(whole, inputs, drops).run().result
    assert joint.survivors == one.survivors == set(NAMES) - set(gone)
    assert (joint.total_weight, joint.num_clipped) == (one.total_weight, one.num_clipped)
    for name in ("update", "counts"):
        assert np.array_equal(joint.levels[name], one.levels[name])
        assert np.array_equal(joint.sum(name), one.sum(name))
        assert np.array_equal(joint.mean(name), one.mean(name))
        np.testing.assert_allclose(result.combined(name).value, one.mean(name), rtol=1e-12)


def test_a_rule_is_applied_to_the_groups_means():
    rounds = grouped(Rule.SUM)
    report = run_in_groups(rounds, inputs)
    assert report.result.survivors == set(NAMES)
    means = []
    for members in rounds.groups.members:
        weighed = [inputs(name).weight * np.clip(inputs(name).values["update"], -2, 2) for name in members]
        means.append(np.sum(weighed, axis=0) / sum(inputs(name).weight for name in members))
    for rule in set(Rule) - {Rule.SUM}:
        result = grouped(rule).finish(report.result.results)
        made = result.combined("update")
        np.testing.assert_allclose(made.value, combine(rule, means, 0).value, atol=1e-3)
        assert (made.rule, made.groups, made.bears) == (rule, 3, 0)
        with pytest.raises(ParameterError, match="whose rule is the sum"):
            _ = result.joint


def test_a_group_below_its_threshold_is_left_out_or_the_round_refused():
    rounds = grouped(Rule.SUM, spare=1)
    out = rounds.groups.members[1]
    drops = {ServerPhase.MASKED_INPUT: out.names[:4]}
    report = run_in_groups(rounds, inputs, drops)
    assert report.result.left_out == (1,)
    assert isinstance(report.failures[1], ThresholdError)
    assert report.result.survivors == set(NAMES) - set(out)
    assert (
        report.result.joint.sum("counts").tolist()
        == sum(inputs(name).values["counts"] for name in NAMES if name not in out).tolist()
    )
    with pytest.raises(ThresholdError, match="2 of 3 groups have a sum, but sum needs 3") as caught:
        run_in_groups(grouped(Rule.SUM), inputs, drops)
    assert (caught.value.needed, caught.value.have) == (3, 2)
    median = grouped(Rule.MEDIAN, bad_fraction=0.05, spare=0)  # one spoilt group of three
    assert median.plan.max_spoilt == 1
    with pytest.raises(ThresholdError, match="median needs 3, of which 1 may be spoilt"):
        run_in_groups(median, inputs, drops)
    with pytest.raises(ParameterError, match="there is no group 3"):
        median.finish({3: None})


def test_each_session_withstands_what_the_plan_says():
    rounds = grouped(Rule.SUM)
    for members, config in zip(rounds.groups.members, rounds.configs, strict=True):
        model = rounds.plan.model(len(members))
        assert config.threat_model == model
        assert config.min_survivors >= model.max_corrupt + 3
    assert {config.num_clients for config in rounds.configs} == {7, 8}


def test_a_client_asks_its_session_for_what_the_plan_promises():
    rounds = grouped(Rule.SUM)
    policy = rounds.policy(8, ClientPolicy(encoding=None, min_survivors=2))
    policy.check(rounds.configs[0])
    assert policy.corrupt_clients == rounds.plan.max_corrupt(8) == 1
    assert policy.min_survivors == 4
    fewer = RoundConfig(ThreatModel(7, 1 / 7, 0.2), VECTORS, max_weight=6)
    weaker = RoundConfig(replace(rounds.configs[0].threat_model, corrupt_fraction=0.0), VECTORS, max_weight=6)
    smaller = RoundConfig(rounds.configs[0].threat_model, VECTORS, max_weight=6, min_survivors=3)
    for config, says in ((fewer, "invites 7"), (weaker, "withstands"), (smaller, "may sum as few as 3")):
        with pytest.raises(ParameterError, match=says):
            policy.check(config)
    strict = rounds.policy(8, ClientPolicy(min_survivors=6, corrupt_clients=3, corrupt_fraction=0.3))
    assert (strict.min_survivors, strict.corrupt_clients, strict.corrupt_fraction) == (6, 3, 0.3)
    with pytest.raises(ParameterError, match="demands sessions of 20 clients, but its group has 8"):
        rounds.policy(8, ClientPolicy(min_clients=20))
    with pytest.raises(ParameterError, match="no group has 9 clients"):
        rounds.policy(9)


def test_one_weight_that_cancels_its_groups_others_spoils_that_group_alone():
    """Its bearer's own program encodes it as minus the sum of the others'."""
    rounds = grouped(Rule.MEDIAN, bad_fraction=0.04, groups=5, spare=1, honest_minimum=2, corrupt_fraction=0.0)
    results = dict(run_in_groups(rounds, inputs).result.results)
    results[2] = dataclasses.replace(results[2], total_weight=0)
    spoilt = rounds.finish(results)
    others = [results[place].mean("update") for place in (0, 1, 3, 4)]
    assert rounds.plan.min_groups <= 4
    expected = combine(Rule.MEDIAN, others, rounds.plan.max_spoilt).value
    assert np.array_equal(spoilt.combined("update").value, expected)
    assert spoilt.combined("counts").groups == 5  # which are not weighted
    with pytest.raises(ThresholdError, match="groups have a mean, but median needs"):
        rounds.finish({place: dataclasses.replace(results[place], total_weight=0) for place in results}).combined(
            "update"
        )
    sums = grouped(Rule.SUM, groups=5, honest_minimum=2, corrupt_fraction=0.0).finish(results)
    np.testing.assert_allclose(
        sums.combined("update").value,
        np.average(others, axis=0, weights=[results[place].total_weight for place in (0, 1, 3, 4)]),
    )


def test_results_are_of_their_groups_sessions():
    rounds = grouped(Rule.SUM)
    results = dict(run_in_groups(rounds, inputs).result.results)
    few = dataclasses.replace(results[1], survivors=frozenset(sorted(results[1].survivors)[:2]))
    other = dataclasses.replace(results[0], _config=rounds.configs[2])
    for wrong in ({1: results[0]}, {1: few}, {0: other}):
        with pytest.raises(ParameterError, match=f"the result for group {next(iter(wrong))} is not of its session"):
            rounds.finish(results | wrong)
    for place in (0.5, True, -1):
        with pytest.raises(ParameterError, match="there is no group"):
            rounds.finish({place: results[0]})


def test_nobody_is_in_two_groups():
    plan = plan_of(Rule.SUM)
    first, *others = deal(plan, Participants.numbered(COUNT), COIN).members
    twice = Groups(COIN, (first, first, *others[1:]))
    with pytest.raises(ParameterError, match="in two groups"):
        GroupedRounds(plan, twice, lambda model: RoundConfig(model, VECTORS[1:]))


def test_configurations_that_break_the_plan_are_refused():
    plan, people = plan_of(Rule.SUM), Participants.numbered(COUNT)
    groups = deal(plan, people, COIN)
    for configure, says in (
        (lambda model: RoundConfig(ThreatModel(8, 0.0, 0.2), VECTORS[1:]), "changed the threat model"),
        (lambda model: RoundConfig(model, VECTORS[1:], min_survivors=3), "may have 2 honest inputs"),
        (lambda model: RoundConfig(model, VECTORS[: model.num_clients - 6], max_weight=6), "other vectors or weights"),
        (lambda model: RoundConfig(model, (FloatVector("u", 2, clip=float(model.num_clients)),)), "other vectors"),
    ):
        with pytest.raises(ParameterError, match=says):
            GroupedRounds(plan, groups, configure)
    with pytest.raises(ParameterError, match="but the plan's have"):
        GroupedRounds(plan, Groups(COIN, groups.members[:2]), lambda model: RoundConfig(model, VECTORS[1:]))


def test_sums_that_do_not_fit_are_refused():
    wide = (IntegerVector("counts", 1, max_value=(1 << 63) // 8 - 1),)
    rounds = grouped(Rule.SUM, vectors=wide, max_weight=1)
    report = run_in_groups(rounds, lambda name: {"counts": np.array([(1 << 63) // 8 - 1])})
    with pytest.raises(EncodingError, match="over all groups does not fit"):
        _ = report.result.joint


def test_each_group_bears_its_own_noise():
    plan = GroupPlan(26, 0.0, 0.0, honest_minimum=10, rule=Rule.SUM, groups=2, dropout_fraction=0.0)
    people = Participants.numbered(26)

    def planned(model):
        return PrivatePlan(
            threat_model=model, length=200, l2_clip=1.0, epsilon=4.0, delta=1e-5, unit=Unit.CLIENT, name="update"
        )

    rounds = GroupedRounds(plan, deal(plan, people, COIN), lambda model: planned(model).config)
    report = run_in_groups(rounds, lambda name: {"update": np.zeros(200)})
    for place, result in report.result.results.items():
        size = len(rounds.groups.members[place])
        assert result.epsilon(1e-5) <= 4.0
        deviation = planned(plan.model(size)).sum_deviation(size)
        assert np.std(result.sum("update")) == pytest.approx(deviation, rel=0.3)
    # The mean of two groups' means has noise sqrt(2) times that of one sum.
    one = planned(ThreatModel(26, 0.0, 0.0)).sum_deviation(26) / 26
    assert np.std(report.result.combined("update").value) == pytest.approx(plan.estimated_noise_factor * one, rel=0.3)
    with pytest.raises(ParameterError, match="groups without noise"):
        _ = report.result.joint
