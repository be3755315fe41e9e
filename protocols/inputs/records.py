"""What a client hands in where the unit of privacy is the record: a row for each of its records.

A client bounds each row by itself, in integers, and adds the rows up. Then it cuts the entries of the sum, so that they
fit the modulus. Cutting moves no two sums further apart, in any norm, so that a record changes what the client adds by
no more than its own bound, whatever the others are and however many (SPEC section 27).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import force_setattr

from dp.clipping import clip
from dp.errors import DpError
from dp.sensitivity import Norm, Unit, named
from secagg.encoding import Levels, readable
from secagg.errors import EncodingError, ParameterError

from .vectors import PrivateCounts, PrivateSpec, PrivateVector

_ROWS = 1 << 20
"""So many rows of at most 2**40 steps add up without overflow."""


def check_unit(spec: PrivateSpec) -> None:
    """Settle the unit's name; raise ParameterError for another, or for a bound on records where there are none."""
    try:
        force_setattr(spec, "unit", named(Unit, spec.unit))
    except DpError as error:
        raise ParameterError(f"unit of {spec.name!r}: {error}") from None
    field = "max_per_record" if isinstance(spec, PrivateCounts) else "max_records"
    bound = getattr(spec, field)
    if isinstance(bound, bool) or not isinstance(bound, int) or bound < 1:
        raise ParameterError(f"{field} of {spec.name!r} is {bound!r}, but must be an integer from 1")
    if isinstance(spec, PrivateCounts) and bound > spec.max_total:
        raise ParameterError(
            f"max_per_record of {spec.name!r} is {bound}, but a client adds at most max_total {spec.max_total} to a "
            "count: raise max_total, or lower max_per_record"
        )
    if spec.unit is Unit.CLIENT and bound != 1:
        raise ParameterError(
            f"{field} of {spec.name!r} is {bound}, but its unit is the client: leave it 1, or set unit='record'"
        )


def blocks(value: Any, spec: PrivateVector | PrivateCounts, kinds: str, wanted: str) -> Iterator[npt.NDArray[Any]]:
    """Yield what a client hands in as arrays (units, spec.length) of one of numpy's kinds.

    Args:
        value: an array (spec.length,) where the unit is the client; (records, spec.length) where it is the record, or
            an iterable of such arrays, so that not all records need be in memory at once.
        spec: says which, and how long.
        kinds: of dtypes.
        wanted: what they are called.

    Raises:
        EncodingError: another shape or dtype.
    """
    if spec.unit is Unit.CLIENT:
        yield _checked(value, (spec.length,), kinds, f"a private vector is an array of {wanted}")[np.newaxis]
        return
    parts = [value] if isinstance(value, np.ndarray) else value
    if not isinstance(parts, Iterable):
        raise EncodingError(f"records are an array of {wanted}, or blocks of them, not a {type(value).__name__}")
    for part in parts:
        if not isinstance(part, np.ndarray):
            raise EncodingError(
                f"records are an array of {wanted} of shape (records, {spec.length}), or blocks of that shape, but a "
                f"{type(part).__name__} was given for a block"
            )
        shape = (len(part) if part.ndim else 0, spec.length)
        block = _checked(part, shape, kinds, f"records are arrays of {wanted}, one row each,")
        for start in range(0, len(block), _ROWS):
            yield block[start : start + _ROWS]


def counted(block: npt.NDArray[Any], most: int, scale: int) -> tuple[Levels, int]:
    """Return the sum of rows of counts in steps, int64 (length,), and how many rows were changed for it.

    0 stands for a negative count. A row that sums to more than `most` is scaled down to that, rounded down.
    """
    usable: npt.NDArray[np.bool_] = np.zeros(len(block), dtype=bool)
    if most * block.shape[1] < 1 << 62:  # the sums below do not overflow
        usable = np.asarray(((block >= 0) & (block <= most)).all(axis=1))
        usable[usable] = block[usable].sum(axis=1, dtype=np.int64) <= most
    total = block[usable].sum(axis=0, dtype=np.int64) * scale
    changed = 0
    for row in block[~usable].tolist():
        counts = [max(0, count) for count in row]  # Python's own integers: no sum of them overflows
        size = sum(counts)
        if size > most:
            counts = [count * most * scale // size for count in counts]
        else:
            counts = [count * scale for count in counts]
        changed += size > most or min(row) < 0
        total += np.array(counts, dtype=np.int64)
    return total, changed


def votes(block: npt.NDArray[Any], l2_clip: float) -> int:
    """Return how many rows of floats are within an L2 norm, less how many are not; what is not finite is not.

    Within a part in 2**40 of the norm, `clip` decides. Each row is looked at by itself, since noise is for one row that
    changes: sums over a whole block are rounded in an order that depends on its other rows.
    """
    within = 0
    for row in block.astype(np.float64):
        if np.isfinite(row).all():
            alone = np.ascontiguousarray(row)
            within += clip(alone, l2_clip, Norm.L2) is alone
    return 2 * within - len(block)


def _checked(value: Any, shape: tuple[int, ...], kinds: str, wanted: str) -> npt.NDArray[Any]:
    array = readable(value)
    if array.dtype.kind not in kinds or array.shape != shape:
        shown = f"({shape[0]},)" if len(shape) == 1 else f"(records, {shape[1]})"
        raise EncodingError(f"{wanted} of shape {shown}, not {array.dtype} of shape {array.shape}: convert")
    return array
