"""Compiled loops of field.py over GF(2**31 - 1). Imports numba: import this module only from inside a function.

Elements are uint64 below P = 2**31 - 1, so that a product fits, and 2**31 = 1 mod P folds it: one `_fold` takes a
product of elements below 2**32, two take any uint64 below 2**31 + 4, and `_reduce` takes any to below P.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._compiling import compiled

# isort: split
from numba import njit

P = np.uint64(2**31 - 1)
SHIFT = np.uint64(31)
ZERO = np.uint64(0)
ONE = np.uint64(1)
LOW_WORD = np.uint64(0xFFFFFFFF)
LANES = 64


@njit(inline="always")
def _fold(value: Any) -> Any:
    return (value & P) + (value >> SHIFT)


@njit(inline="always")
def _reduce(value: Any) -> Any:
    folded = _fold(_fold(value))
    return folded - P if folded >= P else folded


@njit(inline="always")
def _product(a: Any, b: Any) -> Any:
    """Product of a and b below 2**32; saying so lets the compiler use the 32-bit vector multiplier."""
    return (a & LOW_WORD) * (b & LOW_WORD)


@njit(inline="always")
def _power(base: Any, exponent: Any) -> Any:
    result = ONE
    while exponent > ZERO:
        if exponent & ONE:
            result = _reduce(result * base)
        base = _reduce(base * base)
        exponent >>= ONE
    return result


@compiled
def evaluate(coefficients: Any, points: Any, values: Any) -> None:
    """values[i, l] = sum over j of coefficients[j, l] * points[i]**j, for every point i and column l."""
    accumulator = np.empty(LANES, dtype=np.uint64)
    block = np.empty(LANES, dtype=np.uint64)
    degree = coefficients.shape[0] - 1
    for start in range(0, points.size, LANES):
        count = min(LANES, points.size - start)
        for i in range(LANES):  # always whole blocks, so that the inner loop has a fixed length
            block[i] = points[start + i] if i < count else ZERO
        for column in range(coefficients.shape[1]):
            accumulator[:] = coefficients[degree, column]
            for j in range(degree - 1, -1, -1):
                coefficient = coefficients[j, column]
                for i in range(LANES):
                    value = _product(accumulator[i], block[i]) + coefficient
                    value = (value & P) + (value >> SHIFT)
                    accumulator[i] = (value & P) + (value >> SHIFT)
            for i in range(count):
                values[start + i, column] = _reduce(accumulator[i])


@compiled
def inverse_difference_products(points: Any, result: Any) -> None:
    """result[i] = 1 / product over j != i of (points[j] - points[i]); points distinct."""
    accumulator = np.empty(LANES, dtype=np.uint64)
    block = np.empty(LANES, dtype=np.uint64)
    for start in range(0, points.size, LANES):
        count = min(LANES, points.size - start)
        for i in range(LANES):
            block[i] = points[start + i] if i < count else ZERO
            accumulator[i] = ONE
        for j in range(points.size):
            point = points[j] + P
            for i in range(LANES):
                difference = _fold(point - block[i])
                difference = ONE if difference == P else difference  # the point itself is left out
                value = _product(accumulator[i], difference)
                value = (value & P) + (value >> SHIFT)
                accumulator[i] = (value & P) + (value >> SHIFT)
        for i in range(count):
            result[start + i] = _reduce(accumulator[i])
    _invert_all(result)


@compiled
def lagrange_at_zero(points: Any, weights: Any) -> None:
    """weights[i] = product over j != i of points[j] / (points[j] - points[i]); points distinct and non-zero."""
    product = ONE
    for i in range(points.size):
        product = _reduce(product * points[i])
    inverse_difference_products(points, weights)
    inverses = points.copy()
    _invert_all(inverses)
    for i in range(points.size):
        weights[i] = _reduce(_reduce(product * inverses[i]) * weights[i])


@compiled
def _invert_all(values: Any) -> None:
    """Montgomery's trick: one inversion for all, in place; no value may be zero."""
    count = values.size
    prefixes = np.empty(count + 1, dtype=np.uint64)
    prefixes[0] = ONE
    for i in range(count):
        prefixes[i + 1] = _reduce(prefixes[i] * values[i])
    inverse = _power(prefixes[count], P - np.uint64(2))
    for i in range(count - 1, -1, -1):
        value = values[i]
        values[i] = _reduce(inverse * prefixes[i])
        inverse = _reduce(inverse * value)


@compiled
def weighted_sums(weights: Any, values: Any, sums: Any) -> None:
    """sums[l] = sum over i of weights[i] * values[i, l]; folded products are added up, so up to 2**31 rows fit."""
    sums[:] = ZERO
    for i in range(values.shape[0]):
        weight = weights[i]
        for column in range(values.shape[1]):
            sums[column] += _fold(_product(weight, values[i, column]))
    for column in range(values.shape[1]):
        sums[column] = _reduce(sums[column])


@compiled
def at_zero(points: Any, values: Any, order: Any, sums: Any) -> None:
    """sums[r, l] = the polynomial at zero that is values[r, :, l] at points[r], for all rows r, in that order.

    A row with the same points as the one before uses its weights.
    """
    weights = np.empty(points.shape[1], dtype=np.uint64)
    for at in range(order.size):
        row = order[at]
        if at == 0 or not np.array_equal(points[row], points[order[at - 1]]):
            lagrange_at_zero(points[row], weights)
        weighted_sums(weights, values[row], sums[row])


@compiled
def syndromes(points: Any, weights: Any, columns: Any, result: Any) -> None:
    """result[k, l] = sum over i of weights[i] * columns[l, i] * points[i]**k: zero on polynomials of low degree."""
    powers = weights.copy()
    for k in range(result.shape[0]):
        for column in range(columns.shape[0]):
            row = columns[column]
            total = ZERO
            for i in range(points.size):
                total += _fold(_product(powers[i], row[i]))
            result[k, column] = _reduce(total)
        for i in range(points.size):
            powers[i] = _reduce(_product(powers[i], points[i]))


@compiled
def error_locator(sequence: Any) -> Any:
    """Berlekamp-Massey: the shortest recurrence of a sequence, as coefficients 1, c1, ... of its locator polynomial."""
    size = sequence.size + 1
    current = np.zeros(size, dtype=np.uint64)
    previous = np.zeros(size, dtype=np.uint64)
    current[0] = previous[0] = ONE
    length = 0
    gap = 1
    previous_discrepancy = ONE
    for k in range(sequence.size):
        discrepancy = sequence[k]
        for i in range(1, length + 1):
            discrepancy = _fold(discrepancy + current[i] * sequence[k - i])
        discrepancy = _reduce(discrepancy)
        if discrepancy == ZERO:
            gap += 1
            continue
        factor = _reduce(discrepancy * _power(previous_discrepancy, P - np.uint64(2)))
        saved = current.copy()
        for i in range(gap, size):
            current[i] = _reduce(current[i] + factor * (P - previous[i - gap]))
        if 2 * length <= k:
            length = k + 1 - length
            previous = saved
            previous_discrepancy = discrepancy
            gap = 1
        else:
            gap += 1
    return current[: length + 1]


@compiled
def locator_roots(locator: Any, points: Any, is_root: Any) -> None:
    """is_root[i] says whether the locator vanishes at 1 / points[i]."""
    for i in range(points.size):
        value = ZERO
        for j in range(locator.size):  # the reversed polynomial, at points[i]
            value = _reduce(value * points[i] + locator[j])
        is_root[i] = value == ZERO
