"""Trails that go on after the ledger's own, consistently but for one thing: what only one rule of verification sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dp.ledger.amounts import Amounts, minus, plus, read, spell
from dp.ledger.kinds import conversion
from dp.ledger.records import PHASES, RecordKind, participants_digest

Tables = dict[str, Any]
Edits = list[Tables]
DAY = 86_400_000_000
NOBODY = participants_digest([])
SMALL = ["0.125", "0.0000001"]


class Continued:
    """Records after the last, each with the account that follows from it; rules are nobody's business here."""

    def __init__(self, tables: Tables) -> None:
        self._tables, self._charges = tables, {}
        self._accounts: dict[tuple[str, int], tuple[Amounts, Amounts, int]] = {}
        for record in tables["records"]:
            payload = json.loads(record["payload"])
            after = payload["after"]
            state = (_units(after["spent"]), _units(after["held"]), after["open"])
            self._accounts[record["budget"], record["period"]] = state
            if record["kind"] == "reserve":
                self._charges[record["budget"], record["round_id"]] = _units(payload["charge"])
        last = tables["records"][-1]
        self.seq, self.time, self._rows, self._last = last["seq"], last["time"], [], {}

    def on(self, budget: str, period: int, time: int | None = None) -> Continued:
        """Take the next records to be of this budget and period, from this time on."""
        self._budget, self._period, self.time = budget, period, time or self.time
        return self

    def create(self, terms: Tables, limit: list[str], **changed: Any) -> Continued:
        nothing = (0,) * len(limit)
        return self._add("create", "", (nothing, nothing, 0), {"terms": terms, "limit": limit} | changed)

    def reserve(self, round_id: str, charge: list[str], /, **changed: Any) -> Continued:
        units = _units(charge)
        spent, held, count = self._account(units)
        self._charges[self._budget, round_id] = units
        facts = {"cost": _cost(charge), "charge": charge, "participants": NOBODY} | changed
        return self._add("reserve", round_id, (spent, plus(held, units), count + 1), facts)

    def close(self, kind: str, round_id: str, charge: list[str], /, of: str = "", **changed: Any) -> Continued:
        units, reserved = _units(charge), self._charges[self._budget, of or round_id]
        spent, held, count = self._account(units)
        facts: Tables = {"charge": charge}
        facts |= {"cost": None, "participants": NOBODY} if kind == "commit" else {"reason": "said", "spent": False}
        return self._add(kind, round_id, (plus(spent, units), minus(held, reserved), count - 1), facts | changed)

    def _account(self, like: Amounts) -> tuple[Amounts, Amounts, int]:
        nothing = (0,) * len(like)
        return self._accounts.get((self._budget, self._period), (nothing, nothing, 0))

    def _add(self, kind: str, round_id: str, account: tuple[Amounts, Amounts, int], facts: Tables) -> Continued:
        self.seq += 1
        spent, held, count = account
        self._accounts[self._budget, self._period] = account
        self._last[self._budget, self._period] = self.seq
        after = {"spent": [*map(spell, spent)], "held": [*map(spell, held)], "open": count} | facts.pop("after", {})
        row = {"seq": self.seq, "time": self.time, "kind": kind, "budget": self._budget, "period": self._period}
        row |= {"phase": str(PHASES[RecordKind(kind)]), "round_id": round_id}
        whole = {name: value for name, value in (facts | {"after": after}).items() if value != "absent"}
        payload = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self._rows.append(row | {"payload": payload, "previous": "", "hash": ""})
        return self

    def edits(self) -> Edits:
        """What makes these tables of the ledger's own; the chain is to be written anew."""
        edits = [{"table": "records", "insert": row} for row in self._rows]
        filed = {(row["budget"], row["period"]): i for i, row in enumerate(self._tables["accounts"])}
        for (budget, period), seq in self._last.items():
            if (budget, period) in filed:
                edits.append({"table": "accounts", "row": filed[budget, period], "set": {"seq": seq}})
            else:
                edits.append({"table": "accounts", "insert": {"budget": budget, "period": period, "seq": seq}})
        return edits


