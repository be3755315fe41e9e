"""Names, numbers and keys of who takes part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.participants import MAX_NAME_BYTES, Participants
from secagg.errors import ParameterError

printable = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
names = st.lists(printable, min_size=1, max_size=12, unique=True)
keys = st.binary(min_size=32, max_size=32)


@given(names, st.randoms(use_true_random=False))
def test_numbers_follow_the_names_in_whatever_order_they_are_given(given_names, random):
    participants = Participants(given_names)
    random.shuffle(given_names)
    assert participants == Participants(tuple(given_names))
    assert hash(participants) == hash(Participants(iter(given_names)))
    assert participants.names == tuple(sorted(given_names)) == tuple(participants)
    assert [participants.number(name) for name in participants] == list(range(1, len(given_names) + 1))
    assert [participants.name(number) for number in range(1, len(participants) + 1)] == list(participants.names)
    assert participants.named(map(participants.number, given_names)) == frozenset(given_names)
    assert all(name in participants for name in given_names)
    assert (participants.keys, participants.numbered_keys()) == ({}, {})
    with pytest.raises(ParameterError, match="is not known"):
        participants.key(1)


@given(names, st.data())
def test_keys_belong_to_names(given_names, data):
    drawn = data.draw(st.lists(keys, min_size=len(given_names), max_size=len(given_names), unique=True))
    by_name = dict(zip(given_names, drawn, strict=True))
    participants = Participants(by_name)
    assert participants.keys == by_name
    assert participants.numbered_keys() == {participants.number(name): key for name, key in by_name.items()}
    assert all(participants.key(participants.number(name)) == key for name, key in by_name.items())
    assert participants == Participants(dict(reversed(by_name.items()))) != Participants(given_names)
    participants.keys.clear()
    assert participants.keys == by_name
    assert not any(repr(key)[2:-1] in repr(participants) for key in drawn)


@given(names, st.data())
def test_nobody_is_named_twice_or_has_anothers_key(given_names, data):
    twice = data.draw(st.sampled_from(given_names))
    with pytest.raises(ParameterError, match="is named twice"):
        Participants([*given_names, twice])
    with pytest.raises(ParameterError, match="same public key"):
        Participants({**dict.fromkeys([*given_names, " "], bytes(32))})


@pytest.mark.parametrize(
    "name", ["", "a\n", "\x1b[31m", "\u200b", "\ud800", "a" * (MAX_NAME_BYTES + 1), "é" * (MAX_NAME_BYTES // 2 + 1), 7]
)
def test_names_that_cannot_be_shown_are_refused_with_a_text_that_can(name):
    with pytest.raises(ParameterError, match="printable text of 1 to 200 bytes") as caught:
        Participants(["a", name])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_the_longest_name_is_accepted():
    Participants(["a" * MAX_NAME_BYTES, "é" * (MAX_NAME_BYTES // 2)])


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), "0" * 32, None])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ParameterError, match="public key of 'a' is not 32 bytes"):
        Participants({"a": key})


def test_numbered_names_end_in_numbers_of_one_length_and_sort_as_they_do():
    assert Participants.numbered(6).names[::5] == ("client-1", "client-6")
    assert Participants.numbered(10).names[::9] == ("client-01", "client-10")
    assert Participants.numbered(2, "member").names == ("member-1", "member-2")
    many = Participants.numbered(1000)
    assert all(int(many.name(number).rpartition("-")[2]) == number for number in (1, 9, 10, 99, 100, 999, 1000))
    for count in (0, -1, 1.0, True, "6"):
        with pytest.raises(ParameterError, match="number of participants"):
            Participants.numbered(count)


def test_strangers_have_no_numbers_and_no_names():
    participants = Participants.numbered(3)
    for number in (0, 4, -1):
        with pytest.raises(ParameterError, match="none of 1 to 3"):
            participants.name(number)
    with pytest.raises(ParameterError, match="none of the 3 participants"):
        participants.number("client-4")
    assert "client-4" not in participants
    assert repr(Participants.numbered(9)) == "Participants(9: client-1, client-2, client-3, ...)"
    assert repr(participants) == "Participants(3: client-1, client-2, client-3)"


def test_texts_of_numpys_are_kept_as_pythons():
    participants = Participants(np.array(["b", "a"]))
    assert [type(name) for name in participants.names] == [str, str]
    keyed = Participants({np.str_("a"): bytes(32)})
    assert (keyed.keys, type(next(iter(keyed.keys)))) == ({"a": bytes(32)}, str)
