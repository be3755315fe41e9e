from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.encoding import FixedPoint, Rounding
from secagg.errors import AuthenticationFailed, InconsistentShares, MalformedMessage, ParameterError, ThresholdError
from secagg.paillier import (
    EncryptedVector,
    KeyShare,
    Lanes,
    NoisePool,
    PartialOpening,
    ShortExponents,
    ThresholdKey,
    check_partial,
    combine,
    deal,
    decrypt,
    encrypt,
    moduli,
    open_partially,
)
from secagg.paillier.integers import join, split
from secagg.paillier.proofs import Proof, response_bits
from secagg.paillier.threshold import _deal

from .fixed_keys import dealt, noise, private_key

CODEC = FixedPoint(1.0, 16, 50, rounding=Rounding.NEAREST)
LANES = Lanes(256, CODEC.modulus_bits, 25)
RESIDUES = CODEC.encode(np.linspace(-1, 1, 25)).residues
VECTOR = encrypt(RESIDUES, LANES, noise())
CONTEXT = b"session and agreement"
SIZE = 32


def partials(
    shares: tuple[KeyShare, ...] | list[KeyShare], vector: EncryptedVector = VECTOR, context: bytes = CONTEXT
) -> dict[int, PartialOpening]:
    return {share.member: open_partially(share, vector, LANES, context=context) for share in shares}


def opens(key: ThresholdKey, given_partials: dict[int, PartialOpening]) -> frozenset[int]:
    """Combine, check the residues, and return the liars."""
    opened = combine(key, VECTOR, LANES, given_partials, context=CONTEXT)
    assert (LANES.unpack(opened.plaintexts, key.public_key.n) == RESIDUES).all()
    return opened.liars


def lies(truth: PartialOpening, key: ThresholdKey) -> dict[str, PartialOpening]:
    n = key.public_key.n
    values = [int(value) for value in split(truth.roots, SIZE)]

    def saying(changed: list[int]) -> PartialOpening:
        return replace(truth, roots=join(changed, SIZE))

    return {
        "another value": saying([values[0], values[1] * 2 % n, *values[2:]]),
        "the first two swapped": saying([values[1], values[0], *values[2:]]),
        "zero": saying([0, *values[1:]]),
        "n": saying([n, *values[1:]]),
        "a factor": saying([private_key().factors[0], *values[1:]]),
        "out of range": saying([(1 << 256) - 1, *values[1:]]),
        "one missing": replace(truth, roots=truth.roots[:-SIZE]),
        "one too many": replace(truth, roots=truth.roots + truth.roots[:SIZE]),
        "empty": replace(truth, roots=b""),
        "someone else's name": replace(truth, member=truth.member % key.num_members + 1),
    }


LIES = list(lies(partials(dealt(2, 3)[1])[1], dealt(2, 3)[0]))


@pytest.mark.parametrize(("threshold", "members"), [(2, 2), (2, 3), (3, 4), (3, 5), (5, 5)])
def test_any_quorum_opens(threshold: int, members: int) -> None:
    key, shares = dealt(threshold, members)
    everyone = partials(shares)
    for quorum in combinations(everyone, threshold):
        assert opens(key, {member: everyone[member] for member in quorum}) == frozenset()
    for few in combinations(everyone, threshold - 1):
        with pytest.raises(ThresholdError) as short:
            combine(key, VECTOR, LANES, {member: everyone[member] for member in few}, context=CONTEXT)
        assert (short.value.needed, short.value.have) == (threshold, threshold - 1)


@given(st.data())
def test_liars_are_named_and_the_honest_open(data: st.DataObject) -> None:
    threshold, members = data.draw(st.sampled_from([(2, 3), (2, 4), (3, 5), (4, 6)]))
    key, shares = dealt(threshold, members)
    order = data.draw(st.permutations(range(1, members + 1)))
    present = order[: data.draw(st.integers(threshold, members))]
    lying = set(data.draw(st.lists(st.sampled_from(present), unique=True, max_size=len(present))))
    truths = partials([shares[member - 1] for member in present])
    said = {
        member: lies(truths[member], key)[data.draw(st.sampled_from(LIES))] if member in lying else truths[member]
        for member in present
    }
    if len(present) - len(lying) >= threshold:
        assert opens(key, said) <= lying  # a liar who was not needed may go unnoticed
    else:
        with pytest.raises(InconsistentShares) as failure:
            combine(key, VECTOR, LANES, said, context=CONTEXT)
        assert failure.value.culprits <= lying
        assert len(present) - len(failure.value.culprits) < threshold


