"""The store: many answers become few commits; what is no store, damaged or locked is a named error."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, event, text, update

from protocols.core.participants import Participants
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.service.deadlines import Deadlines
from protocols.service.deliveries import Delivery, Kept
from protocols.service.desk import Desk
from protocols.service.errors import (
    DamagedStoreError,
    ReplayedRequestError,
    ServiceError,
    StoreBusyError,
    StoreError,
    UnknownSessionError,
)
from protocols.service.jobs import prepared, read_orders, summing
from protocols.service.members import Members
from protocols.service.owning import Owner
from protocols.service.sessions import Orders, Payment, SessionSpec, Terms, read_terms
from protocols.service.showing import session_shown
from protocols.service.store import LETTERS_A_SECOND, Store
from protocols.service.tables import CONTENTS, SESSIONS
from protocols.statistics.release import ReleasePolicy
from secagg.errors import ParameterError, SecAggError
from secagg.signatures import Identity
from tests.dp.postgres_server import execute

from .desk_parties import NAMES, sum_of_seven


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with_tables = Store(url, create=True)
    yield with_tables
    with_tables.close()


def opened(store: Store, spec: SessionSpec | None = None) -> str:
    new = prepared(spec or sum_of_seven())
    store.add(new)
    return new.session


def test_a_thousand_answers_at_once_are_few_commits(url: str, store: Store) -> None:
    names = Participants.numbered(1000)
    session = opened(store, summing("many", [IntegerVector("v", 3)], ThreatModel(1000), names))
    commits: list[int] = []
    event.listen(store._writer, "commit", lambda connection: commits.append(1))

    async def play() -> None:
        desk = Desk(store, patience=0.001, workers=1)
        await asyncio.gather(*(desk.deliver(name, session, bytes(100), nonce=b"n" * 16) for name in names))
        desk.close()

    asyncio.run(play())
    with store.read() as connection:
        count = connection.execute(text("SELECT count(*), count(DISTINCT sender) FROM service_inbox")).one()
    assert tuple(count) == (1000, 1000)
    assert len(commits) <= 10


def test_one_answer_that_is_turned_away_leaves_the_others_in(store: Store) -> None:
    session = opened(store)
    first, second, third = NAMES.names[:3]
    good = Delivery(first, session, b"1", b"a")
    taken = store.take(
        [
            good,
            Delivery(second, session, b"2", b"a"),
            Delivery(second, session, b"3", b"a"),  # its nonce was used in the same commit
            Delivery(third, "00" * 32, b"4", b"c"),
            Delivery("a stranger", session, b"5", b"d"),
            Delivery(third, session, b"6"),
            Delivery(third, session, b"6"),
        ]
    )
    kinds = [type(each).__name__ for each in taken]
    assert kinds == ["Kept", "Kept", "ReplayedRequestError", "UnknownSessionError", "NotInvitedError", "Kept", "Kept"]
    assert [each.new for each in taken if isinstance(each, Kept)] == [True, True, True, False]
    again = store.take([good, Delivery(first, session, b"1", b"b")])
    assert isinstance(again[0], ReplayedRequestError)
    assert isinstance(again[1], Kept)
    assert not again[1].new
    with store.write() as connection:
        assert store.use_nonce(connection, first, b"z")
        assert not store.use_nonce(connection, first, b"z")
        assert not store.use_nonce(connection, first, b"a")


def test_answers_that_come_soon_after_others_wait_for_one_commit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    session, take = opened(store), store.take
    commits: list[int] = []

    def counting(deliveries: Any, standing: Any) -> Any:
        commits.append(len(deliveries))
        return take(deliveries, standing)

    monkeypatch.setattr(store, "take", counting)
    monkeypatch.setattr("protocols.service.taking.GATHER_SECONDS", 1.0)

    async def play() -> None:
        desk = Desk(store, patience=0.001, workers=1)
        await desk.deliver(NAMES.names[0], session, b"1")
        assert commits == [1]  # the first one waits for nobody
        later = []
        for name in NAMES.names[1:]:
            later.append(asyncio.create_task(desk.deliver(name, session, b"1")))
            await asyncio.sleep(0.001)
        await asyncio.gather(*later)
        desk.close()

    asyncio.run(play())
    assert commits == [1, len(NAMES) - 1]


def test_an_answer_is_not_let_in_by_a_key_that_serves_no_more(store: Store) -> None:
    session, members = opened(store), Members(store)
    (name, other), key = NAMES.names[:2], Identity.generate().public_bytes
    members.enrol(name, key, members.invite(name))
    (kept,) = store.take([Delivery(name, session, b"1", b"a", key=key)], members.turned_away)
    assert isinstance(kept, Kept)
    members.revoke(name)
    taken = store.take(
        [Delivery(name, session, b"2", b"b", key=key), Delivery(other, session, b"3", b"c")], members.turned_away
    )
    assert [type(each).__name__ for each in taken] == ["RevokedMemberError", "Kept"]
    with store.write() as connection:
        assert store.use_nonce(connection, name, b"b")


def test_nonces_and_old_letters_are_forgotten(store: Store) -> None:
    session = opened(store)
    store.take([Delivery(NAMES.names[0], session, b"1", b"a")])
    store.cancel(session, "")
    store.clear(3600.0)
    assert store.letter(NAMES.names[0], 0) is not None
    with store.write() as connection:
        assert not store.use_nonce(connection, NAMES.names[0], b"a")
        connection.execute(text("UPDATE service_nonces SET at = at - 601"))
        connection.execute(text("UPDATE service_sessions SET ended = ended - 3601"))
    store.clear(3600.0)
    assert store.letter(NAMES.names[0], 0) is None
    with store.write() as connection:
        assert store.use_nonce(connection, NAMES.names[0], b"a")


def test_numbers_of_letters_grow_and_are_given_once(url: str, store: Store) -> None:
    """Whatever becomes of the store: members ask for later ones than they have seen."""
    numbers = [int(time.time() - 60) * LETTERS_A_SECOND]  # those of a store that was there a minute ago
    for turn in range(3):
        if turn == 2:  # as in a copy that was made before all of them
            with store.write() as connection:
                back = "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'service_letters'"
                since = "SELECT setval(pg_get_serial_sequence('service_letters', 'id'), 1)"
                connection.execute(text(back if store.is_sqlite else since))
            Store(url, create=True).close()
        session = opened(store)
        store.cancel(session, "")
        letter = store.letter(NAMES.names[0], numbers[-1])
        assert letter is not None
        numbers.append(letter.sequence)
        with store.write() as connection:
            connection.execute(text("DELETE FROM service_letters"))
    assert numbers == sorted(set(numbers))


def test_others_tables_live_in_the_store(store: Store) -> None:
    metadata = MetaData()
    store.ensure(metadata)
    with pytest.raises(KeyError), store.write() as connection:  # noqa: PT012 - what was begun is undone
        connection.execute(text("UPDATE service_head SET format = 9"))
        raise KeyError
    with store.read() as connection:
        assert connection.execute(text("SELECT format FROM service_head")).scalar() == 2


def test_a_store_of_another_format_or_none(url: str, store: Store) -> None:
    with store.write() as connection:
        connection.execute(text("UPDATE service_head SET format = 1"))
    with pytest.raises(StoreError, match=r"format 1, .* let the release that made it end its sessions, then"):
        Store(url)
    with store.write() as connection:
        connection.execute(text("DROP TABLE service_head"))
    with pytest.raises(StoreError, match="no store of this service"):
        Store(url)


def test_damaged_rows_are_named(store: Store) -> None:
    session = opened(store)
    owner = Owner(store, 30.0)
    (lease,) = owner.claim(1)
    (kept,) = store.take([Delivery(NAMES.names[0], session, b"1")])
    assert isinstance(kept, Kept)
    with store.write() as connection:
        connection.execute(text("UPDATE service_inbox SET outcome = 'nonsense'"))
    with pytest.raises(DamagedStoreError, match="outcome"):
        store.outcomes([kept.key])
    with store.write() as connection:
        connection.execute(text("UPDATE service_inbox SET outcome = NULL"))
        connection.execute(text("DELETE FROM service_bodies"))
    with pytest.raises(DamagedStoreError, match="is gone"):
        owner.answers(lease, 0, 0, noted=False)
    with store.write() as connection:
        connection.execute(text("UPDATE service_sessions SET names = '[1]'"))
    with pytest.raises(DamagedStoreError, match="names"):
        owner.load(lease)
    with pytest.raises(DamagedStoreError, match="names"):
        session_shown(store, session)
    with pytest.raises(DamagedStoreError, match="orders"):
        read_orders(b"[]")


def test_terms_of_sessions_that_ended_long_ago_are_forgotten(store: Store) -> None:
    """Unless their job has still to follow from them: a payload may be as large as a model."""
    kept = [prepared(sum_of_seven(), job=job, number=0) for job in (None, "followed", "not yet", "alone")]
    recent, running = prepared(sum_of_seven()), prepared(sum_of_seven())
    for new in (*kept, recent, running):
        store.add(new, last=new.job == "alone")
    for new in (*kept, recent):
        store.cancel(new.session, "")
    store.end_job("followed", kept[1].session)
    with store.write() as connection:
        for new in kept:
            connection.execute(update(SESSIONS).where(SESSIONS.c.id == new.session).values(ended=1.0))
    store.clear(1000.0)
    left = [bool(store.row(new.session, CONTENTS.c.terms).terms) for new in (*kept, recent, running)]
    assert left == [False, False, True, False, True, True]


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with pytest.raises(StoreError, match="there is no store at"):
        Store(path)
    with pytest.raises(StoreError, match="no such folder"):
        Store(tmp_path / "nowhere" / "x.db", create=True)
    path.write_bytes(b"this is no database at all, but long enough to be read as one" * 20)
    path.chmod(0o600)
    with pytest.raises(DamagedStoreError, match="damaged"):
        Store(path)
    path.chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        Store(path)
    for wrong in ("", ":memory:", "mysql://user:hunter2@host/x", "sqlite://x", "a\0b", 7):
        with pytest.raises(ParameterError) as caught:
            Store(wrong)  # type: ignore[arg-type]
        assert "hunter2" not in str(caught.value)


def test_the_file_is_its_owners_and_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "service.db"
    store = Store(path, create=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="removed or replaced"):
        opened(store)
    store.close()


def test_a_locked_store_is_busy_and_nothing_is_done(tmp_path: Path) -> None:
    path = tmp_path / "service.db"
    store = Store(path, create=True, busy_seconds=0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError, match="try again"):
        opened(store)
    holder.execute("ROLLBACK")
    holder.close()
    with store.write(), pytest.raises(StoreBusyError):
        opened(store)
    opened(store)
    store.close()


def test_a_forked_process_opens_its_own(tmp_path: Path) -> None:
    store = Store(tmp_path / "service.db", create=True)
    store._process = os.getpid() + 1
    with pytest.raises(ServiceError, match="forked"):
        store.last_letter()
    store.close()


def test_passwords_are_never_repeated(postgres: str) -> None:
    for wrong in (
        "postgresql://user:hunter2@127.0.0.1:9/x",
        "postgresql://user:hunter2@ss@127.0.0.1:9/x",
        "postgresql://user:hunter2@127.0.0.1:port/x",
        "postgresql://user@127.0.0.1:9/x?password=hunter2",
        postgres.replace("ledger@", "nobody:hunter2@"),
    ):
        with pytest.raises(SecAggError) as caught:
            Store(wrong)
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


def test_a_connection_that_dies_is_a_named_error_and_is_replaced(postgres_url: str, postgres: str) -> None:
    store = Store(postgres_url, create=True)
    session = opened(store)
    with pytest.raises(StoreError), store.write() as connection:  # noqa: PT012
        connection.execute(text("UPDATE service_sessions SET title = 'x'"))
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        execute(postgres, f"SELECT pg_terminate_backend({pid})")
        connection.execute(text("UPDATE service_sessions SET title = 'y'"))
    with store.read() as connection:
        assert connection.execute(text("SELECT title FROM service_sessions")).scalar() == "a sum of seven"
    with pytest.raises(UnknownSessionError):
        store.part_of(NAMES.names[0], session[:-1])
    store.close()


def test_terms_are_written_in_one_way() -> None:
    terms = sum_of_seven().terms
    assert read_terms(terms.encoded) == terms
    assert "config" not in repr(terms)
    for bent in (
        terms.encoded[:-1],
        terms.encoded + b" ",
        b"",
        b"[]",
        terms.encoded.replace(b'"version":1', b'"version":2'),
        terms.encoded.replace(b'"kind":"sum"', b'"kind":"tea"'),
        terms.encoded.replace(b'"kind":"sum"', b'"kind":"statistics"'),
        terms.encoded.replace(b"site-1", b"site-2"),
        terms.encoded.replace(b'"site-1",', b""),
        terms.encoded.replace(b'"payload":""', b'"payload":"AAAA"'),
        terms.encoded.replace(b'"config":"', b'"config":"AAAA'),
        terms.encoded.replace(b'"query":""', b'"query":"AAAA"'),
        terms.encoded.replace(b'"title":"a sum of seven"', b'"title":""'),
    ):
        with pytest.raises(ParameterError):
            read_terms(bent)


def test_orders_survive_the_store() -> None:
    spec = sum_of_seven(deadlines=Deadlines(5, 0.5, 1.5, {"share-keys": Deadlines(7, 3)}))
    assert read_orders(Orders.of(spec).encoded) == Orders.of(spec)
    full = Orders(Deadlines(), ReleasePolicy(min_cell=4), Payment("b"))
    assert read_orders(full.encoded) == full


@pytest.mark.parametrize(
    "change",
    [
        {"title": ""},
        {"title": "x" * 201},
        {"title": "a\nb"},
        {"participants": None},
        {"participants": Participants.numbered(3)},
        {"config": "no config"},
        {"payload": b"x"},
        {"release": ReleasePolicy()},
        {"payment": Payment("b")},
        {"kind": "statistics"},
        {"deadlines": Deadlines(phases={"mask-inputs": Deadlines()})},
    ],
)
def test_sessions_that_cannot_be(change: dict[str, Any]) -> None:
    spec = sum_of_seven()
    given = {"title": "x", "config": spec.config, "participants": NAMES} | change
    with pytest.raises(ParameterError):
        SessionSpec(**given)


def test_deadlines_and_quorums() -> None:
    own = Deadlines(10, quorum=0.75, phases={"unmasking": Deadlines(2, quorum=3)})
    assert [own.enough(asked) for asked in (0, 1, 4, 7, 8)] == [0, 1, 3, 6, 6]
    assert own.of("unmasking").enough(7) == 3
    assert own.of("unmasking").enough(2) == 2
    assert own.of("masked-input") is own
    for wrong in (
        {"seconds": -1},
        {"seconds": float("nan")},
        {"quorum": 1.5},
        {"quorum": -1},
        {"quorum": 0.0},
        {"quorum": 1},
        {"quorum": True},
        {"grace": -1.0},
        {"phases": {"x": own}},
        {"phases": {"x": 3}},
    ):
        with pytest.raises(ParameterError):
            Deadlines(**wrong)  # type: ignore[arg-type]


def test_terms_show_no_payload() -> None:
    terms = Terms(1, "sum", "masking", "t", ("a",), b"secret", b"secret", b"secret", "operator")  # type: ignore[arg-type]
    assert "secret" not in repr(terms)
    assert "secret" not in repr(Delivery("a", "0f" * 32, b"secret", b"secret"))
