"""Compiled loops of residues.py. Imports numba: import this module only from inside a function.

`pack` and `add_unpacked` see the bit string as little-endian 64-bit words: element i starts at bit i * bits, that is in
word (i * bits) >> 6, and spills into the next word when it does not fit. `add_eights` has a processor with AVX-512 VBMI
pick the bytes of eight elements with one instruction: they begin with a whole byte.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ._compiling import compiled

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

WIDEST = 57
"""An element of so many bits lies within eight bytes, wherever it begins in the first of them."""
REGISTER_BYTES = 64

ONE = np.uint64(1)
WORD = np.uint64(64)
IN_WORD = np.uint64(63)
LOG_WORD = np.uint64(6)
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@compiled
def pack(lanes: Any, bits: Any, words: Any) -> None:
    """Write the low `bits` (1 to 63) bits of each lane; `words` has one word to spare and need not be zero."""
    mask = ALL >> (WORD - bits)
    window = np.uint64(0)
    filled = np.uint64(0)
    at = 0
    for i in range(lanes.size):
        value = np.uint64(lanes[i]) & mask
        window |= value << filled
        filled += bits
        if filled >= WORD:
            words[at] = window
            at += 1
            filled -= WORD
            window = value >> (bits - filled)  # filled == 0 shifts by `bits` <= 63: nothing is left
    words[at] = window


@compiled
def add_unpacked(words: Any, bits: Any, lanes: Any) -> None:
    """Add lanes.size elements of `bits` (1 to 63) bits to the lanes; `words` has one word to spare."""
    mask = ALL >> (WORD - bits)
    done = 0
    if bits + bits <= WORD:  # two at once
        done = lanes.size // 2 * 2
        for i in range(lanes.size // 2):
            position = np.uint64(i) * (bits + bits)
            word = position >> LOG_WORD
            shift = position & IN_WORD
            # Two shifts to the left, so that none is by 64.
            window = (words[word] >> shift) | ((words[word + ONE] << ONE) << (IN_WORD - shift))
            lanes[2 * i] += window & mask
            lanes[2 * i + 1] += (window >> bits) & mask
    rest = lanes[done:]
    for i in range(rest.size):
        position = np.uint64(done + i) * bits
        word = position >> LOG_WORD
        shift = position & IN_WORD
        rest[i] += ((words[word] >> shift) | ((words[word + ONE] << ONE) << (IN_WORD - shift))) & mask


@cache
def picks_bytes(context: Any = cpu_target.target_context) -> bool:
    """Tell whether numba may use AVX-512 VBMI; NUMBA_CPU_FEATURES has a say, too."""
    features = set(context.codegen().magic_tuple()[2].split(","))
    return not SETTINGS.DISABLE_JIT and features >= {"+avx512f", "+avx512vbmi"}


@cache
def places(bits: int) -> tuple[Any, Any]:
    """Return which bytes hold each of eight elements, eight bytes for each, and in which bit of the first it begins."""
    starts = np.arange(8) * bits
    order = (starts[:, None] // 8 + np.arange(8)) % REGISTER_BYTES
    return order.astype(np.uint8).ravel(), (starts % 8).astype(np.uint64)


def _describe_add_eight(
    typing: Any, source: Any, at: Any, order: Any, shifts: Any, mask: Any, lanes: Any, start: Any
) -> tuple[Any, Callable[..., Any]]:
    """Add the eight elements that begin with byte `at` to eight lanes from `start` on; 64 bytes of source are read."""
    given = [array.dtype for array in (source, order, shifts)]
    if given != [types.uint8, types.uint8, types.uint64] or lanes.dtype not in (types.uint32, types.uint64):
        raise TypingError(f"{given} and {lanes.dtype} are no bytes, places and lanes")
    if any(array.layout != "C" for array in (source, order, shifts, lanes)) or not lanes.mutable:
        raise TypingError(f"{source} or {lanes} have gaps, and would be misread, or are not to be written")
    signature = types.void(source, types.intp, order, shifts, types.uint64, lanes, types.intp)

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        taken = ir.VectorType(ir.IntType(8), REGISTER_BYTES)
        words = ir.VectorType(ir.IntType(64), 8)
        sums = ir.VectorType(ir.IntType(lanes.dtype.bitwidth), 8)

        def place(argument: int, index: Any, kind: Any) -> Any:
            data = make_array(signature.args[argument])(context, builder, values[argument]).data
            return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())

        zero = ir.Constant(values[1].type, 0)
        pick = ir.FunctionType(taken, [taken, taken])
        function = cgutils.get_or_insert_function(builder.module, pick, "llvm.x86.avx512.permvar.qi.512")
        found = builder.load(place(0, values[1], taken), align=1)
        found = builder.call(function, (found, builder.load(place(2, zero, taken), align=1)))
        found = builder.lshr(builder.bitcast(found, words), builder.load(place(3, zero, words), align=8))
        every = ir.Constant(words, ir.Undefined)
        for number in range(8):
            every = builder.insert_element(every, values[4], ir.IntType(32)(number))
        found = builder.and_(found, every)
        if lanes.dtype == types.uint32:
            found = builder.trunc(found, sums)
        total = place(5, values[6], sums)
        align = lanes.dtype.bitwidth // 8
        builder.store(builder.add(builder.load(total, align=align), found), total, align=align)
        return context.get_dummy_value()

    return signature, code


_add_eight: Any = intrinsic(_describe_add_eight)


@compiled
def add_eights(source: Any, bits: Any, order: Any, shifts: Any, lanes: Any) -> Any:
    """Add elements of `bits` (1 to WIDEST) bits to lanes, eight at a time; return how many: all but some at the end."""
    mask = ALL >> (WORD - bits)
    step = np.int64(bits)
    at = np.int64(0)
    done = 0
    while done + 8 <= lanes.size and at + REGISTER_BYTES <= source.size:
        _add_eight(source, at, order, shifts, mask, lanes, done)
        done += 8
        at += step
    return done
