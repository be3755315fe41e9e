"""Queries, limbs and tables of SPEC sections 40 to 43, from the text: by rows, in rationals."""

import collections
import itertools
import math
from fractions import Fraction
from typing import Any

from . import messagepack, primitives
from .refusal import Refused, require

Case = dict[str, Any]
POWERS = {"mean": 1, "variance": 2, "deviation": 2, "skewness": 3}
PAIRS, BINNED = ("covariance", "correlation"), ("histogram", "ecdf", "quantiles", "median")
SHAPES = {
    "count": "",
    **dict.fromkeys(("missing", *POWERS), "n"),
    **dict.fromkeys(PAIRS, "nn"),
    **dict.fromkeys(BINNED, "e"),
    **dict.fromkeys(("frequencies", "top"), "l"),
    **dict.fromkeys(("table", "association", "weighted"), "ll"),
    "mantel-haenszel": "22l",
    "t-test": "n2",
    "anova": "nl",
    **dict.fromkeys(("linear", "ridge", "poisson"), "nn*"),
    "logistic": "2n*",
    "survival": "e2?",
    "auc": "e2",
    "approval": "l*",
    "borda": "nn*",
    "consensus": "2",
}
"""Section 40.1: n numbers, e with edges, l levels, 2 two of them; * more of the last one; ? one column of levels."""
GLM = ("logistic", "poisson")
CROSSED = ("frequencies", "top", "table", "association", "weighted", "mantel-haenszel", "survival", "auc")
TERMS = ("t-test", "anova", "linear", "ridge", *GLM, "borda")
COUNTS = ("rows", "valid", "below", "above", "power", "bin", "cell", "both", "product")
UNIT = 40
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
            _bad(not {"(other)", "(missing)"} & set(column[2]))
            continue
        _, _, lo, hi, bits, edges = column
        _bad(all(isinstance(value, float) and abs(value) <= 1e100 for value in (lo, hi, *edges)))
        _bad(hi - lo >= 1e-100 and 2 <= bits <= 32)
        _bad(len(edges) != 1 and all(a < b for a, b in itertools.pairwise(edges)))
    return columns


def check_query(fields: list[Any]) -> None:
    """Section 40.2."""
    columns = _columns(fields)
    _, _, statistics, where, group_by, max_rows, cells = fields
    seen = []
    _bad(1 <= len(statistics) <= 10_000 and len(columns) <= 10_000 and len(where) <= 10_000 and 1 <= max_rows < 2**40)

    def is_number(name: str) -> bool:
        _bad(name in columns)
        return bool(columns[name][0] == "number")

    for kind, names, parameters in statistics:
        _bad(kind in SHAPES and [kind, names, parameters] not in seen)
        if kind in ("logistic", "poisson", "consensus"):
            _bad(all(one[:2] != [kind, names] for one in seen))
        seen.append([kind, names, parameters])
        shape = SHAPES[kind]
        if shape.endswith("*"):
            _bad(len(shape) - 1 <= len(names) <= len(shape) - 1 + 100 - (kind in ("linear", "ridge", *GLM)))
            shape = shape[:-1] + shape[-2] * (len(names) - len(shape) + 1)
        elif shape.endswith("?"):
            shape = shape[:-1] + "l" * (len(names) - 2)
            _bad(len(names) <= 3)
        _bad(len(names) == len(shape) == len(set(names)))
        for name, role in zip(names, shape, strict=True):
            _bad(is_number(name) is (role in "ne"))
            _bad(role != "e" or bool(columns[name][5]))
            _bad(role != "2" or len(columns[name][2]) == 2)
        _check_parameters(kind, names, parameters, columns)
        _bad(group_by is None or kind in ("count", "missing", *POWERS, *BINNED))
    for name, operator, constant in where:
        if operator == "known":
            _bad(name in columns and constant is None)
        elif is_number(name):
            _bad(operator in ("eq", "ne", "lt", "le", "gt", "ge") and isinstance(constant, float))
        else:
            _bad(operator in ("eq", "ne") and constant in columns[name][2])
    _bad(group_by is None or not is_number(group_by))
    read = {name for one in statistics for name in one[1]} | {one[0] for one in where} | {group_by} - {None}
    texts = [_base(name)[0] for name in read if not is_number(name)]
    _bad(len(set(texts)) == len(texts))
    names = [] if group_by is None else _names(columns[group_by])
    _bad(cells == [name for name in names if name in cells] and (not cells or cells != names))


def _names(column: list[Any]) -> list[str]:
    return [*column[2], "(other)", "(missing)"]


def _groups(fields: list[Any], columns: dict[str, list[Any]]) -> list[Any]:
    """The cells of groups that are summed."""
    if fields[4] is None:
        return [0]
    names = _names(columns[fields[4]])
    return [at for at, name in enumerate(names) if not fields[6] or name in fields[6]]


def _base(name: str) -> tuple[str, int]:
    """Section 41.1: the column whose beginnings a name is of, and how many characters; 200 for the whole."""
    base, mark, length = name.rpartition("|")
    return (base, int(length)) if base and mark and length in [str(each) for each in range(1, 201)] else (name, 200)