def _units(texts: list[str]) -> Amounts:
    return tuple(map(read, texts))


def _cost(charge: list[str]) -> Tables:
    if len(charge) == 1:
        return {"type": "GaussianEvent", "noise_multiplier": 2.5, "neighbours": "add-remove"}
    return {"type": "Cost", "epsilon": "0.125", "delta": "0.0000001", "neighbours": "replace-one"}


def _terms(**changed: Any) -> Tables:
    whole: Tables = {"epsilon": "2", "delta": "0.000001", "neighbours": "add-remove", "kind": "project"}
    return whole | {"composition": "sum", "order": None, "event": None, "renews": None, "expires": None} | changed


def _renyi_limit(order: float, factor: float = 1.0) -> list[str]:
    added = conversion(order, 1e-6)
    allowed = 2.0 - added - 1e-12 * (2.0 + abs(added))
    ratio = (allowed * factor).as_integer_ratio()
    return [spell(ratio[0] * 10**30 // ratio[1])]


def accepted(tables: Tables) -> Iterator[tuple[str, Edits]]:
    """Trails that verify: they go as far as the rules allow."""
    at_end = _end_of(tables, "project")

    def go_on(budget: str = "hospital", period: int = 0, time: int | None = None) -> Continued:
        return Continued(tables).on(budget, period, time)

    yield "a round reserved and closed in each way", (
        go_on().reserve("w1", SMALL).close("commit", "w1", SMALL)
        .reserve("w2", SMALL).close("commit", "w2", ["0.1", "0"], cost=_cost(SMALL) | {"epsilon": "0.1", "delta": "0"})
        .reserve("w3", SMALL).close("release", "w3", ["0", "0"])
        .reserve("w4", SMALL).close("resolve", "w4", SMALL, spent=True)
        .reserve("w5", SMALL).close("resolve", "w5", ["0", "0"]).edits()
    )  # fmt: skip
    left = _left(tables, "hospital")
    yield "all that is left of a budget", go_on().reserve("w1", left).edits()
    yield "an open round closed after its budget expired", _closed_late(tables, at_end).edits()
    last = go_on("project", (at_end - 1 - _created(tables, "project")) // (30 * DAY), at_end - 1)
    yield "a reservation in the last microsecond", last.reserve("w1", ["0.5"]).edits()
    budgets = {
        "one of a sum": (_terms(delta="0"), ["2", "0"]),
        "one of divergences at its own order": (_terms(composition="renyi", order=8.0), _renyi_limit(8.0)),
        "one that counts for a record": (_terms(unit="record"), ["2", "0.000001"]),
        "one that renews each second": (_terms(renews=1_000_000, kind="data-subject"), ["2", "0.000001"]),
    }
    for name, (terms, limit) in budgets.items():
        yield f"another budget, {name}", go_on("other").create(terms, limit).edits()


def _created(tables: Tables, budget: str) -> int:
    return int(next(row["time"] for row in tables["records"] if row["budget"] == budget))


def _end_of(tables: Tables, budget: str) -> int:
    first = next(row for row in tables["records"] if row["budget"] == budget)
    return int(json.loads(first["payload"])["terms"]["expires"])


def _left(tables: Tables, budget: str) -> list[str]:
    payloads = [json.loads(row["payload"]) for row in tables["records"] if row["budget"] == budget]
    limit, after = _units(payloads[0]["limit"]), payloads[-1]["after"]
    taken = plus(_units(after["spent"]), _units(after["held"]))
    return [spell(amount) for amount in minus(limit, taken)]


def _unclosed(tables: Tables) -> Tables:
    """The round that the ledger leaves open."""
    return tables["records"][-1]  # type: ignore[no-any-return]


def _closed_late(tables: Tables, time: int) -> Continued:
    opened = _unclosed(tables)
    facts = json.loads(opened["payload"])
    trail = Continued(tables).on(opened["budget"], opened["period"], time)
    return trail.close("commit", opened["round_id"], facts["charge"], participants=facts["participants"])


def continued(tables: Tables) -> Iterator[tuple[str, Edits]]:
    """Trails that break one rule each."""
    for part in (_accounts, _rounds, _charges, _times, _payloads, _budgets):
        for name, trail in part(tables):
            yield name, trail.edits()


def _start(tables: Tables) -> Continued:
    return Continued(tables).on("hospital", 0)


def _accounts(tables: Tables) -> Iterator[tuple[str, Continued]]:
    for name, wrong in (("held", ["0.2", "0.0000001"]), ("open", 2), ("spent", ["0.5", "0.0000001"])):
        yield f"an account that has another {name}", _start(tables).reserve("w1", SMALL, after={name: wrong})
    yield (
        "an account of a close that has another held",
        _start(tables).reserve("w1", SMALL).close("release", "w1", ["0", "0"], after={"held": SMALL}),
    )
    yield "an account that has fewer amounts", _start(tables).reserve("w1", SMALL, after={"held": ["0.125"]})


def _rounds(tables: Tables) -> Iterator[tuple[str, Continued]]:
    terms, limit = _terms(), ["2", "0.000001"]
    twice = Continued(tables).on("other", 0).create(terms, limit).create(terms, limit)
    yield "a budget created twice", twice
    yield "a round reserved twice", _start(tables).reserve("w1", SMALL).reserve("w1", SMALL)
    again = _start(tables).reserve("w1", SMALL).close("release", "w1", ["0", "0"]).reserve("w1", SMALL)
    yield "a round reserved again after it was over", again
    both = _start(tables).reserve("w1", SMALL).reserve("w2", SMALL)
    yield "a round closed twice", both.close("commit", "w1", SMALL).close("commit", "w1", SMALL)
    yield "a round closed that nobody opened", _start(tables).reserve("w1", SMALL).close("commit", "w9", SMALL, of="w1")
    opened = _unclosed(tables)
    charge, late = json.loads(opened["payload"])["charge"], _created(tables, "project") + 95 * DAY
    trail = Continued(tables).on("project", 3, late).reserve("w1", charge)
    yield "a round closed in another period", trail.on("project", opened["period"]).close("commit", "w1", charge)
    yield "a reservation of another period", Continued(tables).on("project", 1, late).reserve("w1", charge)
    left = _left(tables, "hospital")
    for place, what in enumerate(("epsilon", "delta")):
        more = [spell(read(amount) + (i == place)) for i, amount in enumerate(left)]
        yield f"a reservation beyond the limit by the least {what}", _start(tables).reserve("w1", more)


def _charges(tables: Tables) -> Iterator[tuple[str, Continued]]:
    def reserved() -> Continued:
        return _start(tables).reserve("w1", SMALL)

    less, more, none = ["0.1", "0.0000001"], ["0.125", "0.0000002"], ["0", "0"]
    yield "a commitment that charges more than was reserved", reserved().close("commit", "w1", more, cost=_cost(more))
    yield "a commitment without a cost that charges less", reserved().close("commit", "w1", less)
    yield "a release that charges", reserved().close("release", "w1", less)
    yield "a release that charges all and says so", reserved().close("release", "w1", SMALL, spent=True)
    yield "a release that says it was spent", reserved().close("release", "w1", none, spent=True)
    yield "a resolution as unspent that charges", reserved().close("resolve", "w1", less)
    yield "a resolution as spent that charges less", reserved().close("resolve", "w1", less, spent=True)


def _times(tables: Tables) -> Iterator[tuple[str, Continued]]:
    end, created = _end_of(tables, "project"), _created(tables, "project")
    for name, time in (("when its budget expires", end), ("after its budget expired", end + 40 * DAY)):
        trail = Continued(tables).on("project", (time - created) // (30 * DAY), time)
        yield f"a reservation {name}", trail.reserve("w1", ["0.5"])


def _payloads(tables: Tables) -> Iterator[tuple[str, Continued]]:
    def one(**changed: Any) -> Continued:
        return _start(tables).reserve("w1", SMALL, **changed)

    yield "a reservation with a further key", one(note="x")
    yield "a reservation with a reason", one(reason="said")
    for name in ("cost", "participants"):
        yield f"a reservation without {name}", one(**{name: "absent"})
    yield "a reservation whose cost is null", one(cost=None)
    yield "an account with a further key", one(after={"limit": "3"})
    for kind, name in (("commit", "cost"), ("release", "reason"), ("release", "spent"), ("resolve", "reason")):
        charge = SMALL if kind == "commit" else ["0", "0"]
        yield f"a {kind} without {name}", one().close(kind, "w1", charge, **{name: "absent"})
    yield "a resolve that is spent by a number", one().close("resolve", "w1", SMALL, spent=1)
    for text in ("0.1250", "00.125", "+0.125", ".125", "1.25e-1", "0,125", " 0.125", "-0.125"):
        yield f"an amount spelled {text}", one(charge=[text, SMALL[1]])
    yield "an amount that is a number", one(charge=[0.125, SMALL[1]])
    fine = ["0.125" + 27 * "0" + "1", SMALL[1]]
    yield "an amount of 31 digits", one(charge=fine, after={"held": fine})
    yield "a charge of one amount for two", one(charge=SMALL[:1], after={"held": SMALL[:1]})
    yield "amounts in a text", Continued(tables).on("series", 0).reserve("w1", ["1"], charge="1")


def _budgets(tables: Tables) -> Iterator[tuple[str, Continued]]:
    sums, renyi = ["2", "0.000001"], _renyi_limit(8.0)
    event = {"type": "GaussianEvent", "noise_multiplier": 2.5, "neighbours": "add-remove"}
    divergence = _terms(composition="renyi", order=8.0)
    for name, terms, limit in (
        ("a limit of divergence hardly above its terms", divergence, _renyi_limit(8.0, 1 + 2e-11)),
        ("a limit of divergence hardly below its terms", divergence, _renyi_limit(8.0, 1 - 2e-11)),
        ("a limit of a sum below its terms", _terms(), ["1.9", "0.000001"]),
        ("an order where there is no divergence", _terms(order=8.0), sums),
        ("divergence at no order", _terms(composition="renyi"), renyi),
        ("divergence at order 1", _terms(composition="renyi", order=1.0), renyi),
        ("divergence at a delta of 0", divergence | {"delta": "0"}, renyi),
        ("an event where no releases are counted", _terms(event=event), sums),
        ("releases of no event", _terms(composition="releases"), ["5"]),
        ("no composition that there is", _terms(composition="max"), sums),
        ("no neighbours that there are", _terms(neighbours="others"), sums),
        ("no kind that there is", _terms(kind="device"), sums),
        ("no unit that there is", _terms(unit="house"), sums),
        ("a unit that goes without saying", _terms(unit="client"), sums),
        ("a renewal after no time", _terms(renews=0), sums),
        ("a renewal after less than a second", _terms(renews=999_999), sums),
        ("a limit of no epsilon", _terms(epsilon="0"), ["0", "0.000001"]),
        ("a delta of 1", _terms(delta="1"), ["2", "1"]),
        ("a further term", _terms(note="x"), sums),
        ("a limit of one amount for two", _terms(), ["2"]),
        ("a limit of two amounts for one", divergence, [*renyi, "0"]),
        ("a limit of a sum with another delta", _terms(), ["2", "0.000002"]),
    ):
        yield f"a budget of {name}", Continued(tables).on("other", 0).create(terms, limit)
    yield "a budget created in a later period", Continued(tables).on("other", 1).create(_terms(), sums)
