"""The ledger against a plain model of itself, under whatever sequence of calls, crashes and clocks hypothesis finds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dp.errors import BudgetExceededError, LedgerConflictError, PrivacyParameterError, UnknownBudgetError
from dp.ledger import Budget, Cost, Ledger
from dp.ledger.book import FARTHEST_AHEAD, Book
from dp.sensitivity import Adjacency
from tests.dp.postgres_server import execute

ADD = Adjacency.ADD_REMOVE
LIMIT = Fraction(1)
PERIOD = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
rounds = st.sampled_from([f"r{i}" for i in range(8)])
tenths = st.integers(1, 6).map(lambda n: Fraction(n, 10))


class Crash(Exception):  # noqa: N818
    pass


class LedgerMachine(RuleBasedStateMachine):
    """The model: for each round what was reserved, what it came to, and its period."""

    def make_url(self) -> str:
        self.folder = tempfile.TemporaryDirectory()
        return str(Path(self.folder.name) / "ledger.db")

    @initialize()
    def begin(self) -> None:
        self.now = self.latest = START
        self.reserved: dict[str, Fraction] = {}
        self.ended: dict[str, tuple[str, Fraction]] = {}
        self.periods: dict[str, int] = {}
        self.url = self.make_url()
        self.ledger = Ledger.open(self.url, create=True, clock=lambda: self.now)
        self.ledger.create(Budget("b", LIMIT, adjacency=ADD, renews=PERIOD))

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.verify()
            self.ledger.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def charged(self, round_id: str) -> Fraction:
        return self.ended[round_id][1] if round_id in self.ended else self.reserved[round_id]

    def taken(self) -> Fraction:
        mine = [name for name, period in self.periods.items() if period == self.period()]
        return sum((self.charged(name) for name in mine), Fraction(0))

    def period(self) -> int:
        return (max(self.now, self.latest) - START) // PERIOD

    def expect(self, error: type[Exception] | None, call: Callable[[], Any]) -> None:
        if error is None:
            call()
            self.latest = max(self.latest, self.now)  # something was written at this time
        else:
            with pytest.raises(error):
                call()

    def reserving_fails(self, round_id: str, amount: Fraction, again: bool) -> type[Exception] | None:
        if round_id in self.reserved:
            same = again and self.reserved[round_id] == amount and round_id not in self.ended
            return None if same else LedgerConflictError
        return BudgetExceededError if self.taken() + amount > LIMIT else None

    @rule(round_id=rounds, amount=tenths, again=st.booleans())
    def reserve(self, round_id: str, amount: Fraction, again: bool) -> None:
        error = self.reserving_fails(round_id, amount, again)
        known, period, latest = round_id in self.reserved, self.period(), self.latest
        cost = Cost(amount, adjacency=ADD)
        self.expect(error, lambda: self.ledger.reserve("b", cost, round_id=round_id, again=again))
        if error is None and not known:
            self.reserved[round_id], self.periods[round_id] = amount, period
        elif error is None:
            self.latest = latest  # a repeated call writes nothing

    @rule(round_id=rounds, amount=tenths, again=st.booleans())
    def spend(self, round_id: str, amount: Fraction, again: bool) -> None:
        error = None
        if round_id in self.reserved:
            # Repeating a spend, in so many words, is right if it was one, and ends a reservation that is open.
            same = again and self.reserved[round_id] == amount
            error = None if same and self.ended.get(round_id, ("commit", amount)) == ("commit", amount) else Exception
            error = LedgerConflictError if error else None
        elif self.taken() + amount > LIMIT:
            error = BudgetExceededError
        written, period, latest = round_id not in self.ended, self.period(), self.latest
        cost = Cost(amount, adjacency=ADD)
        self.expect(error, lambda: self.ledger.spend("b", cost, round_id=round_id, again=again))
        if error is None:
            self.reserved[round_id], self.ended[round_id] = amount, ("commit", amount)
            self.periods.setdefault(round_id, period)
            self.latest = self.latest if written else latest

    def close(self, round_id: str, ending: tuple[str, Fraction], call: Callable[[Any], Any]) -> None:
        if round_id not in self.reserved:
            with pytest.raises(UnknownBudgetError):
                self.ledger.reservation("b", round_id)
            return
        taken, latest = self.ledger.reservation("b", round_id), self.latest
        error: type[Exception] | None = None
        if round_id in self.ended:
            error = None if self.ended[round_id] == ending else LedgerConflictError
        elif ending[1] > self.reserved[round_id]:
            error = PrivacyParameterError
        done = round_id in self.ended
        self.expect(error, lambda: call(taken))
        if error is None:
            self.ended[round_id] = ending
            self.latest = latest if done else self.latest

    @rule(round_id=rounds, amount=tenths)
    def commit_actual(self, round_id: str, amount: Fraction) -> None:
        # That an actual cost was stated is part of what was said; the model tells full commits from stated ones.
        if self.ended.get(round_id, ("", 0))[0] == "commit":
            return
        ending = ("stated", amount)
        self.close(round_id, ending, lambda r: self.ledger.commit(r, Cost(amount, adjacency=ADD)))

    @rule(round_id=rounds)
    def commit(self, round_id: str) -> None:
        if self.ended.get(round_id, ("", 0))[0] == "stated":
            return
        ending = ("commit", self.reserved.get(round_id, Fraction(0)))
        self.close(round_id, ending, self.ledger.commit)

    @rule(round_id=rounds)
    def release(self, round_id: str) -> None:
        self.close(round_id, ("release", Fraction(0)), self.ledger.release)

    @rule(round_id=rounds, spent=st.booleans())
    def resolve(self, round_id: str, spent: bool) -> None:
        amount = self.reserved.get(round_id, Fraction(0)) if spent else Fraction(0)
        ending = ("resolve", amount)
        self.close(round_id, ending, lambda r: self.ledger.resolve(r, spent=spent, reason="someone knows"))

    @rule(round_id=rounds, amount=tenths, point=st.sampled_from(["append", "enrol"]), after=st.booleans())
    def crash_while_reserving(self, round_id: str, amount: Fraction, point: str, after: bool) -> None:
        """The process dies within the transaction: nothing has happened, whatever was written."""
        whole = getattr(Book, point)

        def dies(*arguments: Any, **values: Any) -> None:
            if after:
                whole(*arguments, **values)
            raise Crash

        setattr(Book, point, dies)
        try:
            with suppress(LedgerConflictError, BudgetExceededError, Crash):
                self.ledger.reserve("b", Cost(amount, adjacency=ADD), round_id=round_id)
        finally:
            setattr(Book, point, whole)
        self.reopen()

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self.url, clock=lambda: self.now)

    @rule(hours=st.integers(-30, 30))
    def time_passes_or_is_set_back(self, hours: int) -> None:
        # Not farther ahead than a clock is believed.
        self.now = min(self.now + timedelta(hours=hours), self.latest + FARTHEST_AHEAD)

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        if not hasattr(self, "ledger"):
            return
        status = self.ledger.status("b")
        assert status.period == max(0, self.period())
        mine = [name for name, period in self.periods.items() if period == status.period]
        held = sum((self.reserved[name] for name in mine if name not in self.ended), Fraction(0))
        spent = sum((self.ended[name][1] for name in mine if name in self.ended), Fraction(0))
        assert (status.spent["epsilon"], status.held["epsilon"]) == (spent, held)
        assert status.left["epsilon"] == LIMIT - spent - held >= 0
        assert [one.round_id for one in self.ledger.open_reservations("b")] == [
            name for name in self.reserved if name not in self.ended
        ]


TestSqliteMachine = LedgerMachine.TestCase
TestSqliteMachine.settings = settings(max_examples=30, stateful_step_count=30)


def test_postgres_machine(postgres_url: str) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    class PostgresMachine(LedgerMachine):
        def make_url(self) -> str:
            tables = ("head", "records", "accounts", "participants")
            execute(postgres_url, *(f"DROP TABLE IF EXISTS ledger_{table}" for table in tables))
            return postgres_url

    run_state_machine_as_test(PostgresMachine, settings=settings(max_examples=4, stateful_step_count=20))
