"""A round by the `secagg` command at given sizes, what follows from them about its work, and its cost by Flower."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import cached_property

from bench.command import Run, run_secagg
from bench.floors import processor_seconds, whole_round_seconds
from bench.flower_costs import FlowerCost, cost
from bench.peers.environments import Peer
from bench.side_by_side import size
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.masking.topology import GraphKind, Topology, derive_topology
from secagg.residues import lane_dtype

GIB = 1 << 30
VALUE_BITS = 16


@dataclass(frozen=True)
class Sizes:
    """A round's arguments, and what follows from them about its work."""

    clients: int
    dim: int
    dropout: float
    corrupt: float = 0.1
    adversary: Adversary = Adversary.CURIOUS_SERVER
    """The peers' adversary, so that like is compared with like; the defaults of this library withstand more."""

    @property
    def model(self) -> ThreatModel:
        return ThreatModel(self.clients, self.corrupt, self.dropout, self.adversary)

    @cached_property
    def topology(self) -> Topology:
        return derive_topology(self.model)

    @property
    def mean_degree(self) -> float:
        """How many neighbours a client has on average: two cycles give it the same one now and then."""
        others = self.clients - 1
        return others * (1 - (1 - 2 / others) ** (self.topology.degree / 2))

    @property
    def degree(self) -> int:
        return round(self.mean_degree)

    @property
    def threshold(self) -> int:
        return self.topology.threshold

    @property
    def survivors(self) -> int:
        return self.clients - self.model.max_dropouts

    @property
    def orphaned_pairs(self) -> float:
        """Expected: the graph is drawn anew in each session, and the dropped are each other's neighbours by chance."""
        return (self.clients - self.survivors) * self.mean_degree * self.survivors / (self.clients - 1)

    @property
    def mask_bytes(self) -> int:
        return self.dim * lane_dtype(VALUE_BITS + (self.clients - 1).bit_length()).itemsize

    @property
    def server_masks(self) -> int:
        return round(self.survivors + self.orphaned_pairs)

    @property
    def client_masks(self) -> int:
        """A self mask and one a neighbour for each survivor; the dropped vanish before they mask."""
        return self.survivors * (1 + self.degree)

    @property
    def multiplications(self) -> int:
        """Two key pairs a client, a secret a neighbour for each of them that is used, orphaned pairs, rebuilt keys."""
        dropped = self.clients - self.survivors
        own = self.clients * (2 + self.degree) + self.survivors * self.degree
        return round(own + self.orphaned_pairs + dropped)

    def run(self, *more: str) -> Run:
        run = run_secagg(
            "round",
            *("--clients", str(self.clients)),
            *("--dim", str(self.dim)),
            *("--dropout", str(self.dropout)),
            *("--corrupt", str(self.corrupt)),
            *("--adversary", str(self.adversary)),
            *("--graph", str(GraphKind.RANDOM_CYCLES)),
            *more,
        )
        facts = run.facts
        assert facts["exact"] is True
        assert (facts["clients"], facts["survivors"]) == (self.clients, self.survivors)
        assert facts["degree"] == self.topology.degree
        assert lane_dtype(facts["modulus_bits"]).itemsize * self.dim == self.mask_bytes
        return run

    def __str__(self) -> str:
        return f"{self.clients:,} clients, {self.dim:,} numbers, {self.dropout:.0%} dropped, degree {self.degree}"

    @property
    def raw_bytes(self) -> float:
        """Of a client's vector in clear."""
        return self.dim * VALUE_BITS / 8

    @property
    def dropped(self) -> int:
        return self.clients - self.survivors

    def server_floor(self, threads: int = 1) -> float:
        """Seconds of the AES and X25519 that the server must do; the median of some."""
        masks, pairs = self.server_masks * self.mask_bytes, round(self.orphaned_pairs)
        return statistics.median(sum(whole_round_seconds(masks, pairs, threads)) for _ in range(3))

    def client_floor(self) -> float:
        """Seconds of a processor for the AES and X25519 that a client must do; the median of some."""
        masks, keys = (1 + self.degree) * self.mask_bytes, 2 + 2 * self.degree
        return statistics.median(processor_seconds(masks, keys) for _ in range(5))

    def by_flower(self, flower: Peer, samples: int = size(3, 1, quick=1)) -> FlowerCost:
        """The same round and graph by Flower's functions, and the threshold, unless dropouts leave it too few shares.

        A client holds no share of its own there, so that where everyone is everyone's neighbour there is one less.
        """
        left = self.degree - math.ceil(self.degree * self.dropout) - 1
        return cost(
            flower,
            clients=self.clients,
            dropped=self.dropped,
            degree=self.degree,
            threshold=max(2, min(self.threshold, left)),
            length=self.dim,
            samples=samples,
        )
