"""From the sums of a round to what a strategy gets of it: the mean of the nodes' models, and of their metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from flwr.app import ArrayRecord, MetricRecord

from secagg.errors import EncodingError, StateError

from ..groups import Combined, GroupPlan, Rule, combine
from ..masking.result import RoundResult
from .content import Model, Vector
from .report import RoundReport
from .settings import CLIPPED, COUNTER_BITS, COUNTER_LIMIT, COUNTERS, METRIC_BITS, METRICS, WEIGHT, SecAggSettings


@dataclass(frozen=True)
class Means:
    """What the sums of one session come to: weighted means, in the units of the model.

    Attributes:
        total_weight: of the survivors.
        step: how far rounding may have moved a coordinate of `update` at most.
        update: float64, one number for each coordinate of floats: by what the model moves.
        counters: likewise, for integers.
        metrics: float64, side by side in the declared order.
        beyond: what is beyond what honest nodes can reach, and what that is; None where nothing is.
    """

    total_weight: int
    step: float
    update: Vector = field(repr=False)
    counters: Vector = field(repr=False)
    metrics: Vector = field(repr=False)
    beyond: str | None

    @classmethod
    def of(cls, result: RoundResult, settings: SecAggSettings, weighted_by: str) -> Means:
        """Return the means of a session.

        Raises:
            EncodingError: there is none, since weights sum to zero, or rounding may have moved it too far.
        """
        total_weight = int(result.sum(WEIGHT)[0])
        if total_weight == 0:
            raise EncodingError(f"the nodes' {weighted_by} sum to zero: there is no mean")
        average = total_weight / len(result.survivors)
        step = settings.step(average)
        if step > settings.max_step * settings.clip:
            bits = settings.value_bits + math.ceil(math.log2(step / (settings.max_step * settings.clip)))
            raise EncodingError(
                f"rounding may move the mean by {step:.3g}, but max_step is {settings.max_step:g} of clip "
                f"({settings.clip:g}): lower max_weight to the most {weighted_by} of a node (it is "
                f"{settings.max_weight}, and they have {average:.4g} on average), or raise value_bits to {bits}"
            )
        share = settings.max_weight / total_weight
        update = result.sum(next(iter(result.levels))) * share
        counters, metrics = result.sum(COUNTERS) * share, result.sum(METRICS) * share
        beyond = None
        for what, mean, limit, bits in (
            ("update", update, settings.clip, settings.value_bits),
            ("integer arrays", counters, COUNTER_LIMIT, COUNTER_BITS),
            ("metrics", metrics, settings.metric_limit, METRIC_BITS),
        ):
            rounding = len(result.survivors) * share * limit / (2 ** (bits - 1) - 1)
            if beyond is None and np.abs(mean).max(initial=0.0) > limit * (1 + 1e-9) + rounding:
                beyond = f"the mean of the {what} is beyond {limit:g}, to which each node keeps its own"
        return cls(total_weight, step, update, counters, metrics, beyond)

    def bounded(self, settings: SecAggSettings) -> Means:
        """Return these means with each number brought to what honest nodes can reach: what lies beyond is a lie."""
        limits = {"update": settings.clip, "counters": COUNTER_LIMIT, "metrics": settings.metric_limit}
        return replace(self, **{name: np.clip(getattr(self, name), -most, most) for name, most in limits.items()})

    @classmethod
    def combined(cls, plan: GroupPlan, means: Sequence[Means]) -> tuple[Means, Combined]:
        """Return what a plan's rule makes of the means of groups, and how it came to its update.

        Integers and metrics are no part of the update's geometry: they take the coordinate-wise median of the groups,
        or, where the rule is the sum, the mean by weight.

        Raises:
            ParameterError: fewer groups than the rule needs.
        """
        weights, spoilt = [each.total_weight for each in means], plan.max_spoilt
        counted = weights if plan.rule is Rule.SUM else None
        most = float(max(weights, default=0))
        made = combine(plan.rule, [each.update for each in means], spoilt, weights=counted, max_weight=most)
        other = Rule.MEDIAN if counted is None else Rule.SUM
        counters, metrics = (
            combine(other, vectors, spoilt, weights=counted, max_weight=most).value
            for vectors in ([each.counters for each in means], [each.metrics for each in means])
        )
        step = max(each.step for each in means)
        return cls(sum(weights), step, made.value, counters, metrics, None), made

    def records(self, sent: Model, settings: SecAggSettings, weighted_by: str) -> tuple[ArrayRecord, MetricRecord]:
        """Return what a strategy gets: the model moved, and the metrics with the sum of the weights.

        Raises:
            EncodingError: it does not fit the model's dtypes.
        """
        record = MetricRecord({weighted_by: self.total_weight})
        values, start = self.metrics.tolist(), 0
        for name, length in settings.metric_lengths.items():
            record[name] = values[start : start + length] if length else values[start]
            start += length or 1
        return sent.plus(self.update, self.counters), record


def weighted_mean(
    result: RoundResult, settings: SecAggSettings, sent: Model, weighted_by: str, report: RoundReport
) -> tuple[ArrayRecord, MetricRecord]:
    """Return the weighted mean of the survivors' models and metrics, with the sum of the weights; fill in the report.

    Raises:
        EncodingError: there is no mean, or one that honest nodes cannot reach, or that does not fit the model's dtypes.
    """
    report.total_weight = int(result.sum(WEIGHT)[0])
    report.num_clipped = int(result.sum(CLIPPED)[0])
    means = Means.of(result, settings, weighted_by)
    report.step = means.step
    if means.beyond is not None:
        raise EncodingError(f"{means.beyond}: a node has lied about its input or its weight, and nothing tells which")
    return means.records(sent, settings, weighted_by)


def private_mean(
    result: RoundResult, settings: SecAggSettings, sent: Model, weighted_by: str, report: RoundReport
) -> tuple[ArrayRecord, MetricRecord]:
    """Return the model moved by the noisy mean of the survivors, or of records; metrics stay on the nodes.

    Arrays of integers stay as they were sent.

    Raises:
        EncodingError: the mean does not fit the model's dtypes.
        StateError: the settings have no privacy, so that the round had none.
    """
    privacy = settings.privacy
    if privacy is None:
        raise StateError("these settings make no round private")
    report.total_weight = len(result.survivors)
    report.epsilon, report.unit = privacy.epsilon_spent(result), privacy.unit
    arrays = sent.plus(privacy.mean_change(result), np.zeros(sent.length("integers")))
    return arrays, MetricRecord({weighted_by: len(result.survivors)})
