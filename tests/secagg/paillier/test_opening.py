"""The combiner's arithmetic on its own: interpolation, and runs of ciphertexts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.paillier import integers, opening
from secagg.paillier.integers import Integer, backend
from secagg.paillier.opening import Opener, interpolation
from secagg.paillier.randomness import ShortExponents

from .fixed_keys import dealt, private_key

N = private_key().public_key.n


@given(st.sampled_from(range(2, 13)), st.data())
def test_interpolation_is_exact_and_takes_the_least_multiple(members: int, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(1, members), unique=True, min_size=1))
    polynomial = data.draw(st.lists(st.integers(-1000, 1000), min_size=1, max_size=len(chosen)))
    common, coefficients = interpolation(chosen)
    values = {member: sum(c * member**k for k, c in enumerate(polynomial)) for member in chosen}
    assert sum(coefficients[member] * values[member] for member in chosen) == common * polynomial[0]
    assert math.factorial(members) % common == 0
    assert math.gcd(common, *coefficients.values()) == 1


@pytest.mark.parametrize(("first", "count"), [(1, 2), (2, 3), (7, 4), (20, 33), (1, 64)])
def test_members_in_a_row_need_no_multiple(first: int, count: int) -> None:
    assert interpolation(range(first, first + count))[0] == 1


def run_of(count: int) -> tuple[Opener, list[Integer], list[list[Integer]], list[int]]:
    key, shares = dealt(3, 5)
    noise = ShortExponents(key.public_key)
    plaintexts = [pow(5, i, N) for i in range(count)]
    ciphertexts = [key.public_key.encrypt(plaintext, noise.draw().residue) for plaintext in plaintexts]
    members = (5, 1, 3)
    images = [
        [backend().integer(pow(int(c) % N, 2 * key.factorial * shares[member - 1].secret, N)) for c in ciphertexts]
        for member in members
    ]
    return Opener(N, key.factorial, members), ciphertexts, images, plaintexts


@pytest.mark.parametrize("workers", [1, 2])
def test_a_long_vector_opens_run_by_run(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr(opening, "_RUN", 64)
    opener, ciphertexts, images, plaintexts = run_of(150)
    done: list[int] = []
    assert opener.open(ciphertexts, images, workers=workers, progress=done.append) == plaintexts
    assert sum(done) == len(plaintexts)
    wrong = [*images[:2], [*images[2][:-1], backend().integer(7)]]  # one value, in the last place
    assert opener.open(ciphertexts, wrong, workers=workers) is None
    told: list[int] = []
    early = [*images[:2], [backend().integer(7), *images[2][1:]]]
    assert opener.open(ciphertexts, early, workers=workers, progress=told.append) is None
    assert sum(told) == 64  # nobody lifts the other runs


@pytest.mark.parametrize("name", ["python", "gmpy2", None])
def test_every_backend_opens_the_same(name: str | None) -> None:
    opener, ciphertexts, images, plaintexts = run_of(600)  # enough for the vector unit
    integers.choose(name)
    try:
        assert opener.open(ciphertexts, images, workers=2) == plaintexts
    finally:
        integers.choose(None)


def test_a_wrong_root_opens_nothing_wherever_it_is() -> None:
    opener, ciphertexts, images, plaintexts = run_of(4)
    assert opener.open(ciphertexts, images) == plaintexts
    for column in range(3):
        for position in range(4):
            bent = [list(values) for values in images]
            bent[column][position] = bent[column][position] * 2 % N
            assert opener.open(ciphertexts, bent) is None
