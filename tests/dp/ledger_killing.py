"""Processes that spend and are killed: a program of its own, so that its children are forked from one small thread.

    python -m tests.dp.ledger_killing kill URL JOURNAL KILLS SEED
    python -m tests.dp.ledger_killing race URL WORKERS

Each child spends as fast as it can and journals, outside of the ledger, what the ledger has promised it. It dies by
SIGKILL: half of them before their k-th statement, k at random, half when the parent chooses to, at random.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from dp.errors import BudgetExceededError
from dp.ledger import Budget, Cost, Ledger, ReservationStatus, postgres, sqlite
from dp.sensitivity import Adjacency
from tests.processes import forked

ADD = Adjacency.ADD_REMOVE
LIMIT = 10**6


def die_before_statement(count: int) -> None:
    """Make this process kill itself before its count-th statement from now on, commits included."""
    left = count

    def counted(run: Any) -> Any:
        def wrapper(*arguments: Any, **values: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return run(*arguments, **values)

        return wrapper

    for kind in (sqlite.SqliteTransaction, postgres.PostgresTransaction):
        for name in ("rows", "run", "run_many"):
            setattr(kind, name, counted(getattr(kind, name)))


def spend_forever(url: str, journal: Path, name: str, go: int) -> NoReturn:
    with Ledger.open(url) as ledger, journal.open("a", buffering=1) as notes:
        os.write(go, b"x")
        for i in range(LIMIT):
            one = Cost(1, adjacency=ADD)
            if i % 3 == 2:
                ledger.spend("b", one, round_id=f"{name}-{i}", participants=["p"])
                notes.write(f"committed {name}-{i}\n")
                continue
            taken = ledger.reserve("b", one, round_id=f"{name}-{i}", participants=["p", name])
            notes.write(f"reserved {name}-{i}\n")
            if i % 3 == 0:
                ledger.commit(taken, participants=["p"])
                notes.write(f"committed {name}-{i}\n")
            else:
                ledger.release(taken)
                notes.write(f"released {name}-{i}\n")
    os._exit(0)


def kill(url: str, journal: Path, kills: int, seed: int) -> None:
    choose = random.Random(seed)
    with Ledger.open(url, create=True) as ledger:
        ledger.create(Budget("b", LIMIT, adjacency=ADD))
    journal.touch()
    killed = orphans = 0
    while killed < kills:
        name = f"k{killed}"
        read, write = os.pipe()

        def body(name: str = name, write: int = write, statements: int = choose.randrange(1, 200)) -> None:
            if int(name[1:]) % 2:
                die_before_statement(statements)
            spend_forever(url, journal, name, write)

        pid = forked(body)
        os.close(write)
        os.read(read, 1)  # it has begun, or is dead
        os.close(read)
        if killed % 2 == 0:
            time.sleep(choose.random() * (0.1 if "://" in url else 0.02))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, status
        killed += 1
        if killed % 10 == 0:
            orphans += check(url, journal, choose)
    orphans += check(url, journal, choose)
    with Ledger.open(url) as ledger:
        records = ledger.verify().records
    sys.stdout.write(json.dumps({"killed": killed, "orphans": orphans, "records": records}))


def check(url: str, journal: Path, choose: random.Random) -> int:
    """Compare the ledger with what it has promised, and resolve what was left open; return how many."""
    with Ledger.open(url) as ledger:
        ledger.verify()
        spent = held = 0
        states = {}
        for record in ledger.history("b"):
            if record.kind == "reserve":
                assert record.round_id not in states, "reserved twice"
                states[record.round_id] = "reserved"
                held += 1
            elif record.kind != "create":
                assert states[record.round_id] == "reserved", "closed twice"
                gone = record.kind == "release" or record.facts().get("spent") is False
                states[record.round_id] = "released" if gone else "committed"
                held, spent = held - 1, spent + (not gone)
        status = ledger.status("b")
        assert (status.spent["epsilon"], status.held["epsilon"], status.open) == (spent, held, held)
        for line in journal.read_text().splitlines():
            promise, round_id = line.split(" ")
            # Nothing that was promised is lost; what is open may have been closed by a later check.
            assert states[round_id] == promise or promise == "reserved", line
        journal.write_text("")
        left = ledger.open_reservations("b")
        assert len(left) == held
        for orphan in left:
            choice = choose.randrange(3)
            if choice == 0:
                assert ledger.commit(orphan).status == ReservationStatus.COMMITTED
            else:
                ledger.resolve(orphan, spent=choice == 1, reason="its process was killed")
        return len(left)


def race(url: str, workers: int) -> None:
    """Let processes spend at once until all is gone; each reserves 3, then commits 2 or 3 of it, or releases it."""
    limit = 120
    with Ledger.open(url, create=True) as ledger:
        ledger.create(Budget("b", limit, adjacency=ADD))
    read, write = os.pipe()

    def body(name: str) -> None:
        got = refused = 0
        with Ledger.open(url, busy_seconds=60) as ledger:
            for i in range(LIMIT):
                try:
                    taken = ledger.reserve("b", Cost(3, adjacency=ADD), round_id=f"{name}-{i}")
                except BudgetExceededError:
                    refused += 1
                    status = ledger.status("b")
                    if status.limit["epsilon"] - status.spent["epsilon"] < 3:
                        break
                    time.sleep(0.001)
                    continue
                if i % 4 == 3:
                    ledger.release(taken)
                    continue
                actual = 2 + i % 2
                ledger.commit(taken, Cost(actual, adjacency=ADD))
                got += actual
        os.write(write, f"{got} {refused}\n".encode())

    pids = [forked(body, f"w{i}") for i in range(workers)]
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
    os.close(write)
    with os.fdopen(read) as answers:
        got, refused = zip(*(map(int, line.split()) for line in answers), strict=True)
    with Ledger.open(url) as ledger:
        ledger.verify()
        spent = ledger.status("b").spent["epsilon"]
    # Nobody got more than there was, what all got is what was spent, and no more fits.
    assert limit - 3 < spent == sum(got) <= limit, (spent, got)
    sys.stdout.write(json.dumps({"got": got, "refused": refused, "spent": float(spent), "limit": limit}))


if __name__ == "__main__":
    if sys.argv[1] == "kill":
        kill(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    else:
        race(sys.argv[2], int(sys.argv[3]))
