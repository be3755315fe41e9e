"""The vectors of SPEC section 57: sessions that follow from terms, and totals that are handed up or refused."""

from __future__ import annotations

from functools import partial
from typing import Any

from protocols.audit.replay.hierarchy_operations import OPERATIONS

from .cases import Case, case_of

_case = partial(case_of, OPERATIONS)


def level(name: str, most: int, least: int | None = None, **rest: Any) -> Case:
    given = {"name": name, "most": most, "least": most if least is None else least}
    given |= {"corrupt_fraction": (0.1).hex(), "dropout_fraction": (0.2).hex(), "adversary": "semi-malicious-server"}
    return given | rest


def terms(*levels: Case, vectors: list[Case], max_weight: int = 1) -> Case:
    return {"levels": list(levels), "vectors": vectors, "max_weight": max_weight}


UPDATE = {
    "type": "floats", "name": "update", "length": 3, "clip": (2.0).hex(), "value_bits": 12, "weighted": True,
    "rounding": "stochastic",
}  # fmt: skip
METRICS = UPDATE | {"name": "metrics", "length": 2, "value_bits": 8, "weighted": False, "rounding": "nearest"}
VOTES = {"type": "integers", "name": "votes", "length": 2, "max_value": 9, "min_value": -3}
TEAM, PROJECT, WHOLE = level("team", 8, 5), level("project", 6), level("whole", 20, 10, adversary="malicious-server")
ALL = terms(TEAM, PROJECT, WHOLE, vectors=[UPDATE, METRICS, VOTES], max_weight=6)
NEW = {"dropout_fraction": (0.0).hex(), "corrupt_fraction": (0.4).hex()}
TERMS = {
    "three levels": ALL,
    "votes alone": terms(TEAM, PROJECT, vectors=[VOTES]),
    "floats without weights": terms(TEAM, PROJECT, vectors=[METRICS, METRICS | {"name": "empty", "length": 0}]),
    "one level": terms(level("team", 5, **NEW), vectors=[VOTES]),
    "a large level": terms(level("team", 300, 256), level("all", 40, adversary="curious-server"), vectors=[VOTES]),
    "a level of one": terms(TEAM, level("project", 1), vectors=[VOTES]),
    "more at least than at most": terms(level("team", 5, 6), vectors=[VOTES]),
    "no levels": terms(vectors=[VOTES]),
    "two levels of one name": terms(TEAM, TEAM, vectors=[VOTES]),
    "a name of the hierarchy's own": terms(TEAM, vectors=[VOTES | {"name": "hierarchy clipped"}]),
    "no vectors": terms(TEAM, vectors=[]),
    "sums that do not fit": terms(level("team", 1000), level("all", 1000), vectors=[VOTES | {"max_value": 1 << 44}]),
    "all corrupt but one": terms(level("pair", 2, corrupt_fraction=(0.5).hex()), vectors=[VOTES]),
}


def total(place: int, survivors: int, bound: list[int], **rest: Any) -> Case:
    given: Case = {"terms": ALL, "level": place, "survivors": survivors, "bound": bound, "total_weight": survivors}
    given |= {"sums": {"update": [2047, -2047, 0], "metrics": [5, -6], "votes": [9, -3]}, "num_clipped": {}}
    return given | rest


LOWEST = total(0, 5, [], total_weight=11, num_clipped={"update": 2, "metrics": 0})
SUMS: Case = {
    **{"update": [60000, -70000, 1], "metrics": [127 * 24, -127 * 24], "votes": [24 * 9, -3 * 24]},
    **{"hierarchy weight": [36], "hierarchy clipped": [72, 48]},
}
MIDDLE = total(1, 5, [24, 5], sums=SUMS)
HIGHEST = total(2, 8, [300, 45, 8], sums=SUMS)


def bent(given: Case, name: str, values: list[int]) -> Case:
    return given | {"sums": given["sums"] | {name: values}}


TOTALS = {
    "of clients": LOWEST,
    "of groups": MIDDLE,
    "of groups of groups": HIGHEST,
    "as much weight as there is": bent(MIDDLE, "hierarchy weight", [24 * 6]),
    "more groups than survivors": MIDDLE | {"bound": [24, 6]},
    "fewer groups than survivors": MIDDLE | {"bound": [24, 4]},
    "too few clients for so many groups": MIDDLE | {"bound": [19, 5]},
    "too many clients for so many groups": MIDDLE | {"bound": [41, 5]},
    "too few groups below": HIGHEST | {"bound": [300, 39, 8]},
    "too many groups below": HIGHEST | {"bound": [300, 49, 8]},
    "more weight than so many clients have": bent(MIDDLE, "hierarchy weight", [24 * 6 + 1]),
    "less weight than the sum has": bent(MIDDLE, "hierarchy weight", [34]),
    "more clipped than so many clients have": bent(MIDDLE, "hierarchy clipped", [73, 48]),
    "more clipped of a short vector": bent(MIDDLE, "hierarchy clipped", [72, 49]),
    "a sum above": bent(MIDDLE, "votes", [24 * 9 + 1, 0]),
    "a sum below": bent(MIDDLE, "votes", [0, -3 * 24 - 1]),
    "floats beyond": bent(MIDDLE, "metrics", [0, 127 * 24 + 1]),
    "counts of another level": MIDDLE | {"bound": [24, 5, 1]},
}


def cases() -> list[Case]:
    """All cases, in order."""
    found = [_case(name, "hierarchy_terms", given) for name, given in TERMS.items()]
    return found + [_case(name, "hierarchy_total", given) for name, given in TOTALS.items()]
