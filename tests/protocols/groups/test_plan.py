from fractions import Fraction

import numpy as np
import pytest

from protocols import Adversary
from protocols.groups import GroupPlan, Rule
from protocols.groups import plan as planning
from protocols.groups.occupancy import group_sizes, more_than, reaching
from protocols.groups.tails import mean_reached, spread
from secagg.errors import ParameterError

# Clients, bad (and as many corrupt) in a hundred; the largest size s whose n // s groups bear the bad ones by a median,
# and how many groups that are; the least size with 2, 5 and 10 honest clients in every group; the fewest groups at all.
TABLE = [
    (100, 1, 33, 3, (3, 6, 11), 3),
    (100, 3, 14, 7, (5, 8, 13), 7),
    (100, 5, 9, 11, (7, 10, 15), 11),
    (100, 10, 4, 25, (12, 15, 20), 21),
    (1000, 1, 47, 21, (8, 12, 18), 21),
    (1000, 2, 24, 41, (10, 14, 20), 41),
    (1000, 3, 16, 62, (11, 15, 21), 61),
    (1000, 5, 9, 111, (13, 17, 24), 99),
    (1000, 10, 5, 200, (16, 21, 29), 191),
]


def half_spoilt_is_rare(n, bad, groups):
    return reaching(n, groups, bad, (groups + 1) // 2) < Fraction(1, 1 << 20)


def few_honest_are_rare(n, corrupt, groups, honest):
    sizes = set(group_sizes(n, groups))
    return all(groups * more_than(n, corrupt, size, size - honest) < Fraction(1, 1 << 40) for size in sizes)


@pytest.mark.parametrize(("n", "percent", "size", "groups", "private", "fewest"), TABLE)
def test_the_table_of_what_is_possible(n, percent, size, groups, private, fewest):
    bad = n * percent // 100
    assert max(s for s in range(1, n) if half_spoilt_is_rare(n, bad, n // s)) == size
    assert n // size == groups
    for honest, least in zip((2, 5, 10), private, strict=True):
        limit = Fraction(1, 1 << 40)
        assert next(s for s in range(honest, n) if -(-n // s) * more_than(n, bad, s, s - honest) < limit) == least
    # Groups of unequal sizes need not waste the remainder.
    assert not any(half_spoilt_is_rare(n, bad, g) for g in range(1, fewest))
    share, asked = percent / 100, {"honest_minimum": 5, "dropout_fraction": 0.0}
    hides = max(g for g in range(1, n // 5) if few_honest_are_rare(n, bad, g, 5))
    if hides >= fewest:
        assert size >= private[1]
        plan = GroupPlan(n, share, share, **asked)
        assert (plan.groups, sum(plan.sizes)) == (fewest, n)
    else:
        assert size < private[1]
        with pytest.raises(ParameterError, match=rf"at least {fewest} groups.* at most {hides}, of {n // hides} or"):
            GroupPlan(n, share, share, **asked)


def test_a_plan_says_what_it_bears_and_how_likely_it_is_wrong():
    plan = GroupPlan(1000, 0.03, 0.03, dropout_fraction=0.0)
    assert (plan.groups, plan.max_spoilt, plan.min_groups) == (61, 30, 61)
    assert plan.spoilt_probability == 0.0  # 30 clients spoil no 31 groups
    wide = GroupPlan(2000, 0.03, 0.01, honest_minimum=2)
    assert 0 < wide.spoilt_probability < 2**-20
    assert wide.spoilt_probability == float(reaching(2000, wide.groups, 60, wide.max_spoilt + 1))
    assert reaching(2000, wide.groups, 60, wide.max_spoilt) >= Fraction(1, 1 << 20)
    assert 0 < plan.dishonest_probability < 2**-40


def test_each_groups_threat_model_keeps_the_honest_minimum_in_its_sum():
    for dropout in (0.0, 0.1):
        plan = GroupPlan(1000, 0.01, 0.02, honest_minimum=7, dropout_fraction=dropout)
        failing = Fraction(0)
        for size in plan.sizes:
            model = plan.model(size)
            assert (model.num_clients, model.dropout_fraction) == (size, dropout)
            assert model.max_corrupt == plan.max_corrupt(size)
            assert model.min_survivors - model.max_corrupt >= 7
            failing += more_than(1000, 20, size, model.max_corrupt)
        assert failing < Fraction(1, 1 << 40)
    assert plan.model(47).adversary is Adversary.SEMI_MALICIOUS_SERVER


def test_spare_groups_may_fail():
    tight = GroupPlan(400, 0.01, 0.01, dropout_fraction=0.0)
    loose = GroupPlan(400, 0.01, 0.01, spare=3, dropout_fraction=0.0)
    assert tight.groups == tight.min_groups == 9
    assert loose.groups == 12
    assert loose.min_groups <= loose.groups - 3
    assert loose.rule.bears(loose.groups - 3) >= loose.max_spoilt


@pytest.mark.parametrize("rule", [rule for rule in Rule if rule is not Rule.SUM])
def test_no_fewer_groups_serve(rule):
    plan = GroupPlan(300, 0.02, 0.01, honest_minimum=2, rule=rule)
    assert plan.rule.bears(plan.groups) >= plan.max_spoilt
    with pytest.raises(ParameterError, match="may well spoil more"):
        GroupPlan(300, 0.02, 0.01, honest_minimum=2, rule=rule, groups=plan.groups - 1)


def test_a_given_number_of_groups_is_held_against_both_demands():
    assert GroupPlan(1000, 0.02, 0.02, groups=45).num_groups == 45
    with pytest.raises(ParameterError, match="of 39 groups, 0 of them to spare, median bears 19 spoilt ones"):
        GroupPlan(1000, 0.02, 0.02, groups=39)
    with pytest.raises(ParameterError, match="101 groups have 9 clients or one more; 5 honest ones"):
        GroupPlan(1000, 0.02, 0.02, groups=101)


def test_the_sum_bears_nobody():
    assert GroupPlan(100, 0, 0.02, rule=Rule.SUM, groups=4).min_groups == 4
    assert GroupPlan(100, 0, 0.02, rule=Rule.SUM, groups=4, spare=1).min_groups == 3
    with pytest.raises(ParameterError, match="the sum bears no bad client"):
        GroupPlan(100, 0.01, 0.02, rule=Rule.SUM, groups=4)


def test_what_no_number_of_groups_bears():
    with pytest.raises(ParameterError, match="in no number of groups"):
        GroupPlan(100, 0.5, 0.0)
    with pytest.raises(ParameterError, match=r"dropout_fraction of 0\.1, are too many for any number of groups"):
        GroupPlan(100, 0.01, 0.7, honest_minimum=50)


@pytest.mark.parametrize("groups", [None, 250_000])
def test_fractions_that_no_session_bears_are_named_as_such(groups):
    with pytest.raises(ParameterError, match=r"corrupt_fraction \+ 2 \* dropout_fraction is 1 .* at most 0\.9"):
        GroupPlan(1_000_000, 0.0, 0.1, dropout_fraction=0.45, groups=groups)
    none_of_nine = GroupPlan(9, 0.0, 0.1, honest_minimum=2, dropout_fraction=0.45, groups=1)
    assert none_of_nine.num_corrupt == 0  # what the fraction comes to counts


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": 3, "spare": 3}, "groups is 3, 3 of them to spare, but median needs 1 that are left"),
        ({"groups": 2, "rule": "krum"}, "groups is 2, 0 of them to spare, but krum needs 3 that are left"),
        ({"groups": 1, "spare": 1, "rule": "sum"}, "but sum needs 1 that are left, even if none is spoilt: take more"),
    ],
)
def test_groups_that_are_too_few_for_the_rule_even_if_nobody_is_bad(changes, words):
    with pytest.raises(ParameterError, match=words):
        GroupPlan(24, 0, 0, **changes)


def test_sizes_for_which_there_is_no_threat_model_are_passed_over_at_once(monkeypatch):
    """A session bears no corrupt ones beyond a tenth with these dropouts, however many honest ones are in its sum."""
    looked, lacking = [], GroupPlan._lacking
    monkeypatch.setattr(GroupPlan, "_lacking", lambda self, *at: looked.append(at) or lacking(self, *at))
    with pytest.raises(ParameterError, match="ask for at most 4545, of 220 or one more"):
        GroupPlan(1_000_000, 0.0, 0.01, dropout_fraction=0.4, groups=25_000)
    assert len(looked) < 1_000


def rare(n, bad, groups, spoilt):
    low, high = spread(n, groups, bad).more_than(spoilt)
    return high < 2**-20 if n > 10_000 or low >= 2**-20 else reaching(n, groups, bad, spoilt + 1) < Fraction(1, 1 << 20)


@pytest.mark.parametrize(
    ("n", "share"),
    [(n, share) for n in (60, 61, 500, 1999, 12_000) for share in (0.0, 0.01, 0.03, 0.12) if n * share < 500],
)
@pytest.mark.parametrize(("rule", "spare"), [(Rule.KRUM, 1), (Rule.MEDIAN, 4)])
def test_numbers_of_groups_that_are_passed_over_do_not_serve(n, share, rule, spare):
    plan = GroupPlan(n, 0.0, 0.0, honest_minimum=2, rule=rule, spare=spare, dropout_fraction=0.0)
    object.__setattr__(plan, "bad_fraction", share)
    found, bad = plan._fewest_borne(), plan.num_bad

    def serves(groups):
        most = rule.bears(groups - spare)
        return most >= 0 and mean_reached(n, groups, bad) <= most + 1 and rare(n, bad, groups, most)

    assert found == next((groups for groups in range(1, n + 1) if serves(groups)), None)


@pytest.mark.parametrize("n", [60, 601, 1400])
@pytest.mark.parametrize(
    ("corrupt", "dropout"), [(0.0, 0.1), (0.05, 0.1), (0.1, 0.3), (0.3, 0.1), (0.6, 0.1), (0.75, 0)]
)
def test_groups_that_are_passed_over_do_not_hide_their_clients(n, corrupt, dropout):
    plan = GroupPlan(n, 0.0, 0.0, dropout_fraction=dropout, rule=Rule.SUM)
    object.__setattr__(plan, "corrupt_fraction", corrupt)
    for groups in {n, n // 2, n // 20, 3}:
        assert plan._most_hiding(groups) == next((g for g in range(groups, 0, -1) if plan._hides(g)), None)


@pytest.mark.parametrize(
    ("asked", "numbers", "probability"),
    [
        ((12_345, 0.02, 0.02), (425, 212, 13, 13), "7.47894e-07"),
        ((20_000, 0.01, 0.01, 5, Rule.MULTI_KRUM, None, 3), (356, 175, 13, 13), "7.37461e-07"),
        ((50_000, 0.01, 0.01), (823, 411, 14, 13), "7.02125e-07"),
        ((100_000, 0.01, 0.01), (1591, 795, 14, 14), "6.85266e-07"),
    ],
)
def test_plans_are_those_of_trying_every_number_of_groups(asked, numbers, probability):
    """As the whole chain for every number of groups, one after another, and exact laws of corrupt ones gave them."""
    plan = GroupPlan(*asked)
    corrupt = plan.max_corrupt(plan.sizes[0]), plan.max_corrupt(plan.sizes[-1])
    assert (plan.num_groups, plan.max_spoilt, *corrupt) == numbers
    assert f"{plan.spoilt_probability:.6g}" == probability


@pytest.mark.parametrize(("n", "groups", "spoilt"), [(100_000, 1591, 795), (1_000_000, 14_951, 7475)])
def test_large_plans(n, groups, spoilt):
    plan = GroupPlan(n, 0.01, 0.01)
    assert (plan.num_groups, plan.max_spoilt, plan.min_groups) == (groups, spoilt, groups)
    assert 2**-21 < plan.spoilt_probability < 2**-20
    assert 0 < plan.dishonest_probability < 2**-40


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_clients": 1},
        {"num_clients": 1_000_001},
        {"bad_fraction": float("nan")},
        {"corrupt_fraction": -0.1},
        {"honest_minimum": 1},
        {"rule": "best"},
        {"groups": 0},
        {"groups": 101},
        {"spare": -1},
        {"dropout_fraction": 1.1},
        {"adversary": "weak"},
    ],
    ids=str,
)
def test_values_out_of_range(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        GroupPlan(**({"num_clients": 100, "bad_fraction": 0.01, "corrupt_fraction": 0.01} | wrong))


def test_equal_plans_are_written_alike_and_others_are_not():
    plan = GroupPlan(100, 0.0, 0.01, rule=Rule.SUM, groups=4)
    assert plan.written() == GroupPlan(100, 0, 0.01, rule="sum", groups=4).written()
    assert plan.written() != GroupPlan(100, 0, 0.01, rule="sum", groups=5).written()


@pytest.mark.parametrize(("n", "rare"), [(10_000, True), (10_001, False)])
def test_where_floats_cannot_tell_exact_numbers_do_and_beyond_them_nothing_is_rare(monkeypatch, n, rare):
    plan = GroupPlan(n, 0.0, 0.01, honest_minimum=2, groups=100)
    limit = 2.0**-20
    monkeypatch.setattr(GroupPlan, "_more_spoilt", lambda *_: (limit * (1 - 2**-30), limit * (1 + 2**-30)))
    assert plan._rare(100, 0) is rare  # nobody is bad


def test_in_large_plans_floats_decide_and_are_rounded_up(monkeypatch):
    exact = GroupPlan(2000, 0.03, 0.01, honest_minimum=2)
    assert exact.spoilt_probability == float(reaching(2000, exact.groups, 60, exact.max_spoilt + 1))
    monkeypatch.setattr(planning, "_EXACT_UP_TO", 10)
    rounded = GroupPlan(2000, 0.03, 0.01, honest_minimum=2)
    assert rounded.groups == exact.groups
    assert rounded.max_spoilt == exact.max_spoilt
    assert exact.spoilt_probability < rounded.spoilt_probability < exact.spoilt_probability * (1 + 2**-26)
    monkeypatch.setattr(planning, "_MOST_BAD", 10)
    with pytest.raises(ParameterError, match="too many to plan for"):
        GroupPlan(2000, 0.03, 0.01, honest_minimum=2)


def test_a_number_of_groups_of_numpys_is_written_down():
    plan = GroupPlan(24, 0.05, 0.05, 3, groups=np.int64(3))
    assert GroupPlan.read(plan.written(), 24) == plan
