"""Compiled loops of prg.py, with the processor's AES instructions. Imports numba: import it inside a function only.

AES-256 as FIPS 197 has it: a round, the last round and SubWord are instructions (AES-NI; with VAES, of two or four
blocks at once), whose time does not depend on what they compute. Streams are made and added in registers, one key after
another to some blocks of lanes, so that neither streams nor sums go through memory. `prg` has the same from a library,
for other processors; tests hold both together.
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

KEY_WORDS = 60
"""Of an expanded key: 15 round keys of four words."""
_BLOCK_BYTES = 16
_REGISTERS = 8
"""Side by side, so that none waits for the round before."""
_ROUNDS = 14
_WORD, _HALF, _BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)


@cache
def blocks_at_once(context: Any = cpu_target.target_context) -> int:
    """Return how many blocks a register holds where numba may use AES instructions; 0 where it may not.

    NUMBA_CPU_FEATURES has a say, too. What is kept on disk is no other processor's: numba looks it up by these.
    """
    if SETTINGS.DISABLE_JIT:
        return 0
    triple, _, listed = context.codegen().magic_tuple()
    if not triple.startswith("x86_64-"):  # ARM's features have an "aes", too, of other instructions
        return 0
    features = set(listed.split(","))
    for blocks, needed in ((4, {"+aes", "+vaes", "+avx512f"}), (2, {"+aes", "+vaes", "+avx2"}), (1, {"+aes"})):
        if features >= needed:
            return blocks
    return 0


_BLOCKS = blocks_at_once() or 1
_STRETCH = _REGISTERS * _BLOCKS
"""Blocks that are made at a time."""


def _instruction(builder: Any, name: str, blocks: int) -> tuple[Any, Any]:
    """Return an instruction that takes a state and a round key, and the type of both."""
    kind = ir.VectorType(_WORD, 2 * blocks)
    suffix = {1: "", 2: ".256", 4: ".512"}[blocks]
    signature = ir.FunctionType(kind, [kind, kind])
    return cgutils.get_or_insert_function(builder.module, signature, f"llvm.x86.aesni.{name}{suffix}"), kind


def _describe_sub_word(typing: Any, word: Any) -> tuple[Any, Callable[..., Any]]:
    """Put the four bytes of a word through the S-box: the last round of a state of four equal columns, without key."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        last, kind = _instruction(builder, "aesenclast", 1)
        columns: Any = ir.Constant(ir.VectorType(_HALF, 4), ir.Undefined)
        for column in range(4):
            columns = builder.insert_element(columns, values[0], _HALF(column))
        state = builder.call(last, (builder.bitcast(columns, kind), ir.Constant(kind, [0, 0])))
        return builder.extract_element(builder.bitcast(state, columns.type), _HALF(0))

    return types.uint32(types.uint32), code


_sub_word: Any = intrinsic(_describe_sub_word)


def _counters(builder: Any, first: Any, count: int) -> Any:
    """Return a register of counters from a number on: each 16 bytes, big-endian, of which the first eight are zero."""
    swapped = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_WORD, [_WORD]), "llvm.bswap.i64")
    register: Any = ir.Constant(ir.VectorType(_WORD, 2 * count), [0] * (2 * count))
    for block in range(count):
        number = builder.call(swapped, (builder.add(first, ir.Constant(_WORD, block)),))
        register = builder.insert_element(register, number, _HALF(2 * block + 1))
    return register


