"""Levels that nobody listed: what is common is found and nothing else, at the stated price."""

import numpy as np
import pytest
from scipy.stats import binom

from dp import Adjacency, PartitionSelection, Unit, gaussian_epsilon, gaussian_noise_multiplier
from dp.errors import BudgetExceededError
from dp.ledger import Budget, Composition, Ledger
from protocols.core.threat_model import ThreatModel
from protocols.masking.policy import PrivacyDemand
from protocols.simulation.queried_privately import ask_sites_privately
from protocols.statistics.beginnings import beginning
from protocols.statistics.columns import Levels
from protocols.statistics.private import LevelSearch, NoisyPlan, PrivateQuestion, PrivateSite, named_levels
from protocols.statistics.private.answer import PrivateAnswer, _Findings
from protocols.statistics.private.features import Features
from protocols.statistics.private.plan import NoisyTotals
from protocols.statistics.query import Query, asked
from protocols.statistics.site import Site, SitePolicy
from secagg.errors import ParameterError, QueryRefused

WORDS = ("heart", "lung", "head", "he", "kidney", "rare")
SHARES = (0.35, 0.25, 0.15, 0.149, 0.1, 0.001)
DEMAND = PrivacyDemand(2.0, 1e-5, unit=Unit.RECORD)
SEARCH = LevelSearch(
    dataset="h", column="organ", alphabet="abcdefghijklmnopqrstuvwxyz", longest=5, epsilon=2.0, delta=1e-5
)


def site(values, most=DEMAND, ledger=None, **policy):
    given = SitePolicy(**({"columns": {"organ"}} | policy))
    return PrivateSite(Site({"organ": values}, given, "h", None), most, ledger, "levels")


def sites(count=12, each=400):
    rng = np.random.default_rng(2)
    return {f"site-{at}": site(rng.choice([*WORDS, ""], each, p=[*SHARES, 0.0])) for at in range(count)}


def test_what_many_have_is_found_letter_by_letter():
    search, asked_of = SEARCH, sites()
    while not search.ended:
        search = search.after(ask_sites_privately(search.question, asked_of).answer)
    values = np.concatenate([one.site.columns["organ"] for one in asked_of.values()])
    # Noise is the system's: so no more is asked than holds but once in 10^9 searches.
    assert {"heart", "lung", "head", "he"} <= search.found.keys()
    assert "kidney" in search.open
    for name in ("heart", "lung", "head", "he"):
        count = search.found[name]
        assert abs(count.value - (values == name).sum()) < 7 * (count.high - count.low) / 3.9
    assert search.rounds == 6


def test_noise_alone_passes_as_seldom_as_stated():
    """First rounds of empty sites, with noise drawn here: anything passes as often as is one round's share of two."""
    wrong, searches = 0, 400
    rng = np.random.default_rng(5)
    search = LevelSearch(
        dataset="h", column="organ", alphabet="abcdefghij", longest=1, epsilon=1.0, delta=1e-5, mistaken=0.2
    )
    for _ in range(searches):
        wrong += bool(search.after(noisy_answer(search, {}, rng)).open)
    assert binom.ppf(1e-7, searches, 0.1) <= wrong <= binom.isf(1e-7, searches, 0.1)


def noisy_answer(search, counts, rng, deviation=3.0):
    question = search.question
    features = Features(question.query)
    names = question.query.columns[0].names
    exact = np.array([counts.get(name, 0.0) for name in names])
    totals = NoisyTotals(features, exact + rng.normal(size=len(names)) * deviation, np.full(len(names), deviation))
    return PrivateAnswer(
        question.digest,
        12,
        question.epsilon,
        question.delta,
        question.unit,
        question.adjacency,
        0.95,
        tuple(_Findings(totals).all()),
        totals,
    )


def test_rounds_follow_what_passed_and_no_more_than_fit():
    rng = np.random.default_rng(1)
    search = SEARCH.after(noisy_answer(SEARCH, {"h": 500, "l": 90, "r": 1}, rng))
    assert search.open == ("h", "l")
    assert search.question.query.columns[0].levels[:4] == ("h", "l", "ha", "hb")
    assert search.question.query.columns[0].name == beginning("organ", 2)
    search = search.after(noisy_answer(search, {"h": 200, "he": 300}, rng))
    assert list(search.found) == ["h"]
    assert search.open == ("he",)
    wide = LevelSearch(dataset="h", column="organ", alphabet=SEARCH.alphabet, longest=3, epsilon=2.0, delta=1e-5)
    wide = wide.after(noisy_answer(wide, dict.fromkeys("abcdefghij", 1000.0), rng))
    many = {start + letter: 1000.0 + ord(letter) for start in "abcdefghij" for letter in "abcdef"}
    wide = wide.after(noisy_answer(wide, many, rng))
    assert len(wide.open) == 1000 // 27
    assert set(wide.open) | set(wide.left_out) == set(many)
    assert wide.question.query.columns[0].cells <= 1002
    with pytest.raises(ParameterError, match="another question"):
        wide.after(noisy_answer(SEARCH, {}, rng))


