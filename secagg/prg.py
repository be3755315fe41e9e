"""A seed's stream of residues, and the one loop where a round spends its time: adding and removing many of them.

The stream of a 32-byte seed is AES-256 in counter mode with an all-zero initial counter (NIST SP 800-38A): block i
is the encryption of i as a 16-byte big-endian integer. Read as little-endian lanes it is a vector of residues mod
2**32 or 2**64, and after a bit-mask mod any smaller power of two (SPEC section 5).

A library makes streams until it pays to load a compiled loop (`loops`) that does it in registers, where the processor
has instructions for AES. The counter blocks are the same for every seed. So the library gets them from cache, and
encrypts them under one key after another: chunk by chunk outside, seed by seed inside. AES is called as ECB on the
counter blocks, which is the same function as CTR with a zero keystream input, and lets go of the interpreter lock.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ._masked import is_masked_array
from .errors import ParameterError, StateError
from .loops import compiled_pays
from .residues import Residues

SEED_BYTES = 32
BLOCK_BYTES = 16
MAX_BLOCKS = 1 << 64
CHUNK_BYTES = 256 * 1024
"""Counter blocks, keystreams and the slice of the sum that they go to, all in a core's cache."""

_SHARE_BYTES = 64 * 1024
"""A thread needs this much of the vector for itself; shorter calls spend their time on the interpreter lock."""

_SEEDS_AT_ONCE = 2048
"""Bounds the memory of expanded AES keys, about 1 KiB each."""

_LINE_BYTES = 64
"""Of a processor's cache. Vectors that lie across lines are read and written twice."""

_KEYS_IN_CACHE = 64
"""Expanded, a quarter of the fastest cache: a compiled loop goes through them for each stretch of lanes."""

_CHECKED_BYTES = 1000
"""A stretch of the compiled loop's, and an end that is none, whatever the width of registers."""

_CHECKED_FROM = (1 << 32) - 30
"""Of the blocks that are checked, some have numbers of more than 32 bits."""

_STREAMED = 20
"""A compiled loop saves as much on so many lanes of streams as on one number that `loops` counts."""


