"""What a budget's terms allow, as a verification recomputes it, perhaps on another machine than wrote it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from dp.accounting import epsilon_of
from dp.errors import LedgerConflictError, LedgerCorruptError, PrivacyParameterError
from dp.events import ApproximateEvent, Event, GaussianEvent, LaplaceEvent, PoissonSampled, Repeated
from dp.ledger import Ledger
from dp.ledger.budgets import Budget
from dp.ledger.compositions import MOST_RELEASES, charge_of, gives, limit_of
from dp.ledger.costs import Cost
from dp.ledger.kinds import Composition, conversion
from dp.ledger.planned import budget_for
from dp.ledger.records import RecordKind, chained, spelled
from dp.ledger.verification import _Replay
from dp.sensitivity import Adjacency

ADD = Adjacency.ADD_REMOVE
RENYI = Budget("b", "4", "1e-5", adjacency=ADD, composition=Composition.RENYI, order=8.0)
NOTHING_LEFT = {"epsilon": "0.001", "order": 1.001}


def test_limits_of_logarithms_are_met_within_their_margin_and_never_exceed_the_budget() -> None:
    (limit,) = limit_of(RENYI)
    assert gives(RENYI, (limit,))
    added = Fraction(conversion(8.0, 1e-5))
    margin = (4 + abs(added)) / 10**12
    for part, accepted in ((Fraction(9, 10), True), (Fraction(11, 10), False)):
        step = int(part * margin * 10**30)
        assert gives(RENYI, (limit + step,)) is gives(RENYI, (limit - step,)) is accepted
        assert (Fraction(limit + step, 10**30) + added <= 4) is accepted


def test_other_limits_are_met_to_the_last_unit_or_believed() -> None:
    plain = Budget("b", "4", "1e-5", adjacency=ADD)
    epsilon, delta = limit_of(plain)
    assert gives(plain, (epsilon, delta))
    assert not gives(plain, (epsilon + 1, delta))
    assert not gives(plain, (epsilon, delta - 1))
    releases = Budget("b", "4", "1e-5", adjacency=ADD, composition=Composition.RELEASES, event=GaussianEvent(9.0, ADD))
    assert gives(releases, (10**36,))


RELEASES: list[tuple[Event, str, str, bool]] = [
    (PoissonSampled(0.01, GaussianEvent(1.0, ADD)), "4", "1e-6", False),
    (PoissonSampled(0.1, GaussianEvent(2.0, ADD)), "1", "1e-5", False),
    (LaplaceEvent(50.0, ADD, 1), "2", "1e-6", False),
    (GaussianEvent(9.0, ADD), "4", "1e-5", False),
    (GaussianEvent(3.0, ADD), "1.5", "1e-5", False),
    (PoissonSampled(1e-4, GaussianEvent(0.8, ADD)), "3", "1e-7", True),
]


@pytest.mark.parametrize(("event", "epsilon", "delta", "all_of_them"), RELEASES)
def test_a_budget_of_releases_affords_the_most_that_fit_found_in_few_steps(
    event: Event, epsilon: str, delta: str, all_of_them: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counting(event: Event, at: float) -> float:
        asked.append(event)
        return epsilon_of(event, at)

    monkeypatch.setattr("dp.accounting.epsilon_of", counting)
    budget = Budget("b", epsilon, delta, adjacency=ADD, composition=Composition.RELEASES, event=event)
    (limit,) = limit_of(budget)
    most = limit // 10**30
    assert len(asked) <= 14  # of a million candidates
    assert epsilon_of(Repeated(event, most), float(delta)) <= float(epsilon)
    if all_of_them:
        assert most == MOST_RELEASES
    else:
        assert most < MOST_RELEASES
        assert epsilon_of(Repeated(event, most + 1), float(delta)) > float(epsilon)


@pytest.mark.parametrize("composition", [Composition.GAUSSIAN, Composition.RENYI, Composition.RELEASES])
def test_a_delta_that_is_converted_at_is_never_raised(composition: Composition) -> None:
    event = GaussianEvent(9.0, ADD) if composition is Composition.RELEASES else None
    for delta in (1e-40, "1e-40", 0.9e-30):
        with pytest.raises(PrivacyParameterError, match="below 1e-30"):
            Budget("b", 1.0, delta, adjacency=ADD, composition=composition, event=event)
    assert Budget("b", 1.0, 1.7e-30, adjacency=ADD, composition=composition, event=event).delta == Fraction(1, 10**30)
    with pytest.raises(PrivacyParameterError, match="below 1e-30"):
        budget_for("b", GaussianEvent(9.0, ADD), 3, 1e-40)
    spent_from = Budget("b", 1.0, 1e-40, adjacency=ADD)
    assert charge_of(spent_from, Cost(0.5, 1e-40, adjacency=ADD)) <= limit_of(spent_from)


def test_a_budget_whose_delta_was_rounded_up_before_is_there_already(tmp_path: Path) -> None:
    terms = {"adjacency": ADD, "composition": Composition.GAUSSIAN}
    rounded_up = Budget("b", 1.0, 1e-6, **terms).delta + Fraction(1, 10**30)
    with Ledger.open(tmp_path / "ledger", create=True) as ledger:
        ledger.create(Budget("b", 1.0, rounded_up, **terms))
        ledger.create(Budget("b", 1.0, 1e-6, **terms))
        with pytest.raises(LedgerConflictError):
            ledger.create(Budget("b", 1.0, rounded_up + Fraction(1, 10**30), **terms))


def test_a_delta_that_no_release_keeps_gives_a_budget_of_none() -> None:
    event = ApproximateEvent(0.1, 1e-8, ADD)
    budget = Budget("b", 1.0, 1e-5, adjacency=ADD, composition=Composition.RELEASES, event=event)
    (limit,) = limit_of(budget)
    most = limit // 10**30
    assert 0 < most < 1000
    assert epsilon_of(Repeated(event, most), 1e-5) <= 1 < epsilon_of(Repeated(event, most + 1), 1e-5)


def test_terms_that_give_no_limit_are_corrupt() -> None:
    terms = RENYI.plain() | NOTHING_LEFT
    with pytest.raises(PrivacyParameterError, match="leaves nothing"):
        limit_of(Budget.from_plain("b", terms))
    after = {"spent": spelled((0,)), "held": spelled((0,)), "open": 0}
    facts = {"terms": terms, "limit": spelled((10**30,)), "after": after}
    with pytest.raises(LedgerCorruptError, match="another limit than its terms allow"):
        _Replay(None)._create(chained(None, 1, RecordKind.CREATE, "b", 0, "", facts))  # type: ignore[arg-type]
