"""What follows from fixed keys and the messages of `protocol.json`: keys, commitments, digests, and neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from secagg.key_agreement import KeyPair
from secagg.prg import keystream
from secagg.residues import pack, reduce_in_place

from ...masking import derivations
from ...masking.graph import Graph
from ...masking.messages import SHARE_BYTES, AdvertiseKeys, Invitation
from ...masking.topology import GraphKind, Topology

KEYS = tuple(KeyPair(bytes([i]) * 32) for i in range(1, 5))
"""The cipher and the mask keys of clients 1 and 2."""
SELF_MASK_SEED = bytes([9]) * 32
_SHARE = bytes(range(SHARE_BYTES))


def derive(invitation: Invitation, keys: AdvertiseKeys) -> dict[str, str]:
    """Return name -> what is derived, in hexadecimal, or a list of ids.

    Args:
        invitation: of the session.
        keys: what client 1 advertises, which stands for all keys there are.
    """
    session, entry = invitation.session_id, derivations.entry_digest(keys)
    everyone = derivations.roster_digest({1: entry})
    agreed = KEYS[1].agree(KEYS[3].public_bytes)
    one, other = (1, KEYS[1].public_bytes), (2, KEYS[3].public_bytes)
    pairwise = derivations.pairwise_mask_seed(agreed, session, one, other)
    forth, back = derivations.share_encryption_keys(agreed, session, one, other)
    lanes = reduce_in_place(np.frombuffer(keystream(pairwise, 64), dtype="<u4").copy(), 20)
    seed = derivations.graph_seed(session, everyone)
    values = {
        "session_id": session,
        "graph_seed": seed,
        "agreed": agreed,
        "pairwise_mask_seed": pairwise,
        "pairwise_mask_20_bits_16_lanes": pack(lanes, 20),
        "self_mask_stream_seed": derivations.self_mask_stream_seed(session, 1, SELF_MASK_SEED),
        "self_mask_commitment": derivations.self_mask_commitment(session, 1, SELF_MASK_SEED),
        "share_encryption_key_1_to_2": forth,
        "share_encryption_key_2_to_1": back,
        "share_associated_data": derivations.share_associated_data(session, 1, 2),
        "seed_share_commitment_1_to_2": derivations.share_commitment(0, session, 1, 2, _SHARE),
        "key_share_commitment_1_to_2": derivations.share_commitment(1, session, 1, 2, _SHARE),
        "keys_statement": derivations.keys_statement(keys),
        "roster_entry_digest": entry,
        "roster_digest": everyone,
        "roster_seen_digest": derivations.seen_digest(everyone, {1: entry}, [1]),
        "survivors_statement": derivations.survivors_statement(session, everyone, [1, 2, 3], [3, 1]),
    }
    config: Any = invitation.config
    ring = Graph(config.topology, config.num_clients, seed)
    cycles = Graph(Topology(4, 2, GraphKind.RANDOM_CYCLES, 0, ()), config.num_clients, seed)
    everybody = range(1, config.num_clients + 1)
    return (
        {name: value.hex() for name, value in values.items()}
        | {f"neighbours_of_{i}": _listed(ring.neighbours(i)) for i in (1, 2)}
        | {f"neighbours_of_{i}_in_two_cycles": _listed(cycles.neighbours(i)) for i in everybody}
    )


def _listed(ids: Iterable[int]) -> str:
    return ",".join(map(str, sorted(ids)))
