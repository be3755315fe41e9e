"""The ledger: durable spends a second beside raw synchronised commits, and what a long history costs.

python -m pytest bench/bench_ledger.py -p no:cacheprovider --override-ini=filterwarnings= -s
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dp.events import GaussianEvent
from dp.ledger import Budget, Composition, Cost, Ledger
from dp.ledger.amounts import GRID
from dp.ledger.costs import to_plain
from dp.ledger.records import RecordKind, participants_digest, spelled
from dp.ledger.rounds import close_round, open_round
from dp.sensitivity import Adjacency

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' PostgreSQL, where this is run as a program of its own

from bench.side_by_side import clocked, size, take_turns
from bench.suite.findings import Finding, Row
from tests.dp.postgres_server import running_server

Report = Callable[[Finding], None]
OUT = Path(__file__).parent / "out"  # on the disk, where temporary files may live in memory
OUT.mkdir(exist_ok=True)
ADD = Adjacency.ADD_REMOVE
BATCH = size(300, 20)
TURNS = size(5, 2)
HISTORIES = size([0, 10_000, 100_000], [0, 200])
ONE = Cost("0.1", "1e-9", adjacency=ADD)


class Spender:
    """Spends from a budget that never ends, each time under a new id."""

    def __init__(self, ledger: Ledger, name: str = "big", **terms: Any) -> None:
        ledger.create(Budget(name, terms.pop("epsilon", 10**9), "0.9", adjacency=ADD, **terms))
        self.ledger, self.name, self.count = ledger, name, 0

    def spend(self, cost: Any = ONE) -> None:
        self.count += 1
        self.ledger.spend(self.name, cost, round_id=str(self.count))

    def reserve_and_commit(self) -> None:
        self.count += 1
        self.ledger.commit(self.ledger.reserve(self.name, ONE, round_id=str(self.count)))

    def live_through(self, spends: int) -> None:
        """Spend so often in one transaction: the history is the same, and made sooner."""
        facts = {"cost": to_plain(ONE), "charge": spelled(charge := (GRID // 10, GRID // 10**9))}
        facts["participants"] = nobody = participants_digest([])
        ending = {"cost": None, "participants": nobody}
        self.ledger._priced(self.name, ONE, [], None)  # lets the ledger know the terms, as each spend does
        with self.ledger._writing() as book:
            terms = book.terms(self.name)
            for _ in range(spends):
                self.count += 1
                opened = open_round(book, terms, charge, str(self.count), facts, [])
                close_round(book, terms, opened, RecordKind.COMMIT, charge, ending, [])

    def batch(self, one: Callable[[], None]) -> Callable[[], float]:
        def spend_all() -> None:
            for _ in range(BATCH):
                one()

        return clocked(spend_all)


@contextmanager
def raw_commits(path: Path) -> Iterator[Callable[[], None]]:
    """SQLite's own synchronised commit of one row, in the same mode on the same disk."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE rows (value INTEGER)")

    def commit() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows VALUES (1)")
        connection.execute("COMMIT")

    yield commit
    connection.close()


def test_durable_spends(benchmark: Any, report: Report) -> None:
    finding = Finding(f"ledger: durable spends a second, batches of {BATCH}")
    # Beside this file, so that it is the disk, and not memory, where temporary files live in memory.
    with (
        tempfile.TemporaryDirectory(dir=OUT) as folder,
        raw_commits(Path(folder) / "raw.db") as raw,
        Ledger.open(f"{folder}/ledger.db", create=True) as ledger,
    ):
        spender = Spender(ledger)
        renyi = Spender(ledger, "renyi", composition=Composition.RENYI)
        noise = GaussianEvent(5.0, ADD)
        renyi.spend(noise)  # imports
        others = {
            "raw": clocked(lambda: [raw() for _ in range(BATCH)]),
            "reserve, commit": spender.batch(spender.reserve_and_commit),
            "renyi": renyi.batch(lambda: renyi.spend(noise)),
        }
        timings = take_turns(benchmark, spender.batch(spender.spend), others, turns=TURNS)
        rates = {name: sorted(BATCH / s for s in seconds) for name, seconds in timings.seconds.items()}

        def add(what: str, name: str, **more: Any) -> None:
            rate = rates[name]
            finding.add(what, rate[len(rate) // 2], "/s", lowest=rate[0], highest=rate[-1], **more)

        ratio = timings.ratio("raw", "ours")
        median = rates["ours"][TURNS // 2]
        met = median >= 300 or ratio.median >= 0.5
        add("spend (one transaction)", "ours", asked=">= 300/s, or 0.5x raw", met=met)
        add("reserve, then commit (two transactions)", "reserve, commit")
        add("spend of an event, Renyi divergence", "renyi")
        add("raw synchronised SQLite commits", "raw")
        finding.add_ratio("spend over raw commits", ratio)
        raw_commit = timings.limit("a raw synchronised commit of SQLite's", "raw", scale=1 / BATCH)
        finding.rows.append(Row("a durable spend from a budget", "s", 1 / median, limit=raw_commit))
        finding.add_ratio("two transactions over two raw commits", timings.ratio("raw", "reserve, commit"))
    report(finding)


def test_history(benchmark: Any, report: Report) -> None:
    finding = Finding("ledger: spends a second after a history, on SQLite")
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        spenders = {}
        ledgers = []
        for length in HISTORIES:
            ledger = Ledger.open(f"{folder}/{length}.db", create=True)
            ledgers.append(ledger)
            spender = spenders[length] = Spender(ledger)
            spender.live_through(length // 2)
        contenders = {str(length): spender.batch(spender.spend) for length, spender in spenders.items()}
        timings = take_turns(benchmark, contenders[str(HISTORIES[0])], contenders, turns=TURNS)
        for length in HISTORIES:
            rate = sorted(BATCH / s for s in timings.seconds[str(length)])
            what = f"spend after {length:,} records"
            finding.add(what, rate[len(rate) // 2], "/s", lowest=rate[0], highest=rate[-1])
        ratio = timings.ratio(str(HISTORIES[-1]), str(HISTORIES[0]))
        finding.add_ratio("seconds after the longest over none", ratio, asked="<= 1.5 (O(1))", met=ratio.median <= 1.5)
        verifying = clocked(ledgers[-1].verify)()
        finding.add(f"verify {len(ledgers[-1].history()):,} records", verifying, "s")
        for ledger in ledgers:
            ledger.close()
    report(finding)


def test_postgres(benchmark: Any, report: Report) -> None:
    finding = Finding("ledger: spends a second, PostgreSQL through a socket, for information")
    with running_server() as url, Ledger.open(url, create=True) as ledger:
        spender = Spender(ledger)
        others = {"reserve, commit": spender.batch(spender.reserve_and_commit)}
        timings = take_turns(benchmark, spender.batch(spender.spend), others, turns=size(3, 1))
        finding.add("spend (one transaction)", BATCH / timings.median("ours"), "/s")
        finding.add("reserve, then commit (two transactions)", BATCH / timings.median("reserve, commit"), "/s")
    report(finding)
