"""Proofs that the author of a vector knows what it encrypts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.derivation import Label
from secagg.errors import AuthenticationFailed, MalformedMessage
from secagg.paillier import (
    EncryptedVector,
    FullExponents,
    KeyHolder,
    Lanes,
    NoisePool,
    ShortExponents,
    check_knowledge,
    decrypt,
    encrypt,
    encrypt_and_prove,
    integers,
)
from secagg.paillier.integers import join, split, weights_of
from secagg.paillier.knowledge import proof_bytes
from tests.secagg.paillier.fixed_keys import noise, other_private_key, private_key

KEY = private_key(256)
PUBLIC = KEY.public_key
N = PUBLIC.n
LANES = Lanes(256, 22, 30)
SOURCES = {
    "short": lambda: ShortExponents(PUBLIC),
    "full": lambda: FullExponents(PUBLIC),
    "key holder": lambda: KeyHolder(KEY),
}


def residues(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 22, LANES.length, dtype=np.uint32)


def proven(seed: int = 0, context: bytes = b"mine") -> tuple[EncryptedVector, bytes]:
    return encrypt_and_prove(residues(seed), LANES, noise(), context=context)


def verifies(vector: EncryptedVector, proof: bytes, context: bytes = b"mine") -> bool:
    try:
        check_knowledge(vector, PUBLIC, LANES, proof, context=context)
    except AuthenticationFailed:
        return False
    return True


@pytest.mark.parametrize("backend", ["python", None])
@pytest.mark.parametrize("source", SOURCES)
def test_what_is_known_is_proven_whatever_the_noise(source: str, backend: str | None) -> None:
    integers.choose(backend)
    try:
        vector, proof = encrypt_and_prove(residues(), LANES, NoisePool(SOURCES[source]()), context=b"mine")
        assert len(proof) == proof_bytes(PUBLIC) == 96
        check_knowledge(vector, PUBLIC, LANES, proof, context=b"mine")
    finally:
        integers.choose(None)
    assert (decrypt(vector, LANES, KEY) == residues()).all()


def test_noise_of_worker_processes_is_known() -> None:
    pool = NoisePool(ShortExponents(PUBLIC))
    pool.fill(LANES.num_plaintexts, workers=2)
    vector, proof = encrypt_and_prove(residues(), LANES, pool, context=b"mine")
    assert len(pool) == 0
    assert verifies(vector, proof)


def test_a_proof_holds_for_one_statement_only() -> None:
    vector, proof = proven()
    assert verifies(vector, proof)
    assert not verifies(vector, proof, context=b"another's")
    other, its_proof = proven(seed=1)
    assert not verifies(other, proof)
    assert not verifies(vector, its_proof)
    size = PUBLIC.ciphertext_bytes
    swapped = replace(vector, data=vector.data[size : 2 * size] + vector.data[:size] + vector.data[2 * size :])
    assert not verifies(swapped, proof)
    negated = [PUBLIC.n_squared - c for c in split(vector.data, size)]
    assert not verifies(replace(vector, data=join(negated, size)), proof)


@given(st.integers(0, 96 * 8 - 1))
def test_no_bit_of_a_proof_can_be_changed(bit: int) -> None:
    vector, proof = proven()
    changed = bytearray(proof)
    changed[bit // 8] ^= 1 << bit % 8
    assert not verifies(vector, bytes(changed))


def test_answers_have_one_form() -> None:
    vector, proof = proven()
    challenge, (plaintext, root) = proof[:32], split(proof[32:], 32)
    changed = [(plaintext, N - root), (plaintext, 0), (plaintext, KEY.factors[0]), (N, root), (plaintext, N), (0, 1)]
    if plaintext + N < 1 << 256:
        changed.append((plaintext + N, root))
    for numbers in changed:
        assert not verifies(vector, challenge + join(map(integers.backend().integer, numbers), 32))
    for bent in (b"", proof[:-1], proof + b"\0", bytes(96)):
        assert not verifies(vector, bent)


def test_a_ciphertext_of_somebody_elses_among_ones_own_is_noticed() -> None:
    size = PUBLIC.ciphertext_bytes
    stolen = encrypt(residues(5), LANES, noise()).data
    for at in range(LANES.num_plaintexts):
        vector, proof = proven()
        mixed = vector.data[: at * size] + stolen[at * size : (at + 1) * size] + vector.data[(at + 1) * size :]
        assert not verifies(replace(vector, data=mixed), proof)


def test_vectors_that_are_not_valid_are_no_matter_of_proofs() -> None:
    vector, proof = proven()
    for data in (vector.data[:-1], bytes(len(vector.data))):
        with pytest.raises(MalformedMessage):
            check_knowledge(replace(vector, data=data), PUBLIC, LANES, proof, context=b"mine")
    with pytest.raises(MalformedMessage, match="another key"):
        check_knowledge(vector, other_private_key().public_key, LANES, proof, context=b"mine")


def test_enough_answers_tell_plaintexts_and_roots() -> None:
    """The extractor of SPEC section 20.1: one announcement, one more vector of weights than there are ciphertexts."""
    drawn = [noise().take() for _ in range(LANES.num_plaintexts)]
    nonces = np.random.default_rng(7).bytes(64)
    answers = []
    for attempt in range(LANES.num_plaintexts + 1):
        pool = NoisePool(ShortExponents(PUBLIC))
        pool._ready.extend(drawn)
        left = [nonces[:31] + b"\0", nonces[32:63] + b"\0"]
        vector, proof = encrypt_and_prove(
            residues(), LANES, pool, context=b"%d" % attempt, random=lambda size, left=left: left.pop(0)
        )
        weights = weights_of(Label.PAILLIER_KNOWLEDGE_WEIGHTS, proof[:32], LANES.num_plaintexts)
        answers.append((weights, *map(int, split(proof[32:], 32))))
    first, *others = answers
    rows = [[(w - w0) % N for w, w0 in zip(weights, first[0], strict=True)] for weights, _, _ in others]
    plaintexts = solved(rows, [(a - first[1]) % N for _, a, _ in others])
    assert plaintexts == [plaintext % N for plaintext in LANES.pack(residues())]
    roots = [pow(PUBLIC.noise_root, each.known_by, N) for each in drawn]
    for weights, _, root in others:  # what the roots' answers say
        product = 1
        for known, w, w0 in zip(roots, weights, first[0], strict=True):
            product = product * pow(known, w - w0, N) % N
        assert root * pow(first[2], -1, N) % N == product
    ciphertexts = split(vector.data, PUBLIC.ciphertext_bytes)
    for ciphertext, plaintext, root in zip(ciphertexts, plaintexts, roots, strict=True):
        assert ciphertext == (1 + plaintext * N) * pow(root, N, N * N) % (N * N)


def solved(rows: list[list[int]], right: list[int]) -> list[int]:
    """Gauss-Jordan mod N."""
    matrix = [[*row, value] for row, value in zip(rows, right, strict=True)]
    for at in range(len(matrix)):
        inverse = pow(matrix[at][at], -1, N)
        matrix[at] = [value * inverse % N for value in matrix[at]]
        for other in range(len(matrix)):
            if other != at:
                factor = matrix[other][at]
                matrix[other] = [(a - factor * b) % N for a, b in zip(matrix[other], matrix[at], strict=True)]
    return [row[-1] for row in matrix]


def test_proofs_of_the_same_vector_differ() -> None:
    drawn = [noise().take() for _ in range(LANES.num_plaintexts)]
    proofs = set()
    for _ in range(20):
        pool = NoisePool(ShortExponents(PUBLIC))
        pool._ready.extend(drawn)
        proofs.add(encrypt_and_prove(residues(), LANES, pool, context=b"mine")[1])
    assert len(proofs) == 20


def test_noise_shows_nothing_of_itself() -> None:
    drawn = noise().take()
    assert str(drawn.known_by) not in repr(drawn)
    assert str(drawn.residue) not in repr([drawn])
