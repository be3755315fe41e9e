"""What parties draw is drawn anew each time, at full length: keys, seeds, nonces, ids.

Replaced randomness cannot show this, and neither can round trips: a nonce of 16 bits opens as well as one of 96. Among
2,000 values of 16 bits two are equal but with a probability below 10^-13; among 2,000 of 96 bits with one below 10^-22.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from protocols.audit import strings
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking import wire
from protocols.masking.client import Client
from protocols.masking.client.state import Advertised
from protocols.masking.config import RoundConfig
from protocols.masking.messages import Invitation
from protocols.masking.server import Server
from secagg import aead, field
from secagg.encoding import FixedPoint
from secagg.key_agreement import KeyPair
from secagg.signatures import Identity

DRAWS = 2000
FALSE_ALARM = 1e-9
"""Of each of less than a hundred tests here."""
CONFIG = RoundConfig(ThreatModel(5, 0.0, 0.3, Adversary.SEMI_MALICIOUS_SERVER), (IntegerVector("votes", 1),))


def check_fresh(drawn: list[bytes], size: int) -> None:
    strings.fresh(drawn, size, "strings", FALSE_ALARM)


def invitation() -> Invitation:
    data = Server(CONFIG, threads=1).outgoing()["client-1"]
    return wire.decode(data, Invitation, max_bytes=wire.MAX_INVITATION_BYTES)


def nonce() -> bytes:
    return aead.seal(bytes(32), b"text", associated_data=b"context")[: aead.NONCE_BYTES]


@pytest.mark.parametrize(
    ("draw", "size"),
    [
        (nonce, 12),
        (lambda: KeyPair.generate().private_bytes, 32),
        (lambda: Identity.generate().private_bytes, 32),
        (lambda: invitation().nonce, 32),
        (lambda: Server(CONFIG, threads=1).session_id, 32),
    ],
    ids=["nonce of a sealed text", "X25519 key", "Ed25519 key", "session nonce", "session id"],
)
def test_what_is_drawn_is_fresh_and_whole(draw: Callable[[], bytes], size: int) -> None:
    check_fresh([draw() for _ in range(DRAWS)], size)


def test_clients_draw_all_their_secrets_anew_even_in_one_session() -> None:
    data = wire.encode(invitation())

    def advertised() -> Advertised:
        client = Client(threads=1)
        client.respond(data)
        state = client._memory.state
        assert isinstance(state, Advertised)
        return state

    states = [advertised() for _ in range(DRAWS)]
    check_fresh([state.self_mask_seed for state in states], 32)
    keys = [[state.cipher_private_key, state.mask_private_key, state.confirmation_private_key] for state in states]
    check_fresh([key for three in keys for key in three], 32)


def test_each_bit_of_a_coefficient_is_random() -> None:
    elements = field.random_elements(DRAWS)
    bits = np.stack([(elements >> np.uint64(power)) & np.uint64(1) for power in range(31)], axis=1).astype(np.uint8)
    strings.level_bits(bits, "coefficients", FALSE_ALARM)
    strings.independent(bits, "coefficients")


def test_roundings_are_drawn_anew() -> None:
    codec = FixedPoint(1.0, 16, 3)
    halves = np.full(256, 0.5 / codec.scale)
    rounded = [codec.quantise(halves)[0] for _ in range(DRAWS)]
    check_fresh([np.packbits((levels & 1).astype(np.uint8)).tobytes() for levels in rounded], 32)
    assert not any(np.array_equal(one, other) for one, other in pairwise(rounded))
