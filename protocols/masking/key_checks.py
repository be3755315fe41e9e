"""Whether advertised keys are complete and signed as the adversary demands: asked by both sides."""

from __future__ import annotations

from collections.abc import Mapping

from secagg import signatures
from secagg.errors import AuthenticationFailed, MalformedMessage

from ..core.threat_model import Adversary
from . import derivations
from .messages import AdvertiseKeys


def check_advertised_keys(keys: AdvertiseKeys, adversary: Adversary, known_identities: Mapping[int, bytes]) -> None:
    """Return if the keys have what a round against this adversary needs, and nothing else.

    Raises:
        MalformedMessage: a confirmation key or signature is missing or superfluous.
        AuthenticationFailed: the confirmation key is of small order, or the keys are not signed by the known identity.
    """
    if (keys.confirmation_public_key is not None) is not adversary.may_equivocate:
        raise MalformedMessage("advertises a confirmation key too many or too few", culprits={keys.sender})
    if (keys.signature is not None) is not adversary.needs_identities:
        raise MalformedMessage("advertises a signature too many or too few", culprits={keys.sender})
    try:
        if keys.confirmation_public_key is not None:
            signatures.check_public_key(keys.confirmation_public_key)
        if keys.signature is not None:
            identity = known_identities.get(keys.sender)
            if identity is None:
                raise AuthenticationFailed("advertises keys, but has no known identity")
            signatures.verify(identity, derivations.keys_statement(keys), keys.signature)
    except AuthenticationFailed as error:
        raise AuthenticationFailed(error.reason, culprits={keys.sender}) from None
