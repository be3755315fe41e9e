"""The random rotation that flattens an update before rounding: random signs, then a Walsh-Hadamard transform.

After it no coordinate stands out, with high probability, so that a modulus of few bits serves all of them.
Source: Kairouz, Liu, Steinke (2021), section 4.2, after Ailon and Chazelle. The signs are public randomness
that all clients of a round share; they hide nothing and privacy does not rest on them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .arrays import readable
from .errors import PrivacyParameterError

Floats = npt.NDArray[np.float64]
SEED_BYTES = 32


def padded_length(length: int) -> int:
    """Return the power of two that a vector of `length` entries is padded to."""
    if length < 1:
        raise PrivacyParameterError(f"length = {length} must be at least 1")
    return 1 << (length - 1).bit_length()


def rotate(vector: npt.ArrayLike, seed: bytes) -> Floats:
    """Return H D x / sqrt(m): float64 (m,), m the next power of two; norms are kept (but for rounding).

    Args:
        vector: finite floats, shape (d,), d >= 1.
        seed: 32 bytes shared by the round's clients and the server; fresh for each round, not secret.

    Raises:
        PrivacyParameterError: a seed of another length, a vector that is not flat, NaN or infinity.
    """
    values = readable(vector).astype(np.float64, copy=False)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise PrivacyParameterError(
            f"rotate takes a flat vector of finite floats, not shape {values.shape}; ravel and clip it first"
        )
    rotated: Floats = rotate_rows(values[np.newaxis], seed)[0]
    return rotated


def rotate_rows(rows: Floats, seed: bytes) -> Floats:
    """Rotate each row as `rotate`, to the last bit: finite floats (n, d) to float64 (n, m)."""
    length = padded_length(rows.shape[1])
    padded = np.zeros((len(rows), length))
    padded[:, : rows.shape[1]] = rows
    padded *= _signs(seed, length)
    return _hadamard(padded)


def rotate_back(rotated: npt.ArrayLike, seed: bytes, length: int) -> Floats:
    """Return the first `length` entries of the inverse rotation; `rotated` has a power of two of entries.

    Linear: it may be applied to a sum of vectors that were rotated with the same seed.
    """
    values = readable(rotated).astype(np.float64)
    if values.ndim != 1 or values.size != padded_length(max(1, length)):
        raise PrivacyParameterError(
            f"{values.shape} does not fit length = {length}: expected ({padded_length(max(1, length))},)"
        )
    return np.asarray((_hadamard(values) * _signs(seed, values.size))[:length])


def _signs(seed: bytes, length: int) -> Floats:
    if len(seed) != SEED_BYTES:
        raise PrivacyParameterError(
            f"the seed has {len(seed)} bytes, not {SEED_BYTES}; draw it with os.urandom({SEED_BYTES})"
        )
    from Crypto.Cipher import AES

    stream = AES.new(seed, AES.MODE_CTR, nonce=b"rotation").encrypt(bytes(-(-length // 8)))
    bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8), bitorder="little")[:length]
    return 1.0 - 2.0 * bits.astype(np.float64)


def _hadamard(values: Floats) -> Floats:
    """Transform the last axis of a contiguous array in place in log2(m) passes, orthonormally."""
    length = values.shape[-1]
    half = 1
    while half < length:
        pairs = values.reshape(-1, 2, half)
        upper = pairs[:, 0] - pairs[:, 1]
        pairs[:, 0] += pairs[:, 1]
        pairs[:, 1] = upper
        half *= 2
    values *= 1 / math.sqrt(length)
    return values
