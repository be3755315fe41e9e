"""Terms, sessions and totals of SPEC section 57, from the text."""

import math
from typing import Any

from . import messagepack
from .configuration import Session
from .primitives import digest
from .refusal import require

Case = dict[str, Any]
SLACK = 1e-14
FIELDS = ("name", "most", "least", "corrupt_fraction", "dropout_fraction", "adversary")


class Level:
    def __init__(self, given: Case) -> None:
        fractions = {name: float.fromhex(given[name]) for name in ("corrupt_fraction", "dropout_fraction")}
        self.given = given | fractions
        self.name, self.most, self.least = given["name"], given["most"], given["least"]
        require(2 <= self.least <= self.most <= 100_000 and self.name != "", "ParameterError")

    def corrupt(self, n: int) -> int:
        return math.floor((self.given["corrupt_fraction"] + SLACK) * n)

    def summed(self, n: int) -> int:
        """Section 2: what is left after the dropouts, and two more than may be corrupt."""
        return max(math.ceil((1 - self.given["dropout_fraction"] - SLACK) * n), self.corrupt(n) + 2)

    def fewest(self) -> int:
        return min(self.summed(n) for n in range(self.least, self.most + 1))

    def honest(self) -> int:
        return min(self.summed(n) - self.corrupt(n) for n in range(self.least, self.most + 1))


class Terms:
    """Sections 57.1 and 57.2."""

    def __init__(self, given: Case) -> None:
        self.levels = [Level(level) for level in given["levels"]]
        require(1 <= len(self.levels) <= 16, "ParameterError")
        require(len({level.name for level in self.levels}) == len(self.levels), "ParameterError")
        self.max_weight = given["max_weight"]
        self.vectors = [
            spec | ({"clip": float.fromhex(spec["clip"])} if "clip" in spec else {}) for spec in given["vectors"]
        ]
        require(1 <= len(self.vectors) <= 61, "ParameterError")
        require(not any(spec["name"].startswith("hierarchy ") for spec in self.vectors), "ParameterError")
        levels = [[level.given[name] for name in FIELDS] for level in self.levels]
        self.digest = digest("HIERARCHY_TERMS", messagepack.encode([levels, self.vectors, self.max_weight]))
        self.bound = "hierarchy " + self.digest.hex()
        self.floats = [spec for spec in self.vectors if spec["type"] == "floats"]
        self.weighted = any(spec["weighted"] for spec in self.floats)
        for place, level in enumerate(self.levels):
            for n in (level.least, level.most):
                written = self.session(place, n)
                require(level.corrupt(n) + 2 <= n, "ParameterError")
                Session(written, bytes(32))  # which refuses what does not fit

    def below(self, place: int) -> int:
        return math.prod(level.most for level in self.levels[:place])

    def reach(self, spec: Case, weight: int) -> tuple[int, int]:
        if spec["type"] == "integers":
            return spec["min_value"], spec["max_value"]
        most = (2 ** (spec["value_bits"] - 1) - 1) * (weight if spec["weighted"] else 1)
        return -most, most

    def session(self, place: int, n: int) -> list[Any]:
        level = self.levels[place]
        model = [n, *(level.given[name] for name in FIELDS[3:])]
        graph = "complete" if n <= 256 else "random-cycles"
        if place == 0:
            vectors = [*self.vectors, _integers(self.bound, 0, 1)]
            return [model, vectors, self.max_weight, level.summed(n), graph]
        clients, vectors = self.below(place), []
        for spec in self.vectors:
            low, high = self.reach(spec, self.max_weight)
            vectors.append(_integers(spec["name"], spec["length"], high * clients, low * clients))
        vectors.append(_integers(self.bound, place + 1, clients))
        if self.weighted:
            vectors.append(_integers("hierarchy weight", 1, clients * self.max_weight))
        if self.floats:
            longest = max(1, *(spec["length"] for spec in self.floats))
            vectors.append(_integers("hierarchy clipped", len(self.floats), clients * longest))
        return [model, vectors, 1, level.summed(n), graph]


def _integers(name: str, length: int, high: int, low: int = 0) -> Case:
    return {"type": "integers", "name": name, "length": length, "max_value": high, "min_value": low}


def _terms(given: Case) -> Case:
    terms = Terms(given)
    learned, inputs, honest = [], 1, 1
    for level in terms.levels:
        inputs, honest = inputs * level.fewest(), honest * level.honest()
        learned.append([inputs, honest, level.fewest()])
    sessions = [
        [messagepack.encode(terms.session(place, n)).hex() for n in (level.least, level.most)]
        for place, level in enumerate(terms.levels)
    ]
    return {"terms": terms.digest.hex(), "sessions": sessions, "learned": learned}


def _total(given: Case) -> Case:
    """Section 57.3."""
    terms, place, sums = Terms(given["terms"]), given["level"], dict(given["sums"])
    require(len(given["bound"]) == (place + 1 if place else 0), "ParameterError")
    names = [spec["name"] for spec in terms.floats]
    if place == 0:
        counts, weight, clipped = [given["survivors"]], given["total_weight"], given["num_clipped"]
    else:
        counts = list(given["bound"])
        (weight,) = sums.pop("hierarchy weight")
        clipped = dict(zip(names, sums.pop("hierarchy clipped"), strict=True))
        require(counts[-1] == given["survivors"], "EncodingError")
    counts.append(1)
    for below, above, level in zip(counts, counts[1:], terms.levels, strict=False):
        require(level.fewest() * above <= below <= level.most * above, "EncodingError")
    clients = counts[0]
    require(0 <= weight <= clients * terms.max_weight, "EncodingError")
    for spec in terms.vectors:
        if spec["type"] == "floats":
            require(clipped[spec["name"]] <= clients * spec["length"], "EncodingError")
        low, high = terms.reach(spec, 1)
        times = weight if spec.get("weighted") else clients
        require(all(low * times <= value <= high * times for value in sums[spec["name"]]), "EncodingError")
    handed = {name: sums[name] for name in (spec["name"] for spec in terms.vectors)}
    handed["hierarchy weight"] = [weight]
    handed["hierarchy clipped"] = [clipped[name] for name in names]
    return {
        "clients": clients,
        "groups": counts[1:],
        "total_weight": weight,
        "num_clipped": clipped,
        "bound": counts,
        "handed_up": handed,
    }


OPERATIONS = {"hierarchy_terms": _terms, "hierarchy_total": _total}
