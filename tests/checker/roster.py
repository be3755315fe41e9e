"""SPEC sections 3 and 9: what advertised keys must be, on either side."""

from typing import Any

from .configuration import Session
from .edwards import admitted, verifies
from .primitives import digest, frame, u32
from .refusal import require
from .wire import body

Keys = dict[str, Any]


def keys_statement(keys: Keys) -> bytes:
    return frame(
        "SIGN_KEYS",
        keys["session_id"],
        u32(keys["sender"]),
        keys["cipher_public_key"],
        keys["mask_public_key"],
        keys["self_mask_commitment"],
        keys["confirmation_public_key"] or b"",
    )


def roster_digest(entries: list[Keys]) -> bytes:
    return digest("ROSTER", _entries(entries))


def seen_digest(everyone: bytes, entries: list[Keys]) -> bytes:
    return digest("ROSTER_SEEN", everyone, _entries(entries))


def _entries(entries: list[Keys]) -> bytes:
    ordered = sorted(entries, key=lambda keys: keys["sender"])
    return b"".join(digest("ROSTER_ENTRY", body("advertise-keys", **keys)) for keys in ordered)


def check_signing_key(public: bytes, culprit: int) -> None:
    require(admitted(public), "AuthenticationFailed", culprit)


def check_keys(keys: Keys, session: Session, known: dict[int, bytes]) -> None:
    sender = keys["sender"]
    require((keys["confirmation_public_key"] is not None) == session.equivocates, "MalformedMessage", sender)
    require((keys["signature"] is not None) == session.signed, "MalformedMessage", sender)
    if session.equivocates:
        check_signing_key(keys["confirmation_public_key"], sender)
    if session.signed:
        verified = sender in known and verifies(known[sender], keys_statement(keys), keys["signature"])
        require(verified, "AuthenticationFailed", sender)
