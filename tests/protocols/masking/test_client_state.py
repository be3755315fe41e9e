"""What a client remembers is a value: it cannot be changed behind the machine's back, and reads back as it was."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from protocols.masking.client.state import ClientState, Confirmed, Masked, Peer, Session

from .harness import small_config

STATES = get_args(ClientState)
SESSION = Session(small_config(), bytes(32), 1)
MASKED = Masked(SESSION, b"key", b"share", {2: b"peer"}, {2: (b"seed share", b"key share")}, b"digest")


@pytest.mark.parametrize("kind", [*STATES, Session, Peer])
def test_states_cannot_be_changed_in_place(kind):
    assert kind.__struct_config__.frozen
    for state in (SESSION, MASKED, Confirmed(MASKED, b"statement", (2,), 2)):
        with pytest.raises(AttributeError):
            setattr(state, state.__struct_fields__[0], None)


def test_states_read_back_as_they_were_and_with_nothing_more():
    state = Confirmed(MASKED, b"statement", (2,), 2)
    written = msgspec.msgpack.encode(state)
    assert msgspec.msgpack.decode(written, type=ClientState) == state
    *fields, last = msgspec.msgpack.decode(written)
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode([*fields, last, None]), type=ClientState)


def test_there_are_eight_states_and_each_has_a_name_of_its_own():
    assert len(STATES) == 8
    assert len({kind.__struct_config__.tag for kind in STATES}) == 8


@pytest.mark.parametrize("kind", [*STATES, Session, Peer])
def test_states_show_nothing(kind):
    assert kind.__repr__ is not msgspec.Struct.__repr__
    for state in (SESSION, MASKED, Confirmed(MASKED, b"statement", (2,), 2)):
        assert repr(state) == f"{type(state).__name__}(...)"
