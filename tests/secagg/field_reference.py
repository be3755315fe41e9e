"""Slow and obvious arithmetic in GF(2**31 - 1) on Python integers: what the kernels are compared with."""

from __future__ import annotations

from collections.abc import Sequence

PRIME = 2**31 - 1


def evaluate(coefficients: Sequence[int], x: int) -> int:
    """The polynomial whose coefficient of x**j is coefficients[j], at x."""
    return sum(c * pow(x, j, PRIME) for j, c in enumerate(coefficients)) % PRIME


def interpolate(points: Sequence[tuple[int, int]]) -> list[int]:
    """The coefficients of the one polynomial of degree < len(points) through the points (Lagrange)."""
    result = [0] * len(points)
    for i, (x, y) in enumerate(points):
        basis, denominator = [1], 1
        for j, (other, _) in enumerate(points):
            if i != j:
                # multiply the basis polynomial by X - other
                shifted, scaled = [0, *basis], [-other * c for c in [*basis, 0]]
                basis = [(a + b) % PRIME for a, b in zip(shifted, scaled, strict=True)]
                denominator = denominator * (x - other) % PRIME
        factor = y * pow(denominator, -1, PRIME)
        result = [(a + factor * b) % PRIME for a, b in zip(result, basis, strict=True)]
    return result
