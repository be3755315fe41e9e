from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core import framing
from protocols.paillier.messages import (
    Commitment,
    CommitmentList,
    Contribution,
    Endorsement,
    Invitation,
    Message,
    Opening,
    OpenRequest,
    RevealRequest,
    decode,
    encode,
)
from secagg.errors import MalformedMessage

KINDS = [Commitment, CommitmentList, Contribution, Endorsement, Invitation, Opening, OpenRequest, RevealRequest]
D, S = bytes(32), bytes(64)
EXAMPLES: list[Message] = [
    Commitment(D, D),
    CommitmentList(D, {1: D, 7: D}),
    Contribution(D, 1, D, D, 26, 100, 1, b"x" * 64, b"proof", S),
    Endorsement(D, D, S),
    Invitation(D),
    Opening(D, D, b"roots", D, b"\1"),
    OpenRequest(D, [1, 2, 3], D),
    RevealRequest(D, {1: D}, {2: S}),
]


def framed(body: bytes) -> bytes:
    """A body that may be bent, in a frame whose digest fits it."""
    return b"SAGG\x01" + framing.digest(body) + body


def fields_of(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.msgpack.decode(encode(message)[framing.HEADER_BYTES :])
    return fields


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_messages_survive_the_wire_and_only_as_themselves(message: Message) -> None:
    data = encode(message)
    assert decode(data, type(message), max_bytes=len(data)) == message
    with pytest.raises(MalformedMessage, match="longer than"):
        decode(data, type(message), max_bytes=len(data) - 1)
    for kind in KINDS:
        if kind is not type(message):
            with pytest.raises(MalformedMessage):
                decode(data, kind, max_bytes=1000)
    for cut in range(len(data)):
        with pytest.raises(MalformedMessage):
            decode(data[:cut], type(message), max_bytes=1000)
    with pytest.raises(MalformedMessage):
        decode(data + b"\0", type(message), max_bytes=1000)
    raw = fields_of(message)
    for change in ({"extra": 1}, {"type": raw["type"].replace("v1", "v2")}, {"session": D[:-1]}, {"session": "text"}):
        with pytest.raises(MalformedMessage):
            decode(framed(msgspec.msgpack.encode(raw | change)), type(message), max_bytes=1000)
    for name in raw:
        missing = {key: value for key, value in raw.items() if key != name}
        with pytest.raises(MalformedMessage):
            decode(framed(msgspec.msgpack.encode(missing)), type(message), max_bytes=1000)


@given(st.binary(max_size=200), st.sampled_from(KINDS))
def test_any_bytes_are_a_message_or_malformed(data: bytes, kind: type[Message]) -> None:
    try:
        message = decode(framed(data), kind, max_bytes=1000)
    except MalformedMessage:
        return
    assert type(message) is kind


@given(st.sampled_from(EXAMPLES), st.data())
def test_flipped_bytes_are_a_message_or_malformed(message: Message, data: st.DataObject) -> None:
    raw = bytearray(encode(message)[framing.HEADER_BYTES :])
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(framed(bytes(raw)), type(message), max_bytes=1000)
    except MalformedMessage:
        return


@pytest.mark.parametrize(
    "change",
    [
        {"num_addends": -1},
        {"num_addends": 1 << 41},
        {"num_addends": 1.0},
        {"num_addends": True},
        {"lane_bits": 1 << 63},
        {"length": None},
        {"signature": bytes(63)},
        {"ciphertexts": "text"},
    ],
)
def test_fields_out_of_bounds_are_malformed(change: dict[str, object]) -> None:
    raw = fields_of(EXAMPLES[2])
    with pytest.raises(MalformedMessage):
        decode(framed(msgspec.msgpack.encode(raw | change)), Contribution, max_bytes=1000)


def test_a_response_is_written_in_as_few_bytes_as_it_takes() -> None:
    raw = fields_of(Opening(D, D, b"roots", D, b"\1"))
    for response in (b"\0\1", b"\0"):
        with pytest.raises(MalformedMessage, match="begins with a zero"):
            decode(framed(msgspec.msgpack.encode(raw | {"response": response})), Opening, max_bytes=1000)
    decode(framed(msgspec.msgpack.encode(raw | {"response": b""})), Opening, max_bytes=1000)


def test_deep_nesting_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        decode(framed(b"\x91" * 100_000), OpenRequest, max_bytes=1 << 20)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_can_be_written_in_one_way_only(message: Message) -> None:
    fields = fields_of(message)
    backwards = framed(msgspec.msgpack.encode(dict(reversed(fields.items()))))
    with pytest.raises(MalformedMessage):
        decode(backwards, type(message), max_bytes=1 << 16)


def test_nobody_is_on_a_list_twice() -> None:
    data = encode(CommitmentList(D, {7: D}))[framing.HEADER_BYTES :]
    entry = data[data.index(b"\x81\x07") + 1 :]
    twice = data[: -len(entry) - 1] + b"\x82" + entry + entry
    assert msgspec.msgpack.decode(twice)["commitments"] == {7: D}
    with pytest.raises(MalformedMessage):
        decode(framed(twice), CommitmentList, max_bytes=1 << 16)
