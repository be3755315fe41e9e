"""Questions, rows, brackets and ratios of SPEC section 46, and the rule of section 15 that names groups."""

import math
from statistics import NormalDist
from typing import Any

from . import messagepack, primitives, statistics
from .refusal import Refused, require

Case = dict[str, Any]
CLOSE = {"noisy_row", "noisy_ratio", "keep_probability"}
KINDS = ("count", "missing", "mean", "variance", "deviation", "covariance", "correlation", *statistics.BINNED, "table")
Z = NormalDist().inv_cdf(0.975)


def _check(fields: Any) -> None:
    require(isinstance(fields, list) and len(fields) == 5 and isinstance(fields[0], list), "ParameterError")
    asked, epsilon, delta, unit, adjacency = fields
    require(len(asked) == 7 and not asked[6], "ParameterError")
    statistics.check_query(asked)
    fine = isinstance(epsilon, float) and 0 < epsilon < math.inf and isinstance(delta, float) and 0 < delta < 1
    fine = fine and unit in ("record", "client") and adjacency in ("add-remove", "replace-one")
    require(fine and all(kind in KINDS for kind, *_ in asked[2]), "ParameterError")


def _name(data: bytes) -> str:
    return f"statistics/private/{primitives.digest('STATISTICS_QUERY', data).hex()}"


def question(given: Case) -> Case:
    asked = statistics.read(bytes.fromhex(given["query"]))
    price = [float.fromhex(given["epsilon"]), float.fromhex(given["delta"]), given["unit"], given["adjacency"]]
    _check([asked, *price])
    data = messagepack.encode([asked, *price])
    blocks = _blocks(asked)
    size = sum(width for width, _ in blocks.values()) * _groups(asked)
    return {"bytes": data.hex(), "name": _name(data), "totals": size, "uses": [uses for _, uses in blocks.values()]}


def read_question(given: Case) -> str:
    data = bytes.fromhex(given["bytes"])
    try:
        fields = messagepack.decode(data)
    except (Refused, IndexError):
        raise Refused("ParameterError") from None
    _check(fields)
    require(messagepack.encode(fields) == data, "ParameterError")
    return _name(data)


def _columns(asked: list[Any]) -> dict[str, list[Any]]:
    return {column[1]: column for column in asked[1]}


def _groups(asked: list[Any]) -> int:
    return 1 if asked[4] is None else len(_columns(asked)[asked[4]][2]) + 2


def _read_by(kind: str, names: list[str]) -> list[tuple[Any, ...]]:
    if kind == "count":
        return [("rows",)]
    if kind == "table":
        return [("cell", *names)]
    if kind in statistics.BINNED:
        return [("bin", *names)]
    if kind in statistics.PAIRS:
        squares = [("square", name) for name in names if kind == "correlation"]
        return [("complete",), *(("sum", name) for name in names), *squares, ("product", *sorted(names))]
    powers = {"missing": 0, "mean": 1, "variance": 2, "deviation": 2}[kind]
    return [("status", *names), *(("power", *names, power) for power in range(1, powers + 1))]


