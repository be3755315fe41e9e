"""The server's unmasking on the complete graph, against Flower's own server arithmetic on the same work."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from bench.floors import encrypt_raw, multiply_raw
from bench.flower_costs import NAME
from bench.peers.environments import FLOWER, Peer, PeerMissingError
from bench.side_by_side import Timings, clocked, size, take_turns
from bench.suite.findings import Finding, Rival, Row
from protocols.core.threat_model import ThreatModel
from protocols.masking import derivations
from protocols.masking.messages import AdvertiseKeys
from protocols.masking.server import unmasking
from protocols.masking.topology import GraphKind, derive_topology
from secagg import masking, shamir
from secagg.key_agreement import KeyPair
from secagg.prg import cpu_count
from secagg.residues import reduce_in_place

NUM_CLIENTS = size(50, 20, quick=30)
NUM_DROPPED = size(5, 2, quick=3)
LENGTH = size(100_000, 1_000, quick=50_000)
TURNS = size(3, 1, quick=1)
MODULUS_BITS = 32
VALUE_RANGE = 1 << 16


class Session:
    """What our server holds when the last shares have arrived; the masked sum is made by masking as clients do."""

    def __init__(self, threshold: int) -> None:
        clients = range(1, NUM_CLIENTS + 1)
        self.threshold = threshold
        self.session_id = os.urandom(32)
        self.dropped = list(clients)[:: NUM_CLIENTS // NUM_DROPPED][:NUM_DROPPED]
        self.survivors = [client for client in clients if client not in self.dropped]
        keys = {client: KeyPair.generate() for client in clients}
        seeds = {client: os.urandom(32) for client in clients}
        self.advertised = {
            client: AdvertiseKeys(
                session_id=self.session_id,
                sender=client,
                cipher_public_key=os.urandom(32),  # plays no part in unmasking
                mask_public_key=keys[client].public_bytes,
                self_mask_commitment=derivations.self_mask_commitment(self.session_id, client, seeds[client]),
            )
            for client in clients
        }
        seed_shares = {c: shamir.split(seeds[c], threshold=threshold, indices=clients) for c in self.survivors}
        key_shares = {
            c: shamir.split(keys[c].private_bytes, threshold=threshold, indices=clients) for c in self.dropped
        }
        shares = seed_shares | key_shares
        self.responses = [
            (holder, clients, b"".join([shares[owner][holder] for owner in clients])) for holder in self.survivors
        ]
        rng = np.random.default_rng()
        self.plain_sum = np.zeros(LENGTH, dtype=np.uint32)
        self.masked_sum = np.zeros(LENGTH, dtype=np.uint32)
        for client in self.survivors:
            vector = rng.integers(0, VALUE_RANGE, LENGTH, dtype=np.uint32)
            self.plain_sum += vector
            end = (client, keys[client].public_bytes)
            pairwise = {
                peer: derivations.pairwise_mask_seed(
                    keys[client].agree(keys[peer].public_bytes), self.session_id, end, (peer, keys[peer].public_bytes)
                )
                for peer in clients
                if peer != client
            }
            own = derivations.self_mask_stream_seed(self.session_id, client, seeds[client])
            masking.mask([vector], client_id=client, self_mask_seed=own, pairwise_seeds=pairwise)
            self.masked_sum += vector
        self.sums = self.masked_sum.copy()

    def prepare(self) -> None:
        self.sums = self.masked_sum.copy()

    def unmask(self) -> None:
        """What Server does when it closes its last round, from shares to the unmasked sum."""
        given = unmasking.Given(self.responses)
        recovered = unmasking.recover(
            self.session_id,
            self.advertised,
            lambda dealer: {},  # read where a share is wrong, and none is
            given,
            survivors=self.survivors,
            dropped=self.dropped,
            threshold=self.threshold,
        )
        unmasking.remove_masks(
            [self.sums],
            self.session_id,
            self.advertised,
            recovered,
            orphans=dict.fromkeys(self.dropped, self.survivors),
        )
        reduce_in_place(self.sums, MODULUS_BITS)

    def is_right(self) -> bool:
        return np.array_equal(self.sums, self.plain_sum)


@pytest.fixture
def flower() -> Iterator[Peer | str]:
    """Flower, or why it cannot be had."""
    parameters = {"num_clients": NUM_CLIENTS, "threshold": _threshold(), "length": LENGTH, "num_dropped": NUM_DROPPED}
    try:
        peer = Peer(FLOWER, "flower_unmasking.py", parameters)
    except PeerMissingError as error:
        yield str(error)
        return
    with peer:
        yield peer


def test_server_unmasking(benchmark, report, flower):
    session = Session(_threshold())
    assert not session.is_right()
    first = clocked(session.unmask)()
    assert session.is_right()
    if isinstance(flower, Peer):
        assert flower.prepared == {"survivors": len(session.survivors), "shares_each": [NUM_CLIENTS]}

    pairs = len(session.survivors) * len(session.dropped)
    num_masks = len(session.survivors) + pairs
    cores = cpu_count()
    runs = []

    def flowers_turn() -> float:
        runs.append(flower.run())
        assert runs[-1]["correct"]
        return runs[-1]["seconds"]

    def our_turn() -> float:
        seconds = clocked(session.unmask)()
        assert session.is_right()
        return seconds

    floors = {
        "AES": clocked(lambda: encrypt_raw(num_masks * session.sums.nbytes)),
        "X25519": clocked(lambda: multiply_raw(pairs)),
        "AES on all": clocked(lambda: encrypt_raw(num_masks * session.sums.nbytes, cores)),
        "X25519 on all": clocked(lambda: multiply_raw(pairs, cores)),
    }
    flowers = {
        "Flower": flowers_turn,
        "Flower without pairs of dropped": lambda: runs[-1]["seconds"] - runs[-1]["between_dropped"],
    }
    there = isinstance(flower, Peer)
    timings = take_turns(benchmark, our_turn, (flowers if there else {}) | floors, turns=TURNS, prepare=session.prepare)
    finding = Finding(
        f"Server unmasking, n={NUM_CLIENTS}, complete graph, threshold {session.threshold}, {LENGTH:,} numbers, "
        f"{NUM_DROPPED} dropped"
    )
    finding.add("ours", timings.median("ours"), "s")
    finding.add("ours, the first in the session", first, "s")
    if there:
        _add_flower(finding, timings, runs[-1]["parts"])
    else:
        finding.notes.append(f"without Flower: {flower}")
    finding.add("AES and X25519 floors on one core", timings.median("AES") + timings.median("X25519"), "s")
    finding.add_ratio("ours / floors on one core", timings.ratio_to_sum("ours", "AES", "X25519"))
    finding.add_ratio(f"ours / floors on {cores} cores", timings.ratio_to_sum("ours", "AES on all", "X25519 on all"))
    finding.notes += [
        f"both take {len(session.survivors)} shares of each of {NUM_CLIENTS} secrets and remove "
        f"{len(session.survivors)} self masks and {pairs} pairwise ones; Flower also computes the masks between two "
        "dropped clients, which cancel",
        "Flower's masks come from 32-bit seeds; its private keys are shared as PEM text, ours as 32 bytes",
        "ours checks every secret against what its owner advertised; Flower checks none",
    ]
    peer = timings.peer("Flower", NAME) if there else Rival(NAME, note=str(flower))
    limit = timings.limit(f"AES and X25519, {cores} cores", "AES on all", "X25519 on all")
    what = f"unmasking: {NUM_CLIENTS} clients, {LENGTH:,} numbers, {NUM_DROPPED} vanished, complete graph"
    finding.rows.append(Row(what, "s", timings.median("ours"), peer, limit))
    report(finding)


def _add_flower(finding: Finding, timings: Timings, parts: dict[str, float]) -> None:
    finding.add("Flower", timings.median("Flower"), "s")
    for name, seconds in parts.items():
        finding.add(f"Flower: {name}", seconds, "s")
    ratio = timings.ratio("Flower", "ours")
    finding.add_ratio("Flower / ours", ratio, asked="at least 100", met=ratio.median >= 100)
    finding.add_ratio(
        "Flower without masks between two dropped / ours", timings.ratio("Flower without pairs of dropped", "ours")
    )


def _threshold() -> int:
    model = ThreatModel(NUM_CLIENTS, corrupt_fraction=0.1, dropout_fraction=NUM_DROPPED / NUM_CLIENTS)
    return derive_topology(model, GraphKind.COMPLETE).threshold
