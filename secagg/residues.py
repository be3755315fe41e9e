"""Vectors of residues mod 2**modulus_bits: the lanes they live in, and exactly modulus_bits an element on the wire.

Lanes are uint32 up to 32 bits and uint64 up to 64; the wrap-around of unsigned integers plus one bit-mask *is*
the reduction mod 2**modulus_bits, so sums may run unreduced and be reduced once, at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _bit_arrays
from ._masked import is_masked_array
from .errors import EncodingError, ParameterError
from .loops import compiled_pays

Residues = npt.NDArray[Any]
"""A one-dimensional array of lanes: uint32 or uint64, as `lane_dtype` says."""

MAX_MODULUS_BITS = 64

_STRETCH = 1 << 16
"""Lanes that are unpacked at a time, so that all of it stays in cache; a multiple of 8, which begins with a byte."""

_READING = 2
"""numpy takes twice as long for a number that it reads as for one that it writes."""


def lane_dtype(modulus_bits: int) -> np.dtype[Any]:
    """Return the dtype that holds residues mod 2**modulus_bits: uint32 up to 32 bits, else uint64.

    Raises:
        ParameterError: modulus_bits is not an integer from 1 to 64.
    """
    if not isinstance(modulus_bits, int) or not 1 <= modulus_bits <= MAX_MODULUS_BITS:
        raise ParameterError(
            f"modulus_bits is {modulus_bits!r}, but must be an integer from 1 to {MAX_MODULUS_BITS}: "
            "use fewer value bits, fewer summands or a smaller maximum weight"
        )
    return np.dtype("<u4") if modulus_bits <= 32 else np.dtype("<u8")


def packed_bytes(length: int, modulus_bits: int) -> int:
    """Return how many bytes `pack` makes of `length` residues."""
    return (length * modulus_bits + 7) // 8


def reduce_in_place(residues: Residues, modulus_bits: int) -> Residues:
    """Reduce lanes mod 2**modulus_bits in place, and return them."""
    dtype = lane_dtype(modulus_bits)
    _check_lanes(residues, modulus_bits)
    if modulus_bits < dtype.itemsize * 8:
        np.bitwise_and(residues, dtype.type((1 << modulus_bits) - 1), out=residues)
    return residues


def pack(residues: Residues, modulus_bits: int) -> bytes:
    """Write residues as one little-endian bit string, exactly modulus_bits an element (SPEC section 4).

    Args:
        residues: shape (length,), the lane dtype of modulus_bits; bits above modulus_bits are ignored.
        modulus_bits: 1 to 64.

    Returns:
        `packed_bytes(length, modulus_bits)` bytes; the unused high bits of the last one are zero.
    """
    _check_lanes(residues, modulus_bits)
    lanes = np.ascontiguousarray(residues)
    if modulus_bits in (32, 64):
        return lanes.tobytes()
    num_bytes = packed_bytes(lanes.size, modulus_bits)
    words = np.empty(num_bytes // 8 + 1, dtype="<u8")
    if compiled_pays(lanes.size):
        from . import _bit_kernels

        _bit_kernels.pack(lanes, np.uint64(modulus_bits), words)
    else:
        _bit_arrays.pack(lanes, modulus_bits, words)
    return words.view(np.uint8)[:num_bytes].tobytes()


def unpack(packed: bytes | memoryview, modulus_bits: int, length: int) -> Residues:
    """Read back what `pack` wrote: `length` fresh lanes, each below 2**modulus_bits.

    Raises:
        EncodingError: the number of bytes is not exactly what `length` residues take, or a padding bit is set.
    """
    check_packed(packed, modulus_bits, length)
    residues = np.zeros(length, dtype=lane_dtype(modulus_bits))
    add_packed(residues, packed, modulus_bits)
    return residues


def check_packed(packed: bytes | memoryview, modulus_bits: int, length: int) -> None:
    """Raise EncodingError unless these are bytes that `pack` can have written of so many residues.

    The modulus is checked as by `lane_dtype`.
    """
    lane_dtype(modulus_bits)  # which refuses other moduli
    expected = packed_bytes(length, modulus_bits)
    if length < 0 or len(packed) != expected:
        raise EncodingError(
            f"{len(packed)} bytes do not hold {length} residues of {modulus_bits} bits: expected {expected} bytes"
        )
    padding_bits = expected * 8 - length * modulus_bits
    if padding_bits and packed[-1] >> (8 - padding_bits):
        raise EncodingError(f"the last {padding_bits} padding bits of packed residues must be zero")


def add_packed(total: Residues, packed: bytes | memoryview, modulus_bits: int) -> None:
    """Add what `pack` wrote to lanes, in place and in one pass: `unpack` without lanes of its own.

    Args:
        total: shape (length,), the lane dtype of modulus_bits; sums wrap around.
        packed: of as many residues.
        modulus_bits: 1 to 64.

    Raises:
        EncodingError: as `unpack`, or the lanes cannot be written; nothing was added then.
    """
    _check_lanes(total, modulus_bits)
    if not total.flags.writeable:
        raise EncodingError("packed residues are added in place, but the lanes are read-only: give a copy")
    check_packed(packed, modulus_bits, total.size)
    if modulus_bits in (32, 64):
        np.add(total, np.frombuffer(packed, dtype=total.dtype), out=total)
        return
    add: Any = _bit_arrays.add_unpacked
    source, done = np.frombuffer(memoryview(packed).toreadonly(), dtype=np.uint8), 0
    if compiled_pays(_READING * total.size):
        from . import _bit_kernels

        add = _bit_kernels.add_unpacked
        side_by_side = total.flags.c_contiguous  # that loop knows where lanes begin, and no strides
        if side_by_side and modulus_bits <= _bit_kernels.WIDEST and _bit_kernels.picks_bytes():
            places = _bit_kernels.places(modulus_bits)
            done = _bit_kernels.add_eights(source, np.uint64(modulus_bits), *places, total)
    words = np.zeros(min(total.size - done, _STRETCH) * modulus_bits // 64 + 2, dtype="<u8")
    for start in range(done, total.size, _STRETCH):
        lanes = total[start : start + _STRETCH]
        stretch = source[start * modulus_bits // 8 : -(-(start + lanes.size) * modulus_bits // 8)]
        words.view(np.uint8)[: stretch.size] = stretch  # to where words can be read
        add(words, np.uint64(modulus_bits), lanes)


def _check_lanes(residues: Residues, modulus_bits: int) -> None:
    dtype = lane_dtype(modulus_bits)
    if is_masked_array(residues) or residues.dtype != dtype or residues.ndim != 1:
        raise EncodingError(
            f"residues mod 2**{modulus_bits} are one-dimensional {dtype.name} lanes, "
            f"not {residues.dtype} of shape {residues.shape}"
        )
