"""SPEC sections 31 to 35: the tables of a ledger, verified row by row, and what its budgets and records must count."""

import copy
import hashlib
import json
import math
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from fractions import Fraction
from types import NoneType
from typing import Any

from .costs import gaussian_epsilon, mu_of_sum
from .findings import agree
from .primitives import u32
from .privacy import gaussian_delta_of
from .refusal import Refused, require
from .renyi import BUDGET_ORDERS, conversion, of_event

Row = dict[str, Any]
Tables = dict[str, Any]

FORMAT, ZEROS = 1, "0" * 64
AMOUNT = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]{0,29}[1-9])?")
UNIT = 10**30
LARGEST_COUNT, SECOND = 10**6, 10**6
PHASES = {"create": "create", "reserve": "open", "commit": "close", "release": "close", "resolve": "close"}
COUNTED = {"sum": 2, "gaussian": 1, "renyi": 1, "releases": 1}
CLOSED = {"reason": (str,), "spent": (bool,), "charge": (list,)}
FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "create": {"terms": (dict,), "limit": (list,)},
    "reserve": {"cost": (dict,), "charge": (list,), "participants": (dict,)},
    "commit": {"cost": (dict, NoneType), "charge": (list,), "participants": (dict,)},
    "release": CLOSED,
    "resolve": CLOSED,
}
AFTER = {"spent": (list,), "held": (list,), "open": (int,)}
PARTICIPANTS = {"count": (int,), "sha256": (str,)}
TERMS = {
    **dict.fromkeys(("epsilon", "delta", "neighbours", "composition", "kind"), (str,)),
    "order": (int, float, NoneType),
    "event": (dict, NoneType),
    **dict.fromkeys(("renews", "expires"), (int, NoneType)),
}


def insist(condition: object) -> None:
    require(condition, "LedgerCorruptError")


# Section 33: amounts, limits, charges


def amount(text: object) -> Fraction:
    insist(isinstance(text, str) and AMOUNT.fullmatch(text))
    return Fraction(str(text))


def gaussian_limit(epsilon: float, delta: float) -> float:
    """The most that squared mu may add up to: Gaussian noise of that mu is (epsilon, delta)-DP."""
    low, high = 0.0, 1.0
    while gaussian_delta_of(1 / high, epsilon) <= delta:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if middle and gaussian_delta_of(1 / middle, epsilon) <= delta else (low, middle)
    return low**2


def squared_mu(event: Row) -> float:
    """Section 33: what an event adds to a budget of Gaussian noise."""
    if event["type"] == "GaussianEvent":
        return event["noise_multiplier"] ** -2
    if event["type"] == "DiscreteGaussianEvent":
        lost = math.log(14 * event["dimension"] * 2**58) / (2 * math.pi**2)
        mu = event["sensitivity"] / math.sqrt(event["sigma"] ** 2 - lost) + math.sqrt(math.pi / 2) * 2.0**-58
        return mu**2
    agree("an event near to Gaussian noise", event["type"], "SummedDiscreteGaussianEvent")
    found = mu_of_sum(event["local_sigma"], event["clients"], event["l2_sensitivity"], event["dimension"])
    return math.inf if found is None else found**2


def default_order(terms: Row) -> float:
    goal, delta = float(terms["epsilon"]), float(terms["delta"])
    return max(BUDGET_ORDERS, key=lambda order: (goal - conversion(order, delta)) / order)


def margin_of(terms: Row) -> float:
    """By how much a limit may differ: that of a divergence comes of logarithms."""
    goal, delta = float(terms["epsilon"]), float(terms["delta"])
    if terms["composition"] == "gaussian":
        return 1e-12 * gaussian_limit(goal, delta)
    return 1e-12 * (goal + abs(conversion(terms["order"], delta))) if terms["composition"] == "renyi" else 0.0


def limit_of(terms: Row) -> list[Fraction]:
    """The limit that these terms give, rounding apart."""
    goal, delta = float(terms["epsilon"]), float(terms["delta"])
    if terms["composition"] == "sum":
        return [amount(terms["epsilon"]), amount(terms["delta"])]
    if terms["composition"] == "gaussian":
        return [Fraction(gaussian_limit(goal, delta))]
    if terms["composition"] == "renyi":
        shift = conversion(terms["order"], delta)
        return [Fraction(goal - shift - margin_of(terms))]

    def cost(count: int) -> float:
        return gaussian_epsilon(_multiplier(terms["event"]) / math.sqrt(count), delta)

    return [Fraction(bisect_right(range(1, LARGEST_COUNT + 1), goal, key=cost))]


