"""Rounds for records: rows are bounded one by one, their sum is cut, and what is no row is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp import Adjacency, Unit
from dp.randomness import WordStream
from protocols import PrivateCounts, PrivateVector, RoundConfig, ThreatModel
from protocols.inputs.noisy_counts import NoisyCounts
from protocols.inputs.noisy_floats import NoisyFloats
from protocols.inputs.records import votes
from secagg.errors import EncodingError, ParameterError

SEED = bytes(range(32))


def floats(length: int = 5, max_records: int = 3, scale: float = 20.0) -> NoisyFloats:
    return NoisyFloats(PrivateVector("v", length, 1.0, scale, 1.0, Unit.RECORD, max_records), 10)


def counts(bins: int = 3, max_total: int = 4, max_per_record: int = 2, scale: int = 7) -> NoisyCounts:
    return NoisyCounts(PrivateCounts("c", bins, max_total, scale, 1.0, 0, Unit.RECORD, max_per_record), 10)


def known(size: int) -> bytes:
    return bytes(range(size))


rows_of_counts = st.lists(st.lists(st.integers(-2, 5) | st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3))


@given(rows_of_counts, st.integers(1, 4), st.integers(0, 6))
def test_counts_are_bounded_row_by_row_and_cut_bin_by_bin(rows: list[list[int]], most: int, more: int) -> None:
    codec = counts(max_total=most + more, max_per_record=most)
    expected, changed = [0, 0, 0], 0
    for row in rows:
        positive = [max(0, count) for count in row]
        size = sum(positive)
        changed += size > most or min(row) < 0
        expected = [
            total + (count * most * 7 // size if size > most else count * 7)
            for total, count in zip(expected, positive, strict=True)
        ]
    block = np.array(rows, dtype=np.int64).reshape(len(rows), 3)
    levels, found = codec.levels(block, b"", random=known)
    assert levels.tolist() == [min(total, (most + more) * 7) for total in expected]
    assert found == changed


@given(rows_of_counts, st.lists(st.integers(-1, 4), min_size=3, max_size=3))
def test_one_record_moves_a_clients_counts_by_no_more_than_its_own(rows: list[list[int]], one: list[int]) -> None:
    codec = counts()
    without = np.array(rows, dtype=np.int64).reshape(len(rows), 3)
    moved = (
        codec.levels(np.vstack((without, [one])), b"", random=known)[0] - codec.levels(without, b"", random=known)[0]
    )
    l2, l1 = codec.share.sensitivities(Adjacency.ADD_REMOVE)
    assert moved @ moved <= l2**2
    assert np.abs(moved).sum() <= l1


@given(st.integers(0, 6), st.integers(0, 2**32 - 1), st.integers(1, 3), st.data())
def test_floats_are_prepared_row_by_row(records: int, seed: int, room: int, data: st.DataObject) -> None:
    codec = floats(max_records=room)
    rows = np.random.default_rng(seed).normal(size=(records, 5))
    bad = data.draw(st.sets(st.integers(0, records - 1))) if records else set()
    for row in bad:
        rows[row, row % 5] = np.inf
    words = WordStream(codec.length, random=known)
    total, changed = np.zeros(codec.length, dtype=np.int64), 0
    for row in rows:
        finite = bool(np.isfinite(row).all())
        levels, clipped = codec.preparation.prepare_with(row if finite else np.zeros(5), SEED, words)
        assert levels @ levels <= codec.share.l2_bound**2
        total, changed = total + levels, changed + (clipped or not finite)
    levels, found = codec.levels(rows, SEED, random=known)
    most = room * codec.preparation.max_level
    assert levels.tolist() == np.clip(total, -most, most).tolist()
    assert found == changed >= len(bad)


@pytest.mark.parametrize("codec", [floats(), counts(5)])
def test_blocks_are_as_good_as_one_array(codec: Any) -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(7, 5)) if isinstance(codec, NoisyFloats) else rng.integers(0, 3, (7, 5))

    def in_blocks() -> Iterator[np.ndarray]:
        yield rows[:3]
        yield rows[3:3]
        yield rows[3:]

    whole, blocks = (codec.levels(given, SEED, random=known) for given in (rows, in_blocks()))
    assert whole[0].tolist() == blocks[0].tolist()
    assert whole[1] == blocks[1]
    assert codec.levels(iter(()), SEED, random=known)[0].tolist() == [0] * codec.length


@pytest.mark.parametrize(
    ("codec", "value", "text"),
    [
        (floats(), np.zeros(5), "shape"),
        (floats(), np.zeros((2, 4)), "shape"),
        (floats(), np.zeros((2, 5, 1)), "shape"),
        (floats(), np.zeros((2, 5), dtype=np.int64), "floats"),
        (floats(), [[0.0] * 5], "a list was given for a block"),
        (floats(), 7, "blocks"),
        (floats(), "abcde", "a str was given"),
        (floats(), [np.zeros((2, 5)), np.zeros(5)], "shape"),
        (counts(), np.zeros((2, 3)), "integers"),
        (counts(), np.zeros(3, dtype=np.int64), "shape"),
        (counts(), np.array(1), "shape"),
    ],
)
def test_what_is_no_row_is_refused(codec: Any, value: Any, text: str) -> None:
    with pytest.raises(EncodingError, match=text):
        codec.encode(value, session_id=SEED)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"unit": "site"}, "no Unit"),
        ({"unit": None}, "no Unit"),
        ({"max_records": 2}, "its unit is the client"),
        ({"unit": Unit.RECORD, "max_records": 0}, "max_records of 'v' is 0"),
        ({"unit": Unit.RECORD, "max_records": True}, "max_records of 'v' is True"),
        ({"unit": Unit.RECORD, "max_records": 2.0}, "max_records of 'v' is 2.0"),
        ({"unit": Unit.RECORD, "max_records": 2**60}, "bits"),
    ],
)
def test_bad_units_and_bounds_are_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        RoundConfig(ThreatModel(20), (PrivateVector("v", 4, 1.0, 20.0, 1.0, **fields),))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"max_per_record": 2}, "its unit is the client"),
        ({"unit": Unit.RECORD, "max_per_record": 6}, "raise max_total, or lower max_per_record"),
        ({"unit": Unit.RECORD, "max_per_record": -1}, "max_per_record of 'c' is -1"),
    ],
)
def test_bad_bounds_on_counts_are_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        RoundConfig(ThreatModel(20), (PrivateCounts("c", 4, 5, 2, 1.0, **fields),))


def test_a_round_has_one_unit() -> None:
    vectors = PrivateVector("v", 4, 1.0, 20.0, 1.0, Unit.RECORD), PrivateCounts("c", 4, 5, 2, 1.0)
    with pytest.raises(ParameterError, match="different units, client and record"):
        RoundConfig(ThreatModel(20), vectors)


@pytest.mark.parametrize("unit", [5, [], "site"])
def test_what_is_no_unit_is_refused_in_company(unit: Any) -> None:
    vectors = PrivateVector("a", 4, 1.0, 20.0, 1.0, unit), PrivateVector("b", 4, 1.0, 20.0, 1.0)
    with pytest.raises(ParameterError, match="unit"):
        RoundConfig(ThreatModel(20), vectors)


def test_a_record_of_a_client_costs_what_another_client_in_its_place_does() -> None:
    """All that a client hands in may hang on one record: of (3, 0) and (-1, 0), clipped together, and (-1, 0) alone."""
    config = RoundConfig(ThreatModel(20), (PrivateVector("v", 2, 1.0, 20.0, 9.0), PrivateCounts("c", 2, 2, 5, 9.0)))
    for codec, one, other in zip(
        config.codecs, (np.array([1.0, 0]), np.array([2, 0])), (np.array([-1.0, 0]), np.array([0, 2])), strict=True
    ):
        moved = codec.levels(one, SEED, random=known)[0] - codec.levels(other, SEED, random=known)[0]  # type: ignore[attr-defined]
        for adjacency in Adjacency:
            event = codec.event(9, adjacency, Unit.RECORD)
            assert (event.adjacency, event.unit) == (adjacency, Unit.RECORD)  # type: ignore[union-attr]
            assert moved @ moved <= event.l2_sensitivity**2  # type: ignore[union-attr]
        mine = codec.event(9, Adjacency.ADD_REMOVE, Unit.CLIENT)
        assert moved @ moved > mine.l2_sensitivity**2  # type: ignore[union-attr]


def test_a_vote_depends_on_its_own_record_alone() -> None:
    """Blocks of other memory orders, and of other rows beside it, add up squares in another order."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        row = rng.normal(size=64)
        clip_at = float(np.sqrt((row * row).sum()))
        alone = votes(row[None], clip_at)
        for other in (
            np.vstack([row, 5 * row]),
            np.asfortranarray(np.vstack([row, 5 * row])),
            np.stack([row, 5 * row], 1).T,
        ):
            assert votes(other, clip_at) == alone - 1


