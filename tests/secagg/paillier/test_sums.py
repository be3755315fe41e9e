import copy
import functools
import math
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.encoding import FixedPoint, Rounding
from secagg.errors import EncodingError, MalformedMessage, ParameterError, StateError
from secagg.paillier import (
    Accumulator,
    EncryptedVector,
    KeyHolder,
    Lanes,
    NoisePool,
    Part,
    decrypt,
    encrypt,
    multiply,
    products,
    rerandomise,
    sums,
)
from secagg.paillier.integers import join
from secagg.paillier.montgomery import Montgomery

from .abreast import BOTH
from .fixed_keys import noise, other_private_key, private_key

KEY = private_key()
PUBLIC = KEY.public_key
N, SIZE = PUBLIC.n, PUBLIC.ciphertext_bytes
CODEC = FixedPoint(1.0, 16, 50, max_weight=9, rounding=Rounding.NEAREST)
LENGTH = 23  # three ciphertexts, the last one not full
LANES = Lanes(256, CODEC.modulus_bits, LENGTH)


@pytest.fixture(autouse=True, scope="module", params=["one by one", *BOTH], ids=["one by one", "integers", "doubles"])
def _arithmetic(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test here with either arithmetic, however little there is to do; other processes choose for themselves."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param in BOTH:
            patch.setattr(products, "montgomery", lambda modulus, multiplications: Montgomery(modulus, request.param))
        yield


def update(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.2, 1.2, LENGTH)


@functools.cache
def encrypted(seed: int, weight: int = 1) -> EncryptedVector:
    return encrypt(CODEC.encode(update(seed), weight=weight).residues, LANES, noise())


def tampered(vector: EncryptedVector, position: int, value: int) -> EncryptedVector:
    start = position * SIZE
    return replace(vector, data=vector.data[:start] + value.to_bytes(SIZE, "big") + vector.data[start + SIZE :])


def test_products_by_themselves_are_those_of_a_sum_and_name_what_is_bad():
    count = LANES.num_plaintexts
    given = [encrypted(1).data, tampered(encrypted(2), 0, 0).data, encrypted(3).data, tampered(encrypted(4), 2, N).data]
    bad, product = multiply(PUBLIC, count, 50, given)
    with Accumulator(PUBLIC, LANES, max_addends=50) as total:
        total.add_batch({1: encrypted(1), 3: encrypted(3)})
        assert (bad, product) == ({1, 3}, total.product().data)
    assert multiply(PUBLIC, count, 50, [product, encrypted(5).data])[1] != product
    assert multiply(PUBLIC, 1, 50, [])[1] == (1).to_bytes(SIZE, "big")


@given(st.dictionaries(st.integers(0, 30), st.integers(0, 9), min_size=1, max_size=8), st.booleans())
def test_weighted_sums_are_the_plaintext_sums(weights: dict[int, int], together: bool) -> None:
    accumulator = Accumulator(PUBLIC, LANES, max_addends=50)
    vectors = {seed: encrypted(seed, weight) for seed, weight in weights.items()}
    if together:
        assert accumulator.add_batch(vectors) == {}
    else:
        for seed, vector in vectors.items():
            accumulator.add(vector, sender=seed)
    total = accumulator.total(noise())
    assert total.num_addends == len(weights)
    expected = sum(CODEC.quantise(update(seed))[0] * weight for seed, weight in weights.items())
    decrypted = decrypt(total, LANES, KEY)
    assert (CODEC.decode_levels(decrypted, num_summands=len(weights)) == expected).all()


@given(st.integers(1, 70), st.integers(2, 40))
def test_any_length_and_lane(length: int, lane_bits: int) -> None:
    lanes = Lanes(256, lane_bits, length)
    residues = (np.arange(length) % (1 << (lane_bits - 1))).astype(np.uint32 if lane_bits <= 32 else np.uint64)
    assert (decrypt(encrypt(residues, lanes, noise()), lanes, KEY) == residues).all()


def test_phe_decrypts_a_packed_sum_to_the_same_lanes() -> None:
    accumulator = Accumulator(PUBLIC, LANES, max_addends=50)
    accumulator.add_batch({seed: encrypted(seed) for seed in range(5)})
    total = accumulator.total(noise())
    theirs = KEY.to_phe()
    plaintexts = [
        theirs.raw_decrypt(int.from_bytes(total.data[i : i + SIZE], "big")) for i in range(0, len(total.data), SIZE)
    ]
    assert (LANES.unpack(plaintexts, N) == decrypt(total, LANES, KEY)).all()
    # and as an EncryptedNumber, whose numbers are ours: raw integers with exponent zero
    assert all(0 <= plaintext < N for plaintext in plaintexts)


def test_what_phe_encrypts_we_add_and_decrypt() -> None:
    theirs = KEY.to_phe().public_key
    plaintexts = LANES.pack(CODEC.encode(update(1)).residues)
    data = join([theirs.raw_encrypt(plaintext % N) for plaintext in plaintexts], SIZE)
    vector = replace(encrypted(1), data=data)
    accumulator = Accumulator(PUBLIC, LANES, max_addends=2)
    accumulator.add(vector, sender=1)
    accumulator.add(encrypted(1), sender=2)
    levels = CODEC.decode_levels(decrypt(accumulator.total(noise()), LANES, KEY), num_summands=2)
    assert (levels == 2 * CODEC.quantise(update(1))[0]).all()


def test_full_size_vectors_agree_with_phe() -> None:
    key, pool = private_key(2048), noise(2048)
    codec = FixedPoint(1.0, 16, 1000, rounding=Rounding.NEAREST)
    lanes = Lanes(2048, codec.modulus_bits, 200)
    values = np.linspace(-1, 1, 200)
    vector = encrypt(codec.encode(values).residues, lanes, pool)
    assert len(vector.data) == 3 * 512
    accumulator = Accumulator(key.public_key, lanes, max_addends=1000)
    accumulator.add_batch(dict.fromkeys(range(3), vector))
    total = accumulator.total(pool)
    plaintexts = [key.to_phe().raw_decrypt(int.from_bytes(total.data[i : i + 512], "big")) for i in (0, 512, 1024)]
    levels = codec.decode_levels(lanes.unpack(plaintexts, key.public_key.n), num_summands=3)
    assert (levels == 3 * codec.quantise(values)[0]).all()


# what a hostile sender can put in place of a ciphertext, and what phe decrypts without complaint
P, Q = KEY.factors
N2 = int(PUBLIC.n_squared)
HOSTILE = {
    "zero": 0,
    "n": N,
    "multiple of n": 7 * N,
    "n squared": N2,
    "beyond n squared": N2 + 1,
    "largest": 256**SIZE - 1,
    "a factor": P,
    "a multiple of a factor": Q * 12345,
    "a factor squared": P * P,
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("position", [0, 2])
def test_invalid_ciphertexts_are_refused_by_name_and_the_sum_goes_on(value: int, position: int) -> None:
    bad = tampered(encrypted(3), position, value)
    accumulator = Accumulator(PUBLIC, LANES, max_addends=50)
    with pytest.raises(MalformedMessage) as refusal:
        accumulator.add(bad, sender=66)
    assert refusal.value.culprits == {66}
    rejected = accumulator.add_batch({1: encrypted(1), 66: bad, 2: encrypted(2), 67: tampered(encrypted(4), 1, value)})
    assert rejected.keys() == {66, 67}
    assert rejected[66].culprits == {66}
    assert accumulator.num_addends == 2
    levels = CODEC.decode_levels(decrypt(accumulator.total(noise()), LANES, KEY), num_summands=2)
    assert (levels == CODEC.quantise(update(1))[0] + CODEC.quantise(update(2))[0]).all()
    with pytest.raises(MalformedMessage):
        decrypt(bad, LANES, KEY)
    with pytest.raises(MalformedMessage):
        rerandomise(bad, noise())
    with pytest.raises(MalformedMessage):
        KEY.decrypt([value])
    with pytest.raises(MalformedMessage):
        KEY.decrypt([-value or -1])


def header_defects() -> dict[str, EncryptedVector]:
    vector = encrypted(3)
    return {
        "another key": replace(vector, fingerprint=other_private_key().public_key.fingerprint),
        "too short": replace(vector, data=vector.data[:-1]),
        "one missing": replace(vector, data=vector.data[:-SIZE]),
        "oversize": replace(vector, data=vector.data * 100),
        "empty": replace(vector, data=b""),
        "no addend": replace(vector, num_addends=0),
        "negative addends": replace(vector, num_addends=-3),
        "too many addends": replace(vector, num_addends=51),
        "huge addends": replace(vector, num_addends=1 << 200),
        "other lanes": replace(vector, lane_bits=vector.lane_bits + 1),
        "other length": replace(vector, length=LENGTH - 1),
        "huge length": replace(vector, length=1 << 60),
    }


@pytest.mark.parametrize("defect", header_defects())
def test_defective_headers_are_refused_by_name(defect: str) -> None:
    bad = header_defects()[defect]
    accumulator = Accumulator(PUBLIC, LANES, max_addends=50)
    rejected = accumulator.add_batch({1: encrypted(1), 9: bad})
    assert rejected.keys() == {9}
    assert rejected[9].culprits == {9}
    assert accumulator.num_addends == 1


def test_the_addend_count_is_enforced() -> None:
    accumulator = Accumulator(PUBLIC, LANES, max_addends=3)
    accumulator.add(replace(encrypted(1), num_addends=2), sender=1)
    rejected = accumulator.add_batch({seed: encrypted(seed) for seed in (2, 3, 4)})
    assert rejected.keys() == {3, 4}
    assert accumulator.num_addends == 3
    # a sum that claims fewer addends than it has is caught as soon as it is beyond what they can reach
    ones = encrypt(CODEC.encode(np.ones(LENGTH), weight=9).residues, LANES, noise())
    forged = Accumulator(PUBLIC, LANES, max_addends=50)
    forged.add_batch(dict.fromkeys(range(2), ones))
    with pytest.raises(EncodingError):
        CODEC.decode_levels(decrypt(forged.total(noise()), LANES, KEY), num_summands=1)


def test_sums_that_leave_are_freshly_randomised_and_bare_products_are_not() -> None:
    accumulator = Accumulator(PUBLIC, LANES, max_addends=50)
    accumulator.add_batch({seed: encrypted(seed) for seed in (1, 2)})
    first, second, product = accumulator.total(noise()), accumulator.total(noise()), accumulator.product()
    assert len({first.data, second.data, product.data}) == 3
    bare = [
        math.prod(int.from_bytes(encrypted(seed).data[i : i + SIZE], "big") for seed in (1, 2)) % N2
        for i in range(0, 3 * SIZE, SIZE)
    ]
    assert product.data == join(bare, SIZE)
    for vector in (first, second, product):
        assert (decrypt(vector, LANES, KEY) == decrypt(product, LANES, KEY)).all()
    again = encrypt(CODEC.encode(update(1)).residues, LANES, noise())
    assert again.data != encrypted(1).data


def test_much_to_add_goes_to_the_vector_unit_and_comes_back_the_same() -> None:
    lanes = Lanes(256, 26, 9 * 40)
    vectors = [encrypt(np.full(360, 100 * i, np.uint32), lanes, noise()) for i in range(3)]
    bad = replace(vectors[0], data=bytes(SIZE) + vectors[0].data[SIZE:])
    products_of = []
    for max_addends in (10, 10**6):
        for workers in (1, 2):
            with Accumulator(PUBLIC, lanes, max_addends=max_addends, workers=workers) as accumulator:
                assert accumulator.add_batch(dict(enumerate(vectors))) == {}
                with pytest.raises(MalformedMessage):
                    accumulator.add(bad, sender=7)
                accumulator.add(vectors[1], sender=8)
                products_of.append(accumulator.product())
    assert products_of.count(products_of[0]) == 4
    assert (decrypt(products_of[0], lanes, KEY) == 400).all()


def test_workers_share_the_positions_and_agree_on_culprits() -> None:
    lanes = Lanes(256, CODEC.modulus_bits, 60)
    pool = NoisePool(KeyHolder(KEY))
    values = np.random.default_rng(5).uniform(-1, 1, 60)
    vectors = {i: encrypt(CODEC.encode(values * i / 9).residues, lanes, pool) for i in range(1, 6)}
    vectors[2] = tampered(vectors[2], 0, N)  # in the first worker's slice
    vectors[4] = tampered(vectors[4], 7, P)  # in the second's
    with Accumulator(PUBLIC, lanes, max_addends=50, workers=2) as accumulator:
        assert accumulator.add_batch(vectors).keys() == {2, 4}
        accumulator.add(vectors[1], sender=6)
        total = accumulator.total(noise())
    alone = Accumulator(PUBLIC, lanes, max_addends=50)
    alone.add_batch({i: vectors[i] for i in (1, 3, 5)})
    alone.add(vectors[1], sender=6)
    assert total.num_addends == 4
    assert (decrypt(total, lanes, KEY) == decrypt(alone.total(noise()), lanes, KEY, workers=2)).all()


def test_more_workers_than_positions() -> None:
    lanes = Lanes(256, 26, 3)
    residues = np.array([1, 2, 3], np.uint32)
    with Accumulator(PUBLIC, lanes, max_addends=50, workers=2) as accumulator:
        accumulator.add(encrypt(residues, lanes, noise()), sender=1)
        assert (decrypt(accumulator.total(noise()), lanes, KEY) == residues).all()


def test_misuse_is_named() -> None:
    with pytest.raises(StateError, match="nothing was added"):
        Accumulator(PUBLIC, LANES, max_addends=5).total(noise())
    with pytest.raises(ParameterError):
        Accumulator(PUBLIC, LANES, max_addends=0)
    with pytest.raises(ParameterError):
        Accumulator(PUBLIC, LANES, max_addends=5, workers=0)
    for workers in (0, 1.5):
        with pytest.raises(ParameterError, match="workers"):
            decrypt(encrypted(1), LANES, KEY, workers=workers)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="lanes are for keys"):
        encrypt(np.zeros(3, np.uint32), Lanes(384, 26, 3), noise())
    with pytest.raises(MalformedMessage, match="another key"):
        decrypt(encrypted(1), LANES, other_private_key())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_batch_that_fails_on_trial_leaves_the_sum_as_it_was(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    with _beside(monkeypatch, workers) as accumulator:
        accumulator.add(encrypted(1), sender=1)
        before = accumulator.product()
        with monkeypatch.context() as patch:
            _fail_once(patch, accumulator, "stage")
            with pytest.raises(MemoryError):
                accumulator.add(encrypted(2), sender=2)
        assert (accumulator.num_addends, accumulator.product()) == (1, before)
        accumulator.add(encrypted(3), sender=3)
        levels = CODEC.decode_levels(decrypt(accumulator.product(), LANES, KEY), num_summands=2)
    assert (levels == CODEC.quantise(update(1))[0] + CODEC.quantise(update(3))[0]).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_batch_that_is_kept_in_part_ends_the_sum(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    with _beside(monkeypatch, workers) as accumulator:
        accumulator.add(encrypted(1), sender=1)
        with monkeypatch.context() as patch:
            _fail_once(patch, accumulator, "commit")
            with pytest.raises(MemoryError):
                accumulator.add_batch({2: encrypted(2), 66: tampered(encrypted(3), 0, N)})
        for forbidden in (
            accumulator.product,
            lambda: accumulator.total(noise()),
            lambda: accumulator.add(encrypted(4), sender=4),
            lambda: accumulator.add_batch({}),
        ):
            with pytest.raises(StateError, match="start the sum again"):
                forbidden()


def _beside(monkeypatch: pytest.MonkeyPatch, workers: int) -> Accumulator:
    """Return a sum whose slices are on threads, if there are several."""
    monkeypatch.setattr(products, "montgomery", lambda modulus, multiplications: Montgomery(modulus))
    return Accumulator(PUBLIC, LANES, max_addends=50, workers=workers)


def _fail_once(patch: pytest.MonkeyPatch, accumulator: Accumulator, method: str) -> None:
    """Make the last slice fail, as it does where memory ends; those before it do as they are told."""
    part = accumulator._slices[-1]._slice  # type: ignore[attr-defined]

    def fail(*arguments: object) -> None:
        raise MemoryError

    patch.setattr(part, method, fail)


class Meeting:
    """A part that, between trial and keeping, lets another thread do something, and waits for it a little."""

    def __init__(self, part: Part, meet: list[Callable[[], object]], seconds: float) -> None:
        self.part, self.meet, self.seconds, self.threads = part, meet, seconds, list[threading.Thread]()

    def call(self, method: str, *arguments: object) -> Future[object]:
        done = self.part.call(method, *arguments)
        if method == "stage" and self.meet:
            self.threads.append(threading.Thread(target=self.meet.pop()))
            self.threads[-1].start()
            self.threads[-1].join(self.seconds)
        return done

    def close(self) -> None:
        self.part.close()


def test_a_batch_of_another_thread_waits_until_this_one_is_kept() -> None:
    meet: list[Callable[[], object]] = []
    made: list[Meeting] = []

    def part(*arguments: Any) -> Meeting:
        made.append(Meeting(sums._part(*arguments, alone=True), meet, 0.1))
        return made[-1]

    accumulator = Accumulator(PUBLIC, LANES, max_addends=50, parts=part)
    meet.append(lambda: accumulator.add(encrypted(2), sender=2))
    accumulator.add(encrypted(1), sender=1)
    made[0].threads[0].join()
    product = accumulator.product()
    assert product.num_addends == 2
    levels = CODEC.decode_levels(decrypt(product, LANES, KEY), num_summands=2)
    assert (levels == CODEC.quantise(update(1))[0] + CODEC.quantise(update(2))[0]).all()


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_sum_is_not_copied(make_copy: Callable[[object], object]) -> None:
    accumulator = Accumulator(PUBLIC, LANES, max_addends=50)
    with pytest.raises(StateError, match="neither copied nor pickled"):
        make_copy(accumulator)


def test_a_forked_process_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    accumulator = Accumulator(PUBLIC, LANES, max_addends=50)
    accumulator.add(encrypted(1), sender=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        for forbidden in (lambda: accumulator.add(encrypted(2), sender=2), accumulator.product):
            with pytest.raises(StateError, match="after the fork"):
                forbidden()
    assert accumulator.product().num_addends == 1


@pytest.mark.parametrize("defect", [-1, 1, -SIZE, SIZE])
def test_other_numbers_of_ciphertexts_do_not_reach_the_loops(defect: int) -> None:
    room = products._Abreast(PUBLIC, LANES.num_plaintexts, Montgomery(int(PUBLIC.n_squared)))
    data = (encrypted(1).data * 2)[: LANES.num_plaintexts * SIZE + defect]
    with pytest.raises(ParameterError, match="are summed"):
        room.times(room.empty(), data)
