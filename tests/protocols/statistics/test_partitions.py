"""The cells that a journal remembers are those whose counts a site adds to the sum."""

import numpy as np
import pytest

from protocols.statistics.families.counts import STATUSES
from protocols.statistics.partitions import partitions_of
from protocols.statistics.plan import Plan
from protocols.statistics.query import Where, asked
from protocols.statistics.rows import Table

from .tables_of_sites import query, rows


def cells(one, columns=()):
    """The sizes of the cells of each partition whose columns are these, beside the totals of the query."""
    table = rows(np.random.default_rng(4), 300)
    table["age"][:9] = [np.nan, np.nan, np.nan, 120.0, 120.0, 0.0, 130.0, 130.0, -1.0]
    plan, read = Plan(one), Table(one, table)
    chosen = read.selected(300)
    found = partitions_of(one, read, chosen)
    assert (found[0].columns, found[0].codes.tolist()) == ((), chosen.astype(int).tolist())
    sizes = [sorted(np.bincount(each.codes)[1:].tolist()) for each in found if each.columns == columns]
    return sizes, read.totals(plan, chosen), plan


def counts(totals, *starts):
    return sorted(value for key, value in totals.items() if value and key[: len(starts)] == starts)


@pytest.mark.parametrize("group_by", [None, "sex"])
@pytest.mark.parametrize("where", [(), (Where("mass", "lt", 80.0),)])
def test_cells_are_of_the_sizes_that_are_summed(group_by, where):
    sizes, totals, _ = cells(query(asked("count"), group_by=group_by, where=where))
    assert counts(totals, "rows") in sizes
    sizes, totals, plan = cells(query(asked("histogram", "age"), group_by=group_by, where=where))
    assert counts(totals, "rows") in sizes
    missing = [
        totals["rows", group]
        - sum(totals["bin", "age", at, group] for at in range(len(plan.query.columns[0].edges) + 1))
        for group in range(len(plan.query.groups))
    ]
    assert sorted([*counts(totals, "bin"), *filter(None, missing)]) in sizes
    for kind in ("missing", "mean"):
        sizes, totals, plan = cells(query(asked(kind, "age"), group_by=group_by, where=where))
        missing = [
            totals["rows", group] - sum(totals[status, "age", group] for status in STATUSES)
            for group in range(len(plan.query.groups))
        ]
        known = sorted(value for status in STATUSES for value in counts(totals, status))
        assert sorted([*known, *filter(None, missing)]) in sizes
    summed, totals, _ = cells(query(asked("mean", "age"), group_by=group_by, where=where), ("age",))
    assert counts(totals, "valid") in summed
    assert [sum(counts(totals, "valid"))] in summed
    assert cells(query(asked("missing", "age")), ("age",))[0] == []


def test_cells_of_tables_and_pairs():
    sizes, totals, _ = cells(query(asked("table", "sex", "ward")))
    assert counts(totals, "cell") in sizes
    summed, totals, _ = cells(query(asked("covariance", "mass", "age")), ("age", "mass"))
    both = totals["both", "mass", "age"]
    assert summed == [[both]]
    assert sorted([both, 300 - both]) in cells(query(asked("covariance", "mass", "age")))[0]


def test_a_partition_stands_once():
    one = query(asked("mean", "mass"), asked("variance", "mass"), where=(Where("mass", "known"),))
    sizes, _, _ = cells(one)
    assert len(sizes) == 1
