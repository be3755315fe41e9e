"""Shamir's secret sharing over GF(2**31 - 1), for byte strings of any length and for vectors of field elements.

Source: Shamir 1979; robust reconstruction is the decoding of a generalised Reed-Solomon code by its syndromes
(Berlekamp-Massey). Byte strings are cut into 30-bit elements, which any prime above 2**30 holds, and a share of them
is four bytes an element, little-endian (SPEC section 6). `threshold` shares reconstruct; threshold - 1 say nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import field
from ._masked import is_masked_array
from .errors import EncodingError, InconsistentShares, ParameterError, ThresholdError
from .field import PRIME, Elements
from .randomness import SYSTEM, RandomBytes
from .residues import pack, packed_bytes, unpack

__all__ = ["reconstruct", "reconstruct_many", "reconstruct_robust", "share_bytes", "split"]

CHUNK_BITS = 30
"""Bits of a byte string in one field element."""

ELEMENT_BYTES = 4
"""Bytes of a field element in a share."""


def num_elements(num_bytes: int) -> int:
    """Return how many field elements a byte string of `num_bytes` takes."""
    return -(-8 * num_bytes // CHUNK_BITS)


def share_bytes(num_bytes: int) -> int:
    """Return how long a share of a byte string of `num_bytes` is."""
    return ELEMENT_BYTES * num_elements(num_bytes)


def split(secret: bytes, *, threshold: int, indices: Sequence[int], random: RandomBytes = SYSTEM) -> dict[int, bytes]:
    """Split a byte string into one share for each index.

    Args:
        secret: any length.
        threshold: how many shares reconstruct, 1 to len(indices); 1 gives everyone the secret.
        indices: distinct and non-zero mod p, one a party.
        random: gives the coefficients, as `split_elements` takes them.

    Returns:
        index -> share, each `share_bytes(len(secret))` long.

    Raises:
        ParameterError: an index is zero or repeated mod p, or the threshold is out of range.

    Security: shares are secret; send each to its party alone.
    """
    shares = split_elements(_to_elements(secret), threshold=threshold, indices=indices, random=random)
    packed = shares.astype("<u4").tobytes()
    size = share_bytes(len(secret))
    return {index: packed[row * size : (row + 1) * size] for row, index in enumerate(indices)}


def split_elements(
    secrets: Elements, *, threshold: int, indices: Sequence[int], random: RandomBytes = SYSTEM
) -> Elements:
    """Split a vector of field elements: secrets (columns,); returns the shares (len(indices), columns), row by index.

    All coefficients are drawn at once (`field.random_elements`): those of x for all columns, then those of x**2, and so
    on.

    Raises:
        ParameterError: as `split`, or a secret is not a field element.
    """
    points = _points(indices)
    _check_threshold(threshold, points.size)
    secrets = field.elements(secrets, name="secrets")
    if secrets.ndim != 1:
        raise ParameterError(f"secrets must be one vector of field elements, not of shape {secrets.shape}")
    coefficients = field.random_elements((threshold - 1) * secrets.size, random=random)
    return field.evaluate(np.concatenate([secrets, coefficients]).reshape(threshold, secrets.size), points)


def reconstruct(shares: Mapping[int, bytes], *, threshold: int, num_bytes: int) -> bytes:
    """Reconstruct a byte string from `threshold` or more shares.

    Args:
        shares: index -> share, as `split` made them.
        threshold: as it was split.
        num_bytes: the length of the secret.

    Raises:
        ThresholdError: fewer than `threshold` shares.
        InconsistentShares: there are more than `threshold` and they are not on one polynomial, or what comes out is
            no byte string of that length. `reconstruct_robust` may still correct them.
        EncodingError: a share has the wrong length or an element that is not below the prime.
    """
    indices, values = _table(shares, num_bytes)
    return _to_bytes(reconstruct_elements(indices, values, threshold=threshold), num_bytes)


def reconstruct_elements(indices: Sequence[int], values: Elements, *, threshold: int) -> Elements:
    """Reconstruct vectors of field elements: values (len(indices), columns); returns (columns,).

    The Lagrange coefficients are computed once for all columns: put many secrets side by side.

    Raises:
        ParameterError: an index is zero or repeated mod p, or a value is no field element.
        ThresholdError: fewer than `threshold` rows.
        InconsistentShares: more than `threshold` rows that are not on one polynomial.
    """
    points, values = _check_table(indices, values, threshold)
    if points.size > threshold and field.syndromes(points, values, threshold).any():
        raise InconsistentShares(
            f"{points.size} shares with threshold {threshold} are not on one polynomial; robust reconstruction can "
            f"correct up to {(points.size - threshold) // 2} of them"
        )
    return field.weighted_sums(field.lagrange_at_zero(points[:threshold]), values[:threshold])


def reconstruct_many(indices: npt.ArrayLike, shares: npt.NDArray[np.uint8], *, num_bytes: int) -> list[bytes | None]:
    """Reconstruct many byte strings, each from exactly as many shares as its threshold, which is the same for all.

    For callers who can tell a wrong secret by other means, and who then turn to `reconstruct_robust`. It is fastest
    where many secrets have the same indices in the same order.

    Args:
        indices: shape (secrets, threshold), of the parties that hold them.
        shares: shape (secrets, threshold, share_bytes(num_bytes)), of uint8; `shares[j, i]` is that of `indices[j, i]`.
        num_bytes: the length of each secret.

    Returns:
        Secret j, or None where a share is malformed or the outcome is no byte string of that length.

    Raises:
        ParameterError: an index is no integer, or zero or repeated mod p; the threshold is 0; shapes or dtypes do not
            fit; or an array is masked.
    """
    given, table = _array(indices, "indices"), _array(shares, "shares")
    size = share_bytes(num_bytes)
    if given.ndim != 2 or not given.shape[1] or table.dtype != np.uint8 or table.shape != (*given.shape, size):
        raise ParameterError(
            f"indices of shape {given.shape} and shares of shape {table.shape} ({table.dtype}) do not fit: they must "
            f"be (secrets, threshold) and (secrets, threshold, {size}) of uint8, with a threshold of at least 1"
        )
    points = _point_rows(given)
    elements = np.ascontiguousarray(table).view("<u4").astype(np.uint64)
    right = (elements < PRIME).all(axis=(1, 2))
    elements[~right] = 0
    secrets = field.at_zero(points, elements)
    right &= (secrets >> CHUNK_BITS == 0).all(axis=1)
    digits = np.unpackbits(secrets.astype("<u4").view(np.uint8), axis=1, bitorder="little")
    digits = digits.reshape(*secrets.shape, 8 * ELEMENT_BYTES)[:, :, :CHUNK_BITS]
    padded = np.packbits(digits.reshape(len(secrets), CHUNK_BITS * secrets.shape[1]), axis=1, bitorder="little")
    right &= ~padded[:, num_bytes:].any(axis=1)
    return [secret[:num_bytes].tobytes() if whole else None for secret, whole in zip(padded, right, strict=True)]


def reconstruct_robust(shares: Mapping[int, bytes], *, threshold: int, num_bytes: int) -> tuple[bytes, frozenset[int]]:
    """Reconstruct a byte string although some shares are wrong.

    A malformed share convicts itself; of m well-formed ones, (m - threshold) // 2 may be wrong. Of more wrong ones, up
    to (m - threshold + 1) // 2 are refused for certain; beyond that, parties that collude can make it accept their
    secret and accuse the others, as no code can tell who is right: hold the outcome against a commitment.

    Returns:
        The secret, and the indices whose shares were malformed or wrong.

    Raises:
        ThresholdError: fewer than `threshold` well-formed shares.
        InconsistentShares: more shares are wrong than can be corrected.
    """
    good = {index: share for index, share in shares.items() if _values([share], num_bytes) is not None}
    indices, values = _table(good, num_bytes)
    secrets, wrong = reconstruct_elements_robust(indices, values, threshold=threshold)
    return _to_bytes(secrets, num_bytes), wrong | (shares.keys() - good.keys())


def reconstruct_elements_robust(
    indices: Sequence[int], values: Elements, *, threshold: int
) -> tuple[Elements, frozenset[int]]:
    """As `reconstruct_elements`, correcting up to (len(indices) - threshold) // 2 wrong rows and naming them.

    A row is wrong if any of its columns is. Columns are decoded one after another; what one column convicts is left out
    before the next is looked at, which leaves room for exactly the errors that remain.
    """
    points, values = _check_table(indices, values, threshold)
    most_errors = (points.size - threshold) // 2
    good = np.arange(points.size)
    while good.size > threshold:
        column_syndromes = field.syndromes(points[good], values[good], threshold)
        dirty = np.flatnonzero(column_syndromes.any(axis=0))
        if not dirty.size:
            break
        errors = field.locate_errors(points[good], column_syndromes[:, dirty[0]])
        if errors is None or points.size - good.size + errors.size > most_errors:
            raise InconsistentShares(
                f"more than {most_errors} of {points.size} shares are wrong, which is more than threshold {threshold} "
                "leaves room to correct"
            )
        good = np.delete(good, errors)
    wrong = frozenset(int(indices[i]) for i in np.setdiff1d(np.arange(points.size), good))
    chosen = good[:threshold]
    return field.weighted_sums(field.lagrange_at_zero(points[chosen]), values[chosen]), wrong


def _points(indices: Sequence[int]) -> Elements:
    """Check indices as the field sees them, before anything is computed with them."""
    try:
        residues = [operator.index(index) % PRIME for index in indices]
    except TypeError:
        raise ParameterError("indices must be integers") from None
    points: Elements = _checked(np.array([residues], dtype=np.uint64))[0]
    return points


def _array(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    if is_masked_array(values):
        raise ParameterError(f"{name} are a masked array, which hides some of them: fill it, or leave them out")
    try:
        return np.asarray(values)
    except ValueError:
        raise ParameterError(f"{name} must be an array, but are rows of different lengths") from None


def _point_rows(indices: npt.NDArray[Any]) -> Elements:
    """Check rows of indices."""
    if indices.dtype.kind not in "iu":
        raise ParameterError(f"indices must be integers of at most 64 bits, not {indices.dtype}")
    wide = indices.astype(np.int64 if indices.dtype.kind == "i" else np.uint64)
    return _checked((wide % PRIME).astype(np.uint64))


def _checked(rows: Elements) -> Elements:
    if not rows.all():
        raise ParameterError("an index is 0 mod p: the share at zero is the secret itself")
    ordered = np.sort(rows, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise ParameterError("indices must be distinct mod p: the same share twice says nothing new")
    return rows


def _check_threshold(threshold: int, num_shares: int) -> None:
    if isinstance(threshold, bool) or not isinstance(threshold, int) or not 1 <= threshold <= num_shares:
        raise ParameterError(f"threshold is {threshold!r}, but must be from 1 to the {num_shares} shares")


def _check_table(indices: Sequence[int], values: Elements, threshold: int) -> tuple[Elements, Elements]:
    points = _points(indices)
    values = field.elements(values)
    if values.ndim != 2 or values.shape[0] != points.size:
        raise ParameterError(f"values must have a row for each of {points.size} indices, not shape {values.shape}")
    if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 1:
        raise ParameterError(f"threshold is {threshold!r}, but must be at least 1")
    if points.size < threshold:
        raise ThresholdError(f"{points.size} shares, but {threshold} are needed", needed=threshold, have=points.size)
    return points, values


def _values(shares: Sequence[bytes], num_bytes: int) -> Elements | None:
    """Return the elements of all shares in a row, or None if any of them is malformed."""
    size = share_bytes(num_bytes)
    if any(len(share) != size for share in shares):
        return None
    values = np.frombuffer(b"".join(shares), dtype="<u4")
    return None if values.size and int(values.max()) >= PRIME else values.astype(np.uint64)


def _table(shares: Mapping[int, bytes], num_bytes: int) -> tuple[list[int], Elements]:
    values = _values(list(shares.values()), num_bytes)
    if values is None:
        malformed = next(index for index, share in shares.items() if _values([share], num_bytes) is None)
        raise EncodingError(
            f"the share of {malformed} is malformed: it must be {num_elements(num_bytes)} four-byte elements below "
            "2**31 - 1"
        )
    return list(shares), values.reshape(len(shares), num_elements(num_bytes))


def _to_elements(secret: bytes) -> Elements:
    columns = num_elements(len(secret))
    padded = bytes(secret).ljust(packed_bytes(columns, CHUNK_BITS), b"\0")
    return unpack(padded, CHUNK_BITS, columns).astype(np.uint64)


def _to_bytes(secrets: Elements, num_bytes: int) -> bytes:
    if secrets.size and int(secrets.max()) >> CHUNK_BITS:
        raise InconsistentShares("shares reconstruct to something that is no byte string")
    padded = pack(secrets.astype(np.uint32), CHUNK_BITS)
    if any(padded[num_bytes:]):
        raise InconsistentShares(f"shares reconstruct to more than {num_bytes} bytes")
    return padded[:num_bytes]
