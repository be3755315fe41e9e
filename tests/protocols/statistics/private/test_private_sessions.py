"""From sites to an answer through whole sessions: noise as promised, whoever vanishes; paid on both sides."""

import dataclasses

import numpy as np
import pytest

from dp import Unit
from dp.errors import BudgetExceededError, LedgerError
from dp.ledger import Ledger
from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.masking.client import Client
from protocols.masking.config import RoundConfig
from protocols.masking.policy import ClientPolicy, PrivacyDemand
from protocols.masking.server import Server
from protocols.masking.transitions import ServerPhase
from protocols.simulation import run_locally
from protocols.simulation.masked import collected_phases
from protocols.simulation.queried_privately import _as_promised, ask_sites_privately
from protocols.statistics.columns import Number
from protocols.statistics.consent import Consent
from protocols.statistics.kinds import Kind
from protocols.statistics.private import NoisyPlan, PrivateQuestion, PrivateSite, private_answer
from protocols.statistics.query import Where, asked
from protocols.statistics.site import Site, SitePolicy
from secagg.errors import ParameterError, QueryRefused

from ..tables_of_sites import AGE, NAMES, query, rows

STATISTICS = (asked("count"), asked("mean", "age"), asked("correlation", "age", "mass"), asked("median", "age"))
QUESTION = PrivateQuestion(query(*STATISTICS), 2.0, 1e-5)
DEMAND = PrivacyDemand(2.0, 1e-5, unit=Unit.RECORD)


def sites(seed=0, counts=(60,) * 12, most=DEMAND, ledgers=None, budget="site", **policy):
    rng = np.random.default_rng(seed)
    given = SitePolicy(**({"columns": NAMES} | policy))
    return {
        f"site-{at}": PrivateSite(
            Site(rows(rng, count), given, "hospitals", None), most, ledgers and ledgers[at], budget
        )
        for at, count in enumerate(counts)
    }


@pytest.mark.parametrize("phase", [None, *collected_phases(Adversary.SEMI_MALICIOUS_SERVER)])
def test_whoever_vanishes_the_noise_is_that_of_the_rest(phase):
    found = ask_sites_privately(QUESTION, sites(), drops={} if phase is None else {phase: 0.1})
    assert found.as_promised
    expected = 12 if phase in (None, ServerPhase.UNMASKING, ServerPhase.CONSISTENCY_CHECK) else 11
    answer = found.answer
    assert answer.sites == expected
    count = answer.findings[0].value
    assert abs(count.value - 60 * expected) < 7 * (count.high - count.low) / 4  # false alarm 1e-11
    assert (answer.epsilon, answer.delta, answer.unit) == (2.0, 1e-5, Unit.RECORD)
    assert found.report.result.epsilon(1e-5) <= 2.0


def test_noise_is_as_promised_over_many_sessions_and_other_noise_is_not():
    """Squares of 8 sessions' distances are a chi-squared law's: false alarm below 1e-9."""
    asked_of = sites()
    off = np.concatenate([ask_sites_privately(QUESTION, asked_of, seed=at).off for at in range(8)])
    assert _as_promised(off)
    assert not _as_promised(off * 1.6)
    assert not _as_promised(off / 2.5)


def test_with_much_budget_answers_are_numpys():
    loud = PrivateQuestion(query(*STATISTICS, where=(Where("sex", "eq", "f"),)), 200.0, 0.01)
    asked_of = sites(3, (300,) * 12, PrivacyDemand(200.0, 0.01, unit=Unit.RECORD))
    found = ask_sites_privately(loud, asked_of)
    columns = {
        name: np.concatenate([one.site.columns[name] for one in asked_of.values()]) for name in ("age", "mass", "sex")
    }
    age = columns["age"][columns["sex"] == "f"]
    within = age[(age >= AGE.lo) & (age <= AGE.hi)]
    by_kind = {one.statistic: one for one in found.answer.findings}
    assert by_kind[Kind.COUNT].value.value == pytest.approx(len(age), abs=5)
    assert by_kind[Kind.MEAN].value.value == pytest.approx(within.mean(), abs=0.5)
    assert found.answer.regression("mass", ["age"])["age"].value == pytest.approx(0.5, abs=0.1)