def _applying(operation: str) -> Any:
    """Return an intrinsic that adds streams to a stretch of lanes, or subtracts them."""

    def describe(
        typing: Any, lanes: Any, start: Any, block: Any, keys: Any, first: Any, end: Any
    ) -> tuple[Any, Callable[..., Any]]:
        """Take the streams of keys first to end - 1, from a block on, to the stretch of lanes at `start`.

        Args:
            typing: what numba hands to every intrinsic.
            lanes: uint32 or uint64; the stretch, _STRETCH blocks, must lie within.
            start: its first lane.
            block: the number of its first block in the streams.
            keys: (keys, KEY_WORDS), uint32.
            first: the first key.
            end: the key behind the last.
        """
        if keys.dtype != types.uint32 or lanes.dtype not in (types.uint32, types.uint64):
            raise TypingError(f"{lanes} are no lanes, or {keys} no keys")
        if lanes.layout != "C" or keys.layout != "C" or not lanes.mutable:
            raise TypingError(f"{lanes} or {keys} have gaps, and would be misread, or are not to be written")
        signature = types.void(lanes, types.intp, types.uint64, keys, types.intp, types.intp)

        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            lanes_at, start, block, keys_at, first, end = values
            one_round, _ = _instruction(builder, "aesenc", _BLOCKS)
            last_round, _ = _instruction(builder, "aesenclast", _BLOCKS)
            width = lanes.dtype.bitwidth
            sums = ir.VectorType(ir.IntType(width), 8 * _BLOCK_BYTES * _BLOCKS // width)
            key_part = ir.VectorType(_WORD, 2)
            everywhere = ir.Constant(ir.VectorType(_HALF, 2 * _BLOCKS), [0, 1] * _BLOCKS)
            data = make_array(signature.args[0])(context, builder, lanes_at).data
            place = builder.bitcast(builder.gep(data, [start]), sums.as_pointer())
            places = [builder.gep(place, [_HALF(number)]) for number in range(_REGISTERS)]
            totals = [cgutils.alloca_once_value(builder, builder.load(one, align=width // 8)) for one in places]
            counters = [
                _counters(builder, builder.add(block, ir.Constant(_WORD, number * _BLOCKS)), _BLOCKS)
                for number in range(_REGISTERS)
            ]
            key_data = make_array(signature.args[3])(context, builder, keys_at).data
            with cgutils.for_range_slice(builder, first, end, ir.Constant(first.type, 1)) as (key, _):
                row = builder.gep(key_data, [builder.mul(key, ir.Constant(key.type, KEY_WORDS))])
                row = builder.bitcast(row, key_part.as_pointer())

                def round_key(number: int, row: Any = row) -> Any:
                    part = builder.load(builder.gep(row, [_HALF(number)]), align=4)
                    return builder.shuffle_vector(part, ir.Constant(key_part, ir.Undefined), everywhere)

                with_key = round_key(0)
                states = [builder.xor(counter, with_key) for counter in counters]
                for number in range(1, _ROUNDS + 1):
                    with_key, step = round_key(number), one_round if number < _ROUNDS else last_round
                    states = [builder.call(step, (state, with_key)) for state in states]
                for total, state in zip(totals, states, strict=True):
                    changed = getattr(builder, operation)(builder.load(total), builder.bitcast(state, sums))
                    builder.store(changed, total)
            for total, one in zip(totals, places, strict=True):
                builder.store(builder.load(total), one, align=width // 8)
            return context.get_dummy_value()

        return signature, code

    return intrinsic(describe)


_add: Any = _applying("add")
_subtract: Any = _applying("sub")


@compiled
def expand(seeds: Any, keys: Any) -> None:
    """Expand AES-256 keys: seeds (n, 8) of little-endian uint32, to keys (n, KEY_WORDS). FIPS 197, section 5.2."""
    for row in range(seeds.shape[0]):
        words = keys[row]
        constant = np.uint32(1)
        for i in range(8):
            words[i] = seeds[row, i]
        for i in range(8, KEY_WORDS):
            word = words[i - 1]
            if i % 8 == 0:
                rotated = np.uint32(word >> np.uint32(8)) | np.uint32(word << np.uint32(24))
                word = _sub_word(np.uint32(rotated)) ^ constant
                constant = np.uint32(constant << np.uint32(1))
            elif i % 8 == 4:
                word = _sub_word(word)
            words[i] = words[i - 8] ^ word


@compiled
def apply(lanes: Any, first_block: Any, keys: Any, num_added: Any) -> None:
    """Add the streams of the first `num_added` keys to lanes, and subtract those of the others.

    Args:
        lanes: (n,), uint32 or uint64, of which the first begins with block `first_block`, uint64.
        first_block: of the streams.
        keys: (keys, KEY_WORDS), uint32, as `expand` has them.
        num_added: how many are added, intp.
    """
    step = _STRETCH * _BLOCK_BYTES // lanes.itemsize
    whole = lanes.size - lanes.size % step
    count = keys.shape[0]
    block = first_block
    for start in range(0, whole, step):
        _add(lanes, start, block, keys, 0, num_added)
        _subtract(lanes, start, block, keys, num_added, count)
        block += np.uint64(_STRETCH)
    if whole < lanes.size:
        rest = np.zeros(step, lanes.dtype)
        for i in range(whole, lanes.size):
            rest[i - whole] = lanes[i]
        _add(rest, 0, block, keys, 0, num_added)
        _subtract(rest, 0, block, keys, num_added, count)
        for i in range(whole, lanes.size):
            lanes[i] = rest[i - whole]
