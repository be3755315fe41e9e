"""What commands read that people hand over: key files, rosters, lists of participants, and their own options."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from dp.ledger import Budget, budget_for
from dp.sensitivity import Adjacency
from protocols.cli import budget, budget_terms, rounds
from protocols.core.identity_files import read_identity, read_participants, write_identity, write_participants
from protocols.paillier.key_use import KeyUse


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-files-")


def _file(name: str, data: bytes | None = None) -> Path:
    """A file that is its owner's alone; none where there is no data."""
    path = Path(_folder().name) / name
    path.unlink(missing_ok=True)
    if data is not None:
        path.touch(mode=0o600)
        path.write_bytes(data)
    return path


def identity_file(data: bytes) -> None:
    identity = read_identity(_file("key.pem", data))
    again = _file("again.pem")
    write_identity(again, identity)
    if read_identity(again).private_bytes != identity.private_bytes:
        raise ValueError("a key that was read is written as another one")


def roster_file(data: bytes) -> None:
    roster = read_participants(_file("roster.json", data))
    again = _file("again.json")
    write_participants(again, roster)
    if read_participants(again) != roster:
        raise ValueError("a roster that was read is written as another one")


def key_use(data: bytes) -> None:
    path = _file("key-use.json", data)
    KeyUse(path).claim(bytes(32), 1, bytes(32))
    if path.read_bytes() != data:
        raise ValueError("a memory was changed by looking at it")


def participants_file(data: bytes) -> None:
    names = budget._lines(_file("names", data))
    if any(name != name.strip() or not name for name in names):
        raise ValueError("a participant without a name")


def plan_file(data: bytes) -> None:
    event, rounds, delta, epsilon = budget_terms.read_plan(_file("plan.json", data))
    budget = budget_for("b", event, rounds, delta, epsilon)
    if epsilon is not None and float(budget.epsilon) != epsilon:
        raise ValueError("a budget of another limit than its plan's")


def command_options(data: bytes) -> None:
    """The first byte chooses the option that the rest is given to."""
    text = data[1:].decode("utf-8", "replace")
    match (data[0] if data else 0) % 3:
        case 0:
            budget_terms._period(text)
        case 1:
            moment = budget_terms._moment(text)
            Budget("b", "1", adjacency=Adjacency.ADD_REMOVE, expires=moment)
        case _:
            fractions = rounds.drop_fractions(0.0, [text])
            if not all(0 <= fraction < 1 for fraction in fractions.values()):
                raise ValueError("a fraction that is none")


TARGETS = (identity_file, roster_file, key_use, participants_file, plan_file, command_options)
WEIGHTS = {"identity_file": 0.3, "roster_file": 0.3, "participants_file": 0.5, "key_use": 0.5}
