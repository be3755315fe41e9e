"""The driver by itself: a coordinator, a mailbox in memory, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from protocols.core.machine import Receipt
from protocols.core.threat_model import Adversary
from protocols.masking.result import RoundResult
from protocols.masking.server import Server
from protocols.service.deadlines import Deadlines
from protocols.service.driver import Arrival, Driver, receive_all
from protocols.service.post import Post
from protocols.service.views import Outcome
from protocols.simulation.masked import collected_phases
from secagg.errors import ThresholdError

from .desk_parties import COUNT, NAMES, VALUES, but_one_in, client, sum_of_seven, total

SPEC = sum_of_seven()
LAST = NAMES.names[-1]


def server() -> Server:
    return Server(SPEC.config, NAMES)  # type: ignore[arg-type]


async def take_part(post: Post, name: str, silent: str = "") -> str:
    party, after = client(name), 0
    while True:
        letter = await post.next_letter(name, after)
        after = letter.sequence
        if not letter.body or letter.phase == silent:
            return letter.phase
        await post.deliver(name, await asyncio.to_thread(party.respond, letter.body, {"v": VALUES[name]}))


@pytest.mark.parametrize("phase", [*collected_phases(Adversary.SEMI_MALICIOUS_SERVER), ""])
def test_a_session_in_memory(phase: str) -> None:
    async def play() -> RoundResult:
        post = Post()
        driving = asyncio.create_task(Driver(server(), post, but_one_in(phase)).run())
        async with asyncio.timeout(30):
            members = [take_part(post, name, phase if name == LAST else "") for name in NAMES]
            ends = await asyncio.gather(*members)
            assert set(ends[:-1]) == {"completed"}
            result: RoundResult = await driving
            return result

    result = asyncio.run(play())
    assert result.sum("v").tolist() == total(result.survivors)
    assert len(result.survivors) >= COUNT - 1


def test_a_deadline_and_who_refuses() -> None:
    async def play() -> None:
        post = Post()
        driving = asyncio.create_task(Driver(server(), post, Deadlines(60)).run())
        async with asyncio.timeout(30):
            await post.refuse(LAST)
            await asyncio.gather(*(take_part(post, name) for name in NAMES.names[:-1]))
            assert (await driving).sum("v").tolist() == total(NAMES.names[:-1])
        post = Post()
        with pytest.raises(ThresholdError):
            await Driver(server(), post, Deadlines(0.05)).run()
        asked = await post.next_letter(LAST)
        assert (await post.next_letter(LAST, asked.sequence)).phase == "aborted"
        assert await post.deliver(LAST, b"x") == Outcome(Receipt.LATE)

    asyncio.run(play())


def test_others_have_some_grace_after_a_quorum() -> None:
    """Time is the test's own: it stands still until it is moved."""
    time = [1000.0]

    async def play() -> None:
        post = Post()
        driver = Driver(server(), post, Deadlines(100, quorum=5, grace=10), clock=lambda: time[0])
        await driver.begin()
        collecting = asyncio.create_task(driver.collect())
        for name in NAMES.names[:5]:
            letter = await post.next_letter(name)
            await post.deliver(name, client(name).respond(letter.body))
        assert not collecting.done()
        time[0] += 11
        await post.refuse("nobody")  # so that it looks
        async with asyncio.timeout(30):
            await collecting
        assert driver.coordinator.num_awaited == 2

    asyncio.run(play())


def test_who_has_too_much_waits_for_room() -> None:
    async def play() -> None:
        post = Post(max_waiting_bytes=10)
        first = asyncio.create_task(post.deliver("a", bytes(8)))
        second = asyncio.create_task(post.deliver("b", bytes(8)))
        await asyncio.sleep(0.01)
        assert [arrival.sender for arrival in await post.take(0)] == ["a"]
        await asyncio.sleep(0.01)
        assert [arrival.sender for arrival in await post.take(0)] == ["b"]
        for task in (first, second):
            task.cancel()

    asyncio.run(play())


def test_cancelling_leaves_the_session_to_others() -> None:
    async def play() -> None:
        coordinator, post = server(), Post()
        driving = asyncio.create_task(Driver(coordinator, post, Deadlines(60)).run())
        await post.next_letter(LAST)
        driving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await driving
        assert not coordinator.ended

    asyncio.run(play())


def test_nothing_computes_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loops, where = threading.get_ident(), set()
    for name in ("receive", "close_phase", "dump", "outgoing"):
        real = getattr(Server, name)

        def noted(self: Server, *arguments: Any, real: Any = real) -> Any:
            where.add(threading.get_ident())
            return real(self, *arguments)

        monkeypatch.setattr(Server, name, noted)

    async def play() -> None:
        post = Post()
        driving = asyncio.create_task(Driver(server(), post, Deadlines(60)).run())
        async with asyncio.timeout(30):
            await asyncio.gather(*(take_part(post, name) for name in NAMES))
            await driving

    asyncio.run(play())
    assert where
    assert loops not in where


def test_messages_are_taken_in_the_order_in_which_they_came() -> None:
    class Noting:
        relay_to: frozenset[str] = frozenset()

        def __init__(self) -> None:
            self.order: list[str] = []

        def receive(self, sender: str, data: bytes) -> Receipt:
            self.order.append(sender)
            return Receipt.ACCEPTED

    noting: Any = Noting()
    arrivals = [Arrival(at, f"site-{at}", bytes(1 << at)) for at in reversed(range(20))]
    assert [seen.arrival for seen in receive_all(noting, arrivals)] == arrivals
    assert noting.order == [each.sender for each in arrivals]
