"""The ledger: reserve before a round, commit or release after it; what a crash left open counts as spent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from ..errors import LedgerConflictError, LedgerCorruptError, PrivacyParameterError
from ..sensitivity import Unit, check_count
from . import views
from .amounts import Amounts
from .book import Account, Book, Terms, prepare
from .budgets import Budget, as_before, check_name, to_microseconds
from .checks import (
    actual_charge,
    check_kind,
    check_participants,
    check_reason,
    check_relation,
    check_repeated,
    check_seconds,
    check_whole,
    flag,
    opened_in,
)
from .compositions import charge_of, limit_of
from .copies import copied
from .costs import Spend, to_plain
from .records import Phase, Record, RecordKind, participants_digest, spelled
from .rounds import close_round, open_round
from .store import BUSY_SECONDS, Store
from .urls import open_store
from .verification import Verified, check_head, head_of, verify
from .views import Lifetime, ParticipantView, Reservation, Status


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """Privacy budgets that survive crashes, with an audit trail; one SQLite file, or PostgreSQL for several servers.

    Every method is one transaction: when it returns, what it did is durable; when it raises, it did nothing. Where the
    database fails while it commits, it may have done all of it: repeat the call with the same id. Threads may share
    a ledger, processes must not.

    The order of a round: `reserve`; run it; `commit`; only then publish the result. If commit refuses, don't publish.
    `release` is for rounds of which nothing was revealed to anybody. If the process dies in between, the reservation
    stays and counts as spent until someone who knows what happened says so by `resolve`.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime] = _utc_now, *, trust_clock: bool = False) -> None:
        self._store = store
        self._clock = clock
        self._trust_clock = trust_clock
        self._terms: dict[str, Terms] = {}

    @classmethod
    def open(
        cls,
        url: str,
        *,
        create: bool = False,
        clock: Callable[[], datetime] = _utc_now,
        busy_seconds: float = BUSY_SECONDS,
        expected_head: str | None = None,
        synchronous_standby: bool = False,
        trust_clock: bool = False,
    ) -> Self:
        """Open a ledger.

        Args:
            url: a path or sqlite:///path (four slashes for an absolute one); postgresql://user:password@host/name
                (extra `postgres`). Give passwords by ~/.pgpass or PGPASSWORD rather than here.
            create: make file and tables if there are none. Off by default, because a lost ledger that silently starts
                anew would grant its budgets twice.
            clock: returns the present time with its time zone; decides about renewal and expiry.
            busy_seconds: how long to wait for others' transactions, threads and processes alike; below 2**31 ms.
            expected_head: what `head` has returned before, kept where the database's fate does not reach. A trail that
                does not go through it lacks spends that were acknowledged: an old backup, or a standby that took over
                before it had them.
            synchronous_standby: PostgreSQL only: refuse to write unless the server waits for a standby at each commit
                (`synchronous_standby_names`). Without one, a failover may lose spends that were acknowledged, and
                nothing within the database shows it.
            trust_clock: write, even if the clock is more than 31 days ahead of the last record. Such a clock is wrong
                more often than a ledger is idle for so long, and what it brings about stays: time never runs back.

        Raises:
            PrivacyParameterError: no URL of a ledger, or a parameter that is none.
            LedgerStorageError: no ledger there, or no durable one.
            LedgerCorruptError: the trail does not go through `expected_head`.
            MissingDependencyError: PostgreSQL without the extra `postgres`.
        """
        create, standby = flag(create, "create"), flag(synchronous_standby, "synchronous_standby")
        seconds, trust_clock = check_seconds(busy_seconds, "busy_seconds"), flag(trust_clock, "trust_clock")
        store = open_store(url, create=create, busy_seconds=seconds, synchronous_standby=standby)
        ledger = cls(store, clock, trust_clock=trust_clock)
        try:
            with store.write() if create else store.read() as tx:
                prepare(tx, create=create, name=store.name)
                if expected_head is not None:
                    check_head(Book(tx, 0), expected_head)
        except BaseException:  # an interrupt, too, must leave no connection behind
            store.close()
            raise
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Ledger {self.name}>"

    @property
    def name(self) -> str:
        """Say which database, without its password."""
        return self._store.name

    def close(self) -> None:
        """Give the database back; harmless if repeated."""
        self._store.close()

    @contextmanager
    def _writing(self) -> Iterator[Book]:
        now = to_microseconds(self._clock(), "the clock's time")
        with self._store.write() as tx:
            book = Book(tx, now)
            if not self._trust_clock:
                book.check_clock()
            yield book

    @contextmanager
    def _reading(self) -> Iterator[Book]:
        now = to_microseconds(self._clock(), "the clock's time")
        with self._store.read() as tx:
            yield Book(tx, now)

    # What changes the ledger

    def create(self, budget: Budget) -> Status:
        """Create a budget and return its status; creating it again in the same terms changes nothing.

        Raises:
            LedgerConflictError: a budget of this name has other terms.
            PrivacyParameterError: not even the smallest release would fit.
        """
        check_kind(budget, Budget, "budget")
        limit = limit_of(budget)
        with self._writing() as book:
            record = book.find(Phase.CREATE, budget.name)
            if record is None:
                nothing = (0,) * len(limit)
                account, terms = Account(0, nothing, nothing, 0), Terms(budget, limit, book.now)
                book.append(RecordKind.CREATE, terms, account, "", {"terms": budget.plain(), "limit": spelled(limit)})
            elif book.terms(budget.name).budget not in (budget, as_before(budget)):
                raise LedgerConflictError(
                    f"budget {budget.name!r} has other terms, and terms are fixed at creation; choose another name"
                )
            return self._status(book, budget.name)

    def reserve(
        self,
        budget: str,
        spend: Spend,
        *,
        round_id: str,
        participants: Collection[str] = (),
        unit: Unit | str | None = None,
        again: bool = False,
    ) -> Reservation:
        """Take what a round may cost at most out of a budget, before anything is revealed.

        Args:
            budget: the budget's name.
            spend: a `Cost`, or an event of `dp.events` that the budget's composition can count.
            round_id: unique for each run of a round, such as the session id in hex: it is the key by which a call can
                be repeated. A round that runs again, with new noise, is a new release and takes a new id.
            participants: names of those who may take part, for the per-participant view.
            unit: whose loss is to be counted, in case that the budget counts another's; None: the budget's, whichever.
            again: this repeats a call whose end is not known, for the same run of the round. Otherwise an id that was
                used before is refused: two runs under one id would be charged once.

        Returns:
            The reservation; with `again`, the one that was made before, if there is one and it is still open.

        Raises:
            BudgetExceededError: it does not fit; `asked`, `left`, `limit` say by how much.
            BudgetExpiredError: the budget's time is over.
            UnknownBudgetError: no such budget.
            LedgerConflictError: the id was used before; with `again`, for something else, or its round is over.
            PrivacyParameterError: another adjacency or unit than the budget's, or a spend that it cannot count.
            LedgerBusyError, LedgerStorageError, LedgerCorruptError: nothing was reserved.
        """
        round_id, again = check_name(round_id, "round_id"), flag(again, "again")
        facts, charge, names = self._priced(budget, spend, participants, unit)
        with self._writing() as book:
            terms = book.terms(budget)
            opened = book.find(Phase.OPEN, budget, round_id)
            if opened is None:
                opened = open_round(book, self._known(terms), charge, round_id, facts, names)
            else:
                check_repeated(opened, facts, again)
                closed = book.find(Phase.CLOSE, budget, round_id)
                if closed is not None:
                    done = views.reservation(terms, opened, closed).status
                    raise LedgerConflictError(
                        f"round {round_id!r} was {done} before; a round that runs again takes a new id"
                    )
            return views.reservation(terms, opened, None)

    def commit(
        self,
        reservation: Reservation,
        actual: Spend | None = None,
        *,
        participants: Collection[str] | None = None,
    ) -> Reservation:
        """Say that the round's result will be published; call it before publishing. Repeating it changes nothing.

        Args:
            reservation: from `reserve`, or from `reservation` after a restart.
            actual: what the round achieved, at most what was reserved; None for all of it. A budget of releases keeps
                the event, which must be the planned one with as much noise or more, and charges all that was reserved.
            participants: those whose data are in the result, among those reserved for; None for all of them.

        Raises:
            PrivacyParameterError: the actual cost exceeds the reserved one: do not publish, resolve the reservation.
            LedgerConflictError: the round was released, or committed differently.
        """
        check_kind(reservation, Reservation, "reservation")
        name, round_id = reservation.budget, reservation.round_id
        names = None if participants is None else check_participants(participants)
        with self._reading() as book:
            budget = book.terms(name).budget
        charge = None if actual is None else actual_charge(budget, actual)
        with self._writing() as book:
            terms = book.terms(name)
            opened = opened_in(book, name, round_id)
            book.check_participants(opened, counted=False)
            everyone = book.participants(name, round_id, counted=False)
            if names is not None and not set(names) <= set(everyone):
                strangers = sorted(set(names) - set(everyone))
                raise PrivacyParameterError(
                    f"{strangers[0]!r} was not reserved for; reserve for everyone who may take part"
                )
            facts = {
                "cost": None if actual is None else to_plain(actual),
                "participants": participants_digest(everyone if names is None else names),
            }
            absent = [] if names is None else sorted(set(everyone) - set(names))
            return close_round(book, terms, opened, RecordKind.COMMIT, charge, facts, absent)

    def release(self, reservation: Reservation, reason: str = "") -> Reservation:
        """Give a reservation back. Repeating it changes nothing.

        Only the round itself may, and only while it has revealed nothing to anybody: no sum was computed, published
        or seen. For reservations of rounds whose fate is unknown there is `resolve`.

        Raises:
            LedgerConflictError: the round was committed or resolved.
        """
        return self._end(reservation, RecordKind.RELEASE, spent=False, reason=check_reason(reason, needed=False))

    def resolve(self, reservation: Reservation, *, spent: bool, reason: str) -> Reservation:
        """Decide about a reservation that a crash left open: an explicit act of someone who knows, kept with a reason.

        Args:
            reservation: an open one, see `open_reservations`.
            spent: True if anything may have been revealed (all that was reserved is charged), False if surely nothing.
            reason: how this is known, 1 to 1000 visible characters.
        """
        spent = flag(spent, "spent")
        return self._end(reservation, RecordKind.RESOLVE, spent=spent, reason=check_reason(reason, needed=True))

    def spend(
        self,
        budget: str,
        spend: Spend,
        *,
        round_id: str,
        participants: Collection[str] = (),
        unit: Unit | str | None = None,
        again: bool = False,
    ) -> Reservation:
        """Reserve and commit in one transaction, before publishing; takes and raises what `reserve` does.

        With `again`, it also commits what was reserved before in the same terms, and changes nothing where the same
        was spent before.
        """
        round_id, again = check_name(round_id, "round_id"), flag(again, "again")
        facts, charge, names = self._priced(budget, spend, participants, unit)
        ending = {"cost": None, "participants": facts["participants"]}
        with self._writing() as book:
            terms = book.terms(budget)
            opened = book.find(Phase.OPEN, budget, round_id)
            if opened is None:
                opened = open_round(book, self._known(terms), charge, round_id, facts, names)
            else:
                check_repeated(opened, facts, again)
            return close_round(book, terms, opened, RecordKind.COMMIT, charge, ending, [])

    # What only asks

    def status(self, budget: str) -> Status:
        """Return what the present period has come to; its time grows neither with history nor with participants."""
        with self._reading() as book:
            return self._status(book, budget)

    def lifetime(self, budget: str, *, group: int = 1) -> Lifetime:
        """Return what all periods of a budget have come to together; its time grows with the number of periods.

        `group`: the guarantee is that of so many units together, such as the records of one family.
        """
        with self._reading() as book:
            return views.lifetime(book, book.terms(budget), check_count(group, "group"))

    def head(self) -> str:
        """Return the trail's head, "number:hash". Kept elsewhere, it shows later that the trail was cut: see `open`."""
        with self._reading() as book:
            return head_of(book)

    def budgets(self) -> list[str]:
        """Return the names of all budgets, sorted."""
        with self._reading() as book:
            return sorted(name for (name,) in book.tx.rows("SELECT budget FROM ledger_records WHERE phase = 'create'"))

    def reservation(self, budget: str, round_id: str) -> Reservation:
        """Return a round's reservation, open or closed; raise UnknownBudgetError if there is none."""
        with self._reading() as book:
            terms, opened = book.terms(budget), opened_in(book, budget, round_id)
            return views.reservation(terms, opened, book.find(Phase.CLOSE, budget, round_id))

    def open_reservations(self, budget: str) -> list[Reservation]:
        """Return the reservations that nothing has closed, oldest first: running rounds, and orphans of crashes."""
        with self._reading() as book:
            return views.open_reservations(book, book.terms(budget))

    def participants(self, budget: str) -> list[ParticipantView]:
        """Return everyone who took part in this budget's rounds, and what each has spent, open rounds included."""
        with self._reading() as book:
            return views.participants(book, book.terms(budget))

    def participant(self, budget: str, participant: str) -> ParticipantView:
        """Return what one participant took part in and has spent; nothing, if in no round."""
        with self._reading() as book:
            terms = book.terms(budget)
            found = views.participants(book, terms, only=participant)
            nothing = views.named(terms.budget.composition, (0,) * len(terms.limit))
            return found[0] if found else ParticipantView(participant, (), nothing, 0.0, 0.0)

    def history(self, budget: str | None = None, *, last: int | None = None) -> list[Record]:
        """Return the trail's records in order, of one budget or of all; only the `last` so many if given."""
        last = None if last is None else check_whole(last, "last")
        with self._reading() as book:
            if budget is not None:
                book.terms(budget)
            return book.history(budget, last)

    def verify(self, head: str | None = None) -> Verified:
        """Recompute the whole trail and all that rests on it; see `dp.ledger.verification`.

        Args:
            head: the head of an earlier verification, "number:hash", kept elsewhere: whoever can write to the database
                can rewrite a whole trail, or cut its end; only a head that he cannot reach shows it.

        Raises:
            LedgerCorruptError: the first contradiction, with its record in `seq`.
            PrivacyParameterError: `head` is no head.
        """
        with self._reading() as book:
            return verify(book, head)

    def backup(self, url: str) -> Verified:
        """Copy the whole ledger to a place where none is yet, verify the copy, and say what it holds.

        It may go on being used meanwhile: the copy is of one moment. The place may be a file or another database; a
        copy of a copy restores it. Each is a ledger with all that was left of its budgets: spend from one of them only.

        Raises:
            LedgerConflictError: there is a ledger already.
            LedgerCorruptError: this ledger contradicts itself, and is not copied.
            PrivacyParameterError, LedgerStorageError: as `open`.
        """
        with self._reading() as book:
            return copied(book, open_store(url, create=True, busy_seconds=BUSY_SECONDS))

    # The steps within a transaction

    def _status(self, book: Book, name: str) -> Status:
        terms = book.terms(name)
        period = terms.budget.period_at(terms.created, book.now)
        return views.status(terms, book.account(terms, period), book.now)

    def _priced(
        self, name: str, spend: Spend, participants: Collection[str], unit: Unit | str | None
    ) -> tuple[dict[str, Any], Amounts, list[str]]:
        """Return what a reservation's record says, computed before the lock is taken: terms never change."""
        names = check_participants(participants)
        if name not in self._terms:
            with self._reading() as book:
                self._terms[name] = book.terms(name)
        budget = self._terms[name].budget
        check_relation(budget, spend, unit)
        charge = charge_of(budget, spend)
        facts = {"cost": to_plain(spend), "charge": spelled(charge), "participants": participants_digest(names)}
        return facts, charge, names

    def _known(self, terms: Terms) -> Terms:
        if terms != self._terms.get(terms.budget.name):
            raise LedgerCorruptError(
                f"the terms of budget {terms.budget.name!r} have changed since the ledger was opened; open it anew"
            )
        return terms

    def _end(self, reservation: Reservation, kind: RecordKind, *, spent: bool, reason: str) -> Reservation:
        check_kind(reservation, Reservation, "reservation")
        with self._writing() as book:
            terms = book.terms(reservation.budget)
            opened = opened_in(book, reservation.budget, reservation.round_id)
            charge = None if spent else (0,) * len(terms.limit)
            return close_round(book, terms, opened, kind, charge, {"reason": reason, "spent": spent}, [])
