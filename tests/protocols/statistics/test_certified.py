"""NIST's certified values, asked of seven sites through a masked session, within the error that each answer states."""

from fractions import Fraction

import numpy as np
import pytest

from protocols.simulation.queried import ask_sites
from protocols.statistics.columns import Number
from protocols.statistics.query import Query, asked
from protocols.statistics.release import ReleasePolicy
from protocols.statistics.site import Site, SitePolicy

from .sites import SITES
from .strd import LINEAR, UNIVARIATE

EVERYTHING = ReleasePolicy(min_cell=1, min_records=1, min_sites=1, max_coefficients=1.0)


def answered(columns, *statistics, bits):
    """The findings about columns of floats, whose rows are dealt to seven sites."""
    named = {name: np.array([float(value) for value in values]) for name, values in columns.items()}
    bounds = {name: (values.min(), values.max()) for name, values in named.items()}
    numbers = tuple(Number(name, lo, hi if hi > lo else lo + 1, bits) for name, (lo, hi) in bounds.items())
    policy = SitePolicy(frozenset(named), least_difference=1, max_cells_fraction=1.0, max_dominance=1.0)
    dealt = {
        f"site-{at}": Site({name: values[at::SITES] for name, values in named.items()}, policy, "strd", None)
        for at in range(SITES)
    }
    found = ask_sites(Query("strd", numbers, statistics), dealt, EVERYTHING)
    assert found.exact
    assert found.answer.sites == SITES
    return found.answer.findings


def near(found, certified, floats):
    """Whether a value is off by no more than it says, and by what the data lost when they became floats."""
    off = abs(Fraction(found["value"]) - Fraction(certified))
    return off <= Fraction(found["error"]) + Fraction(floats) * max(1, abs(Fraction(certified)))


@pytest.mark.parametrize("name", UNIVARIATE)
def test_univariate(name):
    data, mean, deviation = UNIVARIATE[name]
    findings = answered({"x": data}, asked("mean", "x"), asked("deviation", "x"), bits=32)
    for found, certified in zip(findings, (mean, deviation), strict=True):
        assert near({"value": found.value, "error": found.error}, certified, 1e-8 if "Acc" in name else 1e-14)
        assert found.error <= (float(max(data)) - float(min(data)) or 1) * 1e-9


@pytest.mark.parametrize("name", LINEAR)
def test_linear(name):
    rows, responses, estimates, deviations, residual, r_squared = LINEAR[name]
    columns = {f"x{at}": values for at, values in enumerate(zip(*rows, strict=True))}
    (found,) = answered({"y": responses} | columns, asked("linear", "y", *columns), bits=32)
    for one, estimate, deviation in zip(found.value["coefficients"], estimates, deviations, strict=True):
        assert near(one, estimate, 1e-9)
        assert near(one["standard_error"], deviation, 1e-9)
    assert near(found.value["deviation"], residual, 1e-9)
    assert near(found.value["r_squared"], r_squared, 1e-9)