def _check_parameters(kind: str, names: list[str], given: list[float], columns: dict[str, list[Any]]) -> None:
    _bad(all(isinstance(value, float) and abs(value) <= 1e100 for value in given))
    if kind == "quantiles":
        _bad(bool(given) and given == sorted(set(given)) and all(0 < value < 1 for value in given))
    elif kind in GLM:
        _bad(len(given) == len(names))
    elif kind == "weighted":
        _bad(len(given) == len(columns[names[1]][2]) and min(given) >= 0 and max(given) > 0)
    elif kind in ("ridge", "consensus", "top"):
        _bad(len(given) == 1)
        value = given[0]
        _bad({"ridge": value > 0, "consensus": 0 <= value <= 1, "top": value >= 1 and value == int(value)}[kind])
    else:
        _bad(not given)


def _totals(fields: list[Any]) -> dict[tuple[Any, ...], int]:
    """Section 41.2: what each total is of, and the most that it may be."""
    columns, rows = {column[1]: column for column in fields[1]}, fields[5]
    groups = range(len(_groups(fields, columns)))
    found: dict[tuple[Any, ...], int] = {("rows", group): rows for group in groups}

    def top(name: str) -> int:
        return int(2 ** columns[name][4]) - 1

    for kind, names, parameters in fields[2]:
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
        elif kind in (*CROSSED, "approval"):
            for together in [[name] for name in names] if kind == "approval" else [names]:
                for at in itertools.product(*(range(_width(columns[name])) for name in together)):
                    found.setdefault(("cell", *together, *at), rows)
        elif kind in ("t-test", "anova"):
            for level, power in itertools.product(range(len(columns[names[1]][2])), range(3)):
                found.setdefault(("by", *names, level, power), rows * top(names[0]) ** power)
        elif kind in ("linear", "ridge"):
            found.setdefault(("complete", *names), rows)
            tops = [1, *map(top, names)]
            for j, k in itertools.combinations_with_replacement(range(len(tops)), 2):
                if k:
                    found.setdefault(("term", *names, j, k), rows * tops[j] * tops[k])
        elif kind in GLM:
            step(columns, names, parameters)
            found.setdefault(("counted", *names), rows)
            for j in range(len(names)):
                found.setdefault(("slope", *names, 0, j), rows << UNIT + 1)
            for j, k in itertools.combinations_with_replacement(range(len(names)), 2):
                found.setdefault(("curve", *names, j, k), rows << UNIT + 1)
        elif kind == "borda":
            found.setdefault(("ballots", *names), rows)
            for at in range(len(names)):
                found.setdefault(("ranks", *names, at), rows * len(names))
        elif kind == "consensus":
            found.setdefault(("speaks", *names), 1)
            found.setdefault(("agrees", *names), 1)
    return found


def _width(column: list[Any]) -> int:
    return len(column[2] if column[0] == "levels" else column[5]) + 2


def step(
    columns: dict[str, list[Any]], names: list[str], parameters: list[float]
) -> tuple[list[tuple[float, int]], list[float], int]:
    """Section 41.3: centre and exponent of predictors, coefficients in scaled units, the bits of a term's bound."""
    units = []
    for name in names[1:]:
        lo, hi = columns[name][2:4]
        centre, exponent = lo / 2 + hi / 2, -400
        while max(hi - centre, centre - lo) >= 2.0**exponent:
            exponent += 1
        units.append((centre, exponent))
    beta = [b * 2.0**e for b, (_, e) in zip(parameters[1:], units, strict=True)]
    moved = sum(Fraction(b) * Fraction(c) for b, (c, _) in zip(parameters[1:], units, strict=True))
    beta.insert(0, float(Fraction(parameters[0]) + moved))
    line = math.fsum(abs(b) for b in beta)
    response = columns[names[0]]
    if response[0] == "levels":
        _bad(line <= 1000)
        return units, beta, 0
    _bad(response[2] >= 0 and line <= 30 * math.log(2))
    return units, beta, math.frexp(response[3] + math.exp(line))[1]


