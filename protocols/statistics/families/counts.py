"""How many rows there are, and how many of them have a number within its bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from ..chosen import Chosen
from ..finding import Finding
from ..gate import Gate
from ..kinds import Key
from ..query import Query, Statistic
from .family import Family

STATUSES = ("valid", "below", "above")
"""Of a number in a row: within its bounds, below, above. What is left is missing."""


class Count(Family):
    """Rows. Every query sums them."""

    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield nothing more."""
        return iter(())

    def count(self, rows: Chosen, one: Statistic) -> None:
        """Count nothing more."""

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Nothing more: the gate has decided about the groups."""

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the rows of each group."""
        for at, group in enumerate(gate.query.groups):
            rows = gate.shown(("rows", at))
            error = None if rows is None else 0
            yield Finding(one.kind, (), group, rows, error, rows, gate.hidden.get(("rows", at)))


class Missing(Family):
    """How many rows have a number, how many one out of bounds, how many none."""

    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield the counts of statuses."""
        return status_totals(query, one.columns)

    def count(self, rows: Chosen, one: Statistic) -> None:
        """Count statuses."""
        count_statuses(rows, one.columns)

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Hide small ones."""
        decide_statuses(gate, one.columns)

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the four counts of each group."""
        for at, group in enumerate(gate.query.groups):
            keys: dict[str, Key] = {
                status: (status, one.columns[0], at) for status in ("missing", "below", "above", "valid")
            }
            value = {what: gate.shown(key) for what, key in keys.items()}
            yield Finding(one.kind, one.columns, group, value, 0, gate.shown(("rows", at)), gate.rules(keys))


def status_totals(query: Query, columns: Sequence[str]) -> Iterator[tuple[Key, int]]:
    """Yield how many numbers are valid, below and above: of each column, in each group."""
    for name, group, status in product(columns, range(len(query.groups)), STATUSES):
        yield (status, name, group), query.max_rows


def count_statuses(rows: Chosen, columns: Sequence[str]) -> None:
    """Count them at a site."""
    for name in columns:
        if ("valid", name, 0) in rows.found:
            continue
        column, values = rows.query.number(name), rows.numbers[name]
        masks = (rows.within(name), values < column.lo, values > column.hi)
        for (at, members), (status, mask) in product(enumerate(rows.members), zip(STATUSES, masks, strict=True)):
            rows.found[status, name, at] = int(np.count_nonzero(members & mask))


def decide_statuses(gate: Gate, columns: Sequence[str]) -> None:
    """Decide about them and about what is missing, once for each column."""
    groups = range(len(gate.query.groups))
    for name in columns:
        if not gate.first(("statuses", name)):
            continue
        for group in groups:
            known = sum(gate.values[status, name, group] for status in STATUSES)
            gate.derive(("missing", name, group), gate.values["rows", group] - known)
        statuses = ("valid", "below", "above", "missing")
        gate.partition([[(status, name, group) for status in statuses] for group in groups], last=[0])
        valid: Key = ("valid", name, 0)
        if len(groups) == 1 and valid not in gate.hidden:
            gate.far((name,), gate.values[valid])