def _multiplier(event: Row) -> float:
    agree("an event that the checker accounts for", event["type"], "GaussianEvent")
    return event["noise_multiplier"]


def charge_of(cost: Row, terms: Row) -> list[Fraction]:
    """What a cost charges a budget of these terms, rounding apart."""
    kind, composition = cost["type"], terms["composition"]
    if kind in {"Repeated", "Composed"}:
        parts = cost["events"] if kind == "Composed" else [cost["event"]] * cost["count"]
        return [sum(column, Fraction(0)) for column in zip(*(charge_of(part, terms) for part in parts), strict=True)]
    agree("neighbours", cost["neighbours"], terms["neighbours"])
    if kind == "SummedDiscreteGaussianEvent" and cost.get("unit") != terms.get("unit"):
        stated, counted = (said.get("unit", "client") for said in (cost, terms))
        agree("a client's loss, paid for a record's", (stated, counted), ("client", "record"))
        agree("of any change of a client", cost["neighbours"], "replace-one")
    if composition == "gaussian":
        return [Fraction(squared_mu(cost))]
    if composition == "renyi":
        return [Fraction(of_event(cost, terms["order"]))]
    if composition == "releases":
        agree("a planned event, or more noise", _multiplier(cost) >= _multiplier(terms["event"]), True)
        return [Fraction(1)]
    spent = {
        "Cost": lambda: [amount(cost["epsilon"]), amount(cost["delta"])],
        "ApproximateEvent": lambda: [Fraction(cost["epsilon"]), Fraction(cost["delta"])],
        "LaplaceEvent": lambda: [1 / Fraction(cost["noise_multiplier"]), Fraction(0)],
        "DiscreteLaplaceEvent": lambda: [cost["sensitivity"] / Fraction(cost["scale"]), Fraction(0)],
    }
    return spent[kind]()


def is_near(written: list[Fraction], true: list[Fraction], terms: Row) -> bool:
    """Divergences and their limits to nine digits, all else to the last unit."""
    if terms["composition"] not in {"gaussian", "renyi"}:
        return written == true
    return len(written) == 1 and math.isclose(written[0], true[0], rel_tol=1e-9)


# Section 34: records, their chain, and verification


def record_hash(record: Row) -> str:
    numbers = b"".join(record[name].to_bytes(8, "big") for name in ("seq", "time", "period"))
    texts = [record[name].encode() for name in ("kind", "budget", "round_id", "payload")]
    data = b"secagg/v1/ledger-record" + bytes.fromhex(record["previous"]) + numbers
    return hashlib.sha256(data + b"".join(u32(len(text)) + text for text in texts)).hexdigest()


def participants_hash(names: list[str]) -> Row:
    texts = sorted(name.encode() for name in names)
    data = b"secagg/v1/ledger-participants" + b"".join(u32(len(text)) + text for text in texts)
    return {"count": len(names), "sha256": hashlib.sha256(data).hexdigest()}


@dataclass
class Account:
    """What a budget has spent and holds in one period."""

    spent: list[Fraction]
    held: list[Fraction]
    open: int = 0


@dataclass
class Round:
    period: int
    charge: list[Fraction]
    reserved: Row
    committed: Row | None = None
    closed: bool = False


@dataclass
class Budget:
    created: int
    terms: Row
    limit: list[Fraction]
    accounts: dict[int, Account] = field(default_factory=dict)
    rounds: dict[str, Round] = field(default_factory=dict)

    def account(self, period: int) -> Account:
        nothing = [Fraction(0)] * len(self.limit)
        return self.accounts.setdefault(period, Account(nothing, nothing))

    def period(self, time: int) -> int:
        return (time - self.created) // self.terms["renews"] if self.terms["renews"] else 0


def _hold(value: Row, fields: dict[str, tuple[type, ...]]) -> None:
    insist(value.keys() == fields.keys() and all(type(value[name]) in kinds for name, kinds in fields.items()))


