"""What loops of _montgomery_kernels.py are made of, in LLVM's words. Imports numba: import it inside a function only.

Eight numbers lie abreast in a row, row after row of limbs, the lowest first. Sums are rows of int64: column c of a
product takes the low half of each product of limbs i and j with i + j = c, and the high half of those with
i + j = c - 1. What passes a limb's bits is carried on when all is added; montgomery.py counts how much a column bears.

The type of the factors says how limbs are multiplied:

- uint64, limbs of 52 bits: AVX-512 IFMA adds the low or the high halves of eight products to eight sums. Where a
  processor lacks it, ordinary multiplications give the same, at about the speed of Python's own integers.
- float64, limbs of 51 bits: AVX2 multiplies and adds four doubles, and rounds once (FMA), to the nearest. A product ab
  is below 2**102. From 2**103 to 2**104 doubles are 2**51 apart, so that ab + 1.5 * 2**103 is rounded to
  (3 * 2**51 + h) * 2**51 with h nearest to ab / 2**51, the high half. The low half, l = ab - h * 2**51, is from
  -2**50 to 2**50. ab + (3 - h) * 2**51 is 1.5 * 2**52 + l, which is exact: from 2**52 to 2**53 doubles are the
  integers. Between powers of two the bits of doubles count up as the doubles do. So both are added as integers of 64
  bits, and what the constants' bits add is taken off, mod 2**64.

The doubles need the default rounding, and no compiler that reorders: every operation is one that must be rounded as it
stands. The time of none of these depends on the numbers.

Source: Gueron, Krasnov, Software implementation of modular exponentiation using AVX-512 IFMA (2016); with doubles,
Emmart, Zheng, Weems, Faster modular exponentiation using double precision floating point arithmetic on the GPU (2018).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from .limbs import DOUBLES, INTEGERS, LANES, STEP, Limbs

# isort: split
from llvmlite import ir
from numba import config, types
from numba.core import cgutils as untyped_cgutils
from numba.core.errors import TypingError
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np import arrayobj

SETTINGS: Any = config
cgutils: Any = untyped_cgutils
make_array: Any = arrayobj.make_array

_WORD, _DOUBLE, _LANE = ir.IntType(64), ir.DoubleType(), ir.IntType(32)
_LIKE = {types.uint64: INTEGERS, types.float64: DOUBLES}
_UNIT = 2.0**52  # from here on, doubles are one apart, and their bits count as integers do
_LOW = 1.5 * _UNIT
_HIGH = 1.5 * 2.0**103
_NARROW = 4
"""Doubles in a register of AVX2: sixteen of them hold five columns, four digits and what is in the making."""


def fastest(context: Any = cpu_target.target_context) -> Limbs | None:
    """Return the limbs that suit the processor that numba compiles for, or None; NUMBA_CPU_FEATURES has a say, too.

    What is kept on disk is no other processor's: numba looks it up by the processor's name and these same features.
    """
    if SETTINGS.DISABLE_JIT:
        return None
    features = set(context.codegen().magic_tuple()[2].split(","))
    if features >= {"+avx512f", "+avx512ifma"}:
        return INTEGERS
    return DOUBLES if features >= {"+avx2", "+fma"} else None


def _bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


class _Limbs:
    """How code is made for `width` limbs side by side: `add` products to columns, and go from integers to factors."""

    bits: int
    low_excess = high_excess = 0
    """What `add` adds to a column beside the half."""

    def __init__(self, builder: Any, width: int, element: Any = _WORD) -> None:
        self.builder, self.width = builder, width
        self.sums = ir.VectorType(_WORD, width)
        self.factors = ir.VectorType(element, width)

    def repeated(self, value: float, kind: Any = _WORD) -> Any:
        return ir.Constant(ir.VectorType(kind, self.width), [value] * self.width)

    def function(self, name: str) -> Any:
        kind = ir.FunctionType(self.factors, [self.factors] * 3)
        return cgutils.get_or_insert_function(self.builder.module, kind, name)

    def spread(self, limb: Any) -> Any:
        undefined = ir.Constant(self.factors, ir.Undefined)
        alone = self.builder.insert_element(undefined, limb, _LANE(0))
        return self.builder.shuffle_vector(alone, undefined, self.repeated(0, _LANE))

    def add(self, columns: list[Any], place: int, a: Any, b: Any) -> None:
        """Add a product to columns `place` and the next; no high half where there is no next one."""
        raise NotImplementedError

    def factor(self, limb: Any) -> Any:
        return limb


class _Ifma(_Limbs):
    bits = INTEGERS.bits

    def add(self, columns: list[Any], place: int, a: Any, b: Any) -> None:
        for column, half in zip(range(place, min(place + 2, len(columns))), "lh", strict=False):
            function = self.function(f"llvm.x86.avx512.vpmadd52{half}.uq.512")
            columns[column] = self.builder.call(function, (columns[column], a, b))


class _Ordinary(_Limbs):
    bits = INTEGERS.bits

    def add(self, columns: list[Any], place: int, a: Any, b: Any) -> None:
        builder, double = self.builder, ir.IntType(128)
        wide = ir.VectorType(double, self.width)
        product = builder.mul(builder.zext(a, wide), builder.zext(b, wide))
        low = builder.and_(builder.trunc(product, self.sums), self.repeated((1 << self.bits) - 1))
        columns[place] = builder.add(columns[place], low)
        if place + 1 < len(columns):
            high = builder.trunc(builder.lshr(product, self.repeated(self.bits, double)), self.sums)
            columns[place + 1] = builder.add(columns[place + 1], high)


class _Fma(_Limbs):
    bits = DOUBLES.bits
    low_excess, high_excess = _bits(_LOW), _bits(_HIGH)

    def __init__(self, builder: Any, width: int) -> None:
        super().__init__(builder, width, _DOUBLE)

    def add(self, columns: list[Any], place: int, a: Any, b: Any) -> None:
        builder, multiply_add = self.builder, self.function(f"llvm.fma.v{self.width}f64")
        high = builder.call(multiply_add, (a, b, self.repeated(_HIGH, _DOUBLE)))
        rest = builder.fsub(self.repeated(_HIGH + _LOW, _DOUBLE), high)
        low = builder.call(multiply_add, (a, b, rest))
        columns[place] = builder.add(columns[place], builder.bitcast(low, self.sums))
        if place + 1 < len(columns):
            columns[place + 1] = builder.add(columns[place + 1], builder.bitcast(high, self.sums))

    def factor(self, limb: Any) -> Any:
        above = self.builder.or_(limb, self.repeated(_bits(_UNIT)))
        return self.builder.fsub(self.builder.bitcast(above, self.factors), self.repeated(_UNIT, _DOUBLE))


def _limbs_for(factors: Any, builder: Any, width: int) -> _Limbs:
    if _LIKE[factors.dtype] is DOUBLES:
        return _Fma(builder, width)
    return (_Ifma if fastest() is INTEGERS else _Ordinary)(builder, LANES)


def _check(sums: Any, *factors: Any) -> None:
    if not (
        sums.dtype == types.int64
        and all(array.dtype == factors[0].dtype and array.dtype in _LIKE for array in factors)
        and all(array.layout == "C" for array in (sums, *factors))
    ):
        raise TypingError(f"{[sums, *factors]} are not sums and limbs of one kind without gaps: they would be misread")


class _Place:
    """An array, to load and to store vectors of its rows."""

    def __init__(self, builder: Any, data: Any) -> None:
        self._builder, self._data = builder, data

    def _pointer(self, index: Any, kind: Any) -> Any:
        return self._builder.bitcast(self._builder.gep(self._data, [index]), kind.as_pointer())

    def _vector(self, row: Any, lane: int, kind: Any) -> Any:
        start = self._builder.mul(row, ir.Constant(row.type, LANES))
        return self._pointer(self._builder.add(start, ir.Constant(row.type, lane)), kind)

    def load(self, row: Any, kind: Any, lane: int = 0) -> Any:
        return self._builder.load(self._vector(row, lane, kind), align=8)

    def store(self, value: Any, row: Any, lane: int = 0) -> None:
        self._builder.store(value, self._vector(row, lane, value.type), align=8)

    def element(self, index: Any, kind: Any) -> Any:
        return self._builder.load(self._pointer(index, kind), align=8)


def _outlined(name: str, signature: Any, make: Callable[..., None]) -> tuple[Any, Callable[..., Any]]:
    """Return what an intrinsic returns: a call of a function that `make` writes, once for all places that call it.

    Numba's functions would each have a copy at each call otherwise, and take minutes to compile.
    """

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = [
            make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, values, strict=True)
        ]
        kinds = "_".join(f"{kind.dtype}{kind.ndim}" for kind in signature.args if isinstance(kind, types.Array))
        signature_there = ir.FunctionType(ir.VoidType(), [value.type for value in given])
        function = cgutils.get_or_insert_function(builder.module, signature_there, f"secagg_{name}_{kinds}")
        if function.is_declaration:
            function.linkage = "linkonce_odr"
            function.attributes.add("noinline")
            inner = ir.IRBuilder(function.append_basic_block())
            arguments = [
                _Place(inner, value) if isinstance(kind, types.Array) else value
                for kind, value in zip(signature.args, function.args, strict=True)
            ]
            make(inner, *arguments)
            inner.ret_void()
        builder.call(function, given)
        return context.get_dummy_value()

    return signature, code


def _excess(limbs: _Limbs, place: int) -> int:
    """Return what column `place` gets from `place + 1` low halves and `place` high ones beside these."""
    return ((place + 1) * limbs.low_excess + place * limbs.high_excess) % (1 << 64)


def _later(builder: Any, index: Any, by: int) -> Any:
    return builder.add(index, ir.Constant(index.type, by))


def _rows_of(count: int) -> Any:
    """Return an intrinsic that multiplies by `count` digits at once, so that most columns stay in registers."""

    def describe(
        typing: Any, sums: Any, column: Any, a: Any, start: Any, size: Any, digits: Any, first: Any
    ) -> tuple[Any, Callable[..., Any]]:
        """Add a[start + j] * digits[first + i] to columns column + j + i and the next, for all j < size and i < count.

        Args:
            typing: what numba hands to every intrinsic.
            sums: (columns, 8), of which column to column + size + count - 1 are there.
            column: where to begin.
            a: (limbs, 8), or (limbs,) for the same number eight times.
            start: a's first limb that counts.
            size: how many of a's limbs do.
            digits: (limbs, 8).
            first: the first of `count` digits.
        """
        _check(sums, a, digits)
        signature = types.void(sums, types.intp, a, types.intp, types.intp, digits, types.intp)

        def make(
            builder: Any, total: _Place, column: Any, factor: _Place, start: Any, size: Any, other: _Place, first: Any
        ) -> None:
            limbs = _limbs_for(a, builder, _NARROW)
            excess = [limbs.repeated(_excess(limbs, place)) for place in range(count)]
            whole = limbs.repeated(count * (limbs.low_excess + limbs.high_excess) % (1 << 64))
            zero, one = (ir.Constant(size.type, value) for value in (0, 1))
            for lane in range(0, LANES, limbs.width):
                by = [other.load(_later(builder, first, place), limbs.factors, lane) for place in range(count)]
                open_columns = []
                for place in range(count):
                    value = total.load(_later(builder, column, place), limbs.sums, lane)
                    open_columns.append(cgutils.alloca_once_value(builder, builder.sub(value, excess[place])))
                with cgutils.for_range_slice(builder, zero, size, one) as (index, _):
                    here, row = builder.add(column, index), builder.add(start, index)
                    entering = total.load(_later(builder, here, count), limbs.sums, lane)
                    columns = [*map(builder.load, open_columns), builder.sub(entering, whole)]
                    if a.ndim == 1:
                        limb = limbs.spread(factor.element(row, limbs.factors.element))
                    else:
                        limb = factor.load(row, limbs.factors, lane)
                    for place in range(count):
                        limbs.add(columns, place, limb, by[place])
                    total.store(columns[0], here, lane)
                    for value, slot in zip(columns[1:], open_columns, strict=True):
                        builder.store(value, slot)
                end = builder.add(column, size)
                for place in range(count):  # these got as much less as the first got less than all others
                    value = builder.add(builder.load(open_columns[place]), excess[place])
                    total.store(value, _later(builder, end, place), lane)

        return _outlined(f"rows_{count}", signature, make)

    return intrinsic(describe)


def _digits(limbs: _Limbs, columns: Sequence[Any]) -> list[Any]:
    """Return the limbs of what columns hold, as factors; what is above them is lost."""
    builder, carry, found = limbs.builder, limbs.repeated(0), []
    for column in columns:
        value = builder.add(column, carry)
        found.append(limbs.factor(builder.and_(value, limbs.repeated((1 << limbs.bits) - 1))))
        carry = builder.ashr(value, limbs.repeated(limbs.bits))
    return found


def _quotients_of(count: int) -> Any:
    """Return an intrinsic that finds `count` digits of quotients at once, so that less waits for what is before it."""

    def describe(typing: Any, sums: Any, column: Any, inverse: Any, quotients: Any) -> tuple[Any, Callable[..., Any]]:
        """Set quotients[column] and those after it so that as many times the modulus clears these columns of sums.

        Args:
            typing: what numba hands to every intrinsic.
            sums: (columns, 8).
            column: the first of `count` columns, and of as many quotients.
            inverse: limbs of -1 / modulus mod 2**(bits * STEP).
            quotients: (limbs, 8).
        """
        _check(sums, inverse, quotients)
        signature = types.void(sums, types.intp, inverse, quotients)

        def make(builder: Any, total: _Place, column: Any, by: _Place, result: _Place) -> None:
            limbs = _limbs_for(inverse, builder, LANES)
            places = [_later(builder, column, place) for place in range(count)]
            low = _digits(limbs, [total.load(place, limbs.sums) for place in places])
            products = [limbs.repeated(-_excess(limbs, place) % (1 << 64)) for place in range(count)]
            for i in range(count):
                limb = limbs.spread(by.element(ir.Constant(column.type, i), limbs.factors.element))
                for j in range(count - i):
                    limbs.add(products, i + j, low[j], limb)
            for digit, place in zip(_digits(limbs, products), places, strict=True):
                result.store(digit, place)

        return _outlined(f"quotients_{count}", signature, make)

    return intrinsic(describe)


def _describe_cut(typing: Any, sums: Any, column: Any, result: Any, size: Any) -> tuple[Any, Callable[..., Any]]:
    """Set result, (size, 8), to what sums hold from a column on, carried on from limb to limb."""
    _check(sums, result)
    signature = types.void(sums, types.intp, result, types.intp)

    def make(builder: Any, total: _Place, column: Any, limb: _Place, size: Any) -> None:
        limbs = _limbs_for(result, builder, LANES)
        carry = cgutils.alloca_once_value(builder, limbs.repeated(0))
        with cgutils.for_range(builder, size) as loop:
            held = total.load(builder.add(column, loop.index), limbs.sums)
            value = builder.add(held, builder.load(carry))
            limb.store(limbs.factor(builder.and_(value, limbs.repeated((1 << limbs.bits) - 1))), loop.index)
            builder.store(builder.ashr(value, limbs.repeated(limbs.bits)), carry)

    return _outlined("cut", signature, make)


add_rows: Any = _rows_of(STEP)
add_row: Any = _rows_of(1)
find_quotients: Any = _quotients_of(STEP)
find_quotient: Any = _quotients_of(1)
cut: Any = intrinsic(_describe_cut)