def _terms(given: list[Any], columns: dict[str, list[Any]], row: Case) -> dict[tuple[Any, ...], int]:
    """What one row adds to the totals of a kind of sections 41.2 that are no counts of cells."""
    kind, names, parameters = given
    found: dict[tuple[Any, ...], int] = {}
    if kind == "borda":
        ranks = [row[name] for name in names]
        if sorted(ranks) == list(range(1, len(names) + 1)):
            found = {("ranks", *names, at): int(rank) for at, rank in enumerate(ranks)} | {("ballots", *names): 1}
        return found
    if kind in ("t-test", "anova"):
        status, level = _status(columns[names[0]], row[names[0]])
        cell = _cell(columns[names[1]], row[names[1]])
        return {("by", *names, cell, power): level**power for power in range(3)} if status == "valid" else {}
    numbers = names[kind == "logistic" :]
    levels = [_status(columns[name], row[name]) for name in numbers]
    cell = _cell(columns[names[0]], row[names[0]]) if kind == "logistic" else 0
    if cell > 1 or any(status != "valid" for status, _ in levels):
        return {}
    if kind == "poisson" and row[names[0]] != int(row[names[0]]):
        return {}
    found["counted" if kind in GLM else "complete", *names] = 1
    if kind in ("linear", "ridge"):
        values = [1, *(level for _, level in levels)]
        for j, k in itertools.combinations_with_replacement(range(len(values)), 2):
            found["term", *names, j, k] = values[j] * values[k]
        return found
    units, beta, bits = step(columns, names, parameters)
    u = [1.0, *((row[name] - c) / 2.0**e for name, (c, e) in zip(names[1:], units, strict=True))]
    line = 0.0
    for b, x in zip(beta, u, strict=True):
        line += b * x
    if kind == "logistic":
        small = math.exp(-abs(line))
        mean, spread = (1.0 if line >= 0 else small) / (1.0 + small), small / (1.0 + small) ** 2
        response = float(cell == 0)
    else:
        mean = spread = math.exp(line)
        response = row[names[0]]
    unit = 2.0 ** (UNIT - bits)
    for j, x in enumerate(u):
        found["slope", *names, 0, j] = round((response - mean) * x * unit) + (1 << UNIT)
        for k, y in enumerate(u[j:], j):
            found["curve", *names, j, k] = round(spread * x * y * unit) + (1 << UNIT)
    return found


def _first_of_each(statistics: list[Any]) -> list[Any]:
    """Statistics that share totals count them once."""
    family = {"t-test": "anova", "ridge": "linear"}
    return list({(family.get(one[0], one[0]), *one[1]): one for one in statistics}.values())


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


def _place(column: list[Any], value: Any) -> int:
    """The cell of a text, or of a number: edges reached, the last cell for one that is missing."""
    if column[0] == "levels":
        return _cell(column, value)
    return len(column[5]) + 1 if math.isnan(value) else sum(edge <= value for edge in column[5])


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
        names = key[1 : 1 + len(key) // 2]
        return int(
            all(_place(columns[name], row[name]) == at for name, at in zip(names, key[1 + len(names) :], strict=True))
        )
    (one, x), (other, y) = (_status(columns[name], row[name]) for name in key[1:3])
    if not one == other == "valid":
        return 0
    return 1 if what == "both" else int(x ** key[3] * y ** key[4])


def site_limbs(given: Case) -> list[int]:
    fields = read(bytes.fromhex(given["query"]))
    columns = {column[1]: column for column in fields[1]}
    totals = dict.fromkeys(_totals(fields), 0)
    summed_groups = _groups(fields, columns)
    summed = [one for one in _first_of_each(fields[2]) if one[0] in TERMS]
    votes = [one for one in fields[2] if one[0] == "consensus"]
    spoken = collections.Counter[tuple[str, int]]()
    for at in range(given["rows"]):
        row = {name: values[at] for name, values in given["columns"].items()}
        numbers = {name for name, column in columns.items() if column[0] == "number"}
        row = {name: float.fromhex(value) if name in numbers else value for name, value in row.items()}
        for name in columns.keys() - row.keys() if given["columns"] else ():
            base, length = _base(name)
            row[name] = row[base] and row[base][:length]
        if all(_meets(columns[name], operator, constant, row[name]) for name, operator, constant in fields[3]):
            cell = 0 if fields[4] is None else _cell(columns[fields[4]], row[fields[4]])
            if cell not in summed_groups:
                continue
            group = summed_groups.index(cell)
            for key in totals:
                if key[0] in COUNTS:
                    totals[key] += _add(key, columns, row, group)
            for one in summed:
                for key, amount in _terms(one, columns, row).items():
                    if key in totals:
                        totals[key] += amount
            for one in votes:
                spoken[one[1][0], _cell(columns[one[1][0]], row[one[1][0]])] += 1
    for _, (name,), (share,) in votes:
        first, second = spoken[name, 0], spoken[name, 1]
        totals["speaks", name] = int(first + second > 0)
        totals["agrees", name] = int(first + second > 0 and first >= Fraction(share) * (first + second))
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
    _bad(isinstance(fields, list) and len(fields) == 7 and messagepack.encode(fields) == data)
    check_query(fields)
    return list(fields)


def _floats(values: list[str]) -> list[float]:
    return [float.fromhex(value) for value in values]


def query(given: Case) -> Case:
    columns = [
        column if column[0] == "levels" else [*column[:2], *_floats(column[2:4]), column[4], _floats(column[5])]
        for column in given["columns"]
    ]
    statistics = [[kind, names, _floats(parameters)] for kind, names, parameters in given["statistics"]]
    where = [[a, b, float.fromhex(c[0]) if isinstance(c, list) else c] for a, b, c in given["where"]]
    fields = [given["dataset"], columns, statistics, where, given["group_by"], given["max_rows"], given["cells"]]
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
