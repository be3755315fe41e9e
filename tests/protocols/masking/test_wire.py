from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core import dumps, framing
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking import messages, traffic, wire
from protocols.masking.config import MAX_LENGTH, RoundConfig
from protocols.masking.messages import MaskedInput, ToClient, ToServer, UnmaskingRequest
from protocols.masking.server.state import ServerState
from secagg.errors import MalformedMessage, StateError

from .harness import Session, small_config


def recorded_messages() -> list[bytes]:
    """Every kind of message, as a malicious-server session with a dropout produces them."""
    record: list[bytes] = []

    def keep(crossing):
        record.append(crossing.data)
        return crossing.data

    config = small_config(5, Adversary.MALICIOUS_SERVER, dropout=0.2)
    Session(config, wire=keep).run({"masked-input": {2}})
    return record


RECORDED = recorded_messages()
BY_TYPE = {type(wire.decode(data, ToClient | ToServer, max_bytes=1 << 20)): data for data in RECORDED}


def test_the_record_has_every_message_there_is():
    assert {kind.__name__ for kind in BY_TYPE} == {
        kind.__name__ for union in (ToClient, ToServer) for kind in union.__args__
    }


@pytest.mark.parametrize("kind", BY_TYPE, ids=lambda kind: kind.__name__)
def test_messages_survive_the_wire(kind):
    message = wire.decode(BY_TYPE[kind], kind, max_bytes=1 << 20)
    assert isinstance(message, kind)
    assert wire.encode(message) == BY_TYPE[kind]


@pytest.mark.parametrize("kind", BY_TYPE, ids=lambda kind: kind.__name__)
def test_a_message_is_nothing_else(kind):
    for other in BY_TYPE:
        if other is not kind:
            with pytest.raises(MalformedMessage):
                wire.decode(BY_TYPE[kind], other, max_bytes=1 << 20)


@given(st.binary(max_size=300))
def test_random_bytes_are_no_message(data):
    with pytest.raises(MalformedMessage):
        wire.decode(data, ToServer | ToClient, max_bytes=1 << 20)


def seal(body: bytes, version: int = messages.VERSION) -> bytes:
    """A body with an honest header, so that it reaches the decoder."""
    return b"SAGG" + bytes([version]) + framing.digest(body) + body


@given(st.binary(max_size=300))
def test_random_bodies_are_no_message(body):
    with pytest.raises(MalformedMessage):
        wire.decode(seal(body), ToServer | ToClient, max_bytes=1 << 20)


def test_a_peers_words_are_shown_without_their_colours_and_not_at_any_length():
    """They go to logs and terminals."""
    coloured = msgspec.msgpack.encode(["masked-\x1b[31minput\n"])
    with pytest.raises(MalformedMessage) as raised:
        wire.decode(seal(coloured), ToServer, max_bytes=1 << 20)
    assert "masked-?[31minput?" in str(raised.value)
    spec = {"type": "floats", "x" * 10_000: 1}
    invitation = msgspec.msgpack.encode(["invitation", 1, [[2, 0.0, 0.0, "curious-server"], [spec]], bytes(32)])
    with pytest.raises(MalformedMessage) as raised:
        wire.decode(seal(invitation), ToClient, max_bytes=1 << 20)
    assert "xxx" in str(raised.value)
    assert len(str(raised.value)) < 600
    with pytest.raises(StateError, match=r"\?\[31m"):
        dumps.decode_state(dumps.encode_state({"\x1b[31m": 1}), ServerState)


@given(st.data())
def test_any_flipped_bit_is_noticed(data):
    original = data.draw(st.sampled_from(RECORDED))
    bit = data.draw(st.integers(0, 8 * len(original) - 1))
    flipped = bytearray(original)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(MalformedMessage):
        wire.decode(bytes(flipped), ToServer | ToClient, max_bytes=1 << 20)


@given(st.data())
def test_mutated_bodies_with_honest_digests_decode_or_raise_a_named_error(data):
    original = data.draw(st.sampled_from(RECORDED))
    body = bytearray(original[framing.HEADER_BYTES :])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        match data.draw(st.sampled_from(["set", "cut", "repeat"])):
            case "set":
                body[at] = data.draw(st.integers(0, 255))
            case "cut":
                del body[at : at + data.draw(st.integers(1, 40))]
            case "repeat":
                body[at:at] = body[at : at + data.draw(st.integers(1, 40))]
        if not body:
            break
    try:
        message = wire.decode(seal(bytes(body)), ToServer | ToClient, max_bytes=1 << 20)
    except MalformedMessage:
        return
    assert type(message) in BY_TYPE
    assert msgspec.msgpack.encode(message) == body


