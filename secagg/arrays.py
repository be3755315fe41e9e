"""A list of arrays of mixed shapes and float dtypes as one vector, and back: what a model is to the encoding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import EncodingError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ArrayLayout:
    """Shapes and dtypes of a list of arrays: all that is needed to restore it from a flat vector."""

    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]

    @property
    def length(self) -> int:
        """The number of elements in all."""
        return sum(math.prod(shape) for shape in self.shapes)

    def restore(self, vector: Array) -> list[Array]:
        """Cut a vector (length,) into arrays of the original shapes and dtypes.

        Raises:
            EncodingError: the vector has another shape, or a value is too large for its array's dtype, with the array's
                number and the index in the vector.
        """
        if vector.shape != (self.length,):
            raise EncodingError(f"a vector of shape ({self.length},) is expected, not {vector.shape}")
        arrays = []
        start = 0
        for number, (shape, dtype) in enumerate(zip(self.shapes, self.dtypes, strict=True)):
            piece = vector[start : start + math.prod(shape)]
            too_large = np.abs(piece) > np.finfo(dtype).max
            if too_large.any():
                at = start + int(np.flatnonzero(too_large)[0])
                raise EncodingError(f"the value at index {at} does not fit array {number}, {dtype}", index=(at,))
            arrays.append(piece.astype(dtype).reshape(shape))
            start += piece.size
        return arrays


def flatten(arrays: Sequence[Array]) -> tuple[Array, ArrayLayout]:
    """Join float arrays of any shapes into one vector, and say how to restore them.

    Args:
        arrays: float16, float32 or float64, any shapes, also empty ones and none at all.

    Returns:
        The vector (length,) in the widest of the dtypes (float64 for no arrays), and the layout.

    Raises:
        EncodingError: an array is not of a float dtype, with its number.
    """
    for number, array in enumerate(arrays):
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.dtype.itemsize > 8:
            kind = f"of {array.dtype}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
            raise EncodingError(
                f"array {number} is {kind}, but an array must be float16, float32 or float64", index=(number,)
            )
    layout = ArrayLayout(tuple(array.shape for array in arrays), tuple(array.dtype.name for array in arrays))
    if not arrays:
        return np.empty(0, dtype=np.float64), layout
    return np.concatenate([array.reshape(-1) for array in arrays]), layout
