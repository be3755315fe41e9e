from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.encoding import FixedPoint, Rounding
from secagg.errors import EncodingError, ParameterError
from secagg.paillier import Lanes
from secagg.residues import lane_dtype

from .fixed_keys import private_key

N = private_key().public_key.n


@given(st.integers(2, 64), st.integers(1, 60), st.integers(0, 2**32))
def test_packing_and_unpacking_are_inverse(lane_bits: int, length: int, seed: int) -> None:
    lanes = Lanes(256, lane_bits, length)
    drawn = np.random.default_rng(seed).integers(0, 1 << lane_bits, length, dtype=np.uint64, endpoint=False)
    residues = drawn.astype(lane_dtype(lane_bits))
    plaintexts = lanes.pack(residues)
    assert len(plaintexts) == lanes.num_plaintexts
    assert (lanes.unpack([m % N for m in plaintexts], N) == residues).all()
    assert lanes.unpack(plaintexts, N).dtype == residues.dtype


@given(st.integers(2, 16), st.integers(1, 30), st.integers(1, 50), st.integers(1, 7), st.data())
def test_extreme_sums_fill_their_lanes_and_never_spill(
    value_bits: int, addends: int, length: int, weight: int, data: st.DataObject
) -> None:
    codec = FixedPoint(1.0, value_bits, addends, max_weight=weight, rounding=Rounding.NEAREST)
    lanes = Lanes(256, codec.modulus_bits, length)
    signs = data.draw(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=length, max_size=length))
    one = lanes.pack(codec.encode(np.array(signs), weight=weight).residues)
    total = lanes.unpack([m * addends % N for m in one], N)  # everyone at the very edge of the range
    expected = np.array(signs).astype(np.int64) * codec.max_level * addends * weight
    assert (codec.decode_levels(total, num_summands=addends) == expected).all()


def test_lanes_take_what_the_key_has() -> None:
    assert Lanes(2048, 26, 1).per_plaintext == 78
    assert Lanes(3072, 26, 1).per_plaintext == 118
    assert Lanes(2048, 26, 100_000).num_plaintexts == 1283


def test_an_overflow_beyond_the_lanes_is_an_error() -> None:
    lanes = Lanes(256, 26, 4)
    for plaintext in (N // 2, 1 << 104, -(1 << 104), (1 << 103)):
        with pytest.raises(EncodingError, match="beyond"):
            lanes.unpack([plaintext % N], N)
    with pytest.raises(EncodingError, match="take 1"):
        lanes.unpack([], N)


@pytest.mark.parametrize("arguments", [(256, 1, 5), (256, 65, 5), (256, 26, 0), (256, 26, 2**40), (32, 40, 1)])
def test_impossible_lanes_are_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ParameterError):
        Lanes(*arguments)


def test_other_shapes_are_refused() -> None:
    lanes = Lanes(256, 26, 4)
    for residues in (np.zeros(3, np.uint32), np.zeros((4, 1), np.uint32), np.zeros(4, np.uint64)):
        with pytest.raises(EncodingError):
            lanes.pack(residues)


RESIDUES = np.arange(5, dtype=np.uint32)


@pytest.mark.parametrize(
    "residues",
    [
        np.ma.masked_array(RESIDUES, mask=[True, False, False, False, False]),
        RESIDUES.astype(object),
        RESIDUES.astype(np.int64),
        RESIDUES.astype(np.uint64),
        RESIDUES.astype(float),
        RESIDUES.astype(">u4"),
        RESIDUES.tolist(),
        np.uint32(5),
        None,
        RESIDUES[None],
    ],
)
def test_residues_of_another_kind_are_refused(residues: Any) -> None:
    with pytest.raises(EncodingError, match="lanes"):
        Lanes(256, 22, 5).pack(residues)


def test_sizes_that_numpy_counts_in_are_the_same() -> None:
    plain, numpys = Lanes(256, 22, 30), Lanes(*map(np.int64, (256, 22, 30)))  # type: ignore[arg-type]
    residues = np.arange(30, dtype=np.uint32)
    assert numpys == plain
    assert numpys.pack(residues) == plain.pack(residues)
    for sizes in ((256.0, 22, 30), (256, "22", 30), (256, 22, True), (256, 22, None)):
        with pytest.raises(ParameterError, match="integer"):
            Lanes(*sizes)  # type: ignore[arg-type]