def test_units_are_taken_by_name() -> None:
    config = RoundConfig(ThreatModel(20), (PrivateVector("v", 4, 1.0, 20.0, 9.0, "record", 5),))  # type: ignore[arg-type]
    assert config.unit is Unit.RECORD
    assert config.event(18).unit is Unit.RECORD  # type: ignore[union-attr]
    assert config.event(18, unit="client").unit is Unit.CLIENT  # type: ignore[arg-type, union-attr]
    with pytest.raises(ParameterError, match="no Unit"):
        config.event(18, unit="site")  # type: ignore[arg-type]
    assert RoundConfig(ThreatModel(20), (PrivateVector("v", 4, 1.0, 20.0, 9.0),)).unit is Unit.CLIENT


@given(st.integers(0, 30), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_all_of_a_client_moves_a_sum_by_no_more_than_its_entries_allow(records: int, room: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for codec, rows in (
        (floats(max_records=room), rng.normal(size=(records, 5))),
        (counts(), rng.integers(0, 3, (records, 3))),
    ):
        levels = codec.levels(rows, SEED, random=known)[0]
        event = codec.event(9, Adjacency.ADD_REMOVE, Unit.CLIENT)
        assert event.unit is Unit.CLIENT
        assert levels @ levels <= event.l2_sensitivity**2
        assert np.abs(levels).sum() <= event.l1_sensitivity
