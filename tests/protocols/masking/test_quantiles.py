"""A first round that finds a clip: the bracket that masked counts give holds the quantile, whatever the numbers are."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import FloatVector, MagnitudeCounts, RoundConfig, ThreatModel
from protocols.masking.policy import ClientPolicy
from protocols.masking.transitions import ServerPhase
from protocols.simulation.masked import Simulation
from secagg.errors import EncodingError, ParameterError

numbers = st.floats(-1e12, 1e12) | st.floats() | st.sampled_from((0.0, -0.0, 1.0, 2.0**-40, 2.0**24, 1.125, 5e-324))


def quantile_of(values: list[float], share: float) -> float:
    """The least magnitude that at least this share does not exceed; NaN is beyond all."""
    ordered = sorted(math.inf if math.isnan(value) else abs(value) for value in values)
    return ordered[math.ceil(Fraction(share) * len(values)) - 1]


@given(
    st.lists(st.lists(numbers, max_size=9), min_size=1, max_size=5).filter(any),
    st.floats(1e-6, 1.0),
    st.sampled_from((1, 2, 8)),
)
def test_the_bracket_of_the_summed_counts_holds_the_quantile_of_all_numbers(
    clients: list[list[float]], share: float, steps: int
) -> None:
    counting = MagnitudeCounts(max_values=9, steps=steps)
    total = np.sum([counting.counts(np.array(values, dtype=np.float64)) for values in clients], axis=0)
    truth = quantile_of([value for values in clients for value in values], share)
    if truth > 2.0**24:
        with pytest.raises(ParameterError, match="raise greatest_exponent, or lower quantile"):
            counting.bracket(total, share)
        return
    low, high = counting.bracket(total, share)
    assert low < truth or truth == low == 0
    assert truth <= high
    assert high / low <= 1 + 1 / steps if low else high == 2.0**-40


def test_edges_are_floats_that_every_machine_has_alike() -> None:
    edges = MagnitudeCounts(max_values=1, least_exponent=-1, greatest_exponent=1, steps=4).edges
    assert edges.tolist() == [0.5, 0.625, 0.75, 0.875, 1.0, 1.25, 1.5, 1.75, 2.0]


def test_a_first_round_finds_the_clip_of_the_second() -> None:
    rng = np.random.default_rng(5)
    updates = {f"client-{number:02}": rng.standard_normal(500) * 3e-5 for number in range(1, 13)}
    model, policy = ThreatModel(12, 0.1, 0.1), ClientPolicy.permissive()
    counting = MagnitudeCounts(max_values=500)

    first = Simulation(
        RoundConfig(model, (counting.spec,)),
        lambda name: {counting.name: counting.counts(updates[name])},
        {ServerPhase.MASKED_INPUT: ["client-03"]},
        policy,
        threads=1,
    ).run()
    clip = counting.bracket(first.result.sum(counting.name), 0.99).high
    present = np.concatenate([updates[name] for name in first.result.survivors])
    assert quantile_of(present.tolist(), 0.99) <= clip <= 1.125 * quantile_of(present.tolist(), 0.99)

    config = RoundConfig(model, (FloatVector("update", 500, clip=clip),))
    second = Simulation(config, lambda name: {"update": updates[name]}, {}, policy, threads=1).run().result
    clipped = sum(int((np.abs(update) > clip).sum()) for update in updates.values())
    assert second.num_clipped == {"update": clipped}
    assert 0 < clipped <= 0.01 * 12 * 500 + 6
    exact = np.sum([np.clip(update, -clip, clip) for update in updates.values()], axis=0)
    assert np.abs(second.sum("update") - exact).max() <= 12 * clip / 2**14


def test_what_cannot_be_counted_is_refused_by_name() -> None:
    counting = MagnitudeCounts(max_values=3)
    with pytest.raises(EncodingError, match="4 values of float64 are to be counted, but there is room for 3"):
        counting.counts(np.zeros(4))
    with pytest.raises(EncodingError, match="real numbers"):
        counting.counts(np.array([True]))
    with pytest.raises(EncodingError, match="floats or integers"):
        counting.counts(np.array(["1.0"]))
    for share in (0.0, -1.0, 1.5, math.nan):
        with pytest.raises(ParameterError, match="quantile"):
            counting.bracket(counting.counts(np.ones(3)), share)
    with pytest.raises(ParameterError, match="of 0 magnitudes"):
        counting.bracket(counting.counts(np.ones(0)), 0.5)
    with pytest.raises(ParameterError, match="shape"):
        counting.bracket(np.zeros(4, dtype=np.int64), 0.5)
    for total in (counting.counts(np.ones(3)) / 5, counting.counts(np.ones(3)).tolist()):
        with pytest.raises(EncodingError, match="array"):
            counting.bracket(total, 0.5)
    for wrong in (
        {"steps": 3},
        {"steps": 0},
        {"max_values": 0},
        {"least_exponent": -1001},
        {"greatest_exponent": 1001},
    ):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            MagnitudeCounts(**({"max_values": 3} | wrong))
