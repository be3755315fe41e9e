"""Committed vectors of the protocol: derivations, messages on the wire, and bytes that break one thing.

The file protocol.json is written by `python -m tests.protocols.masking.test_vectors` and must come out the same.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from protocols.audit.replay.derived import KEYS, SELF_MASK_SEED, derive
from protocols.core import framing
from protocols.core.threat_model import Adversary
from protocols.masking import derivations, wire
from protocols.masking.messages import (
    SEALED_SHARES_BYTES,
    SHARE_BYTES,
    AdvertiseKeys,
    Confirmation,
    InputRequest,
    Invitation,
    MaskedInput,
    Roster,
    ShareDelivery,
    ShareKeys,
    ShareReceipt,
    SurvivorList,
    UnmaskingRequest,
    UnmaskingShares,
)

from .harness import identity, small_config

PATH = Path(__file__).parents[3] / "protocols/audit/vectors/protocol.json"
NONCE = bytes(range(32))
CONFIG = small_config(9, Adversary.SEMI_MALICIOUS_SERVER, dropout=0.2, max_weight=10)
INVITATION = Invitation(1, CONFIG, NONCE)
SESSION_ID = INVITATION.session_id


def advertised() -> AdvertiseKeys:
    keys = AdvertiseKeys(
        SESSION_ID,
        1,
        KEYS[0].public_bytes,
        KEYS[1].public_bytes,
        derivations.self_mask_commitment(SESSION_ID, 1, SELF_MASK_SEED),
    )
    return msgspec.structs.replace(keys, signature=identity(1).sign(derivations.keys_statement(keys)))


EVERYONE = derivations.roster_digest({1: derivations.entry_digest(advertised())})


def messages() -> dict[str, str]:
    sealed, share, signature = bytes(SEALED_SHARES_BYTES), bytes(SHARE_BYTES), bytes(64)
    committed = bytes([1]) * 32 + bytes([2]) * 32
    examples = (
        INVITATION,
        advertised(),
        Roster(SESSION_ID, 1, EVERYONE, (advertised(),)),
        ShareKeys(SESSION_ID, 1, EVERYONE, sealed, committed),
        ShareDelivery(SESSION_ID, 1, (2,), sealed, committed),
        ShareReceipt(SESSION_ID, 1, (2, 300)),
        InputRequest(SESSION_ID, 1, (2, 3)),
        MaskedInput(SESSION_ID, 1, tuple(bytes(lane.packed_bytes) for lane in CONFIG.codecs), (2,)),
        SurvivorList(SESSION_ID, 1, (1, 2, 3, 300), (1, 2, 300)),
        Confirmation(SESSION_ID, 1, signature),
        UnmaskingRequest(SESSION_ID, 1, 8, (4,), {2: signature}),
        UnmaskingShares(SESSION_ID, 1, 2 * share),
    )
    return {type(message).__name__: wire.encode(message).hex() for message in examples}


# Each breaks one thing of the bytes of a Confirmation; (what, where, bytes instead) on the body unless it says header.
BROKEN_BYTES = {
    "another_magic": ("header", 0, "58"),
    "another_version": ("header", 4, "02"),
    "another_digest": ("header", 5, "00"),
    "unknown_tag": ("body", 2, "ff"),
    "sender_zero": ("body", 48, "00"),
    "short_signature": ("body", 50, "3f"),
    "trailing_byte": ("append", 0, "00"),
    "truncated": ("cut", 1, ""),
}


def broken_bytes() -> dict[str, dict[str, str]]:

    good = bytes.fromhex(messages()["Confirmation"])
    head, body = good[: framing.HEADER_BYTES], good[framing.HEADER_BYTES :]
    vectors = {}
    for name, (where, at, replacement) in BROKEN_BYTES.items():
        new = bytes.fromhex(replacement)
        if where == "header":
            vectors[name] = head[:at] + new + head[at + 1 :] + body
            continue
        changed = {"body": body[:at] + new + body[at + 1 :], "append": body + new, "cut": body[:-1]}[where]
        vectors[name] = head[:5] + framing.digest(changed) + changed
    return {name: {"bytes": data.hex(), "error": "MalformedMessage"} for name, data in vectors.items()}


def everything() -> dict[str, object]:
    return {
        "derivations": derive(INVITATION, advertised()),
        "messages": messages(),
        "broken_messages": broken_bytes(),
    }


def rendered() -> str:
    return json.dumps(everything(), indent=1) + "\n"


def test_the_committed_vectors_come_out_the_same():
    assert PATH.read_text() == rendered()


if __name__ == "__main__":
    PATH.write_text(rendered())
