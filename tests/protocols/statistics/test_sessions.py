"""Answers are exactly those of the survivors' pooled rows, whoever vanishes and when."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.threat_model import Adversary
from protocols.masking.transitions import ServerPhase
from protocols.simulation import run_locally
from protocols.simulation.masked import collected_phases
from protocols.simulation.pooled_rows import pooled
from protocols.simulation.queried import ask_sites
from protocols.statistics.answer import answer_of
from protocols.statistics.kinds import Kind
from protocols.statistics.plan import Plan
from protocols.statistics.query import Where, asked
from protocols.statistics.release import ReleasePolicy
from secagg.errors import EncodingError, ParameterError, ThresholdError

from .tables_of_sites import AGE, MASS, query, session, sites

EVERYTHING = ReleasePolicy(min_cell=1, min_records=1, min_sites=1)
OF_NUMBERS = [asked(kind, name) for kind in ("missing", "mean", "variance", "skewness") for name in ("age", "mass")]
OF_BINS = [asked("histogram", "age"), asked("ecdf", "age"), asked("quantiles", "age", quantiles=(0.1, 0.9))]
OF_PAIRS = [asked("covariance", "age", "mass"), asked("correlation", "age", "mass"), asked("table", "sex", "ward")]
CONDITIONS = [
    Where("age", "ge", 50.0),
    Where("age", "ne", 50.0),
    Where("mass", "lt", 80.0),
    Where("mass", "known"),
    Where("sex", "eq", "f"),
    Where("ward", "ne", "east"),
    Where("sex", "known"),
]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whoever_vanishes_the_totals_are_those_of_the_pooled_rows(data):
    grouped = data.draw(st.sampled_from([None, "sex", "ward"]))
    offered = [asked("count"), *OF_NUMBERS, *OF_BINS, *([] if grouped else OF_PAIRS)]
    chosen = data.draw(st.lists(st.sampled_from(offered), min_size=1, unique=True))
    where = tuple(data.draw(st.lists(st.sampled_from(CONDITIONS), max_size=2, unique=True)))
    cells = {"sex": ("m", "(missing)"), "ward": ("south",)}.get(grouped, ())
    one = query(*chosen, where=where, group_by=grouped, cells=data.draw(st.sampled_from([(), cells])))
    count = data.draw(st.integers(5, 9))
    phase = data.draw(st.sampled_from(collected_phases(Adversary.SEMI_MALICIOUS_SERVER)))
    counts = data.draw(st.lists(st.sampled_from([0, 75, 90]), min_size=count, max_size=count))
    asked_of = sites(data.draw(st.integers(0, 1000)), counts)
    gone = data.draw(st.sampled_from([0.0, 0.2, 0.25]))
    found = ask_sites(one, asked_of, EVERYTHING, drops={phase: gone}, corrupt_fraction=0.0)
    assert found.exact
    assert not found.refused


@pytest.mark.parametrize("phase", [ServerPhase.SHARE_KEYS, ServerPhase.MASKED_INPUT, ServerPhase.UNMASKING])
def test_who_vanishes_before_its_input_is_not_in_the_answer(phase):
    asked_of = sites(1, [50] * 8)
    found = ask_sites(query(asked("count")), asked_of, drops={phase: 0.25})
    expected = 8 if phase is ServerPhase.UNMASKING else 6
    assert (found.answer.sites, found.answer.records) == (expected, 50 * expected)


def test_values_are_those_of_numpy_within_the_stated_error():
    one = query(
        *(asked(kind, "age") for kind in ("mean", "variance", "deviation", "skewness")),
        asked("covariance", "age", "mass"),
        asked("correlation", "age", "mass"),
    )
    asked_of = sites(2, [200] * 6)
    answer = ask_sites(one, asked_of, EVERYTHING).answer
    age, mass = (np.concatenate([site.columns[name] for site in asked_of.values()]) for name in ("age", "mass"))
    within = (age >= AGE.lo) & (age <= AGE.hi)
    both = within & (mass >= MASS.lo) & (mass <= MASS.hi)
    x = age[within]
    expected = {
        Kind.MEAN: x.mean(),
        Kind.VARIANCE: x.var(ddof=1),
        Kind.DEVIATION: x.std(ddof=1),
        Kind.SKEWNESS: ((x - x.mean()) ** 3).mean() / x.std() ** 3,
        Kind.COVARIANCE: np.cov(age[both], mass[both])[0, 1],
        Kind.CORRELATION: np.corrcoef(age[both], mass[both])[0, 1],
    }
    for finding in answer.findings:
        slack = 1e-9 * abs(expected[finding.statistic])  # numpy's own rounding
        assert abs(float(finding.value) - expected[finding.statistic]) <= float(finding.error) + slack
        assert finding.n == (both if len(finding.columns) == 2 else within).sum()
    assert isinstance(answer.findings[0].value, Fraction)
    low, high = answer.findings[-1].interval
    assert low < expected[Kind.CORRELATION] < high


def test_a_histogram_is_numpys_and_brackets_hold_numpys_quantiles():
    quantiles = (0.05, 0.25, 0.5, 0.9)
    one = query(asked("histogram", "age"), asked("quantiles", "age", quantiles=quantiles), asked("ecdf", "age"))
    for least in (1, 10):
        asked_of = sites(least, [100] * 5)
        histogram, found, ecdf = ask_sites(one, asked_of, ReleasePolicy(min_cell=least)).answer.findings
        age = np.concatenate([site.columns["age"] for site in asked_of.values()])
        counts = np.histogram(age, AGE.edges)[0].tolist()
        assert all(shown in (None, count) for shown, count in zip(histogram.value["counts"], counts, strict=True))
        assert (None in histogram.value["counts"]) is (least > 1)
        for quantile, (low, high) in zip(quantiles, found.value["brackets"], strict=True):
            value = np.quantile(age, quantile)
            assert low is None or low <= value
            assert high is None or value <= high
        for edge, share in zip(AGE.edges, ecdf.value["shares"], strict=True):
            assert share is None or share == Fraction(int((age < edge).sum()), len(age))


def test_the_sum_of_another_query_is_no_answer():
    plan, other = Plan(query(asked("count"))), Plan(query(asked("count"), max_rows=99))
    asked_of = sites(3, [20] * 5)
    result = run_locally(session(plan, 5), {name: site.answer(plan.query) for name, site in asked_of.items()})
    assert answer_of(plan, result).records == 100
    with pytest.raises(ParameterError):
        answer_of(other, result)


def test_a_site_answers_the_question_that_it_read_or_nothing():
    """A server that runs a session for one query, and shows sites another one, gets an error and no sum."""
    plan, shown = Plan(query(asked("mean", "age"))), query(asked("mean", "mass"))
    answers = {name: site.answer(shown) for name, site in sites(4, [20] * 5).items()}
    with pytest.raises(ThresholdError, match="0 clients are left"):
        run_locally(session(plan, 5), answers)
    with pytest.raises(EncodingError, match="the round sums"):
        session(plan, 5).encode(answers["site-0"].values, session_id=bytes(32))


def test_totals_that_no_rows_have_are_refused():
    plan = Plan(query(asked("variance", "age")))
    asked_of = sites(5, [20] * 5)
    answers = {name: dict(site.answer(plan.query).values) for name, site in asked_of.items()}
    spoilt = answers["site-0"][plan.name].copy()
    spoilt[list(plan.totals).index(("below", "age", 0))] = (1 << 20) - 1  # of more rows than there are
    result = run_locally(session(plan, 5), answers | {"site-0": {plan.name: spoilt}})
    with pytest.raises(EncodingError, match="no data"):
        answer_of(plan, result)


def test_the_comparison_notices_one_row_too_many():
    plan = Plan(query(asked("mean", "age")))
    asked_of = list(sites(6, [20] * 5).values())
    assert pooled(plan, asked_of) != pooled(plan, asked_of[:-1])
