"""A query as people read it: what is asked of which columns, over which rows, for which groups."""

from __future__ import annotations

from .kinds import NAMES, SHAPES
from .query import Query

MOST_NAMED = 12
"""So many statistics of a kind are named; of more, the first three and how many there are."""
_SIGNS = {"eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥", "known": "is known"}


def query_words(query: Query) -> dict[str, str]:
    """Return each kind of statistic -> of what; then "of", over which rows, and "for each", by which column."""
    found: dict[str, list[str]] = {}
    for one in query.statistics:
        name = NAMES.get(SHAPES[one.kind].parameters, "")
        given = f" ({name} {', '.join(f'{value:g}' for value in one.parameters)})" if one.parameters else ""
        found.setdefault(str(one.kind), []).append((", ".join(one.columns) or "rows") + given)
    rows = " and ".join(
        f"{where.column} {_SIGNS[where.operator]} {'' if where.constant is None else where.constant}".strip()
        for where in query.where
    )
    facts = {
        kind: "; ".join(of) if len(of) <= MOST_NAMED else f"{'; '.join(of[:3])}; and {len(of) - 3:,} more"
        for kind, of in found.items()
    }
    facts["of"] = f"rows with {rows}" if rows else "all rows"
    if query.group_by is not None:
        facts["for each"] = query.group_by
    return facts
