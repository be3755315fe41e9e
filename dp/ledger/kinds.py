"""The words that a budget's terms are made of, and the Renyi order that a budget takes unless it names its own."""

from __future__ import annotations

import math
from enum import StrEnum

from ..errors import PrivacyParameterError

ORDERS = tuple([1 + k / 10 for k in range(1, 100)] + [float(k) for k in range(11, 513)])
"""Renyi orders that a budget chooses from, unless it names its own."""


class Composition(StrEnum):
    """How a budget's spends add up.

    SUM: epsilons and deltas. GAUSSIAN: squares of mu. RENYI: Renyi divergence. RELEASES: equal releases.
    """

    SUM = "sum"
    GAUSSIAN = "gaussian"
    RENYI = "renyi"
    RELEASES = "releases"

    @property
    def counted(self) -> tuple[str, ...]:
        """Name what is counted, in the order of amounts."""
        return {
            "sum": ("epsilon", "delta"),
            "gaussian": ("squared_mu",),
            "renyi": ("divergence",),
            "releases": ("releases",),
        }[self]


class Kind(StrEnum):
    """Whose budget it is; a label that is bound at creation."""

    DATA_SUBJECT = "data-subject"
    DATA_SET = "data-set"
    PROJECT = "project"


def conversion(order: float, delta: float) -> float:
    """Return what is added to a divergence at `order` for an epsilon at delta (`dp.rdp.epsilon_from_rdp`)."""
    return math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)


def best_order(epsilon: float, delta: float) -> float:
    """Return the order at which (epsilon, delta) holds the most Gaussian noise, whose divergence grows like the order.

    Raises:
        PrivacyParameterError: no order leaves anything.
    """
    order = max(ORDERS, key=lambda alpha: (epsilon - conversion(alpha, delta)) / alpha)
    if not epsilon - conversion(order, delta) > 0:
        raise PrivacyParameterError(
            f"epsilon = {epsilon:g} at delta = {delta:g} is too small for Renyi divergence; raise either"
        )
    return order
