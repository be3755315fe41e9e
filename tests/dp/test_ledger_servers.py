"""What PostgreSQL servers are set up like: poolers, standbys, encodings, time limits, many threads at once."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from dp.errors import LedgerBusyError, LedgerCorruptError, LedgerStorageError
from dp.ledger import Budget, Ledger
from tests.contracts.ledger_contract import ADD, cost
from tests.dp.postgres_server import Cluster, execute, pooled, running_cluster, standby_of

_numbers = itertools.count()


@pytest.fixture
def cluster() -> Iterator[tuple[Cluster, str]]:
    with running_cluster() as running:
        yield running


@pytest.fixture
def database(postgres: str) -> str:
    """The URL of a database of its own, whose settings a test may change."""
    name = f"set_up_{next(_numbers)}"
    execute(postgres, f"CREATE DATABASE {name}")
    return postgres.replace("/postgres?", f"/{name}?")


def name_of(url: str) -> str:
    return url[url.index("@/") + 2 : url.index("?")]


def budget(epsilon: int = 10) -> Budget:
    return Budget("b", epsilon, adjacency=ADD)


def test_a_pooler_of_transactions_takes_every_spend(cluster: tuple[Cluster, str]) -> None:
    servers, _ = cluster
    with pooled(servers) as url, Ledger.open(url, create=True) as ledger, ThreadPoolExecutor(6) as threads:
        ledger.create(budget(90))
        ids = [f"r{i}" for i in range(90)]
        charged = list(threads.map(lambda round_id: ledger.spend("b", cost(1), round_id=round_id).charge, ids))
        assert len(charged) == 90
        assert ledger.status("b").left["epsilon"] == 0
        ledger.verify()


def test_no_statement_is_prepared(postgres_url: str) -> None:
    """However often it is run: a pooler may send the next transaction to a server that has not prepared it."""
    with Ledger.open(postgres_url, create=True) as ledger:
        ledger.create(budget())
        for i in range(10):
            ledger.spend("b", cost(1), round_id=str(i))
        for transaction in (ledger._store.write, ledger._store.read):
            with transaction() as tx:
                assert tx.rows("SELECT count(*) FROM pg_prepared_statements") == [(0,)]


def test_a_standby_is_read_and_not_written(cluster: tuple[Cluster, str]) -> None:
    servers, primary = cluster
    with Ledger.open(primary, create=True) as ledger:
        ledger.create(budget())
        with standby_of(servers) as url, Ledger.open(url) as standby:
            assert standby.status("b").left["epsilon"] == 10
            with pytest.raises(LedgerStorageError, match=r"standby.*nothing was written"):
                standby.spend("b", cost(1), round_id="r")


def test_a_synchronous_standby_can_be_demanded(cluster: tuple[Cluster, str]) -> None:
    servers, primary = cluster
    with pytest.raises(LedgerStorageError, match="synchronous_standby_names"):
        Ledger.open(primary, create=True, synchronous_standby=True)
    with standby_of(servers) as url:
        execute(primary, "ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()")
        until(primary, "SHOW synchronous_standby_names", "standby")
        until(primary, "SELECT sync_state FROM pg_stat_replication", "sync")
        with Ledger.open(primary, create=True, synchronous_standby=True) as ledger:
            ledger.create(budget())
            ledger.spend("b", cost(1), round_id="r")
            head = ledger.head()
        servers.stop("data")
        execute(url, "SELECT pg_promote()")
        with Ledger.open(url, expected_head=head) as promoted:  # nothing was lost
            assert promoted.head() == head


def until(url: str, question: str, answer: object) -> None:
    """Wait for a server to say so."""
    from sqlalchemy import create_engine, text

    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        while connection.execute(text(question)).scalar() != answer:
            time.sleep(0.01)
    engine.dispose()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_name_is_refused(postgres: str, encoding: str) -> None:
    name = f"text_{encoding.lower()}"
    execute(postgres, f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(LedgerStorageError, match=f"{encoding}.*ENCODING 'UTF8'"):
        Ledger.open(postgres.replace("/postgres?", f"/{name}?"), create=True)


def test_a_servers_own_time_limit_is_told_as_what_it_is(database: str) -> None:
    with Ledger.open(database, create=True) as holder:
        holder.create(budget())
        execute(database, f"ALTER DATABASE {name_of(database)} SET statement_timeout = '100ms'")
        with Ledger.open(database) as ledger, holder._store.write():
            with pytest.raises(LedgerBusyError, match="statement_timeout") as caught:
                ledger.spend("b", cost(1), round_id="r")
            assert "30 s" not in str(caught.value)


def test_an_operators_fence_keeps_spends_out(database: str) -> None:
    with Ledger.open(database, create=True) as ledger:
        ledger.create(budget())
    execute(database, f"ALTER DATABASE {name_of(database)} SET default_transaction_read_only = on")
    with Ledger.open(database) as ledger:
        for _ in range(2):
            assert ledger.status("b").left["epsilon"] == 10  # and reading does not open the way for writing
            with pytest.raises(LedgerStorageError, match=r"default_transaction_read_only.*nothing was written"):
                ledger.spend("b", cost(1), round_id="r")


def test_many_threads_read_while_others_wait_to_write(postgres_url: str) -> None:
    with (
        Ledger.open(postgres_url, create=True) as holder,
        Ledger.open(postgres_url, busy_seconds=600) as ledger,
        ThreadPoolExecutor(40) as threads,
    ):
        holder.create(budget(100))
        with holder._store.write():
            waiting = [threads.submit(ledger.spend, "b", cost(1), round_id=str(i)) for i in range(20)]
            for read in [threads.submit(ledger.status, "b") for _ in range(20)]:
                assert read.result().spent["epsilon"] == 0  # while the writers wait
            assert not any(one.done() for one in waiting)
        assert sum(one.result().charge["epsilon"] for one in waiting) == 20


def test_waiting_for_a_connection_ends_as_waiting_for_the_ledger_does(postgres_url: str) -> None:
    with Ledger.open(postgres_url, create=True, busy_seconds=0.3) as ledger, ExitStack() as reads:
        ledger.create(budget())
        for _ in range(11):
            reads.enter_context(ledger._store.read())
        for call in (lambda: ledger.status("b"), lambda: ledger.spend("b", cost(1), round_id="r")):
            with pytest.raises(LedgerBusyError, match=r"0\.3 s"):
                call()


def test_a_failover_that_lost_spends_shows_against_a_head_that_was_kept(cluster: tuple[Cluster, str]) -> None:
    servers, primary = cluster
    with standby_of(servers) as url:
        with Ledger.open(primary, create=True) as ledger:
            ledger.create(budget())
            ledger.spend("b", cost(1), round_id="replicated")
            until(primary, "SELECT pg_current_wal_lsn() = replay_lsn FROM pg_stat_replication", True)
            early = ledger.head()
            stop_following(servers)
            ledger.spend("b", cost(9), round_id="acknowledged")
            head = ledger.head()
        execute(url, "SELECT pg_promote()")
        with Ledger.open(url, expected_head=early) as promoted:
            assert promoted.verify().head == early  # by itself it shows nothing
            assert promoted.status("b").left["epsilon"] == 9
        for create in (False, True):
            with pytest.raises(LedgerCorruptError, match="ends with record 3, the head that you kept names 5"):
                Ledger.open(url, expected_head=head, create=create)


def stop_following(servers: Cluster) -> None:
    """Let the standby lose its way to the primary, as when a network is cut."""
    standby = f"postgresql://ledger@/postgres?host={servers.here / 'standby-sockets'}"
    execute(standby, "ALTER SYSTEM SET primary_conninfo = 'host=/nowhere'", "SELECT pg_reload_conf()")
    until(standby, "SELECT count(*) FROM pg_stat_wal_receiver", 0)
