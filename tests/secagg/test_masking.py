from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.masking import mask, unmask
from secagg.prg import add_streams
from secagg.residues import lane_dtype, reduce_in_place
from tests.strategies import random_lanes

Cohort = tuple[list[int], dict[int, bytes], dict[tuple[int, int], bytes]]


def name(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "big") for number in numbers).rjust(32, b"\0")


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    """Clients, their self-mask seeds, and the seeds of some of their pairs: any graph."""
    clients = draw(st.lists(st.integers(0, 2**32), min_size=1, max_size=7, unique=True))
    salt = draw(st.integers(0, 2**16))
    pairs = [pair for pair in combinations(sorted(clients), 2) if draw(st.booleans())]
    return clients, {u: name(salt, u) for u in clients}, {pair: name(salt, *pair) for pair in pairs}


def peers_of(client: int, pairs: dict[tuple[int, int], bytes]) -> dict[int, bytes]:
    return {(v if u == client else u): seed for (u, v), seed in pairs.items() if client in (u, v)}


def stream(seed: bytes, sizes: list[int], dtype: np.dtype) -> list[np.ndarray]:
    lanes = [np.zeros(size, dtype=dtype) for size in sizes]
    add_streams(lanes, add=[seed])
    return lanes


@given(st.integers(1, 64), st.integers(0, 2**20))
def test_a_masked_vector_is_the_formula_of_the_paper(bits: int, seed: int) -> None:
    # y_u = x_u + PRG(b_u) + sum over v > u of PRG(s_uv) - sum over v < u of PRG(s_uv)
    dtype, x = lane_dtype(bits), random_lanes(bits, 9, seed)
    masked = x.copy()
    mask([masked], client_id=5, self_mask_seed=name(0), pairwise_seeds={9: name(9), 2: name(2), 6: name(6)})
    of = {number: stream(name(number), [9], dtype)[0] for number in (0, 2, 6, 9)}
    assert np.array_equal(masked, x + of[0] + of[6] + of[9] - of[2])


@given(cohorts(), st.integers(1, 64), st.lists(st.integers(0, 30), min_size=1, max_size=3), st.integers(1, 3))
def test_pairwise_masks_cancel_in_the_sum_over_everyone(
    cohort: Cohort, bits: int, sizes: list[int], threads: int
) -> None:
    clients, self_seeds, pairs = cohort
    dtype = lane_dtype(bits)
    total = [np.zeros(size, dtype=dtype) for size in sizes]
    expected = [np.zeros(size, dtype=dtype) for size in sizes]
    for client in clients:
        vectors = [random_lanes(bits, size, client % 1000) for size in sizes]
        for lanes, vector, self_mask in zip(expected, vectors, stream(self_seeds[client], sizes, dtype), strict=True):
            np.add(lanes, vector + self_mask, out=lanes)
        mask(
            vectors,
            client_id=client,
            self_mask_seed=self_seeds[client],
            pairwise_seeds=peers_of(client, pairs),
            threads=threads,
        )
        for lanes, vector in zip(total, vectors, strict=True):
            np.add(lanes, vector, out=lanes)
    for lanes, wanted in zip(total, expected, strict=True):
        assert np.array_equal(lanes, wanted)


@given(st.data(), cohorts(), st.integers(1, 64), st.lists(st.integers(0, 30), min_size=1, max_size=3))
def test_unmasking_leaves_exactly_the_sum_of_any_survivors(
    data: st.DataObject, cohort: Cohort, bits: int, sizes: list[int]
) -> None:
    clients, self_seeds, pairs = cohort
    survivors = {client for client in clients if data.draw(st.booleans())}
    sums = [np.zeros(size, dtype=lane_dtype(bits)) for size in sizes]
    plain = [np.zeros(size, dtype=lane_dtype(bits)) for size in sizes]
    for client in survivors:
        vectors = [random_lanes(bits, size, client % 1000) for size in sizes]
        for lanes, vector in zip(plain, vectors, strict=True):
            np.add(lanes, vector, out=lanes)
        peers = peers_of(client, pairs)
        mask(vectors, client_id=client, self_mask_seed=self_seeds[client], pairwise_seeds=peers)
        for lanes, vector in zip(sums, vectors, strict=True):
            np.add(lanes, reduce_in_place(vector, bits), out=lanes)  # as it arrives from the wire
    orphaned = []
    for (u, v), seed in pairs.items():
        if (u in survivors) != (v in survivors):
            orphaned.append((u, v, seed) if u in survivors else (v, u, seed))
    unmask(sums, self_mask_seeds=(self_seeds[u] for u in survivors), orphaned_seeds=iter(orphaned))
    for lanes, wanted in zip(sums, plain, strict=True):
        assert np.array_equal(reduce_in_place(lanes, bits), reduce_in_place(wanted, bits))


@pytest.mark.parametrize("left_out", ["self mask", "orphaned pair", "sign"])
def test_unmasking_with_anything_left_out_leaves_noise(left_out: str) -> None:
    # The test above can fail: each of its ingredients is needed.
    plain = random_lanes(32, 64, seed=8)
    sums = plain.copy()
    mask([sums], client_id=1, self_mask_seed=name(1), pairwise_seeds={2: name(1, 2)})
    pair = (2, 1, name(1, 2)) if left_out == "sign" else (1, 2, name(1, 2))
    unmask(
        [sums],
        self_mask_seeds=[] if left_out == "self mask" else [name(1)],
        orphaned_seeds=[] if left_out == "orphaned pair" else [pair],
    )
    # 64 lanes of noise agree with 64 given ones in one lane with probability below 2**-25.
    assert not (sums == plain).any()
