"""Statistics: exact over the pooled rows, and neither a site nor the release tells of few of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from secagg.errors import QueryRefused

from ...masking.transitions import ServerPhase
from ...simulation.queried import ask_sites
from ...statistics import Levels, Number, Plan, Query, ReleasePolicy, Site, SitePolicy, Where, asked
from ...statistics.answer import release
from ..outcome import Check, Found, Trials, demand, demand_refusal

_AGE = Number("age", 0, 1000)
_WARDS = ("a", "b", "c", "d", "e")


def _ages_from(least: float) -> Query:
    where = (Where("age", "ge", float(least)),)  # type: ignore[arg-type]  # Query makes it an Operator
    return Query("audit", (_AGE,), (asked("count"), asked("mean", "age")), where)


def _site(ages: Any) -> Site:
    return Site({"age": ages}, SitePolicy(columns=frozenset({"age"})), "audit", journal=None)


def _exact(trials: Trials) -> Found:
    """Ask sites of which some vanish, and hold count and mean against the rows of the others."""
    rows = 0
    for rng in trials.each(trials.share(20) + 1):
        tables = {f"site-{at}": rng.uniform(0, 100, int(rng.integers(20, 90))) for at in range(int(rng.integers(5, 9)))}
        sites = {name: _site(ages) for name, ages in tables.items()}
        drops = {ServerPhase.MASKED_INPUT: 0.2}
        found = ask_sites(_ages_from(30), sites, drops=drops, seed=int(rng.integers(1 << 31)))
        demand(found.exact, "totals are not those of the pooled rows")
        pooled = np.concatenate([tables[name] for name in found.report.result.survivors])
        pooled = pooled[pooled >= 30]
        count, mean = found.answer.findings
        demand(count.value == len(pooled), f"{count.value} rows were counted, but there are {len(pooled)}")
        off = abs(float(mean.value) - float(pooled.mean()))
        demand(off <= float(mean.error) + 1e-9, f"the mean is off by {off:.3g}, more than the stated {mean.error}")
        rows += len(pooled)
    return Found({"questions": trials.share(20) + 1, "rows": rows})


def _few_rows(trials: Trials) -> Found:
    """Ask a site about all rows, then about all but a few. The control: who was not asked before answers."""
    for rng in trials.each():
        few = int(rng.integers(1, SitePolicy(columns=frozenset()).least_difference))
        ages = rng.permutation(int(rng.integers(60, 200))).astype(np.float64)
        known, new, question = _site(ages), _site(ages), _ages_from(few)
        known.answer(_ages_from(0))
        demand_refusal(partial(known.answer, question), QueryRefused, f"a question that is {few} rows short of another")
        new.answer(question)
    return Found({"questions refused": trials.examples})


def _small_counts(trials: Trials) -> Found:
    """Release counts of a column: no small one is shown, and what is left hides each among others, by subtraction."""
    policy = ReleasePolicy()
    plan = Plan(Query("audit", (Levels("ward", _WARDS),), (asked("frequencies", "ward"),)))
    hidden = 0
    for rng in trials.each():
        cells = rng.choice([0, 1, 3, 9, 10, 25, 60], size=len(_WARDS) + 2).tolist()
        counts = iter(cells)
        totals = {key: sum(cells) if key[0] == "rows" else next(counts) for key in plan.totals}
        (finding,) = release(plan, totals, policy.min_sites, policy).findings
        if not isinstance(finding.value, Mapping):
            continue  # there are too few rows
        shown = finding.value["counts"]
        gone = [true for true, told in zip(cells, shown, strict=True) if told is None]
        demand(not any(told and told < policy.min_cell for told in shown), "a small count is shown")
        left = sum(cells) - sum(told or 0 for told in shown)
        betrayed = any(true > 0 for true in gone) and (len(gone) < 2 or left < policy.min_cell)
        demand(not betrayed, "a hidden count follows from those that are shown")
        hidden += len(gone)
    return Found({"tables": trials.examples, "counts hidden": hidden})


CHECKS = (
    # Keys of the sessions, and a site's look for combinations, draw from the operating system.
    Check("statistics", "exact", "answers are those of the survivors' pooled rows", _exact, repeatable=False),
    Check("statistics", "few-rows", "a site tells no few rows by two answers", _few_rows, repeatable=False),
    Check("statistics", "small-counts", "no small count is shown, or follows from what is", _small_counts),
)
