from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import shamir
from secagg.errors import EncodingError, InconsistentShares, ParameterError, ThresholdError
from secagg.field import PRIME
from secagg.randomness import RandomBytes
from secagg.shamir import (
    num_elements,
    reconstruct,
    reconstruct_elements,
    reconstruct_elements_robust,
    reconstruct_many,
    reconstruct_robust,
    share_bytes,
    split,
    split_elements,
)
from tests.strategies import field_elements, sharings

from . import field_reference as reference

Sharing = tuple[int, list[int]]

secrets = st.one_of(st.binary(max_size=40), st.binary(min_size=32, max_size=32), st.sampled_from([b"\xff" * 32]))

nonzero = st.integers(1, PRIME - 1)


def array(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def drawing(coefficients: np.ndarray) -> RandomBytes:
    """A source of these field elements, to be taken at once."""
    return lambda size: coefficients.astype("<u4").tobytes()


def alter(share: bytes, column: int, by: int) -> bytes:
    """The share with another element in one column, still well-formed."""
    elements = np.frombuffer(share, dtype="<u4").astype(np.int64)
    elements[column] = (elements[column] + by) % PRIME
    return elements.astype("<u4").tobytes()


# Splitting and reconstructing


@given(st.data(), secrets, sharings())
def test_any_shares_of_at_least_the_threshold_reconstruct(data: st.DataObject, secret: bytes, sharing: Sharing) -> None:
    threshold, indices = sharing
    shares = split(secret, threshold=threshold, indices=indices)
    assert list(shares) == indices
    assert all(len(share) == share_bytes(len(secret)) for share in shares.values())
    order = data.draw(st.permutations(indices))
    chosen = order[: data.draw(st.integers(threshold, len(indices)))]
    some = {index: shares[index] for index in chosen}
    assert reconstruct(some, threshold=threshold, num_bytes=len(secret)) == secret
    assert reconstruct_robust(some, threshold=threshold, num_bytes=len(secret)) == (secret, frozenset())


def test_every_subset_of_the_threshold_reconstructs() -> None:
    secret = b"every subset"
    for threshold in range(1, 7):
        shares = split(secret, threshold=threshold, indices=range(1, 7))
        for subset in itertools.combinations(shares, threshold):
            some = {index: shares[index] for index in subset}
            assert reconstruct(some, threshold=threshold, num_bytes=len(secret)) == secret


@given(st.lists(field_elements, min_size=1, max_size=4), sharings(), st.integers(0, 2**32))
def test_shares_are_the_polynomial_at_the_indices(values: list[int], sharing: Sharing, seed: int) -> None:
    threshold, indices = sharing
    random = np.random.default_rng(seed).integers(0, PRIME, size=(threshold - 1, len(values)), dtype=np.uint64)
    shares = split_elements(array(values), threshold=threshold, indices=indices, random=drawing(random))
    for column, value in enumerate(values):
        polynomial = [value, *random[:, column].tolist()]
        assert shares[:, column].tolist() == [reference.evaluate(polynomial, index) for index in indices]
    assert reconstruct_elements(indices, shares, threshold=threshold).tolist() == values


@given(st.lists(field_elements, max_size=4), sharings())
def test_vectors_of_field_elements_are_shared_as_byte_strings_are(values: list[int], sharing: Sharing) -> None:
    threshold, indices = sharing
    shares = split_elements(array(values), threshold=threshold, indices=indices)
    assert shares.shape == (len(indices), len(values))
    assert reconstruct_elements(indices, shares, threshold=threshold).tolist() == values
    recovered, wrong = reconstruct_elements_robust(indices, shares, threshold=threshold)
    assert (recovered.tolist(), wrong) == (values, frozenset())


@given(st.binary(max_size=70))
def test_a_secret_is_cut_into_thirty_bits_an_element(secret: bytes) -> None:
    shares = split(secret, threshold=1, indices=[7])  # with threshold 1 the share is the secret's elements
    elements = np.frombuffer(shares[7], dtype="<u4").tolist()
    assert len(elements) == num_elements(len(secret)) == -(-len(secret) * 8 // 30)
    assert sum(element << (30 * k) for k, element in enumerate(elements)) == int.from_bytes(secret, "little")


def test_a_thousand_parties_and_a_large_threshold_are_fine() -> None:
    secret = bytes(range(32))
    shares = split(secret, threshold=667, indices=range(1, 1001))
    last = {index: shares[index] for index in range(334, 1001)}
    assert reconstruct(last, threshold=667, num_bytes=32) == secret
    assert reconstruct(shares, threshold=667, num_bytes=32) == secret


def test_indices_are_taken_mod_p_with_their_own_names() -> None:
    shares = split(b"secret", threshold=2, indices=[-1, PRIME + 1, 2**40])
    assert list(shares) == [-1, PRIME + 1, 2**40]
    same = {PRIME - 1: shares[-1], 1: shares[PRIME + 1]}
    assert reconstruct(same, threshold=2, num_bytes=6) == b"secret"


# Secrecy


@given(st.data(), field_elements, field_elements, sharings())
def test_fewer_shares_than_the_threshold_are_consistent_with_any_secret(
    data: st.DataObject, secret: int, other: int, sharing: Sharing
) -> None:
    threshold, indices = sharing
    random = np.array([[data.draw(field_elements)] for _ in range(threshold - 1)], dtype=np.uint64).reshape(-1, 1)
    order = data.draw(st.permutations(indices))
    seen = order[: threshold - 1]
    shares = split_elements(array([secret]), threshold=threshold, indices=order, random=drawing(random))[: len(seen)]
    # The one polynomial through what was seen and through another secret: its coefficients were as likely.
    alternative = reference.interpolate([(0, other), *zip(seen, shares[:, 0].tolist(), strict=True)])
    assert alternative[0] == other
    assert len(alternative) == threshold
    likely = drawing(array(alternative[1:]))
    again = split_elements(array([other]), threshold=threshold, indices=order, random=likely)
    assert np.array_equal(again[: len(seen)], shares)


@pytest.mark.parametrize("raw", [b"\0\0\0\0", b"\x01\0\0\0", b"\xfe\xff\xff\x7f"])
def test_coefficients_are_what_was_drawn_even_zero(raw: bytes) -> None:
    # A leading coefficient that is never zero would rule secrets out. Whatever the randomness says must be taken: all
    # zeros give the constant polynomial, of which every share is the secret.
    indices = [1, 2, 5, 9]
    shares = split_elements(array([123, 0]), threshold=4, indices=indices, random=lambda size: raw * (size // 4))
    drawn = int.from_bytes(raw, "little")
    for column, secret in enumerate([123, 0]):
        expected = [reference.evaluate([secret, drawn, drawn, drawn], index) for index in (1, 2, 5, 9)]
        assert shares[:, column].tolist() == expected
        points = list(zip((1, 2, 5, 9), shares[:, column].tolist(), strict=True))
        assert reference.interpolate(points) == [secret, drawn, drawn, drawn]


def test_every_coefficient_of_every_column_is_drawn_afresh() -> None:
    # Two of 3 * 50 uniform coefficients agree with probability below 6e-6; two that are one draw always do. Three such
    # coincidences (rate below 4e-17) are taken for a fault.
    shares = split_elements(np.zeros(50, dtype=np.uint64), threshold=4, indices=[1, 2, 3, 4])
    coefficients = []
    for column in shares.T:
        zero, *others = reference.interpolate(list(zip((1, 2, 3, 4), column.tolist(), strict=True)))
        assert zero == 0
        coefficients += others
    assert len(set(coefficients)) >= len(coefficients) - 2


def test_leading_coefficients_are_uniform() -> None:
    # As in test_field.py: Pearson's statistic over 64 cells, above 160 less than once in 10**9 samples.
    shares = split_elements(np.zeros(1 << 14, dtype=np.uint64), threshold=2, indices=[1, 2])
    counts = np.bincount(shares[0].astype(np.int64) * 64 // PRIME, minlength=64)  # the secret is 0 and the index 1
    expected = (1 << 14) / 64
    assert float(((counts - expected) ** 2 / expected).sum()) < 160


def test_splitting_twice_gives_other_shares() -> None:
    first, second = (split(bytes(32), threshold=2, indices=[1, 2]) for _ in range(2))
    assert first[1] != second[1]


# Refusals


@given(st.data(), secrets, sharings())
def test_fewer_shares_than_the_threshold_are_refused(data: st.DataObject, secret: bytes, sharing: Sharing) -> None:
    threshold, indices = sharing
    shares = split(secret, threshold=threshold, indices=indices)
    have = data.draw(st.integers(0, threshold - 1))
    some = dict(list(shares.items())[:have])
    for function in (reconstruct, reconstruct_robust):
        with pytest.raises(ThresholdError) as caught:
            function(some, threshold=threshold, num_bytes=len(secret))
        assert (caught.value.needed, caught.value.have) == (threshold, have)


FORBIDDEN = [[0, 1], [1, 0], [PRIME, 1], [-PRIME, 1], [7 * PRIME, 1], [1, 1], [1, PRIME + 1], [-1, PRIME - 1]]


@pytest.mark.parametrize("indices", FORBIDDEN)
def test_zero_and_duplicate_indices_mod_p_are_refused_everywhere(indices: list[int]) -> None:
    table = np.zeros((2, 1), dtype=np.uint64)
    shares = {index: bytes(4) for index in indices}
    calls = [
        lambda: split(b"a", threshold=1, indices=indices),
        lambda: split_elements(table[0], threshold=1, indices=indices),
        lambda: reconstruct_elements(indices, table, threshold=1),
        lambda: reconstruct_elements_robust(indices, table, threshold=1),
        lambda: reconstruct_many([[1, 2], indices], np.zeros((2, 2, 4), dtype=np.uint8), num_bytes=1),
    ]
    if len(shares) == 2:
        calls.append(lambda: reconstruct(shares, threshold=1, num_bytes=1))
        calls.append(lambda: reconstruct_robust(shares, threshold=1, num_bytes=1))
    for call in calls:
        with pytest.raises(ParameterError, match="mod p"):
            call()


def test_a_forged_share_at_zero_does_not_dictate_the_secret() -> None:
    shares = split(b"secret", threshold=3, indices=[1, 2, 3])
    for forged in (0, PRIME, -PRIME):
        for function in (reconstruct, reconstruct_robust):
            with pytest.raises(ParameterError, match="0 mod p"):
                function({1: shares[1], 2: shares[2], forged: bytes(8)}, threshold=3, num_bytes=6)


@pytest.mark.parametrize("threshold", [0, -1, 4, 2**40, 2.0, "2", None])
def test_thresholds_out_of_range_are_refused_when_splitting(threshold: Any) -> None:
    with pytest.raises(ParameterError, match="from 1 to the 3 shares"):
        split(b"secret", threshold=threshold, indices=[1, 2, 3])
    with pytest.raises(ParameterError, match="from 1 to the 3 shares"):
        split_elements(array([1]), threshold=threshold, indices=[1, 2, 3])


@pytest.mark.parametrize("threshold", [0, -1, 2.0, "2", None])
def test_thresholds_out_of_range_are_refused_when_reconstructing(threshold: Any) -> None:
    shares = split(b"secret", threshold=2, indices=[1, 2, 3])
    for function in (reconstruct, reconstruct_robust):
        with pytest.raises(ParameterError, match="at least 1"):
            function(shares, threshold=threshold, num_bytes=6)


def test_there_is_nothing_to_split_among_nobody() -> None:
    with pytest.raises(ParameterError):
        split(b"secret", threshold=1, indices=[])
    with pytest.raises(ParameterError, match="threshold of at least 1"):
        reconstruct_many([[]], np.zeros((1, 0, 4), dtype=np.uint8), num_bytes=1)


@pytest.mark.parametrize("values", [[PRIME], [-1], [2**40], [0.5], [True]])
def test_what_is_no_field_element_is_not_shared(values: Any) -> None:
    with pytest.raises(ParameterError, match="secrets must be"):
        split_elements(np.array(values), threshold=1, indices=[1])
    with pytest.raises(ParameterError, match="values must be"):
        reconstruct_elements([1], np.array([values]), threshold=1)


@pytest.mark.parametrize("shape", [(3, 1), (1, 1), (2,), (2, 1, 1)])
def test_tables_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    for function in (reconstruct_elements, reconstruct_elements_robust):
        with pytest.raises(ParameterError, match="a row for each of 2 indices"):
            function([1, 2], np.zeros(shape, dtype=np.uint64), threshold=1)


def malformed(share: bytes) -> list[bytes]:
    prime = PRIME.to_bytes(4, "little")
    return [
        b"",
        share[:-1],
        share + b"\0",
        share[:-4],
        share + bytes(4),
        prime + share[4:],
        share[:-4] + prime,
        b"\xff" * len(share),
    ]


def test_malformed_shares_are_refused_by_index() -> None:
    shares = split(bytes(32), threshold=2, indices=[1, 2, 30])
    for bad in malformed(shares[30]):
        with pytest.raises(EncodingError, match="share of 30 is malformed"):
            reconstruct(shares | {30: bad}, threshold=2, num_bytes=32)


# Detection and correction.
#
# What holds, for m well-formed shares of which w are wrong (in any columns) and the redundancy r = m - threshold:
#   reconstruct         raises InconsistentShares for 1 <= w <= r. With r = 0 it cannot know; beyond r, whoever forged
#                       more shares than there is redundancy may have moved all of them to another polynomial.
#   reconstruct_robust  corrects and names for w <= r // 2, and raises InconsistentShares for certain up to r - r // 2
#                       (one more, if r is odd). From w = r - r // 2 + 1 on, colluders can make it accept another secret
#                       and accuse r // 2 honest parties: the limit of every unique decoder. Wrong shares without such a
#                       plan are refused but for a negligible fraction.


@given(st.data(), st.binary(min_size=1, max_size=12), sharings(spare=1))
def test_wrong_shares_up_to_the_redundancy_are_detected(data: st.DataObject, secret: bytes, sharing: Sharing) -> None:
    threshold, indices = sharing
    shares = split(secret, threshold=threshold, indices=indices)
    wrong = data.draw(st.sets(st.sampled_from(indices), min_size=1, max_size=len(indices) - threshold))
    for index in wrong:
        column = data.draw(st.integers(0, num_elements(len(secret)) - 1))
        shares[index] = alter(shares[index], column, data.draw(nonzero))
    room = (len(indices) - threshold) // 2
    with pytest.raises(InconsistentShares, match=rf"not on one polynomial; .* correct up to {room} of them"):
        reconstruct(shares, threshold=threshold, num_bytes=len(secret))


@given(st.data(), st.binary(min_size=1, max_size=20), sharings(max_shares=14))
def test_up_to_half_the_redundancy_is_corrected_and_named(data: st.DataObject, secret: bytes, sharing: Sharing) -> None:
    threshold, indices = sharing
    shares = split(secret, threshold=threshold, indices=indices)
    # A malformed share convicts itself and costs one of redundancy, a wrong one costs two.
    bad = set(data.draw(st.sets(st.sampled_from(indices), max_size=len(indices) - threshold)))
    left = [index for index in indices if index not in bad]
    most = (len(left) - threshold) // 2
    wrong = data.draw(st.sets(st.sampled_from(left), max_size=most))
    for index in bad:
        shares[index] = data.draw(st.sampled_from(malformed(shares[index])))
    for index in wrong:
        for column in data.draw(st.sets(st.integers(0, num_elements(len(secret)) - 1), min_size=1)):
            shares[index] = alter(shares[index], column, data.draw(nonzero))
    before = dict(shares)
    recovered, named = reconstruct_robust(shares, threshold=threshold, num_bytes=len(secret))
    assert recovered == secret
    assert named == wrong | bad
    assert shares == before


@given(st.data(), st.lists(field_elements, min_size=1, max_size=6), sharings(max_shares=14))
def test_wrong_rows_of_elements_are_corrected_and_named(
    data: st.DataObject, values: list[int], sharing: Sharing
) -> None:
    threshold, indices = sharing
    table = split_elements(array(values), threshold=threshold, indices=indices)
    wrong = data.draw(st.sets(st.sampled_from(range(len(indices))), max_size=(len(indices) - threshold) // 2))
    for row in wrong:
        for column in data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1)):
            table[row, column] = (int(table[row, column]) + data.draw(nonzero)) % PRIME
    recovered, named = reconstruct_elements_robust(indices, table, threshold=threshold)
    assert recovered.tolist() == values
    assert named == {indices[row] for row in wrong}


@given(st.data(), st.binary(min_size=5, max_size=20), sharings(max_shares=13, spare=1))
def test_one_more_wrong_share_than_an_odd_redundancy_corrects_is_refused(
    data: st.DataObject, secret: bytes, sharing: Sharing
) -> None:
    threshold, indices = sharing
    if (len(indices) - threshold) % 2 == 0:
        indices = indices[:-1]
    too_many = (len(indices) - threshold) // 2 + 1
    shares = split(secret, threshold=threshold, indices=indices)
    for index in data.draw(st.permutations(indices))[:too_many]:
        column = data.draw(st.integers(0, num_elements(len(secret)) - 1))
        shares[index] = alter(shares[index], column, data.draw(nonzero))
    with pytest.raises(InconsistentShares):
        reconstruct_robust(shares, threshold=threshold, num_bytes=len(secret))


@pytest.mark.parametrize("spread", ["one column", "a column each"])
@pytest.mark.parametrize("num_wrong", range(3, 9))
def test_too_many_wrong_shares_without_a_plan_are_refused(num_wrong: int, spread: str) -> None:
    # Redundancy 4 corrects two. Three and more errors that do not conspire land within two of another codeword with
    # probability below C(8, 2) / p for one column; the seed is fixed.
    rng = np.random.default_rng(num_wrong)
    for _ in range(50):
        table = split_elements(rng.integers(0, PRIME, size=8, dtype=np.uint64), threshold=4, indices=range(1, 9))
        for position, row in enumerate(rng.permutation(8)[:num_wrong]):
            column = 0 if spread == "one column" else position
            table[row, column] = (int(table[row, column]) + int(rng.integers(1, PRIME))) % PRIME
        with pytest.raises(InconsistentShares, match="more than 2 of 8 shares are wrong"):
            reconstruct_elements_robust(range(1, 9), table, threshold=4)


def test_colluders_beyond_the_bound_can_forge_which_is_the_limit_that_callers_must_know() -> None:
    # Eight shares with threshold 4 correct two. Three colluders need to know nothing of the others: they add a cubic
    # that is zero at three honest shares, and only the remaining two seem to contradict the polynomial thus moved.
    table = split_elements(array([1]), threshold=4, indices=range(1, 9))
    cubic = reference.interpolate([(0, 665), (4, 0), (5, 0), (6, 0)])
    for index in (1, 2, 3):
        table[index - 1, 0] = (int(table[index - 1, 0]) + reference.evaluate(cubic, index)) % PRIME
    recovered, named = reconstruct_elements_robust(range(1, 9), table, threshold=4)
    assert recovered.tolist() == [666]
    assert named == {7, 8}
    # reconstruct corrects nothing and so is not fooled: that takes five of eight.
    with pytest.raises(InconsistentShares):
        reconstruct_elements(range(1, 9), table, threshold=4)


def test_with_no_redundancy_a_wrong_share_gives_a_wrong_secret() -> None:
    # Any three values lie on a parabola. Callers check what they reconstruct against a commitment.
    table = split_elements(array([5]), threshold=3, indices=[1, 2, 3])
    table[0, 0] = (int(table[0, 0]) + 1) % PRIME
    assert reconstruct_elements([1, 2, 3], table, threshold=3).tolist() == [(5 + 3) % PRIME]  # weight 3 at point 1
    assert reconstruct_elements_robust([1, 2, 3], table, threshold=3)[1] == frozenset()


def test_malformed_shares_that_leave_too_few_are_a_lack_of_shares() -> None:
    shares = split(bytes(32), threshold=3, indices=[1, 2, 3])
    with pytest.raises(ThresholdError) as caught:
        reconstruct_robust(shares | {2: b"?"}, threshold=3, num_bytes=32)
    assert (caught.value.needed, caught.value.have) == (3, 2)


@pytest.mark.parametrize("value", [1 << 30, PRIME - 1])
def test_a_polynomial_whose_secret_is_no_byte_string_is_refused(value: int) -> None:
    shares = {index: value.to_bytes(4, "little") for index in (1, 2, 3)}  # constant polynomials
    for function in (reconstruct, reconstruct_robust):
        with pytest.raises(InconsistentShares, match="no byte string"):
            function(shares, threshold=1, num_bytes=3)
    assert reconstruct_many([[1]], rows([[shares[1]]]), num_bytes=3) == [None]


def test_a_polynomial_whose_secret_is_too_long_is_refused() -> None:
    shares = {index: (1 << 24).to_bytes(4, "little") for index in (1, 2, 3)}  # a fourth byte
    for function in (reconstruct, reconstruct_robust):
        with pytest.raises(InconsistentShares, match="more than 3 bytes"):
            function(shares, threshold=1, num_bytes=3)
    assert reconstruct_many([[1]], rows([[shares[1]]]), num_bytes=3) == [None]


# Many at once


def rows(secrets: list[list[bytes]]) -> np.ndarray:
    """Shares by secret, as `reconstruct_many` takes them."""
    return np.array([[list(share) for share in shares] for shares in secrets], dtype=np.uint8)


@given(st.data(), sharings(), st.integers(0, 33), st.integers(1, 4))
def test_reconstructing_many_agrees_with_reconstructing_each(
    data: st.DataObject, sharing: Sharing, num_bytes: int, count: int
) -> None:
    threshold, indices = sharing
    holders, table, expected = [], [], []
    for _ in range(count):
        if not holders or data.draw(st.booleans()):  # else the same holders again
            chosen = data.draw(st.permutations(indices))[:threshold]
        secret = data.draw(st.binary(min_size=num_bytes, max_size=num_bytes))
        shares = split(secret, threshold=threshold, indices=indices)
        if num_bytes and data.draw(st.booleans()):
            at = data.draw(st.sampled_from(chosen))
            wrong = [alter(shares[at], 0, 1 << 30), *malformed(shares[at])]
            shares[at] = data.draw(st.sampled_from([share for share in wrong if len(share) == len(shares[at])]))
        some = {index: shares[index] for index in chosen}
        try:
            expected.append(reconstruct(some, threshold=threshold, num_bytes=num_bytes))
        except (EncodingError, InconsistentShares):
            expected.append(None)
        holders.append([index % PRIME for index in chosen])
        table.append(list(some.values()))
    assert reconstruct_many(holders, rows(table).reshape(count, threshold, -1), num_bytes=num_bytes) == expected


def test_secrets_of_the_same_holders_share_weights_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    from secagg import _field_kernels

    loop, taken = _field_kernels.at_zero, []
    monkeypatch.setattr(_field_kernels, "at_zero", lambda *given: [taken.append(given[0][given[2]]), loop(*given)])
    shares = split(b"abc", threshold=2, indices=[1, 2, 3])
    holders = [[1, 2], [3, 1], [1, 2], [2, 3]] * 5
    table = rows([[shares[index] for index in row] for row in holders])
    assert reconstruct_many(holders, table, num_bytes=3) == [b"abc"] * 20
    (order,) = taken
    assert 1 + (order[1:] != order[:-1]).any(axis=1).sum() == 3


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64])
def test_indices_of_any_kind_of_integers_are_taken(kind: type[np.integer[Any]]) -> None:
    shares = split(b"abc", threshold=2, indices=[100, 7])
    table = rows([[shares[7], shares[100]]])
    assert reconstruct_many(np.array([[7, 100]], dtype=kind), table, num_bytes=3) == [b"abc"]


@pytest.mark.parametrize(("kind", "index"), [(np.int64, 2**63 - 3), (np.int64, -(2**63) + 3), (np.uint64, 2**64 - 3)])
def test_indices_of_64_bits_are_taken_to_the_last(kind: type[np.integer[Any]], index: int) -> None:
    shares = split(b"abc", threshold=2, indices=[7, index])
    holders = np.array([[7, index]], dtype=kind)
    assert reconstruct_many(holders, rows([list(shares.values())]), num_bytes=3) == [b"abc"]


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 1, 4), (2, 2, 4), (2, 4), (1, 2, 8)])
def test_shares_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError, match="do not fit"):
        reconstruct_many([[1, 2]], np.zeros(shape, dtype=np.uint8), num_bytes=1)
    with pytest.raises(ParameterError, match="do not fit"):
        reconstruct_many([[1, 2]], np.zeros((1, 2, 4), dtype=np.int8), num_bytes=1)


