from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import numpy as np
import numpy.typing as npt
import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st
from numba.core.registry import cpu_target

from secagg import _stream_kernels, loops, prg
from secagg.errors import ParameterError, StateError
from secagg.prg import BLOCK_BYTES, CHUNK_BYTES, add_streams, keystream
from tests.strategies import lane_dtypes, seeds

SEED = bytes(range(32))
ODD_SEED = bytes(range(100, 132))

AROUND_CHUNKS = [
    multiple * CHUNK_BYTES + offset for multiple in (1, 2, 3) for offset in (-BLOCK_BYTES, -8, 0, 8, BLOCK_BYTES)
]


def ctr(seed: bytes, num_bytes: int, first_block: int = 0) -> bytes:
    """AES-256-CTR as pycryptodome does it by itself."""
    return AES.new(seed, AES.MODE_CTR, nonce=b"", initial_value=first_block).encrypt(bytes(num_bytes))


def ctr_lanes(seed: bytes, sizes: Sequence[int], dtype: Any) -> list[npt.NDArray[Any]]:
    """What falls on each target: every one starts at a fresh block."""
    itemsize = np.dtype(dtype).itemsize
    laid, block = [], 0
    for size in sizes:
        laid.append(np.frombuffer(ctr(seed, size * itemsize, block), dtype=dtype))
        block += -(-size * itemsize // BLOCK_BYTES)
    return laid


@pytest.mark.parametrize("numbers", [0, loops.PATIENCE + 1], ids=["numpy", "compiled"])
def test_lanes_are_the_little_endian_stream(monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    monkeypatch.setattr(loops._Asked, "numbers", numbers)
    # The same three blocks, read by hand.
    words = ((np.uint32, [0x78C095DC, 0x898940A2]), (np.uint64, [0x898940A278C095DC, 0x87208492_14A248AD]))
    for dtype, expected in words:
        lanes = np.zeros(2, dtype=dtype)
        add_streams([lanes], add=[bytes(32)])
        assert lanes.tolist() == expected


@given(seeds, st.integers(0, 500), st.integers(0, 2**40))
def test_the_stream_is_aes_256_in_counter_mode(seed: bytes, num_bytes: int, first_block: int) -> None:
    assert keystream(seed, num_bytes) == ctr(seed, num_bytes)
    assert keystream(seed, num_bytes, first_block=first_block) == ctr(seed, num_bytes, first_block)


@pytest.mark.parametrize("num_bytes", [*AROUND_CHUNKS, CHUNK_BYTES - 1, CHUNK_BYTES + 1])
@pytest.mark.parametrize("first_block", [0, 1, CHUNK_BYTES // BLOCK_BYTES])
def test_the_stream_has_no_seam_at_chunk_borders(num_bytes: int, first_block: int) -> None:
    assert keystream(SEED, num_bytes, first_block=first_block) == ctr(SEED, num_bytes, first_block)


@pytest.mark.parametrize("first_block", [2**32 - 2, 2**48 - 2, 2**63 - 2])
def test_block_numbers_carry_past_32_bits(first_block: int) -> None:
    assert keystream(SEED, 64, first_block=first_block) == ctr(SEED, 64, first_block)


@given(seeds, st.integers(0, 20), st.integers(0, 200))
def test_a_stream_that_starts_later_is_the_rest_of_the_stream(seed: bytes, first_block: int, num_bytes: int) -> None:
    whole = keystream(seed, first_block * BLOCK_BYTES + num_bytes)
    assert keystream(seed, num_bytes, first_block=first_block) == whole[first_block * BLOCK_BYTES :]


@given(
    st.lists(st.integers(0, 70), max_size=4),
    lane_dtypes,
    st.lists(seeds, max_size=4),
    st.lists(seeds, max_size=4),
    st.integers(0, 2**32),
)
def test_streams_are_added_and_subtracted_over_several_targets(
    sizes: list[int], dtype: np.dtype, add: list[bytes], subtract: list[bytes], start: int
) -> None:
    rng = np.random.default_rng(start)
    targets = [rng.integers(0, 2**32, size=size).astype(dtype) for size in sizes]
    expected = [target.copy() for target in targets]
    for seed in add:
        for lanes, stream in zip(expected, ctr_lanes(seed, sizes, dtype), strict=True):
            np.add(lanes, stream, out=lanes)
    for seed in subtract:
        for lanes, stream in zip(expected, ctr_lanes(seed, sizes, dtype), strict=True):
            np.subtract(lanes, stream, out=lanes)
    add_streams(targets, add=add, subtract=subtract)
    for target, lanes in zip(targets, expected, strict=True):
        assert np.array_equal(target, lanes)


def test_targets_of_both_widths_share_one_stream() -> None:
    targets = [np.zeros(5, dtype="<u4"), np.zeros(3, dtype="<u8"), np.zeros(1, dtype="<u4")]
    add_streams(targets, add=[SEED])
    # 20 bytes take two blocks, 24 bytes two more, and the last target starts at block 4.
    assert targets[0].tobytes() == ctr(SEED, 20)
    assert targets[1].tobytes() == ctr(SEED, 24, 2)
    assert targets[2].tobytes() == ctr(SEED, 4, 4)


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
@pytest.mark.parametrize("num_bytes", AROUND_CHUNKS)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_vectors_around_chunk_borders_get_the_whole_stream(dtype: str, num_bytes: int, threads: int) -> None:
    lanes = np.zeros(num_bytes // np.dtype(dtype).itemsize, dtype=dtype)
    add_streams([lanes], add=[SEED, ODD_SEED], subtract=[ODD_SEED], threads=threads)
    assert lanes.tobytes() == ctr(SEED, lanes.nbytes)


@pytest.mark.parametrize("threads", [0, 1, 2, 3, 5, 16, None])
def test_the_number_of_threads_changes_nothing(threads: int | None) -> None:
    sizes = [3, 70_001, 0, 140_003, 33]
    targets = [np.arange(size, dtype="<u4") for size in sizes]
    add_streams(targets, add=[SEED], subtract=[ODD_SEED], threads=threads)
    plus, minus = ctr_lanes(SEED, sizes, "<u4"), ctr_lanes(ODD_SEED, sizes, "<u4")
    for size, target, added, subtracted in zip(sizes, targets, plus, minus, strict=True):
        assert np.array_equal(target, np.arange(size, dtype="<u4") + added - subtracted)


@pytest.mark.parametrize("numbers", [0, loops.PATIENCE + 1], ids=["numpy", "compiled"])
@pytest.mark.parametrize(
    "counts",
    [(0, 1), (3, 0), (4, 3), (5, 4), (9, 8), *((more % 2 * 3, prg._SEEDS_AT_ONCE + more) for more in (-1, 0, 1, 2))],
)
@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
@pytest.mark.parametrize("threads", [1, 2])
def test_streams_that_a_loop_takes_at_once_are_all_used_with_their_sign(
    monkeypatch: pytest.MonkeyPatch, numbers: int, counts: tuple[int, int], dtype: str, threads: int
) -> None:
    monkeypatch.setattr(loops._Asked, "numbers", numbers)
    monkeypatch.setattr(prg, "_SHARE_BYTES", 1)
    added, subtracted = ([os.urandom(32) for _ in range(count)] for count in counts)
    sizes = [5, 33]
    targets = [np.arange(size, dtype=dtype) for size in sizes]
    add_streams(targets, add=added, subtract=subtracted, threads=threads)
    expected = [np.arange(size, dtype=dtype) for size in sizes]
    for seed in added:
        for lanes, stream in zip(expected, ctr_lanes(seed, sizes, dtype), strict=True):
            np.add(lanes, stream, out=lanes)
    for seed in subtracted:
        for lanes, stream in zip(expected, ctr_lanes(seed, sizes, dtype), strict=True):
            np.subtract(lanes, stream, out=lanes)
    for target, lanes in zip(targets, expected, strict=True):
        assert np.array_equal(target, lanes)


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
def test_a_compiled_loop_leaves_alone_what_is_beside_its_lanes(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    monkeypatch.setattr(loops._Asked, "numbers", loops.PATIENCE + 1)
    for size in (0, 1, 63, 64, 127, 128, 129, 255, 256, 300):
        room = np.full(size + 512, 7, dtype=dtype)
        add_streams([room[256 : 256 + size]], add=[SEED], subtract=[ODD_SEED])
        assert (room[:256] == 7).all()
        assert (room[256 + size :] == 7).all()
        added, subtracted = (ctr_lanes(seed, [size], dtype)[0] for seed in (SEED, ODD_SEED))
        assert np.array_equal(room[256 : 256 + size], np.full(size, 7, dtype=dtype) + added - subtracted)


def test_keys_are_expanded_as_fips_197_has_it() -> None:
    """Appendix A.3."""
    if not _stream_kernels.blocks_at_once():
        pytest.skip("this processor leaves AES to the library")
    key = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
    seeds = np.frombuffer(bytes.fromhex(key), dtype="<u4").reshape(1, 8)
    keys = np.zeros((1, _stream_kernels.KEY_WORDS), dtype=np.uint32)
    _stream_kernels.expand(seeds, keys)
    words = keys.tobytes().hex()
    assert words[: 8 * 12] == key + "9ba354118e6925afa51a8b5f2067fcde"
    assert words[-8 * 4 :] == "fe4890d1e6188d0b046df344706c631e"


LANES_OF_EVERY_LENGTH = """
import numpy as np
from Crypto.Cipher import AES
from secagg import _stream_kernels, loops
from secagg.prg import add_streams
loops.prefer_compiled()
seeds = [bytes([number]) * 32 for number in range(1, 71)]
for dtype in (np.uint32, np.uint64):
    for size in (1, 7, 128, 129, 1000):
        lanes = [np.arange(size).astype(dtype), np.ones(size + 1, dtype=dtype)]
        expected = [one.copy() for one in lanes]
        add_streams(lanes, add=seeds[:66], subtract=seeds[66:])
        for at, seed in enumerate(seeds):
            block = 0
            for one in expected:
                stream = AES.new(seed, AES.MODE_CTR, nonce=b"", initial_value=block).encrypt(bytes(one.nbytes))
                (np.add if at < 66 else np.subtract)(one, np.frombuffer(stream, dtype), out=one)
                block += -(-one.nbytes // 16)
        assert all(np.array_equal(*pair) for pair in zip(lanes, expected))
print(_stream_kernels.blocks_at_once())
"""
PLAIN = {"sse2", "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt"}


@pytest.mark.parametrize(
    ("features", "blocks"), [(PLAIN, 0), (PLAIN | {"aes"}, 1), (PLAIN | {"aes", "avx", "avx2", "vaes"}, 2)]
)
def test_processors_with_narrower_instructions_make_the_same_streams(tmp_path, features, blocks) -> None:
    """As far as this one has them."""
    ours = set(cpu_target.target_context.codegen().magic_tuple()[2].split(","))
    if not {f"+{feature}" for feature in features} <= ours:
        pytest.skip("this processor has not all of these instructions")
    narrow = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ",".join(f"+{feature}" for feature in features)}
    environment = os.environ | narrow | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", LANES_OF_EVERY_LENGTH]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert (done.stdout, done.returncode) == (f"{blocks}\n", 0), done.stderr[-2000:]


@pytest.mark.parametrize("fault", ["in a stretch", "at the end", "of a sign", "of a key"])
@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
def test_a_compiled_loop_that_differs_from_the_library_is_not_used(
    monkeypatch: pytest.MonkeyPatch, dtype: str, fault: str
) -> None:
    """Broken here on purpose; such as a file of the cache, or the compiler, could be."""
    if not _stream_kernels.blocks_at_once():
        pytest.skip("this processor leaves AES to the library")
    faithful = _stream_kernels.apply

    def apply(lanes: Any, first_block: Any, keys: Any, num_added: Any) -> None:
        if fault == "of a key":
            keys = np.concatenate([keys[:-1], keys[-1:] ^ np.uint32(1)])
        faithful(lanes, first_block, keys, num_added + (fault == "of a sign"))
        if fault in ("in a stretch", "at the end") and lanes.size:
            lanes[{"in a stretch": 0, "at the end": -1}[fault]] += 1

    monkeypatch.setattr(loops._Asked, "numbers", loops.PATIENCE + 1)
    monkeypatch.setattr(_stream_kernels, "apply", apply)
    prg._check_loop.cache_clear()
    lanes = np.zeros(8, dtype=dtype)
    for _ in range(2):
        with pytest.raises(StateError, match="other streams than the library"):
            add_streams([lanes], add=[SEED], subtract=[ODD_SEED])
    assert not lanes.any()
    monkeypatch.setattr(_stream_kernels, "apply", faithful)
    add_streams([lanes], add=[SEED])
    assert lanes.tobytes() == ctr(SEED, lanes.nbytes)


def test_arms_aes_instructions_are_not_taken_for_those_of_x86() -> None:
    def of(triple: str, features: str) -> Any:
        return Mock(**{"codegen.return_value.magic_tuple.return_value": (triple, "a processor", features)})

    for triple in ("aarch64-unknown-linux-gnu", "arm64-apple-darwin24.0.0", "armv7l-unknown-linux-gnueabihf"):
        assert _stream_kernels.blocks_at_once(of(triple, "+neon,+aes,+sha2")) == 0
    for features, blocks in (("+sse2", 0), ("+aes,-vaes", 1), ("+vaes,+avx2", 0), ("+aes,+avx2,+vaes", 2)):
        assert _stream_kernels.blocks_at_once(of("x86_64-unknown-linux-gnu", features)) == blocks


@pytest.mark.parametrize("numbers", [0, loops.PATIENCE + 1], ids=["numpy", "compiled"])
def test_what_cannot_be_written_is_refused_and_left_alone(monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    monkeypatch.setattr(loops._Asked, "numbers", numbers)
    target = np.frombuffer(bytes(4096), dtype="<u4")
    with pytest.raises(ParameterError, match="read-only"):
        add_streams([target], add=[SEED])
    assert not target.any()


def test_no_seeds_or_no_targets_change_nothing() -> None:
    lanes = np.arange(10, dtype="<u4")
    add_streams([lanes])
    add_streams([], add=[SEED])
    assert np.array_equal(lanes, np.arange(10, dtype="<u4"))


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_seeds_of_another_length_are_refused(size: int) -> None:
    lanes = np.zeros(4, dtype="<u4")
    for call in (
        lambda: keystream(bytes(size), 16),
        lambda: add_streams([lanes], add=[bytes(size)]),
        lambda: add_streams([lanes], add=[SEED], subtract=[bytes(size)]),
    ):
        with pytest.raises(ParameterError, match="32 bytes"):
            call()
    assert not lanes.any()  # refused before anything was added


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ParameterError, match="must not be negative"):
        keystream(SEED, -1)
    with pytest.raises(ParameterError, match="must not be negative"):
        keystream(SEED, 1, first_block=-1)


@pytest.mark.parametrize(
    "target",
    [
        np.zeros(8, dtype="<i4"),
        np.zeros(8, dtype="<u2"),
        np.zeros(8, dtype=">u4"),
        np.zeros(8, dtype="<f8"),
        np.zeros((2, 4), dtype="<u4"),
        np.zeros(8, dtype="<u4")[::2],
        np.ma.masked_array(np.zeros(8, dtype="<u4"), mask=True),
    ],
)
def test_targets_that_are_no_contiguous_lanes_are_refused_before_any_is_touched(target: np.ndarray) -> None:
    first = np.zeros(8, dtype="<u4")
    with pytest.raises(ParameterError, match="contiguous one-dimensional"):
        add_streams([first, target], add=[SEED])
    assert not first.any()


def test_targets_that_share_memory_are_refused_as_threads_would_lose_sums() -> None:
    lanes = np.zeros(100_000, dtype="<u4")
    for targets in ([lanes, lanes], [lanes[:60_000], lanes[50_000:]], [lanes, lanes[7:8]]):
        for threads in (1, 2):
            with pytest.raises(ParameterError, match="share memory"):
                add_streams(targets, add=[SEED], threads=threads)
    assert not lanes.any()
    add_streams([lanes[:50_000], lanes[50_000:], lanes[:0]], add=[SEED], threads=2)
    assert lanes.tobytes() == ctr(SEED, lanes.nbytes)


def test_a_bad_seed_anywhere_changes_nothing() -> None:
    target = np.zeros(4, dtype=np.uint32)
    with pytest.raises(ParameterError, match="32 bytes long"):
        prg.add_streams([target], add=[bytes(32)] * 600 + [b"x"])
    assert not target.any()


def test_streams_end() -> None:
    assert keystream(SEED, 16, first_block=2**64 - 1) == ctr(SEED, 16, 2**64 - 1)
    with pytest.raises(ParameterError, match="pass its end"):
        prg.keystream(bytes(32), 32, first_block=2**64 - 1)


def test_processors_are_counted_where_processes_cannot_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for found, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda found=found: found)
        assert prg.cpu_count() == expected
