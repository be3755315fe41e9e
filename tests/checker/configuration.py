"""SPEC sections 2, 4, 8 and 28: a configuration as it is written down, and all that follows from it."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from . import lanes, messagepack, topology
from .primitives import derive, digest, ids, stream_lanes, u32
from .private import Drawn, Private, PrivateCounts, PrivateFloats, PrivateVotes
from .refusal import require

Written = list[Any]


@dataclass(frozen=True)
class Lane:
    name: str
    length: int
    codec: lanes.Floats | lanes.Integers | Private
    weighted: bool

    @property
    def packed_bytes(self) -> int:
        return -(-self.length * self.codec.bits // 8)


class Session:
    """A configuration (the array of SPEC section 8) and a nonce: everything that is public from the start."""

    def __init__(self, written: Written, nonce: bytes) -> None:
        (n, corrupt, dropout, adversary), vectors, max_weight, minimum, graph = written
        self.written, self.nonce, self.num_clients, self.max_weight = written, nonce, n, max_weight
        self.adversary, self.corrupt = adversary, corrupt
        self.equivocates, self.signed = adversary != "curious-server", adversary == "malicious-server"
        self.topology = topology.derive(n, corrupt, dropout, adversary, graph)
        self.min_survivors = minimum
        require(self.topology.max_corrupt + 2 <= minimum <= n, "ParameterError")
        left = math.ceil((1 - dropout - topology.SLACK) * n)
        require(self.topology.graph != topology.CYCLES or minimum >= left, "ParameterError")
        self.everyone = b""
        self.id = digest("SESSION", b"\x01", messagepack.encode(written), nonce)
        self.lanes = []
        names = [vector["name"] for vector in vectors]
        require(len({*names, "", "weight", "clipped"}) == len(names) + 3, "ParameterError")
        for vector in vectors:
            weighted = vector.get("weighted", False)
            codec: lanes.Floats | lanes.Integers | Private
            length = vector["length"]
            if vector["type"] == "floats":
                weight = max_weight if weighted else 1
                codec = lanes.Floats(vector["clip"], vector["value_bits"], n, weight, vector["rounding"])
            elif vector["type"] == "integers":
                codec = lanes.Integers(vector["max_value"], n, vector["min_value"])
            else:
                codec = self._private(vector, vectors, n)
                length = codec.dimension
            self.lanes.append(Lane(vector["name"], length, codec, weighted))
        self._check_private()
        if any(lane.weighted for lane in self.lanes):
            self.lanes.append(Lane("weight", 1, lanes.Integers(max_weight, n), weighted=False))
        floats = [vector["length"] for vector in vectors if vector["type"] == "floats"]
        if floats:
            self.lanes.append(Lane("clipped", len(floats), lanes.Integers(max(1, *floats), n), weighted=False))

    @staticmethod
    def _private(vector: dict[str, Any], vectors: list[dict[str, Any]], n: int) -> Private:
        match vector["type"]:
            case "private-floats":
                return PrivateFloats(vector, n)
            case "private-counts":
                return PrivateCounts(vector, n)
        return PrivateVotes(vector, n, vectors)

    def _check_private(self) -> None:
        private = [isinstance(lane.codec, Private) for lane in self.lanes]
        if any(private):
            require(all(private), "ParameterError")
            units = {lane.codec.unit for lane in self.lanes if isinstance(lane.codec, Private)}
            require(len(units) == 1, "ParameterError")
            require(self.topology.complete or not self.equivocates, "ParameterError")

    @cached_property
    def neighbours(self) -> dict[int, set[int]]:
        """Known once everyone's keys are."""
        seed = digest("GRAPH", self.id, self.everyone)
        return {i: topology.neighbours(self.topology, seed, i) for i in range(1, self.num_clients + 1)}

    def holders(self, client: int) -> set[int]:
        return self.neighbours[client] | ({client} if self.topology.complete else set())

    @property
    def max_request_bytes(self) -> int:
        return 21 + 512 * (self.topology.degree + 2) + 10 * self.num_clients + 65536

    @property
    def max_bytes(self) -> int:
        return self.max_request_bytes + sum(lane.packed_bytes for lane in self.lanes)

    def stream(self, seed: bytes) -> list[list[int]]:
        """A mask over all lanes, reduced."""
        shapes = [(lane.length, lanes.lane_bytes(lane.codec.bits)) for lane in self.lanes]
        return [
            [value % 2**lane.codec.bits for value in values]
            for values, lane in zip(stream_lanes(seed, shapes), self.lanes, strict=True)
        ]

    def add(self, sums: list[list[int]], terms: list[list[int]], sign: int = 1) -> None:
        for lane, total, term in zip(self.lanes, sums, terms, strict=True):
            total[:] = [(a + sign * b) % 2**lane.codec.bits for a, b in zip(total, term, strict=True)]

    def self_mask(self, client: int, seed: bytes) -> list[list[int]]:
        return self.stream(derive(seed, "SELF_MASK", self.id, u32(client)))

    def pairwise_mask(self, agreed: bytes, ends: list[tuple[int, bytes]]) -> list[list[int]]:
        (low, low_key), (high, high_key) = sorted(ends)
        return self.stream(derive(agreed, "PAIRWISE_MASK", self.id, u32(low), low_key, u32(high), high_key))

    def commitment(self, client: int, seed: bytes) -> bytes:
        return digest("SELF_MASK_COMMITMENT", self.id, u32(client), seed)

    def share_commitments(self, dealer: int, holder: int, seed_share: bytes, key_share: bytes) -> bytes:
        bound = self.id, u32(dealer), u32(holder)
        return digest("SEED_SHARE_COMMITMENT", *bound, seed_share) + digest("KEY_SHARE_COMMITMENT", *bound, key_share)

    def survivors_parts(self, shared: set[int], survivors: set[int]) -> list[bytes]:
        return [self.id, self.everyone, *(hashlib.sha256(ids(sorted(each))).digest() for each in (shared, survivors))]

    def rotation(self, name: str) -> bytes:
        return digest("ROTATION", self.id, name.encode())

    def encode(
        self, values: dict[str, list[Any]], weight: int, seeds: dict[str, bytes], drawn: dict[str, Drawn]
    ) -> list[list[int]]:
        out, clipped = [], list[int]()
        voted = {vector["name"]: vector["of"] for vector in self.written[1] if vector["type"] == "private-votes"}
        for lane in self.lanes:
            source = voted.get(lane.name, lane.name)
            given = {"weight": [weight], "clipped": clipped}.get(lane.name) or values.get(source, [])
            if isinstance(lane.codec, Private):
                out.append(lane.codec.encode(given, self.rotation(lane.name), drawn[lane.name]))
                continue
            require(len(given) == lane.length, "EncodingError")
            if isinstance(lane.codec, lanes.Integers):
                out.append(list(lane.codec.encode(given)))
            else:
                residues, changed = lane.codec.encode(given, weight if lane.weighted else 1, seeds[lane.name])
                out.append(residues)
                clipped.append(changed)
        return out