def read_payload(record: Row) -> Row:
    try:
        payload = json.loads(record["payload"])
    except ValueError:
        raise Refused("LedgerCorruptError") from None
    insist(type(payload) is dict)
    _hold(payload, {"after": (dict,)} | FIELDS[record["kind"]])
    _hold(payload["after"], AFTER)
    if "participants" in FIELDS[record["kind"]]:
        _hold(payload["participants"], PARTICIPANTS)
    if record["kind"] == "create":
        terms = payload["terms"]
        _hold({name: value for name, value in terms.items() if name != "unit"}, TERMS)
        insist(terms.get("unit", "record") == "record")
        insist(terms["composition"] in COUNTED)
        insist((terms["order"] is not None) == (terms["composition"] == "renyi"))
        insist((terms["event"] is not None) == (terms["composition"] == "releases"))
        insist(terms["neighbours"] in {"add-remove", "replace-one"})
        insist(terms["kind"] in {"data-subject", "data-set", "project"})
        insist(terms["renews"] is None or terms["renews"] >= SECOND)
        insist(amount(terms["epsilon"]) > 0 and amount(terms["delta"]) < 1)
        insist(amount(terms["delta"]) > 0 or terms["composition"] == "sum")
        insist(terms["order"] is None or terms["order"] > 1)
    return payload


class Trail:
    """A trail that is gone through, record by record."""

    def __init__(self) -> None:
        self.budgets: dict[str, Budget] = {}
        self.seq, self.time, self.hash = 0, 0, ZEROS
        self.accounts: dict[tuple[str, int], int] = {}

    def follow(self, record: Row) -> None:
        insist(record["seq"] == self.seq + 1 and record["previous"] == self.hash and record["time"] >= self.time)
        insist(record["kind"] in PHASES and record["phase"] == PHASES[record["kind"]])
        insist(record["period"] >= 0 and record["hash"] == record_hash(record))
        payload = read_payload(record)
        if record["kind"] == "create":
            self._create(record, payload)
        else:
            insist(record["budget"] in self.budgets)
            (self._reserve if record["kind"] == "reserve" else self._close)(record, payload)
        account = self.budgets[record["budget"]].account(record["period"])
        after = payload["after"]
        insist([amount(text) for text in after["spent"]] == account.spent)
        insist([amount(text) for text in after["held"]] == account.held)
        insist(after["open"] == account.open)
        self.seq, self.time, self.hash = record["seq"], record["time"], record["hash"]
        self.accounts[record["budget"], record["period"]] = record["seq"]

    def _create(self, record: Row, payload: Row) -> None:
        insist(record["budget"] not in self.budgets and record["period"] == 0 and record["round_id"] == "")
        terms, limit = payload["terms"], [amount(text) for text in payload["limit"]]
        insist(len(limit) == COUNTED[terms["composition"]])
        insist(terms["composition"] == "releases" or abs(limit[0] - limit_of(terms)[0]) <= margin_of(terms))
        insist(terms["composition"] != "sum" or limit == limit_of(terms))
        self.budgets[record["budget"]] = Budget(record["time"], terms, limit)

    def _reserve(self, record: Row, payload: Row) -> None:
        budget, charge = self.budgets[record["budget"]], [amount(text) for text in payload["charge"]]
        insist(record["round_id"] not in budget.rounds and record["period"] == budget.period(record["time"]))
        insist(budget.terms["expires"] is None or record["time"] < budget.terms["expires"])
        account = budget.account(record["period"])
        insist(len(charge) == len(budget.limit))
        account.held = [a + b for a, b in zip(account.held, charge, strict=True)]
        account.open += 1
        full = zip(account.spent, account.held, budget.limit, strict=True)
        insist(all(spent + held <= limit for spent, held, limit in full))
        budget.rounds[record["round_id"]] = Round(record["period"], charge, payload["participants"])

    def _close(self, record: Row, payload: Row) -> None:
        budget, charge = self.budgets[record["budget"]], [amount(text) for text in payload["charge"]]
        insist(record["round_id"] in budget.rounds)
        opened = budget.rounds[record["round_id"]]
        insist(not opened.closed and opened.period == record["period"])
        insist(len(charge) == len(opened.charge) and all(a <= b for a, b in zip(charge, opened.charge, strict=True)))
        if record["kind"] == "commit":
            opened.committed = payload["participants"]
            insist(payload["cost"] is not None or charge == opened.charge)
        else:
            insist(not (payload["spent"] and record["kind"] == "release"))
            insist(charge == (opened.charge if payload["spent"] else [0] * len(charge)))
        opened.closed = True
        account = budget.account(record["period"])
        account.held = [a - b for a, b in zip(account.held, opened.charge, strict=True)]
        account.spent = [a + b for a, b in zip(account.spent, charge, strict=True)]
        account.open -= 1

    def check_participants(self, filed: list[Row]) -> None:
        names: dict[tuple[str, str], list[Row]] = {}
        for row in filed:
            insist(row["counted"] in {0, 1})
            names.setdefault((row["budget"], row["round_id"]), []).append(row)
        for name, budget in self.budgets.items():
            for round_id, opened in budget.rounds.items():
                rows = names.pop((name, round_id), [])
                counted = [row["participant"] for row in rows if row["counted"]]
                insist(participants_hash([row["participant"] for row in rows]) == opened.reserved)
                insist(participants_hash(counted) == (opened.committed or opened.reserved))
        insist(not names)


