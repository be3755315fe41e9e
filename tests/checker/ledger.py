"""SPEC part V: a ledger's tables, verified; the chain, the accounts, limits and charges are recomputed."""

import copy
import hashlib
import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

from .costs import gaussian_epsilon
from .findings import agree
from .refusal import Refused, require

CORRUPT = "LedgerCorruptError"
GRID = 10**30
GENESIS = "00" * 32
PHASES = {"create": "create", "reserve": "open", "commit": "close", "release": "close", "resolve": "close"}
COUNTED = {"sum": 2, "renyi": 1, "releases": 1}
NEAR = 1e-9
Tables = dict[str, Any]
Amounts = list[int]


def _u64(value: int) -> bytes:
    require(0 <= value < 2**64, CORRUPT)
    return value.to_bytes(8, "big")


def _long(text: str) -> bytes:
    return len(text.encode()).to_bytes(4, "big") + text.encode()


def record_hash(record: Tables) -> str:
    data = b"secagg/v1/ledger-record" + bytes.fromhex(record["previous"])
    data += _u64(record["seq"]) + _u64(record["time"]) + _u64(record["period"])
    data += b"".join(_long(record[name]) for name in ("kind", "budget", "round_id", "payload"))
    return hashlib.sha256(data).hexdigest()


def participants_digest(names: list[str]) -> Tables:
    data = b"secagg/v1/ledger-participants" + b"".join(map(_long, sorted(names, key=str.encode)))
    return {"count": len(names), "sha256": hashlib.sha256(data).hexdigest()}


def amount(text: Any) -> int:
    """Section 33: decimals without exponent or trailing zeros, on the grid."""
    require(isinstance(text, str) and set(text) <= set("0123456789."), CORRUPT)
    units = Fraction(Decimal(text)) * GRID
    require(units.denominator == 1 and spelled(int(units)) == text, CORRUPT)
    return int(units)


def spelled(units: int) -> str:
    whole, rest = divmod(units, GRID)
    return f"{whole}.{rest:030d}".rstrip("0").rstrip(".")


def _amounts(texts: Any, kinds: int) -> Amounts:
    require(isinstance(texts, list) and len(texts) == kinds, CORRUPT)
    return [amount(text) for text in texts]


def _within(ones: Amounts, limits: Amounts) -> bool:
    return all(one <= limit for one, limit in zip(ones, limits, strict=True))


