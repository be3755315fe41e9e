"""The vectors of SPEC sections 27 to 29 where the unit of privacy is the record: rows, bounds, costs and demands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dp.accounting import epsilon_of
from dp.sensitivity import Adjacency, Unit
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import PrivateCounts
from protocols.masking.config import RoundConfig

from .configurations import written
from .private_encodings import OTHER, SEED, counts, floats

Case = dict[str, Any]
RECORD = {"unit": "record"}
DELTA = 1e-5


def of_floats(*given: Any, max_records: int = 1) -> Case:
    return floats(*given) | RECORD | {"max_records": max_records}


def of_counts(*given: Any, max_per_record: int = 1) -> Case:
    return counts(*given) | RECORD | {"max_per_record": max_per_record}


def votes(unit: str = "client", max_records: int = 1, scale: int = 7, **changes: Any) -> Case:
    on = floats(3, 1.5, 64.0) | {"unit": unit}
    given = {"type": "private-votes", "of": "model", "scale": scale, "local_sigma": (9.5).hex(), "unit": unit}
    return given | {"max_records": max_records, "length": 1, "on": on} | changes


def cases() -> Iterator[tuple[str, str, Case]]:
    for name, vector, clients, summands in _encodings():
        yield name, "private_encoding", {"vector": vector, "clients": clients, "summands": summands}
    for name, vector, rows in _prepared():
        given = {"vector": vector, "values": rows, "rotation_seed": SEED, "rounding_seed": OTHER}
        yield name, "prepare", given
    for unit in Unit:
        for adjacency in Adjacency:
            given = {"vectors": [of_floats(60, 0.75, 64.0, max_records=9), of_counts(7, 40, 3, max_per_record=2)]}
            given |= {"clients": 12, "honest": 10, "delta": (1e-5).hex(), "rounds": 2}
            given |= {"adjacency": str(adjacency), "unit": str(unit)}
            yield f"what rounds for records cost a {unit}, {adjacency}", "private_epsilon", given
    for name, config, demand in _demands():
        policy = {"privacy": {"delta": DELTA.hex(), "trusts_server": True} | demand}
        yield name, "check_policy", {"configuration": written(config), "policy": policy}


def _encodings() -> Iterator[tuple[str, Case, int, int]]:
    yield "floats of records", of_floats(4096, 1.0, 100.0, max_records=1000), 10, 7
    yield "floats of one record", of_floats(32, 1.0, 1.0), 10, 7
    yield "more records than fit in 64 bits", of_floats(4, 1.0, 2.0**29, max_records=2**32), 10, 7
    yield "room for no records", of_floats(32, 1.0, 1.0, max_records=0), 10, 7
    yield "room for records where the unit is the client", floats(32, 1.0, 1.0) | {"max_records": 2}, 10, 7
    yield "counts of records", of_counts(36, 5000, 70, 333.25, max_per_record=5), 8, 6
    yield "as much a record as a client may have", of_counts(36, 5, 70, 333.25, max_per_record=5), 8, 6
    yield "more a record than a client may have", of_counts(36, 5, 70, 333.25, max_per_record=6), 8, 6
    yield "nothing a record", of_counts(36, 5, 70, 333.25, max_per_record=0), 8, 6
    yield "counts a record where the unit is the client", counts(36, 5, 70) | {"max_per_record": 2}, 8, 6
    yield "votes of clients", votes(), 10, 7
    yield "votes of records", votes("record", 1000), 10, 7
    yield "room for votes of records where the unit is the client", votes("client", 2), 10, 7
    yield "votes of no records", votes("record", 0), 10, 7
    yield "votes of another unit than what they are on", votes("record") | {"unit": "client"}, 10, 7
    yield "two votes", votes(length=2), 10, 7
    yield "votes in no steps", votes(scale=0), 10, 7
    yield "votes of more than 2^40 steps", votes("record", 2**30, 2**11), 10, 7


def _prepared() -> Iterator[tuple[str, Case, list[Any]]]:
    values = [[((23 * i + 7 * row) % 40 - 19.5) / 128 for i in range(40)] for row in range(5)]
    rows: list[Any] = [[value.hex() for value in row] for row in values]
    yield "five records, nothing is cut", of_floats(40, 1.5, 64.0, max_records=5), rows
    bad = [*rows[:2], [*rows[2][1:], "nan"], rows[3]]
    yield "zeros for a record with nan, which draws words all the same", of_floats(40, 1.5, 64.0, max_records=5), bad
    long = np.full(16, 0.374).tolist()
    same: list[Any] = [[value.hex() for value in long]] * 6
    yield "six records with room for two: entries are cut", of_floats(16, 1.5, 64.0, max_records=2), same
    yield "no records", of_floats(16, 1.5, 64.0, max_records=2), []
    counted = of_counts(3, 4, 7, max_per_record=2)
    yield "counts of records are added", counted, [[1, 0, 1], [0, 0, 2], [0, 0, 0]]
    yield "a record's counts are scaled down, and others' are not", counted, [[3, 1, 1], [0, 1, 0], [2**62, 2**62, 1]]
    yield "a negative count of a record", counted, [[-1, 2, 0], [1, -5, 2]]
    yield "each count of a client is cut", counted, [[2, 0, 0]] * 3 + [[0, 0, 1]]
    yield "no records to count", counted, []
    long = [value.hex() for value in (0.0, -1.5000001, 0.0)]
    short = [value.hex() for value in (1.0, -1.0, 0.25)]
    yield "a vote for the clip", votes(), short
    yield "a vote against the clip", votes(), long
    yield "what is not finite votes against the clip", votes(), ["nan", *short[1:]]
    yield "votes of four records", votes("record", 9), [short, long, short, short]
    yield "votes are cut", votes("record", 2), [short] * 5 + [long]
    yield "nobody votes", votes("record", 2), []


def _demands() -> Iterator[tuple[str, RoundConfig, Case]]:
    def of(**unit: Any) -> RoundConfig:
        spec = PrivateCounts("votes", 8, max_total=50, scale=3, local_sigma=6.25, **unit)
        return RoundConfig(ThreatModel(20, 0.125, 0.125, Adversary.CURIOUS_SERVER), (spec,), min_survivors=15)

    records, clients = of(unit=Unit.RECORD, max_per_record=2), of()
    for name, config, unit in (
        ("for records, of noise for records", records, Unit.RECORD),
        ("for clients, of noise for records", records, Unit.CLIENT),
        ("for records, of noise for clients", clients, Unit.RECORD),
        ("for clients, of noise for clients", clients, Unit.CLIENT),
    ):
        spent = float(f"{epsilon_of(config.event(15, unit=unit), DELTA):.9g}")
        for less, what in ((1, "hardly more"), (-1, "hardly less")):
            demand = {"epsilon": (spent * (1 + less * 1e-6)).hex(), "unit": str(unit)}
            yield f"a demand {name}: {what} than it costs", config, demand