def verify(tables: Tables, kept_head: str | None = None) -> dict[str, int]:
    """Section 34, verification: what a ledger holds, or LedgerCorruptError."""
    head, trail, passed = tables["head"], Trail(), set()
    require(head["format"] == FORMAT, "LedgerError")
    for record in sorted(tables["records"], key=lambda row: row["seq"]):
        trail.follow(record)
        passed.add(f"{record['seq']}:{record['hash']}")
    insist((head["seq"], head["hash"]) == (trail.seq, trail.hash))
    insist(kept_head is None or kept_head in passed)
    accounts = sorted(((row["budget"], row["period"]), row["seq"]) for row in tables["accounts"])
    insist(accounts == sorted(trail.accounts.items()))
    trail.check_participants(tables["participants"])
    reservations = sum(a.open for budget in trail.budgets.values() for a in budget.accounts.values())
    return {"records": trail.seq, "budgets": len(trail.budgets), "open_reservations": reservations}


# The vector


def check(vector: dict[str, Any]) -> int:
    """Verify the ledger, recompute what it counts, and refuse its changed copies."""
    tables = vector["tables"]
    for kept in (None, *vector["heads"]):
        agree(f"verified, kept head {kept}", _outcome(tables, kept), vector["verified"])
    compared = 1 + len(vector["heads"]) + _check_amounts(tables["records"]) + len(vector["accepted"])
    for case in vector["accepted"]:
        agree(f"accepted: {case['name']}", _outcome(_changed(tables, case), None), case["verified"])
    for case in vector["refused"]:
        changed = _changed(tables, case)
        agree(f"refused: {case['name']}", _outcome(changed, case["kept_head"]), case["error"])
        if case["kept_head"]:
            agree(f"{case['name']}, without the kept head", type(_outcome(changed, None)), dict)
    return compared + len(vector["refused"])


def _check_amounts(records: list[Row]) -> int:
    """Section 33: limits and charges follow from terms and costs, and are written as section 34 says."""
    terms: dict[str, Row] = {}
    for record in records:
        payload = json.loads(record["payload"])
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        agree(f"payload {record['seq']}", record["payload"], text)
        what = f"record {record['seq']}"
        if record["kind"] == "create":
            given = terms[record["budget"]] = payload["terms"]
            if given["composition"] == "renyi":
                agree(f"{what}, order", given["order"], default_order(given))
            limit = [amount(text) for text in payload["limit"]]
            agree(f"{what}, limit", is_near(limit, limit_of(given), given), True)
        elif payload.get("cost"):
            given = terms[record["budget"]]
            due = [Fraction(math.ceil(part * UNIT), UNIT) for part in charge_of(payload["cost"], given)]
            agree(f"{what}, charge", is_near([amount(text) for text in payload["charge"]], due, given), True)
    return len(records)


def _changed(tables: Tables, case: Row) -> Tables:
    """A copy with edits; rows are numbered as they were before any."""
    changed = copy.deepcopy(tables)
    rows = {name: list(changed[name]) for name in ("records", "accounts", "participants")}
    for edit in case["edits"]:
        name = edit["table"]
        if name == "head":
            changed["head"] |= edit["set"]
        elif "insert" in edit:
            changed[name].append(edit["insert"])
        elif "set" in edit:
            rows[name][edit["row"]] |= edit["set"]
        else:
            changed[name] = [row for row in changed[name] if row is not rows[name][edit["row"]]]
    if case["rechained"]:
        previous = ZEROS
        for record in sorted(changed["records"], key=lambda row: row["seq"]):
            record["previous"] = previous
            previous = record["hash"] = record_hash(record)
            changed["head"] |= {"seq": record["seq"], "hash": previous}
    return changed


def _outcome(tables: Tables, kept_head: str | None) -> dict[str, int] | str:
    try:
        return verify(tables, kept_head)
    except Refused as refused:
        return refused.error
