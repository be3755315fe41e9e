"""A model's arrays by name as vectors of a round, and back: any state dict, BatchNorm's counters included.

Arrays are cut up in the order of their names, so that all sides cut alike. Arrays of floats make one vector; arrays of
integers and booleans another, since both are averaged as numbers and rounded when they are restored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from secagg.encoding import Rounding, readable
from secagg.errors import EncodingError, ParameterError

from .vectors import FloatVector

Array = npt.NDArray[Any]

FLOATS, INTEGERS = "floats", "integers"
_KINDS = {"f": FLOATS, "i": INTEGERS, "u": INTEGERS, "b": INTEGERS}
_MAX_INTEGER = (1 << 51) - 1
"""The greatest level of an encoding."""


_LEAST_BITS = 8
"""What clients demand unless they are told otherwise."""


class HasMeans(Protocol):
    """The result of a round, such as `RoundResult`."""

    def mean(self, name: str, /) -> Array:
        """Return the mean of a vector."""


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
        if unnamed := [name for name in state if not isinstance(name, str)]:
            raise EncodingError(f"an array is named {unnamed[0]!r}, but a name must be a text")
        arrays = {name: _array(name, state[name]) for name in sorted(state)}
        return cls(
            tuple(arrays),
            tuple(array.shape for array in arrays.values()),
            tuple(array.dtype.str for array in arrays.values()),
        )

    def of_kind(self, kind: str) -> list[str]:
        """Return the names of the arrays of a kind, "floats" or "integers"; booleans count as integers."""
        return [name for name, _, _ in self._entries(kind)]

    def length(self, kind: str) -> int:
        """Return how many numbers the arrays of a kind hold."""
        return sum(math.prod(shape) for _, shape, _ in self._entries(kind))

    def vectors(
        self,
        *,
        clip: float = 1.0,
        value_bits: int = 16,
        weighted: bool = False,
        rounding: Rounding = Rounding.STOCHASTIC,
        integer_limit: int = (1 << 31) - 1,
    ) -> tuple[FloatVector, ...]:
        """Return the vectors of a round for such models: "floats", and "integers" where there are any.

        Args:
            clip: of each number of the arrays of floats.
            value_bits: bits of one of them.
            weighted: whether means are by weight, of integers too.
            rounding: stochastic or nearest; integers are exact by either.
            integer_limit: the greatest magnitude of an integer, below 2**51. Smaller ones are summed exactly; those
                beyond are clipped to about it, and counted as clipped.

        Raises:
            ParameterError: integer_limit is out of range.
        """
        if (
            isinstance(integer_limit, bool)
            or not isinstance(integer_limit, int)
            or not 1 <= integer_limit <= _MAX_INTEGER
        ):
            raise ParameterError(f"integer_limit is {integer_limit!r}, but must be an integer from 1 to {_MAX_INTEGER}")
        made = [FloatVector(FLOATS, self.length(FLOATS), clip, value_bits, weighted, rounding)]
        if self._entries(INTEGERS):
            needed = integer_limit.bit_length() + 1  # a level is then one: the clip is the greatest level
            bits = max(needed, _LEAST_BITS)  # of which one is 2**(bits - needed) levels
            most = ((1 << (bits - 1)) - 1) / (1 << (bits - needed))
            made.append(FloatVector(INTEGERS, self.length(INTEGERS), most, bits, weighted, rounding))
        return tuple(made)

    def values(self, state: Mapping[str, Any], *, minus: Mapping[str, Any] | None = None) -> dict[str, Array]:
        """Return a state dict, or how it differs from another, as the values of `vectors`.

        Differences are float64; of integers they are exact before they become that. Else the dtype is the widest of
        the floats', and float64 for integers.

        Raises:
            EncodingError: names, shapes or kinds are not the layout's, or a value is not finite; texts name arrays and
                shapes, and no values.
        """
        arrays = self._arrays(state)
        before = None if minus is None else self._arrays(minus)
        kinds = (FLOATS, INTEGERS) if self._entries(INTEGERS) else (FLOATS,)
        vectors = {}
        for kind in kinds:
            pieces = [
                _piece(name, arrays[name], None if before is None else before[name]) for name in self.of_kind(kind)
            ]
            vectors[kind] = np.concatenate(pieces) if pieces else np.empty(0)
        return vectors

    def restore(
        self, means: HasMeans | Mapping[str, Array], *, plus: Mapping[str, Any] | None = None
    ) -> dict[str, Array]:
        """Return a state dict of the layout's shapes and dtypes from means.

        Args:
            means: a round's result, or the vectors: "floats" and, where there are any, "integers".
            plus: a state dict that is added, where the means are of differences.

        Returns:
            name -> array. Integers are rounded to the nearest; a boolean is true from one half on.

        Raises:
            EncodingError: a vector is missing or of another length, a value does not fit its array's dtype, or `plus`
                is not of this layout.
        """
        before = None if plus is None else self._arrays(plus)
        state: dict[str, Array] = {}
        for kind in (FLOATS, INTEGERS):
            entries = self._entries(kind)
            if not entries:
                continue
            vector = _vector(means, kind, self.length(kind))
            start = 0
            for name, shape, dtype in entries:
                piece = vector[start : start + math.prod(shape)]
                start += piece.size
                fitted = _fitted(name, piece, None if before is None else before[name].reshape(-1), np.dtype(dtype))
                state[name] = fitted.reshape(shape)
        return {name: state[name] for name in self.names}

    def _entries(self, kind: str) -> list[tuple[str, tuple[int, ...], str]]:
        every = zip(self.names, self.shapes, self.dtypes, strict=True)
        return [entry for entry in every if _KINDS[np.dtype(entry[2]).kind] == kind]

    def _arrays(self, state: Mapping[str, Any]) -> dict[str, Array]:
        """Return a state dict's arrays as numpy's, all of the layout's names, shapes and kinds."""
        lacking = sorted(set(self.names) - state.keys())
        beyond = sorted(map(str, state.keys() - set(self.names)))
        if lacking or beyond:
            faults = [f"lack {lacking}"] if lacking else []
            faults += [f"have {beyond}, which did not come"] if beyond else []
            raise EncodingError(f"the arrays {' and '.join(faults)}: return those that came, by their names")
        arrays = {}
        for name, shape, dtype in zip(self.names, self.shapes, self.dtypes, strict=True):
            arrays[name] = array = _array(name, state[name])
            if array.shape != shape or _KINDS[array.dtype.kind] != _KINDS[np.dtype(dtype).kind]:
                raise EncodingError(
                    f"array {name!r} came as {np.dtype(dtype)} of shape {shape} and was returned as {array.dtype} of "
                    f"shape {array.shape}: return the same shape and kind"
                )
        return arrays


