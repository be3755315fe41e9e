"""Reconstruction from shares of which some are missing, wrong or nonsense, without a session around it."""

import pytest

from protocols.masking import derivations
from protocols.masking.messages import SECRET_BYTES, AdvertiseKeys
from protocols.masking.server import unmasking
from secagg import shamir
from secagg.errors import InconsistentShares
from secagg.field import PRIME
from secagg.key_agreement import KeyPair

SESSION = bytes([1]) * 32


class Dealt:
    """One survivor (2) and one dropped client (1), whose secrets are shared among so many holders."""

    def __init__(self, holders: int, threshold: int) -> None:
        self.threshold = threshold
        self.key, self.seed = KeyPair.generate(), bytes(range(SECRET_BYTES))
        indices = range(1, holders + 1)
        self.seed_shares = {2: shamir.split(self.seed, threshold=threshold, indices=indices)}
        self.key_shares = {1: shamir.split(self.key.private_bytes, threshold=threshold, indices=indices)}
        self.advertised = {
            client: AdvertiseKeys(
                SESSION,
                client,
                KeyPair.generate().public_bytes,
                self.key.public_bytes,
                derivations.self_mask_commitment(SESSION, client, self.seed),
            )
            for client in (1, 2)
        }

        def committed(owner, shares, kind):
            return {i: derivations.share_commitment(kind, SESSION, owner, i, share) for i, share in shares.items()}

        # Each owner has shares of one kind here: what stands for the other kind is never looked at.
        self.commitments = {
            owner: {i: one + one for i, one in committed(owner, shares, kind).items()}
            for kind, dealt in enumerate((self.seed_shares, self.key_shares))
            for owner, shares in dealt.items()
        }

    def spoil(self, *holders: int, kind: str = "seed_shares") -> None:
        for shares in getattr(self, kind).values():
            for holder in holders:
                # Each wrong in its own way: errors that cancel would leave the secret right and the wrong ones unnamed.
                element = int.from_bytes(shares[holder][:4], "little") + pow(7, 10 + holder, PRIME)
                shares[holder] = (element % PRIME).to_bytes(4, "little") + shares[holder][4:]

    def recover(self) -> unmasking.Recovered:
        dealt = self.seed_shares | self.key_shares
        holders = sorted({holder for shares in dealt.values() for holder in shares})
        owners = {holder: [owner for owner in sorted(dealt) if holder in dealt[owner]] for holder in holders}
        responses = [(at, owners[at], b"".join([dealt[owner][at] for owner in owners[at]])) for at in holders]
        return unmasking.recover(
            SESSION,
            self.advertised,
            self.commitments.__getitem__,
            unmasking.Given(responses),
            survivors=self.seed_shares,
            dropped=self.key_shares,
            threshold=self.threshold,
        )

    def assert_recovered(self, liars=frozenset()) -> None:
        recovered = self.recover()
        assert recovered.self_mask_seeds == {2: self.seed}
        assert {owner: key.private_bytes for owner, key in recovered.mask_keys.items()} == {1: self.key.private_bytes}
        assert recovered.liars == liars


def test_right_shares_give_the_secrets_and_no_liars():
    Dealt(5, 3).assert_recovered()


@pytest.mark.parametrize("kind", ["seed_shares", "key_shares"])
@pytest.mark.parametrize(
    ("holders", "threshold", "wrong"),
    [
        (4, 3, {1}),  # one share to spare
        (4, 3, {2}),
        (6, 3, {1, 2, 3}),  # as many wrong as there are to spare
        (6, 3, {1, 3}),
        (30, 20, {1, 5, 9, 13, 17}),
        (30, 20, set(range(1, 11))),
    ],
)
def test_wrong_shares_are_corrected_and_named(kind, holders, threshold, wrong):
    dealt = Dealt(holders, threshold)
    dealt.spoil(*wrong, kind=kind)
    dealt.assert_recovered(wrong)


@pytest.mark.parametrize("kind", ["seed_shares", "key_shares"])
def test_one_wrong_share_more_than_there_are_to_spare_ends_in_an_error(kind):
    dealt = Dealt(5, 4)
    dealt.spoil(1, 2, kind=kind)
    with pytest.raises(InconsistentShares, match="too few shares are what their dealers committed to") as caught:
        dealt.recover()
    assert caught.value.culprits == {1, 2}


@pytest.mark.parametrize("kind", ["seed_shares", "key_shares"])
def test_shares_that_fit_and_make_another_secret_blame_the_owner_alone(kind):
    dealt = Dealt(5, 3)
    ((owner, shares),) = getattr(dealt, kind).items()
    label = ("seed_shares", "key_shares").index(kind)
    dealt.spoil(1, kind=kind)
    one = derivations.share_commitment(label, SESSION, owner, 1, shares[1])
    dealt.commitments[owner][1] = one + one  # it committed to what it dealt
    with pytest.raises(InconsistentShares, match="another secret than advertised") as caught:
        dealt.recover()
    assert caught.value.culprits == {owner}


def test_shares_that_fit_are_taken_of_liars_where_too_few_others_are_left():
    dealt = Dealt(4, 3)
    dealt.spoil(1)  # lies about the seed alone
    dealt.spoil(2, kind="key_shares")
    dealt.assert_recovered({1, 2})


def test_malformed_shares_are_left_out_and_their_holders_named():
    dealt = Dealt(5, 3)
    dealt.seed_shares[2][1] = b"\xff" * shamir.share_bytes(SECRET_BYTES)
    dealt.assert_recovered({1})


def test_exactly_the_threshold_is_enough_and_one_share_less_is_not():
    dealt = Dealt(5, 3)
    for shares in (dealt.seed_shares[2], dealt.key_shares[1]):
        for holder in (1, 4):
            del shares[holder]
    dealt.assert_recovered()
    del dealt.key_shares[1][3]
    with pytest.raises(InconsistentShares, match="3 shares of each secret are needed"):
        dealt.recover()


def test_shares_by_holder_become_shares_by_owner():
    share = bytes(range(shamir.share_bytes(SECRET_BYTES)))
    other = share[::-1]
    given = unmasking.Given([(2, [3], share), (1, [2, 3, 4], share + other + share)])
    assert [given.of(owner) for owner in range(1, 6)] == [{}, {1: share}, {1: other, 2: share}, {1: share}, {}]
    for first, second in ((share, b""), (share + share, b""), (share[:-1], share + share[:1])):  # in all as many, too
        with pytest.raises(ValueError, match="more shares than it holds, or fewer"):
            unmasking.Given([(1, [2], first), (2, [3], second)])