def test_empty_sites_add_noise_and_nobody_sees_which():
    found = ask_sites_privately(QUESTION, sites(counts=(0,) * 12))
    assert found.as_promised
    assert found.answer.sites == 12
    assert not found.refused


def test_for_clients_a_person_with_all_its_rows_is_hidden():
    question = PrivateQuestion(query(*STATISTICS, max_rows=3), 4.0, 1e-5, Unit.CLIENT)
    asked_of = sites(1, [1, 2, 3] * 8, PrivacyDemand(4.0, 1e-5, unit=Unit.CLIENT))
    found = ask_sites_privately(question, asked_of)
    assert found.as_promised
    # One with more rows than it may bring is scaled down, by itself.
    plan, clip = found.plan, found.plan.rounds.l2_clip
    many = sites(1, [30], PrivacyDemand(4.0, 1e-5, unit=Unit.CLIENT))["site-0"]
    handed = many.answer(question, plan.config).values[question.name]
    assert np.linalg.norm(handed) > clip
    levels, changed = plan.rounds.codec.levels(handed, bytes(32), random=np.random.default_rng(1).bytes)
    assert changed == 1
    assert np.linalg.norm(levels) <= plan.rounds.codec.share.l2_bound


def test_a_site_refuses_by_the_question_alone():
    told = []
    site = sites()["site-0"]
    site.site.log = told.append
    narrow = dataclasses.replace(site, site=Site(site.site.columns, SitePolicy(columns={"age"}), "hospitals", None))
    counting = SitePolicy(columns=NAMES, statistics=frozenset({Kind.COUNT}))
    only_counts = dataclasses.replace(site, site=Site(site.site.columns, counting, "hospitals", None))
    for refuser, question, reason in (
        (site, PrivateQuestion(query(asked("count")), 2.1, 1e-5), "not-allowed"),
        (site, PrivateQuestion(query(asked("count")), 2.0, 2e-5), "not-allowed"),
        (site, PrivateQuestion(query(asked("count")), 1.0, 1e-5, Unit.CLIENT), "not-allowed"),
        (site, PrivateQuestion(query(asked("count")), 1.0, 1e-5, adjacency="replace-one"), "not-allowed"),
        (narrow, QUESTION, "not-allowed"),
        (narrow, PrivateQuestion(query(asked("count"), where=(Where("sex", "known"),)), 1.0, 1e-5), "not-allowed"),
        (narrow, PrivateQuestion(query(asked("count"), group_by="sex"), 1.0, 1e-5), "not-allowed"),
        (only_counts, QUESTION, "not-allowed"),
    ):
        with pytest.raises(QueryRefused, match=reason):
            refuser.demand(question)
    assert told[0] == "question refused, not-allowed: it costs epsilon 2.1 at delta 1e-05"
    other = dataclasses.replace(site, site=Site(site.site.columns, site.site.policy, "schools", None))
    with pytest.raises(QueryRefused, match="another-dataset"):
        other.demand(QUESTION)
    bare = dataclasses.replace(site, site=Site({"age": np.ones(3)}, site.site.policy, "hospitals", None))
    with pytest.raises(QueryRefused, match="another-schema"):
        bare.demand(QUESTION)
    texts = Site({**site.site.columns, "age": np.array(["old"] * 60)}, site.site.policy, "hospitals", None)
    with pytest.raises(QueryRefused, match="another-schema"):
        dataclasses.replace(site, site=texts).demand(QUESTION)
    found = ask_sites_privately(QUESTION, sites() | {"strange": dataclasses.replace(site, site=texts)})
    assert found.refused == {"strange": "another-schema"}
    assert found.answer.sites == 12


