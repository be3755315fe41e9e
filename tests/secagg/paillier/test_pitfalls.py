"""What other libraries get wrong, one test each; invalid ciphertexts are in test_sums.py too."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

import secagg
from secagg.encoding import FixedPoint, Rounding
from secagg.errors import MalformedMessage
from secagg.paillier import Accumulator, Lanes, decrypt, encrypt, open_partially
from secagg.paillier.integers import split

from .fixed_keys import dealt, noise, private_key

KEY = private_key()
CODEC = FixedPoint(1.0, 16, 1000, rounding=Rounding.NEAREST)
LANES = Lanes(256, CODEC.modulus_bits, 9)


def test_no_exponent_tells_a_magnitude() -> None:
    # phe: the exponent of an encrypted float is public
    theirs = KEY.to_phe().public_key
    assert theirs.encrypt(1e-9).exponent != theirs.encrypt(1.0).exponent
    tiny, large = (encrypt(CODEC.encode(np.full(9, value)).residues, LANES, noise()) for value in (1e-9, 1.0))
    assert {**vars(tiny), "data": b""} == {**vars(large), "data": b""}
    assert len(tiny.data) == len(large.data)


def test_sums_are_randomised_before_they_leave() -> None:
    # phe: enc + 5 has the noise of enc
    vector = encrypt(CODEC.encode(np.zeros(9)).residues, LANES, noise())
    accumulator = Accumulator(KEY.public_key, LANES, max_addends=1000)
    accumulator.add(vector, sender=1)
    assert accumulator.total(noise()).data != vector.data


def test_sums_beyond_a_thousand_do_not_overflow_silently() -> None:
    # Flower: sums overflow from n = 1025 on at default settings; phe: the guard sees the first band only
    vector = encrypt(CODEC.encode(np.ones(9)).residues, LANES, noise())
    accumulator = Accumulator(KEY.public_key, LANES, max_addends=CODEC.num_summands)
    assert accumulator.add_batch(dict.fromkeys(range(1000), vector)) == {}
    levels = CODEC.decode_levels(decrypt(accumulator.total(noise()), LANES, KEY), num_summands=1000)
    assert (levels == 1000 * CODEC.max_level).all()
    with pytest.raises(MalformedMessage, match="room for 0"):
        accumulator.add(vector, sender=1000)


def test_what_phe_decrypts_without_complaint_we_refuse() -> None:
    theirs = KEY.to_phe()
    n, p = KEY.public_key.n, KEY.factors[0]
    for ciphertext in (n, -5, p, 3 * p):
        theirs.raw_decrypt(ciphertext)
        with pytest.raises(MalformedMessage):
            KEY.decrypt([ciphertext])


def test_nothing_public_shares_a_factor_with_the_key() -> None:
    # damgard-jurik 0.0.3 publishes a factor
    key, shares = dealt(2, 3)
    vector = encrypt(CODEC.encode(np.zeros(9)).residues, LANES, noise())
    partial = open_partially(shares[0], vector, LANES, context=b"c")
    public = [key.generator, *key.member_keys, key.public_key.noise_base, partial.proof.response]
    public += [*split(partial.roots, 32), *split(vector.data, 64)]
    for number in public:
        assert math.gcd(int(number), KEY.public_key.n) == 1
        assert math.gcd(int(number) - 1, KEY.public_key.n) == 1


def test_nobody_gets_a_key_that_opens_alone() -> None:
    # NVFlare hands every client one secret key
    key, shares = dealt(2, 3)
    assert len({share.secret for share in shares}) == len(shares)
    whole = pow(KEY.public_key.n, -1, math.prod(factor // 2 for factor in KEY.factors))
    assert all(share.secret != whole for share in shares)
    assert not hasattr(key, "secret")


def test_nothing_is_unpickled() -> None:
    modules = [*Path(secagg.__file__).parent.joinpath("paillier").glob("*.py")]
    assert modules
    for module in modules:
        assert not re.search(r"\bpickle\.|\bmarshal\.|\beval\(", module.read_text())
