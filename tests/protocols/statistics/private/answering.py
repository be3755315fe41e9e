"""Rows, their totals with noise that is drawn here, and what numpy has of the same rows."""

import numpy as np

from protocols.statistics.kinds import Kind
from protocols.statistics.private.answer import _Findings
from protocols.statistics.private.features import Features
from protocols.statistics.private.plan import NoisyTotals
from protocols.statistics.query import asked
from protocols.statistics.rows import Table

from ..tables_of_sites import AGE, MASS, query, rows

QUANTILES = (0.05, 0.5, 0.8)
QUERY = query(
    asked("count"),
    *(asked(kind, "age") for kind in ("missing", "mean", "variance", "deviation", "histogram", "ecdf", "median")),
    asked("quantiles", "age", quantiles=QUANTILES),
    asked("covariance", "mass", "age"),
    asked("correlation", "age", "mass"),
    asked("table", "sex", "ward"),
)
FEATURES = Features(QUERY)


def pooled(count, seed=0, features=FEATURES):
    columns = rows(np.random.default_rng(seed), count)
    table = Table(features.query, columns)
    return columns, features.rows(table, table.selected(count)).sum() / features.weights


def answered(values, deviation, features=FEATURES):
    """Findings by kind, and the regression, of totals that were given noise."""
    totals = NoisyTotals(features, values, deviation / features.weights)
    found = _Findings(totals)
    by_kind = {}
    for one in found.all():
        by_kind.setdefault(one.statistic, []).append(one)
    return {kind: of[0] for kind, of in by_kind.items()}, found.regression("mass", ("age",))


def truths(columns):
    """What numpy has of the rows: a name -> a number."""
    age, mass = columns["age"], columns["mass"]
    x = age[(age >= AGE.lo) & (age <= AGE.hi)]
    both = (age >= AGE.lo) & (age <= AGE.hi) & (mass >= MASS.lo) & (mass <= MASS.hi)
    slope, intercept = np.polyfit(age[both], mass[both], 1)
    sex, ward = columns["sex"], columns["ward"]
    return {
        "count": len(age),
        "above": (age > AGE.hi).sum(),
        "mean": x.mean(),
        "variance": x.var(ddof=1),
        "deviation": x.std(ddof=1),
        "bin": ((age >= 50) & (age < 60)).sum(),
        "share": (age < 40).mean(),
        "covariance": np.cov(age[both], mass[both])[0, 1],
        "correlation": np.corrcoef(age[both], mass[both])[0, 1],
        "cell": ((sex == "m") & (ward == "east")).sum(),
        "margin": (sex == "m").sum(),
        "both": both.sum(),
        "slope": slope,
        "intercept": intercept,
    }


def values_of(by_kind, fit):
    """The same of an answer: a name -> a Noisy."""
    return {
        "count": by_kind[Kind.COUNT].value,
        "above": by_kind[Kind.MISSING].value["above"],
        "mean": by_kind[Kind.MEAN].value,
        "variance": by_kind[Kind.VARIANCE].value,
        "deviation": by_kind[Kind.DEVIATION].value,
        "bin": by_kind[Kind.HISTOGRAM].value["counts"][5],
        "share": by_kind[Kind.ECDF].value["shares"][4],
        "covariance": by_kind[Kind.COVARIANCE].value,
        "correlation": by_kind[Kind.CORRELATION].value,
        "cell": by_kind[Kind.TABLE].value["counts"][1][0],
        "margin": by_kind[Kind.TABLE].value["row_totals"][1],
        "both": by_kind[Kind.CORRELATION].n,
        "slope": fit["age"],
        "intercept": fit[""],
    }
