"""How many bytes a client will send and receive in a round, from messages of the right size."""

from __future__ import annotations

from dataclasses import dataclass

from . import wire
from .config import RoundConfig
from .messages import (
    COMMITMENTS_BYTES,
    SEALED_SHARES_BYTES,
    SHARE_BYTES,
    AdvertiseKeys,
    Confirmation,
    InputRequest,
    Invitation,
    MaskedInput,
    Message,
    Roster,
    ShareDelivery,
    ShareKeys,
    ShareReceipt,
    SurvivorList,
    UnmaskingRequest,
    UnmaskingShares,
)


@dataclass(frozen=True)
class Traffic:
    """Bytes of one client in one round without dropouts, to within the framing of integers.

    `dealt_bytes` and `taken_bytes` are those of them that it has sent and received before its masked input is due.
    """

    sent_bytes: int
    received_bytes: int
    dealt_bytes: int
    taken_bytes: int


def estimate(config: RoundConfig, degree: int | None = None) -> Traffic:
    """Return a client's traffic in a round of this configuration in which nobody drops out.

    Args:
        config: of the round.
        degree: its neighbours; None for the most that it may have.
    """
    degree = config.topology.degree if degree is None else degree
    session_id, own_id = bytes(32), config.threat_model.num_clients
    adversary, signature = config.threat_model.adversary, bytes(64)
    peers = range(own_id, own_id - degree, -1)
    keys = AdvertiseKeys(
        session_id=session_id,
        sender=own_id,
        cipher_public_key=bytes(32),
        mask_public_key=bytes(32),
        self_mask_commitment=bytes(32),
        confirmation_public_key=bytes(32) if adversary.may_equivocate else None,
        signature=signature if adversary.needs_identities else None,
    )
    sealed, commitments = bytes(SEALED_SHARES_BYTES * degree), bytes(COMMITMENTS_BYTES * degree)
    holders = degree + config.topology.complete
    everyone = tuple(range(1, own_id + 1))
    threshold = config.topology.threshold if adversary.may_equivocate else 0
    confirmations = dict.fromkeys(list(peers)[:threshold], signature)
    sent: list[Message] = [
        keys,
        ShareKeys(session_id, own_id, bytes(32), sealed, bytes(COMMITMENTS_BYTES * holders)),
        MaskedInput(session_id, own_id, (memoryview(b""),) * len(config.codecs), ()),
        UnmaskingShares(session_id, own_id, bytes(SHARE_BYTES * holders)),
    ]
    received: list[Message] = [
        Invitation(own_id, config, bytes(32)),
        Roster(session_id, own_id, bytes(32), (keys,) * (degree + 1)),
        ShareDelivery(session_id, own_id, tuple(peers), sealed, commitments),
        UnmaskingRequest(session_id, own_id, own_id, (), confirmations),
    ]
    dealt, taken = sent[:2], received[:2]
    if adversary.needs_identities:
        sent.append(ShareReceipt(session_id, own_id, ()))
        dealt, taken = [*dealt, sent[-1]], received[:3]
        received.append(InputRequest(session_id, own_id, tuple(peers)))
    if adversary.may_equivocate:
        sent.append(Confirmation(session_id, own_id, signature))
        received.append(SurvivorList(session_id, own_id, everyone, everyone))
    sizes = [sum(len(wire.encode(message)) for message in some) for some in (sent, received, dealt, taken)]
    sizes[0] += sum(_beyond_empty(lane.packed_bytes) for lane in config.codecs)
    return Traffic(*sizes)


def _beyond_empty(num_bytes: int) -> int:
    """Return by how much a packed vector is longer on the wire than an empty one: its bytes, and their count's."""
    return num_bytes + (num_bytes > 0xFF) + 2 * (num_bytes > 0xFFFF)
