"""What is in a train message: a digest of all of it, and its model as vectors of floats and of counters.

A model is cut up in the order of its keys' names, so that both sides cut alike whatever order a transport keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, RecordDict

from secagg.derivation import Label, digest
from secagg.errors import EncodingError

from ..inputs.models import FLOATS, INTEGERS, ModelLayout

Vector = npt.NDArray[np.float64]


def content_digest(content: RecordDict) -> bytes:
    """Return 32 bytes that stand for every record: kinds, names, keys, values, dtypes and shapes."""
    parts: list[bytes] = []
    for name, record in sorted(content.items()):
        parts += [type(record).__name__.encode(), name.encode(), len(record).to_bytes(4, "big")]
        for key, value in sorted(record.items()):
            parts += [key.encode(), *_value(value)]
    return digest(Label.FLOWER_CONTENT, *parts)


def _value(value: Any) -> Iterable[bytes]:
    if isinstance(value, Array):
        return (msgspec.msgpack.encode([value.dtype, list(value.shape), value.stype]), value.data)
    return (msgspec.msgpack.encode(value),)


@dataclass(frozen=True)
class Model:
    """A model's arrays by key, each of floats or of integers ("counters", such as the batches that a layer has seen).

    Its repr shows no value.
    """

    arrays: dict[str, npt.NDArray[Any]]
    layout: ModelLayout

    def __repr__(self) -> str:
        return f"Model({len(self.arrays)} arrays)"

    @classmethod
    def of(cls, record: ArrayRecord) -> Model:
        """Take the arrays out of Flower's record.

        Raises:
            EncodingError: an array cannot be read, or is neither of floats of at most 64 bits nor of integers.
        """
        arrays = {}
        for key, value in record.items():
            try:
                arrays[key] = np.asarray(value.numpy())
            except Exception:  # numpy's reader lets through what its parsers raise: zip files, tokens, memory
                raise EncodingError(f"array {key!r} cannot be read: it is not in numpy's format") from None
        return cls(arrays, ModelLayout.of(arrays))

    def keys(self, kind: str) -> list[str]:
        """Return the keys of the arrays of "floats" or "integers", sorted; booleans are integers."""
        return self.layout.of_kind(kind)

    def length(self, kind: str) -> int:
        """Return the number of their coordinates."""
        return self.layout.length(kind)

    def changes(self, trained: Model) -> tuple[Vector, Vector]:
        """Return what training has changed, floats and integers, as vectors of float64; raises as `ModelLayout.values`.

        Texts name keys and shapes, and no values.
        """
        changed = self.layout.values(trained.arrays, minus=self.arrays)
        return changed[FLOATS], changed.get(INTEGERS, np.empty(0))

    def changed_floats(self, trained: Model) -> Vector:
        """Return what training has changed in the arrays of floats alone; raises as `changes`."""
        keys = self.keys(FLOATS)
        layout = ModelLayout.of({key: self.arrays[key] for key in keys})
        kept = {key: trained.arrays[key] for key in keys if key in trained.arrays}
        return layout.values(kept, minus={key: self.arrays[key] for key in keys})[FLOATS]

    def rows_of_floats(self, changes: Model) -> npt.NDArray[np.float64]:
        """Return one change of the arrays of floats for each record, a row each, float64 (records, length).

        Args:
            changes: the same arrays with one more axis in front, along which the records stand.

        Raises:
            EncodingError: an array of floats is missing, of another shape or kind, or of another number of records.
        """
        rows = []
        for key in self.keys(FLOATS):
            array = changes.arrays.get(key, np.empty(0))
            shape = self.arrays[key].shape
            if array.dtype.kind != "f" or array.shape[1:] != shape or array.ndim < 1:
                wanted = ", ".join(map(str, ("records", *shape)))
                raise EncodingError(f"array {key!r} must be of floats of shape ({wanted}): one change for each record")
            rows.append(array.reshape(len(array), self.arrays[key].size).astype(np.float64))
        if len({len(part) for part in rows}) != 1:
            raise EncodingError(f"the arrays have {[len(part) for part in rows]} records, but each record is in all")
        return np.concatenate(rows, axis=1)

    def plus(self, floats: Vector, counters: Vector) -> ArrayRecord:
        """Return this model with mean differences added, in its order, shapes and dtypes; counters are rounded.

        Raises:
            EncodingError: a sum does not fit its array's dtype.
        """
        moved = self.layout.restore({FLOATS: floats, INTEGERS: counters}, plus=self.arrays)
        return ArrayRecord({key: Array(moved[key]) for key in self.arrays})

    def integer_dtypes(self) -> dict[str, str]:
        """Return the dtypes of the arrays of integers, by key."""
        return {key: self.arrays[key].dtype.name for key in self.keys(INTEGERS)}

    def with_integers(self, dtypes: Mapping[str, str]) -> Model:
        """Return the model with these arrays as integers again: strategies make floats of all that they average.

        Values are rounded to the nearest integer of the dtype, as adaptive strategies move counters by fractions.

        Raises:
            EncodingError: a value is not finite.
        """
        arrays = {key: _as_integers(key, array, dtypes.get(key)) for key, array in self.arrays.items()}
        return Model(arrays, ModelLayout.of(arrays))

    def record(self) -> ArrayRecord:
        """Return the arrays as Flower's record."""
        return ArrayRecord({key: Array(array) for key, array in self.arrays.items()})


def _as_integers(key: str, array: npt.NDArray[Any], dtype: str | None) -> npt.NDArray[Any]:
    """Return an array in a dtype of integers or booleans, where there is one and it is not of it already."""
    if dtype is None or array.dtype.kind != "f":
        return array
    if not np.isfinite(array).all():
        raise EncodingError(f"array {key!r} has values that are not finite")
    if dtype == "bool":
        return np.asarray(array >= 0.5)
    limits = np.iinfo(dtype)
    top = limits.max if limits.bits <= 32 else np.nextafter(float(limits.max), 0.0)  # float64 has no 2**63 - 1
    return np.asarray(np.clip(np.rint(array.astype(np.float64)), limits.min, top)).astype(dtype)
