"""Compiled loops of montgomery.py and squares.py. Imports numba: import this module only from inside a function.

Eight numbers lie abreast: a block is an array (limbs, 8), its column one number in limbs of 52 bits as uint64, or of 51
as float64, the lowest first. Products of limbs are _limb_rows.py's; loops are compiled for each type that they meet.

A `room` is what they all need: (bits, modulus, inverse, sums, quotients), that is the bits of a limb, the modulus's
limbs, the STEP limbs of -1 / modulus, and two blocks to work in, (2 limbs, 8) of int64 and (limbs, 8).

Source: Montgomery, Modular multiplication without trial division (1985); with postponed carries, see _limb_rows.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._compiling import compiled

# isort: split
from numba import njit

from ._limb_rows import add_row, add_rows, cut, find_quotient, find_quotients
from .limbs import LANES, STEP, WINDOW

BYTE = np.uint64(255)
IN_WORD = np.uint64(63)
LOG_WORD = np.uint64(6)
ONE = np.uint64(1)
ZERO = np.uint64(0)


@compiled
def _copy(there: Any, block: Any) -> None:
    """What `there[:] = block` does, which numba takes seconds to compile."""
    for limb in range(block.shape[0]):
        for lane in range(LANES):
            there[limb, lane] = block[limb, lane]


@compiled
def _add_product(sums: Any, a: Any, b: Any) -> None:
    limbs, digits, index = a.shape[0], b.shape[0], 0
    while index + STEP <= digits:
        add_rows(sums, index, a, 0, limbs, b, index)
        index += STEP
    while index < digits:
        add_row(sums, index, a, 0, limbs, b, index)
        index += 1


@compiled
def _double(sums: Any) -> None:
    flat = sums.ravel()
    for index in range(flat.size):
        flat[index] += flat[index]


@compiled
def _set_square(sums: Any, a: Any) -> None:
    """Set sums to a * a: what stands beside the diagonal, STEP digits at a time, twice; then the squares along it."""
    limbs = a.shape[0]
    whole = limbs - limbs % STEP
    sums[:] = 0
    for index in range(0, whole, STEP):
        after = index + STEP
        add_rows(sums, index + after, a, after, limbs - after, a, index)
    _double(sums)
    for index in range(0, whole, STEP):
        add_rows(sums, 2 * index, a, index, STEP, a, index)
    for index in range(whole, limbs):
        add_row(sums, whole + index, a, whole, limbs - whole, a, index)


@compiled
def _carry(sums: Any, column: int, count: int, bits: int) -> None:
    """Carry columns that are zero mod 2**(bits * count) on to the next."""
    for index in range(column, column + count):
        for lane in range(LANES):
            sums[index + 1, lane] += sums[index, lane] >> bits


@compiled
def _reduce(sums: Any, digits: int, room: Any) -> None:
    """Add multiples of the modulus that clear so many columns of sums; `quotients` says how often."""
    bits, modulus, inverse, _, quotients = room
    index = 0
    while index + STEP <= digits:
        find_quotients(sums, index, inverse, quotients)
        add_rows(sums, index, modulus, 0, modulus.size, quotients, index)
        _carry(sums, index, STEP, bits)
        index += STEP
    while index < digits:
        find_quotient(sums, index, inverse, quotients)
        add_row(sums, index, modulus, 0, modulus.size, quotients, index)
        _carry(sums, index, 1, bits)
        index += 1


@compiled
def _multiply(result: Any, a: Any, b: Any, room: Any) -> None:
    """One block: result := a * b / 2**(bits * limbs of b) mod modulus, below twice the modulus if both factors are.

    Where b has fewer limbs than the modulus, it must leave its highest bit free.
    """
    sums, digits = room[3], b.shape[0]
    sums[:] = 0
    _add_product(sums, a, b)
    _reduce(sums, digits, room)
    cut(sums, digits, result, a.shape[0])


@compiled
def _square(result: Any, a: Any, room: Any) -> None:
    """One block: what `_multiply` makes of a and a, for about three quarters of its time."""
    sums = room[3]
    _set_square(sums, a)
    _reduce(sums, a.shape[0], room)
    cut(sums, a.shape[0], result, a.shape[0])


@compiled
def multiply(results: Any, a: Any, b: Any, room: Any) -> None:
    """Multiply blocks (count, limbs, 8) by blocks, or by one block (1, limbs, 8) all of them."""
    for index in range(a.shape[0]):
        _multiply(results[index], a[index], b[min(index, b.shape[0] - 1)], room)


@compiled
def power(results: Any, bases: Any, digits: Any, table: Any, room: Any) -> None:
    """Raise blocks in Montgomery's form to one exponent, given as digits to the base 2**window, the highest first.

    Which multiplications are done depends on the exponent's length alone, where tables are read on its digits.
    """
    for block in range(bases.shape[0]):
        for entry in range(1, table.shape[0]):
            _multiply(table[entry], table[entry - 1], bases[block], room)
        value = results[block]
        _copy(value, table[digits[0]])
        for digit in digits[1:]:
            for _ in range(WINDOW):
                _square(value, value, room)
            _multiply(value, value, table[digit], room)


@compiled
def product_of_powers(result: Any, bases: Any, digits: Any, buckets: Any, one: Any, room: Any) -> None:
    """One block: in each column the product of all bases there, in Montgomery's form, each to its own exponent.

    Args:
        result: (limbs, 8) what is computed; it starts as `one`.
        bases: (blocks, limbs, 8).
        digits: (windows, blocks, 8) of exponents to the base len(buckets), the highest first; public.
        buckets: (2**window, limbs, 8) to work in.
        one: (limbs, 8).
        room: see above.
    """
    chosen, running, total = np.empty_like(result), np.empty_like(result), np.empty_like(result)
    for window in range(digits.shape[0]):
        size = 1
        while size < buckets.shape[0]:
            _square(result, result, room)
            size *= 2
        for entry in range(buckets.shape[0]):
            _copy(buckets[entry], one)
        for block in range(bases.shape[0]):
            for lane in range(LANES):
                for limb in range(result.shape[0]):
                    chosen[limb, lane] = buckets[digits[window, block, lane], limb, lane]
            _multiply(chosen, chosen, bases[block], room)
            for lane in range(LANES):
                for limb in range(result.shape[0]):
                    buckets[digits[window, block, lane], limb, lane] = chosen[limb, lane]
        _copy(running, one)
        _copy(total, one)
        for entry in range(buckets.shape[0] - 1, 0, -1):  # bucket d is in the running product d times in the end
            _multiply(running, running, buckets[entry], room)
            _multiply(total, total, running, room)
        _multiply(result, result, total, room)


@compiled
def multiply_chosen(results: Any, table: Any, digits: Any, room: Any) -> None:
    """Multiply each number by one entry of every row of a table.

    Args:
        results: (blocks, limbs, 8) what is multiplied.
        table: (rows, entries, limbs of an entry), which may be fewer than the modulus's.
        digits: (rows, blocks, 8) which entries.
        room: see above.
    """
    chosen = np.empty((table.shape[2], LANES), table.dtype)
    for block in range(results.shape[0]):
        value = results[block]
        for row in range(table.shape[0]):
            for lane in range(LANES):
                for limb in range(table.shape[2]):
                    chosen[limb, lane] = table[row, digits[row, block, lane], limb]
            _multiply(value, value, chosen, room)


@compiled
def _take_off(sums: Any, quotients: Any) -> None:
    for column in range(quotients.shape[0]):
        for lane in range(LANES):
            sums[column, lane] -= np.int64(quotients[column, lane])


@compiled
def _finish_pair(result: Any, low: Any, room: Any) -> None:
    """Set the result to the low half, and to sums less the low half's quotients, reduced."""
    _, _, _, sums, quotients = room
    _take_off(sums, quotients)
    _reduce(sums, low.shape[0], room)
    _copy(result[0], low)
    cut(sums, low.shape[0], result[1], low.shape[0])


