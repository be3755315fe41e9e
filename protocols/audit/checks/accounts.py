"""The privacy ledger's accounts: what spends take, reservations hold and releases count, computed once more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dp.errors import BudgetExceededError
from dp.events import GaussianEvent
from dp.ledger import Budget, Composition, Cost, Ledger
from dp.sensitivity import Adjacency

from ..outcome import Check, Found, Trials, demand, demand_refusal

_ADD = Adjacency.ADD_REMOVE
_DELTA = 1e-6
_CLOSE = 1e-9


@contextmanager
def ledger_of(budget: Budget) -> Iterator[Ledger]:
    """Open a new ledger with one budget; verify it at the end."""
    with TemporaryDirectory() as folder, Ledger.open(str(Path(folder) / "ledger.db"), create=True) as ledger:
        ledger.create(budget)
        yield ledger
        ledger.verify()


def _refused(ledger: Ledger, spend: Cost | GaussianEvent, what: str) -> None:
    demand_refusal(partial(ledger.reserve, "audited", spend, round_id="too-much"), BudgetExceededError, what)


def _sums(trials: Trials) -> Found:
    """Spend epsilon and delta until either is used up; both must be what was spent, to the last digit."""
    spends, scarce = 0, {"epsilon": 0, "delta": 0}
    for rng in trials.each(trials.share(25) + 1):
        # Now the one, now the other is scarce.
        limits = {"epsilon": Fraction(int(rng.integers(5, 40)), 10), "delta": Fraction(int(rng.integers(5, 40)), 10**7)}
        budget = Budget("audited", limits["epsilon"], limits["delta"], adjacency=_ADD)
        taken = {"epsilon": Fraction(0), "delta": Fraction(0)}
        with ledger_of(budget) as ledger:
            while True:
                asked = {
                    "epsilon": Fraction(int(rng.integers(1, 1000)), 1000),
                    "delta": Fraction(int(rng.integers(1, 1000)), 10**9),
                }
                cost = Cost(asked["epsilon"], asked["delta"], adjacency=_ADD)
                # What is beyond the ledger's grid is rounded down in limits.
                over = [name for name in taken if taken[name] + asked[name] > ledger.status("audited").limit[name]]
                if over:
                    _refused(ledger, cost, f"more {' and '.join(over)} than there is")
                    for name in over:
                        scarce[name] += 1
                    break
                ledger.spend("audited", cost, round_id=f"round-{spends}")
                taken = {name: taken[name] + asked[name] for name in taken}
                spends += 1
            _demand_account(ledger, spent=taken, held=dict.fromkeys(taken, Fraction(0)))
    with ledger_of(Budget("audited", "100", "1e-6", adjacency=_ADD)) as ledger:
        ledger.spend("audited", Cost("0.1", "9e-7", adjacency=_ADD), round_id="first")
        _refused(ledger, Cost("0.1", "2e-7", adjacency=_ADD), "more delta than there is")
    return Found({"spends": spends, "refused for want of epsilon": scarce["epsilon"], "of delta": scarce["delta"] + 1})


def _demand_account(ledger: Ledger, *, spent: dict[str, Fraction], held: dict[str, Fraction]) -> None:
    status = ledger.status("audited")
    for name, expected in spent.items():
        demand(
            status.spent[name] == expected, f"{_text(expected)} of {name} was spent, not {_text(status.spent[name])}"
        )
        demand(
            status.held[name] == held[name], f"{_text(held[name])} of {name} is held, not {_text(status.held[name])}"
        )
        left = status.limit[name] - expected - held[name]
        demand(status.left[name] == left, f"{_text(left)} of {name} is left, not {_text(status.left[name])}")


def _text(amount: Fraction) -> str:
    return f"{float(amount):.6g}"


def _reservations(trials: Trials) -> Found:
    """Open reservations count as spent; what is committed is charged, what is released comes back."""
    count = trials.share(25)
    for rng in trials.each(count):
        with ledger_of(Budget("audited", "1", "1e-5", adjacency=_ADD)) as ledger:
            first, second = (Fraction(int(rng.integers(300, 500)), 1000) for _ in range(2))
            delta = Fraction(1, 10**6)
            one, other = (
                ledger.reserve("audited", Cost(epsilon, delta, adjacency=_ADD), round_id=f"{epsilon}-{at}")
                for at, epsilon in enumerate((first, second))
            )
            nothing = {"epsilon": Fraction(0), "delta": Fraction(0)}
            _demand_account(ledger, spent=nothing, held={"epsilon": first + second, "delta": 2 * delta})
            beyond = Cost(1 - first - second + Fraction(1, 10**6), 0, adjacency=_ADD)
            _refused(ledger, beyond, "what open reservations hold")
            demand(ledger.status("audited").open == 2, "open reservations are not counted")
            # Half of the first is charged, the second comes back.
            ledger.commit(one, Cost(first / 2, delta, adjacency=_ADD))
            _demand_account(
                ledger, spent={"epsilon": first / 2, "delta": delta}, held={"epsilon": second, "delta": delta}
            )
            ledger.release(other)
            _demand_account(ledger, spent={"epsilon": first / 2, "delta": delta}, held=nothing)
            orphan = ledger.reserve("audited", Cost(second, 0, adjacency=_ADD), round_id="orphan")
            ledger.resolve(orphan, spent=True, reason="nobody knows what was revealed")
            _demand_account(ledger, spent={"epsilon": first / 2 + second, "delta": delta}, held=nothing)
            demand(ledger.status("audited").open == 0, "closed reservations are counted as open")
    return Found({"ledgers": count})


def _renyi(trials: Trials) -> Found:
    """Gaussian noise of multiplier m costs a / (2 m^2) at order a; what fits follows from the conversion to epsilon."""
    releases, count = 0, trials.share(25) + 1
    for rng in trials.each(count):
        order, multiplier = float(rng.integers(3, 40)), round(float(rng.uniform(4, 8)), 3)
        charge = order / (2 * multiplier**2)
        # Canonne, Kamath, Steinke (2020), proposition 12.
        added = math.log1p(-1 / order) - (math.log(_DELTA) + math.log(order)) / (order - 1)
        fits = int(rng.integers(2, 8))
        epsilon = added + (fits + 0.5) * charge
        budget = Budget("audited", epsilon, _DELTA, adjacency=_ADD, composition=Composition.RENYI, order=order)
        event = GaussianEvent(multiplier, _ADD)
        with ledger_of(budget) as ledger:
            for number in range(fits):
                ledger.spend("audited", event, round_id=f"round-{number}")
                status = ledger.status("audited")
                spent = float(status.spent["divergence"])
                demand(
                    abs(spent - (number + 1) * charge) <= _CLOSE * spent,
                    f"{number + 1} releases of multiplier {multiplier} are charged {spent:.6g} at order {order:g}, not "
                    f"{(number + 1) * charge:.6g}",
                )
                expected = added + (number + 1) * charge
                right = abs(status.epsilon - expected) <= _CLOSE * expected
                demand(right, "the ledger states another epsilon than is spent")
            _refused(ledger, event, "more divergence than there is")
            releases += fits
    return Found({"ledgers": count, "releases": releases})


def _gaussian_delta(epsilon: float, multiplier: float) -> float:
    """Return delta of Gaussian noise: Balle, Wang (2018), theorem 8."""

    def below(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    half = 0.5 / multiplier
    return below(half - epsilon * multiplier) - math.exp(epsilon) * below(-half - epsilon * multiplier)


def _releases(trials: Trials) -> Found:
    """As many releases are allowed as keep delta: k are as one with a k-th of the squared multiplier."""
    allowed, count = 0, trials.share(50) + 1
    for rng in trials.each(count):
        multiplier, epsilon = round(float(rng.uniform(5, 9)), 3), round(float(rng.uniform(1.5, 3)), 3)
        event = GaussianEvent(multiplier, _ADD)
        budget = Budget("audited", epsilon, _DELTA, adjacency=_ADD, composition=Composition.RELEASES, event=event)
        # One more or less is rounding, where delta is met all but exactly.
        fits = {
            max(k for k in range(1, 100) if _gaussian_delta(epsilon * slack, multiplier / math.sqrt(k)) <= _DELTA)
            for slack in (1 - 1e-6, 1, 1 + 1e-6)
        }
        with ledger_of(budget) as ledger:
            limit = int(ledger.status("audited").limit["releases"])
            demand(limit in fits, f"{limit} releases of multiplier {multiplier} are allowed where {max(fits)} fit")
            for number in range(limit):
                ledger.spend("audited", event, round_id=f"round-{number}")
                spent = ledger.status("audited").spent["releases"]
                demand(spent == number + 1, f"{number + 1} releases are counted as {_text(spent)}")
            _refused(ledger, event, "a release too many")
            allowed += limit
    return Found({"ledgers": count, "releases": allowed})


def _participants(trials: Trials) -> Found:
    """Each participant is charged for the rounds that its data entered or may have entered, and for no others."""
    people, rounds, count = ("ann", "bob", "eve"), 6, trials.share(50) + 1
    for rng in trials.each(count):
        expected: dict[str, tuple[set[str], Fraction]] = {name: (set(), Fraction(0)) for name in people}
        with ledger_of(Budget("audited", "10", "1e-6", adjacency=_ADD)) as ledger:
            for number in range(rounds):
                name, epsilon = f"round-{number}", Fraction(int(rng.integers(1, 1000)), 1000)
                invited = _some(rng, people)
                reserved = ledger.reserve(
                    "audited", Cost(epsilon, 0, adjacency=_ADD), round_id=name, participants=invited
                )
                counted = _some(rng, invited) if number % 3 else invited
                match number % 3:
                    case 0:
                        ledger.commit(reserved)
                    case 1:
                        ledger.commit(reserved, participants=counted)
                for person in counted if number % 3 < 2 else invited:  # the third kind stays open
                    names, total = expected[person]
                    expected[person] = (names | {name}, total + epsilon)
            for person, (names, total) in expected.items():
                view = ledger.participant("audited", person)
                found = {reservation.round_id for reservation in view.rounds}
                demand(found == names, f"{person} took part in {sorted(names)}, the ledger says {sorted(found)}")
                spent = view.total["epsilon"]
                demand(spent == total, f"{person} has spent {_text(total)}, the ledger says {_text(spent)}")
    return Found({"ledgers": count, "rounds": count * rounds, "participants": len(people)})


def _some(rng: np.random.Generator, people: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(rng.permutation(people)[: int(rng.integers(1, len(people) + 1))].tolist()))


CHECKS = (
    Check("ledger", "sums", "epsilon and delta are both charged, and what exceeds either is refused", _sums),
    Check("ledger", "reservations", "open reservations count as spent, and are charged or come back", _reservations),
    Check("ledger", "renyi", "releases are charged their Renyi divergence, and no more fit than may", _renyi),
    Check("ledger", "releases", "releases are counted, and as many are allowed as keep delta", _releases),
    Check("ledger", "participants", "each participant is charged for its rounds and no others", _participants),
)
