"""Queries, limbs and tables of SPEC sections 40 to 43, from the text: by rows, in rationals."""

import itertools
import math
from fractions import Fraction
from typing import Any

from . import messagepack, primitives
from .refusal import Refused, require

Case = dict[str, Any]
POWERS = {"mean": 1, "variance": 2, "deviation": 2, "skewness": 3}
PAIRS, BINNED = ("covariance", "correlation"), ("histogram", "ecdf", "quantiles", "median")
KINDS = ("count", "missing", *POWERS, *PAIRS, *BINNED, "table")
LIMB = 24
PRODUCTS = ((1, 0), (0, 1), (2, 0), (0, 2), (1, 1))


def _bad(condition: bool) -> None:
    require(condition, "ParameterError")


def _columns(fields: list[Any]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for column in fields[1]:
        _bad(column[1] not in columns and 1 <= len(column[1]) <= 200)
        columns[column[1]] = column
        if column[0] == "levels":
            _bad(1 <= len(column[2]) <= 1000 and len(set(column[2])) == len(column[2]))
            continue
        _, _, lo, hi, bits, edges = column
        _bad(all(isinstance(value, float) and abs(value) <= 1e100 for value in (lo, hi, *edges)))
        _bad(hi - lo >= 1e-100 and 2 <= bits <= 32)
        _bad(len(edges) != 1 and all(a < b for a, b in itertools.pairwise(edges)))
    return columns


def check_query(fields: list[Any]) -> None:
    """Section 40.2."""
    columns = _columns(fields)
    _, _, statistics, where, group_by, max_rows = fields
    seen = []
    _bad(1 <= len(statistics) <= 10_000 and 1 <= max_rows < 2**40)

    def is_number(name: str) -> bool:
        _bad(name in columns)
        return bool(columns[name][0] == "number")

    for kind, names, quantiles in statistics:
        _bad(kind in KINDS and [kind, names, quantiles] not in seen)
        seen.append([kind, names, quantiles])
        width = 0 if kind == "count" else 2 if kind in PAIRS or kind == "table" else 1
        _bad(len(names) == width == len(set(names)))
        _bad(all(is_number(name) is (kind != "table") for name in names))
        _bad(kind not in BINNED or bool(columns[names[0]][5]))
        _bad((kind == "quantiles") is bool(quantiles) and quantiles == sorted(set(quantiles)))
        _bad(all(0 < value < 1 for value in quantiles))
        _bad(group_by is None or kind not in (*PAIRS, "table"))
    for name, operator, constant in where:
        if operator == "known":
            _bad(name in columns and constant is None)
        elif is_number(name):
            _bad(operator in ("eq", "ne", "lt", "le", "gt", "ge") and isinstance(constant, float))
        else:
            _bad(operator in ("eq", "ne") and constant in columns[name][2])
    _bad(group_by is None or not is_number(group_by))


def _totals(fields: list[Any]) -> dict[tuple[Any, ...], int]:
    """Section 41.2: what each total is of, and the most that it may be."""
    columns, rows = {column[1]: column for column in fields[1]}, fields[5]
    groups = range(1 if fields[4] is None else len(columns[fields[4]][2]) + 2)
    found: dict[tuple[Any, ...], int] = {("rows", group): rows for group in groups}

    def top(name: str) -> int:
        return int(2 ** columns[name][4]) - 1

    for kind, names, _ in fields[2]:
        if kind in POWERS or kind in PAIRS or kind == "missing":
            for name, group, status in itertools.product(names, groups, ("valid", "below", "above")):
                found.setdefault((status, name, group), rows)
        if kind in POWERS:
            for power, group in itertools.product(range(1, POWERS[kind] + 1), groups):
                found.setdefault(("power", names[0], power, group), rows * top(names[0]) ** power)
        elif kind in BINNED:
            for group, at in itertools.product(groups, range(len(columns[names[0]][5]) + 1)):
                found.setdefault(("bin", names[0], at, group), rows)
        elif kind in PAIRS:
            found.setdefault(("both", *names), rows)
            for i, j in PRODUCTS:
                found.setdefault(("product", *names, i, j), rows * top(names[0]) ** i * top(names[1]) ** j)
        elif kind == "table":
            a, b = (range(len(columns[name][2]) + 2) for name in names)
            for i, j in itertools.product(a, b):
                found.setdefault(("cell", *names, i, j), rows)
    return found


def _limbs_of(most: int) -> int:
    return -(-most.bit_length() // LIMB)


def _status(column: list[Any], value: float) -> tuple[str, int]:
    if math.isnan(value):
        return "missing", 0
    lo, hi = column[2], column[3]
    if not lo <= value <= hi:
        return ("below" if value < lo else "above"), 0
    share = (Fraction(value) - Fraction(lo)) / (Fraction(hi) - Fraction(lo))
    return "valid", round(share * (2 ** column[4] - 1))


def _cell(column: list[Any], value: Any) -> int:
    if value in (None, ""):
        return len(column[2]) + 1
    return int(column[2].index(value)) if value in column[2] else len(column[2])


def _meets(column: list[Any], operator: str, constant: Any, value: Any) -> bool:
    if column[0] == "levels":
        cell = _cell(column, value)
        if operator == "known":
            return cell < len(column[2])
        return cell <= len(column[2]) and (value == constant) is (operator == "eq")
    if operator == "known":
        return _status(column, value)[0] == "valid"
    outcomes = {"eq": value == constant, "ne": value != constant, "lt": value < constant, "le": value <= constant}
    outcomes |= {"gt": value > constant, "ge": value >= constant}
    return not math.isnan(value) and outcomes[operator]


def _add(key: tuple[Any, ...], columns: dict[str, list[Any]], row: Case, group: int) -> int:  # noqa: PLR0911 - one line a total
    what = key[0]
    if what == "rows":
        return int(key[1] == group)
    if what in ("valid", "below", "above"):
        return int(key[2] == group and _status(columns[key[1]], row[key[1]])[0] == what)
    if what == "power":
        status, level = _status(columns[key[1]], row[key[1]])
        return int(level ** key[2]) if status == "valid" and key[3] == group else 0
    if what == "bin":
        edges, value = columns[key[1]][5], row[key[1]]
        at = len(edges) - 1 if value == edges[-1] else sum(edge <= value for edge in edges)
        return int(not math.isnan(value) and at == key[2] and key[3] == group)
    if what == "cell":
        return int(all(_cell(columns[key[at]], row[key[at]]) == key[at + 2] for at in (1, 2)))
    (one, x), (other, y) = (_status(columns[name], row[name]) for name in key[1:3])
    if not one == other == "valid":
        return 0
    return 1 if what == "both" else int(x ** key[3] * y ** key[4])


def site_limbs(given: Case) -> list[int]:
    fields = read(bytes.fromhex(given["query"]))
    columns = {column[1]: column for column in fields[1]}
    totals = dict.fromkeys(_totals(fields), 0)
    for at in range(given["rows"]):
        row = {name: values[at] for name, values in given["columns"].items()}
        row = {name: float.fromhex(value) if columns[name][0] == "number" else value for name, value in row.items()}
        if all(_meets(columns[name], operator, constant, row[name]) for name, operator, constant in fields[3]):
            group = 0 if fields[4] is None else _cell(columns[fields[4]], row[fields[4]])
            for key in totals:
                totals[key] += _add(key, columns, row, group)
    return [
        totals[key] >> LIMB * at & 2**LIMB - 1 for key, most in _totals(fields).items() for at in range(_limbs_of(most))
    ]


def join_limbs(given: Case) -> list[int]:
    sums, found = list(given["sums"]), []
    for most in _totals(read(bytes.fromhex(given["query"]))).values():
        limbs, sums = sums[: _limbs_of(most)], sums[_limbs_of(most) :]
        found.append(sum(limb << LIMB * at for at, limb in enumerate(limbs)))
        require(found[-1] <= given["sites"] * most, "EncodingError")
    return found


def read(data: bytes) -> list[Any]:
    try:
        fields = messagepack.decode(data)
    except (Refused, IndexError):
        raise Refused("ParameterError") from None
    _bad(isinstance(fields, list) and len(fields) == 6 and messagepack.encode(fields) == data)
    check_query(fields)
    return list(fields)


def _floats(values: list[str]) -> list[float]:
    return [float.fromhex(value) for value in values]


def query(given: Case) -> Case:
    columns = [
        column if column[0] == "levels" else [*column[:2], *_floats(column[2:4]), column[4], _floats(column[5])]
        for column in given["columns"]
    ]
    statistics = [[kind, names, _floats(quantiles)] for kind, names, quantiles in given["statistics"]]
    where = [[a, b, float.fromhex(c[0]) if isinstance(c, list) else c] for a, b, c in given["where"]]
    fields = [given["dataset"], columns, statistics, where, given["group_by"], given["max_rows"]]
    check_query(fields)
    data = messagepack.encode(fields)
    digest = primitives.digest("STATISTICS_QUERY", data).hex()
    return {"bytes": data.hex(), "digest": digest, "lanes": sum(map(_limbs_of, _totals(fields).values()))}


def determined(given: Case) -> list[int]:
    """Section 43.2: the hidden unknowns of which an identity can be made that has no other."""
    counts, hidden = given["counts"], given["hidden"]
    height, width = len(counts), len(counts[0])
    size = height * width
    rows = [{i * width + j: 1 for j in range(width)} | {size + i: -1} for i in range(height)]
    rows += [{i * width + j: 1 for i in range(height)} | {size + height + j: -1} for j in range(width)]
    rows += [{size + i: 1 for i in range(height)}, {size + height + j: 1 for j in range(width)}]
    matrix = [[Fraction(row.get(at, 0)) for at in hidden] for row in rows]
    return [unknown for at, unknown in enumerate(hidden) if _rank(matrix) == _rank([*matrix, _unit(at, len(hidden))])]


def _unit(at: int, length: int) -> list[Fraction]:
    return [Fraction(at == other) for other in range(length)]


def _rank(matrix: list[list[Fraction]]) -> int:
    rows, rank = [list(row) for row in matrix], 0
    for column in range(len(rows[0])):
        pivot = next((at for at in range(rank, len(rows)) if rows[at][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for at in range(rank + 1, len(rows)):
            factor = rows[at][column] / rows[rank][column]
            rows[at] = [a - factor * b for a, b in zip(rows[at], rows[rank], strict=True)]
        rank += 1
    return rank


def read_query(given: Case) -> str:
    data = bytes.fromhex(given["bytes"])
    read(data)
    return primitives.digest("STATISTICS_QUERY", data).hex()


OPERATIONS = {
    "query": query,
    "read_query": read_query,
    "site_limbs": site_limbs,
    "join_limbs": join_limbs,
    "determined": determined,
}
