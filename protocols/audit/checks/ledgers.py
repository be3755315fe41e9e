"""The privacy ledger: it cannot be overspent, and whatever is changed behind its back shows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from dp.accounting import epsilon_of
from dp.calibration import noise_multiplier
from dp.errors import BudgetExceededError, DpError
from dp.events import GaussianEvent, Repeated
from dp.ledger import Budget, Composition, Cost, Ledger
from dp.sensitivity import Adjacency

from ..outcome import Check, Found, Refuted, Trials, demand
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
        with ledger_of(Budget("audited", epsilon, delta, adjacency=_ADD)) as ledger:
            try:
                ledger.spend("audited", Cost(account, delta, adjacency=_ADD), round_id="all")
            except BudgetExceededError:
                wrong.append(f"{what} do not fit a budget of it, at {account!r}")
        counted = Budget("audited", epsilon, delta, adjacency=_ADD, composition=Composition.RELEASES, event=event)
        with ledger_of(counted) as ledger:
            allowed = int(ledger.status("audited").limit["releases"])
        if allowed < rounds:
            wrong.append(f"of {what} a budget of releases allows {allowed}")
    demand(not wrong, f"{len(wrong)} promises to {goals} goals are broken: {'; '.join(wrong[:3])}")
    return Found({"goals": goals})


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
)
