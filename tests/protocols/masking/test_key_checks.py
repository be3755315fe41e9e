"""What advertised keys must have against each adversary, and nothing else: asked by the server and by every client."""

import msgspec
import pytest

from protocols.core.threat_model import Adversary
from protocols.masking import derivations
from protocols.masking.key_checks import check_advertised_keys
from protocols.masking.messages import AdvertiseKeys
from secagg.errors import AuthenticationFailed
from secagg.key_agreement import KeyPair
from secagg.signatures import Identity

from .harness import identity, known

replace = msgspec.structs.replace
CURIOUS, SEMI, MALICIOUS = Adversary
SENDER = 3
KNOWN = known(4).numbered_keys()


def advertised(adversary: Adversary) -> AdvertiseKeys:
    """Keys as an honest client advertises them."""
    keys = AdvertiseKeys(
        session_id=bytes(32),
        sender=SENDER,
        cipher_public_key=KeyPair.generate().public_bytes,
        mask_public_key=KeyPair.generate().public_bytes,
        self_mask_commitment=bytes(32),
        confirmation_public_key=Identity.generate().public_bytes if adversary.may_equivocate else None,
    )
    return signed(keys) if adversary.needs_identities else keys


def signed(keys: AdvertiseKeys, by: int = SENDER) -> AdvertiseKeys:
    return replace(keys, signature=identity(by).sign(derivations.keys_statement(keys)))


@pytest.mark.parametrize("adversary", Adversary)
def test_honest_keys_pass(adversary):
    check_advertised_keys(advertised(adversary), adversary, KNOWN)


@pytest.mark.parametrize("adversary", [SEMI, MALICIOUS])
def test_a_confirmation_key_of_small_order_is_refused_though_its_owner_signed_it(adversary):
    neutral = (1).to_bytes(32, "little")
    keys = replace(advertised(adversary), confirmation_public_key=neutral)
    if adversary.needs_identities:
        keys = signed(keys)
    with pytest.raises(AuthenticationFailed, match="order") as caught:
        check_advertised_keys(keys, adversary, KNOWN)
    assert caught.value.culprits == {SENDER}


def test_nobody_vouches_for_keys_without_a_known_identity():
    known = {client: key for client, key in KNOWN.items() if client != SENDER}
    with pytest.raises(AuthenticationFailed, match="no known identity") as caught:
        check_advertised_keys(advertised(MALICIOUS), MALICIOUS, known)
    assert caught.value.culprits == {SENDER}


def test_another_clients_signature_is_refused():
    with pytest.raises(AuthenticationFailed) as caught:
        check_advertised_keys(signed(advertised(MALICIOUS), by=4), MALICIOUS, KNOWN)
    assert caught.value.culprits == {SENDER}
