"""Training at the level of records, and counts of them, end to end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dp.accounting import epsilon_of
from dp.errors import PrivacyParameterError
from dp.events import PoissonSampled, Repeated
from dp.randomness import KEY_BYTES
from dp.sampling import sample_records
from dp.sensitivity import Unit
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import PrivateCounts
from protocols.masking.policy import ClientPolicy, PrivacyDemand
from protocols.privacy.plans import HistogramPlan, PrivatePlan
from protocols.privacy.records import sampled_gradients
from protocols.simulation.masked import Simulation
from secagg.errors import EncodingError, ParameterError

HOSPITALS = (1210, 880, 655, 560, 480, 402, 350, 275, 205, 150, 95, 50)
BINS, DELTA = 20, 1e-6


def hospital_plan(**changes: Any) -> HistogramPlan:
    given = {"bins": BINS, "epsilon": 1.0, "delta": DELTA, "max_total": 1000, "unit": Unit.RECORD} | changes
    return HistogramPlan(threat_model=ThreatModel(len(HOSPITALS), 0.1, 0.1), **given)


def training_plan(**changes: Any) -> PrivatePlan:
    given = {"length": 30, "l2_clip": 1.0, "epsilon": 3.0, "delta": 1e-5, "rounds": 40, "max_records": 60}
    given |= {"unit": Unit.RECORD, "sampling_rate": 0.25} | changes
    return PrivatePlan(threat_model=ThreatModel(12, 0.1, 0.1), **given)


# Samples and their gradients.


def test_each_sampled_record_is_asked_for_once_and_in_order_in_blocks() -> None:
    asked: list[list[int]] = []

    def gradients(indices: np.ndarray) -> np.ndarray:
        asked.append(indices.tolist())
        return np.column_stack((indices, -indices)).astype(float)

    key = bytes(range(KEY_BYTES))
    found = list(sampled_gradients(gradients, 1000, 0.3, block=7, random=lambda _: key))
    sample = sample_records(1000, 0.3, random=lambda _: key)
    assert {len(indices) for indices in asked[:-1]} == {7}
    assert np.concatenate(asked).tolist() == sample.tolist()
    assert np.concatenate(found)[:, 0].tolist() == sample.tolist()


def test_each_call_takes_another_sample() -> None:
    first, second = (
        np.concatenate(list(sampled_gradients(lambda indices: indices[:, None] * 1.0, 1000, 0.5))) for _ in range(2)
    )
    assert not np.array_equal(first, second)  # alike with a probability of 2**-1000


@pytest.mark.parametrize("rows", [np.zeros(4), np.zeros((1, 4)), np.zeros((6, 4)), np.zeros((5, 2, 2))])
def test_other_than_one_row_a_record_is_refused(rows: np.ndarray) -> None:
    with pytest.raises(EncodingError, match="one row for each"):
        next(sampled_gradients(lambda _: rows, 5, 1))


def test_nothing_is_asked_for_without_records_or_before_it_is_needed() -> None:
    def fail(indices: np.ndarray) -> np.ndarray:
        raise AssertionError(indices)

    assert list(sampled_gradients(fail, 0, 0.5)) == []
    sampled_gradients(fail, 5, 1)


def test_impossible_rates_and_blocks_are_refused() -> None:
    with pytest.raises(PrivacyParameterError, match="rate"):
        next(sampled_gradients(lambda indices: indices, 5, 1.5))
    with pytest.raises(ParameterError, match="block"):
        next(sampled_gradients(lambda indices: indices, 5, 0.5, block=0))


def test_a_round_sums_the_clipped_gradients_of_the_samples() -> None:
    """Without one sampled record the sum would be off by 1, and its noise is of 0.02."""
    plan = training_plan(epsilon=None, noise_multiplier=0.02, length=4)
    sampled: dict[str, np.ndarray] = {}
    sizes = {f"client-{number + 1:02}": 20 * number for number in range(12)}

    def inputs(name: str) -> dict[str, Any]:
        def gradients(indices: np.ndarray) -> np.ndarray:
            sampled[name] = indices
            rows = np.zeros((len(indices), 4))
            rows[np.arange(len(indices)), indices % 4] = 1.0 + indices  # clipped to 1
            return rows

        return {plan.name: sampled_gradients(gradients, sizes[name], plan.sampling_rate, block=1000)}

    result = Simulation(plan.config, inputs).run().result
    expected = np.bincount(np.concatenate(list(sampled.values())) % 4, minlength=4)
    assert result.sum(plan.name) == pytest.approx(expected, abs=0.5)
    total = sum(map(len, sampled.values()))
    assert 0 < total < sum(sizes.values()) / 2


def test_a_plan_costs_its_epsilon_and_a_client_that_samples_accepts_it() -> None:
    plan = training_plan()
    assert 0.999 * 3 < plan.epsilon_total <= 3
    spent = epsilon_of(Repeated(PoissonSampled(0.25, plan.config.event(plan.min_survivors)), 40), 1e-5)
    assert spent == plan.epsilon_total
    demand = PrivacyDemand(3.0, 1e-5, 40, unit=Unit.RECORD, sampling_rate=0.25)
    demand.check(plan.config)
    for other in (replace(demand, sampling_rate=0.3), replace(demand, unit=Unit.CLIENT, sampling_rate=1.0)):
        with pytest.raises(ParameterError, match="demands at most 3"):
            other.check(plan.config)


# The twelve hospitals.


def test_counts_of_twelve_hospitals_are_private_for_each_patient() -> None:
    rng = np.random.default_rng(16)
    given = {
        f"client-{number + 1:02}": np.eye(BINS, dtype=np.int64)[rng.integers(0, BINS, size)]
        for number, size in enumerate(HOSPITALS)
    }
    plan = hospital_plan()
    assert sum(HOSPITALS) == 5312
    assert 4.5 < plan.sum_deviation(len(HOSPITALS)) < 5
    policy = ClientPolicy(privacy=PrivacyDemand(1.0, DELTA, unit=Unit.RECORD))
    result = Simulation(plan.config, lambda name: {"counts": given[name]}, policy=policy).run().result
    errors = result.sum("counts") - sum(rows.sum(axis=0) for rows in given.values())
    assert np.abs(errors).max() < 8 * 5  # of 20 counts none with a probability of 1e-13
    assert np.abs(errors).sum() > 0
    assert result.epsilon(DELTA) <= 1


def test_half_the_noise_is_refused_by_the_hospitals() -> None:
    config, demand = hospital_plan().config, PrivacyDemand(1.0, DELTA, unit=Unit.RECORD)
    demand.check(config)
    (spec,) = config.vectors
    assert isinstance(spec, PrivateCounts)
    fields = {name: getattr(spec, name) for name in spec.__struct_fields__}
    halved = PrivateCounts(**(fields | {"local_sigma": spec.local_sigma / 2}))
    with pytest.raises(ParameterError, match="for each record, but this client demands at most 1"):
        demand.check(type(config)(config.threat_model, (halved,), min_survivors=config.min_survivors))


def test_noise_for_whole_hospitals_would_be_a_thousand_times_as_much() -> None:
    whole = hospital_plan(unit=Unit.CLIENT)
    assert whole.sum_deviation(11) == pytest.approx(4400, rel=0.02)
    assert whole.sum_deviation(12) / hospital_plan().sum_deviation(12) == pytest.approx(1000, rel=0.05)
