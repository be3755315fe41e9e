"""Recorded randomness, handed to the library where it takes a source: for replaying vectors, and for nothing else.

Security: whoever runs a real session on such a source gives its secrets away. A test checks that nothing but the audit
and the tests imports this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from secagg.errors import SecAggError

from ...masking import wire
from ...masking.config import RoundConfig
from ...masking.messages import InputRequest, Invitation, Roster, ShareDelivery, ToClient

Given = dict[str, Any]
_MAX_BYTES = 1 << 20


class OtherRandomness(Exception):  # noqa: N818 - a finding about the library, not an error of the audit's
    """The library asks for other randomness than a session's record has: more of it, or of another length."""


class Recorded:
    """A source of random bytes: hands out recorded strings (hexadecimal), one a call, in order.

    Raises:
        OtherRandomness: nothing is left, or what is next has another length than is asked for.
    """

    def __init__(self, *drawn: str) -> None:
        self.expect(drawn)

    def expect(self, drawn: Iterable[str]) -> None:
        """Hand out these from now on."""
        self._left = iter(drawn)

    def __call__(self, size: int) -> bytes:
        """Return the next string, of `size` bytes."""
        drawn = next(self._left, None)
        if drawn is None:
            raise OtherRandomness("the library draws more often than when this was recorded")
        if len(drawn) != 2 * size:
            raise OtherRandomness(f"the library draws {size} bytes, where {len(drawn) // 2} were recorded")
        return bytes.fromhex(drawn)


def drawn_for(given: Given, config: RoundConfig, data: bytes) -> Iterator[str]:
    """Yield what a client draws to answer a message: its entry in a vector, in the order of SPEC section 9."""
    try:
        message: ToClient = wire.decode(data, ToClient, max_bytes=_MAX_BYTES)
    except SecAggError:
        return
    match message:
        case Invitation():
            keys = ("cipher_private_key", "mask_private_key", "confirmation_private_key", "self_mask_seed")
            yield from (given[key] for key in keys if key in given)
        case Roster(recipient=own):
            for rows in (given["seed_coefficients"], given["mask_key_coefficients"]):
                yield np.array(rows, dtype="<u4").tobytes().hex()
            peers = sorted(entry.sender for entry in message.entries if entry.sender != own)
            yield from (given["nonces"].get(str(peer), "") for peer in peers)
        case ShareDelivery() if config.threat_model.adversary.needs_identities:
            return  # a receipt answers it
        case ShareDelivery() | InputRequest():
            for spec in config.vectors:
                seeds = (given["rounding_seeds"], given.get("noise_seeds", {}))
                yield from (of[spec.name] for of in seeds if spec.name in of)