@given(st.data())
def test_truncated_messages_are_refused(data):
    original = data.draw(st.sampled_from(RECORDED))
    with pytest.raises(MalformedMessage):
        wire.decode(original[: data.draw(st.integers(0, len(original) - 1))], ToServer | ToClient, max_bytes=1 << 20)


def test_size_is_checked_first():
    with pytest.raises(MalformedMessage, match="longer than the 10"):
        wire.decode(b"x" * 11, ToServer, max_bytes=10)


def test_other_versions_are_refused_by_number():
    body = RECORDED[0][framing.HEADER_BYTES :]
    with pytest.raises(MalformedMessage, match="version 2, but this is version 1"):
        wire.decode(seal(body, version=2), ToClient, max_bytes=1 << 20)


@pytest.mark.parametrize("header", [b"\xdd", b"\xdf", b"\xc6", b"\xdb"], ids=["array", "map", "bytes", "text"])
def test_claims_of_enormous_lengths_allocate_nothing(header):
    import tracemalloc

    for kind in BY_TYPE:
        tag = str(kind.__struct_config__.tag).encode()
        num_fields = len(kind.__struct_fields__) + 1
        for position in range(num_fields - 1):
            body = bytes([0x90 | num_fields, 0xA0 | len(tag)]) + tag + b"\x01" * position + header + b"\xff" * 4
            tracemalloc.start()
            with pytest.raises(MalformedMessage):
                wire.decode(seal(body), kind, max_bytes=1 << 20)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 1 << 20


@pytest.mark.parametrize("kind", BY_TYPE, ids=lambda kind: kind.__name__)
def test_unknown_and_missing_fields_are_refused(kind):
    fields = msgspec.msgpack.decode(BY_TYPE[kind][framing.HEADER_BYTES :])
    for broken in (fields[:1], fields[:-1], [*fields, 1]):
        with pytest.raises(MalformedMessage):
            wire.decode(seal(msgspec.msgpack.encode(broken)), kind, max_bytes=1 << 20)


def test_every_message_of_a_round_fits_its_limit():
    for config in (small_config(), small_config(length=0), small_config(3, length=10_000)):
        limit = wire.max_bytes(config)
        sizes: list[int] = []

        def measure(crossing, sizes=sizes):
            sizes.append(len(crossing.data))
            return crossing.data

        Session(config, wire=measure).run()
        assert max(sizes) <= limit


def rewritten(message: object, change: Callable[[bytes], bytes]) -> bytes:
    """The message with another body that says the same, and an honest digest."""
    return seal(change(msgspec.msgpack.encode(message)))


ONE_WAY = {
    "as it is": (lambda body: body, True),
    "a map key twice": (
        lambda body: body.replace(b"\x81\x02", b"\x82\x02" + bytes([0xC4, 64]) + bytes(64) + b"\x02"),
        False,
    ),
    "a number in a long form": (lambda body: body.replace(b"\x81\x02", b"\x81\xcc\x02"), False),
    "a number as a signed one": (lambda body: body.replace(b"\xcd\x01\x2c", b"\xd1\x01\x2c"), False),
    "a map in a long form": (lambda body: body.replace(b"\x81\x02", b"\xde\x00\x01\x02"), False),
}


@pytest.mark.parametrize("name", ONE_WAY)
def test_a_message_can_be_written_in_one_way_only(name):
    change, accepted = ONE_WAY[name]
    data = rewritten(UnmaskingRequest(bytes(32), 1, 300, (), {2: bytes(64)}), change)
    if accepted:
        assert wire.decode(data, ToClient, max_bytes=1 << 16).confirmations.keys() == {2}
        return
    with pytest.raises(MalformedMessage, match="one way"):
        wire.decode(data, ToClient, max_bytes=1 << 16)


def test_traffic_is_reckoned_without_a_byte_of_the_inputs():
    """A table of bytes took as much memory as the inputs that it is about: here half a terabyte."""
    base = traffic.estimate(RoundConfig(ThreatModel(5), (IntegerVector("v", 0),))).sent_bytes
    for length in (1, 255, 256, 65_535, 65_536):  # a lane of 8 bits: a byte each
        config = RoundConfig(ThreatModel(5), (IntegerVector("v", length, max_value=51),))
        empty, full = (MaskedInput(bytes(32), 5, (memoryview(bytes(n)),), ()) for n in (0, length))
        more = len(wire.encode(full)) - len(wire.encode(empty))
        assert (config.input_bytes, traffic.estimate(config).sent_bytes - base) == (length, more)
    largest = RoundConfig(ThreatModel(5), tuple(IntegerVector(f"v{i}", MAX_LENGTH, 51) for i in range(64)))
    assert traffic.estimate(largest).sent_bytes > 64 * MAX_LENGTH
