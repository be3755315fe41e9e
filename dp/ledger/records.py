"""The records of the audit trail, and the chain of hashes that holds them together."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from types import NoneType
from typing import Any

from ..errors import LedgerCorruptError, PrivacyParameterError
from .amounts import Amounts, read, spell

FORMAT = 1
"""The version of tables, payloads and hashes; another one is refused."""
CHAIN_LABEL = b"secagg/v1/ledger-record"
PARTICIPANTS_LABEL = b"secagg/v1/ledger-participants"
GENESIS = "00" * 32
"""What the first record has for its predecessor's hash."""
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""Moments from then on are refused: calendars end soon after."""
UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError, PrivacyParameterError)
"""What can come of taking apart a payload that this version did not write."""

_LATEST_MICROSECONDS = int(LATEST.timestamp()) * 10**6


class RecordKind(StrEnum):
    """What a record says happened."""

    CREATE = "create"
    RESERVE = "reserve"
    COMMIT = "commit"
    RELEASE = "release"
    RESOLVE = "resolve"


class Phase(StrEnum):
    """What a record is to its round; the database admits each once for a round."""

    CREATE = "create"
    OPEN = "open"
    CLOSE = "close"


PHASES = {
    RecordKind.CREATE: Phase.CREATE,
    RecordKind.RESERVE: Phase.OPEN,
    RecordKind.COMMIT: Phase.CLOSE,
    RecordKind.RELEASE: Phase.CLOSE,
    RecordKind.RESOLVE: Phase.CLOSE,
}

_Holds = dict[str, type | tuple[type, ...]]
_ENDING: _Holds = {"after": dict, "charge": list, "reason": str, "spent": bool}
_HOLDS: dict[str, _Holds] = {
    RecordKind.CREATE: {"after": dict, "terms": dict, "limit": list},
    RecordKind.RESERVE: {"after": dict, "cost": dict, "charge": list, "participants": dict},
    RecordKind.COMMIT: {"after": dict, "cost": (dict, NoneType), "charge": list, "participants": dict},
    RecordKind.RELEASE: _ENDING,
    RecordKind.RESOLVE: _ENDING,
}
_ACCOUNT = {"spent", "held", "open"}


@dataclass(frozen=True)
class Record:
    """One line of the trail. `time` is in microseconds since 1970 UTC, `payload` the JSON text that is hashed."""

    seq: int
    time: int
    kind: str
    budget: str
    period: int
    round_id: str
    payload: str
    previous: str
    hash: str

    def computed_hash(self) -> str:
        """Return SHA-256 over the previous hash and everything that this record says, each part with its length."""
        try:
            parts = [part.encode() for part in (self.kind, self.budget, self.round_id, self.payload)]
            state = hashlib.sha256(CHAIN_LABEL + bytes.fromhex(self.previous))
            state.update(struct.pack(">QQQ", self.seq, self.time, self.period))
        except (AttributeError, TypeError, ValueError, struct.error):
            return ""
        for part in parts:
            state.update(struct.pack(">I", len(part)) + part)
        return state.hexdigest()

    def check(self) -> None:
        """Raise LedgerCorruptError unless the record carries its own hash."""
        computed = self.computed_hash()
        if not computed or computed != self.hash:
            raise LedgerCorruptError(
                f"record {self.seq} does not carry its own hash: it was altered; restore the ledger from a backup",
                seq=self.seq if isinstance(self.seq, int) else None,
            )
        if self.time >= _LATEST_MICROSECONDS:
            raise LedgerCorruptError(
                f"record {self.seq} is of after the year 9000; restore the ledger from a backup", seq=self.seq
            )

    def facts(self) -> dict[str, Any]:
        """Return the payload, not to be changed; raise LedgerCorruptError if it is none."""
        try:
            facts = _parsed(self.payload)
        except (TypeError, ValueError, RecursionError):
            facts = None
        if not isinstance(facts, dict):
            raise LedgerCorruptError(
                f"record {self.seq} has no readable payload; restore the ledger from a backup", seq=self.seq
            )
        return facts

    def says_what_it_should(self) -> bool:
        """Tell whether the payload holds what one of this kind holds, and nothing else."""
        facts, holds = self.facts(), _HOLDS[self.kind]
        whole = facts.keys() == holds.keys() and all(isinstance(facts[name], kind) for name, kind in holds.items())
        return whole and facts["after"].keys() == _ACCOUNT

    def amounts(self, *path: str) -> Amounts:
        """Return the amounts at a place of the payload; raise LedgerCorruptError if there are none."""
        value: Any = self.facts()
        try:
            for name in path:
                value = value[name]
            if not isinstance(value, list):
                raise TypeError("no list")
            return tuple(read(text) for text in value)
        except (KeyError, TypeError, ValueError):
            raise LedgerCorruptError(
                f"record {self.seq} has no amounts at {'.'.join(path)}; restore the ledger from a backup", seq=self.seq
            ) from None


@lru_cache(maxsize=64)
def _parsed(payload: str) -> Any:
    """Return what a payload says: each is asked for many times in turn, and parsed once."""
    return json.loads(payload)


def chained(
    last: Record | None, time: int, kind: RecordKind, budget: str, period: int, round_id: str, facts: dict[str, Any]
) -> Record:
    """Return the record that follows `last`."""
    payload = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    seq, previous = (last.seq + 1, last.hash) if last else (1, GENESIS)
    bare = Record(seq, time, str(kind), budget, period, round_id, payload, previous, "")
    return Record(seq, time, str(kind), budget, period, round_id, payload, previous, bare.computed_hash())


def spelled(amounts: Amounts) -> list[str]:
    """Return amounts as a payload holds them."""
    return [spell(amount) for amount in amounts]


def participants_digest(participants: Iterable[str]) -> dict[str, Any]:
    """Return what a record says of participants: how many, and SHA-256 over their names in order of UTF-8."""
    names = sorted(name.encode() for name in participants)
    state = hashlib.sha256(PARTICIPANTS_LABEL)
    for name in names:
        state.update(struct.pack(">I", len(name)) + name)
    return {"count": len(names), "sha256": state.hexdigest()}
