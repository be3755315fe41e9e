"""Logistic and Poisson regression: a session a step, until a step gains nothing more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from secagg.errors import EstimateError, ParameterError

from .answer import Answer
from .families.generalized import Units
from .finding import Finding
from .kinds import SHAPES, Kind, Parameters
from .plan import Plan
from .query import Query, Statistic

TOLERANCE = 1e-10
"""Half of the decrement is what the log-likelihood is about to gain."""
MOST_STEPS = 40
LONGEST_STEP = 4.0
"""Of Poisson's, in the sum of absolute coefficients, in units of SPEC section 41.3: longer ones overshoot any bound."""


@dataclass(frozen=True)
class Fit:
    """A regression that took several sessions.

    Attributes:
        answer: to the last question; its finding has the coefficients after the last step, or the rule that hid it.
        steps: how many sessions there were.
    """

    answer: Answer
    steps: int

    @property
    def finding(self) -> Finding:
        """What the analyst is told."""
        return self.answer.findings[0]


def fit(query: Query, ask: Callable[[Query], Answer]) -> Fit:
    """Ask for step after step, each from the coefficients of the one before.

    Args:
        query: its one statistic is `logistic` or `poisson`, with the coefficients to start from: zeros will do.
        ask: returns the answer to a query, by a session over the sites.

    Raises:
        ParameterError: another query.
        EstimateError: no end after 40 steps, or coefficients that run away, as where a predictor tells the response
            wholly (`no-convergence`).
        Whatever `ask` raises.
    """
    if len(query.statistics) != 1 or SHAPES[query.statistics[0].kind].parameters is not Parameters.COEFFICIENTS:
        raise ParameterError("a fit is of one statistic, logistic or poisson: ask the others in another query")
    for step in range(1, MOST_STEPS + 1):
        answer = ask(query)
        value: Any = answer.findings[0].value
        if answer.findings[0].reason == "no-convergence":
            break
        if value is None or abs(value["decrement"]) <= TOLERANCE:
            return Fit(answer, step)
        try:
            query = query.changed(statistics=(_next(query, value["next"]),))
            Plan(query)  # refuses coefficients at which terms have no bound
        except ParameterError:
            break
    raise EstimateError(
        "the coefficients ran away, or found no end: state bounds near what there is, or leave a predictor out",
        reason="no-convergence",
    )


def _next(query: Query, after: Sequence[float]) -> Statistic:
    """Return the statistic at the coefficients after a step, which is shortened if it is a long one."""
    (one,) = query.statistics
    moved = msgspec.structs.replace(one, parameters=tuple(b - a for a, b in zip(one.parameters, after, strict=True)))
    length = Units(query, one.columns).length(moved.parameters) if one.kind is Kind.POISSON else 0.0
    share = min(1.0, LONGEST_STEP / length) if length else 1.0
    way = zip(one.parameters, moved.parameters, strict=True)
    return msgspec.structs.replace(one, parameters=tuple(a + share * step for a, step in way))
