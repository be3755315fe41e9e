"""The same sum by TenSEAL's homomorphic encryption (CKKS), where whoever holds the key could read every vector."""

from __future__ import annotations

from typing import Any

import pytest

from bench.command import Run
from bench.peers.environments import TENSEAL, Peer, PeerMissingError
from bench.rounds import Sizes
from bench.side_by_side import limit, peer, size, take_turns
from bench.suite.findings import Finding, Row

pytestmark = pytest.mark.long

SIZES = Sizes(size(100, 10, quick=30), size(100_000, 2_000, quick=50_000), 0.0)
TURNS = size(3, 1, quick=1)
NAME = "TenSEAL 0.3.18, CKKS"
LOST = 1e-3
"""More error than this in a sum is a fault of how it is called, and no approximation."""


def test_sum_against_ckks(benchmark, report):
    runs: list[Run] = []
    theirs: list[dict[str, Any]] = []

    def our_turn() -> float:
        runs.append(SIZES.run())
        return runs[-1].facts["seconds"]["wall"]

    missing = ""
    try:
        with Peer(TENSEAL, "tenseal_sum.py", {}) as tenseal:

            def their_turn() -> float:
                theirs.append(tenseal.run(num_clients=SIZES.clients, length=SIZES.dim))
                assert theirs[-1]["error"] < LOST
                return theirs[-1]["client"]

            take_turns(benchmark, our_turn, {NAME: their_turn}, turns=TURNS)
    except PeerMissingError as error:
        missing = str(error)
        take_turns(benchmark, our_turn, {}, turns=TURNS)

    def median(figures: list[float]) -> float:
        return sorted(figures)[len(figures) // 2]

    def their(name: str) -> float | str:
        return missing or median([run[name] for run in theirs])

    seconds = [run.facts["seconds"] for run in runs]
    server, client = median([of["server"] for of in seconds]), median([of["client_mean"] for of in seconds])
    sent = median([run.facts["bytes"]["client_sent_mean"] for run in runs])
    their_server = missing or median([run["add"] + run["decrypt"] for run in theirs])
    what = f"{SIZES.clients} clients, {SIZES.dim:,} numbers, none vanishes"
    aes = "AES and X25519, 1 core"
    finding = Finding(f"A sum under homomorphic encryption: {what}")
    finding.rows = [
        Row(
            f"{what}: a client",
            "s",
            client,
            peer(NAME, their("client"), client),
            limit(aes, SIZES.client_floor(), client),
        ),
        Row(
            f"{what}: the server",
            "s",
            server,
            peer(NAME, their_server, server, "the server adds and the key holder decrypts"),
            limit(aes, SIZES.server_floor(), server),
        ),
        Row(
            f"{what}: a client sends",
            "bytes",
            sent,
            peer(NAME, their("sent"), sent),
            limit("the vector in clear, 16 bits", SIZES.raw_bytes, sent),
        ),
    ]
    finding.add("ours, a client", client, "s")
    finding.add("ours, the server", server, "s")
    finding.add("ours, a client sends", sent / 1024, "KiB")
    if missing:
        finding.notes.append(f"without {NAME}: {missing}")
    else:
        finding.add(f"{NAME}, a client encrypts", their("client"), "s")
        finding.add(f"{NAME}, the server adds", their("add"), "s")
        finding.add(f"{NAME}, the key holder decrypts", their("decrypt"), "s")
        finding.add(f"{NAME}, a client sends", median([run["sent"] for run in theirs]) / 1024, "KiB")
        finding.add(f"{NAME}, largest error of a sum", their("error"))
        finding.notes += [
            "CKKS in a ring of 4096 with 54 bits, the smallest for sums at 128-bit security; processor time",
            "there, whoever holds the key can decrypt each single vector, sums are approximate, and no dropout has to "
            "be repaired; ours is exact, and nobody can read a single vector",
        ]
    report(finding)
