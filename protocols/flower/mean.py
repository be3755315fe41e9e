"""From the sums of a round to what a strategy gets of it: the mean of the nodes' models, and of their metrics."""

from __future__ import annotations

import math

import numpy as np
from flwr.app import ArrayRecord, MetricRecord

from secagg.errors import EncodingError, StateError

from ..masking.result import RoundResult
from .content import Model
from .report import RoundReport
from .settings import CLIPPED, COUNTER_BITS, COUNTER_LIMIT, COUNTERS, METRIC_BITS, METRICS, WEIGHT, SecAggSettings


def weighted_mean(
    result: RoundResult, settings: SecAggSettings, sent: Model, weighted_by: str, report: RoundReport
) -> tuple[ArrayRecord, MetricRecord]:
    """Return the weighted mean of the survivors' models and metrics, with the sum of the weights; fill in the report.

    Raises:
        EncodingError: there is no mean, or one that honest nodes cannot reach, or that does not fit the model's dtypes.
    """
    report.total_weight = total_weight = int(result.sum(WEIGHT)[0])
    report.num_clipped = int(result.sum(CLIPPED)[0])
    if total_weight == 0:
        raise EncodingError(f"the nodes' {weighted_by} sum to zero: there is no mean")
    average = total_weight / len(result.survivors)
    report.step = settings.step(average)
    if report.step > settings.max_step * settings.clip:
        bits = settings.value_bits + math.ceil(math.log2(report.step / (settings.max_step * settings.clip)))
        raise EncodingError(
            f"rounding may move the mean by {report.step:.3g}, but max_step is {settings.max_step:g} of clip "
            f"({settings.clip:g}): lower max_weight to the most {weighted_by} of a node (it is {settings.max_weight}, "
            f"and they have {average:.4g} on average), or raise value_bits to {bits}"
        )
    share = settings.max_weight / total_weight
    update = result.sum(next(iter(result.levels))) * share
    counters, metrics = result.sum(COUNTERS) * share, result.sum(METRICS) * share
    for what, mean, limit, bits in (
        ("update", update, settings.clip, settings.value_bits),
        ("integer arrays", counters, COUNTER_LIMIT, COUNTER_BITS),
        ("metrics", metrics, settings.metric_limit, METRIC_BITS),
    ):
        rounding = len(result.survivors) * share * limit / (2 ** (bits - 1) - 1)
        if np.abs(mean).max(initial=0.0) > limit * (1 + 1e-9) + rounding:
            raise EncodingError(
                f"the mean of the {what} is beyond {limit:g}, to which each node keeps its own: a node has lied about "
                "its input or its weight, and nothing tells which"
            )
    record = MetricRecord({weighted_by: total_weight})
    means, start = metrics.tolist(), 0
    for name, length in settings.metric_lengths.items():
        record[name] = means[start : start + length] if length else means[start]
        start += length or 1
    return sent.plus(update, counters), record


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
