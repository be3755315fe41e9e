import copy
import hashlib
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.errors import ParameterError
from secagg.paillier import FullExponents, KeyHolder, NoisePool, PublicKey, ShortExponents, randomness
from secagg.paillier.montgomery import Montgomery
from secagg.paillier.randomness import _MANY

from .abreast import BOTH
from .fixed_keys import noise, private_key

KEY = private_key()
N, N2 = KEY.public_key.n, KEY.public_key.n_squared
P, Q = KEY.factors
ORDER = (P - 1) * (Q - 1)


class Counted:
    """Randomness that is another one for each draw, and the same for equal draws."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, size: int) -> bytes:
        self.calls += 1
        return hashlib.shake_256(self.calls.to_bytes(4, "big")).digest(size)


def is_nth_residue(value: int) -> bool:
    return pow(int(value), ORDER, int(N2)) == 1


@given(st.binary(min_size=16, max_size=16), st.sampled_from([1, _MANY]))
def test_the_table_computes_powers_of_the_base(exponent: bytes, count: int) -> None:
    source = ShortExponents(KEY.public_key, random=lambda size: exponent[:size])
    expected = pow(int(KEY.public_key.noise_base), int.from_bytes(exponent, "little"), int(N2))
    assert next(source.draws(count)) == (expected, int.from_bytes(exponent, "little"))


def test_many_draws_get_the_larger_table_however_they_are_asked_for() -> None:
    asked_once, one_by_one = (ShortExponents(KEY.public_key, random=Counted()) for _ in range(2))
    at_once = list(asked_once.draws(_MANY))
    each = []
    for _ in range(_MANY):
        each.append(one_by_one.draw())
        assert one_by_one._table is not None
        assert one_by_one._table.window == (8 if len(each) == _MANY else 4)
    assert asked_once._table is not None
    assert asked_once._table.window == 8
    assert at_once == each
    table = asked_once._table
    assert list(asked_once.draws(0)) == []
    assert len(list(asked_once.draws(3))) == 3
    assert asked_once._table is table


@pytest.mark.parametrize("key_bits", [256, 384, 2048])
def test_exponents_are_half_as_long_as_the_modulus(key_bits: int) -> None:
    source = ShortExponents(private_key(key_bits).public_key)
    assert source.exponent_bytes * 8 == key_bits // 2


def test_the_base_is_minus_a_square_to_the_n() -> None:
    base = int(KEY.public_key.noise_base)
    assert is_nth_residue(base)
    root = pow(base % N, pow(N, -1, ORDER), N)  # h itself
    assert all(pow(-root, (prime - 1) // 2, prime) == 1 for prime in (P, Q))  # -h is a square
    assert PublicKey(N, _min_bits=256).noise_base == base  # and everyone derives the same


@pytest.mark.parametrize("source", [ShortExponents(KEY.public_key), FullExponents(KEY.public_key), KeyHolder(KEY)])
def test_draws_are_fresh_nth_residues(source: ShortExponents | FullExponents | KeyHolder) -> None:
    drawn = [int(source.draw().residue) for _ in range(50)]
    assert all(is_nth_residue(value) and 0 < value < N2 for value in drawn)
    assert len(set(drawn)) == 50
    assert str(P) not in repr(source)


def test_a_key_holder_draws_from_all_residues_and_not_a_subgroup() -> None:
    # squares and non-squares mod both factors: four classes, each missed by 200 draws with chance 2**-83
    classes = {
        (pow(int(value), P // 2, P) == 1, pow(int(value), Q // 2, Q) == 1)
        for value in (KEY.noise() for _ in range(200))
    }
    assert len(classes) == 4


def test_a_pool_gives_each_draw_once() -> None:
    pool = NoisePool(ShortExponents(KEY.public_key))
    seen = []
    pool.fill(20, progress=seen.append)
    assert len(pool) == 20
    assert sum(seen) == 20
    taken = [int(pool.take().residue) for _ in range(30)]
    assert len(set(taken)) == 30
    assert len(pool) == 0


@pytest.fixture(params=BOTH, ids=["integers", "doubles"])
def _abreast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the vector unit were worth it for everything; without its instructions, the same loop does the same."""
    monkeypatch.setattr(randomness, "montgomery", lambda modulus, multiplications: Montgomery(modulus, request.param))


