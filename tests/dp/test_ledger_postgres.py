"""The ledger on a real PostgreSQL that this run starts by itself: the contract, and what servers can do to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from dp.errors import LedgerBusyError, LedgerStorageError, ParameterError
from dp.ledger import Budget, Ledger
from tests.contracts.ledger_contract import ADD, LedgerContract, cost
from tests.dp.postgres_server import running_server

_numbers = itertools.count()


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_server() as url:
        yield url


@pytest.fixture
def url(server: str) -> str:
    """A schema of its own for each test."""
    name = f"ledger_{next(_numbers)}"
    execute(server, f"CREATE SCHEMA {name}")
    return f"{server}&options=-csearch_path%3D{name}"


class TestPostgresLedger(LedgerContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url

    def tamper(self, url: str, statement: str) -> None:
        execute(url, statement)


def test_a_locked_ledger_is_busy_and_nothing_is_spent(url: str) -> None:
    with (
        Ledger.open(url, create=True) as holder,
        Ledger.open(url, busy_seconds=0.05) as ledger,
    ):
        holder.create(Budget("b", 2, neighbours=ADD))
        with holder._store.write(), pytest.raises(LedgerBusyError, match="try again"):
            ledger.spend("b", cost(1), round_id="r")
        ledger.spend("b", cost(1), round_id="r")
        assert ledger.status("b").spent["epsilon"] == 1
        ledger.verify()


def test_a_server_that_stops_is_a_named_error_and_nothing_is_lost() -> None:
    with running_server() as url:
        ledger = Ledger.open(url, create=True)
        ledger.create(Budget("b", 2, neighbours=ADD))
        ledger.spend("b", cost(1), round_id="before")
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        execute(url, f"{others} AND backend_type = 'client backend'")
        ledger.spend("b", cost("0.5"), round_id="after")  # a lost connection is replaced
        ledger.verify()
    with pytest.raises(LedgerStorageError, match="no answer"):
        ledger.spend("b", cost("0.5"), round_id="gone")
    ledger.close()


def test_a_connection_that_dies_within_a_transaction_spends_nothing(url: str, server: str) -> None:
    with Ledger.open(url, create=True) as ledger:
        ledger.create(Budget("b", 2, neighbours=ADD))
        with pytest.raises(LedgerStorageError, match="repeat the call"), ledger._store.write() as tx:
            tx.run("UPDATE ledger_head SET seq = 99")
            (pid,) = tx.rows("SELECT pg_backend_pid()")[0]
            execute(server, f"SELECT pg_terminate_backend({pid})")
            tx.run("UPDATE ledger_head SET seq = 100")
        assert ledger.verify().records == 1


def test_passwords_are_never_repeated(server: str) -> None:
    wrong = [
        "postgresql://user:hunter2@127.0.0.1:9/x",
        "postgresql://user:hunter2@ss@127.0.0.1:9/x",
        "postgresql://user:hunter2@127.0.0.1:port/x",
        "postgresql://user@127.0.0.1:9/x?password=hunter2",
        "postgresql://user:x@hunter2.invalid:x/y",
        server.replace("ledger@", "nobody:hunter2@"),
    ]
    for url in wrong:
        with pytest.raises((LedgerStorageError, ParameterError)) as caught:
            Ledger.open(url)
        everything = f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
        assert "hunter2" not in everything.replace("hunter2.invalid", ""), url
    with Ledger.open(server.replace("ledger@", "ledger:hunter2@"), create=True) as ledger:
        assert "hunter2" not in f"{ledger!r} {ledger.name} {vars(ledger)}"


def test_a_server_that_forgets_in_a_crash_is_refused(server: str) -> None:
    settings = "-c fsync=off"
    with running_server(settings) as url, pytest.raises(LedgerStorageError, match="fsync off"):
        Ledger.open(url, create=True)
