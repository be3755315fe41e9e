"""What the property tests draw from. Hypothesis draws small things, which shrink; bulk comes from seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from secagg.encoding import FixedPoint, Integers, Rounding
from secagg.field import PRIME
from secagg.residues import lane_dtype

seeds = st.binary(min_size=32, max_size=32)
"""32-byte seeds and keys."""

modulus_bits = st.integers(1, 64)

lane_dtypes = st.sampled_from([np.dtype("<u4"), np.dtype("<u8")])

field_elements = st.one_of(st.integers(0, PRIME - 1), st.sampled_from([0, 1, 2, PRIME - 2, PRIME - 1]))


def random_lanes(bits: int, length: int, seed: int) -> npt.NDArray[Any]:
    """Uniform residues mod 2**bits, with the two extremes among them when there is room."""
    lanes = np.random.default_rng(seed).integers(0, 1 << bits, size=length, dtype=np.uint64, endpoint=False)
    if length >= 2:
        lanes[0], lanes[-1] = (1 << bits) - 1, 0
    return lanes.astype(lane_dtype(bits))


@st.composite
def lanes(draw: st.DrawFn, bits: int, max_size: int = 40) -> npt.NDArray[Any]:
    """Residues mod 2**bits, of any length up to max_size."""
    values = draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=max_size))
    return np.array(values, dtype=lane_dtype(bits))


@st.composite
def fixed_points(draw: st.DrawFn, rounding: Rounding | None = None) -> FixedPoint:
    """Any codec whose sums fit in 64 bits, the widest included."""
    value_bits = draw(st.integers(2, 52))
    # max_level * num_summands * max_weight is below 2**63 whenever num_summands * max_weight <= 2**(64 - value_bits).
    log_summands = draw(st.integers(0, 64 - value_bits))
    return FixedPoint(
        clip=draw(st.floats(1e-6, 1e6)),
        value_bits=value_bits,
        num_summands=draw(st.integers(1, 1 << log_summands)),
        max_weight=draw(st.integers(1, 1 << (64 - value_bits - log_summands))),
        rounding=rounding or draw(st.sampled_from(Rounding)),
    )


@st.composite
def integer_codecs(draw: st.DrawFn) -> Integers:
    """Any codec of integers whose sums fit in 63 bits."""
    log_summands = draw(st.integers(0, 62))
    num_summands = draw(st.integers(1, 1 << log_summands))
    return Integers(max_value=draw(st.integers(1, (1 << (63 - log_summands)) - 1)), num_summands=num_summands)


def float_vectors(size: int, reach: float) -> st.SearchStrategy[npt.NDArray[Any]]:
    """Vectors of any float dtype with values up to +-reach, as far as the dtype has them."""

    def of(dtype: str) -> st.SearchStrategy[npt.NDArray[Any]]:
        bound = min(reach, float(np.finfo(dtype).max))
        values = st.lists(st.floats(-bound, bound), min_size=size, max_size=size)
        return values.map(lambda drawn: np.array(drawn).astype(dtype))

    return st.sampled_from(["float16", "float32", "float64"]).flatmap(of)


@st.composite
def sharings(draw: st.DrawFn, max_shares: int = 12, spare: int = 0) -> tuple[int, list[int]]:
    """A threshold, and distinct non-zero indices, at least `spare` more of them than the threshold."""
    threshold = draw(st.integers(1, max_shares - spare))
    count = draw(st.integers(threshold + spare, max_shares))
    index = st.one_of(st.integers(1, max_shares), st.integers(1, PRIME - 1))
    return threshold, draw(st.lists(index, min_size=count, max_size=count, unique=True))


def flipped(data: bytes, bit: int) -> bytes:
    """The data with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)