class Replay:
    """What follows from the records so far."""

    def __init__(self, tables: Tables, *, prices: bool) -> None:
        self.tables, self.prices, self.priced = tables, prices, 0
        self.budgets: dict[str, Tables] = {}
        self.accounts: dict[tuple[str, int], Tables] = {}
        self.opened: dict[tuple[str, str], Tables] = {}
        self.ever: set[tuple[str, str]] = set()

    def follow(self, record: Tables) -> None:
        facts = json.loads(record["payload"])
        require(PHASES.get(record["kind"]) == record["phase"], CORRUPT)
        if record["kind"] == "create":
            self._create(record, facts)
        else:
            require(record["budget"] in self.budgets, CORRUPT)
        budget = self.budgets[record["budget"]]
        kinds, key = len(budget["limit"]), (record["budget"], record["period"])
        account = copy.deepcopy(self.accounts.get(key, {"spent": [0] * kinds, "held": [0] * kinds, "open": 0}))
        if record["phase"] == "open":
            self._open(record, facts, budget, account)
        elif record["phase"] == "close":
            self._close(record, facts, account, kinds)
        require(facts["after"]["open"] == account["open"], CORRUPT)
        for name in ("spent", "held"):
            require(_amounts(facts["after"][name], kinds) == account[name], CORRUPT)
        self.accounts[key] = account | {"seq": record["seq"]}

    def _create(self, record: Tables, facts: Tables) -> None:
        require(record["budget"] not in self.budgets and not record["round_id"] and not record["period"], CORRUPT)
        terms = facts["terms"]
        limit = _amounts(facts["limit"], COUNTED[terms["composition"]])
        if terms["composition"] == "releases":
            agree("releases that fit", not self.prices or limit == [GRID * most_releases(terms)], True)
        elif terms["composition"] == "sum":
            require(limit == [amount(terms["epsilon"]), amount(terms["delta"])], CORRUPT)
        else:
            require(math.isclose(limit[0] / GRID, renyi_limit(terms), rel_tol=NEAR), CORRUPT)
        self.budgets[record["budget"]] = {"terms": terms, "limit": limit, "created": record["time"]}

    def _open(self, record: Tables, facts: Tables, budget: Tables, account: Tables) -> None:
        key, charge = (record["budget"], record["round_id"]), _amounts(facts["charge"], len(budget["limit"]))
        require(key not in self.ever, CORRUPT)
        renews = budget["terms"]["renews"]
        period = (record["time"] - budget["created"]) // renews if renews else 0
        require(record["period"] == period, CORRUPT)
        self.ever.add(key)
        self.opened[key] = {"record": record, "charge": charge, "participants": facts["participants"]}
        account["held"] = [a + b for a, b in zip(account["held"], charge, strict=True)]
        account["open"] += 1
        taken = [a + b for a, b in zip(account["held"], account["spent"], strict=True)]
        require(_within(taken, budget["limit"]), CORRUPT)
        require(facts["participants"] == participants_digest(self._names(key, {0, 1})), CORRUPT)
        self._check_price(facts["cost"], charge, budget["terms"])

    def _close(self, record: Tables, facts: Tables, account: Tables, kinds: int) -> None:
        key, charge = (record["budget"], record["round_id"]), _amounts(facts["charge"], kinds)
        opened = self.opened.pop(key, None)
        require(opened and opened["record"]["period"] == record["period"], CORRUPT)
        assert opened
        require(_within(charge, opened["charge"]), CORRUPT)
        counted = participants_digest(self._names(key, {1}))
        if record["kind"] == "commit":
            require(facts["participants"] == counted, CORRUPT)
            terms = self.budgets[record["budget"]]["terms"]
            if facts["cost"] is not None and terms["composition"] == "releases":
                agree("no less noise", facts["cost"]["noise_multiplier"] >= terms["event"]["noise_multiplier"], True)
                agree("as reserved", charge, opened["charge"])
            elif facts["cost"] is not None:
                self._check_price(facts["cost"], charge, terms)
        else:
            require(charge == (opened["charge"] if facts["spent"] is True else [0] * kinds), CORRUPT)
            require(opened["participants"] == counted, CORRUPT)
        account["held"] = [a - b for a, b in zip(account["held"], opened["charge"], strict=True)]
        account["spent"] = [a + b for a, b in zip(account["spent"], charge, strict=True)]
        account["open"] -= 1

    def _names(self, key: tuple[str, str], marks: set[int]) -> list[str]:
        """All of a round's participants for the marks 0 and 1, those who count for 1; any other mark does not."""
        rows = [row for row in self.tables["participants"] if (row["budget"], row["round_id"]) == key]
        return [row["participant"] for row in rows if row["counted"] in marks or 0 in marks]

    def _check_price(self, cost: Tables, charge: Amounts, terms: Tables) -> None:
        """Verification believes the costs that it is told (section 31); the honest trail of a vector has them right."""
        if not self.prices:
            return
        ours = price(cost, terms)
        exact = all(isinstance(part, int) for part in ours)
        near = all(math.isclose(a / GRID, b, rel_tol=NEAR) for a, b in zip(charge, ours, strict=True))
        agree(f"charge of {cost}", charge == ours if exact else near, True)
        self.priced += 1

    def finish(self) -> None:
        """The other tables hold what follows from the records, and nothing else."""
        for key, opened in self.opened.items():
            require(opened["participants"] == participants_digest(self._names(key, {1})), CORRUPT)
        filed = {(row["budget"], row["period"]): row["seq"] for row in self.tables["accounts"]}
        require(filed == {key: account["seq"] for key, account in self.accounts.items()}, CORRUPT)
        require({(row["budget"], row["round_id"]) for row in self.tables["participants"]} <= self.ever, CORRUPT)


def verify(tables: Tables, kept_head: str | None, *, prices: bool = False) -> Replay:
    """Section 34: all of a ledger; `LedgerCorruptError` where anything contradicts its trail."""
    replay, previous, time = Replay(tables, prices=prices), GENESIS, 0
    records = sorted(tables["records"], key=lambda record: record["seq"])
    for number, record in enumerate(records, 1):
        require(record["seq"] == number and record["previous"] == previous, CORRUPT)
        require(record["time"] >= time and record_hash(record) == record["hash"], CORRUPT)
        previous, time = record["hash"], record["time"]
        replay.follow(record)
    require(tables["head"] == {"format": 1, "seq": len(records), "hash": previous}, CORRUPT)
    if kept_head is not None:
        seq, _, kept = kept_head.partition(":")
        require(int(seq) <= len(records), CORRUPT)
        require(kept == ([GENESIS] + [record["hash"] for record in records])[int(seq)], CORRUPT)
    replay.finish()
    return replay


