"""What an operation of the vectors of hierarchies is: from a case's input, as it stands in JSON, to its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from secagg.encoding import Rounding

from ...core.threat_model import Adversary
from ...hierarchy.levels import Hierarchy, Level
from ...hierarchy.total import Total
from ...inputs.vectors import FloatVector, IntegerVector
from ...masking.result import RoundResult

Case = dict[str, Any]


def _level(given: Case) -> Level:
    corrupt, dropout = (float.fromhex(given[name]) for name in ("corrupt_fraction", "dropout_fraction"))
    return Level(given["name"], given["most"], given["least"], corrupt, dropout, Adversary(given["adversary"]))


def _vector(given: Case) -> FloatVector | IntegerVector:
    fields = {name: value for name, value in given.items() if name != "type"}
    if given["type"] == "integers":
        return IntegerVector(**fields)
    rounding = Rounding(given["rounding"])
    return FloatVector(**fields | {"clip": float.fromhex(given["clip"]), "rounding": rounding})


def _hierarchy(given: Case) -> Hierarchy:
    return Hierarchy(tuple(map(_level, given["levels"])), tuple(map(_vector, given["vectors"])), given["max_weight"])


def _terms(given: Case) -> Case:
    """The digest of terms, the configuration of each level's smallest and largest session, and what operators learn."""
    terms = _hierarchy(given)
    sizes = [(level.least, level.most) for level in terms.levels]
    return {
        "terms": terms.digest.hex(),
        "sessions": [
            [msgspec.msgpack.encode(terms.config(place, members)).hex() for members in pair]
            for place, pair in enumerate(sizes)
        ],
        "learned": [[row.inputs, row.honest, row.members] for row in terms.learned],
    }


def _total(given: Case) -> Case:
    """What a session's sums are the total of, and what the operator hands in above."""
    terms, level = _hierarchy(given["terms"]), given["level"]
    names = frozenset(f"member-{number}" for number in range(given["survivors"]))
    sums = {name: np.array(values, dtype=np.int64) for name, values in given["sums"].items()}
    sums[terms.bound] = np.array(given["bound"], dtype=np.int64)
    config = terms.config(level, terms.levels[level].most)
    result = RoundResult(names, given["total_weight"], sums, {}, frozenset(), given["num_clipped"], config, bytes(32))
    total = Total.of(terms, level, result)
    handed = {name: values.tolist() for name, values in total.handed_up().values.items() if name != terms.bound}
    return {
        "clients": total.num_clients,
        "groups": list(total.groups),
        "total_weight": total.total_weight,
        "num_clipped": dict(total.num_clipped),
        "bound": total.handed_up().values[terms.bound].tolist(),
        "handed_up": handed,
    }


OPERATIONS: dict[str, Callable[[Case], Any]] = {"hierarchy_terms": _terms, "hierarchy_total": _total}
