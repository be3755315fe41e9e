"""What a family of statistics does: at a site, at the release gate, and for the analyst."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from secagg.errors import EstimateError

from ..chosen import Chosen
from ..estimates.estimate import Estimate
from ..estimates.significance import Test
from ..finding import Finding
from ..gate import Gate
from ..kinds import Key
from ..query import Query, Statistic
from ..rules import Rule


class Family(ABC):
    """Statistics that are made from the same totals in the same way."""

    apart = False
    """Whether its cells are decided about apart from those of other families, and tell with theirs of few rows."""

    @abstractmethod
    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield the totals that a statistic needs, and the most that one site's may be."""

    @abstractmethod
    def count(self, rows: Chosen, one: Statistic) -> None:
        """Put these totals of a site's chosen rows into `rows.found`."""

    @abstractmethod
    def decide(self, gate: Gate, one: Statistic) -> None:
        """Have the gate hide what must not be shown."""

    @abstractmethod
    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield what the analyst is told, a finding for each group."""

    def cells(self, query: Query, one: Statistic) -> int:
        """Return into how many cells the statistic divides a site's rows."""
        return 1


def hidden(one: Statistic, rule: Any, n: int | None = None, group: str | None = None) -> Finding:
    """Return what is told of a statistic that is hidden."""
    return Finding(one.kind, one.columns, group, None, None, n, rule)


def estimated(
    one: Statistic,
    n: int,
    compute: Callable[[], tuple[Any, Any]],
    group: str | None = None,
    parts: Mapping[str, Callable[[], Any]] = MappingProxyType({}),
) -> Finding:
    """Return the finding of a value and an error that are computed; undefined where the data have no such value.

    Args:
        one: what is asked.
        n: of how many rows.
        compute: returns value and error.
        group: of which group.
        parts: name -> what computes a further part of the value, a dict then. One that the data do not have is None,
            undefined by itself.
    """
    blank = Finding(one.kind, one.columns, group, None, None, n)
    try:
        value, error = compute()
    except EstimateError as refusal:
        return replace(blank, suppressed=Rule.UNDEFINED, reason=refusal.reason)
    reasons = dict[str, str]()
    for name, part_of in parts.items():
        try:
            value[name] = part_of()
        except EstimateError as refusal:
            value[name], reasons[name] = None, refusal.reason
    gone = dict.fromkeys(reasons, Rule.UNDEFINED)
    return replace(blank, value=value, error=error, suppressed=gone or None, reason=reasons or None)


def part(found: Estimate) -> dict[str, Any]:
    """Return an estimate as a part of a finding's value."""
    return {"value": found.value, "error": found.error}


def tested(found: Test) -> dict[str, Any]:
    """Return a test of significance as a part of a finding's value."""
    return {"statistic": found.statistic, "degrees": list(found.degrees), "p": found.p, "error": found.error}
