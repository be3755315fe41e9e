"""What every ledger must keep, whatever database holds it; subclass it, say where it is, and get its tests free."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dp.accounting import epsilon_of
from dp.errors import (
    BudgetExceededError,
    BudgetExpiredError,
    LedgerClockError,
    LedgerConflictError,
    LedgerCorruptError,
    LedgerError,
    PrivacyParameterError,
    UnknownBudgetError,
)
from dp.events import (
    ApproximateEvent,
    Event,
    GaussianEvent,
    LaplaceEvent,
    PoissonSampled,
    Repeated,
    SummedDiscreteGaussianEvent,
)
from dp.ledger import Budget, Composition, Cost, Kind, Ledger, Reservation, ReservationStatus
from dp.sensitivity import Adjacency

ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def cost(epsilon: Any, delta: Any = 0) -> Cost:
    return Cost(epsilon, delta, adjacency=ADD)


class LedgerContract:
    """Subclasses give the fixture `url`: of a place where no ledger is yet."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    def tamper(self, url: str, statement: str) -> None:
        """Change rows behind the ledger's back."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def ledger(self, url: str, clock: Clock) -> Iterator[Ledger]:
        with Ledger.open(url, create=True, clock=clock) as opened:
            opened.create(Budget("alice", "1", "1e-5", adjacency=ADD, kind=Kind.DATA_SUBJECT))
            yield opened

    def test_a_round_is_reserved_committed_and_remembered(self, ledger: Ledger, url: str) -> None:
        taken = ledger.reserve("alice", cost("0.3", "1e-6"), round_id="r1", participants=["b", "a"])
        assert (taken.status, taken.charge["epsilon"], taken.participants) == ("reserved", Fraction(3, 10), 2)
        status = ledger.status("alice")
        assert (status.held["epsilon"], status.spent["epsilon"], status.open) == (Fraction(3, 10), 0, 1)
        done = ledger.commit(taken, cost("0.2", "1e-6"), participants=["a"])
        assert (done.status, done.charge["epsilon"], done.participants) == ("committed", Fraction(1, 5), 1)
        with Ledger.open(url) as again:
            status = again.status("alice")
            assert (status.left["epsilon"], status.left["delta"]) == (Fraction(4, 5), Fraction(9, 10**6))
            assert (status.epsilon, status.open, status.fraction_taken) == (0.2, 0, 0.2)
            assert [record.kind for record in again.history("alice")] == ["create", "reserve", "commit"]
            assert [view.participant for view in again.participants("alice")] == ["a"]
            assert again.participant("alice", "b").epsilon == 0
            assert again.budgets() == ["alice"]
            assert again.verify().records == 3

    def test_what_exceeds_is_refused_with_what_is_left(self, ledger: Ledger) -> None:
        ledger.reserve("alice", cost("0.75"), round_id="held")
        with pytest.raises(
            BudgetExceededError, match=r"asked epsilon 0\.26.*left epsilon 0\.25.*ask for less.*1 open"
        ) as caught:
            ledger.reserve("alice", cost("0.26"), round_id="more")
        error = caught.value
        assert (error.budget, error.asked["epsilon"], error.left["epsilon"], error.limit["epsilon"]) == (
            "alice",
            Fraction(26, 100),
            Fraction(1, 4),
            1,
        )
        with pytest.raises(BudgetExceededError):
            ledger.spend("alice", cost("0.1", "1.00001e-5"), round_id="delta")
        ledger.spend("alice", cost("0.25", "1e-5"), round_id="exactly")
        with pytest.raises(BudgetExceededError, match="it is spent: stop here"):
            ledger.spend("alice", cost("1e-30"), round_id="least")
        assert len(ledger.history()) == 4

    def test_small_spends_add_up_exactly(self, ledger: Ledger) -> None:
        for i in range(10):
            ledger.spend("alice", cost("0.1"), round_id=str(i))
        assert ledger.status("alice").left["epsilon"] == 0
        # The same as floats: ten times the float 0.1 is a little more than 1, and rounding never favours the spender.
        ledger.create(Budget("floats", 1.0, adjacency=ADD))
        for i in range(9):
            ledger.spend("floats", cost(0.1), round_id=str(i))
        with pytest.raises(BudgetExceededError):
            ledger.spend("floats", cost(0.1), round_id="10")

    def test_calls_can_be_repeated_but_not_changed(self, ledger: Ledger) -> None:
        first = ledger.reserve("alice", cost("0.3"), round_id="r", participants=["a", "b"])
        assert ledger.reserve("alice", cost("0.30"), round_id="r", participants=["b", "a"], again=True) == first
        assert ledger.reserve("alice", cost("0.1"), round_id="never begun", again=True).status == "reserved"
        ledger.release(ledger.reservation("alice", "never begun"))
        for other, people in ((cost("0.2"), ["a", "b"]), (cost("0.3"), ["a"]), (cost("0.3", "1e-9"), ["a", "b"])):
            with pytest.raises(LedgerConflictError, match="new id"):
                ledger.reserve("alice", other, round_id="r", participants=people)
        done = ledger.commit(first, cost("0.1"))
        assert ledger.commit(first, cost("0.1")) == done
        for wrong in (
            lambda: ledger.commit(first),
            lambda: ledger.commit(first, cost("0.1"), participants=["a"]),
            lambda: ledger.release(first),
            lambda: ledger.resolve(first, spent=True, reason="again"),
            lambda: ledger.reserve("alice", cost("0.3"), round_id="r", participants=["a", "b"], again=True),
        ):
            with pytest.raises(LedgerConflictError):
                wrong()
        spent = ledger.spend("alice", cost("0.1"), round_id="s")
        assert ledger.spend("alice", cost("0.1"), round_id="s", again=True) == spent
        assert ledger.status("alice").spent["epsilon"] == Fraction(1, 5)
        assert ledger.create(Budget("alice", "1.0", "0.00001", adjacency=ADD, kind=Kind.DATA_SUBJECT)).open == 0
        with pytest.raises(LedgerConflictError, match="other terms"):
            ledger.create(Budget("alice", "2", "1e-5", adjacency=ADD, kind=Kind.DATA_SUBJECT))

    def test_two_runs_under_one_id_are_not_charged_once(self, ledger: Ledger) -> None:
        ledger.spend("alice", cost("0.1"), round_id="s")
        ledger.reserve("alice", cost("0.1"), round_id="r")
        for call in (ledger.spend, ledger.reserve):
            for name in ("r", "s"):
                with pytest.raises(LedgerConflictError, match=r"takes a new id; if this repeats .*again=True"):
                    call("alice", cost("0.1"), round_id=name)
        assert ledger.status("alice").left["epsilon"] == Fraction(4, 5)

    def test_a_clock_far_ahead_changes_nothing(self, ledger: Ledger, clock: Clock, url: str) -> None:
        ledger.create(Budget("short", 1, adjacency=ADD, expires=START + timedelta(days=60)))
        clock.now = START + timedelta(days=31, microseconds=1)
        taken = ledger.history()[-1]
        for call in (
            lambda: ledger.spend("short", cost("0.1"), round_id="r"),
            lambda: ledger.create(Budget("late", 1, adjacency=ADD)),
        ):
            with pytest.raises(LedgerClockError, match=r"2026-04-01 12:00 UTC.*2026-03-01 12:00.*trust_clock"):
                call()
        assert ledger.history() == [*ledger.history()[:-1], taken]
        clock.now = START + timedelta(days=31)
        ledger.spend("short", cost("0.1"), round_id="r")
        clock.now = START + timedelta(days=100)
        with Ledger.open(url, clock=clock, trust_clock=True) as trusting:
            trusting.spend("alice", cost("0.1"), round_id="r")
        ledger.spend("alice", cost("0.1"), round_id="s")

    def test_a_head_that_was_kept_shows_an_older_trail(self, ledger: Ledger, url: str) -> None:
        heads = [ledger.head()]
        for i in range(3):
            ledger.spend("alice", cost("0.1"), round_id=str(i))
            heads.append(ledger.head())
        for head in ("0:" + "00" * 32, *heads):
            Ledger.open(url, expected_head=head).close()
        assert ledger.verify().head == heads[-1]
        number, digest = heads[2].split(":")
        wrong = {
            f"8:{digest}": "ends with record 7, the head that you kept names 8",
            f"{number}:{'ab' * 32}": "another hash than the head that you kept",
        }
        for head, words in wrong.items():
            with pytest.raises(LedgerCorruptError, match=words):
                Ledger.open(url, expected_head=head)
        for nonsense in ("7", f"0:{digest}", 7, b"7"):
            with pytest.raises(PrivacyParameterError, match="a head is"):
                Ledger.open(url, expected_head=nonsense)  # type: ignore[arg-type]

    def test_a_backup_is_of_one_moment_and_restores(self, ledger: Ledger, url: str, tmp_path: Path) -> None:
        ledger.create(Budget("monthly", 1, adjacency=ADD, renews=timedelta(days=30)))
        taken = ledger.reserve("alice", cost("0.3"), round_id="r", participants=["a", "b"])
        ledger.commit(taken, participants=["b"])
        ledger.release(ledger.reserve("monthly", cost("0.3"), round_id="s", participants=["a"]))
        ledger.reserve("alice", cost("0.1"), round_id="open", participants=["c"])
        copy, third = tmp_path / "copy.db", tmp_path / "third.db"
        found = ledger.backup(str(copy))
        assert (found, found.head) == (ledger.verify(), ledger.head())
        assert copy.stat().st_mode & 0o777 == 0o600
        ledger.spend("alice", cost("0.1"), round_id="later")
        with Ledger.open(str(copy), expected_head=found.head) as copied:
            assert copied.verify() == found
            assert copied.history() == ledger.history()[:-2]
            assert copied.participants("alice") == ledger.participants("alice")
            assert copied.backup(str(third)) == found
        for place in (str(copy), url):
            with pytest.raises(LedgerConflictError, match="holds a ledger already"):
                ledger.backup(place)
        self.tamper(url, "UPDATE ledger_participants SET counted = 1 WHERE participant = 'a'")
        with pytest.raises(LedgerCorruptError):
            ledger.backup(str(tmp_path / "fourth.db"))

    def test_all_periods_together_are_told(self, ledger: Ledger, clock: Clock) -> None:
        ledger.create(Budget("daily", 1, "1e-6", adjacency=ADD, renews=timedelta(days=1)))
        nothing = ledger.lifetime("daily")
        assert (nothing.periods, nothing.epsilon, nothing.spent["epsilon"]) == (0, 0.0, 0)
        for day in range(4):
            clock.now = START + timedelta(days=2 * day)
            ledger.spend("daily", cost("0.75", "1e-7"), round_id=str(day))
        ledger.reserve("daily", cost("0.25"), round_id="open")
        whole = ledger.lifetime("daily")
        assert (whole.budget, whole.periods, whole.spent["epsilon"], whole.held["epsilon"]) == (
            "daily",
            4,
            3,
            Fraction(1, 4),
        )
        assert whole.epsilon == 3.25
        assert Fraction("4e-7") <= Fraction(whole.delta) <= Fraction("4.000000000000001e-7")
        assert ledger.status("daily").spent["epsilon"] == Fraction(3, 4)

    def test_each_record_is_parsed_about_once(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        import json

        for i in range(30):
            taken = ledger.reserve("alice", cost("0.01", f"1e-{20 + i}"), round_id=str(i), participants=["a"])
            ledger.commit(taken, cost("0.005", f"1e-{20 + i}"))
        parsed: list[str] = []
        loads = json.loads

        def counting(text: str, *more: Any, **options: Any) -> Any:
            parsed.append(text)
            return loads(text, *more, **options)

        monkeypatch.setattr(json, "loads", counting)
        records = ledger.verify().records
        assert len(parsed) <= records

    def test_numpy_scalars_are_taken_and_look_alikes_refused(self, ledger: Ledger, url: str) -> None:
        import numpy as np

        ledger.create(
            Budget("numbers", np.float64(4), np.float32(0.125), adjacency=ADD, composition="renyi", order=np.int64(8))
        )
        Ledger.open(url, busy_seconds=np.float32(3), create=np.bool_(False)).close()  # type: ignore[arg-type]
        taken = ledger.reserve("alice", cost(np.float64(0.25)), round_id=np.str_("r"), participants=[np.str_("a")])
        assert ledger.resolve(taken, spent=np.bool_(True), reason="seen").status == "committed"  # type: ignore[arg-type]
        assert len(ledger.history(last=np.int64(2))) == 2  # type: ignore[arg-type]
        ledger.verify()
        for words, wrong in {
            "busy_seconds": lambda: Ledger.open(url, busy_seconds="3"),  # type: ignore[arg-type]
            "busy_seconds = 0": lambda: Ledger.open(url, busy_seconds=0),
            "busy_seconds must": lambda: Ledger.open(url, busy_seconds=True),
            r"busy_seconds = 2592000 .*below 2147483\.648 ": lambda: Ledger.open(url, busy_seconds=30 * 86_400),
            "busy_seconds = nan": lambda: Ledger.open(url, busy_seconds=float("nan")),
            "create": lambda: Ledger.open(url, create="no"),  # type: ignore[arg-type]
            "trust_clock": lambda: Ledger.open(url, trust_clock=1),  # type: ignore[arg-type]
            "synchronous_standby": lambda: Ledger.open(url, synchronous_standby=None),  # type: ignore[arg-type]
            "spent = 'no'": lambda: ledger.resolve(taken, spent="no", reason="seen"),  # type: ignore[arg-type]
            "again": lambda: ledger.reserve("alice", cost(1), round_id="s", again=0),  # type: ignore[arg-type]
            "last = 2.5": lambda: ledger.history(last=2.5),  # type: ignore[arg-type]
            "last = True": lambda: ledger.history(last=True),
            "last = -1": lambda: ledger.history(last=-1),
            "reason": lambda: ledger.release(taken, 0),  # type: ignore[arg-type]
            "epsilon must": lambda: Budget("x", True, adjacency=ADD),
            "order": lambda: Budget("x", 1, "1e-6", adjacency=ADD, composition="renyi", order=True),
            "order must be a real number, not str": lambda: Budget(
                "x", 1, "1e-6", adjacency=ADD, composition="renyi", order="8"
            ),  # type: ignore[arg-type]
            "participants": lambda: ledger.reserve("alice", cost(1), round_id="s", participants=3),  # type: ignore[arg-type]
            "renews": lambda: Budget("x", 1, adjacency=ADD, renews=30),  # type: ignore[arg-type]
            "budget": lambda: ledger.create("x"),  # type: ignore[arg-type]
            "reservation": lambda: ledger.commit("r"),  # type: ignore[arg-type]
        }.items():
            with pytest.raises(PrivacyParameterError, match=words):
                wrong()

    def test_a_released_round_costs_nothing_and_does_not_run_again(self, ledger: Ledger) -> None:
        taken = ledger.reserve("alice", cost(1), round_id="r", participants=["a"])
        gone = ledger.release(taken, "nobody came")
        assert (gone.status, gone.reason, ledger.release(taken, "nobody came")) == ("released", "nobody came", gone)
        assert ledger.status("alice").left["epsilon"] == 1
        assert ledger.participant("alice", "a").epsilon == 0
        for wrong in (
            lambda: ledger.commit(taken),
            lambda: ledger.release(taken, "another reason"),
            lambda: ledger.reserve("alice", cost(1), round_id="r", participants=["a"]),
            lambda: ledger.spend("alice", cost(1), round_id="r", participants=["a"]),
        ):
            with pytest.raises(LedgerConflictError):
                wrong()

    def test_an_orphan_counts_as_spent_until_someone_resolves_it(self, ledger: Ledger, clock: Clock, url: str) -> None:
        ledger.reserve("alice", cost("0.6"), round_id="died", participants=["a"])
        ledger.reserve("alice", cost("0.4"), round_id="died too")
        with Ledger.open(url, clock=clock) as later:
            with pytest.raises(BudgetExceededError):
                later.spend("alice", cost("0.1"), round_id="next")
            told = Fraction(later.participant("alice", "a").epsilon)
            assert Fraction("0.6") <= told <= Fraction("0.6000000000000002")
            orphans = later.open_reservations("alice")
            assert [orphan.round_id for orphan in orphans] == ["died", "died too"]
            with pytest.raises(PrivacyParameterError, match="reason"):
                later.resolve(orphans[0], spent=False, reason="")
            assert later.resolve(orphans[0], spent=False, reason="no one was invited").status == "released"
            assert later.resolve(orphans[1], spent=True, reason="the sum was seen").status == "committed"
            assert later.status("alice").left["epsilon"] == Fraction(3, 5)
            assert later.open_reservations("alice") == []
            later.verify()

    def test_more_than_reserved_is_never_committed(self, ledger: Ledger) -> None:
        taken = ledger.reserve("alice", cost("0.3"), round_id="r", participants=["a"])
        for actual in (cost("0.31"), cost("0.3", "1e-9")):
            with pytest.raises(PrivacyParameterError, match="do not publish"):
                ledger.commit(taken, actual)
        with pytest.raises(PrivacyParameterError, match="'c' was not reserved for"):
            ledger.commit(taken, participants=["a", "c"])
        assert ledger.status("alice").open == 1

    def test_neighbours_do_not_mix(self, ledger: Ledger) -> None:
        with pytest.raises(PrivacyParameterError, match="replace-one adjacency, budget 'alice' for add-remove"):
            ledger.reserve("alice", Cost("0.1", adjacency=REPLACE), round_id="r")
        taken = ledger.reserve("alice", cost("0.1"), round_id="r")
        with pytest.raises(PrivacyParameterError, match="replace-one"):
            ledger.commit(taken, Cost("0.1", adjacency=REPLACE))

    def test_pure_events_add_up_and_others_must_be_stated(self, ledger: Ledger) -> None:
        ledger.spend("alice", Repeated(LaplaceEvent(10.0, ADD, 3), 2), round_id="laplace")
        ledger.spend("alice", ApproximateEvent(0.25, 1e-6, ADD), round_id="approximate")
        assert ledger.status("alice").left["epsilon"] == Fraction(55, 100)
        with pytest.raises(PrivacyParameterError, match="cannot count GaussianEvent"):
            ledger.spend("alice", GaussianEvent(5.0, ADD), round_id="gaussian")

    def test_unknown_names_are_told(self, ledger: Ledger) -> None:
        for wrong in (
            lambda: ledger.status("bob"),
            lambda: ledger.reserve("bob", cost(1), round_id="r"),
            lambda: ledger.reservation("alice", "r"),
            lambda: ledger.history("bob"),
        ):
            with pytest.raises(UnknownBudgetError):
                wrong()

    @pytest.mark.parametrize("name", ["", " x", "x\n", "a\x1b[31m", "e\u0301", "x" * 201, "\ud800", "a\u202eb"])
    def test_names_are_safe_to_print_and_have_one_spelling(self, ledger: Ledger, name: str) -> None:
        for wrong in (
            lambda: ledger.reserve("alice", cost("0.1"), round_id=name),
            lambda: ledger.reserve("alice", cost("0.1"), round_id="r", participants=[name]),
            lambda: Budget(name, 1, adjacency=ADD),
        ):
            with pytest.raises(PrivacyParameterError, match="visible"):
                wrong()

    def test_names_may_be_in_any_language(self, ledger: Ledger) -> None:
        ledger.create(Budget("Ærøskøbing 研究 :x 'q' \"d\" %s", 1, adjacency=ADD))
        ledger.spend(ledger.budgets()[1], cost(1), round_id="тур", participants=["žofie", "zo"])
        assert [view.participant for view in ledger.participants(ledger.budgets()[1])] == ["zo", "žofie"]
        ledger.verify()

    def test_a_budget_renews_and_the_past_stays(self, ledger: Ledger, clock: Clock) -> None:
        ledger.create(Budget("monthly", 1, adjacency=ADD, renews=timedelta(days=30)))
        late = ledger.reserve("monthly", cost(1), round_id="march")
        with pytest.raises(BudgetExceededError, match="renewal at 2026-03-31"):
            ledger.reserve("monthly", cost("0.1"), round_id="early")
        clock.now = START + timedelta(days=30)
        status = ledger.status("monthly")
        assert (status.period, status.left["epsilon"], status.open) == (1, 1, 0)
        ledger.spend("monthly", cost("0.7"), round_id="april")
        assert [entry.round_id for entry in ledger.open_reservations("monthly")] == ["march"]
        # What was reserved in March is charged to March.
        ledger.commit(late, cost("0.5"))
        assert ledger.status("monthly").left["epsilon"] == Fraction(3, 10)
        ledger.verify()

    def test_a_clock_that_is_set_back_gives_nothing_back(self, ledger: Ledger, clock: Clock) -> None:
        ledger.create(Budget("daily", 1, adjacency=ADD, renews=timedelta(days=1)))
        clock.now = START + timedelta(days=1)
        ledger.spend("daily", cost(1), round_id="today")
        clock.now = START
        assert ledger.status("daily").period == 1
        with pytest.raises(BudgetExceededError):
            ledger.spend("daily", cost(1), round_id="yesterday")
        times = [record.time for record in ledger.history()]
        assert times == sorted(times)
        clock.now = datetime(2026, 3, 1, 12)
        with pytest.raises(PrivacyParameterError, match="time zone"):
            ledger.status("daily")

    def test_an_expired_budget_ends_what_it_began(self, ledger: Ledger, clock: Clock) -> None:
        ledger.create(Budget("short", 1, adjacency=ADD, expires=START + timedelta(hours=1)))
        taken = ledger.reserve("short", cost("0.5"), round_id="in time")
        clock.now = START + timedelta(hours=1)
        assert ledger.status("short").expired
        with pytest.raises(BudgetExpiredError, match="2026-03-01 13:00"):
            ledger.reserve("short", cost("0.5"), round_id="late")
        assert ledger.commit(taken).status == ReservationStatus.COMMITTED

    def test_renyi_budgets_take_all_events_and_keep_their_limit(self, ledger: Ledger) -> None:
        ledger.create(Budget("renyi", 4, 1e-5, adjacency=ADD, composition=Composition.RENYI))
        events: list[Event] = [GaussianEvent(5.0, ADD), LaplaceEvent(9.0, ADD, 1), ApproximateEvent(0.1, 0.0, ADD)]
        done: list[Event] = []
        for i in range(200):
            try:
                ledger.spend("renyi", events[i % 3], round_id=str(i))
            except BudgetExceededError as error:
                assert set(error.asked) == {"divergence"}  # noqa: PT017 - the loop ends here
                break
            done.append(events[i % 3])
        assert 20 < len(done) < 200
        # All together are within the limit by an accountant that knows nothing of the ledger.
        from dp.events import Composed

        assert epsilon_of(Composed(tuple(done)), 1e-5) <= 4
        assert 3 < ledger.status("renyi").epsilon <= 4
        with pytest.raises(PrivacyParameterError, match="reserve the event"):
            ledger.spend("renyi", cost("0.1", "1e-9"), round_id="approximate")
        ledger.create(Budget("sampled", 1, 1e-5, adjacency=ADD, composition=Composition.RENYI, order=16))
        ledger.spend("sampled", PoissonSampled(0.01, GaussianEvent(2.0, ADD)), round_id="0")
        assert 0 < ledger.status("sampled").spent["divergence"] < Fraction(1, 100)

    def test_a_renyi_budget_is_as_tight_as_zcdp_and_rejects_one_release_more(self, ledger: Ledger) -> None:
        from dp.zcdp import zcdp_rho

        ledger.create(Budget("many", 2, 1e-6, adjacency=ADD, composition=Composition.RENYI))
        fits = int(zcdp_rho(2, 1e-6) / (0.5 / 20.0**2))
        limit = ledger.status("many").limit["divergence"]
        one = ledger.spend("many", GaussianEvent(20.0, ADD), round_id="one").charge["divergence"]
        assert 0.98 * fits <= limit // one <= fits

    def test_a_budget_of_releases_takes_no_other_kind_of_release_for_the_planned_one(self, ledger: Ledger) -> None:
        # Alone it costs less at the budget's delta; 44 of them cost 192 where 44 of the planned ones cost 50.
        planned = GaussianEvent(1.0, ADD)
        ledger.create(Budget("gaussian", 50, 1e-5, adjacency=ADD, composition=Composition.RELEASES, event=planned))
        taken = ledger.reserve("gaussian", planned, round_id="0")
        other = ApproximateEvent(0.999 * epsilon_of(planned, 1e-5), 0.0, ADD)
        assert epsilon_of(other, 1e-5) < epsilon_of(planned, 1e-5)
        assert epsilon_of(Repeated(other, 44), 1e-5) > 3 * epsilon_of(Repeated(planned, 44), 1e-5)
        for wrong in (other, Repeated(GaussianEvent(2.0, ADD), 2)):
            with pytest.raises(PrivacyParameterError, match="do not release"):
                ledger.commit(taken, wrong)
        assert ledger.status("gaussian").open == 1

    def test_a_budget_of_releases_takes_more_clients_noise_and_no_less(self, ledger: Ledger) -> None:
        def summed(clients: int, sigma: float = 4.0) -> Event:
            return SummedDiscreteGaussianEvent(sigma, clients, 8.0, 8.0, 4, ADD)

        terms = {"adjacency": ADD, "composition": Composition.RELEASES, "event": summed(10)}
        ledger.create(Budget("rounds", 8, 1e-5, **terms))
        taken = ledger.reserve("rounds", summed(10), round_id="0")
        for wrong in (summed(9), summed(10, 3.9), summed(11, 3.9)):
            with pytest.raises(PrivacyParameterError, match="do not release"):
                ledger.commit(taken, wrong)
        assert ledger.commit(taken, summed(12)).cost == summed(12)

    def test_a_budget_of_releases_counts_what_loss_distributions_allow(self, ledger: Ledger) -> None:
        event = GaussianEvent(5.0, ADD)
        ledger.create(Budget("planned", 1.5, 1e-5, adjacency=ADD, composition=Composition.RELEASES, event=event))
        most = int(ledger.status("planned").limit["releases"])
        assert epsilon_of(Repeated(event, most), 1e-5) <= 1.5 < epsilon_of(Repeated(event, most + 1), 1e-5)
        taken = ledger.reserve("planned", event, round_id="0")
        with pytest.raises(PrivacyParameterError, match="do not release"):
            ledger.commit(taken, GaussianEvent(4.9, ADD))
        done = ledger.commit(taken, GaussianEvent(5.1, ADD))
        assert (done.cost, done.charge["releases"]) == (GaussianEvent(5.1, ADD), 1)
        ledger.spend("planned", Repeated(event, most - 1), round_id="rest")
        assert ledger.status("planned").epsilon == epsilon_of(Repeated(event, most), 1e-5)
        with pytest.raises(BudgetExceededError):
            ledger.spend("planned", event, round_id="more")
        with pytest.raises(PrivacyParameterError, match="reserve the planned event"):
            ledger.spend("planned", GaussianEvent(6.0, ADD), round_id="other")
        ledger.verify()

    def test_a_ledger_must_be_there_unless_it_is_to_be_made(self, url: str) -> None:
        with pytest.raises(LedgerError, match="there is no ledger"):
            Ledger.open(url)
        Ledger.open(url, create=True).close()
        with Ledger.open(url) as ledger:
            assert (ledger.budgets(), ledger.verify().records) == ([], 0)

    def test_a_kept_head_shows_what_was_cut_off(self, ledger: Ledger, url: str) -> None:
        for i in range(4):
            ledger.spend("alice", cost("0.1"), round_id=str(i))
        early, head = "1:" + ledger.history()[0].hash, ledger.verify().head
        assert (ledger.verify(head).head, ledger.verify(early).head) == (head, head)
        # A forger who can write everything cuts the end so that nothing contradicts itself; only the kept head tells.
        last = ledger.history()[-3]
        self.tamper(url, "DELETE FROM ledger_records WHERE seq > 7")
        self.tamper(url, f"UPDATE ledger_head SET seq = 7, hash = '{last.hash}'")  # noqa: S608
        self.tamper(url, "UPDATE ledger_accounts SET seq = 7")
        assert ledger.verify().records == 7
        with pytest.raises(LedgerCorruptError, match="cut off"):
            ledger.verify(head)
        with pytest.raises(LedgerCorruptError, match="another hash"):
            ledger.verify("7:" + "0" * 64)
        for nonsense in ("", "7", "7:zz", "0:" + "1" * 64, f"{head} "):
            with pytest.raises(PrivacyParameterError):
                ledger.verify(nonsense)

    TAMPERING: ClassVar = {
        "payload": "UPDATE ledger_records SET payload = replace(payload, '0.3', '0.1') WHERE seq = 4",
        "charge in the last": "UPDATE ledger_records SET payload = replace(payload, '0.3', '0.1') WHERE seq = 5",
        "budget's terms": "UPDATE ledger_records SET payload = replace(payload, '\"1\"', '\"9\"') WHERE seq = 1",
        "kind": "UPDATE ledger_records SET kind = 'release' WHERE seq = 5",
        "time": "UPDATE ledger_records SET time = time - 1 WHERE seq = 2",
        "period": "UPDATE ledger_records SET period = 1 WHERE seq = 5",
        "phase": "UPDATE ledger_records SET phase = 'gone' WHERE seq = 3",
        "hash": "UPDATE ledger_records SET hash = previous WHERE seq = 3",
        "deleted": "DELETE FROM ledger_records WHERE seq = 3",
        "last deleted": "DELETE FROM ledger_records WHERE seq = 5",
        "all deleted": "DELETE FROM ledger_records",
        "reordered": "UPDATE ledger_records SET seq = CASE seq WHEN 2 THEN 13 ELSE 12 END WHERE seq IN (2, 3)",
        "head": "UPDATE ledger_head SET seq = 4",
        "head's hash": "UPDATE ledger_head SET hash = 'x'",
        "no head": "DELETE FROM ledger_head",
        "account": "UPDATE ledger_accounts SET seq = 3",
        "no account": "DELETE FROM ledger_accounts",
        "participant": "UPDATE ledger_participants SET participant = 'z' WHERE participant = 'a'",
        "no participants": "DELETE FROM ledger_participants",
        "not counted": "UPDATE ledger_participants SET counted = 0",
        "marked otherwise": "UPDATE ledger_participants SET counted = 2 WHERE participant = 'b'",
        "strange participant": "INSERT INTO ledger_participants VALUES ('alice', 'never', 'z', 1)",
    }
    """What a careless or malicious hand may do; every one must show in `verify`."""

    SEEN_BY_SPENDS: ClassVar = {
        "charge in the last", "budget's terms", "last deleted", "all deleted", "head", "head's hash", "no head",
        "account", "no account", "kind", "period",
    }  # fmt: skip
    """Those that concern what a spend rests on must stop it, too."""

    @pytest.mark.parametrize("what", sorted(TAMPERING))
    def test_tampering_shows(self, ledger: Ledger, url: str, what: str) -> None:
        ledger.spend("alice", cost("0.2"), round_id="one", participants=["a", "b"])
        ledger.spend("alice", cost("0.3"), round_id="two", participants=["a"])
        ledger.verify()
        self.tamper(url, self.TAMPERING[what])
        with pytest.raises(LedgerError) as caught:
            ledger.verify()
        assert isinstance(caught.value, LedgerCorruptError)
        if what in self.SEEN_BY_SPENDS:
            with pytest.raises((LedgerCorruptError, UnknownBudgetError)):
                ledger.spend("alice", cost("0.1"), round_id="three")

    @pytest.mark.parametrize("ending", ["open", "released", "resolved as spent"])
    def test_hiding_who_was_reserved_for_shows(self, ledger: Ledger, url: str, ending: str) -> None:
        # No hash need be forged for it: the marks are not in the records.
        taken = ledger.reserve("alice", cost("0.2"), round_id="one", participants=["a", "b"])
        if ending == "released":
            ledger.release(taken)
        elif ending != "open":
            ledger.resolve(taken, spent=True, reason="nobody knows")
        ledger.verify()
        self.tamper(url, "UPDATE ledger_participants SET counted = 0 WHERE participant = 'a'")
        with pytest.raises(LedgerCorruptError, match="participants of round 'one'"):
            ledger.verify()

    def test_another_format_is_refused(self, ledger: Ledger, url: str) -> None:
        self.tamper(url, "UPDATE ledger_head SET format = 2")
        with pytest.raises(LedgerError, match="format 2"):
            Ledger.open(url)

    def test_a_transaction_that_fails_leaves_nothing(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        from dp.ledger.book import Book

        before = ledger.status("alice")

        def fail(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Book, "enrol", fail)  # after the record was written, before the end of the transaction
        with pytest.raises(KeyboardInterrupt):
            ledger.reserve("alice", cost("0.5"), round_id="r", participants=["a"])
        monkeypatch.undo()
        assert ledger.status("alice") == before
        ledger.verify()

    def test_threads_may_share_a_ledger(self, ledger: Ledger) -> None:
        from concurrent.futures import ThreadPoolExecutor

        def spend(i: int) -> Reservation | None:
            try:
                return ledger.spend("alice", cost("0.1"), round_id=str(i))
            except BudgetExceededError:
                return None

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(spend, range(16)))
        assert sum(result is not None for result in results) == 10
        ledger.verify()


def sqlite_tamper(path: str, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()
