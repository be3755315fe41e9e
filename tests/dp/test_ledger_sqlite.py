"""The ledger in a file: the contract, and what files and disks can do to it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dp.errors import (
    LedgerBusyError,
    LedgerCorruptError,
    LedgerError,
    LedgerStorageError,
    MissingDependencyError,
    PrivacyParameterError,
)
from dp.ledger import Budget, Ledger
from dp.ledger.sqlite import SqliteStore
from tests.contracts.ledger_contract import ADD, LedgerContract, cost, sqlite_tamper
from tests.processes import python


class TestSqliteLedger(LedgerContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return str(tmp_path / "ledger.db")

    def tamper(self, url: str, statement: str) -> None:
        sqlite_tamper(url, statement)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with Ledger.open(str(path), create=True) as ledger:
        ledger.create(Budget("b", 10_000, "0.1", adjacency=ADD))
        ledger.spend("b", cost(1), round_id="first")
    return path


def test_the_file_is_its_owners_alone(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Ledger.open(str(path)) as ledger:
        ledger.spend("b", cost(1), round_id="second")
        for beside in path.parent.iterdir():
            assert stat.S_IMODE(beside.stat().st_mode) == 0o600, beside
    path.chmod(0o640)
    with pytest.raises(LedgerStorageError, match="chmod 600"):
        Ledger.open(str(path))


def test_commits_are_synchronised(path: Path) -> None:
    store = SqliteStore(path, create=False)
    with store.read() as tx:
        assert tx.rows("PRAGMA journal_mode") == [("wal",)]
        assert tx.rows("PRAGMA synchronous") == [(2,)]
    store.close()


@pytest.mark.parametrize(
    "url", ["", ":memory:", "sqlite://", "sqlite://relative", "sqlite:///:memory:", "file:x?mode=memory", "mysql://u:secret@h/d",
            "sqlite:///x?mode=memory", "a\0b"],
)  # fmt: skip
def test_places_that_hold_no_ledger_are_refused(url: str) -> None:
    with pytest.raises(PrivacyParameterError) as caught:
        Ledger.open(url, create=True)
    assert "secret" not in str(caught.value)


def test_urls_of_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    for url in ("ledger.db", "sqlite:///ledger.db", f"sqlite:///{path}", str(path)):
        with Ledger.open(url) as ledger:
            assert ledger.budgets() == ["b"]
            assert "ledger.db" in repr(ledger)
    with pytest.raises(LedgerStorageError, match="there is no ledger at"):
        Ledger.open("elsewhere.db")
    with pytest.raises(LedgerStorageError, match="no file"):
        Ledger.open(str(path.parent))
    with pytest.raises(LedgerStorageError, match="cannot be opened"):
        Ledger.open(str(path / "below" / "a file"), create=True)


def test_a_locked_ledger_is_busy_and_nothing_is_spent(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Ledger.open(str(path), busy_seconds=0.05) as ledger:
        with pytest.raises(LedgerBusyError, match="try again"):
            ledger.spend("b", cost(1), round_id="r")
        assert ledger.status("b").spent["epsilon"] == 1  # readers are not held up
        other.execute("ROLLBACK")
        ledger.spend("b", cost(1), round_id="r")
        assert ledger.status("b").spent["epsilon"] == 2
    other.close()


def spend_until_the_disk_is_full(ledger: Ledger) -> int:
    done = 0
    with pytest.raises(LedgerStorageError, match="cannot be used") as caught:  # noqa: PT012
        for i in range(5000):
            ledger.spend("b", cost(1), round_id=f"r{i}", participants=[f"someone {j}" for j in range(20)])
            done += 1
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    return done


def test_a_full_database_loses_nothing(path: Path) -> None:
    with Ledger.open(str(path)) as ledger:
        connection = ledger._store._writer.sqlite  # type: ignore[attr-defined]
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 40}")
        done = spend_until_the_disk_is_full(ledger)
        assert done > 5
        connection.execute(f"PRAGMA max_page_count = {pages + 4000}")
        assert ledger.status("b").spent["epsilon"] == done + 1
        ledger.spend("b", cost(1), round_id=f"r{done}", participants=["now there is room"])
        ledger.verify()


FULL_DISK = """
import json, resource, signal, sys
from dp.errors import LedgerStorageError
from dp.ledger import Cost, Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
done, error = 0, ""
with Ledger.open(sys.argv[1]) as ledger:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    try:
        for i in range(5000):
            ledger.spend("b", Cost(1, adjacency="add-remove"), round_id=f"r{i}", participants=["a", "b"])
            done += 1
    except LedgerStorageError as found:
        error = type(found).__name__
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ledger.spend("b", Cost(1, adjacency="add-remove"), round_id=f"r{done}", participants=["a", "b"])
    print(json.dumps([done, error, float(ledger.status("b").spent["epsilon"])]))
