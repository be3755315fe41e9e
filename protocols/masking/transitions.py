"""The state tables, and nothing else: which message is legal when, and what comes after it."""

from __future__ import annotations

from enum import StrEnum


class ClientPhase(StrEnum):
    """What a client has done last."""

    INVITED = "invited"
    ADVERTISED = "advertised"
    SHARED = "shared"
    ACCEPTED = "accepted"
    MASKED = "masked"
    CONFIRMED = "confirmed"
    COMPLETED = "completed"
    ABORTED = "aborted"


class ServerPhase(StrEnum):
    """Which round the server is collecting."""

    ADVERTISE_KEYS = "advertise-keys"
    SHARE_KEYS = "share-keys"
    ACCEPT_SHARES = "accept-shares"
    MASKED_INPUT = "masked-input"
    CONSISTENCY_CHECK = "consistency-check"
    UNMASKING = "unmasking"
    COMPLETED = "completed"
    ABORTED = "aborted"


CLIENT_TRANSITIONS: dict[tuple[ClientPhase, str], tuple[ClientPhase, ...]] = {
    (ClientPhase.INVITED, "invitation"): (ClientPhase.ADVERTISED,),
    (ClientPhase.ADVERTISED, "roster"): (ClientPhase.SHARED,),
    (ClientPhase.SHARED, "share-delivery"): (ClientPhase.ACCEPTED, ClientPhase.MASKED),
    (ClientPhase.ACCEPTED, "input-request"): (ClientPhase.MASKED,),
    (ClientPhase.MASKED, "survivor-list"): (ClientPhase.CONFIRMED,),
    (ClientPhase.MASKED, "unmasking-request"): (ClientPhase.COMPLETED,),
    (ClientPhase.CONFIRMED, "unmasking-request"): (ClientPhase.COMPLETED,),
}
"""(phase, tag of the message) -> what may be next. A session against a malicious server goes by way of ACCEPTED, and no
other. From MASKED one against a server that may equivocate goes by way of CONFIRMED, and no other. A step that fails
leads to ABORTED."""

SERVER_TRANSITIONS: dict[tuple[ServerPhase, str], ServerPhase] = {
    (ServerPhase.ADVERTISE_KEYS, "advertise-keys"): ServerPhase.SHARE_KEYS,
    (ServerPhase.SHARE_KEYS, "share-keys"): ServerPhase.MASKED_INPUT,
    (ServerPhase.ACCEPT_SHARES, "share-receipt"): ServerPhase.MASKED_INPUT,
    (ServerPhase.MASKED_INPUT, "masked-input"): ServerPhase.UNMASKING,
    (ServerPhase.CONSISTENCY_CHECK, "confirmation"): ServerPhase.UNMASKING,
    (ServerPhase.UNMASKING, "unmasking-shares"): ServerPhase.COMPLETED,
}
"""(phase, tag of the message that it collects) -> the phase after close_phase(). A session against a malicious
server puts ACCEPT_SHARES between SHARE_KEYS and MASKED_INPUT, one against a server that may equivocate puts
CONSISTENCY_CHECK between MASKED_INPUT and UNMASKING. Below its threshold a round leads to ABORTED."""