def _array(name: str, value: Any) -> Array:
    """Return an array as numpy's; raise EncodingError, which names it, where that cannot be done faithfully."""
    if not isinstance(value, np.ndarray):
        if not hasattr(value, "__array__") and not callable(getattr(value, "numpy", None)):
            raise EncodingError(f"array {name!r} is a {type(value).__name__}, which is no array: convert it")
        try:
            value = np.asarray(value) if hasattr(value, "__array__") else value.numpy()
        except Exception as error:  # whatever a framework raises for a device or a dtype that numpy lacks
            raise EncodingError(
                f"array {name!r} is a {type(value).__name__} that numpy cannot read: detach it, move it to the "
                "CPU, and convert it to float32"
            ) from error
    try:
        return readable(value)
    except EncodingError as error:
        raise EncodingError(f"array {name!r}: {error}") from None


def _piece(name: str, array: Array, before: Array | None) -> Array:
    """Return an array's numbers in a row, less those before."""
    flat = array.reshape(-1)
    if array.dtype.kind != "f":
        exact = _exact(array, before)
        difference = flat.astype(exact) if before is None else flat.astype(exact) - before.reshape(-1).astype(exact)
        return difference.astype(np.float64)
    if before is None:
        flat = flat.astype(array.dtype.newbyteorder("="))
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
            flat = flat.astype(np.float64) - before.reshape(-1)
    if not np.isfinite(flat).all():
        raise EncodingError(f"array {name!r} has values that are not finite: training has diverged")
    return flat


def _vector(means: HasMeans | Mapping[str, Array], kind: str, length: int) -> Array:
    if isinstance(means, Mapping) and kind not in means:
        raise EncodingError(f"the model has {kind}, but there is no such vector among {sorted(means)}")
    vector = readable(means[kind] if isinstance(means, Mapping) else means.mean(kind))
    if vector.shape != (length,):
        raise EncodingError(f"{kind} must be a vector of {length} numbers, not of shape {vector.shape}")
    return vector.astype(np.float64)


def _fitted(name: str, mean: Array, before: Array | None, dtype: np.dtype[Any]) -> Array:
    """Return means, or what they move an array to, in the array's dtype."""
    moved: Array
    if dtype.kind == "f":
        limits: Any = np.finfo(dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            moved = mean if before is None else before.astype(np.float64) + mean
    elif dtype.kind == "b":
        return (mean if before is None else before + mean) >= 0.5
    else:
        limits = np.iinfo(dtype)
        moved = np.rint(mean)
        if not (np.abs(moved) < 2.0**63).all():
            raise EncodingError(f"the mean of array {name!r} does not fit {dtype}")
        if before is not None:
            exact = _exact(before)
            moved = moved.astype(np.int64).astype(exact) + before.astype(exact)
    if moved.size and not (limits.min <= moved.min() and moved.max() <= limits.max):  # NaN is outside, too
        raise EncodingError(f"the mean of array {name!r} does not fit {dtype}")
    return moved.astype(dtype)


def _exact(*arrays: Array | None) -> Any:
    """Return a dtype in which these integers add up exactly: Python's own integers where some have 64 bits."""
    return object if any(array is not None and array.dtype.itemsize == 8 for array in arrays) else np.int64
