"""From what a training function returns to the vectors that are masked.

Errors here become texts that go to the server in clear: they name the rule that was broken, keys and shapes, and no
value. Values go to the node's own log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import MetricRecord, RecordDict

from dp.sensitivity import Unit
from secagg.errors import EncodingError

from ..inputs.vectors import FloatVector, IntegerVector, PrivateVector
from ..masking.config import RoundConfig
from .announcement import Announcement
from .content import Model
from .logs import ERROR, INFO, WARNING, log
from .settings import CLIPPED, COUNTERS, METRICS, WEIGHT


def contribution(
    announcement: Announcement, config: RoundConfig, sent: Model, returned: RecordDict
) -> dict[str, npt.NDArray[Any]]:
    """Return the named vectors of a round that is not private.

    They are differences and metrics scaled by weight / max_weight, weight, clipped count.

    Args:
        announcement: what the node was told of the round.
        config: its configuration.
        sent: the model that came with the train message.
        returned: the content of the training function's reply.

    Raises:
        EncodingError: the reply is not what the round sums; the text may go to the server.
    """
    arrays, metrics = _only_records(returned)
    trained = Model.of(arrays)
    weight = _weight(metrics, announcement.weighted_by, config)
    share = weight / _integers(config, WEIGHT).max_value
    floats, counters = sent.changes(trained)
    update, num_clipped = _clip(floats, config, announcement.max_clipped_fraction)
    if np.abs(counters).max(initial=0.0) > _floats(config, COUNTERS).clip:
        raise EncodingError("an integer array has changed by more than 2**31: leave it out of what is returned")
    return {
        config.vectors[0].name: update * share,
        COUNTERS: counters * share,
        METRICS: _metrics(metrics, announcement, _floats(config, METRICS).clip) * share,
        WEIGHT: np.array([weight]),
        CLIPPED: np.array([num_clipped]),
    }


def private_update(spec: PrivateVector, sent: Model, train: Callable[[], RecordDict]) -> npt.NDArray[np.float64]:
    """Return the update of a private round: that of the arrays of floats, or zeros where training gives none.

    Where the unit is the record, it is a row for each of those that training returned, and none where it gives none.

    Nothing that training does is an error: that a node does not answer would tell the server of its data, and no noise
    covers it. The node's own log says what was wrong, and that its update is clipped, which the encoding does. What
    training returns beside arrays stays here.
    """
    try:
        arrays = list(train().array_records.values())
        if len(arrays) != 1:
            raise EncodingError(f"training returned {len(arrays)} ArrayRecords, but one is summed")
        returned = Model.of(arrays[0])
        if spec.unit is Unit.RECORD:
            return sent.rows_of_floats(returned)
        update = sent.changed_floats(returned)
    except (Exception, SystemExit) as error:
        log(ERROR, "secagg: zeros with noise are sent for this node's update: %s", error, exc_info=True)
        return np.zeros(spec.length if spec.unit is Unit.CLIENT else (0, spec.length))
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(update))
    if norm > spec.l2_clip:
        log(INFO, "secagg: the update's L2 norm is %g, and is clipped to %g", norm, spec.l2_clip)
    return update


def _only_records(returned: RecordDict) -> tuple[Any, MetricRecord]:
    """One ArrayRecord and one MetricRecord, and nothing that would have to travel in clear or be lost."""
    arrays, metrics = list(returned.array_records.values()), list(returned.metric_records.values())
    if len(arrays) != 1 or len(metrics) != 1:
        raise EncodingError(
            f"training returned {len(arrays)} ArrayRecords and {len(metrics)} MetricRecords, but one of each is summed"
        )
    if returned.config_records:
        raise EncodingError(
            f"training returned the ConfigRecords {sorted(returned.config_records)}, which cannot be summed and do not "
            "leave in clear: leave them out"
        )
    return arrays[0], metrics[0]


def _weight(metrics: MetricRecord, weighted_by: str, config: RoundConfig) -> int:
    weight = metrics.get(weighted_by)
    if isinstance(weight, float) and weight.is_integer():
        weight = int(weight)
    if isinstance(weight, bool) or not isinstance(weight, int) or weight < 0:
        raise EncodingError(f"training must return {weighted_by!r} among its metrics, as a whole number from 0")
    max_weight = _integers(config, WEIGHT).max_value
    if weight > max_weight:
        log(WARNING, "secagg: %s is %d, above the round's max_weight", weighted_by, weight)
        raise EncodingError(
            f"{weighted_by!r} is above max_weight, {max_weight}: raise max_weight in SecAgg to the most that a node "
            "has, and no further, since rounding grows with it; or cap the weight"
        )
    return weight


def _clip(
    update: npt.NDArray[np.float64], config: RoundConfig, max_clipped_fraction: float
) -> tuple[npt.NDArray[np.float64], int]:
    spec = config.vectors[0]
    clip = _floats(config, spec.name).clip
    num_clipped = int(np.count_nonzero(np.abs(update) > clip))
    if num_clipped:
        largest = float(np.abs(update).max())
        log(
            WARNING,
            "secagg: %d of %d coordinates of the update are beyond clip = %g; the largest is %g",
            num_clipped,
            update.size,
            clip,
            largest,
        )
        if num_clipped > max_clipped_fraction * update.size:
            raise EncodingError(
                f"more than max_clipped_fraction ({max_clipped_fraction:g}) of the update is beyond clip ({clip:g}): "
                "raise clip in SecAgg (the node's log tells by how much), or train more gently"
            )
        np.clip(update, -clip, clip, out=update)
    return update, num_clipped


def _metrics(metrics: MetricRecord, announcement: Announcement, limit: float) -> npt.NDArray[np.float64]:
    declared: Mapping[str, int] = dict(announcement.metrics)
    returned = {name: value for name, value in metrics.items() if name != announcement.weighted_by}
    if returned.keys() != declared.keys():
        undeclared, missing = sorted(returned.keys() - declared.keys()), sorted(declared.keys() - returned.keys())
        faults = [f"returned metrics that were not declared: {undeclared}"] if undeclared else []
        faults += [f"did not return the declared metrics {missing}"] if missing else []
        raise EncodingError(f"training {' and '.join(faults)}: say metrics={sorted(returned)} in SecAgg")
    values: list[float] = []
    for name, length in declared.items():
        value = returned[name]
        if (len(value) if isinstance(value, list) else 0) != length or value == []:
            raise EncodingError(
                f"metric {name!r} was declared {f'as a list of {length}' if length else 'as a single number'}, but "
                f"training returned {f'a list of {len(value)}' if isinstance(value, list) else 'a single number'}"
            )
        values += map(float, value if isinstance(value, list) else [value])
    vector = np.array(values, dtype=np.float64)
    outside = ~(np.abs(vector) <= limit)  # NaN is outside, too
    if outside.any():
        log(WARNING, "secagg: the metrics %s are %s; metric_limit is %g", list(declared), values, limit)
        raise EncodingError(f"a metric is not finite or beyond metric_limit, {limit:g}: the node's log tells which")
    return vector


def _floats(config: RoundConfig, name: str) -> FloatVector:
    (spec,) = (spec for spec in config.vectors if spec.name == name and isinstance(spec, FloatVector))
    return spec


def _integers(config: RoundConfig, name: str) -> IntegerVector:
    (spec,) = (spec for spec in config.vectors if spec.name == name and isinstance(spec, IntegerVector))
    return spec
