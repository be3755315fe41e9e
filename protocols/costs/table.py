"""What each kind of work costs on one processor: measured, kept in a small file, and how far it was off."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec

from .counts import Session, Stored, Work

_FILE = "table.json"


class Quantity(StrEnum):
    """What is estimated, each with an error of its own."""

    CLIENT_SECONDS = "client-seconds"
    SERVER_SECONDS = "server-seconds"
    SENT_BYTES = "sent-bytes"
    RECEIVED_BYTES = "received-bytes"
    CLIENT_MEMORY = "client-memory"
    SERVER_MEMORY = "server-memory"


class Span(msgspec.Struct, frozen=True):
    """From the least to the largest that was measured."""

    least: float
    largest: float

    def holds(self, value: float) -> bool:
        """Whether a value is one of them."""
        return self.least <= value <= self.largest


@dataclass(frozen=True)
class Table:
    """Unit costs, where they come from, and how good they are.

    Attributes:
        processor: that was measured, and by which Python.
        fitted: how many runs the costs were fitted on.
        held_out: how many other runs they were checked on.
        seconds: work -> seconds of one processor for one of its kind.
        memory: the same, bytes.
        errors: quantity -> the largest relative error on the runs that nothing was fitted on.
        spans: what was measured, between which bounds.
    """

    processor: str
    fitted: int
    held_out: int
    seconds: Mapping[Work, float]
    memory: Mapping[Stored, float]
    errors: Mapping[Quantity, float]
    spans: Mapping[str, Span]

    def beyond(self, session: Session) -> tuple[str, ...]:
        """Say in which ways a session is beyond what was measured; nothing if it is not."""
        told = []
        for name, value in extent(session).items():
            span = self.spans[name]
            if not span.holds(value):
                told.append(
                    f"measured were sessions of {span.least:,.0f} to {span.largest:,.0f} {name}: this one has "
                    f"{value:,.0f}, so its costs are extrapolated, and the errors are not known to hold"
                )
        return tuple(told)


def extent(session: Session) -> dict[str, float]:
    """Return what a session is large in, by which it is told whether the table was fitted on such."""
    return {
        "clients": session.clients,
        "neighbours of a client": round(session.degree),
        "numbers": session.numbers,
        "numbers of all clients together": session.clients * session.numbers,
    }


def read(path: Path) -> Table:
    """Return the table in a file."""
    return msgspec.json.decode(path.read_bytes(), type=Table)


def write(table: Table, path: Path) -> None:
    """Write a table to a file, figures to four digits."""
    plain = msgspec.to_builtins(table)
    for part in ("seconds", "memory", "errors"):
        plain[part] = {name: float(f"{value:.4g}") for name, value in plain[part].items()}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n")


@cache
def shipped() -> Table:
    """Return the table that comes with the package."""
    return msgspec.json.decode((resources.files(__package__) / _FILE).read_bytes(), type=Table)


def processor() -> str:
    """Return the name of this machine's processor, and the version of Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    named = names[0] if names else platform.processor() or platform.machine()
    return f"{named}, {platform.python_implementation()} {platform.python_version()}"
