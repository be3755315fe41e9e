"""A ledger that was recorded: its tables verify, and so does no copy with one thing changed behind its back."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dp.errors import DpError, MissingDependencyError
from dp.ledger import Ledger, Record, Verified

from ..outcome import demand

Tables = dict[str, Any]
Edits = list[Tables]
COLUMNS = {
    "records": ("seq", "time", "kind", "budget", "period", "phase", "round_id", "payload", "previous", "hash"),
    "accounts": ("budget", "period", "seq"),
    "participants": ("budget", "round_id", "participant", "counted"),
}


def edited(tables: Tables, edits: Edits) -> Tables:
    """Return the tables with some cells set, rows removed or added; rows are numbered as they were before."""
    out = copy.deepcopy(tables)
    for edit in edits:
        if edit["table"] == "head":
            out["head"] |= edit["set"]
        elif "set" in edit:
            out[edit["table"]][edit["row"]] |= edit["set"]
        elif "insert" in edit:
            out[edit["table"]].append(edit["insert"])
    removed = [(edit["table"], edit["row"]) for edit in edits if edit.get("remove")]
    for table, row in sorted(removed, reverse=True):
        del out[table][row]
    return out


ANY_RECORDS = f"CREATE TABLE ledger_records ({', '.join(COLUMNS['records'])})"
"""Whoever writes to the file may undo what keeps rounds unique there."""


def outcome(tables: Tables, kept_head: str | None = None) -> Verified | str:
    """Return what verification finds in a ledger of these tables, or the name of its error."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        Ledger.open(str(path), create=True).close()
        with closing(sqlite3.connect(path)) as file:
            file.execute("DROP TABLE ledger_records")
            file.execute(ANY_RECORDS)
            head = tables["head"]
            file.execute("UPDATE ledger_head SET format = :format, seq = :seq, hash = :hash", head)
            for name, columns in COLUMNS.items():
                places = ", ".join(f":{column}" for column in columns)
                file.executemany(
                    f"INSERT INTO ledger_{name} ({', '.join(columns)}) VALUES ({places})",  # noqa: S608 - constants
                    tables[name],
                )
            file.commit()
        try:
            with Ledger.open(str(path)) as ledger:
                return ledger.verify(kept_head)
        except MissingDependencyError:
            raise
        except DpError as error:
            return type(error).__name__


def record_of(row: Tables) -> Record:
    """Return the record that a row holds."""
    return Record(**{field.name: row[field.name] for field in fields(Record)})


def rechained(tables: Tables) -> Tables:
    """Return the tables with a chain and a head that fit: what a writer can do who reaches all but a kept head."""
    out, previous = copy.deepcopy(tables), "00" * 32
    for record in sorted(out["records"], key=lambda record: record["seq"]):
        record["previous"] = previous
        record["hash"] = previous = record_of(record).computed_hash()
    out["head"] |= {"seq": max(record["seq"] for record in out["records"]), "hash": previous}
    return out


def counts(verified: Verified) -> Tables:
    """Return what verification has counted, as vectors have it."""
    return {name: getattr(verified, name) for name in ("records", "budgets", "open_reservations")}


def size(vector: Tables) -> int:
    """Return how many verdicts are compared in `check`."""
    return 1 + len(vector["heads"]) + len(vector["accepted"]) + len(vector["refused"])


def check(vector: Tables, on_progress: Callable[[float], None]) -> int:
    """Verify a ledger, its changed copies and its continuations; return how much was compared.

    Raises:
        Refuted: verification finds something else than was recorded.
    """
    tables = vector["tables"]
    cases = [
        {"name": "the ledger", "edits": [], "rechained": False, "kept_head": head, "verified": vector["verified"]}
        for head in (None, *vector["heads"])
    ]
    cases += [*vector["accepted"], *vector["refused"]]
    for number, case in enumerate(cases):
        changed = edited(tables, case["edits"])
        found = outcome(rechained(changed) if case["rechained"] else changed, case["kept_head"])
        said, recorded = found if isinstance(found, str) else "no error", case.get("error", "no error")
        demand(said == recorded, f"{case['name']}: {said}, where {recorded} was recorded")
        if not isinstance(found, str):
            demand(
                counts(found) == case["verified"], f"{case['name']}: verification counts otherwise than was recorded"
            )
        on_progress((number + 1) / len(cases))
    return len(cases)
