"""What the server refuses of each message, function by function: one defect a test."""

import msgspec
import pytest

from protocols.masking import derivations
from protocols.masking.messages import (
    AdvertiseKeys,
    Confirmation,
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


def test_a_confirmation_is_of_what_this_server_told_everyone():
    statement = derivations.survivors_statement(SESSION, b"", {1, 2, 3}, {1, 2})
    message = Confirmation(SESSION, 2, IDENTITY.sign(statement))
    server_checks.check_confirmation(message, statement, KEYS)
    other_story = derivations.survivors_statement(SESSION, b"", {1, 2, 3}, {1, 2, 3})
    with pytest.raises(AuthenticationFailed, match="does not verify"):
        server_checks.check_confirmation(message, other_story, KEYS)
    with pytest.raises(AuthenticationFailed, match="without a confirmation key"):
        server_checks.check_confirmation(message, statement, replace(KEYS, confirmation_public_key=None))
