"""Strategies of Flower that compare results: over groups, each group's mean is one. How many of them each bears."""

from __future__ import annotations

from typing import Any

from flwr.serverapp.strategy import Strategy

from secagg.errors import ParameterError

from ..groups import GroupPlan, Rule

COMPARING = {
    "FedMedian": Rule.MEDIAN,
    "FedTrimmedAvg": Rule.TRIMMED_MEAN,
    "Krum": Rule.KRUM,
    "MultiKrum": Rule.MULTI_KRUM,
    "Bulyan": Rule.MULTI_KRUM,
}
"""Strategy -> the rule by which a plan for it counts."""


def compares(strategy: Strategy) -> str | None:
    """Return which of Flower's strategies that compare results this is, or is made of; None for others."""
    names = (kind.__name__ for kind in type(strategy).__mro__ if kind.__module__.startswith("flwr."))
    return next((name for name in names if name in COMPARING), None)


def fewest_results(strategy: Strategy, plan: GroupPlan) -> int | None:
    """Return how few groups' means a strategy still makes something of that bears the spoilt ones; None for others.

    Raises:
        ParameterError: the plan counts by another rule, or has too few groups for the strategy as it is set.
    """
    name = compares(strategy)
    if name is None:
        return None
    if plan.rule is not COMPARING[name]:
        raise ParameterError(
            f"{name} combines the groups itself, but the plan counts by the rule {plan.rule}: plan with "
            f"rule={str(COMPARING[name])!r}"
        )
    groups, spoilt = plan.num_groups, plan.max_spoilt
    fewest = groups + 1
    while fewest > plan.min_groups and _bears(strategy, name, fewest - 1) >= spoilt:
        fewest -= 1
    if fewest <= groups:
        return fewest
    raise ParameterError(
        f"{name} of {groups} groups bears {max(_bears(strategy, name, groups), 0)} spoilt ones as it is set, but "
        f"{spoilt} may be: {_REMEDIES[name].format(spoilt=spoilt, share=spoilt / plan.min_groups)}"
    )


def _bears(strategy: Any, name: str, results: int) -> int:
    """Return how many of so many results may be anything; -1 where the strategy needs more even if none is."""
    if name == "FedMedian":
        return (results - 1) // 2
    if name == "FedTrimmedAvg":
        return int(strategy.beta * results)
    malicious = int(strategy.num_malicious_nodes)
    if name == "Bulyan":
        return malicious if results >= 4 * malicious + 3 else -1
    selected = getattr(strategy, "num_nodes_to_select", 1)
    return malicious if results >= 2 * malicious + 3 and selected <= results - malicious - 2 else -1


_REMEDIES = {
    "FedMedian": "plan more groups",
    "FedTrimmedAvg": "set beta above {share:.3g}, or plan more groups",
    "Krum": "set num_malicious_nodes={spoilt}, or plan more groups",
    "MultiKrum": "set num_malicious_nodes={spoilt}, with num_nodes_to_select of at most the groups less that less 2",
    "Bulyan": "set num_malicious_nodes={spoilt}, and plan groups=4 * {spoilt} + 3 or more",
}
