"""A model's arrays by name as vectors of a round, and back: any state dict, BatchNorm's counters included.

Arrays are cut up in the order of their names, so that all sides cut alike. Arrays of floats make one vector; arrays of
integers and booleans another, since both are averaged as numbers and rounded when they are restored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.encoding import Rounding
from secagg.errors import EncodingError

from .codec import readable
from .vectors import FloatVector

Array = npt.NDArray[Any]
Vector = npt.NDArray[np.float64]

FLOATS, INTEGERS = "floats", "integers"
_KINDS = {"f": FLOATS, "i": INTEGERS, "u": INTEGERS, "b": INTEGERS}


@dataclass(frozen=True)
class ModelLayout:
    """Names, shapes and dtypes of a model's arrays, in order of names: what is needed to cut it up and restore it."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> ModelLayout:
        """Take the layout of a state dict.

        Args:
            state: name -> array of float16, float32, float64, integers or booleans, of any shape: numpy's, or whatever
                numpy makes an array of without a loss, such as a tensor of PyTorch's on the CPU.

        Raises:
            EncodingError: an array cannot be averaged; the text names it.
        """
        arrays = {name: _array(name, state[name]) for name in sorted(state)}
        return cls(
            tuple(arrays),
            tuple(array.shape for array in arrays.values()),
            tuple(array.dtype.name for array in arrays.values()),
        )

    def length(self, kind: str) -> int:
        """Return how many numbers the arrays of a kind hold, "floats" or "integers"; booleans count as integers."""
        return sum(math.prod(shape) for name, shape, _ in self._entries(kind))

    def vectors(
        self,
        *,
        clip: float = 1.0,
        value_bits: int = 16,
        weighted: bool = False,
        rounding: Rounding = Rounding.STOCHASTIC,
        integer_limit: float = 2.0**31,
        integer_bits: int = 40,
    ) -> tuple[FloatVector, ...]:
        """Return the vectors of a round for such models: "floats", and "integers" where there are any.

        Args:
            clip: of each number of the arrays of floats.
            value_bits: bits of one of them.
            weighted: whether means are by weight.
            rounding: stochastic or nearest.
            integer_limit: what an integer is clipped to.
            integer_bits: bits of one; its mean is exact to integer_limit / 2**(integer_bits - 1).
        """
        made = [FloatVector(FLOATS, self.length(FLOATS), clip, value_bits, weighted, rounding)]
        if self._entries(INTEGERS):
            made.append(
                FloatVector(INTEGERS, self.length(INTEGERS), integer_limit, integer_bits, weighted, Rounding.NEAREST)
            )
        return tuple(made)

    def values(self, state: Mapping[str, Any], *, minus: Mapping[str, Any] | None = None) -> dict[str, Vector]:
        """Return a state dict, or how it differs from another, as the values of `vectors`: float64, one a kind.

        Raises:
            EncodingError: names, shapes or kinds are not the layout's, or a value is not finite; texts name arrays and
                shapes, and no values.
        """
        vectors = {FLOATS: self._cut(state, minus, FLOATS)}
        if self._entries(INTEGERS):
            vectors[INTEGERS] = self._cut(state, minus, INTEGERS)
        return vectors

    def restore(
        self, vectors: Mapping[str, npt.NDArray[Any]], *, plus: Mapping[str, Any] | None = None
    ) -> dict[str, Array]:
        """Return a state dict of the layout's shapes and dtypes from vectors such as a result's means.

        Args:
            vectors: "floats" and, where there are any, "integers".
            plus: a state dict that is added, where the vectors hold differences.

        Returns:
            name -> array. Integers are rounded to the nearest; a boolean is true from one half on.

        Raises:
            EncodingError: a vector has another length, or a value does not fit its array's dtype.
        """
        state: dict[str, Array] = {}
        for kind in (FLOATS, INTEGERS):
            entries = self._entries(kind)
            vector = np.asarray(vectors[kind] if entries or kind in vectors else (), dtype=np.float64)
            if vector.shape != (self.length(kind),):
                raise EncodingError(f"{kind} must be a vector of {self.length(kind)} numbers, not {vector.shape}")
            start = 0
            for name, shape, dtype in entries:
                piece = vector[start : start + math.prod(shape)].reshape(shape)
                start += piece.size
                if plus is not None:
                    piece = piece + _array(name, plus[name]).astype(np.float64)
                state[name] = _fitted(name, piece, np.dtype(dtype))
        return {name: state[name] for name in self.names}

    def _entries(self, kind: str) -> list[tuple[str, tuple[int, ...], str]]:
        every = zip(self.names, self.shapes, self.dtypes, strict=True)
        return [entry for entry in every if _KINDS[np.dtype(entry[2]).kind] == kind]

    def _cut(self, state: Mapping[str, Any], minus: Mapping[str, Any] | None, kind: str) -> Vector:
        lacking, beyond = sorted(set(self.names) - state.keys()), sorted(state.keys() - set(self.names))
        if lacking or beyond:
            faults = [f"lack {lacking}"] if lacking else []
            faults += [f"have {beyond}, which did not come"] if beyond else []
            raise EncodingError(f"the arrays {' and '.join(faults)}: return those that came, by their names")
        pieces = []
        for name, shape, dtype in self._entries(kind):
            array = _array(name, state[name])
            if array.shape != shape or _KINDS[array.dtype.kind] != kind:
                raise EncodingError(
                    f"array {name!r} came as {dtype} of shape {shape} and was returned as {array.dtype} of shape "
                    f"{array.shape}: return the same shape and kind"
                )
            piece = array.astype(np.float64).reshape(-1)
            if minus is not None:
                piece = piece - _array(name, minus[name]).astype(np.float64).reshape(-1)
            if not np.isfinite(piece).all():
                raise EncodingError(f"array {name!r} has values that are not finite: training has diverged")
            pieces.append(piece)
        return np.concatenate(pieces) if pieces else np.empty(0)


def _array(name: str, value: Any) -> Array:
    """Return an array as numpy's; raise EncodingError, which names it, where that cannot be done faithfully."""
    if not isinstance(value, np.ndarray):
        try:
            value = np.asarray(value)
        except Exception:  # whatever a framework raises for a device or a dtype that numpy lacks
            raise EncodingError(
                f"array {name!r} is a {type(value).__name__} that numpy cannot read: move it to the CPU, and convert "
                "it to float32"
            ) from None
    try:
        array = readable(value)
    except EncodingError as error:
        raise EncodingError(f"array {name!r}: {error}") from None
    if array.dtype.itemsize > 8:
        raise EncodingError(f"array {name!r} is of {array.dtype}, but at most 64 bits can be averaged: convert it")
    return array


def _fitted(name: str, piece: Array, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "b":
        return np.asarray(piece >= 0.5)
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    if dtype.kind != "f":
        piece = np.rint(piece)
    if piece.size and not (float(limits.min) <= np.min(piece) and np.max(piece) <= float(limits.max)):
        raise EncodingError(f"the mean of array {name!r} does not fit {dtype}")
    return np.asarray(piece).astype(dtype)