@compiled
def _multiply_pair(result: Any, a: Any, b: Any, low: Any, room: Any) -> None:
    """One block of pairs: see squares.py. The result may be a or b; `low` is a block to work in."""
    sums = room[3]
    _multiply(low, a[0], b[0], room)
    sums[:] = 0
    _add_product(sums, a[0], b[1])
    _add_product(sums, a[1], b[0])
    _finish_pair(result, low, room)


@compiled
def _square_pair(result: Any, a: Any, low: Any, room: Any) -> None:
    """One block of pairs: what `_multiply_pair` makes of a and a."""
    sums = room[3]
    _square(low, a[0], room)
    sums[:] = 0
    _add_product(sums, a[0], a[1])
    _double(sums)
    _finish_pair(result, low, room)


@compiled
def multiply_pairs(results: Any, a: Any, b: Any, room: Any) -> None:
    """Multiply blocks of pairs (count, 2, limbs, 8), all by one block (2, limbs, 8)."""
    low = np.empty_like(b[0])
    for index in range(a.shape[0]):
        _multiply_pair(results[index], a[index], b, low, room)


@compiled
def power_pairs(results: Any, bases: Any, digits: Any, table: Any, room: Any) -> None:
    """Raise blocks of pairs to one exponent; all as for `power`."""
    low = np.empty_like(table[0, 0])
    for block in range(bases.shape[0]):
        for entry in range(1, table.shape[0]):
            _multiply_pair(table[entry], table[entry - 1], bases[block], low, room)
        value = results[block]
        _copy(value[0], table[digits[0], 0])
        _copy(value[1], table[digits[0], 1])
        for digit in digits[1:]:
            for _ in range(WINDOW):
                _square_pair(value, value, low, room)
            _multiply_pair(value, value, table[digit], low, room)


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
def _read_block(data: Any, first: int, num_bytes: int, bits: int, words: Any, block: Any) -> None:
    """Cut up to eight numbers into limbs, from number `first` on; ones fill the columns that are left."""
    step, mask = np.uint64(bits), (ONE << np.uint64(bits)) - ONE
    for lane in range(LANES):
        start, end = (first + lane) * num_bytes, (first + lane + 1) * num_bytes
        if end > data.size:
            for limb in range(block.shape[0]):
                block[limb, lane] = 1 if limb == 0 else 0
            continue
        for index in range(num_bytes >> 3):
            words[index] = _word(data, end - 8 * index)
        if num_bytes & 7:
            words[num_bytes >> 3] = ZERO
        for place in range(num_bytes & 7):
            words[num_bytes >> 3] = words[num_bytes >> 3] << np.uint64(8) | np.uint64(data[start + place])
        for limb in range(block.shape[0]):
            position = np.uint64(limb) * step
            word, shift = position >> LOG_WORD, position & IN_WORD
            high = (words[word + ONE] << ONE) << (IN_WORD - shift)  # two shifts, so that none is by 64
            block[limb, lane] = np.int64((words[word] >> shift | high) & mask)


