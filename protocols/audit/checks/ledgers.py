"""The privacy ledger: it cannot be overspent, and whatever is changed behind its back shows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from dp.accounting import epsilon_of
from dp.calibration import noise_multiplier
from dp.errors import BudgetExceededError, DpError, PrivacyParameterError
from dp.events import Composed, Event, GaussianEvent, Repeated, SummedDiscreteGaussianEvent
from dp.ledger import Budget, Composition, Cost, Ledger, Spend, budget_for
from dp.sensitivity import Adjacency, Unit

from ..outcome import Check, Found, Refuted, Trials, demand, demand_refusal
from .accounts import ledger_of

_ADD = Adjacency.ADD_REMOVE


def _cost(epsilon: str) -> Cost:
    return Cost(epsilon, "0", adjacency=_ADD)


def _overspending(trials: Trials) -> Found:
    spent = refused = 0
    for rng in trials.each(trials.share(25)):
        with ledger_of(Budget("audited", "1", "1e-6", adjacency=_ADD)) as ledger:
            costs = [f"0.{digits:03}" for digits in rng.integers(1, 200, 24).tolist()]

            def spend(item: tuple[int, str], ledger: Ledger = ledger) -> Fraction:
                number, epsilon = item
                try:
                    ledger.spend("audited", _cost(epsilon), round_id=f"round-{number}")
                except BudgetExceededError:
                    return Fraction(0)
                return Fraction(epsilon)

            with ThreadPoolExecutor(4) as pool:  # in a race, as the servers of one institution may be
                taken = list(pool.map(spend, enumerate(costs)))
            demand(sum(taken) <= 1, f"{float(sum(taken)):.4g} was spent of a budget of 1")
            status = ledger.status("audited").spent["epsilon"]
            demand(status == sum(taken), f"{float(sum(taken)):.4g} was spent, but the ledger says {float(status):.4g}")
            left = 1 - sum(taken)
            tight = [epsilon for epsilon, got in zip(costs, taken, strict=True) if not got]
            demand(all(Fraction(epsilon) > left for epsilon in tight), "a spend that fits was refused")
            spent += len(costs) - len(tight)
            refused += len(tight)
    return Found({"ledgers": trials.share(25), "spends": spent, "refused": refused})


def _tampering(trials: Trials) -> Found:
    """Change each cell of each table once, and take each row away once; verification must notice every time."""
    (_,) = trials.each(1)
    with TemporaryDirectory() as folder:
        original = Path(folder) / "ledger.db"
        with Ledger.open(str(original), create=True) as ledger:
            ledger.create(Budget("audited", "1", "1e-6", adjacency=_ADD))
            ledger.spend("audited", _cost("0.2"), round_id="one", participants=["a", "b"])
            ledger.spend("audited", _cost("0.3"), round_id="two", participants=["a"])
            ledger.reserve("audited", _cost("0.1"), round_id="three", participants=["c"])
            head = ledger.verify().head
        statements = list(_changes(original))
        for number, statement in enumerate(statements):
            changed = Path(folder) / f"changed-{number}.db"
            with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(changed)) as target:
                source.backup(target)
                target.execute(statement)
                target.commit()
            changed.chmod(0o600)
            if not _shows(changed, head):
                raise Refuted(f"this goes unnoticed: {statement}")
            changed.unlink()
    return Found({"changes, all of which show": len(statements)})


def _shows(path: Path, head: str) -> bool:
    try:
        with Ledger.open(str(path)) as ledger:
            ledger.verify(head)
    except DpError:
        return True
    return False


def _changes(path: Path) -> Iterator[str]:
    # Names come from the ledger's own schema.
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [(name, kind) for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")]
            rows = [row for (row,) in connection.execute(f"SELECT rowid FROM {table}")]  # noqa: S608
            for row in rows:
                yield f"DELETE FROM {table} WHERE rowid = {row}"  # noqa: S608
                for name, kind in columns:
                    other = f"{name} + 1000" if "INT" in kind.upper() else f"{name} || 'x'"
                    yield f"UPDATE {table} SET {name} = {other} WHERE rowid = {row}"  # noqa: S608


def _fits(ledger: Ledger, spend: Spend, round_id: str) -> bool:
    try:
        ledger.spend("audited", spend, round_id=round_id)
    except BudgetExceededError:
        return False
    return True


def _calibrated(trials: Trials) -> Found:
    """Calibrate noise to a goal, ask the accountant what it costs, and pay for it from a budget of that very goal."""
    goals, wrong = trials.share(4) + 8, []
    for rng in trials.each(goals):
        epsilon, delta = float(10 ** rng.uniform(-1, 1)), f"1e-{rng.integers(4, 9)}"
        rounds = int(rng.integers(1, 20))
        event = GaussianEvent(noise_multiplier(epsilon, float(delta), rounds=rounds), _ADD)
        account = epsilon_of(Repeated(event, rounds), float(delta))
        what = f"{rounds} rounds calibrated to ({epsilon!r}, {delta})"
        if account > epsilon:
            wrong.append(f"{what} are accounted for as {account!r}")
            continue
        with ledger_of(Budget("audited", epsilon, delta, adjacency=_ADD)) as ledger:
            if not _fits(ledger, Cost(account, delta, adjacency=_ADD), "all"):
                wrong.append(f"{what} do not fit a budget of it, at {account!r}")
        with ledger_of(budget_for("audited", event, rounds, float(delta), epsilon)) as ledger:
            if not _fits(ledger, Repeated(event, rounds), "all"):
                wrong.append(f"{what} do not fit the budget that is made for them")
            elif _fits(ledger, event, "more"):
                wrong.append(f"the budget that is made for {what} affords one more")
        counted = Budget("audited", epsilon, delta, adjacency=_ADD, composition=Composition.RELEASES, event=event)
        with ledger_of(counted) as ledger:
            allowed = int(ledger.status("audited").limit["releases"])
        if allowed < rounds:
            wrong.append(f"of {what} a budget of releases allows {allowed}")
    demand(not wrong, f"{len(wrong)} promises to {goals} goals are broken: {'; '.join(wrong[:3])}")
    return Found({"goals": goals})


def _units(trials: Trials) -> Found:
    """Pay for sums that bound the loss of a client or a record, however deep they stand in what is spent."""
    paid = refused = 0
    for rng in trials.each(trials.share(25)):
        counted, stated = (Unit(str(rng.choice(list(Unit)))) for _ in range(2))
        adjacency = Adjacency(str(rng.choice(list(Adjacency))))
        spend: Event = SummedDiscreteGaussianEvent(90.0, int(rng.integers(2, 50)), 1.0, 1.0, 3, adjacency, stated)
        for _ in range(int(rng.integers(0, 4))):
            beside = GaussianEvent(90.0, adjacency)
            spend = Repeated(spend, 2) if rng.integers(2) else Composed((beside, spend))
        budget = Budget("audited", "9", "1e-6", adjacency=adjacency, unit=counted, composition=Composition.GAUSSIAN)
        with ledger_of(budget) as ledger:
            # What bounds any change of a client's data bounds that of a record, but not that the client is left out.
            if stated is counted or (stated, adjacency) == (Unit.CLIENT, Adjacency.REPLACE_ONE):
                ledger.spend("audited", spend, round_id="one")
                paid += 1
            else:
                call = partial(ledger.spend, "audited", spend, round_id="one")
                demand_refusal(call, PrivacyParameterError, f"a {stated}'s loss, as a {counted}'s,")
                refused += 1
    return Found({"paid": paid, "refused": refused})


CHECKS = (
    Check("ledger", "calibrated", "what is calibrated to a goal costs no more, and fits a budget of it", _calibrated),
    Check(
        "ledger",
        "overspending",
        "no more is spent than there is, in a race of four, and no less",
        _overspending,
        repeatable=False,
    ),
    Check("ledger", "tampering", "a change of any cell or row of a ledger's file shows", _tampering),
    Check("ledger", "units", "no budget pays what bounds the loss of another unit than it counts", _units),
)