def test_one_liar_after_another_costs_one_more_opening_and_all_are_named() -> None:
    key, shares = dealt(2, 5)
    truths = partials(shares)
    n = key.public_key.n
    last = {m: [*split(truths[m].roots, SIZE)[:-1], 7] for m in (1, 2, 3)}
    lied = {member: replace(truths[member], roots=join(roots, SIZE)) for member, roots in last.items()}
    opened_so_far: list[int] = []
    opened = combine(key, VECTOR, LANES, truths | lied, context=CONTEXT, progress=opened_so_far.append)
    assert (LANES.unpack(opened.plaintexts, n) == RESIDUES).all()
    assert opened.liars == {1, 2, 3}
    assert sum(opened_so_far) <= 2 * LANES.num_plaintexts


@pytest.mark.parametrize("lie", LIES)
def test_every_lie_is_caught_alone(lie: str) -> None:
    key, shares = dealt(2, 3)
    truths = partials(shares)
    lied = lies(truths[1], key)[lie]
    assert opens(key, truths | {1: lied}) == {1}
    with pytest.raises(AuthenticationFailed) as caught:
        check_partial(key, VECTOR, LANES, lied, context=CONTEXT)
    assert caught.value.culprits == {lied.member}


def test_a_negated_value_opens_the_same_and_is_no_lie() -> None:
    # -1 is the only element of small order anyone knows; the squares in the combination are blind to it
    key, shares = dealt(2, 3)
    truths = partials(shares)
    negated = [key.public_key.n - int(value) for value in split(truths[1].roots, SIZE)]
    assert opens(key, truths | {1: replace(truths[1], roots=join(negated, SIZE))}) == frozenset()


def test_proofs_hold_for_one_statement_only() -> None:
    key, shares = dealt(2, 3)
    truths = partials(shares)
    good = truths[1]
    check_partial(key, VECTOR, LANES, good, context=CONTEXT)
    other_vector = encrypt(RESIDUES, LANES, noise())
    flipped = bytes([good.proof.challenge[0] ^ 1]) + good.proof.challenge[1:]
    forgeries = [
        (VECTOR, good, b"another session"),
        (other_vector, good, CONTEXT),
        (VECTOR, replace(good, member=2), CONTEXT),
        (VECTOR, replace(good, proof=truths[2].proof), CONTEXT),
        (VECTOR, replace(good, proof=Proof(flipped, good.proof.response)), CONTEXT),
        (VECTOR, replace(good, proof=Proof(good.proof.challenge, good.proof.response + 1)), CONTEXT),
        (VECTOR, replace(good, proof=Proof(good.proof.challenge, -good.proof.response)), CONTEXT),
        (VECTOR, replace(good, proof=Proof(good.proof.challenge, 1 << response_bits(key.public_key.n))), CONTEXT),
        (VECTOR, replace(good, proof=Proof(b"", 0)), CONTEXT),
        (VECTOR, replace(good, proof=Proof(bytes(32), 0)), CONTEXT),
        (VECTOR, replace(good, member=99), CONTEXT),
        (VECTOR, replace(good, member=0), CONTEXT),
    ]
    for vector, partial, context in forgeries:
        with pytest.raises(AuthenticationFailed):
            check_partial(key, vector, LANES, partial, context=context)
    # the same member of another committee under the same modulus
    other_key, _ = _deal(2, 3, *private_key().factors, min_bits=256)
    with pytest.raises(AuthenticationFailed):
        check_partial(other_key, VECTOR, LANES, good, context=CONTEXT)


def test_replayed_partial_openings_do_not_open_another_vector() -> None:
    key, shares = dealt(2, 3)
    old = partials(shares)
    fresh = encrypt(RESIDUES, LANES, noise())
    with pytest.raises(InconsistentShares) as failure:
        combine(key, fresh, LANES, old, context=CONTEXT)
    assert len(failure.value.culprits) >= 2


def test_two_proofs_of_one_statement_differ_and_both_hold() -> None:
    key, shares = dealt(2, 3)
    first, second = (open_partially(shares[0], VECTOR, LANES, context=CONTEXT) for _ in range(2))
    assert first.roots == second.roots  # blinded inside, and the blinding is gone
    assert first.proof != second.proof
    check_partial(key, VECTOR, LANES, second, context=CONTEXT)


def test_the_private_key_and_the_committee_agree_at_full_size() -> None:
    key, shares = dealt(3, 5, 2048)
    codec = FixedPoint(1.0, 16, 1000, rounding=Rounding.NEAREST)
    lanes = Lanes(2048, codec.modulus_bits, 160)
    residues = codec.encode(np.linspace(-1, 1, 160)).residues
    vector = encrypt(residues, lanes, NoisePool(ShortExponents(key.public_key)))
    done: list[int] = []
    said = {
        share.member: open_partially(share, vector, lanes, context=CONTEXT, workers=2, progress=done.append)
        for share in (shares[4], shares[0], shares[2])
    }
    for partial in said.values():
        check_partial(key, vector, lanes, partial, context=CONTEXT)
    opened = combine(key, vector, lanes, said, context=CONTEXT, workers=2, progress=done.append)
    assert (lanes.unpack(opened.plaintexts, key.public_key.n) == residues).all()
    assert (decrypt(vector, lanes, private_key(2048)) == residues).all()
    assert sum(done) == 4 * lanes.num_plaintexts


