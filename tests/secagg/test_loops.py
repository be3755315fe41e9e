"""Numpy and compiled loops say the same, and numba is loaded when it pays and not before."""

from __future__ import annotations

import numpy as np
import pytest

from secagg import _bit_arrays, field, loops, residues
from secagg.residues import lane_dtype
from tests.processes import python
from tests.strategies import random_lanes

STRETCH = _bit_arrays._AT_ONCE


@pytest.fixture(autouse=True)
def _afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start as a new process does."""
    monkeypatch.setattr(loops._Asked, "numbers", 0)


def test_many_pieces_of_work_add_up_until_a_compiler_pays() -> None:
    piece = loops.PATIENCE // 100
    assert not any(loops.compiled_pays(piece) for _ in range(100))
    assert loops.compiled_pays(1)
    assert loops.compiled_pays(0)


def test_one_large_piece_pays_at_once() -> None:
    assert loops.compiled_pays(loops.PATIENCE + 1)


def test_who_stays_can_prefer_compiled_loops() -> None:
    loops.prefer_compiled()
    assert loops.compiled_pays(1)


@pytest.mark.parametrize("bits", [1, 8, 13, 31, 33, 45, 63])
@pytest.mark.parametrize("length", [0, 1, 9, STRETCH - 1, STRETCH, STRETCH + 1, 3 * STRETCH + 5])
def test_stretches_of_numpys_join_as_the_compiled_loops_write_them(bits: int, length: int) -> None:
    from secagg import _bit_kernels

    lanes = random_lanes(8 * lane_dtype(bits).itemsize, length, seed=bits)  # with bits above the modulus
    words = [np.full(length * bits // 64 + 2, 2**64 - 1, dtype=np.uint64) for _ in range(2)]
    _bit_arrays.pack(lanes, bits, words[0])
    _bit_kernels.pack(lanes, np.uint64(bits), words[1])
    size = residues.packed_bytes(length, bits)
    assert words[0].view(np.uint8)[:size].tobytes() == words[1].view(np.uint8)[:size].tobytes()
    read = [np.zeros_like(lanes) for _ in range(2)]
    _bit_arrays.add_unpacked(words[0], np.uint64(bits), read[0])
    _bit_kernels.add_unpacked(words[1], np.uint64(bits), read[1])
    assert np.array_equal(*read)
    assert np.array_equal(read[0], residues.reduce_in_place(lanes, bits))


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (51, 9), (67, 3)])
@pytest.mark.parametrize("points", [1, 64, 99])
def test_both_evaluate_alike(shape: tuple[int, int], points: int) -> None:
    drawn = np.random.default_rng(points).integers(0, field.PRIME, size=(shape[0] + 1, max(shape[1], points)))
    drawn[:, 0] = field.PRIME - 1
    coefficients, at = drawn[:-1, : shape[1]].astype(np.uint64), drawn[-1, :points].astype(np.uint64)
    interpreted = field.evaluate(coefficients, at)
    loops.prefer_compiled()
    assert np.array_equal(interpreted, field.evaluate(coefficients, at))


WORK = {
    "pack": "residues.pack(np.zeros(400, np.uint32), 7)",
    "unpack": "residues.unpack(bytes(350), 7, 400)",
    "add_streams": "prg.add_streams([np.zeros(6400, np.uint32)], add=4 * [bytes(32)])",
    "evaluate": "shamir.split(bytes(32), threshold=2, indices=[1, 2, 3])",
    "encode": "encoding.FixedPoint(1.0, 16, 2).encode(np.zeros(400))",
}


@pytest.mark.parametrize("work", WORK)
def test_numba_is_loaded_when_as_much_was_asked_for_and_not_before(work: str) -> None:
    script = (
        "import sys\nimport numpy as np\nfrom secagg import encoding, loops, prg, residues, shamir\n"
        f"loops.PATIENCE = 1500\n{WORK[work]}\nprint('numba' in sys.modules)\n"
        f"for _ in range(3): {WORK[work]}\nprint('numba' in sys.modules)\n"
    )
    assert python("-c", script).split() == ["False", "True"]
