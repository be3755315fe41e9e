"""Linear systems in whole numbers: Bareiss's elimination without fractions, so that nothing cancels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from secagg.errors import EstimateError

Matrix = Sequence[Sequence[Fraction]]


def inverse(matrix: Matrix) -> list[list[Fraction]]:
    """Invert a symmetric positive definite matrix of rationals, exactly.

    Raises:
        EstimateError: it is not positive definite; the text names the first column that depends on those before it
            (`singular-design`).
    """
    size = len(matrix)
    scale = math.lcm(*(entry.denominator for row in matrix for entry in row))
    whole = [[int(entry * scale) for entry in row] + [int(i == j) for j in range(size)] for i, row in enumerate(matrix)]
    before = 1
    for column in range(size):
        # Each pivot is a leading minor of the matrix: above 0 for all columns if, and only if, it is positive definite.
        line = whole[column]
        pivot = line[column]
        if pivot <= 0:
            raise EstimateError(
                f"column {column} is a combination of those before it: leave it out", reason="singular-design"
            )
        for index, row in enumerate(whole):
            if index != column:
                factor = row[column]
                # Sylvester's identity: the division leaves no remainder.
                whole[index] = [(pivot * a - factor * b) // before for a, b in zip(row, line, strict=True)]
        before = pivot
    # The left half is now the determinant times the unit matrix.
    return [[Fraction(entry * scale, before) for entry in row[size:]] for row in whole]


def times(matrix: Matrix, vector: Sequence[Fraction]) -> list[Fraction]:
    """Multiply a matrix and a vector."""
    return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]
