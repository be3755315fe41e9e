"""Without gmpy2 everything works, slower; without phe everything but making keys with it does."""

import builtins
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.errors import ParameterError
from secagg.paillier import (
    Accumulator,
    KeyHolder,
    Lanes,
    NoisePool,
    PrivateKey,
    ShortExponents,
    combine,
    decrypt,
    encrypt,
    generate,
    integers,
    open_partially,
)
from secagg.paillier.powers import powmod_product
from secagg.paillier.threshold import _deal
from tests.processes import python

from .fixed_keys import private_key


@pytest.fixture
def _python_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if gmpy2 were not installed."""
    real_import = builtins.__import__

    def without_gmpy2(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name.partition(".")[0] in ("gmpy2", "phe"):
            raise ImportError(name)
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_gmpy2)
    integers._gmpy2.cache_clear()
    integers.choose(None)
    yield
    monkeypatch.undo()
    integers._gmpy2.cache_clear()
    integers.choose(None)


@pytest.mark.usefixtures("_python_only")
def test_a_whole_sum_without_gmpy2() -> None:
    assert integers.backend().integer is int
    key = PrivateKey(*private_key().factors, _min_bits=256)
    assert type(key.public_key.n_squared) is int
    lanes = Lanes(256, 26, 25)
    residues = np.arange(25, dtype=np.uint32)
    for source in (ShortExponents(key.public_key), KeyHolder(key)):
        vector = encrypt(residues, lanes, NoisePool(source))
        with Accumulator(key.public_key, lanes, max_addends=4, workers=2) as accumulator:
            accumulator.add_batch({1: vector, 2: vector})
            total = accumulator.total(NoisePool(source))
        assert (decrypt(total, lanes, key, workers=2) == 2 * residues).all()
    threshold_key, shares = _deal(2, 3, *key.factors, min_bits=256)
    said = {share.member: open_partially(share, total, lanes, context=b"c", workers=2) for share in shares[1:]}
    opened = combine(threshold_key, total, lanes, said, context=b"c", workers=2)
    assert (lanes.unpack(opened.plaintexts, key.public_key.n) == 2 * residues).all()
    with pytest.raises(ParameterError, match="install"):
        integers.choose("gmpy2")
    for asks_for_phe in (key.to_phe, key.public_key.to_phe, lambda: generate(2048)):
        with pytest.raises(ParameterError, match="phe is not installed"):
            asks_for_phe()
    assert PrivateKey.from_jwk(key.to_jwk(), _min_bits=256).factors == key.factors  # the JSON takes no phe


def test_nothing_public_is_an_mpz() -> None:
    key = private_key()
    lanes = Lanes(256, 26, 25)
    vector = encrypt(np.arange(25, dtype=np.uint32), lanes, NoisePool(ShortExponents(key.public_key)))
    assert type(vector.data) is bytes
    assert all(type(plaintext) is int for plaintext in key.decrypt([int(key.public_key.noise_base)]))
    threshold_key, shares = _deal(2, 3, *key.factors, min_bits=256)
    said = {share.member: open_partially(share, vector, lanes, context=b"c") for share in shares}
    assert all(type(partial.proof.response) is int for partial in said.values())
    assert all(type(p) is int for p in combine(threshold_key, vector, lanes, said, context=b"c").plaintexts)
    assert all(type(number) is int for number in (threshold_key.generator, *threshold_key.member_keys))


def test_importing_brings_neither_phe_nor_gmpy2() -> None:
    python("-c", "import sys, secagg, secagg.paillier; sys.exit(bool({'phe', 'gmpy2'} & sys.modules.keys()))")


@given(st.lists(st.tuples(st.integers(1, 1 << 64), st.binary(min_size=5, max_size=5)), max_size=8))
def test_products_of_powers(terms: list[tuple[int, bytes]]) -> None:
    modulus = (1 << 89) - 1
    expected = 1
    for base, exponent in terms:
        expected = expected * pow(base, int.from_bytes(exponent, "big"), modulus) % modulus
    exponents = [int.from_bytes(t[1], "big") for t in terms]
    assert powmod_product([t[0] for t in terms], exponents, modulus, bits=40) == expected


@given(st.integers(0, 3000))
def test_primality(number: int) -> None:
    assert integers.is_probable_prime(number) == (
        number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
    )


@pytest.mark.parametrize("pseudoprime", [561, 3215031751, 3825123056546413051, 318665857834031151167461])
def test_pseudoprimes_are_composite(pseudoprime: int) -> None:
    assert not integers.is_probable_prime(pseudoprime)
