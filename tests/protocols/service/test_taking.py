"""Answers that come at the same time: how many become one commit."""

import asyncio

from protocols.service import taking
from protocols.service.deliveries import Delivery
from protocols.service.taking import Taking
from protocols.service.views import Outcome


def test_a_commit_takes_no_more_bytes_than_it_may_and_one_answer_at_least(monkeypatch):
    monkeypatch.setattr(taking, "MOST_BYTES_AT_ONCE", 10)
    commits = []

    class Taken:
        def take(self, deliveries, standing):
            commits.append([len(each.body) for each in deliveries])
            return [Outcome(None)] * len(deliveries)

    async def play():
        lets_in = Taking(Taken(), asyncio.to_thread, 5.0, 0.1, lambda sessions: None)
        sizes = (30, 4, 6, 1, 9, 2)
        await asyncio.gather(*(lets_in.deliver(Delivery("a", "ab" * 32, bytes(size))) for size in sizes))
        lets_in.close()

    asyncio.run(asyncio.wait_for(play(), 20))
    assert commits == [[30], [4, 6], [1, 9], [2]]
