"""What the server refuses of each message, function by function: one defect a test."""

import msgspec
import pytest

from protocols.masking import derivations
from protocols.masking.messages import (
    SEALED_SHARES_BYTES,
    SHARE_BYTES,
    AdvertiseKeys,
    Confirmation,
    ShareKeys,
    UnmaskingShares,
)
from protocols.masking.server import checks as server_checks
from secagg.errors import AuthenticationFailed, MalformedMessage
from secagg.key_agreement import KeyPair
from secagg.signatures import Identity

replace = msgspec.structs.replace
SESSION = bytes(32)
IDENTITY = Identity(bytes([5]) * 32)
KEYS = AdvertiseKeys(
    session_id=SESSION,
    sender=2,
    cipher_public_key=KeyPair.generate().public_bytes,
    mask_public_key=KeyPair.generate().public_bytes,
    self_mask_commitment=bytes(32),
    confirmation_public_key=IDENTITY.public_bytes,
)


def test_usable_keys_that_are_nobody_elses_pass():
    server_checks.check_keys(KEYS, {KeyPair.generate().public_bytes})
    server_checks.check_keys(replace(KEYS, confirmation_public_key=None), set())
    assert len(KEYS.public_keys) == 3
    assert len(replace(KEYS, confirmation_public_key=None).public_keys) == 2


@pytest.mark.parametrize("field", ["cipher_public_key", "mask_public_key"])
def test_keys_of_low_order_are_refused(field):
    with pytest.raises(AuthenticationFailed, match="low order"):
        server_checks.check_keys(replace(KEYS, **{field: bytes(32)}), set())


@pytest.mark.parametrize("field", ["cipher_public_key", "mask_public_key", "confirmation_public_key"])
def test_a_key_that_another_has_is_refused(field):
    with pytest.raises(MalformedMessage, match="taken"):
        server_checks.check_keys(KEYS, {getattr(KEYS, field), KeyPair.generate().public_bytes})


@pytest.mark.parametrize(
    ("field", "same_as"),
    [
        ("cipher_public_key", "mask_public_key"),
        ("mask_public_key", "confirmation_public_key"),
        ("confirmation_public_key", "cipher_public_key"),
    ],
)
def test_one_key_for_two_purposes_is_refused(field, same_as):
    with pytest.raises(MalformedMessage, match="taken"):
        server_checks.check_keys(replace(KEYS, **{field: getattr(KEYS, same_as)}), set())


def test_shares_are_sealed_for_every_neighbour_and_for_nobody_else():
    sealed = bytes(SEALED_SHARES_BYTES)
    pair = (bytes(32), bytes(32))
    message = ShareKeys(SESSION, 2, bytes(32), {1: sealed, 3: sealed}, {1: pair, 2: pair, 3: pair})
    server_checks.check_recipients(message, {1, 3}, {1, 2, 3})
    for others in ({1}, {1, 3, 4}, {1, 4}):
        with pytest.raises(MalformedMessage, match="seals shares for 2 clients"):
            server_checks.check_recipients(message, others, {1, 2, 3})
        with pytest.raises(MalformedMessage, match="commits to shares of 3 clients"):
            server_checks.check_recipients(message, {1, 3}, others)


def test_a_confirmation_is_of_what_this_server_told_everyone():
    statement = derivations.survivors_statement(SESSION, b"", {1, 2, 3}, {1, 2})
    message = Confirmation(SESSION, 2, IDENTITY.sign(statement))
    server_checks.check_confirmation(message, statement, KEYS)
    other_story = derivations.survivors_statement(SESSION, b"", {1, 2, 3}, {1, 2, 3})
    with pytest.raises(AuthenticationFailed, match="does not verify"):
        server_checks.check_confirmation(message, other_story, KEYS)
    with pytest.raises(AuthenticationFailed, match="without a confirmation key"):
        server_checks.check_confirmation(message, statement, replace(KEYS, confirmation_public_key=None))


def test_shares_are_given_of_everyone_they_are_held_of_and_of_nobody_else():
    share = bytes(SHARE_BYTES)

    def respond(seeds, keys):
        message = UnmaskingShares(SESSION, 2, dict.fromkeys(seeds, share), dict.fromkeys(keys, share))
        server_checks.check_response(message, survivors={1, 2, 3}, dropped={4, 5})

    respond({1, 2, 3}, {4, 5})
    for seeds, keys in (({1, 2}, {4, 5}), ({1, 2, 3}, {5}), (set(), set())):
        with pytest.raises(MalformedMessage, match="other shares"):
            respond(seeds, keys)
    # A stranger's, or of the wrong kind: one such share is one too many, whatever the other half is like.
    for seeds, keys in (({1, 4}, {5}), ({1}, {5, 3}), ({6}, set()), (set(), {6}), ({1, 2}, {1})):
        with pytest.raises(MalformedMessage, match="other shares"):
            respond(seeds, keys)
