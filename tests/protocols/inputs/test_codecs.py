"""Every kind of vector through one interface: sums are exact, and what cannot be encoded is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import FloatVector, IntegerVector, RoundConfig, ThreatModel
from protocols.inputs.codecs import codec_of
from secagg.errors import EncodingError, ParameterError
from secagg.residues import reduce_in_place

SESSION = bytes(32)


@given(st.data(), st.integers(-(2**40), 0), st.integers(1, 2**40), st.integers(1, 5))
def test_sums_of_signed_integers_are_exact(data: st.DataObject, low: int, high: int, clients: int) -> None:
    codec = codec_of(IntegerVector("v", 3, max_value=high, min_value=low), clients, 1)
    inputs = [data.draw(st.lists(st.integers(low, high), min_size=3, max_size=3)) for _ in range(clients)]
    total = np.zeros(3, dtype=codec.dtype)
    for values in inputs:
        total += codec.encode(np.array(values), session_id=SESSION).residues
    levels = codec.decode(reduce_in_place(total, codec.modulus_bits), num_summands=clients)
    assert codec.release(levels, session_id=SESSION).tolist() == np.sum(inputs, axis=0).tolist()


@pytest.mark.parametrize("value", [-4, 8, 2**40, -(2**62)])
def test_integers_out_of_range_are_named(value: int) -> None:
    codec = codec_of(IntegerVector("votes", 2, max_value=7, min_value=-3), 5, 1)
    with pytest.raises(EncodingError, match=r"'votes': value at index 1 is not from min_value -3 to max_value 7$"):
        codec.encode(np.array([0, value]), session_id=SESSION)


def test_the_range_must_hold_zero_and_fit() -> None:
    for low, high, match in (
        (1, 7, "at most 0"),
        (0, 0, "max_value"),
        (-(2**61), 2**61, "64 bits"),
        (0, True, "integer"),
    ):
        with pytest.raises(ParameterError, match=match):
            codec_of(IntegerVector("v", 1, max_value=high, min_value=low), 100, 1)


@pytest.mark.parametrize(
    "bad",
    [
        np.ma.masked_array([1, 2], mask=[0, 1]),
        np.array([1, None], dtype=object),
        np.array([(1,), (2,)], dtype=[("a", "i4")]),
        np.array([1.0, 2.0]),
        np.array([[1, 2]]),
        [1, 2],
    ],
)
def test_what_cannot_be_read_faithfully_is_refused(bad: object) -> None:
    with pytest.raises(EncodingError, match="vector 'v': "):
        codec_of(IntegerVector("v", 2, max_value=9), 5, 1).encode(bad, session_id=SESSION)


def test_masked_floats_are_refused() -> None:
    masked = np.ma.masked_array([0.5, 7000.0], mask=[0, 1])
    with pytest.raises(EncodingError, match="vector 'v': a masked array"):
        codec_of(FloatVector("v", 2), 5, 1).encode(masked, session_id=SESSION)


def test_counts_of_clipped_coordinates_travel_behind_the_weights() -> None:
    vectors = (FloatVector("a", 4, weighted=True), IntegerVector("n", 1), FloatVector("b", 2, clip=0.5))
    config = RoundConfig(ThreatModel(10), vectors, max_weight=9)
    assert [codec.name for codec in config.codecs] == ["a", "n", "b", "weight", "clipped"]
    values = {"a": np.array([2.0, -3.0, 1.0, 0.0]), "n": np.array([1]), "b": np.array([0.6, 0.4])}
    encoded = config.encode(values, 3, session_id=SESSION)
    assert encoded[-2].residues.tolist() == [3]
    assert encoded[-1].residues.tolist() == [2, 1]
    counts = RoundConfig(ThreatModel(10), (IntegerVector("n", 1),))
    assert [codec.name for codec in counts.codecs] == ["n"]
