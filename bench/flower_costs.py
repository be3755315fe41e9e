"""What a round of many clients costs by Flower's SecAgg+: a whole client measured, a server counted up by its steps."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.peers.environments import FLOWER, Peer, PeerMissingError

SCALED = "scaled: processor time of each step of the server, times how often it runs; its messages left out"
NAME = "Flower 1.41 SecAgg+"


@dataclass(frozen=True)
class FlowerCost:
    """Seconds of a client and of the server, and the bytes that a client sends."""

    client_seconds: float
    server_seconds: float
    sent_bytes: int


@contextmanager
def flower_rounds() -> Iterator[Peer | str]:
    """Yield Flower, or why it cannot be had."""
    try:
        peer = Peer(FLOWER, "flower_round.py", {})
    except PeerMissingError as error:
        yield str(error)
        return
    with peer:
        yield peer


def cost(
    peer: Peer, *, clients: int, dropped: int, degree: int, threshold: int, length: int, samples: int = 3
) -> FlowerCost:
    """Measure on the same graph and thresholds; Flower's server also makes the masks between two dropped clients."""
    survivors = clients - dropped
    asked = {
        "degree": degree,
        "threshold": threshold,
        "length": length,
        "num_clients": clients,
        "answers": max(threshold, round((degree + 1) * survivors / clients)),
    }
    runs = [peer.run(**asked) for _ in range(samples)]
    step = {name: statistics.median(run["steps"][name] for run in runs) for name in runs[0]["steps"]}
    server = survivors * (step["add"] + step["combine a seed"] + step["mask"])
    server += dropped * (step["combine a key"] + degree * (step["agree"] + step["mask"]))
    return FlowerCost(statistics.median(run["client"] for run in runs), server, runs[0]["sent"])
