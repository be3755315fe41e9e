"""Frames that differ under one digest: what is gained by them is nothing."""

import msgspec
import pytest

from protocols.core import dumps
from protocols.core.machine import Receipt
from protocols.core.threat_model import Adversary
from protocols.masking import wire
from secagg.errors import StateError, UnexpectedMessage
from tests.collisions import twin, twin_frame

from .harness import session_after, small_config


def test_a_second_input_under_the_digest_of_the_first_is_added_to_nothing():
    session = session_after(2, small_config(length=1000))
    first = wire.encode(session.say(1))
    second = twin_frame(first)
    name = session.everyone.name(1)
    assert session.server.receive(name, first) is Receipt.ACCEPTED
    before = session.server.dump()
    assert session.server.receive(name, second) is Receipt.DUPLICATE
    assert session.server.dump() == before


@pytest.mark.parametrize("adversary", Adversary)
def test_a_second_delivery_under_the_digest_of_the_first_gets_the_first_ones_answer(adversary):
    session = session_after(2, small_config(12, adversary, complete_graph=True))
    first = wire.encode(session.message(1))
    second = twin_frame(first)
    client = session.client(1)
    answer = client.respond(first, session.given[1])
    before = client.dump()
    assert client.respond(second, session.given[1]) == answer
    assert client.dump() == before
    client.delivered()
    with pytest.raises(UnexpectedMessage):
        client.respond(second, session.given[1])


def test_dumps_are_told_by_more_than_xxh3():
    one, other = (dumps.encode_state(msgspec.Raw(body)) for body in (bytes(2000), twin(bytes(2000))))
    with pytest.raises(StateError, match="damaged"):
        dumps.decode_state(one[: dumps.HEADER_BYTES] + other[dumps.HEADER_BYTES :], bytes)
