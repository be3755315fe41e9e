"""Committed vectors of the protocol: derivations, messages on the wire, and requests that break one thing.

The file protocol.json is written by `python -m tests.protocols.masking.test_vectors` and must come out the same.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from protocols.core import framing
from protocols.core.threat_model import Adversary
from protocols.masking import derivations, wire
from protocols.masking.graph import Graph
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
from protocols.masking.topology import GraphKind, Topology
from secagg import errors
from secagg.key_agreement import KeyPair
from secagg.prg import keystream
from secagg.residues import pack, reduce_in_place

from .harness import identity, session_after, small_config

PATH = Path(__file__).parents[3] / "protocols/audit/vectors/protocol.json"
NONCE = bytes(range(32))
CONFIG = small_config(9, Adversary.SEMI_MALICIOUS_SERVER, dropout=0.2, max_weight=10)
INVITATION = Invitation(1, CONFIG, NONCE)
SESSION_ID = INVITATION.session_id
KEYS = [KeyPair(bytes([i]) * 32) for i in range(1, 5)]
SEED = bytes([9]) * 32
SHARE = bytes(range(SHARE_BYTES))


def advertised() -> AdvertiseKeys:
    keys = AdvertiseKeys(
        SESSION_ID,
        1,
        KEYS[0].public_bytes,
        KEYS[1].public_bytes,
        derivations.self_mask_commitment(SESSION_ID, 1, SEED),
    )
    return msgspec.structs.replace(keys, signature=identity(1).sign(derivations.keys_statement(keys)))


EVERYONE = derivations.roster_digest({1: derivations.entry_digest(advertised())})


def derived() -> dict[str, str]:
    agreed = KEYS[1].agree(KEYS[3].public_bytes)
    one, other = (1, KEYS[1].public_bytes), (2, KEYS[3].public_bytes)
    pairwise = derivations.pairwise_mask_seed(agreed, SESSION_ID, one, other)
    forth, back = derivations.share_encryption_keys(agreed, SESSION_ID, one, other)
    assert derivations.share_encryption_keys(agreed, SESSION_ID, other, one) == (back, forth)
    lanes = reduce_in_place(np.frombuffer(keystream(pairwise, 64), dtype="<u4").copy(), 20)
    values = {
        "session_id": SESSION_ID,
        "graph_seed": derivations.graph_seed(SESSION_ID, EVERYONE),
        "agreed": agreed,
        "pairwise_mask_seed": pairwise,
        "pairwise_mask_20_bits_16_lanes": pack(lanes, 20),
        "self_mask_stream_seed": derivations.self_mask_stream_seed(SESSION_ID, 1, SEED),
        "self_mask_commitment": derivations.self_mask_commitment(SESSION_ID, 1, SEED),
        "share_encryption_key_1_to_2": forth,
        "share_encryption_key_2_to_1": back,
        "share_associated_data": derivations.share_associated_data(SESSION_ID, 1, 2),
        "seed_share_commitment_1_to_2": derivations.share_commitment(0, SESSION_ID, 1, 2, SHARE),
        "key_share_commitment_1_to_2": derivations.share_commitment(1, SESSION_ID, 1, 2, SHARE),
        "keys_statement": derivations.keys_statement(advertised()),
        "roster_entry_digest": derivations.entry_digest(advertised()),
        "roster_digest": EVERYONE,
        "roster_seen_digest": derivations.seen_digest(EVERYONE, {1: derivations.entry_digest(advertised())}, [1]),
        "survivors_statement": derivations.survivors_statement(SESSION_ID, EVERYONE, [1, 2, 3], [3, 1]),
    }
    graph = Graph(CONFIG.topology, 9, derivations.graph_seed(SESSION_ID, EVERYONE))
    cycles = Graph(Topology(4, 2, GraphKind.RANDOM_CYCLES, 0, ()), 9, derivations.graph_seed(SESSION_ID, EVERYONE))
    return (
        {name: value.hex() for name, value in values.items()}
        | {f"neighbours_of_{i}": _listed(graph.neighbours(i)) for i in (1, 2)}
        | {f"neighbours_of_{i}_in_two_cycles": _listed(cycles.neighbours(i)) for i in range(1, 10)}
    )


def _listed(ids: frozenset[int]) -> str:
    return ",".join(map(str, sorted(ids)))


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

# Each changes one field of a valid unmasking request to client 1 of a complete graph of six, in which client 3 dropped.
BROKEN_REQUESTS = {
    "valid": ({}, None),
    "repeated_id": ({"dropped": [3, 3]}, "ContradictoryRequest"),
    "own_id": ({"dropped": [1, 3], "num_survivors": 4}, "ContradictoryRequest"),
    "stranger": ({"dropped": [3, 7], "num_survivors": 4}, "ContradictoryRequest"),
    "too_many_survivors_claimed": ({"num_survivors": 6}, "ContradictoryRequest"),
    "too_few_survivors": ({"dropped": [2, 3, 4, 5, 6], "num_survivors": 1}, "ThresholdError"),
    "another_session": ({"session_id": "00" * 32}, "UnexpectedMessage"),
    "another_recipient": ({"recipient": 2}, "UnexpectedMessage"),
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
        "derivations": derived(),
        "messages": messages(),
        "broken_messages": broken_bytes(),
        "unmasking_requests": {
            name: {"change": change, "error": error} for name, (change, error) in BROKEN_REQUESTS.items()
        },
    }


def rendered() -> str:
    return json.dumps(everything(), indent=1) + "\n"


VECTORS = json.loads(PATH.read_text()) if PATH.exists() else everything()


def test_the_committed_vectors_come_out_the_same():
    assert PATH.read_text() == rendered()


@pytest.mark.parametrize("name", VECTORS["unmasking_requests"])
def test_broken_unmasking_requests_are_refused(name):
    vector = VECTORS["unmasking_requests"][name]
    config = small_config(6, complete_graph=True, dropout=0.34)
    session = session_after(3, config, silent={3})
    fields = {
        key: bytes.fromhex(value) if key == "session_id" else tuple(value) if isinstance(value, list) else value
        for key, value in vector["change"].items()
    }
    request = session.message(1, **fields)
    if vector["error"] is None:
        held = session.state(1).shares
        response = session.say(1, request)
        assert response.shares[2 * SHARE_BYTES : 3 * SHARE_BYTES] == held[3][1]
        return
    with pytest.raises(getattr(errors, vector["error"])):
        session.say(1, request)


if __name__ == "__main__":
    PATH.write_text(rendered())
