"""Whose loss a budget counts, what several of them have lost together, and budgets that are made from plans."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dp.accounting import delta_of, epsilon_of
from dp.analytic import gaussian_delta
from dp.distributed import Goal, NoiseShare, local_sigma_for
from dp.errors import BudgetExceededError, LedgerConflictError, LedgerCorruptError, PrivacyParameterError
from dp.events import (
    Composed,
    Event,
    GaussianEvent,
    LaplaceEvent,
    PoissonSampled,
    Repeated,
    SummedDiscreteGaussianEvent,
)
from dp.ledger import Budget, Composition, Cost, Ledger, RecordKind, budget_for
from dp.ledger.book import terms_in
from dp.ledger.compositions import charge_of, group_guarantee_of, limit_of
from dp.ledger.records import chained
from dp.preparation import Preparation
from dp.sensitivity import Adjacency, Unit

ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE
START = datetime(2026, 3, 1, tzinfo=UTC)


def summed(unit: Unit, adjacency: Adjacency = ADD, clients: int = 40) -> SummedDiscreteGaussianEvent:
    return SummedDiscreteGaussianEvent(9.0, clients, 8.0, 8.0, 4, adjacency, unit)


RECORD, CLIENT = summed(Unit.RECORD), summed(Unit.CLIENT)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(str(tmp_path / "ledger.db"), create=True) as opened:
        for unit in Unit:
            opened.create(Budget(unit, 4, "1e-5", adjacency=ADD, unit=unit, composition=Composition.GAUSSIAN))
        yield opened


# Units.


@pytest.mark.parametrize("within", [lambda event: event, lambda event: Repeated(Composed((event, event)), 2)])
def test_a_budget_pays_its_own_unit_and_no_other(ledger: Ledger, within) -> None:  # type: ignore[no-untyped-def]
    ledger.spend("record", within(RECORD), round_id="r")
    ledger.spend("client", within(CLIENT), round_id="c")
    for refused in (ledger.spend, ledger.reserve):
        with pytest.raises(PrivacyParameterError, match=r"what one record loses.*budget of unit 'record'"):
            refused("client", within(RECORD), round_id="wrong")
        with pytest.raises(PrivacyParameterError, match=r"twice as far.*budget of unit 'client'"):
            refused("record", within(CLIENT), round_id="wrong")
    assert [record.kind for record in ledger.history()] == [
        "create",
        "create",
        "reserve",
        "commit",
        "reserve",
        "commit",
    ]


def test_sampled_records_are_of_the_unit_of_the_sums(tmp_path: Path) -> None:
    sampled = PoissonSampled(0.1, RECORD)
    with pytest.raises(PrivacyParameterError, match="what one record loses"):
        Budget("b", 4, "1e-5", adjacency=ADD, composition=Composition.RELEASES, event=sampled)
    assert Budget("b", 4, "1e-5", adjacency=ADD, unit="record", composition="releases", event=sampled).event == sampled


def test_what_is_private_for_any_change_of_a_client_is_so_for_a_record(ledger: Ledger) -> None:
    """Not where clients are there or not: one with a record less adds something else, and not nothing."""
    terms = {"adjacency": REPLACE, "unit": Unit.RECORD, "composition": Composition.GAUSSIAN}
    ledger.create(Budget("replaced", 4, "1e-5", **terms))
    ledger.spend("replaced", summed(Unit.CLIENT, REPLACE), round_id="0")
    mixed = Composed((summed(Unit.CLIENT, REPLACE), summed(Unit.RECORD, REPLACE)))
    ledger.spend("replaced", mixed, round_id="1")
    with pytest.raises(PrivacyParameterError, match="twice as far"):
        ledger.spend("record", Composed((CLIENT, RECORD)), round_id="2")
    # One entry of bound 1, and noise with which leaving the client out costs mu: from 1 to -1 costs twice that.
    share = NoiseShare(9.0, 4, 8.0, 8.0)
    assert share.sensitivities(REPLACE)[0] == 2 * share.sensitivities(ADD)[0]


def test_a_commitment_states_the_same_unit(ledger: Ledger) -> None:
    taken = ledger.reserve("record", RECORD, round_id="r")
    with pytest.raises(PrivacyParameterError, match="twice as far"):
        ledger.commit(taken, CLIENT)
    done = ledger.commit(taken, summed(Unit.RECORD, clients=50))
    assert done.charge["squared_mu"] < taken.charge["squared_mu"]


def test_whoever_says_whose_loss_counts_is_held_to_it(ledger: Ledger) -> None:
    noise = GaussianEvent(20.0, ADD)
    for spend in (ledger.spend, ledger.reserve):
        with pytest.raises(PrivacyParameterError, match=r"counts what one record loses.*budget create --unit client"):
            spend("record", noise, round_id="0", unit=Unit.CLIENT)
        with pytest.raises(PrivacyParameterError, match="count for one house"):
            spend("record", noise, round_id="0", unit="house")
    ledger.spend("record", noise, round_id="0", unit="record")
    ledger.spend("record", RECORD, round_id="1", unit=Unit.RECORD)
    ledger.spend("client", noise, round_id="2")
    with pytest.raises(PrivacyParameterError, match="count for one record"):
        ledger.spend("client", RECORD, round_id="3", unit=Unit.RECORD)


def test_the_trail_keeps_a_unit_in_one_spelling_and_old_trails_are_read(ledger: Ledger) -> None:
    client, record = (opened.facts() for opened in ledger.history()[:2])
    assert "unit" not in client["terms"]  # as before there were units
    assert record["terms"]["unit"] == "record"
    assert ledger.verify().budgets == 2
    assert (ledger.status("client").budget.unit, ledger.status("record").budget.unit) == (Unit.CLIENT, Unit.RECORD)
    for said in ("client", "house", None, 1):
        facts = client | {"terms": client["terms"] | {"unit": said}}
        with pytest.raises(LedgerCorruptError, match="no terms that this version reads"):
            terms_in(chained(None, 1, RecordKind.CREATE, "other", 0, "", facts))
    terms = {"adjacency": ADD, "composition": Composition.GAUSSIAN}
    assert ledger.create(Budget("record", 4, "1e-5", unit="record", **terms)).budget.unit is Unit.RECORD
    with pytest.raises(LedgerConflictError, match="terms are fixed"):
        ledger.create(Budget("record", 4, "1e-5", **terms))
    with pytest.raises(PrivacyParameterError, match="unit = 'house'"):
        Budget("b", 1, adjacency=ADD, unit="house")


# Groups.


def test_a_group_of_gaussian_noise_has_so_many_times_mu() -> None:
    budget = Budget("b", 4, "1e-6", adjacency=ADD, composition=Composition.GAUSSIAN)
    for mu in (0.01, 0.1, 0.5):
        total = (math.floor(Fraction(mu) ** 2 * 10**30),)
        for size in (1, 2, 7):
            epsilon, delta = group_guarantee_of(budget, total, size)
            assert delta == budget.delta
            assert gaussian_delta(1 / (size * mu), float(epsilon)) <= 1e-6 * (1 + 1e-9)
            assert gaussian_delta(1 / (size * mu), float(epsilon) * 0.99) > 1e-6


def test_a_group_of_any_noise_has_the_sum_of_a_chain(ledger: Ledger) -> None:
    ledger.create(Budget("sum", 9, "0.1", adjacency=ADD))
    assert ledger.lifetime("sum", group=5).epsilon == 0
    ledger.spend("sum", Cost("0.5", "0.001", adjacency=ADD), round_id="0")
    for size in (1, 2, 5):
        found = ledger.lifetime("sum", group=size)
        chain = 0.001 * sum(math.exp(0.5 * step) for step in range(size))
        assert (found.epsilon, found.group) == (0.5 * size, size)
        assert chain * (1 - 1e-15) <= found.delta <= chain * (1 + 1e-11)
    huge = ledger.lifetime("sum", group=10**6)
    assert (huge.epsilon, huge.delta) == (500_000, 1)
    ledger.create(Budget("delta", 1, "0.5", adjacency=ADD))
    ledger.spend("delta", Cost(0, "0.001", adjacency=ADD), round_id="0")
    assert ledger.lifetime("delta", group=3).delta == pytest.approx(0.003, rel=1e-11)
    for wrong in (0, True, 1.5):
        with pytest.raises(PrivacyParameterError, match="group"):
            ledger.lifetime("sum", group=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [2, 3])
def test_a_groups_guarantee_covers_what_a_group_really_has(ledger: Ledger, size: int) -> None:
    event = GaussianEvent(8.0, ADD)
    ledger.create(Budget("b", 4, "1e-5", adjacency=ADD, composition=Composition.RENYI))
    for number in range(3):
        ledger.spend("b", event, round_id=str(number))
    found = ledger.lifetime("b", group=size)
    assert found.delta > 1e-5
    assert delta_of(Repeated(GaussianEvent(8.0 / size, ADD), 3), found.epsilon) <= found.delta


def test_a_group_of_releases_has_so_many_times_mu(ledger: Ledger) -> None:
    event = GaussianEvent(8.0, ADD)
    ledger.create(Budget("b", 4, "1e-5", adjacency=ADD, composition=Composition.RELEASES, event=event))
    ledger.spend("b", Repeated(event, 3), round_id="0")
    found = ledger.lifetime("b", group=2)
    assert found.delta == 1e-5
    assert found.epsilon == pytest.approx(epsilon_of(Repeated(GaussianEvent(4.0, ADD), 3), 1e-5), rel=1e-9)


def test_a_group_of_sampled_records_has_no_more_than_is_told(ledger: Ledger) -> None:
    """Each of two records is there by a coin of its own: exactly, for one release, in both directions."""
    event = PoissonSampled(0.5, GaussianEvent(2.0, ADD))
    ledger.create(Budget("b", 4, "1e-5", adjacency=ADD, composition=Composition.RELEASES, event=event))
    ledger.spend("b", event, round_id="0")
    found = ledger.lifetime("b", group=2)
    assert found.delta == 1e-5
    points = np.linspace(-12, 14, 520_001)
    none, one, two = (np.exp(-((points - shift / 2) ** 2) / 2) / math.sqrt(2 * math.pi) for shift in range(3))
    both = none / 4 + one / 2 + two / 4
    for p, q in ((both, none), (none, both)):
        exact = float(np.maximum(p - math.exp(found.epsilon) * q, 0).sum() * (points[1] - points[0]))
        assert exact <= found.delta
    assert float(np.maximum(both - math.exp(found.epsilon / 2) * none, 0).sum() * (points[1] - points[0])) > 1e-5


def test_lifetimes_add_up_across_renewals_for_groups_as_well(tmp_path: Path) -> None:
    now = [START]
    with Ledger.open(str(tmp_path / "l.db"), create=True, clock=lambda: now[0]) as ledger:
        terms = {"adjacency": ADD, "renews": timedelta(days=1)}
        event = GaussianEvent(6.0, ADD)
        ledger.create(Budget("mu", 1, "1e-5", composition=Composition.GAUSSIAN, **terms))
        ledger.create(Budget("one", 1, "1e-5", composition=Composition.RELEASES, event=event, **terms))
        for day in range(3):
            now[0] = START + timedelta(days=day, hours=1)
            for name in ("mu", "one"):
                ledger.spend(name, event, round_id=str(day))
        for name in ("mu", "one"):
            whole = ledger.lifetime(name)
            assert whole.periods == 3
            assert whole.epsilon == pytest.approx(epsilon_of(Repeated(event, 3), 1e-5), rel=1e-9)
            assert (
                whole.epsilon > 1 > ledger.status(name).epsilon
            )  # each period is within its limit, and not all of them
        pair = ledger.lifetime("mu", group=2)
        assert pair.epsilon == pytest.approx(epsilon_of(Repeated(GaussianEvent(3.0, ADD), 3), 1e-5), rel=1e-9)


# Budgets of plans.


def planned(epsilon: float, delta: float, rounds: int, unit: Unit) -> Event:
    goal = Goal(ADD, delta, epsilon=epsilon, rounds=rounds)
    made = Preparation(1000, 1.0, 200.0)
    share = NoiseShare(0.5, made.dimension, made.l2_bound, made.l1_bound, unit=unit)
    sigma = local_sigma_for(goal, goal.gaussian_multiplier(), share, 90)
    return NoiseShare(sigma, made.dimension, made.l2_bound, made.l1_bound, unit=unit).event(90, ADD)


@pytest.mark.parametrize("rounds", [1, 3, 10, 20, 100])
@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 1e-5), (4.0, 1e-6), (8.0, 1e-5)])
@pytest.mark.parametrize("unit", Unit)
def test_a_budget_of_a_plan_affords_its_rounds_and_no_more(
    ledger: Ledger, epsilon: float, delta: float, rounds: int, unit: Unit
) -> None:
    event = planned(epsilon, delta, rounds, unit)
    budget = budget_for("plan", event, rounds, delta, epsilon)
    assert budget == Budget(
        "plan", str(epsilon), str(delta), adjacency=ADD, unit=unit, composition=Composition.GAUSSIAN
    )
    ledger.create(budget)
    for number in range(rounds):
        ledger.spend("plan", event, round_id=str(number), unit=unit)
    with pytest.raises(BudgetExceededError):
        ledger.spend("plan", event, round_id="one more")
    ledger.verify()


def test_noise_that_is_not_gaussian_is_counted_as_releases(ledger: Ledger) -> None:
    sampled = PoissonSampled(0.1, GaussianEvent(2.0, ADD))
    for event in (LaplaceEvent(30.0, ADD, 2), sampled, SummedDiscreteGaussianEvent(0.5, 2, 0.1, 0.2, 9, ADD)):
        epsilon = epsilon_of(Repeated(event, 20), 1e-6)
        budget = budget_for("b", event, 20, 1e-6, epsilon)
        assert (budget.composition, budget.event) == (Composition.RELEASES, event)
        assert limit_of(budget) == (20 * 10**30,)
    assert budget_for("b", Composed((GaussianEvent(9.0, ADD), sampled)), 2, 1e-6).composition == "releases"


def test_noise_that_is_better_than_its_mu_is_counted_as_releases() -> None:
    """Where the modulus forces coarse noise, divergence may be less than nearness to Gaussian noise costs."""
    coarse = SummedDiscreteGaussianEvent(0.93, 60, 2.0, 8.0, 64, ADD)
    epsilon = epsilon_of(Repeated(coarse, 20), 1e-6)
    by_mu = Budget("b", epsilon, 1e-6, adjacency=ADD, composition=Composition.GAUSSIAN)
    assert charge_of(by_mu, Repeated(coarse, 20)) > limit_of(by_mu)
    budget = budget_for("b", coarse, 20, 1e-6, epsilon)
    assert (budget.composition, limit_of(budget)) == (Composition.RELEASES, (20 * 10**30,))


def test_costs_that_are_not_stated_are_those_of_the_rounds(ledger: Ledger) -> None:
    rng = random.Random(7)
    for number in range(50):
        event, rounds = GaussianEvent(rng.uniform(0.3, 30), ADD), rng.randint(1, 200)
        budget = budget_for(str(number), event, rounds, 10 ** rng.uniform(-9, -4))
        assert budget.composition is Composition.GAUSSIAN
        ledger.create(budget)
        ledger.spend(str(number), Repeated(event, rounds), round_id="all")
        with pytest.raises(BudgetExceededError):
            ledger.spend(str(number), event, round_id="more")


def test_a_plan_that_promises_too_much_has_no_budget() -> None:
    event = GaussianEvent(5.0, ADD)
    with pytest.raises(PrivacyParameterError, match=r"20 such rounds cost epsilon 4\.\d+ .* above the 2 "):
        budget_for("b", event, 20, 1e-6, 2.0)
    for wrong in ({"rounds": 0}, {"delta": 0.0}, {"delta": 1}, {"epsilon": 0}, {"epsilon": math.nan}, {"kind": "pet"}):
        with pytest.raises(PrivacyParameterError):
            budget_for(**{"name": "b", "event": event, "rounds": 2, "delta": 1e-6} | wrong)  # type: ignore[arg-type]
    with pytest.raises(PrivacyParameterError, match="twice as far"):
        budget_for("b", Composed((CLIENT, RECORD)), 1, 1e-6)
    plain = json.dumps(budget_for("b", RECORD, 1, 1e-6, 9, kind="data-set", renews=timedelta(days=30)).plain())
    assert all(words in plain for words in ('"unit": "record"', '"data-set"', "2592000000000"))


def test_a_release_on_samples_may_have_more_noise_and_no_other_rate(ledger: Ledger) -> None:
    sampled = PoissonSampled(0.1, RECORD)
    terms = {"adjacency": ADD, "unit": Unit.RECORD, "composition": Composition.RELEASES, "event": sampled}
    ledger.create(Budget("b", 8, 1e-5, **terms))
    taken = ledger.reserve("b", sampled, round_id="0")
    fewer, more = summed(Unit.RECORD, clients=39), summed(Unit.RECORD, clients=50)
    for wrong in (PoissonSampled(0.1, fewer), PoissonSampled(0.09, RECORD), PoissonSampled(0.11, more), more):
        with pytest.raises(PrivacyParameterError, match="do not release"):
            ledger.commit(taken, wrong)
    better = PoissonSampled(0.1, more)
    assert ledger.commit(taken, better).cost == better