def _blocks(asked: list[Any]) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Section 46.2: block -> its cells, and how many statistics read it."""
    columns, found = _columns(asked), dict[tuple[Any, ...], tuple[int, int]]()
    for kind, names, _ in asked[2]:
        for block in _read_by(kind, names):
            width = 1
            if block[0] == "status":
                width = 4
            elif block[0] == "bin":
                width = len(columns[block[1]][5]) + 2
            elif block[0] == "cell":
                width = math.prod(len(columns[name][2]) + 2 for name in block[1:])
            found[block] = width, found.get(block, (0, 0))[1] + 1
    return found


def _status(column: list[Any], value: float) -> int:
    if math.isnan(value):
        return 3
    return 1 if value < column[2] else 2 if value > column[3] else 0


def _u(column: list[Any], value: float) -> float:
    return (value - (column[2] + column[3]) / 2) / ((column[3] - column[2]) / 2)


def noisy_row(given: Case) -> Case:
    asked = statistics.read(bytes.fromhex(given["query"]))
    columns, groups = _columns(asked), _groups(asked)
    row = {
        name: float.fromhex(value) if columns[name][0] == "number" else value for name, value in given["row"].items()
    }
    for name, operator, constant in asked[3]:
        if not statistics._meets(columns[name], operator, constant, row[name]):
            return {}
    group = 0 if asked[4] is None else statistics._cell(columns[asked[4]], row[asked[4]])
    blocks, found, start = _blocks(asked), dict[str, str](), 0
    paired = [block[1] for block in blocks if block[0] == "sum"]
    complete = all(_status(columns[name], row[name]) == 0 for name in paired)
    for block, (width, uses) in blocks.items():
        cell, value = _adds(block, columns, row, complete=complete)
        if value:
            found[str(start + group * width + cell)] = (value * math.sqrt(math.sqrt(uses))).hex()
        start += groups * width
    return found


def _adds(block: tuple[Any, ...], columns: dict[str, list[Any]], row: Case, *, complete: bool) -> tuple[int, float]:  # noqa: PLR0911 - one line a block
    """The cell of a block that a row is in, and what it adds there."""
    what, *names = block
    if what == "rows":
        return 0, 1.0
    if what == "cell":
        i, j = (statistics._cell(columns[name], row[name]) for name in names)
        return i * (len(columns[names[1]][2]) + 2) + j, 1.0
    if what == "complete":
        return 0, float(complete)
    column, value = columns[names[0]], row[names[0]]
    if what == "status":
        return _status(column, value), 1.0
    if what == "bin":
        edges = column[5]
        if math.isnan(value):
            return len(edges) + 1, 1.0
        return (len(edges) - 1 if value == edges[-1] else sum(edge <= value for edge in edges)), 1.0
    if not (_status(column, value) == 0 if what == "power" else complete):
        return 0, 0.0
    u = _u(column, value)
    if what == "product":
        return 0, u * _u(columns[names[1]], row[names[1]])
    return 0, 2 * u * u - 1 if what == "square" or names[1:] == [2] else u


def noisy_bracket(given: Case) -> list[str | None]:
    edges, counts = given["edges"], [float.fromhex(value) for value in given["counts"]]
    deviation, q = float.fromhex(given["deviation"]), float.fromhex(given["quantile"])
    n, low, high = sum(counts), None, None
    reaches = [Z * deviation * math.sqrt(at * (1 - q) ** 2 + (len(counts) - at) * q**2) for at in range(1, len(counts))]
    for at in range(len(edges)):  # from below: until one is not told to be at most the quantile
        if sum(counts[: at + 1]) - q * n + reaches[at] > -q:
            break
        low = edges[at]
    for at in reversed(range(len(edges))):
        if sum(counts[: at + 1]) - q * n - reaches[at] < 1 - q:
            break
        high = edges[at]
    return [low, high]


def noisy_ratio(given: Case) -> Case:
    """By bisection for the ends of the r with |t - r b| <= Z sd(t - r b)."""
    top, bottom, of_top, of_bottom, both = (float.fromhex(value) for value in given["totals"])
    if bottom <= Z * math.sqrt(of_bottom):
        return {"low": (-math.inf).hex(), "high": math.inf.hex()}

    def inside(r: float) -> bool:
        return abs(top - r * bottom) <= Z * math.sqrt(of_top - 2 * r * both + r * r * of_bottom)

    ends = []
    for direction in (-1.0, 1.0):
        near, far = top / bottom, top / bottom + direction * 1e6
        for _ in range(200):
            middle = (near + far) / 2
            near, far = (middle, far) if inside(middle) else (near, middle)
        ends.append(near)
    return {"low": ends[0].hex(), "high": ends[1].hex()}


def keep_probability(given: Case) -> Case:
    epsilon, delta = float.fromhex(given["epsilon"]), float.fromhex(given["delta"])
    p, found = 0.0, {}
    for count in range(max(given["counts"]) + 1):
        if count in given["counts"]:
            found[str(count)] = p.hex()
        p = min(math.exp(epsilon) * p + delta, 1 - math.exp(-epsilon) * (1 - p - delta), 1.0)
    return found


OPERATIONS = {
    "question": question,
    "read_question": read_question,
    "noisy_row": noisy_row,
    "noisy_bracket": noisy_bracket,
    "noisy_ratio": noisy_ratio,
    "keep_probability": keep_probability,
}
