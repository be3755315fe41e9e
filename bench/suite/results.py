"""What a run has measured, part by part, and how it is kept between runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from .findings import Curve, Finding, Row


@dataclass
class PartResult:
    """How one part ended.

    Attributes:
        name: of the part.
        started: when, in UTC, as ISO 8601.
        seconds: wall-clock time of it all.
        load: the machine's load averages before.
        findings: what was measured.
        failure: why it failed; empty if it did not.
    """

    name: str
    started: str
    seconds: float
    load: str
    findings: list[Finding] = field(default_factory=list)
    failure: str = ""


@dataclass
class Results:
    """All that a run has, measured now or kept from before.

    Attributes:
        scale: "full" or "quick".
        machine: what was measured on.
        versions: of what was measured.
        commit: of the measured code; empty if there is none.
        parts: in the order in which they ran.
    """

    scale: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    commit: str
    parts: list[PartResult] = field(default_factory=list)

    @property
    def failed(self) -> list[PartResult]:
        """The parts that did not end well."""
        return [part for part in self.parts if part.failure]

    @property
    def findings(self) -> list[Finding]:
        """What all parts have found."""
        return [finding for part in self.parts for finding in part.findings]

    @property
    def rows(self) -> list[Row]:
        """The comparison table."""
        return [row for finding in self.findings for row in finding.rows]

    @property
    def curves(self) -> list[Curve]:
        """What there is to be drawn."""
        return [curve for finding in self.findings for curve in finding.curves]

    @property
    def absent(self) -> list[str]:
        """Peers and limits that could not be had, each with the reason."""
        rivals = [rival for row in self.rows for rival in (row.peer, row.limit) if rival and rival.value is None]
        return list(dict.fromkeys(f"{rival.name}: {rival.note}" for rival in rivals))

    def facts(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return asdict(self)


class Shelf:
    """Finished parts, one file each, under the fingerprint of code and machine.

    Args:
        folder: of all kept results; made when the first is kept.
        fingerprint: of what is measured, on what.
        scale: "full" or "quick".
    """

    def __init__(self, folder: Path, fingerprint: str, scale: str) -> None:
        self._folder = folder / f"{fingerprint}-{scale}"

    def find(self, name: str) -> PartResult | None:
        """Return a part that was measured before; None if it was not, or its file is not what was kept."""
        try:
            data = self._path(name).read_bytes()
            return msgspec.json.decode(data, type=PartResult)
        except (OSError, msgspec.DecodeError):
            return None

    def keep(self, result: PartResult) -> None:
        """Keep a finished part, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(result.name)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
        os.replace(unfinished, path)  # noqa: PTH105 - what replaces must be atomic, and say so

    def drop(self, name: str) -> None:
        """Forget a part."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"
