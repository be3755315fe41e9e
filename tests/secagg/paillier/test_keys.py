import json
import math

import numpy as np
import phe
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.errors import MalformedMessage, ParameterError
from secagg.paillier import PrivateKey, PublicKey, generate, moduli
from secagg.paillier.moduli import check_modulus, is_perfect_power, safe_prime

from .fixed_keys import OTHER_PRIMES, noise, private_key

KEY = private_key()
N = KEY.public_key.n


def test_published_known_answer() -> None:
    # phe's own: n = 126869, m = 10100, r = 74384
    n, m, r = 126869, 10100, 74384
    assert PublicKey.encrypt(_Tiny(n), m, pow(r, n, n * n)) == 935906717


class _Tiny:
    """The known answer's modulus is refused as a key, and `encrypt` needs two numbers of it only."""

    def __init__(self, n: int) -> None:
        self.n, self.n_squared = n, n * n


@given(st.integers(0, N - 1))
def test_encrypts_as_phe_with_the_same_randomness(plaintext: int) -> None:
    root = 0xC0FFEE
    ours = KEY.public_key.encrypt(plaintext, pow(root, N, N * N))
    assert ours == KEY.to_phe().public_key.raw_encrypt(plaintext, r_value=root)
    assert KEY.to_phe().raw_decrypt(int(ours)) == plaintext
    assert KEY.decrypt([ours]) == [plaintext]


@given(st.integers(0, N - 1), st.integers(0, N - 1), st.integers(0, 1 << 64))
def test_homomorphic_checks(a: int, b: int, k: int) -> None:
    # the checks of ISO/IEC 18033-6 style: D(E(a) E(b)) = a + b, D(E(a)**k) = k a, D(E(a) (1 + n)**b) = a + b
    pool, key = noise(), KEY.public_key
    first, second = key.encrypt(a, pool.take().residue), key.encrypt(b, pool.take().residue)
    products = [first * second % key.n_squared, pow(first, k, key.n_squared), first * (1 + b * N) % key.n_squared]
    assert KEY.decrypt(products) == [(a + b) % N, k * a % N, (a + b) % N]


def test_negative_plaintexts_stand_for_residues() -> None:
    assert KEY.decrypt([KEY.public_key.encrypt(-5, noise().take().residue)]) == [N - 5]


@pytest.mark.parametrize("key_bits", [2048, 3072])
def test_full_size_keys_agree_with_phe_both_ways(key_bits: int) -> None:
    ours = private_key(key_bits)
    theirs = ours.to_phe()
    assert PrivateKey.from_phe(theirs).factors == ours.factors
    assert PublicKey.from_phe(theirs.public_key) == ours.public_key
    ciphertext = ours.public_key.encrypt(1 << 1000, noise(key_bits).take().residue)
    assert theirs.raw_decrypt(int(ciphertext)) == 1 << 1000
    assert ours.decrypt([theirs.public_key.raw_encrypt(12345)]) == [12345]


def test_json_of_phe_both_ways() -> None:
    b64 = phe.util.int_to_base64
    p, q = KEY.factors
    public = {"kty": "DAJ", "alg": "PAI-GN1", "key_ops": ["encrypt"], "n": b64(N), "kid": "by phe"}
    private = {"kty": "DAJ", "key_ops": ["decrypt"], "p": b64(p), "q": b64(q), "pub": public, "kid": "by phe"}
    assert PublicKey.from_jwk(json.dumps(public), _min_bits=256) == KEY.public_key
    assert PrivateKey.from_jwk(json.dumps(private), _min_bits=256).factors == KEY.factors
    ours = json.loads(KEY.to_jwk())
    assert {k: v for k, v in ours.items() if k not in ("kid", "pub")} == {
        k: v for k, v in private.items() if k not in ("kid", "pub")
    }
    assert phe.util.base64_to_int(json.loads(KEY.public_key.to_jwk())["n"]) == N
    assert PrivateKey.from_jwk(KEY.to_jwk(), _min_bits=256).factors == KEY.factors
    assert PublicKey.from_jwk(KEY.public_key.to_jwk(), _min_bits=256) == KEY.public_key


