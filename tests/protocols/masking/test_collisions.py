"""Frames that differ under one digest, which anybody can make for XXH3: what is gained by them is nothing."""

import msgspec
import pytest

from protocols.core import dumps, framing
from protocols.core.machine import Receipt
from protocols.core.threat_model import Adversary
from protocols.masking import wire
from protocols.masking.messages import Message
from secagg.errors import StateError, UnexpectedMessage

from .harness import session_after, small_config

LOW_HALVES = {1024: 0x396CFEB8, 1088: 0x2C81017C}
"""Of XXH3's secret where it meets these words. A word with such a low half is multiplied by zero, so that it counts by
its sum with other such words of its kilobyte alone."""


def twins(body: bytes) -> tuple[bytes, bytes]:
    """Two bodies of one digest, which differ from a given one in the words of LOW_HALVES alone."""
    made = []
    for first in (1, 2):
        twin = bytearray(body)
        for (at, low), high in zip(LOW_HALVES.items(), (first, 9 - first), strict=True):
            twin[at : at + 8] = (high << 32 | low).to_bytes(8, "little")
        made.append(bytes(twin))
    one, other = made
    assert one != other
    assert framing.digest(one) == framing.digest(other)
    return one, other


def frames(message: Message) -> tuple[bytes, bytes]:
    data = wire.encode(message)
    one, other = twins(data[framing.HEADER_BYTES :])
    head = data[:5] + framing.digest(one)
    return head + one, head + other


def test_a_second_input_under_the_digest_of_the_first_is_added_to_nothing():
    session = session_after(2, small_config(length=1000))
    first, second = frames(session.say(1))
    name = session.everyone.name(1)
    assert session.server.receive(name, first) is Receipt.ACCEPTED
    before = session.server.dump()
    assert session.server.receive(name, second) is Receipt.DUPLICATE
    assert session.server.dump() == before


@pytest.mark.parametrize("adversary", Adversary)
def test_a_second_delivery_under_the_digest_of_the_first_gets_the_first_ones_answer(adversary):
    session = session_after(2, small_config(12, adversary, complete_graph=True))
    first, second = frames(session.message(1))
    client = session.client(1)
    answer = client.respond(first, session.given[1])
    before = client.dump()
    assert client.respond(second, session.given[1]) == answer
    assert client.dump() == before
    client.delivered()
    with pytest.raises(UnexpectedMessage):
        client.respond(second, session.given[1])


def test_dumps_are_told_by_more_than_xxh3():
    one, other = (dumps.encode_state(msgspec.Raw(twin)) for twin in twins(bytes(2000)))
    with pytest.raises(StateError, match="damaged"):
        dumps.decode_state(one[: dumps.HEADER_BYTES] + other[dumps.HEADER_BYTES :], bytes)