def cpu_count() -> int:
    """Return the number of processors that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not every system lets a process be pinned
        return os.cpu_count() or 1


def keystream(seed: bytes, num_bytes: int, *, first_block: int = 0) -> bytes:
    """Return `num_bytes` bytes of the stream of `seed`, from block `first_block` on.

    Security: a seed is used for one purpose; derive one for each (`derivation.derive`).

    Raises:
        ParameterError: the seed is not 32 bytes long, or a count is negative.
    """
    if num_bytes < 0 or first_block < 0:
        raise ParameterError(f"num_bytes ({num_bytes}) and first_block ({first_block}) must not be negative")
    num_blocks = -(-num_bytes // BLOCK_BYTES)
    if first_block + num_blocks > MAX_BLOCKS:
        raise ParameterError(
            f"a stream has {MAX_BLOCKS} blocks; block {first_block} and {num_blocks} more pass its end"
        )
    stream: bytes = _cipher(seed).encrypt(_counter_blocks(first_block, num_blocks))
    return stream[:num_bytes]


def add_streams(
    targets: Sequence[Residues],
    *,
    add: Sequence[bytes] = (),
    subtract: Sequence[bytes] = (),
    threads: int | None = None,
) -> None:
    """Add and subtract the streams of many seeds to vectors, in place, in one pass over the vectors.

    The stream of a seed is laid over the targets one after another; each target starts at a fresh 16-byte block.

    Args:
        targets: contiguous one-dimensional uint32 or uint64 arrays; sums wrap around.
        add: 32-byte seeds whose streams are added.
        subtract: 32-byte seeds whose streams are subtracted.
        threads: how many threads to use; as many as there are processors when None.

    Raises:
        ParameterError: a target is not a contiguous vector of lanes, cannot be written or shares memory with another,
            or a seed is not 32 bytes long. Nothing was added then.
        StateError: this process's compiled loop makes other streams than the library. Nothing was added then.
    """
    for seed in itertools.chain(add, subtract):  # all of them before any is used
        _check_seed(seed)
    slices = _slices(targets)
    total_bytes = sum(piece.lanes.nbytes for piece in slices)
    if threads is None:
        threads = cpu_count()
    threads = max(1, min(threads, total_bytes // _SHARE_BYTES))
    chunks = [chunk for piece in slices for chunk in piece.chunks(total_bytes // threads)]
    numbers = (len(add) + len(subtract)) * sum(chunk.lanes.size for chunk in chunks)
    applying = _applying
    if compiled_pays(numbers // _STREAMED) and _has_instructions():
        for dtype in {piece.lanes.dtype for piece in slices}:
            _check_loop(dtype)
        applying = _applying_compiled
    with ThreadPoolExecutor(threads) as pool:
        for added, subtracted in _batches(add, subtract):
            list((pool.map if threads > 1 else map)(applying(added, subtracted), chunks))


def _batches(add: Sequence[bytes], subtract: Sequence[bytes]) -> Iterator[tuple[Sequence[bytes], Sequence[bytes]]]:
    for start in range(0, len(add) + len(subtract), _SEEDS_AT_ONCE):
        end = start + _SEEDS_AT_ONCE
        yield add[start:end], subtract[max(0, start - len(add)) : max(0, end - len(add))]


def _has_instructions() -> bool:
    from . import _stream_kernels

    return _stream_kernels.blocks_at_once() > 0


@cache
def _check_loop(dtype: np.dtype[Any]) -> None:
    """Hold the compiled loop against the library, once a process for each kind of lanes. Raises StateError.

    A wrong byte would be a wrong sum, or a mask that hides nothing. The loop may come from a disk, and from a compiler
    that nobody has tried on this processor.
    """
    seeds = [bytes(range(first, first + SEED_BYTES)) for first in range(3)]
    tried = [_Slice(np.arange(_CHECKED_BYTES // dtype.itemsize).astype(dtype), _CHECKED_FROM) for _ in range(2)]
    for applying, piece in zip((_applying_compiled, _applying), tried, strict=True):
        applying(seeds[:2], seeds[2:])(piece)
    if not np.array_equal(tried[0].lanes, tried[1].lanes):
        raise StateError(
            "the compiled loop makes other streams than the library, so no mask is made or removed: empty the folder "
            "of compiled loops (NUMBA_CACHE_DIR), or do without them (NUMBA_DISABLE_JIT=1)"
        )


def _applying_compiled(add: Sequence[bytes], subtract: Sequence[bytes]) -> Callable[[_Slice], None]:
    """Return what takes the streams of these seeds to a slice, with the processor's AES instructions."""
    from . import _stream_kernels

    seeds = np.frombuffer(b"".join([*add, *subtract]), dtype="<u4").reshape(-1, SEED_BYTES // 4)
    keys = np.empty((len(seeds), _stream_kernels.KEY_WORDS), dtype=np.uint32)
    _stream_kernels.expand(seeds, keys)

    def apply(chunk: _Slice) -> None:
        for start in range(0, len(keys), _KEYS_IN_CACHE):
            some = keys[start : start + _KEYS_IN_CACHE]
            num_added = min(max(0, len(add) - start), len(some))
            _stream_kernels.apply(chunk.lanes, np.uint64(chunk.first_block), some, num_added)

    return apply


def _applying(add: Sequence[bytes], subtract: Sequence[bytes]) -> Callable[[_Slice], None]:
    """Return what takes the streams of these seeds to a slice, by the library and numpy."""
    operations: list[tuple[Callable[..., Any], Any]] = [(np.add, _cipher(seed)) for seed in add]
    operations += [(np.subtract, _cipher(seed)) for seed in subtract]

    def apply(chunk: _Slice) -> None:
        lanes, counters = chunk.lanes, _counter_blocks(chunk.first_block, chunk.num_blocks)
        room = np.empty(len(counters) + _LINE_BYTES, dtype=np.uint8)
        buffer = room.data[-room.ctypes.data % _LINE_BYTES :][: len(counters)]
        stream = np.frombuffer(buffer, lanes.dtype, lanes.size)
        for operation, cipher in operations:
            cipher.encrypt(counters, output=buffer)
            operation(lanes, stream, out=lanes)

    return apply


@dataclass(frozen=True, slots=True)
class _Slice:
    """A stretch of a target, and the block of every seed's stream that falls on its first lane."""

    lanes: Residues
    first_block: int

    @property
    def num_blocks(self) -> int:
        return -(-self.lanes.nbytes // BLOCK_BYTES)

    def chunks(self, share_bytes: int) -> list[_Slice]:
        """Cut into stretches that fit in cache and that keep all threads busy to the end."""
        size = max(BLOCK_BYTES, min(CHUNK_BYTES, -(-share_bytes // BLOCK_BYTES) * BLOCK_BYTES))
        step = size // self.lanes.itemsize
        blocks = size // BLOCK_BYTES
        return [
            _Slice(self.lanes[start : start + step], self.first_block + number * blocks)
            for number, start in enumerate(range(0, self.lanes.size, step))
        ]


def _slices(targets: Sequence[Residues]) -> list[_Slice]:
    slices = []
    first_block = 0
    for lanes in targets:
        plain = lanes.ndim == 1 and lanes.flags.c_contiguous and not is_masked_array(lanes)
        if not plain or lanes.dtype not in (np.dtype("<u4"), np.dtype("<u8")):
            raise ParameterError(
                f"streams are added to contiguous one-dimensional uint32 or uint64 arrays, "
                f"not to {lanes.dtype} of shape {lanes.shape}"
            )
        if not lanes.flags.writeable:
            raise ParameterError("streams are added in place, but an array of the targets is read-only: give a copy")
        slices.append(_Slice(lanes, first_block))
        first_block += -(-lanes.nbytes // BLOCK_BYTES)
    places = sorted((piece.lanes.ctypes.data, piece.lanes.nbytes) for piece in slices if piece.lanes.nbytes)
    if any(start + size > after for (start, size), (after, _) in itertools.pairwise(places)):
        raise ParameterError("targets share memory, so that threads would lose sums: give each vector once, or copies")
    return slices


def _check_seed(seed: bytes) -> None:
    if len(seed) != SEED_BYTES:
        raise ParameterError(f"a seed is {SEED_BYTES} bytes long, not {len(seed)}")


def _cipher(seed: bytes) -> Any:
    """Expand a seed to an AES key. ECB keeps no state between calls, so threads may share the object."""
    from Crypto.Cipher import AES  # which takes half as long as all else of the package: only who masks needs it

    _check_seed(seed)
    return AES.new(seed, AES.MODE_ECB)


def _counter_blocks(first_block: int, num_blocks: int) -> bytes:
    # Chunks start at multiples of their size, so the runs of counters are few, and shared by all calls.
    if num_blocks * BLOCK_BYTES <= CHUNK_BYTES and first_block % (CHUNK_BYTES // BLOCK_BYTES) == 0:
        return _cached_counter_blocks(first_block, num_blocks)
    return _make_counter_blocks(first_block, num_blocks)


def _make_counter_blocks(first_block: int, num_blocks: int) -> bytes:
    counters = np.zeros((num_blocks, 2), dtype=">u8")
    counters[:, 1] = np.arange(first_block, first_block + num_blocks, dtype=np.uint64)
    return counters.tobytes()


_cached_counter_blocks = lru_cache(maxsize=32)(_make_counter_blocks)
