"""GF(p) with p = 2**31 - 1, vectorised: what Shamir's scheme needs and nothing more.

Elements are uint64 arrays below p. The prime is chosen for speed: a product fits in 64 bits and 2**31 = 1 mod p. Its
size limits the number of parties, not the length or the entropy of a secret, which is cut into many elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._masked import is_masked_array
from .errors import ParameterError
from .loops import compiled_pays
from .randomness import SYSTEM, RandomBytes

PRIME = 2**31 - 1

_CALLS = 200
"""As many numbers as numpy could go through while it is called for one step of Horner's rule."""

Elements = npt.NDArray[np.uint64]


def elements(values: Any, *, name: str = "values") -> Elements:
    """Return values as field elements; raise ParameterError for anything that is not an integer from 0 to p - 1."""
    if is_masked_array(values):
        raise ParameterError(f"{name} are a masked array, which hides some of them: fill it, or leave them out")
    array = np.asarray(values)
    if array.dtype.kind not in "iu" and array.size:
        raise ParameterError(f"{name} must be integers, not {array.dtype}")
    if array.size and (int(array.min()) < 0 or int(array.max()) >= PRIME):
        raise ParameterError(f"{name} must be from 0 to {PRIME - 1} (the field's prime is 2**31 - 1)")
    return np.ascontiguousarray(array, dtype=np.uint64)


def random_elements(count: int, *, random: RandomBytes = SYSTEM) -> Elements:
    """Return `count` uniform field elements: the low 31 bits of four little-endian bytes each; p itself is redrawn."""
    drawn = np.empty(0, dtype=np.uint64)
    while drawn.size < count:
        raw = np.frombuffer(random(4 * (count - drawn.size)), dtype="<u4") & np.uint32(PRIME)
        drawn = np.concatenate([drawn, raw[raw != PRIME].astype(np.uint64)])
    return drawn


def evaluate(coefficients: Elements, points: Elements) -> Elements:
    """Evaluate polynomials at points: coefficients (degree + 1, columns), points (n,); returns (n, columns)."""
    values = np.empty((points.size, coefficients.shape[1]), dtype=np.uint64)
    if compiled_pays(coefficients.shape[0] * (values.size + _CALLS)):
        from . import _field_kernels

        _field_kernels.evaluate(coefficients, points, values)
    else:
        _evaluate(coefficients, points, values)
    return values


def lagrange_at_zero(points: Elements) -> Elements:
    """Return the weights that take values at distinct non-zero points to the polynomial's value at zero."""
    from . import _field_kernels

    weights = np.empty(points.size, dtype=np.uint64)
    _field_kernels.lagrange_at_zero(points, weights)
    return weights


def weighted_sums(weights: Elements, values: Elements) -> Elements:
    """Return weights @ values in the field: weights (m,), values (m, columns); returns (columns,)."""
    from . import _field_kernels

    sums = np.empty(values.shape[1], dtype=np.uint64)
    _field_kernels.weighted_sums(weights, np.ascontiguousarray(values), sums)
    return sums


def at_zero(points: Elements, values: Elements) -> Elements:
    """Return the values at zero of many polynomials: points (m, t), values (m, t, columns); returns (m, columns)."""
    from . import _field_kernels

    points = np.ascontiguousarray(points)
    # Rows of equal points come one after another: their weights, which take t times as long as a sum, are made once.
    order = np.argsort(points.view(f"V{points.shape[1] * points.itemsize}")[:, 0], kind="stable")
    sums = np.empty((values.shape[0], values.shape[2]), dtype=np.uint64)
    _field_kernels.at_zero(points, np.ascontiguousarray(values), order, sums)
    return sums


def syndromes(points: Elements, values: Elements, threshold: int) -> Elements:
    """Return (m - threshold, columns) syndromes: zero in a column iff its values lie on a polynomial of degree < t."""
    from . import _field_kernels

    weights = np.empty(points.size, dtype=np.uint64)
    # The dual code's column multipliers, up to a common sign.
    _field_kernels.inverse_difference_products(points, weights)
    result = np.empty((points.size - threshold, values.shape[1]), dtype=np.uint64)
    _field_kernels.syndromes(points, weights, np.ascontiguousarray(values.T), result)
    return result


def locate_errors(points: Elements, column_syndromes: Elements) -> npt.NDArray[np.intp] | None:
    """Return which points carry errors, given one column's syndromes, or None if there are too many to tell."""
    from . import _field_kernels

    locator = _field_kernels.error_locator(np.ascontiguousarray(column_syndromes))
    is_root = np.empty(points.size, dtype=np.bool_)
    _field_kernels.locator_roots(locator, points, is_root)
    positions = np.flatnonzero(is_root)
    num_errors = locator.size - 1
    return positions if positions.size == num_errors <= column_syndromes.size // 2 else None


def _evaluate(coefficients: Elements, points: Elements, values: Elements) -> None:
    """As the compiled `evaluate`: Horner's rule, without divisions, whose time may tell of what is secret."""
    column, prime, bits = points[:, np.newaxis], np.uint64(PRIME), np.uint64(31)
    values[:] = coefficients[-1]
    for row in coefficients[-2::-1]:
        values *= column  # below 2**32 times below 2**31
        values += row
        for _ in range(2):
            high = values >> bits
            values &= prime
            values += high
    values -= prime * (values >= prime)
