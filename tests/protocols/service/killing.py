"""A service whose processes are killed: a program of its own, so that its children are forked from one small thread.

    python -m tests.protocols.service.killing URL FOLDER KILLS SEED

Two processes run sessions, two more are members that speak to the store by desks of their own. Each is killed by
SIGKILL and started again, KILLS times in all: half of them before their k-th statement, k at random, half when the
parent chooses to, at random. Sessions follow one another meanwhile. In the end each has the exact sum of its survivors,
or an error that may be expected; members have seen one end of each.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import event
from sqlalchemy.engine import Engine

from protocols.core.files import write_whole
from protocols.masking.client import Client
from protocols.masking.policy import ClientPolicy
from protocols.masking.warming import warm_up
from protocols.service.deadlines import Deadlines
from protocols.service.desk import Desk
from protocols.service.jobs import prepared
from protocols.service.showing import session_shown
from protocols.service.store import Store
from protocols.service.views import Letter, State
from secagg.errors import SecAggError
from tests.processes import forked

from .desk_parties import LENGTH, NAMES, sum_of_seven

AT_ONCE = 2
GROUPS = (NAMES.names[:4], NAMES.names[4:])
EXPECTED_ERRORS = {"ThresholdError"}


def value(name: str, session: str) -> Any:
    """A member's values: the first number tells whose are in a sum, and how often; the others are the session's."""
    at = NAMES.names.index(name)
    return np.array([1 << (4 * at), int(session[:6], 16), at, 1, 0])[:LENGTH]


def die_before_statement(count: int) -> None:
    """Make this process kill itself before its count-th statement from now on, commits included."""
    left = [count]

    def counted(*_: Any, **__: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", counted)
    event.listen(Engine, "commit", counted)


async def run_sessions(url: str) -> None:
    desk = Desk(Store(url), poll=0.05, lease=1.0, workers=1)
    await desk.run()


async def be_members(url: str, names: tuple[str, ...], folder: Path) -> None:
    desk = Desk(Store(url), poll=0.05, patience=1.0, workers=1)
    await asyncio.gather(*(be_member(desk, name, folder) for name in names))


async def be_member(desk: Desk, name: str, folder: Path) -> None:
    """Answer whatever comes, from what is on the disk; note the ends of sessions, and which letters were handled."""
    handled = folder / f"{name}.handled"
    after = int(handled.read_text()) if handled.exists() else 0
    while True:
        letter = await desk.next_letter(name, after, 5)
        if letter is None:
            continue
        await be_asked(desk, name, folder, letter)
        after = letter.sequence
        draft = folder / f"{name}.draft"
        draft.write_text(str(after))
        draft.replace(handled)


async def be_asked(desk: Desk, name: str, folder: Path, letter: Letter) -> None:
    memory = folder / f"{name}-{letter.session[:16]}"
    if not letter.body:
        ends = folder / f"{name}.ends"
        with ends.open("a") as notes:
            notes.write(f"{letter.session} {letter.sequence} {letter.phase}\n")
        return
    party = (
        Client.load(memory.read_bytes(), threads=1)
        if memory.exists()
        else Client(policy=ClientPolicy.permissive(), threads=1)
    )
    try:
        answer = party.respond(letter.body, {"v": value(name, letter.session)})
    except SecAggError as error:
        await desk.refuse(name, letter.session, type(error).__name__, str(error))
        return
    write_whole(memory, party.dump(), mode=0o600)
    outcome = await desk.deliver(name, letter.session, answer)
    while not outcome.receipt and not outcome.error:
        outcome = await desk.deliver(name, letter.session, answer)


def open_sessions(url: str, count: int, noted: Path) -> None:
    store = Store(url)
    with noted.open("a") as notes:
        for _ in range(count):
            new = prepared(sum_of_seven(deadlines=Deadlines(20)))
            store.add(new)
            notes.write(new.session + "\n")
    store.close()


def ended(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    assert status == 0, status


def start(url: str, folder: Path, which: int, statements: int | None) -> int:
    def body() -> None:
        if statements is not None:
            die_before_statement(statements)
        asyncio.run(run_sessions(url) if which < 2 else be_members(url, GROUPS[which - 2], folder))

    return forked(body)


def states(url: str) -> Counter[str]:
    """Count sessions by their states, and those that are owned, in a child: this process holds no connection."""
    read, write = os.pipe()

    def body() -> None:
        with Store(url).read() as connection:
            rows = connection.exec_driver_sql("SELECT state, owner FROM service_sessions").all()
        found = Counter(row.state for row in rows) + Counter("owned" for row in rows if row.owner)
        os.write(write, json.dumps(found).encode())

    ended(forked(body))
    os.close(write)
    with os.fdopen(read) as answer:
        return Counter(json.load(answer))


def check(url: str, folder: Path, noted: Path) -> dict[str, Any]:
    """Hold every session against what it must have come to."""
    store = Store(url)
    errors: Counter[str] = Counter()
    sums = survivors = 0
    seen: dict[str, set[str]] = {}
    for name in NAMES:
        for line in (folder / f"{name}.ends").read_text().splitlines():
            session, sequence, phase = line.split()
            # A last letter may be read again after a kill; it is the same one.
            seen.setdefault(f"{session} {name}", set()).add(f"{sequence} {phase}")
    for session in noted.read_text().split():
        view = session_shown(store, session)
        for name in NAMES:
            assert len(seen[f"{session} {name}"]) == 1, "a session ended twice"
        if view.state is State.FAILED:
            assert view.error in EXPECTED_ERRORS, (view.error, view.reason)
            assert not view.result
            errors[view.error] += 1
            continue
        assert view.state is State.COMPLETED
        result = json.loads(view.result)
        total = sum(value(name, session) for name in result["survivors"])
        assert result["sums"]["v"] == total.tolist(), "not the sum of the survivors"
        assert not view.excluded, view.excluded
        sums += 1
        survivors += len(result["survivors"])
    with store.read() as connection:
        left = connection.exec_driver_sql("SELECT count(*) FROM service_bodies").scalar()
        taken_over = connection.exec_driver_sql("SELECT sum(epoch - 1) FROM service_sessions").scalar()
    assert left == 0
    return {"sums": sums, "survivors": survivors, "errors": dict(errors), "taken_over": int(taken_over or 0)}


def kill(url: str, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    choose = random.Random(seed)
    noted = folder / "sessions"
    for file in (noted, *(folder / f"{name}.ends" for name in NAMES)):
        file.touch()  # a member that was never told has none of its own
    warm_up(sum_of_seven().config)
    ended(forked(lambda: Store(url, create=True)))
    begun = time.monotonic()
    opened = AT_ONCE
    ended(forked(open_sessions, url, opened, noted))
    running = [start(url, folder, which, None) for which in range(4)]
    killed = 2
    try:
        while not states(url)["owned"]:
            time.sleep(0.01)
        for which in (0, 1):  # one of them runs a session, which somebody has to take over
            os.kill(running[which], signal.SIGKILL)
            os.waitpid(running[which], 0)
            running[which] = start(url, folder, which, None)
        while killed < kills:
            which = choose.randrange(4)
            time.sleep(choose.uniform(0.0, 0.3))
            os.kill(running[which], signal.SIGKILL)
            while True:
                _, status = os.waitpid(running[which], 0)
                assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, status
                killed += 1
                by_count = killed < kills and choose.random() < 0.5
                running[which] = start(url, folder, which, choose.randrange(1, 120) if by_count else None)
                if not by_count:
                    break
                # It dies by itself; if it has nothing to do, it is helped.
                patience = time.monotonic() + 1.5
                while os.waitid(os.P_PID, running[which], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    if time.monotonic() > patience:
                        os.kill(running[which], signal.SIGKILL)
                    time.sleep(0.005)
            fresh = AT_ONCE - states(url)["running"]
            if fresh > 0:
                ended(forked(open_sessions, url, fresh, noted))
                opened += fresh
        while states(url)["running"]:
            time.sleep(0.1)
        patience = time.monotonic() + 30
        while time.monotonic() < patience:  # until members know
            known = [{line.split()[0] for line in (folder / f"{name}.ends").open()} for name in NAMES]
            if all(len(each) == opened for each in known):
                break
            time.sleep(0.1)
    finally:  # none outlives this process, whatever happens
        for pid in running:
            with suppress(ProcessLookupError):  # one that has failed by itself
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    seconds = round(time.monotonic() - begun, 1)
    return {"killed": killed, "sessions": opened, **check(url, folder, noted), "seconds": seconds}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(kill(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))) + "\n")
