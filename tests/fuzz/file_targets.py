"""What commands read that people hand over: key files, rosters, lists of participants, and their own options."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from functools import cache
from pathlib import Path

from dp.ledger import Budget, budget_for
from dp.sensitivity import Adjacency
from protocols.cli import budget, budget_terms, rounds
from protocols.core.identity_files import read_identity, read_participants, write_identity, write_participants
from protocols.core.participants import Participants
from protocols.paillier.files import read_key, read_share, write_key
from protocols.paillier.key_use import KeyUse
from protocols.paillier.parameters import RoundParameters
from secagg.encoding import FixedPoint
from secagg.paillier import KeyShare, ThresholdKey
from secagg.paillier.threshold import _deal
from secagg.signatures import Identity
from tests.secagg.paillier.fixed_keys import _PRIMES


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


@cache
def dealt_once() -> tuple[ThresholdKey, list[KeyShare]]:
    """A key of 2048 bits that is the same in every process."""
    counter = itertools.count()

    def random(count: int) -> bytes:
        return hashlib.shake_256(next(counter).to_bytes(4, "big")).digest(count)

    return _deal(2, 3, *_PRIMES[2048], random=random)


@cache
def _round() -> RoundParameters:
    """A round under a published key of 2048 bits, with parties that have nothing else."""
    key, _ = dealt_once()
    parties = {name: Identity(bytes([at]) * 32).public_bytes for at, name in enumerate("abcdef", 1)}
    contributors, members = ({name: parties[name] for name in names} for names in ("def", "abc"))
    codec = FixedPoint(1.0, 16, 3)
    return RoundParameters(key, codec, 4, Participants(contributors), Participants(members), 3, bytes(32), 0)


def dealt_key(data: bytes) -> None:
    key, names = read_key(_file("committee.json", data))
    again = _file("again.json")
    write_key(again, key, Participants(names))
    if read_key(again) != (key, names):
        raise ValueError("a key that was read is written as another one")


def key_share(data: bytes) -> None:
    share, name = read_share(_file("a.share", data), _round())
    if share.member != _round().members.number(name):
        raise ValueError("a share of another member")


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


TARGETS = (identity_file, roster_file, dealt_key, key_share, key_use, participants_file, plan_file, command_options)
WEIGHTS = {
    "dealt_key": 0.2,
    "key_share": 0.2,
    "identity_file": 0.3,
    "roster_file": 0.3,
    "participants_file": 0.5,
    "key_use": 0.5,
}