@pytest.mark.parametrize(("threshold", "members"), [(1, 3), (0, 3), (4, 3), (2, 65), (1, 1)])
def test_impossible_committees_are_refused(threshold: int, members: int) -> None:
    with pytest.raises(ParameterError):
        _deal(threshold, members, *private_key().factors, min_bits=256)


@pytest.mark.parametrize(("threshold", "members", "once"), [(5, 3, False), (40, 65, False), (2, 3, "no")])
def test_impossible_committees_are_refused_before_the_search(
    threshold: int, members: int, once: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moduli, "safe_prime", None)
    with pytest.raises(ParameterError):
        deal(threshold, members, key_bits=2048, one_session_without_proofs=once)


def test_other_sizes_are_not_dealt() -> None:
    for key_bits in (1024, 2049, 1 << 14):
        with pytest.raises(ParameterError, match="2048"):
            deal(2, 3, key_bits=key_bits)


@pytest.mark.parametrize("number", [0, 1, -5, private_key().public_key.n, private_key().factors[0]])
def test_defective_verification_keys_are_refused(number: int) -> None:
    key, _ = dealt(2, 3)
    with pytest.raises(ParameterError):
        replace(key, generator=number)
    with pytest.raises(ParameterError):
        replace(key, member_keys=(number, *key.member_keys[1:]))


def test_a_share_that_does_not_fit_is_refused_and_none_is_shown() -> None:
    key, shares = dealt(2, 3)
    with pytest.raises(AuthenticationFailed, match="member 2"):
        KeyShare(key, 2, shares[0].secret)
    with pytest.raises(AuthenticationFailed):
        KeyShare(key, 1, -1)
    with pytest.raises(ParameterError):
        KeyShare(key, 4, shares[0].secret)
    assert str(shares[0].secret) not in repr(shares[0])


def test_an_invalid_vector_is_not_opened() -> None:
    key, shares = dealt(2, 3)
    for value in (0, key.public_key.n, private_key().factors[1]):
        bad = replace(VECTOR, data=value.to_bytes(64, "big") + VECTOR.data[64:])
        with pytest.raises(MalformedMessage):
            open_partially(shares[0], bad, LANES, context=CONTEXT)
        with pytest.raises(MalformedMessage):
            combine(key, bad, LANES, partials(shares), context=CONTEXT)


def test_shares_of_two_dealings_that_verify_but_do_not_open_name_the_dealer() -> None:
    key, shares = dealt(2, 3)
    _, others = _deal(2, 3, *private_key().factors, min_bits=256)
    n = key.public_key.n
    mixed_keys = (key.member_keys[0], pow(key.generator, others[1].secret, n), key.member_keys[2])
    mixed = replace(key, member_keys=mixed_keys)
    said = partials([KeyShare(mixed, 1, shares[0].secret), KeyShare(mixed, 2, others[1].secret)])
    with pytest.raises(InconsistentShares, match="dealer"):
        combine(mixed, VECTOR, LANES, said, context=CONTEXT)


def test_integers_of_numpy_are_integers_and_look_alikes_are_none() -> None:
    key, shares = dealt(3, 5)
    assert replace(key, threshold=np.int64(3)).digest() == key.digest()  # type: ignore[arg-type]
    assert replace(key, member_keys=list(key.member_keys)) == key  # type: ignore[arg-type]
    assert KeyShare(key, np.int64(1), shares[0].secret) == shares[0]  # type: ignore[arg-type]
    for change in ({"threshold": 3.0}, {"threshold": "3"}, {"generator": None}, {"public_key": None}):
        with pytest.raises(ParameterError):
            replace(key, **change)
    for member, secret in ((1.0, shares[0].secret), (True, shares[0].secret), (1, "x"), (1, None)):
        with pytest.raises(ParameterError, match="integer") as caught:
            KeyShare(key, member, secret)  # type: ignore[arg-type]
        assert str(shares[0].secret) not in str(caught.value)
    for sizes in ((2.0, 3, 2048), (True, 3, 2048), (2, "3", 2048), (2, 3, None)):
        with pytest.raises(ParameterError, match="integer"):
            deal(sizes[0], sizes[1], key_bits=sizes[2])  # type: ignore[arg-type]