"""


def test_a_disk_that_takes_no_more_bytes_loses_nothing(path: Path) -> None:
    done, error, spent = json.loads(python("-c", FULL_DISK, path))
    assert error == "LedgerStorageError"
    assert done > 10
    assert spent == done + 2
    with Ledger.open(str(path)) as ledger:
        assert ledger.status("b").spent["epsilon"] == spent
        ledger.verify()


def test_a_damaged_file_is_named(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    with pytest.raises(LedgerCorruptError, match="damaged"), Ledger.open(str(path)) as ledger:
        ledger.spend("b", cost(1), round_id="r")
    path.write_bytes(b"this is no database, though it is long enough to be taken for one" * 100)
    with pytest.raises(LedgerCorruptError, match="damaged"):
        Ledger.open(str(path))


def test_anothers_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    sqlite_tamper(str(path), "CREATE TABLE ledger_records (something TEXT)")
    path.chmod(0o600)
    with pytest.raises(LedgerStorageError, match="already exists"):
        Ledger.open(str(path), create=True)


def test_a_forked_process_must_open_its_own(path: Path) -> None:
    with Ledger.open(str(path)) as ledger:
        ledger._store._process += 1  # type: ignore[attr-defined]
        with pytest.raises(LedgerError, match="another process"):
            ledger.status("b")
        ledger._store._process -= 1  # type: ignore[attr-defined]


def test_postgres_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingDependencyError, match=r"pip install '\.\[postgres\]'"):
        Ledger.open("postgresql://someone:secret@nowhere/x")


def gone(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)


def without_its_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


@pytest.mark.parametrize("happens", [gone, replaced, without_its_log])
def test_an_open_ledger_whose_file_is_gone_spends_nothing(path: Path, happens: Callable[[Path], None]) -> None:
    with Ledger.open(str(path)) as ledger:
        happens(path)
        for call in (lambda: ledger.spend("b", cost(1), round_id="into nowhere"), lambda: ledger.status("b")):
            with pytest.raises(LedgerStorageError, match="removed or replaced"):
                call()


def test_a_file_that_goes_within_a_transaction_takes_no_spend(path: Path) -> None:
    with (
        Ledger.open(str(path)) as ledger,
        pytest.raises(LedgerStorageError, match="nothing was written"),
        ledger._store.write(),
    ):
        path.unlink()


def test_a_link_that_leads_elsewhere_is_noticed(path: Path) -> None:
    link, other = path.with_name("link.db"), path.with_name("other.db")
    link.symlink_to(path)
    Ledger.open(str(other), create=True).close()
    with Ledger.open(str(link)) as ledger:
        assert ledger.spend("b", cost(1), round_id="r").charge["epsilon"] == 1
        link.unlink()
        link.symlink_to(other)
        with pytest.raises(LedgerStorageError, match="removed or replaced"):
            ledger.spend("b", cost(1), round_id="s")


def test_a_copy_of_the_file_that_is_open_has_every_spend(path: Path) -> None:
    with Ledger.open(str(path)) as ledger:
        for i in range(20):
            ledger.spend("b", cost(1), round_id=f"r{i}")
        copy = path.with_name("copy.db")
        shutil.copy(path, copy)
        expected = ledger.verify()
    with Ledger.open(str(copy)) as copied:
        assert copied.verify() == expected
        assert copied.status("b").spent["epsilon"] == 21


def test_the_latest_records_are_found_without_sorting_all(path: Path) -> None:
    with Ledger.open(str(path)) as ledger:
        asked: list[str] = []
        ledger._store._reader.sqlite.set_trace_callback(asked.append)  # type: ignore[attr-defined]
        assert [record.seq for record in ledger.history("b", last=2)] == [2, 3]
        ledger._store._reader.sqlite.set_trace_callback(None)  # type: ignore[attr-defined]
        (latest,) = (sql for sql in asked if "DESC LIMIT 2" in sql)
        with ledger._store.read() as tx:
            plan = str(tx.rows(f"EXPLAIN QUERY PLAN {latest}"))
        assert "USING INDEX" in plan
        assert "TEMP B-TREE" not in plan


def test_readers_do_not_wait_for_a_writer_of_their_own_process(path: Path) -> None:
    with Ledger.open(str(path), busy_seconds=0.2) as ledger, ThreadPoolExecutor(2) as threads:
        with ledger._store.write():
            assert threads.submit(ledger.status, "b").result().spent["epsilon"] == 1
            with pytest.raises(LedgerBusyError, match=r"0\.2 s"):
                threads.submit(ledger.spend, "b", cost(1), round_id="r").result()
        ledger.spend("b", cost(1), round_id="r")