@given(st.text(max_size=40) | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_any_other_text_is_malformed(text: str) -> None:
    for kind in (PublicKey, PrivateKey):
        with pytest.raises(MalformedMessage):
            kind.from_jwk(text)


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "RSA"},
        {"key_ops": ["sign"]},
        {"key_ops": None},
        {"p": 7},
        {"p": "!!"},
        {"p": ""},
        {"pub": None},
        {"pub": {"n": "AQ"}},
        {"pub": {"n": "é"}},
    ],
)
def test_defective_private_json_is_malformed(change: dict[str, object]) -> None:
    with pytest.raises(MalformedMessage):
        PrivateKey.from_jwk(json.dumps(json.loads(KEY.to_jwk()) | change), _min_bits=256)
    with pytest.raises(MalformedMessage):
        PublicKey.from_jwk("[" * 20000)


def test_small_keys_are_refused_outside_tests() -> None:
    with pytest.raises(ParameterError, match="fewer than 2048"):
        PublicKey(N)
    with pytest.raises(ParameterError, match="fewer than 2048"):
        PublicKey.from_jwk(KEY.public_key.to_jwk())
    with pytest.raises(ParameterError, match="2048"):
        generate(1024)


P, Q = KEY.factors
# Fixed, since what names a test must be the same in every process.
SAFE_PRIME_64 = 9223372036854778487
SAFE_PRIME_100 = 633825300114114700748351612867


@pytest.mark.parametrize(
    ("modulus", "reason"),
    [
        (N * 2, "even"),
        (N * 65521, "factor below"),
        (N * 3, "factor below"),
        (P**2, "perfect power"),
        (P**3, "perfect power"),
        (SAFE_PRIME_64**5, "perfect power"),
        ((1 << 521) - 1, "prime"),
        (1 << 9000 | 1, "at most 8192"),
        (0, "positive"),
        (-N, "positive"),
        (True, "positive"),
        (None, "positive"),
        (2.5, "positive"),
    ],
    ids=lambda given: str(given)[:20],
)
def test_moduli_of_others_are_checked(modulus: int, reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        check_modulus(modulus, min_bits=128)


def test_phe_takes_an_even_modulus_and_we_do_not() -> None:
    phe.PaillierPublicKey(N * 2)
    with pytest.raises(ParameterError):
        PublicKey.from_phe(phe.PaillierPublicKey(N * 2), _min_bits=128)


@given(st.integers(3, 1 << 40), st.integers(2, 12))
def test_perfect_powers_are_found(root: int, exponent: int) -> None:
    number = root**exponent
    if number.bit_length() >= 16 * exponent:
        assert is_perfect_power(number)
    assert not is_perfect_power(N)


@pytest.mark.parametrize(("p", "q"), [(P, P), (P, P + 2), (P, SAFE_PRIME_100), (P, (1 << 127) - 1)])
def test_defective_factors_are_refused(p: int, q: int) -> None:
    with pytest.raises(ParameterError):
        PrivateKey(p, q, _min_bits=128)


def test_factors_that_share_with_the_totient_are_refused() -> None:
    # q = 2 k p + 1: p divides q - 1, so n and its totient share p
    p = (1 << 89) - 1
    q = next(q for k in range(1, 4000) if moduli.is_probable_prime(q := 2 * k * p + 1))
    assert math.gcd(p * q, (p - 1) * (q - 1)) == p
    with pytest.raises(ParameterError):
        PrivateKey(p, q, _min_bits=128)


@pytest.mark.parametrize("key_bits", [256, np.int64(258)])
def test_generated_keys_are_what_short_exponents_ask_for(key_bits: int) -> None:
    key = generate(key_bits, _min_bits=256)
    p, q = key.factors
    assert key.public_key.key_bits == key_bits
    assert p % 4 == q % 4 == 3
    assert math.gcd(p - 1, q - 1) == 2


def test_safe_primes_are_safe() -> None:
    p = safe_prime(128)
    assert p.bit_length() == 128
    assert moduli.is_probable_prime(p)
    assert moduli.is_probable_prime(p // 2)


def test_secrets_are_in_no_repr() -> None:
    text = repr(KEY) + repr(KEY.public_key)
    assert str(P) not in text
    assert hex(Q)[2:] not in text
    assert hash(KEY.public_key) == hash(PublicKey(N, _min_bits=256))
    assert PrivateKey(*OTHER_PRIMES, _min_bits=256).public_key != KEY.public_key