# Limits and charges


def renyi_limit(terms: Tables) -> float:
    epsilon, delta, a = float(Fraction(terms["epsilon"])), float(Fraction(terms["delta"])), terms["order"]
    added = math.log1p(-1 / a) - (math.log(delta) + math.log(a)) / (a - 1)
    return epsilon - added - 1e-12 * (epsilon + abs(added))


def most_releases(terms: Tables) -> int:
    assert terms["event"]["type"] == "GaussianEvent", "no closed form: take another event for a vector"
    multiplier, delta = terms["event"]["noise_multiplier"], float(Fraction(terms["delta"]))
    fits = 0
    while gaussian_epsilon(multiplier / math.sqrt(fits + 1), delta) <= float(Fraction(terms["epsilon"])):
        fits += 1
    return fits


def price(cost: Tables, terms: Tables) -> list[Any]:
    """The charge: in units where it is exact, else what it is about."""
    if terms["composition"] == "releases":
        count = 1
        while cost["type"] == "Repeated":
            count, cost = count * cost["count"], cost["event"]
        agree("the planned release", cost, terms["event"])
        return [count * GRID]
    if terms["composition"] == "renyi":
        return [_divergence(cost, terms["order"])]
    if cost["type"] == "Cost":
        return [amount(cost["epsilon"]), amount(cost["delta"])]
    assert cost["type"] == "LaplaceEvent"
    return [math.ceil(GRID / Fraction(cost["noise_multiplier"])), 0]


def _divergence(cost: Tables, order: float) -> float:
    if cost["type"] == "Repeated":
        return float(cost["count"] * _divergence(cost["event"], order))
    if cost["type"] == "Composed":
        return sum(_divergence(part, order) for part in cost["events"])
    assert cost["type"] == "GaussianEvent"
    return float(order / (2 * cost["noise_multiplier"] ** 2))


# The vector


def edited(tables: Tables, edits: list[Tables]) -> Tables:
    """The tables with some cells set, rows removed or added; rows are numbered as they were before."""
    out = copy.deepcopy(tables)
    removed: list[tuple[str, int]] = []
    for edit in edits:
        if edit["table"] == "head":
            out["head"] |= edit["set"]
        elif "set" in edit:
            out[edit["table"]][edit["row"]] |= edit["set"]
        elif "insert" in edit:
            out[edit["table"]].append(edit["insert"])
        else:
            removed.append((edit["table"], edit["row"]))
    for table, row in sorted(removed, reverse=True):
        del out[table][row]
    return out


def rechained(tables: Tables) -> Tables:
    """The same records with a chain and a head that fit."""
    previous = GENESIS
    for record in sorted(tables["records"], key=lambda record: record["seq"]):
        record["previous"] = previous
        record["hash"] = previous = record_hash(record)
    tables["head"] |= {"hash": previous}
    return tables


def verdict(tables: Tables, kept_head: str | None) -> str:
    try:
        verify(tables, kept_head)
    except Refused as refused:
        return refused.error
    except (KeyError, ValueError):  # a payload that is no such thing
        return CORRUPT
    return "accepted"


def check(vector: Tables) -> int:
    """Verify the ledger and all that is wrong with its changed copies; return how many things were compared."""
    tables = vector["tables"]
    for head in (None, *vector["heads"]):
        agree(f"the trail, held against {head}", verdict(tables, head), "accepted")
    replay = verify(tables, None, prices=True)
    agree("records", len(tables["records"]), vector["verified"]["records"])
    agree("budgets", len(replay.budgets), vector["verified"]["budgets"])
    agree("open reservations", len(replay.opened), vector["verified"]["open_reservations"])
    for case in vector["refused"]:
        changed = edited(tables, case["edits"])
        changed = rechained(changed) if case["rechained"] else changed
        agree(case["name"], verdict(changed, case["kept_head"]), case["error"])
        if case["kept_head"] is not None:
            agree(f"{case['name']}, which nothing else shows", verdict(changed, None), "accepted")
    return len(tables["records"]) + replay.priced + len(vector["heads"]) + len(vector["refused"]) + 3
