"""Shamir's split and reconstruct of a 32-byte secret, against PyCryptodome and galois."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import galois
import numpy as np
import pytest
from Crypto.Protocol.SecretSharing import Shamir

from bench.side_by_side import QUICK, clocked, measured_once, size, take_turns
from bench.suite.findings import Finding, Row
from secagg import shamir
from secagg.field import PRIME

SECRET_BYTES = 32
BLOCK_BYTES = 16
TURNS = size(9, 2, quick=3)


def ours(secret: bytes, n: int, threshold: int) -> None:
    shares = shamir.split(secret, threshold=threshold, indices=range(1, n + 1))
    chosen = random.sample(sorted(shares), threshold)
    out = shamir.reconstruct({index: shares[index] for index in chosen}, threshold=threshold, num_bytes=SECRET_BYTES)
    assert out == secret


def ours_checked(secret: bytes, n: int, threshold: int) -> None:
    """With all n shares, which are then checked against each other."""
    shares = shamir.split(secret, threshold=threshold, indices=range(1, n + 1))
    assert shamir.reconstruct(shares, threshold=threshold, num_bytes=SECRET_BYTES) == secret


def pycryptodome(secret: bytes, n: int, threshold: int) -> None:
    for start in range(0, len(secret), BLOCK_BYTES):
        block = secret[start : start + BLOCK_BYTES]
        shares = Shamir.split(threshold, n, block, ssss=False)
        assert Shamir.combine(random.sample(shares, threshold), ssss=False) == block


class Galois:
    """The same field and the same nine elements a secret, on galois arrays; the matrix of powers is made beforehand."""

    def __init__(self, n: int, threshold: int) -> None:
        self.field = galois.GF(PRIME)
        self.threshold = threshold
        self.points = self.field(np.arange(1, n + 1))
        self.powers = self.field.Ones((n, threshold))
        for column in range(1, threshold):
            self.powers[:, column] = self.powers[:, column - 1] * self.points

    def run(self) -> None:
        coefficients = self.field.Random((self.threshold, shamir.num_elements(SECRET_BYTES)))
        shares = self.powers @ coefficients
        chosen = random.sample(range(self.points.size), self.threshold)
        points = self.points[chosen]
        differences = points[np.newaxis, :] - points[:, np.newaxis]
        np.fill_diagonal(differences, 1)
        weights = np.multiply.reduce(points) / (points * np.multiply.reduce(differences, axis=1))
        assert np.array_equal(weights @ shares[chosen], coefficients[0])


@pytest.mark.parametrize(
    ("n", "threshold", "asked"),
    [
        pytest.param(100, 60, None, id="n100"),
        # PyCryptodome alone takes a minute.
        pytest.param(size(1000, 120), size(667, 80), 1000, id="n1000", marks=pytest.mark.long),
    ][: 1 if QUICK else 2],
)
def test_split_and_reconstruct(benchmark, report, n, threshold, asked):
    secret = os.urandom(SECRET_BYTES)
    peer = Galois(n, threshold)
    first = clocked(lambda: ours(secret, n, threshold))()
    ours_checked(secret, n, threshold)
    peer.run()

    whole = asked is None
    blocks = SECRET_BYTES // BLOCK_BYTES
    if whole:
        pycryptodomes_turn = clocked(lambda: pycryptodome(secret, n, threshold))
    else:
        pycryptodomes_turn = measured_once(_times(blocks, lambda: pycryptodome(secret[:BLOCK_BYTES], n, threshold)))
    timings = take_turns(
        benchmark,
        clocked(lambda: ours(secret, n, threshold)),
        {
            "PyCryptodome": pycryptodomes_turn,
            "galois": clocked(peer.run),
            "ours, checked": clocked(lambda: ours_checked(secret, n, threshold)),
        },
        turns=TURNS,
    )
    finding = Finding(f"Shamir split and reconstruct of {SECRET_BYTES} bytes, n={n}, t={threshold}")
    finding.add("ours", 1e3 * timings.median("ours"), "ms")
    finding.add("ours, all n shares checked against each other", 1e3 * timings.median("ours, checked"), "ms")
    finding.add("ours, the first of this size in the session", 1e3 * first, "ms")
    finding.add("PyCryptodome", 1e3 * timings.median("PyCryptodome"), "ms")
    finding.add("galois, GF(2^31 - 1)", 1e3 * timings.median("galois"), "ms")
    ratio = timings.ratio("PyCryptodome", "ours")
    if asked is None:
        finding.add_ratio("PyCryptodome / ours", ratio)
    else:
        finding.add_ratio("PyCryptodome / ours", ratio, asked=f"at least {asked}", met=ratio.median >= asked)
    finding.add_ratio("PyCryptodome / ours, checked", timings.ratio("PyCryptodome", "ours, checked"))
    finding.add_ratio("galois / ours", timings.ratio("galois", "ours"))
    how = "both blocks in each turn" if whole else "one 16-byte block, once, and doubled"
    finding.notes.append(f"PyCryptodome shares 16 bytes at a time; measured: {how}")
    what = f"sharing and rebuilding a secret of {SECRET_BYTES} bytes, {threshold} of {n}"
    once = "" if whole else "one block of two, once, and doubled"
    finding.rows = [
        Row(what, "s", timings.median("ours"), timings.peer("PyCryptodome", "PyCryptodome", note=once)),
        Row(what, "s", timings.median("ours"), timings.peer("galois", "galois, the same field")),
    ]
    report(finding)


def _times(factor: int, function: Callable[[], None]) -> Callable[[], float]:
    contender = clocked(function)
    return lambda: factor * contender()