def test_all_rounds_together_cost_what_the_search_says():
    each = gaussian_noise_multiplier(SEARCH.epsilon_a_round, SEARCH.delta)
    assert gaussian_epsilon(each / 6**0.5, SEARCH.delta) <= 2.0 * (1 + 1e-9)
    assert gaussian_epsilon(each / 6**0.5, SEARCH.delta) > 1.999
    assert SEARCH.question.epsilon == SEARCH.epsilon_a_round


def test_a_search_that_has_ended_asks_nothing():
    nobody = SEARCH.after(noisy_answer(SEARCH, {}, np.random.default_rng(4)))
    if not nobody.open:  # but with a probability of a hundredth
        assert nobody.ended
        with pytest.raises(ParameterError, match="has ended"):
            _ = nobody.question


def test_sites_have_beginnings_of_texts():
    one = site(np.array(["heart", "he", "", None, "h"], dtype=object))
    query = Query("h", (Levels("organ|2", ("he", "h")),), (asked("count"),), group_by="organ|2")
    table, _ = one.table(query)
    assert table.codes["organ|2"].tolist() == [0, 0, 3, 3, 1]
    question = PrivateQuestion(query, 1.0, 1e-5)
    assert one.demand(question)
    for name in ("organ|0", "organ|x", "organ|", "organ|201", "other|2", "organ|02"):
        wrong = PrivateQuestion(Query("h", (Levels(name, ("a",)),), (asked("count"),), group_by=name), 1.0, 1e-5)
        with pytest.raises(QueryRefused):
            one.demand(wrong)
    with pytest.raises(QueryRefused, match="not-allowed"):
        site(["a"], columns={"age"}).demand(question)
    own = PrivateSite(Site({"organ|2": ["x"], "organ": ["he"]}, SitePolicy({"organ|2"}), "h", None), DEMAND, None)
    assert own.table(query)[0].codes["organ|2"].tolist() == [2]  # its own column of that name


def test_numbers_have_no_beginnings():
    question = PrivateQuestion(
        Query("h", (Levels("organ|1", ("a",)),), (asked("count"),), group_by="organ|1"), 1.0, 1e-5
    )
    plan = NoisyPlan(question=question, threat_model=ThreatModel(12, 0.1, 0.1))
    with pytest.raises(QueryRefused, match="another-schema"):
        site(np.arange(5.0)).answer(question, plan.config)


def test_a_site_names_its_own_levels_by_the_rule(tmp_path):
    rule = PartitionSelection(1.0, 1e-5)
    values = np.array(["many"] * 30 + ["few"] * 10 + ["one", "", "\n"])
    stream = np.random.default_rng(7).bytes
    drawn = [named_levels(site(values), "organ", rule, random=stream) for _ in range(500)]
    assert all("many" in names and set(names) <= {"few", "many", "one"} for names in drawn)
    few = sum("few" in names for names in drawn)
    assert binom.ppf(1e-7, 500, 0.128183) <= few <= binom.isf(1e-7, 500, 0.128183)
    with Ledger.open(str(tmp_path / "ledger.sqlite"), create=True) as ledger:
        ledger.create(
            Budget("levels", "1.5", "3e-5", adjacency="add-remove", unit="record", composition=Composition.SUM)
        )
        assert named_levels(site(values, ledger=ledger), "organ", rule)[-1] == "many"
        with pytest.raises(BudgetExceededError):
            named_levels(site(values, ledger=ledger), "organ", rule)
    other = PrivacyDemand(2.0, 1e-5, unit=Unit.RECORD, adjacency=Adjacency.REPLACE_ONE)  # which costs twice as much
    for refuser in (site(values, columns={"age"}), site(values, PrivacyDemand(2.0, 1e-5)), site(values, other)):
        with pytest.raises(QueryRefused):
            named_levels(refuser, "organ", rule)


def test_a_rule_that_costs_more_than_one_answer_may_is_refused():
    made = site(["heart"] * 50)
    dearer = PartitionSelection(made.most.epsilon * 1.01, made.most.delta)
    with pytest.raises(QueryRefused, match="not-allowed"):
        named_levels(made, "organ", dearer)


@pytest.mark.parametrize(
    "changed", [{"alphabet": "aa"}, {"alphabet": ""}, {"longest": 0}, {"epsilon": 0}, {"delta": 1}, {"mistaken": 0.6}]
)
def test_what_is_refused(changed):
    given = {"dataset": "h", "column": "c", "alphabet": "ab", "longest": 3, "epsilon": 1.0, "delta": 1e-5}
    with pytest.raises(ParameterError):
        LevelSearch(**given | changed)
