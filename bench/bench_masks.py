"""Adding many masks to a vector, against raw AES-256 in cache."""

from __future__ import annotations

import os

import numpy as np
import pytest
from Crypto.Cipher import AES

from bench.floors import encrypt_raw
from bench.side_by_side import clocked, size, take_turns
from bench.suite.findings import Finding, Row
from secagg.prg import add_streams

NUM_MASKS = size(100, 10)
LENGTH = size(1_000_000, 100_000)
TURNS = size(9, 2, quick=5)
IN_MEMORY = 16
"""Vectors that plain additions go through: 64 MB, more than most caches hold."""
FLOWER_SEED_BITS = 32


def test_adding_masks(benchmark, report):
    seeds = [os.urandom(32) for _ in range(NUM_MASKS)]
    lanes = np.zeros(LENGTH, dtype=np.uint32)
    num_bytes = NUM_MASKS * lanes.nbytes

    add_streams([lanes], add=seeds, threads=1)
    expected = _plain_sum(seeds)
    assert np.array_equal(lanes, expected)
    add_streams([lanes], add=seeds, threads=2)
    assert np.array_equal(lanes, 2 * expected)
    add_streams([lanes], subtract=seeds * 2)
    assert not lanes.any()

    vectors = np.random.default_rng().integers(0, 1 << 32, (IN_MEMORY, LENGTH), dtype=np.uint32)
    total = np.zeros_like(lanes)

    def add_plain() -> None:
        for number in range(NUM_MASKS):
            np.add(total, vectors[number % IN_MEMORY], out=total)

    timings = take_turns(
        benchmark,
        clocked(lambda: add_streams([lanes], add=seeds, threads=1)),
        {
            "raw": clocked(lambda: encrypt_raw(num_bytes)),
            "raw on two": clocked(lambda: encrypt_raw(num_bytes, 2)),
            "ours on two": clocked(lambda: add_streams([lanes], add=seeds, threads=2)),
            "plain": clocked(add_plain),
            "as Flower": clocked(lambda: _add_as_flower(lanes)),
        },
        turns=TURNS,
    )
    finding = Finding(f"Adding {NUM_MASKS} masks of {LENGTH:,} uint32")
    for what, name in (
        ("ours, 1 thread", "ours"),
        ("raw AES-256, 1 thread", "raw"),
        ("ours, 2 threads", "ours on two"),
        ("raw AES-256, 2 threads", "raw on two"),
    ):
        finding.add(what, num_bytes / timings.median(name) / 1e9, "GB/s")
    finding.add("MT19937 as Flower calls it, 1 thread", num_bytes / timings.median("as Flower") / 1e9, "GB/s")
    finding.add("adding as many vectors from memory, 1 thread", num_bytes / timings.median("plain") / 1e9, "GB/s")
    one, two = timings.ratio("raw", "ours"), timings.ratio("ours", "ours on two")
    finding.add_ratio("ours / raw AES, 1 thread", one, asked="at least 0.85", met=one.median >= 0.85)
    finding.add_ratio("ours on 2 threads / ours on 1", two, asked="at least 1.7", met=two.median >= 1.7)
    finding.add_ratio("ours on 2 / raw AES on 1 thread", timings.ratio("raw", "ours on two"))
    finding.add_ratio("ours / raw AES, 2 threads each", timings.ratio("raw on two", "ours on two"))
    finding.add_ratio("raw AES on 2 threads / on 1: what this machine has to give", timings.ratio("raw", "raw on two"))
    finding.add_ratio("ours / as Flower, 1 thread", timings.ratio("as Flower", "ours"))
    finding.notes.append("GB/s count 4 bytes a residue; Flower's masks come from 32-bit seeds and take 8 bytes each")
    flower = timings.peer("as Flower", "MT19937, as Flower", note="from seeds of 32 bits")
    what = f"adding {NUM_MASKS} masks of {LENGTH:,}"
    finding.rows = [
        Row(f"{what}, 1 thread", "s", timings.median("ours"), flower, timings.limit("AES-256, 1 thread", "raw")),
        Row(
            f"{what}, 2 threads",
            "s",
            timings.median("ours on two"),
            None,
            timings.limit("AES-256, 2 threads", "raw on two", ours="ours on two"),
        ),
        Row(
            f"{what}, 2 threads, against memory",
            "s",
            timings.median("ours on two"),
            None,
            timings.limit("adding as many plain vectors, 1 thread", "plain", ours="ours on two"),
        ),
    ]
    report(finding)


def test_raw_aes_divides_its_work(monkeypatch):
    """The limit is worth something only if it does all of the work."""
    chunks = []
    new = AES.new

    class Counting:
        def __init__(self, *args):
            self._cipher = new(*args)

        def encrypt(self, plain, output):
            chunks.append(len(plain))
            self._cipher.encrypt(plain, output=output)

    monkeypatch.setattr("bench.floors.AES.new", Counting)
    for threads in (1, 2, 3):
        chunks.clear()
        encrypt_raw(10 * 256 * 1024 + 1, threads)
        assert sum(chunks) == 11 * 256 * 1024


@pytest.mark.parametrize("length", [1, 70_000])
def test_plain_sum_is_independent(length):
    """The check of the sum must be able to fail."""
    seed = os.urandom(32)
    lanes = np.zeros(length, dtype=np.uint32)
    add_streams([lanes], add=[seed])
    assert np.array_equal(lanes, _plain_sum([seed], length))
    assert not np.array_equal(lanes + 1, _plain_sum([seed], length))


def _plain_sum(seeds, length=LENGTH):
    """The same by the library's counter mode, a whole stream at a time."""
    total = np.zeros(length, dtype=np.uint32)
    for seed in seeds:
        cipher = AES.new(seed, AES.MODE_CTR, nonce=b"", initial_value=0)
        total += np.frombuffer(cipher.encrypt(bytes(4 * length)), dtype="<u4")
    return total


def _add_as_flower(lanes):
    """What flwr.common.secure_aggregation does for a mask: RandomState of a folded seed, then one addition."""
    total = lanes.astype(np.int64)
    for _ in range(NUM_MASKS):
        generator = np.random.RandomState(int.from_bytes(os.urandom(FLOWER_SEED_BITS // 8), "little"))
        total = total + generator.randint(0, 2**32 - 1, lanes.size, dtype=np.int64)
    return total & (2**32 - 1)
