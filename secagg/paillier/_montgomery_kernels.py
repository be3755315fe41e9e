"""Compiled loops of montgomery.py. Imports numba: import this module only from inside a function.

Eight numbers lie abreast: a block is an array (limbs, 8) of uint64, its column one number in limbs of 52 bits, the
lowest first. The processor's instructions for such limbs (AVX-512 IFMA) multiply eight of them at once and add the
product's low or high half to eight sums of 64 bits, so that carries wait until the end of a multiplication. Where it
has none, the same loop is compiled to ordinary multiplications: the same results, at about the speed of Python's own.

Source: Montgomery, Modular multiplication without trial division (1985); with limbs of 52 bits and postponed carries,
Gueron, Krasnov, Software implementation of modular exponentiation using AVX-512 IFMA (2016).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._compiling import compiled

# isort: split
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils as untyped_cgutils
from numba.core.errors import TypingError
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np import arrayobj

LANES = 8
LIMB_BITS = 52
WINDOW = 5
LIMB = np.uint64((1 << LIMB_BITS) - 1)
SHIFT = np.uint64(LIMB_BITS)
BYTE = np.uint64(255)
IN_WORD = np.uint64(63)
LOG_WORD = np.uint64(6)
ONE = np.uint64(1)
ZERO = np.uint64(0)

SETTINGS: Any = config
cgutils: Any = untyped_cgutils
make_array: Any = arrayobj.make_array

_VECTOR = ir.VectorType(ir.IntType(64), LANES)
_WIDE = ir.VectorType(ir.IntType(128), LANES)


def has_instructions(context: Any = cpu_target.target_context) -> bool:
    """Tell whether numba compiles, and for a processor with AVX-512 IFMA; NUMBA_CPU_FEATURES has a say, too.

    What is kept on disk is no other processor's: numba looks it up by the processor's name and these same features.
    """
    if SETTINGS.DISABLE_JIT:
        return False
    features = context.codegen().magic_tuple()[2].split(",")
    return {"+avx512f", "+avx512ifma"} <= set(features)


def _constant(kind: Any, value: int) -> Any:
    return ir.Constant(kind, [value] * LANES)


def _multiply_add(context: Any, builder: Any, half: str) -> Any:
    """Return a function (sums, a, b) -> sums plus the low or the high 52 bits of the products of limbs."""
    if has_instructions(context):
        name = f"llvm.x86.avx512.vpmadd52{half[0]}.uq.512"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), name)
        return lambda sums, a, b: builder.call(function, (sums, a, b))

    def portable(sums: Any, a: Any, b: Any) -> Any:
        mask = _constant(_VECTOR, int(LIMB))
        wide = [builder.zext(builder.and_(factor, mask), _WIDE) for factor in (a, b)]
        product = builder.mul(*wide)
        if half == "high":
            return builder.add(sums, builder.trunc(builder.lshr(product, _constant(_WIDE, LIMB_BITS)), _VECTOR))
        return builder.add(sums, builder.and_(builder.trunc(product, _VECTOR), mask))

    return portable


def _describe_row(typing: Any, sums: Any, a: Any, digit: Any, modulus: Any, inverse: Any, limbs: Any) -> Any:
    """Set sums to (sums + a * digit + modulus * q) / 2**52, q being what makes that exact; limbs are not carried on.

    Args:
        typing: what numba hands to every intrinsic.
        sums: (limbs, 8); each row adds less than 2**54 + 2**12 to any, hence at most 1023 rows from zero on.
        a: (limbs, 8), limbs below 2**52.
        digit: (8,) a limb of each second factor.
        modulus: (limbs,)
        inverse: (1,) -1 / modulus mod 2**52
        limbs: how many there are, at least 2.
    """
    for array in (sums, a, digit, modulus, inverse):
        if array.dtype != types.uint64 or array.layout != "C":
            raise TypingError(f"{array} is not an array of uint64 without gaps: it would be read beyond its end")
    signature = types.void(sums, a, digit, modulus, inverse, limbs)

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        arrays = [
            make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:5], values[:5], strict=True)
        ]
        vectors = [builder.bitcast(array.data, _VECTOR.as_pointer()) for array in arrays[:3]]
        scalars = [array.data for array in arrays[3:]]
        count = values[5]
        first, one = (ir.Constant(count.type, value) for value in (0, 1))
        low, high = (_multiply_add(context, builder, half) for half in ("low", "high"))
        none = _constant(_VECTOR, 0)

        def load(pointer: Any, index: Any) -> Any:
            return builder.load(builder.gep(pointer, [index]), align=8)

        def store(value: Any, index: Any) -> None:
            builder.store(value, builder.gep(sums_pointer, [index]), align=8)

        def spread(pointer: Any, index: Any) -> Any:
            alone = builder.insert_element(_constant(_VECTOR, 0), load(pointer, index), ir.IntType(32)(0))
            return builder.shuffle_vector(alone, none, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

        sums_pointer, a_pointer, digit_pointer = vectors
        modulus_pointer, inverse_pointer = scalars
        digits = load(digit_pointer, first)
        last_a, last_modulus = load(a_pointer, first), spread(modulus_pointer, first)
        lowest = low(load(sums_pointer, first), last_a, digits)
        quotients = low(none, lowest, spread(inverse_pointer, first))
        carry = builder.lshr(low(lowest, last_modulus, quotients), _constant(_VECTOR, LIMB_BITS))
        a_before, modulus_before = (cgutils.alloca_once_value(builder, value) for value in (last_a, last_modulus))
        with cgutils.for_range_slice(builder, one, count, one) as (index, _):
            here_a, here_modulus = load(a_pointer, index), spread(modulus_pointer, index)
            # two chains of additions: each instruction waits for the one before it in its chain
            lows = low(low(load(sums_pointer, index), here_a, digits), here_modulus, quotients)
            highs = high(high(none, builder.load(a_before), digits), builder.load(modulus_before), quotients)
            store(builder.add(lows, highs), builder.sub(index, one))
            builder.store(here_a, a_before)
            builder.store(here_modulus, modulus_before)
        top = high(high(none, builder.load(a_before), digits), builder.load(modulus_before), quotients)
        store(top, builder.sub(count, one))
        store(builder.add(load(sums_pointer, first), carry), first)
        return context.get_dummy_value()

    return signature, code


_row: Any = intrinsic(_describe_row)


@compiled
def _multiply(result: Any, a: Any, b: Any, modulus: Any, inverse: Any, sums: Any) -> None:
    """One block: result := a * b / 2**(52 limbs of b) mod modulus, below twice the modulus if both factors are.

    Where b has fewer limbs than the modulus, it must leave its highest bit free.
    """
    limbs = modulus.size
    sums[:] = ZERO
    for index in range(b.shape[0]):
        _row(sums, a, b[index], modulus, inverse, limbs)
    carries = np.zeros(LANES, np.uint64)
    for index in range(limbs):
        for lane in range(LANES):
            carries[lane] += sums[index, lane]
            result[index, lane] = carries[lane] & LIMB
            carries[lane] >>= SHIFT


@compiled
def multiply(results: Any, a: Any, b: Any, modulus: Any, inverse: Any, sums: Any) -> None:
    """Multiply blocks (count, limbs, 8) by blocks, or by one block (1, limbs, 8) all of them."""
    for index in range(a.shape[0]):
        _multiply(results[index], a[index], b[min(index, b.shape[0] - 1)], modulus, inverse, sums)


@compiled
def power(results: Any, bases: Any, digits: Any, table: Any, modulus: Any, inverse: Any, sums: Any) -> None:
    """Raise blocks in Montgomery's form to one exponent, given as digits to the base 2**window, the highest first.

    Which multiplications are done depends on the exponent's length alone, where tables are read on its digits.
    """
    for block in range(bases.shape[0]):
        for entry in range(1, table.shape[0]):
            _multiply(table[entry], table[entry - 1], bases[block], modulus, inverse, sums)
        value = results[block]
        value[:] = table[digits[0]]
        for digit in digits[1:]:
            for _ in range(WINDOW):
                _multiply(value, value, value, modulus, inverse, sums)
            _multiply(value, value, table[digit], modulus, inverse, sums)


@compiled
def product_of_powers(
    result: Any, bases: Any, digits: Any, buckets: Any, one: Any, modulus: Any, inverse: Any, sums: Any
) -> None:
    """One block: in each column the product of all bases there, in Montgomery's form, each to its own exponent.

    Args:
        result: (limbs, 8) what is computed; it starts as `one`.
        bases: (blocks, limbs, 8).
        digits: (windows, blocks, 8) of exponents to the base len(buckets), the highest first; public.
        buckets: (2**window, limbs, 8) to work in.
        one: (limbs, 8).
        modulus: as for `multiply`.
        inverse: likewise.
        sums: likewise.
    """
    chosen, running, total = np.empty_like(result), np.empty_like(result), np.empty_like(result)
    for window in range(digits.shape[0]):
        size = 1
        while size < buckets.shape[0]:
            _multiply(result, result, result, modulus, inverse, sums)
            size *= 2
        for entry in range(buckets.shape[0]):
            buckets[entry] = one
        for block in range(bases.shape[0]):
            for lane in range(LANES):
                for limb in range(modulus.size):
                    chosen[limb, lane] = buckets[digits[window, block, lane], limb, lane]
            _multiply(chosen, chosen, bases[block], modulus, inverse, sums)
            for lane in range(LANES):
                for limb in range(modulus.size):
                    buckets[digits[window, block, lane], limb, lane] = chosen[limb, lane]
        running[:] = one
        total[:] = one
        for entry in range(buckets.shape[0] - 1, 0, -1):  # bucket d is in the running product d times in the end
            _multiply(running, running, buckets[entry], modulus, inverse, sums)
            _multiply(total, total, running, modulus, inverse, sums)
        _multiply(result, result, total, modulus, inverse, sums)


@compiled
def multiply_chosen(results: Any, table: Any, digits: Any, modulus: Any, inverse: Any, sums: Any) -> None:
    """Multiply each number by one entry of every row of a table.

    Args:
        results: (blocks, limbs, 8) what is multiplied.
        table: (rows, entries, limbs of an entry), which may be fewer than the modulus's.
        digits: (rows, blocks, 8) which entries.
        modulus: as for `multiply`.
        inverse: likewise.
        sums: likewise.
    """
    chosen = np.empty((table.shape[2], LANES), np.uint64)
    for block in range(results.shape[0]):
        value = results[block]
        for row in range(table.shape[0]):
            for lane in range(LANES):
                for limb in range(table.shape[2]):
                    chosen[limb, lane] = table[row, digits[row, block, lane], limb]
            _multiply(value, value, chosen, modulus, inverse, sums)


@njit(inline="always")
def _word(data: Any, end: int) -> Any:
    """The eight bytes before `end` as a big-endian number; the compiler makes one load of it."""
    return (
        np.uint64(data[end - 1])
        | np.uint64(data[end - 2]) << np.uint64(8)
        | np.uint64(data[end - 3]) << np.uint64(16)
        | np.uint64(data[end - 4]) << np.uint64(24)
        | np.uint64(data[end - 5]) << np.uint64(32)
        | np.uint64(data[end - 6]) << np.uint64(40)
        | np.uint64(data[end - 7]) << np.uint64(48)
        | np.uint64(data[end - 8]) << np.uint64(56)
    )


@compiled
def read(data: Any, num_bytes: int, blocks: Any) -> None:
    """Cut numbers of num_bytes big-endian bytes each, side by side, into limbs; other columns stay as they are."""
    words = np.zeros(max(blocks.shape[1] * LIMB_BITS >> 6, num_bytes >> 3) + 2, np.uint64)
    for number in range(data.size // num_bytes):
        block, lane = number // LANES, number % LANES
        start, end = number * num_bytes, (number + 1) * num_bytes
        for index in range(num_bytes >> 3):
            words[index] = _word(data, end - 8 * index)
        if num_bytes & 7:
            words[num_bytes >> 3] = ZERO
        for place in range(num_bytes & 7):
            words[num_bytes >> 3] = words[num_bytes >> 3] << np.uint64(8) | np.uint64(data[start + place])
        for limb in range(blocks.shape[1]):
            position = np.uint64(limb) * SHIFT
            word, shift = position >> LOG_WORD, position & IN_WORD
            high = (words[word + ONE] << ONE) << (IN_WORD - shift)  # two shifts, so that none is by 64
            blocks[block, limb, lane] = (words[word] >> shift | high) & LIMB


@compiled
def write(blocks: Any, num_bytes: int, data: Any) -> None:
    """Undo `read`; what does not fit into num_bytes must be zero."""
    for number in range(data.size // num_bytes):
        block, lane = number // LANES, number % LANES
        end = (number + 1) * num_bytes - 1
        for place in range(num_bytes):
            position = np.uint64(8 * place)
            limb, shift = position // SHIFT, position % SHIFT
            value = blocks[block, limb, lane] >> shift
            if shift > SHIFT - np.uint64(8) and limb + ONE < blocks.shape[1]:
                value |= blocks[block, limb + ONE, lane] << (SHIFT - shift)
            data[end - place] = value & BYTE
