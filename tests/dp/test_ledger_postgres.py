"""The ledger on a real PostgreSQL that this run starts by itself: the contract, and what servers can do to it."""

from __future__ import annotations

import time

import pytest

from dp.errors import LedgerBusyError, LedgerError, LedgerStorageError, PrivacyParameterError
from dp.ledger import Budget, Ledger
from tests.contracts.ledger_contract import ADD, LedgerContract, cost
from tests.dp.postgres_server import execute, running_server


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


class TestPostgresLedger(LedgerContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url

    def tamper(self, url: str, statement: str) -> None:
        execute(url, statement)


def test_a_locked_ledger_is_busy_and_nothing_is_spent(url: str) -> None:
    with Ledger.open(url, create=True) as holder, Ledger.open(url, busy_seconds=0.05) as ledger:
        holder.create(Budget("b", 2, adjacency=ADD))
        with holder._store.write(), pytest.raises(LedgerBusyError, match="try again"):
            ledger.spend("b", cost(1), round_id="r")
        ledger.spend("b", cost(1), round_id="r")
        assert ledger.status("b").spent["epsilon"] == 1
        ledger.verify()


def test_a_server_that_forgets_or_stops_is_a_named_error_and_nothing_is_lost() -> None:
    with running_server() as url:
        execute(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        while True:  # until the setting is in force
            try:
                Ledger.open(url).close()
            except LedgerStorageError as error:
                assert "fsync off" in str(error)  # noqa: PT017 - awaited
                break
            except LedgerError:
                time.sleep(0.01)
        execute(url, "ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()", "SELECT pg_sleep(1)")
        ledger = Ledger.open(url, create=True)
        ledger.create(Budget("b", 2, adjacency=ADD))
        ledger.spend("b", cost(1), round_id="before")
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        execute(url, f"{others} AND backend_type = 'client backend'")
        ledger.spend("b", cost("0.5"), round_id="after")  # a lost connection is replaced
        ledger.verify()
    with pytest.raises(LedgerStorageError, match="no answer"):
        ledger.spend("b", cost("0.5"), round_id="gone")
    ledger.close()


def test_a_connection_that_dies_within_a_transaction_spends_nothing(url: str, postgres: str) -> None:
    with Ledger.open(url, create=True) as ledger:
        ledger.create(Budget("b", 2, adjacency=ADD))
        with pytest.raises(LedgerStorageError, match="repeat the call"), ledger._store.write() as tx:  # noqa: PT012
            tx.run("UPDATE ledger_head SET seq = 99")
            (pid,) = tx.rows("SELECT pg_backend_pid()")[0]
            execute(postgres, f"SELECT pg_terminate_backend({pid})")
            tx.run("UPDATE ledger_head SET seq = 100")
        assert ledger.verify().records == 1


def test_passwords_are_never_repeated(postgres: str) -> None:
    wrong = [
        "postgresql://user:hunter2@127.0.0.1:9/x",
        "postgresql://user:hunter2@ss@127.0.0.1:9/x",
        "postgresql://user:hunter2@127.0.0.1:port/x",
        "postgresql://user@127.0.0.1:9/x?password=hunter2",
        postgres.replace("ledger@", "nobody:hunter2@"),
    ]
    for url in wrong:
        with pytest.raises((LedgerStorageError, PrivacyParameterError)) as caught:
            Ledger.open(url)
        everything = f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
        assert "hunter2" not in everything, url
    with Ledger.open(postgres.replace("ledger@", "ledger:hunter2@"), create=True) as ledger:
        assert "hunter2" not in f"{ledger!r} {ledger.name} {vars(ledger)}"
