"""Replays the vectors in protocol.json: what is derived from the keys that its notes name, and single messages."""

from typing import Any

from . import wire
from .configuration import Session
from .findings import agree
from .lanes import pack
from .primitives import agree as x25519_agree
from .primitives import derive, digest, frame, public_key, stream_lanes, u32
from .refusal import Refused
from .roster import keys_statement, roster_digest, seen_digest
from .topology import Topology, neighbours


def check(vector: dict[str, Any]) -> int:
    """The private keys are 32 bytes of 1, 2, 3, 4 (2 and 4 for masks), the self-mask seed 32 bytes of 9."""
    raw = {name: bytes.fromhex(data) for name, data in vector["messages"].items()}
    read = {name: wire.decode(data, wire.MESSAGES, 1 << 16)[1] for name, data in raw.items()}
    for name, data in raw.items():
        tag = wire.decode(data, wire.MESSAGES, 1 << 16)[0]
        agree(name, wire.encode(tag, **read[name]).hex(), data.hex())
    invitation, keys = read["Invitation"], read["AdvertiseKeys"]
    session = Session(invitation["config"], invitation["nonce"])
    private = [bytes([i]) * 32 for i in range(1, 5)]
    public = [public_key(key) for key in private]
    seed, agreed = bytes([9]) * 32, x25519_agree(private[1], public[3])
    one, other = [u32(1), public[1]], [u32(2), public[3]]
    pairwise = derive(agreed, "PAIRWISE_MASK", session.id, *one, *other)
    sealing = derive(agreed, "SHARE_ENCRYPTION", session.id, *one, *other, length=64)
    (lanes,) = stream_lanes(pairwise, [(16, 4)])
    session.everyone = roster_digest([keys])
    ours = {
        "session_id": session.id,
        "graph_seed": digest("GRAPH", session.id, session.everyone),
        "agreed": agreed,
        "pairwise_mask_seed": pairwise,
        "pairwise_mask_20_bits_16_lanes": pack([lane % 2**20 for lane in lanes], 20),
        "self_mask_stream_seed": derive(seed, "SELF_MASK", session.id, u32(1)),
        "self_mask_commitment": session.commitment(1, seed),
        "share_encryption_key_1_to_2": sealing[:32],
        "share_encryption_key_2_to_1": sealing[32:],
        "share_associated_data": frame("SHARE_ENCRYPTION", session.id, u32(1), u32(2)),
        "seed_share_commitment_1_to_2": session.share_commitments(1, 2, bytes(range(36)), b"")[:32],
        "key_share_commitment_1_to_2": session.share_commitments(1, 2, b"", bytes(range(36)))[32:],
        "keys_statement": keys_statement(keys),
        "roster_entry_digest": digest("ROSTER_ENTRY", wire.body("advertise-keys", **keys)),
        "roster_digest": session.everyone,
        "roster_seen_digest": seen_digest(session.everyone, [keys]),
        "survivors_statement": frame("SIGN_SURVIVORS", *session.survivors_parts({1, 2, 3}, {1, 3})),
    }
    derived = {name: value.hex() for name, value in ours.items()}
    for i in (1, 2):
        derived[f"neighbours_of_{i}"] = ",".join(map(str, sorted(session.neighbours[i])))
    cycles = Topology(9, 4, 2, 0, "random-cycles", 0)
    for i in range(1, 10):
        around = sorted(neighbours(cycles, digest("GRAPH", session.id, session.everyone), i))
        derived[f"neighbours_of_{i}_in_two_cycles"] = ",".join(map(str, around))
    agree("derivations", derived, vector["derivations"])
    for name, case in vector["broken_messages"].items():
        try:
            wire.decode(bytes.fromhex(case["bytes"]), {"confirmation": wire.MESSAGES["confirmation"]}, 1 << 16)
        except Refused as refused:
            agree(name, refused.error, case["error"])
        else:
            agree(name, "accepted", case["error"])
    return len(raw) + len(derived) + len(vector["broken_messages"])
