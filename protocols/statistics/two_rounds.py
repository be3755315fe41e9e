"""Counts first, moments after: sums over few rows are made nowhere, not even for the server to see.

The first session counts. What its release shows decides which groups have moments; the second session sums these alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from secagg.errors import ParameterError

from .answer import Answer, findings_by
from .families.family import hidden
from .families.moments import POWERS
from .finding import Finding
from .kinds import SHAPES, Kind
from .query import Query, Statistic
from .rules import Rule


def ask_twice(query: Query, ask: Callable[[Query], Answer]) -> Answer:
    """Ask for counts, then for the moments of the groups whose counts were shown.

    Args:
        query: of kinds that are given by groups.
        ask: returns the answer to a query, by a session over the sites.

    Returns:
        What one session would tell, but for groups that are small: of these there are no sums. The records and sites
        are those of the first session; a moment's `n` is that of the second, which some sites may have left.

    Raises:
        ParameterError: the query has other kinds.
        Whatever `ask` raises.
    """
    others = [str(one.kind) for one in query.statistics if not SHAPES[one.kind].grouped]
    if others:
        raise ParameterError(f"{others[0]} is not asked in two rounds: moments, counts and bins are")
    moments = [one for one in query.statistics if one.kind in POWERS]
    counts = [one for one in query.statistics if one.kind not in POWERS]
    counts += [Statistic(Kind.MISSING, one.columns) for one in moments]
    first = query.changed(statistics=tuple(dict.fromkeys(counts)))
    before = ask(first)
    found = findings_by(first, before)
    together: dict[tuple[str | None, ...], list[Statistic]] = {}
    for one in moments:
        statuses = [found[Statistic(Kind.MISSING, one.columns), group] for group in query.groups]
        for each in statuses:
            found[one, each.group] = _without(one, each)
        shown = tuple(each.group for each in statuses if each.value and each.value["valid"])
        if shown:
            together.setdefault(shown, []).append(one)
    for groups, several in together.items():
        cells = query.cells if groups == query.groups else tuple(str(group) for group in groups)
        second = query.changed(statistics=tuple(several), cells=cells)
        found |= findings_by(second, ask(second))
    findings = (found[one, group] for one in query.statistics for group in query.groups)
    return replace(before, digest=query.digest, findings=tuple(findings))


def _without(one: Statistic, statuses: Finding) -> Finding:
    """Return what is told of a moment that is not summed, since the group's count of numbers is hidden, or 0."""
    if statuses.value is None:
        return hidden(one, statuses.suppressed, group=statuses.group)
    rule = (statuses.suppressed or {}).get("valid")
    if rule is None:
        return replace(hidden(one, Rule.UNDEFINED, 0, statuses.group), reason="too-few-records")
    return hidden(one, rule, group=statuses.group)
