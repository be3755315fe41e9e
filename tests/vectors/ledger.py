"""The vector of the ledger: the tables that a real one has written, and copies with one thing changed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dp.events import (
    ApproximateEvent,
    Composed,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    GaussianEvent,
    LaplaceEvent,
    Repeated,
    SummedDiscreteGaussianEvent,
    ZCDPEvent,
)
from dp.ledger import Budget, Cost, Ledger, Verified
from dp.sensitivity import Adjacency
from protocols.audit.replay.recorded_ledger import COLUMNS, counts, edited, outcome, rechained, record_of

from . import ledger_defects

Tables = dict[str, Any]
Edits = list[Tables]
ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE
START = datetime(2026, 1, 1, tzinfo=UTC)


def _spend(ledger: Ledger, at: Callable[[float], None]) -> Iterator[str]:
    """Fill a ledger with all kinds of records and budgets; yield heads worth keeping on the way."""
    gaussian, laplace = GaussianEvent(2.5, ADD), LaplaceEvent(3.0, REPLACE, 1)
    ledger.create(Budget("hospital", "3", "1e-5", adjacency=REPLACE, kind="data-set"))
    first = ledger.reserve(
        "hospital", Cost("0.5", "1e-6", adjacency=REPLACE), round_id="r1", participants=["é", "z", "a"]
    )
    at(1.5)
    ledger.commit(first, Cost("0.1", "1e-7", adjacency=REPLACE), participants=["z", "é"])
    yield ledger.verify().head
    lost = ledger.reserve("hospital", laplace, round_id="r2", participants=["a"])
    failed = ledger.reserve("hospital", Cost("1", adjacency=REPLACE), round_id="r3", participants=["a", "b"])
    ledger.release(failed, "nobody answered")
    ledger.resolve(lost, spent=True, reason="the server died after the sum: counted as spent")
    unknown = ledger.reserve("hospital", Cost("0.25", adjacency=REPLACE), round_id="r4")
    ledger.resolve(unknown, spent=False, reason="the log shows that no client answered")
    at(40)
    monthly = Budget(
        "project",
        "6",
        "1e-6",
        adjacency=ADD,
        composition="renyi",
        renews=timedelta(days=30),
        expires=START + timedelta(900),
    )
    ledger.create(monthly)
    ledger.spend("project", gaussian, round_id="s1", participants=["a"])
    at(75)
    late = ledger.reserve("project", Repeated(Composed((gaussian, GaussianEvent(40.0, ADD))), 2), round_id="s2")
    ledger.create(Budget("series", "4", "1e-5", adjacency=ADD, composition="releases", event=gaussian))
    ledger.spend("series", Repeated(gaussian, 2), round_id="t1")
    at(101)
    better = ledger.reserve("series", gaussian, round_id="t2", participants=["p"])
    ledger.commit(better, GaussianEvent(2.75, ADD))
    ledger.commit(late)
    discrete = DiscreteLaplaceEvent(70.0, 3, 2, REPLACE)
    for number, pure in enumerate((ApproximateEvent(0.1, 2e-7, REPLACE), discrete, Repeated(Composed((laplace,)), 2))):
        ledger.spend("hospital", pure, round_id=f"q{number}")
    others = (
        ZCDPEvent(0.03125, ADD),
        DiscreteGaussianEvent(17.5, 3.5, 9, ADD),
        LaplaceEvent(12.5, ADD, 4),
        DiscreteLaplaceEvent(31.0, 2, 1, ADD),
        SummedDiscreteGaussianEvent(0.75, 40, 0.5, 4.0, 9, ADD),
        SummedDiscreteGaussianEvent(0.75, 40, 0.5, 0.5, 400, ADD),  # one client's noise alone has the better bound
    )
    for number, event in enumerate(others):
        ledger.spend("project", event, round_id=f"e{number}")
    ledger.create(Budget("rounds", "4", "1e-6", adjacency=ADD, composition="gaussian"))
    near = (
        Repeated(GaussianEvent(7.5, ADD), 3),
        DiscreteGaussianEvent(170.0, 35.0, 9, ADD),
        SummedDiscreteGaussianEvent(1.75, 40, 1.5, 4.0, 9, ADD),
    )
    for number, event in enumerate(near):
        ledger.spend("rounds", event, round_id=f"g{number}")
    ledger.create(Budget("records", "4", "1e-6", adjacency=REPLACE, unit="record", composition="gaussian"))
    for number, unit in enumerate(
        ("record", "client")
    ):  # what is private for any change of a client is so for a record
        ledger.spend(
            "records", SummedDiscreteGaussianEvent(1.75, 40, 1.5, 4.0, 9, REPLACE, unit), round_id=f"u{number}"
        )
    ledger.reserve("project", gaussian, round_id="s3", participants=["a", "b"])
    yield ledger.verify().head


def _real() -> tuple[Tables, list[str], Verified]:
    now = START

    def at(days: float) -> None:
        nonlocal now
        now = START + timedelta(days=days)

    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with Ledger.open(str(path), create=True, clock=lambda: now, trust_clock=True) as ledger:
            heads = list(_spend(ledger, at))
            verified = ledger.verify()
        with closing(sqlite3.connect(path)) as file:
            tables: Tables = {
                name: [
                    dict(zip(columns, row, strict=True))
                    for row in file.execute(f"SELECT {', '.join(columns)} FROM ledger_{name} ORDER BY 1, 2, 3")  # noqa: S608 - constants
                ]
                for name, columns in COLUMNS.items()
            }
            ((form, seq, digest),) = file.execute("SELECT format, seq, hash FROM ledger_head")
    return tables | {"head": {"format": form, "seq": seq, "hash": digest}}, heads, verified


# Copies behind the ledger's back


def _head(**values: Any) -> Tables:
    return {"table": "head", "set": values}


def _set(table: str, row: int, **values: Any) -> Tables:
    return {"table": table, "row": row, "set": values}


def _remove(table: str, row: int) -> Tables:
    return {"table": table, "row": row, "remove": True}


class _Changes:
    """One thing changed in each copy of the tables."""

    def __init__(self, tables: Tables, heads: list[str]) -> None:
        self.tables, self.heads, self.records = tables, heads, tables["records"]

    def row_of(self, table: str, **values: Any) -> int:
        return next(row for row, cells in enumerate(self.tables[table]) if values.items() <= cells.items())

    def payload(self, row: int, **values: Any) -> Tables:
        whole = json.loads(self.records[row]["payload"]) | values
        return _set(
            "records", row, payload=json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        )

    def all(self) -> Iterator[Tables]:
        bare = {"kept_head": None, "rechained": False}
        for name, edits in {**self._of_the_chain(), **self._of_other_tables()}.items():
            yield {"name": name, "edits": edits} | bare
        for name, edits in self._of_what_records_say().items():
            yield {"name": f"{name}, and the chain written anew", "edits": edits} | bare | {"rechained": True}
        anew = [_set("records", 1, time=self.records[1]["time"] + 1)]
        for name, edits in ledger_defects.continued(self.tables):
            yield {"name": f"{name}, after the end", "edits": edits} | bare | {"rechained": True}
        yield {
            "name": "the kept head of a trail written anew",
            "edits": anew,
            "kept_head": self.heads[0],
            "rechained": True,
        }
        cut = _cut(self.tables)
        yield {
            "name": "the kept head of a trail cut short",
            "edits": cut,
            "kept_head": self.heads[-1],
            "rechained": False,
        }

    def _of_the_chain(self) -> dict[str, Edits]:
        last = len(self.records) - 1
        commit = self.row_of("records", kind="commit")
        other = self.records[last] | {"previous": self.records[last - 2]["hash"]}
        other = {"previous": other["previous"], "hash": record_of(other).computed_hash()}
        return {
            "a payload changed": [self.payload(commit, charge=["0.01", "0.0000001"])],
            "nothing but a reason changed": [
                self.payload(self.row_of("records", kind="release"), reason="nobody asked")
            ],
            "a last hash changed, and the head": [_set("records", last, hash="11" * 32), _head(hash="11" * 32)],
            "a last record of another predecessor": [_set("records", last, **other), _head(hash=other["hash"])],
            "a ledger of another format": [_head(format=2)],
            "a time changed": [_set("records", 3, time=self.records[3]["time"] + 1)],
            "a budget changed": [_set("records", 3, budget="project")],
            "a round's id changed": [_set("records", 3, round_id="r9")],
            "a phase changed": [_set("records", 3, phase="late")],
            "a hash changed": [_set("records", 3, hash="11" * 32)],
            "a predecessor changed": [_set("records", 3, previous="11" * 32)],
            "a first record that does not start from zeros": [_set("records", 0, previous="11" * 32)],
            "a record in the middle removed": [_remove("records", 4)],
            "the last record removed": [_remove("records", last)],
            "two records exchanged": [_set("records", 3, seq=5), _set("records", 4, seq=4)],
            "a record added": [
                {"table": "records", "insert": self.records[last] | {"seq": last + 2, "round_id": "s9"}}
            ],
            "a head of another record": [_head(seq=last, hash=self.records[last - 1]["hash"])],
            "a head of another hash": [_head(hash="11" * 32)],
        }

    def _of_other_tables(self) -> dict[str, Edits]:
        def participant(**values: Any) -> int:
            return self.row_of("participants", **values)

        def more(table: str, **row: Any) -> Edits:
            return [{"table": table, "insert": row}]

        account = self.tables["accounts"][0]["seq"]
        return {
            "an account of an earlier record": [_set("accounts", 0, seq=account - 1)],
            "an account removed": [_remove("accounts", 1)],
            "an account of no budget": more("accounts", budget="none", period=0, seq=1),
            "a participant removed": [_remove("participants", participant(round_id="r1", counted=1))],
            "a participant renamed": [_set("participants", participant(round_id="s3"), participant="c")],
            "a participant marked off": [_set("participants", participant(round_id="t2"), counted=0)],
            "a participant marked on": [_set("participants", participant(counted=0), counted=1)],
            "a mark that is none": [_set("participants", participant(round_id="t2"), counted=2)],
            "participants of no round": more(
                "participants", budget="project", round_id="s9", participant="a", counted=1
            ),
            "a participant too many": more(
                "participants", budget="hospital", round_id="r4", participant="q", counted=1
            ),
        }

    def _of_what_records_say(self) -> dict[str, Edits]:
        def row(**values: Any) -> int:
            return self.row_of("records", **values)

        commit, small = row(kind="commit"), "0.0000001"
        after = {"held": ["0", "0"], "open": 0, "spent": ["0.1", small]}
        return {
            "an account that does not follow": [self.payload(commit, after=after | {"spent": ["0.2", small]})],
            "more than was reserved": [
                self.payload(commit, charge=["0.7", small], after=after | {"spent": ["0.7", small]})
            ],
            "a charge with trailing zeros": [self.payload(commit, charge=["0.10", small])],
            "a charge of one amount": [self.payload(commit, charge=["0.1"])],
            "other participants": [self.payload(commit, participants={"count": 0, "sha256": "11" * 32})],
            "a release that claims to be spent": [self.payload(row(kind="release"), spent=True)],
            "a resolution that costs less than it says": [self.payload(row(kind="resolve"), charge=["0", "0"])],
            "a reservation of another period": [_set("records", row(round_id="s1", kind="reserve"), period=1)],
            "a limit above the terms": [self.payload(0, limit=["4", "0.00001"])],
            "terms that there are not": [self.payload(0, terms={"epsilon": "3"})],
            "a time that runs back": [_set("records", row(round_id="s1", kind="commit"), time=self.records[1]["time"])],
            "a kind that there is not": [_set("records", commit, kind="forgive")],
            "a round closed that is not open": [_set("records", commit, round_id="r7")],
            "a budget that nobody created": [_set("records", row(round_id="r4", kind="reserve"), budget="none")],
        }


def _cut(tables: Tables) -> Edits:
    """The last record undone without a trace in the ledger itself."""
    last = len(tables["records"]) - 1
    record, before = tables["records"][last], tables["records"][last - 1]
    rows = [i for i, row in enumerate(tables["participants"]) if row["round_id"] == record["round_id"]]
    account = next(i for i, row in enumerate(tables["accounts"]) if row["seq"] == record["seq"])
    known = [
        row
        for row in tables["records"][:last]
        if (row["budget"], row["period"]) == (record["budget"], record["period"])
    ]
    edits = [_remove("records", last), *(_remove("participants", row) for row in rows)]
    edits.append(_set("accounts", account, seq=known[-1]["seq"]) if known else _remove("accounts", account))
    return [*edits, {"table": "head", "set": {"seq": before["seq"], "hash": before["hash"]}}]


def _refused(tables: Tables, heads: list[str]) -> Iterator[Tables]:
    for case in _Changes(tables, heads).all():
        changed = edited(tables, case["edits"])
        changed = rechained(changed) if case["rechained"] else changed
        error = outcome(changed, case["kept_head"])
        if not isinstance(error, str):
            raise ValueError(f"{case['name']} goes unnoticed")
        if case["kept_head"] is not None and isinstance(outcome(changed), str):
            raise ValueError(f"{case['name']} shows without the kept head, too")
        yield case | {"error": error}


def _accepted(tables: Tables) -> Iterator[Tables]:
    for name, edits in ledger_defects.accepted(tables):
        found = outcome(rechained(edited(tables, edits)))
        if isinstance(found, str):
            raise ValueError(f"{name} is refused")
        yield {"name": name, "edits": edits, "kept_head": None, "rechained": True, "verified": counts(found)}


def _lines(rows: Iterable[Tables], indent: int) -> str:
    return ",\n".join(" " * indent + json.dumps(row, ensure_ascii=False) for row in rows)


def render() -> str:
    """Return the contents of ledger.json: one row or case a line."""
    tables, heads, verified = _real()
    parts = [f'    "head": {json.dumps(tables["head"])}']
    parts += [f'    "{name}": [\n{_lines(tables[name], 6)}\n    ]' for name in COLUMNS]
    body = ",\n".join(parts)
    return (
        f'{{\n  "heads": {json.dumps(heads)},\n  "verified": {json.dumps(counts(verified))},\n'
        f'  "tables": {{\n{body}\n  }},\n  "accepted": [\n{_lines(_accepted(tables), 4)}\n  ],\n'
        f'  "refused": [\n{_lines(_refused(tables, heads), 4)}\n  ]\n}}\n'
    )


FILES: dict[str, Callable[[], str]] = {"ledger": render}
