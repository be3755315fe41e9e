"""The combiner's arithmetic on its own: lifts, interpolation, and runs of ciphertexts on processes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.paillier import integers
from secagg.paillier.integers import backend, join
from secagg.paillier.opening import Lift, Opener, interpolation, open_all
from secagg.paillier.randomness import ShortExponents

from .fixed_keys import dealt, private_key

N = private_key().public_key.n
SIZE = 32


@given(st.integers(1, 1 << 200).map(lambda number: 2 * number + 1), st.integers(0, 1 << 210))
def test_a_lift_is_the_nth_power(n: int, root: int) -> None:
    assert Lift(n)(root) == pow(root, n, n * n)


@pytest.mark.parametrize("name", ["python", "gmpy2"])
@pytest.mark.parametrize("key_bits", [256, 384, 2048])
def test_a_lift_is_the_nth_power_for_every_backend(name: str, key_bits: int) -> None:
    n = private_key(key_bits).public_key.n
    integers.choose(name)
    try:
        lift = Lift(n)
        for root in (0, 1, 2, n - 1, n, n + 5, pow(3, n // 3, n)):
            assert lift(root) == pow(root, n, n * n)
    finally:
        integers.choose(None)


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


def run_of(count: int) -> tuple[Opener, bytes, dict[int, bytes], list[int]]:
    key, shares = dealt(3, 5)
    noise = ShortExponents(key.public_key)
    plaintexts = [pow(5, i, N) for i in range(count)]
    ciphertexts = [key.public_key.encrypt(plaintext, noise.draw()) for plaintext in plaintexts]
    members = (5, 1, 3)
    images = {
        member: join(
            [pow(int(c) % N, 2 * key.factorial * shares[member - 1].secret, N) for c in ciphertexts],
            SIZE,
        )
        for member in members
    }
    return Opener(N, key.factorial, members), join(ciphertexts, 2 * SIZE), images, plaintexts


def test_processes_open_what_one_opens() -> None:
    opener, ciphertexts, images, plaintexts = run_of(150)
    done: list[int] = []
    alone = open_all(opener, ciphertexts, images, workers=1, progress=done.append)
    together = open_all(opener, ciphertexts, images, workers=2, progress=done.append)
    assert alone == together == plaintexts
    assert sum(done) == 2 * len(plaintexts)
    # one wrong value, in the last place
    wrong = images | {1: images[1][:-SIZE] + backend().integer(7).to_bytes(SIZE, "big")}
    for workers in (1, 2):
        assert open_all(opener, ciphertexts, wrong, workers=workers, progress=None) is None


def test_a_wrong_root_opens_nothing_wherever_it_is() -> None:
    opener, ciphertexts, images, plaintexts = run_of(4)
    columns = [images[member] for member in opener.members]
    assert opener.open(ciphertexts, columns) == plaintexts
    for column in range(3):
        for position in range(4):
            bent = list(columns)
            start = position * SIZE
            number = int.from_bytes(bent[column][start : start + SIZE], "big") * 2 % N
            bent[column] = bent[column][:start] + number.to_bytes(SIZE, "big") + bent[column][start + SIZE :]
            assert opener.open(ciphertexts, bent) is None
