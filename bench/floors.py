"""What the hardware allows: the AES and the X25519 that the work cannot do without, run raw, with nothing around it."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

from Crypto.Cipher import AES
from nacl.bindings import crypto_scalarmult

from bench.side_by_side import clocked

CHUNK_BYTES = 256 * 1024
_SAMPLE_BYTES = 1 << 30
_SAMPLE_POINTS = 4000
_BASE = (9).to_bytes(32, "little")


def encrypt_raw(num_bytes: int, threads: int = 1) -> None:
    """Encrypt at least num_bytes under AES-256, 256 KiB at a time from one cached buffer into another."""

    def work(num_chunks: int) -> None:
        cipher = AES.new(os.urandom(32), AES.MODE_ECB)
        plain, output = os.urandom(CHUNK_BYTES), bytearray(CHUNK_BYTES)
        for _ in range(num_chunks):
            cipher.encrypt(plain, output=output)

    _in_parallel(work, -(-num_bytes // CHUNK_BYTES), threads)


def multiply_raw(count: int, threads: int = 1) -> None:
    """Multiply a point of Curve25519 by `count` scalars, and do nothing with the products."""

    def work(share: int) -> None:
        scalar = os.urandom(32)
        for _ in range(share):
            crypto_scalarmult(scalar, _BASE)

    _in_parallel(work, count, threads)


def whole_round_seconds(aes_bytes: int, multiplications: int, threads: int) -> tuple[float, float]:
    """Return how long that much of each takes at the speed of a sample, for amounts too large to be run twice."""
    sample_bytes = max(1, min(aes_bytes, _SAMPLE_BYTES))
    sample_points = max(1, min(multiplications, _SAMPLE_POINTS))
    aes = clocked(lambda: encrypt_raw(sample_bytes, threads))() * aes_bytes / sample_bytes
    x25519 = clocked(lambda: multiply_raw(sample_points, threads))() * multiplications / sample_points
    return aes, x25519


def processor_seconds(aes_bytes: int, multiplications: int) -> float:
    """Return how much of one processor both take: for what is measured so as well, whoever else is on the machine."""
    start = time.thread_time()
    encrypt_raw(aes_bytes)
    multiply_raw(multiplications)
    return time.thread_time() - start


def _in_parallel(work, total: int, threads: int) -> None:
    if threads == 1:
        work(total)
        return
    shares = [total // threads + (number < total % threads) for number in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, shares))
