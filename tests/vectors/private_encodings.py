"""The vectors of SPEC section 27: private encodings at their edges, and vectors that are cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dp import rotation
from protocols.audit.replay.private_operations import codec_of

Case = dict[str, Any]
SEED, OTHER = bytes(range(32)).hex(), bytes(range(32, 64)).hex()


def floats(length: int, l2_clip: float, scale: float, local_sigma: float = 100.0) -> Case:
    numbers = {"l2_clip": l2_clip.hex(), "scale": scale.hex(), "local_sigma": local_sigma.hex()}
    return {"type": "private-floats", "length": length} | numbers


def counts(length: int, max_total: int, scale: int, local_sigma: float = 100.0, least_count: int = 0) -> Case:
    given = {"type": "private-counts", "length": length, "max_total": max_total, "scale": scale}
    return given | {"local_sigma": local_sigma.hex(), "least_count": least_count}


def cases() -> Iterator[tuple[str, str, Case]]:
    for name, vector, clients, summands in _encodings():
        yield name, "private_encoding", {"vector": vector, "clients": clients, "summands": summands}
    yield from _prepared()
    yield from _decoded()
    votes = counts(12, 5, 4, least_count=3)
    levels = [0, 2, 6, 10, 14, 18, 22, 11, 12, 13, -2, -40]
    for least in (0, 2, 3):
        given = {"vector": votes | {"least_count": least}, "clients": 10, "levels": levels}
        yield f"ties to even, least count {least}", "released_counts", given


def _encodings() -> Iterator[tuple[str, Case, int, int]]:
    yield "one entry: the norm bounds it", floats(1, 2.5, 4.0), 10, 7
    yield "few entries: one may hold all", floats(32, 1.0, 1.0), 10, 7
    yield "few entries: no more than the norm after rounding", floats(20, 1.0, 9.75), 10, 7
    yield "many entries", floats(4096, 1.0, 100.0), 10, 7
    yield "many entries, a large clip", floats(40_000, 64.0, 16384.0), 1000, 999
    yield "the least clip", floats(3, 0.5, 1.0), 2, 1
    yield "the greatest clip", floats(1000, 1.0, 2.0**29), 100, 60
    yield "most entries", floats(2**32, 1.0, 2.0**20, 3.5), 5, 5
    yield "a power of two, and", floats(1024, 3.0, 80.5), 12, 11
    yield "one entry more", floats(1025, 3.0, 80.5), 12, 11
    yield "the least noise", floats(64, 1.0, 50.0, 0.5), 40, 1
    yield "much noise: its factor against rounding counts", floats(64, 1.0, 50.0, 2.0**42 * 1.375), 100, 81
    yield "no summands", floats(64, 1.0, 50.0), 40, 0
    yield "counts", counts(36, 5, 70, 333.25), 8, 6
    yield "one count of one", counts(1, 1, 1, 0.5), 2, 1
    yield "as many steps as there may be", counts(100, 2**20, 2**20), 50, 49
    yield "64 bits", counts(1, 2**20, 2**20), 2**22, 2**21
    yield "65 bits", counts(1, 2**20, 2**20), 2**23, 2**21
    yield "the most noise", counts(16, 5, 7, 2.0**50), 100, 0
    yield "more noise than there may be", counts(16, 5, 7, 2.0**50 + 0.25), 100, 70
    yield "less noise than there may be", floats(64, 1.0, 50.0, 0.49999), 40, 20
    yield "counts with less noise than there may be", counts(16, 5, 7, 0.49999), 40, 20
    yield "a clip below half a step", floats(3, 0.5, 0.999), 2, 1
    yield "a clip above 2^29 steps", floats(1000, 1.0, 2.0**29 + 1), 100, 60
    yield "a clip and a scale below zero", floats(64, -1.0, -50.0), 40, 20
    yield "a scale of zero", floats(64, 1.0, 0.0), 40, 20
    yield "a clip that is infinite", floats(64, float("inf"), 50.0), 40, 20
    yield "a clip that is no number", floats(64, float("nan"), 50.0), 40, 20
    yield "noise that is no number", floats(64, 1.0, 50.0, float("nan")), 40, 20
    yield "no entries", floats(0, 1.0, 50.0), 40, 20
    yield "more than 2^40 steps", counts(100, 2**20, 2**20 + 1), 50, 49
    yield "counts of nothing", counts(16, 0, 7), 40, 20
    yield "counts in no steps", counts(16, 5, 0), 40, 20
    yield "a negative least count", counts(16, 5, 7, least_count=-1), 40, 20


def _prepared() -> Iterator[tuple[str, str, Case]]:
    seeds = {"rotation_seed": SEED, "rounding_seed": OTHER}
    for length, entry, sign in ((64, 5, 1), (64, 0, -1), (128, 77, -1)):
        vector = floats(length, 1.5, 64.0)
        one = np.zeros(length)
        one[entry] = sign * 1.5 * (1 - 2.0**-20)
        values = rotation.rotate_back(one, bytes.fromhex(SEED), length).tolist()
        given = {"vector": vector, "values": [value.hex() for value in values]} | seeds
        name = f"entry {entry} of {length} holds {'minus ' if sign < 0 else ''}all, and is cut"
        yield name, "prepare", given
    values = [((23 * i) % 40 - 19.5) / 128 for i in range(40)]
    given = {"vector": floats(40, 1.5, 64.0), "values": [v.hex() for v in values]} | seeds
    yield "nothing is cut", "prepare", given
    for bad in ("nan", "inf", "-inf"):
        yield f"zeros for a vector with {bad}", "prepare", given | {"values": [*given["values"][1:], bad]}
    for name, number in (
        ("as many counts as there may be", [2, 0, 3]),
        ("one count more", [2, 1, 3]),
        ("counts far beyond", [2**63 - 1, 2**63 - 1, 1]),
        ("a negative count", [-1, 2, 3]),
        ("a negative count, and too many", [-(2**63), 4, 3]),
    ):
        yield name, "prepare", {"vector": counts(3, 5, 7), "values": number} | seeds


def _decoded() -> Iterator[tuple[str, str, Case]]:
    for vector in (floats(2, 1.0, 50.0), counts(2, 5, 7)):
        codec = codec_of(vector, 20)
        for summands in (0, 11, 20):
            reach = summands * codec.max_level + codec.share.reach(summands)
            for name, levels in (
                ("as far as it goes", [reach, -reach]),
                ("a step above", [reach + 1, 0]),
                ("a step below", [0, -reach - 1]),
            ):
                residues = [level % 2**codec.modulus_bits for level in levels]
                given = {"vector": vector, "clients": 20, "summands": summands, "residues": residues}
                yield f"{vector['type']} of {summands} summands, {name}", "decode_private", given