def test_what_hides_values_or_is_no_table_is_refused() -> None:
    table = np.zeros((2, 2, 4), dtype=np.uint8)
    indices = np.array([[1, 2], [1, 2]])
    for masked in ((np.ma.masked_array(indices), table), (indices, np.ma.masked_array(table))):
        with pytest.raises(ParameterError, match="masked array"):
            reconstruct_many(*masked, num_bytes=1)
    ragged: Any = ([[1, 2], [1]], table), (indices, [[bytes(4)], [bytes(4)] * 2])
    for arguments in ragged:
        with pytest.raises(ParameterError, match="rows of different lengths"):
            reconstruct_many(*arguments, num_bytes=1)
    no_array: Any = [[bytes(4)] * 2] * 2
    with pytest.raises(ParameterError, match="do not fit"):
        reconstruct_many(indices, no_array, num_bytes=1)


def test_the_order_in_memory_changes_nothing() -> None:
    secrets = [b"abc", b"abc", b"def"]
    indices = np.array([[7, 100], [7, 100], [100, 7]])
    shares = [split(secret, threshold=2, indices=[7, 100]) for secret in secrets]
    table = rows([[shares[at][index] for index in row] for at, row in enumerate(indices.tolist())])
    twice = np.repeat(table, 2, axis=2)[:, :, ::2]
    for order in (table, np.asfortranarray(table), twice, table[::-1][::-1]):
        order.flags.writeable = False
        for swapped in (indices, indices.astype(">i8"), np.asfortranarray(indices), indices - PRIME):
            assert reconstruct_many(swapped, order, num_bytes=3) == secrets


@pytest.mark.parametrize("bad", [1.5, "1", None, float("nan")])
def test_indices_that_are_no_integers_are_refused(bad: object) -> None:
    with pytest.raises(ParameterError, match="integers"):
        shamir.split(b"abc", threshold=1, indices=[bad, 2])
    with pytest.raises(ParameterError, match="integers"):
        reconstruct_many([[bad, 2]], np.zeros((1, 2, 4), dtype=np.uint8), num_bytes=3)


def test_no_secrets_at_all_are_reconstructed_to_none_at_all() -> None:
    none = np.zeros((0, 2, shamir.share_bytes(32)), dtype=np.uint8)
    assert reconstruct_many(np.zeros((0, 2), dtype=np.int64), none, num_bytes=32) == []


def test_a_table_of_secrets_is_no_vector() -> None:
    with pytest.raises(ParameterError, match="one vector"):
        shamir.split_elements(np.ones((2, 2), dtype=np.uint64), threshold=1, indices=[1])
