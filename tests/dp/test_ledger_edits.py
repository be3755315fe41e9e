"""Terms and rows that calendars, floats and readers of JSON choke on: named errors, or no error at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from dp.errors import LedgerCorruptError, LedgerError, PrivacyParameterError
from dp.events import Event, FixedSizeSampled, GaussianEvent, Repeated
from dp.ledger import Budget, Composition, Cost, Ledger
from dp.ledger.book import terms_in
from dp.ledger.records import GENESIS, Record, RecordKind, chained
from dp.ledger.urls import open_store
from dp.sensitivity import Adjacency

from ..contracts.ledger_contract import sqlite_tamper

ADD = Adjacency.ADD_REMOVE
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("epsilon", ["1e301", "1e400", 10**301, float("inf")], ids=lambda given: str(given)[:9])
@pytest.mark.parametrize("composition", ["sum", "renyi"])
def test_a_limit_that_is_no_float_is_refused(epsilon, composition):
    with pytest.raises(PrivacyParameterError, match=r"range|finite"):
        Budget("b", epsilon, "1e-6", adjacency=ADD, composition=composition)
    assert Budget("b", "1e300", "1e-6", adjacency=ADD, composition=composition).epsilon == 10**300


@pytest.mark.parametrize(
    "epsilon", [10**5000, -(10**5000), "9" * 5000, "-" + "9" * 5000, "x" * 5000, "-2\r"], ids=range(6)
)
def test_a_limit_of_many_digits_is_refused_in_few_words(epsilon):
    with pytest.raises(PrivacyParameterError) as raised:
        Budget("b", epsilon, adjacency=ADD)
    assert len(str(raised.value)) < 150
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("hours", [14, -14])
@pytest.mark.parametrize("year", [1, 9999])
def test_an_end_beyond_the_calendar_is_refused(year, hours):
    end = datetime(year, 1 if year == 1 else 12, 1 if year == 1 else 31, tzinfo=timezone(timedelta(hours=hours)))
    with pytest.raises(PrivacyParameterError, match="between 1970 and 9000"):
        Budget("b", 1, adjacency=ADD, expires=end)
    with pytest.raises(PrivacyParameterError, match="time zone"):
        Budget("b", 1, adjacency=ADD, expires="2030-12-31")


def test_a_period_that_does_not_end_in_this_calendar_has_no_renewal(tmp_path):
    with Ledger.open(str(tmp_path / "ledger.db"), create=True) as ledger:
        created = ledger.create(Budget("b", 1, adjacency=ADD, renews=timedelta(weeks=999_999)))
        assert created.renewal is None
        with pytest.raises(LedgerError, match="exceeded"):
            ledger.spend("b", Cost(2, adjacency=ADD), round_id="r")
        soon = ledger.create(Budget("c", 1, adjacency=ADD, renews=timedelta(weeks=1)))
        assert soon.renewal is not None


def test_the_largest_limit_is_kept_and_counts(tmp_path):
    with Ledger.open(str(tmp_path / "ledger.db"), create=True) as ledger:
        for composition in ("sum", "renyi"):
            ledger.create(Budget(composition, "1e300", "1e-6", adjacency=ADD, composition=composition))
            ledger.spend(composition, Cost("9e299", adjacency=ADD), round_id="r", participants=["ann"])
            with pytest.raises(LedgerError, match="exceeded"):
                ledger.spend(composition, Cost("2e299", adjacency=ADD), round_id="s")
            assert ledger.participants(composition)[0].epsilon == ledger.status(composition).epsilon
        ledger.verify()


def test_a_url_loads_no_plugin():
    with pytest.raises(PrivacyParameterError, match="plugin"):
        open_store("postgresql://host/name?plugin=anything", create=False, busy_seconds=1.0)
    with pytest.raises(PrivacyParameterError, match="cannot be shown"):
        open_store("postgresql://host\x1b/name", create=False, busy_seconds=1.0)


def record(payload: str, **changed: object) -> Record:
    bare = Record(1, 10**15, "create", "b", 0, "", payload, GENESIS, "")
    values = vars(bare) | changed
    return Record(**values | {"hash": Record(**values).computed_hash()})


PAYLOADS = ["[" * 100_000, '{"terms":' * 2000, "NaN", "[]", '"', ""]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda text: text[:9])
def test_a_payload_that_is_none_is_corrupt(payload):
    found = record(payload)
    found.check()
    with pytest.raises(LedgerCorruptError):
        found.facts()
    with pytest.raises(LedgerCorruptError):
        terms_in(found)


@pytest.mark.parametrize(
    "changed",
    [{"renews": 10**30}, {"expires": 10**30}, {"epsilon": "1" + "0" * 305}, {"event": {"type": []}}, {"renews": 1.5}],
    ids=lambda changed: str(changed)[:40],
)
def test_terms_that_nobody_can_have_written_are_corrupt(changed):
    budget = Budget("b", 1, "1e-6", adjacency=ADD, composition=Composition.RENYI)
    terms = budget.plain()
    good = json.dumps({"terms": terms, "limit": ["1"]})
    assert terms_in(record(good)).budget == budget
    with pytest.raises(LedgerCorruptError, match="holds no terms"):
        terms_in(record(json.dumps({"terms": terms | changed, "limit": ["1"]})))


def test_terms_that_are_refused_by_now_say_why():
    event = FixedSizeSampled(5, 10, GaussianEvent(9.0, Adjacency.REPLACE_ONE))
    budget = Budget("b", 9, "1e-6", adjacency="replace-one", composition="releases", event=event, unit="record")
    terms = json.loads(json.dumps(budget.plain()).replace("replace-one", "add-remove"))
    with pytest.raises(LedgerCorruptError, match=r"no terms that this version reads: .*replace-one"):
        terms_in(record(json.dumps({"terms": terms, "limit": ["1"]})))


def nested(depth: int) -> Event:
    event: Event = GaussianEvent(9.0, ADD)
    for _ in range(depth):
        event = Repeated(event, 1)
    return event


def test_events_within_events_without_end_are_refused_and_corrupt():
    budget = Budget("b", 9, "1e-6", adjacency=ADD, composition="releases", event=nested(100))
    with pytest.raises(PrivacyParameterError, match="more than 100 deep"):
        Budget("b", 9, "1e-6", adjacency=ADD, composition="releases", event=nested(101))
    terms = budget.plain()
    assert terms_in(record(json.dumps({"terms": terms, "limit": ["1"]}))).budget == budget
    deeper = terms | {"event": {"type": "Repeated", "event": terms["event"], "count": 1}}
    with pytest.raises(LedgerCorruptError, match="holds no terms"):
        terms_in(record(json.dumps({"terms": deeper, "limit": ["1"]})))


def test_a_record_that_cannot_be_hashed_carries_no_hash():
    """Its missing hash was once equal to the empty text in its place."""
    found = Record(1, -1, "create", "b", 0, "", "{}", GENESIS, "")
    assert found.computed_hash() == found.hash == ""
    with pytest.raises(LedgerCorruptError, match="own hash"):
        found.check()


def test_a_record_from_after_the_calendar_is_corrupt():
    record("{}", time=221_845_391_999_999_999).check()
    with pytest.raises(LedgerCorruptError, match="9000"):
        record("{}", time=221_845_392_000_000_000).check()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger.open(str(path), create=True, clock=lambda: START) as ledger:
        ledger.create(Budget("b", 10, adjacency=ADD))
        ledger.spend("b", Cost(1, adjacency=ADD), round_id="r", participants=["ann"])
    return path


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_participants SET participant = X'00ff'",
        "UPDATE ledger_records SET payload = X'7b7d', hash = '' WHERE seq = 3",
        "UPDATE ledger_accounts SET budget = X'62'",
    ],
)
def test_bytes_where_text_belongs_are_found(path, statement):
    sqlite_tamper(str(path), statement)
    with Ledger.open(str(path)) as ledger:
        with pytest.raises(LedgerError):
            ledger.verify()
        with pytest.raises(LedgerError):
            ledger.status("b") if "participants" not in statement else ledger.participants("b")


def test_the_audit_reads_what_the_ledger_would_tell(path):
    """A cost that cannot be read is found by the audit, and not only by whoever asks for it next."""
    with Ledger.open(str(path)) as ledger:
        create, reserve, commit = ledger.history()
        ledger.verify()
    facts = reserve.facts() | {"cost": {"type": "Cost"}}
    new = chained(create, reserve.time, RecordKind.RESERVE, "b", 0, "r", facts)
    last = chained(new, commit.time, RecordKind.COMMIT, "b", 0, "r", commit.facts())
    for each in (new, last):
        payload = each.payload.replace("'", "''")
        sqlite_tamper(
            str(path),
            f"UPDATE ledger_records SET payload = '{payload}', previous = '{each.previous}', hash = '{each.hash}' "  # noqa: S608
            f"WHERE seq = {each.seq}",
        )
    sqlite_tamper(str(path), f"UPDATE ledger_head SET hash = '{last.hash}'")  # noqa: S608
    with Ledger.open(str(path)) as ledger, pytest.raises(LedgerCorruptError, match="record 2 or its end"):
        ledger.verify()