@pytest.mark.usefixtures("_abreast")
@pytest.mark.parametrize("count", [1, 3, 4, 9, 64, 65, 140])
def test_noise_drawn_abreast_is_the_noise_that_is_drawn_alone(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ShortExponents(KEY.public_key, random=Counted())
    source.draws(_MANY)
    assert source._abreast is not None
    together = list(source.draws(count))
    monkeypatch.setattr(randomness, "_LEAST", 1000)
    alone = ShortExponents(KEY.public_key, random=Counted())
    assert together == list(alone.draws(count))
    assert [noise.residue for noise in together] == [
        pow(int(KEY.public_key.noise_base), noise.known_by, int(N2)) for noise in together
    ]


@pytest.mark.usefixtures("_abreast")
def test_a_forked_process_makes_no_use_of_noise_that_was_drawn_abreast(monkeypatch: pytest.MonkeyPatch) -> None:
    random = Counted()
    source = ShortExponents(KEY.public_key, random=random)
    source.draws(_MANY)
    drawing = source.draws(20)
    before = next(drawing)
    assert random.calls == 20
    monkeypatch.setattr(os, "getpid", lambda: -1)
    childs = list(drawing)
    assert len(childs) == 19
    parents = list(ShortExponents(KEY.public_key, random=Counted()).draws(20))
    assert parents[0] == before
    assert not set(parents).intersection(childs)


@pytest.mark.parametrize("ahead", [0, 3, 8, 12])
def test_what_a_pool_lacks_is_drawn_in_order(ahead: int) -> None:
    random = Counted()
    pool = NoisePool(ShortExponents(KEY.public_key, random=random))
    pool.fill(ahead)
    taken = list(pool.takes(8))
    assert taken == list(ShortExponents(KEY.public_key, random=Counted()).draws(8))
    assert random.calls == max(8, ahead)
    assert len(pool) == max(0, ahead - 8)


def test_a_pool_that_has_enough_prepares_nothing() -> None:
    source = ShortExponents(KEY.public_key)
    pool = NoisePool(source)
    pool._ready.extend(ShortExponents(KEY.public_key).draws(3))
    assert len(list(pool.takes(3))) == 3
    assert source._table is None


def test_two_who_take_at_once_get_different_noise() -> None:
    pool = NoisePool(ShortExponents(KEY.public_key, random=Counted()))
    pool.fill(8)
    one, other = pool.takes(8), pool.takes(8)
    taken = [int(next(each).residue) for _ in range(8) for each in (one, other)]
    assert len(set(taken)) == 16


def test_workers_fill_a_pool_with_distinct_noise() -> None:
    pool = NoisePool(ShortExponents(KEY.public_key))
    pool.fill(40, workers=2)
    taken = [int(pool.take().residue) for _ in range(40)]
    assert len(set(taken)) == 40
    assert all(is_nth_residue(value) for value in taken)
    with pytest.raises(ParameterError, match="stays in its process"):
        NoisePool(KeyHolder(KEY)).fill(2, workers=2)
    with pytest.raises(ParameterError, match="handed in"):
        NoisePool(ShortExponents(KEY.public_key, random=bytes)).fill(2, workers=2)
    for count, workers in ((-1, 1), (1, 0)):
        with pytest.raises(ParameterError):
            pool.fill(count, workers=workers)


def test_a_pool_is_neither_copied_nor_pickled() -> None:
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="once"):
            duplicate(noise())


def test_a_forked_process_finds_the_pool_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = NoisePool(ShortExponents(KEY.public_key))
    pool.fill(3)
    taking = pool.takes(3)
    before = next(taking)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    parents = set(pool._ready)
    assert not parents.intersection(taking)
    assert before not in parents
    assert len(pool) == 0