def test_few_rows_and_small_cells_are_no_reason():
    """A refusal that hangs on rows would be seen, and no noise covers it."""
    plan = NoisyPlan(question=QUESTION, threat_model=ThreatModel(12, 0.1, 0.1))
    for count in (0, 1, 2):
        strict = sites(counts=(count,), least_difference=10, max_cells_fraction=0.0)["site-0"]
        assert sum(len(block) for block in strict.answer(QUESTION, plan.config).values[QUESTION.name]) == count
    small = PrivateQuestion(query(*STATISTICS, max_rows=5), 2.0, 1e-5)
    few = NoisyPlan(question=small, threat_model=ThreatModel(12, 0.1, 0.1))
    assert sites()["site-0"].answer(small, few.config)  # 60 rows: the sum is cut, and the site stays silent about it


def test_a_session_with_too_little_noise_is_refused_by_site_and_client():
    site = sites()["site-0"]
    plan = NoisyPlan(question=QUESTION, threat_model=ThreatModel(12, 0.1, 0.1))
    cheap = dataclasses.replace(plan.rounds, epsilon=2.2).codec.spec
    config = RoundConfig(plan.threat_model, (cheap,), min_survivors=plan.rounds.min_survivors)
    for refuses in (lambda: site.answer(QUESTION, config), lambda: site.client_policy(QUESTION).check(config)):
        with pytest.raises(ParameterError, match=r"epsilon 2\.2"):
            refuses()
    site.client_policy(QUESTION).check(plan.config)


def test_a_session_about_something_else_is_refused():
    site = sites()["site-0"]
    other = PrivateQuestion(query(asked("count")), 2.0, 1e-5)
    for config in (
        NoisyPlan(question=other, threat_model=ThreatModel(12, 0.1, 0.1)).config,
        RoundConfig(ThreatModel(12, 0.1, 0.1), tuple(made_of(QUESTION, other))),
    ):
        with pytest.raises(ParameterError):
            site.answer(QUESTION, config)


def made_of(*questions):
    for question in questions:
        half = dataclasses.replace(
            NoisyPlan(question=question, threat_model=ThreatModel(12, 0.1, 0.1)).rounds, epsilon=0.5
        )
        yield half.codec.spec


@pytest.mark.parametrize("given", [{"sampling_rate": 0.1}, {"rounds": 2}])
def test_a_site_makes_no_demand_that_its_answers_do_not_honour(given):
    """Noise that does for a tenth of the rows, and all rows under it."""
    with pytest.raises(ParameterError, match="must be 1"):
        sites(most=PrivacyDemand(1.0, 1e-6, unit=Unit.RECORD, **given))


def test_the_answer_to_another_question_is_none():
    plan = NoisyPlan(question=QUESTION, threat_model=ThreatModel(12, 0.1, 0.1))
    other = NoisyPlan(question=PrivateQuestion(QUESTION.query, 1.9, 1e-5), threat_model=ThreatModel(12, 0.1, 0.1))
    result = run_locally(plan.config, {name: site.answer(QUESTION, plan.config) for name, site in sites().items()})
    assert private_answer(plan, result).digest == QUESTION.digest
    with pytest.raises(ParameterError):
        private_answer(other, result)


def budgets(folder, count, questions):
    """A ledger for each, whose budget is for so many questions as this one."""
    plan = NoisyPlan(question=QUESTION, threat_model=ThreatModel(12, 0.1, 0.0))
    several = dataclasses.replace(plan.rounds, rounds=questions, epsilon=None, noise_multiplier=NOISE)
    opened = [Ledger.open(f"{folder}/{at}.sqlite", create=True) for at in range(count)]
    for ledger in opened:
        ledger.create(several.budget("site"))
    return opened


NOISE = NoisyPlan(question=QUESTION, threat_model=ThreatModel(12, 0.1, 0.0)).rounds.goal.gaussian_multiplier()


