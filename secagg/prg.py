"""A seed's stream of residues, and the one loop where a round spends its time: adding and removing many of them.

The stream of a 32-byte seed is AES-256 in counter mode with an all-zero initial counter (NIST SP 800-38A): block i
is the encryption of i as a 16-byte big-endian integer. Read as little-endian lanes it is a vector of residues mod
2**32 or 2**64, and after a bit-mask mod any smaller power of two (SPEC section 5).

The counter blocks are the same for every seed, so each chunk of them is made once, stays in cache, and is
encrypted under one key after another: chunk by chunk outside, seed by seed inside. AES is called as ECB on the
counter blocks, which is the same function as CTR with a zero keystream input, runs at the speed of the hardware, and
lets go of the interpreter lock. A compiled loop adds four streams at once, where it pays to load one (`loops`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ._masked import is_masked_array
from .errors import ParameterError
from .loops import compiled_pays
from .residues import Residues

SEED_BYTES = 32
BLOCK_BYTES = 16
MAX_BLOCKS = 1 << 64
CHUNK_BYTES = 256 * 1024
"""Counter blocks, keystreams and the slice of the sum that they go to, all in a core's cache."""

_SHARE_BYTES = 64 * 1024
"""A thread needs this much of the vector for itself; shorter calls spend their time on the interpreter lock."""

_SEEDS_AT_ONCE = 512
"""Bounds the memory of expanded AES keys, about 1 KiB each; twice as many are there at a time."""

_LINE_BYTES = 64
"""Of a processor's cache. Vectors that lie across lines are read and written twice."""

_TOGETHER = 4
"""Streams of one sign that a compiled loop takes at once."""

_ADDITIONS = 64
"""numpy does so many while it reads or writes a number of another length, by which `loops` counts."""


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
        ParameterError: a target is not a contiguous vector of lanes or shares memory with another, or a seed is not 32
            bytes long. Nothing was added then.
    """
    seeds = [(seed, True) for seed in add] + [(seed, False) for seed in subtract]
    for seed, _ in seeds:  # all of them before any is used
        _check_seed(seed)
    slices = _slices(targets)
    total_bytes = sum(piece.lanes.nbytes for piece in slices)
    if threads is None:
        threads = cpu_count()
    threads = max(1, min(threads, total_bytes // _SHARE_BYTES))
    chunks = [chunk for piece in slices for chunk in piece.chunks(total_bytes // threads)]
    together = _TOGETHER if compiled_pays(len(seeds) * sum(chunk.lanes.size for chunk in chunks) // _ADDITIONS) else 1
    rooms = [_Room(chunks, together) for _ in range(threads)]

    def apply(chunk: _Slice, groups: Sequence[_Group]) -> None:
        room = rooms.pop()  # there are as many as threads
        room.apply(groups, chunk)
        rooms.append(room)

    running: list[Future[None]] = []
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(seeds), _SEEDS_AT_ONCE):
            groups = _groups(seeds[start : start + _SEEDS_AT_ONCE], together)  # while those before are at work
            _wait_for(running)
            if threads == 1:
                for chunk in chunks:
                    apply(chunk, groups)
            else:
                running = [pool.submit(apply, chunk, groups) for chunk in chunks]
        _wait_for(running)


def _wait_for(running: Sequence[Future[None]]) -> None:
    for piece in running:
        piece.result()


_Group = tuple[Callable[..., None], list[Any]]
"""What adds or subtracts some streams, and the AES keys that make them."""


def _groups(seeds: Sequence[tuple[bytes, bool]], together: int) -> list[_Group]:
    """Expand seeds, which are added where that is true, and group them by what takes them: some at once, or one."""
    groups: list[_Group] = []
    for added, one in ((True, _add), (False, _subtract)):
        ciphers = [_cipher(seed) for seed, wanted in seeds if wanted is added]
        alone = len(ciphers) % together if together > 1 else len(ciphers)
        if alone < len(ciphers):
            from . import _stream_kernels

            some = _stream_kernels.add if added else _stream_kernels.subtract
            groups += [(some, ciphers[at : at + together]) for at in range(alone, len(ciphers), together)]
        groups += [(one, [cipher]) for cipher in ciphers[:alone]]
    return groups


def _add(lanes: Residues, stream: Residues) -> None:
    np.add(lanes, stream, out=lanes)


def _subtract(lanes: Residues, stream: Residues) -> None:
    np.subtract(lanes, stream, out=lanes)


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


class _Room:
    """A thread's buffers, one for each stream of a group, for any of the chunks: each from a line of the cache on."""

    def __init__(self, chunks: Sequence[_Slice], streams: int) -> None:
        longest = max((chunk.num_blocks for chunk in chunks), default=0) * BLOCK_BYTES
        step = -(-longest // _LINE_BYTES) * _LINE_BYTES
        room = np.empty(streams * step + _LINE_BYTES, dtype=np.uint8)
        first = -room.ctypes.data % _LINE_BYTES
        self._buffers = [room.data[first + number * step :][:longest] for number in range(streams)]

    def apply(self, groups: Sequence[_Group], chunk: _Slice) -> None:
        """Add or subtract the streams of all groups."""
        counters = _counter_blocks(chunk.first_block, chunk.num_blocks)
        outputs = [buffer[: len(counters)] for buffer in self._buffers]
        streams = [np.frombuffer(buffer, chunk.lanes.dtype, chunk.lanes.size) for buffer in self._buffers]
        for operation, ciphers in groups:
            for cipher, output in zip(ciphers, outputs, strict=False):  # one or all
                cipher.encrypt(counters, output=output)
            operation(chunk.lanes, *streams[: len(ciphers)])


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