@compiled
def read(data: Any, num_bytes: int, bits: int, blocks: Any) -> None:
    """Cut numbers of num_bytes big-endian bytes each, side by side, into limbs; ones fill the last block up."""
    words = np.zeros(max(blocks.shape[1] * bits >> 6, num_bytes >> 3) + 2, np.uint64)
    for index in range(blocks.shape[0]):
        _read_block(data, index * LANES, num_bytes, bits, words, blocks[index])


@compiled
def multiply_read(results: Any, a: Any, data: Any, num_bytes: int, room: Any) -> None:
    """Multiply blocks by numbers that are read as they are needed: what `read` and `multiply` do, in the cache."""
    words = np.zeros(max(a.shape[1] * room[0] >> 6, num_bytes >> 3) + 2, np.uint64)
    block = np.empty_like(a[0])
    for index in range(a.shape[0]):
        _read_block(data, index * LANES, num_bytes, room[0], words, block)
        _multiply(results[index], a[index], block, room)


@compiled
def write(blocks: Any, num_bytes: int, bits: int, data: Any) -> None:
    """Undo `read`; what does not fit into num_bytes must be zero."""
    step = np.uint64(bits)
    for number in range(data.size // num_bytes):
        block, lane = number // LANES, number % LANES
        end = (number + 1) * num_bytes - 1
        for place in range(num_bytes):
            position = np.uint64(8 * place)
            limb, shift = position // step, position % step
            value = np.uint64(np.int64(blocks[block, limb, lane])) >> shift
            if shift > step - np.uint64(8) and limb + ONE < blocks.shape[1]:
                value |= np.uint64(np.int64(blocks[block, limb + ONE, lane])) << (step - shift)
            data[end - place] = value & BYTE