def test_both_ledgers_pay_and_nothing_leaves_when_one_is_empty(tmp_path):
    ledgers = budgets(tmp_path, 13, 2)
    asked_of = sites(ledgers=ledgers[1:])
    for _ in range(2):
        assert ask_sites_privately(QUESTION, asked_of, ledger=ledgers[0], budget="site").as_promised
    for ledger in ledgers[1:]:
        left, limit = ledger.status("site").left["squared_mu"], ledger.status("site").limit["squared_mu"]
        assert 0 <= left < limit / 10**6
    with pytest.raises(BudgetExceededError):
        ask_sites_privately(QUESTION, asked_of, ledger=ledgers[0], budget="site")
    with pytest.raises(LedgerError):
        ask_sites_privately(QUESTION, asked_of)  # the analyst pays nothing; the sites would have to
    for ledger in ledgers:
        ledger.close()


def test_a_site_pays_when_its_rows_are_asked_for_and_not_before(tmp_path):
    ledgers = budgets(tmp_path, 12, 1)
    asked_of = sites(ledgers=ledgers)
    assert asked_of["site-0"].demand(QUESTION)
    assert asked_of["site-0"].client_policy(QUESTION)
    plan = NoisyPlan(question=QUESTION, threat_model=ThreatModel(12, 0.1, 0.1))
    cheap = dataclasses.replace(plan.rounds, epsilon=2.2).codec.spec
    with pytest.raises(ParameterError):
        asked_of["site-0"].answer(
            QUESTION, RoundConfig(plan.threat_model, (cheap,), min_survivors=plan.rounds.min_survivors)
        )
    status = ledgers[0].status("site")
    assert status.left == status.limit
    for ledger in ledgers:
        ledger.close()


def test_a_client_tells_which_configuration_it_has_accepted():
    """So that a site's own process finds out what it is about to answer."""
    plan = NoisyPlan(question=QUESTION, threat_model=ThreatModel(12, 0.1, 0.1, Adversary.CURIOUS_SERVER))
    invitations = Server(plan.config, Participants.numbered(12)).outgoing()
    client = Client(policy=ClientPolicy.permissive())
    assert client.config is None
    client.respond(next(iter(invitations.values())))
    assert client.config == plan.config
    refused = Client(policy=ClientPolicy(min_clients=13))
    with pytest.raises(ParameterError):
        refused.respond(next(iter(invitations.values())))
    assert refused.config is None


def test_nothing_of_the_rows_is_printed():
    site = sites()["site-0"]
    plan = NoisyPlan(question=QUESTION, threat_model=ThreatModel(12, 0.1, 0.1))
    handed = site.answer(QUESTION, plan.config)
    assert repr(site) == "PrivateSite('hospitals')"
    assert repr(handed.values[QUESTION.name]) == "Rows()"


def test_too_few_sites_are_no_session():
    with pytest.raises(ParameterError, match="site-0 refuses"):
        ask_sites_privately(QUESTION, sites(counts=(5,) * 3, columns={"age"}))
    with pytest.raises(ParameterError):
        ask_sites_privately(QUESTION, sites(counts=(5,) * 9))  # below min_participants


def test_rows_without_consent_have_no_part_in_an_answer_with_noise():
    agreed = {str(at) for at in range(0, 60, 3)}
    asked_of = sites()
    for site in asked_of.values():
        site.site.ids, site.site.consent = [str(at) for at in range(60)], Consent("research", agreed, least_share=0.1)
    plain = query(asked("count"))
    with pytest.raises(QueryRefused, match="another-dataset"):
        asked_of["site-0"].demand(PrivateQuestion(plain, 2.0, 1e-5))
    for_research = plain.changed(dataset="hospitals for research")
    found = ask_sites_privately(PrivateQuestion(for_research, 2.0, 1e-5), asked_of)
    count = found.answer.findings[0].value
    assert abs(count.value - 20 * 12) < 7 * (count.high - count.low) / 4  # false alarm 1e-11


def test_a_schema_holds_for_questions_with_noise_as_well():
    asked_of = sites()["site-0"]
    asked_of.site.schema = (AGE,)
    asked_of.demand(PrivateQuestion(query(asked("mean", "age")), 2.0, 1e-5))
    other = Number("age", 0, 1e6)
    with pytest.raises(QueryRefused, match="another-schema"):
        asked_of.demand(PrivateQuestion(query(asked("mean", "age"), columns=(other,)), 2.0, 1e-5))
