"""What several records cost together, against the whole mechanism and against known figures."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.accounting import delta_of, epsilon_of
from dp.analytic import gaussian_delta
from dp.distributed import NoiseShare
from dp.errors import PrivacyParameterError
from dp.events import (
    ApproximateEvent,
    Composed,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    FixedSizeSampled,
    GaussianEvent,
    LaplaceEvent,
    PoissonSampled,
    Repeated,
    SkellamEvent,
    SummedDiscreteGaussianEvent,
    ZCDPEvent,
)
from dp.groups import group_event
from dp.sensitivity import Adjacency, Unit

from .whole_sums import ERROR, whole_delta

ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE


@pytest.mark.parametrize(
    ("event", "group"),
    [
        (GaussianEvent(6.0, ADD), GaussianEvent(2.0, ADD)),
        (LaplaceEvent(6.0, ADD, 4), LaplaceEvent(2.0, ADD, 4)),
        (DiscreteGaussianEvent(5.0, 2.0, 3, ADD), DiscreteGaussianEvent(5.0, 6.0, 3, ADD)),
        (DiscreteLaplaceEvent(5.0, 2, 3, ADD), DiscreteLaplaceEvent(5.0, 6, 3, ADD)),
        (
            SummedDiscreteGaussianEvent(5.0, 9, 2.0, 4.0, 3, ADD, Unit.RECORD),
            SummedDiscreteGaussianEvent(5.0, 9, 6.0, 12.0, 3, ADD, Unit.RECORD),
        ),
        (SkellamEvent(90.0, 2.0, 4.0, ADD), SkellamEvent(90.0, 6.0, 12.0, ADD)),
        (ZCDPEvent(0.5, ADD), ZCDPEvent(4.5, ADD)),
        (ApproximateEvent(0.5, 0.0, ADD), ApproximateEvent(1.5, 0.0, ADD)),
        (PoissonSampled(1.0, GaussianEvent(6.0, ADD)), GaussianEvent(2.0, ADD)),
        (FixedSizeSampled(2, 9, GaussianEvent(6.0, REPLACE)), GaussianEvent(3.0, REPLACE)),
        (
            Composed((Repeated(GaussianEvent(6.0, ADD), 4), ZCDPEvent(0.5, ADD))),
            Composed((Repeated(GaussianEvent(2.0, ADD), 4), ZCDPEvent(4.5, ADD))),
        ),
    ],
)
def test_a_group_of_three_costs_what_is_known(event: Event, group: Event) -> None:
    assert group_event(event, 3) == group
    assert group_event(event, 1) in (event, getattr(event, "event", None))


@pytest.mark.parametrize(("multiplier", "size"), [(1.0, 3), (0.7, 10), (40.0, 7), (2.5, 1)])
def test_gaussian_noise_of_multiplier_m_has_m_over_k_for_k_records(multiplier: float, size: int) -> None:
    group = group_event(GaussianEvent(multiplier, ADD), size)
    assert isinstance(group, GaussianEvent)
    assert multiplier / size * (1 - 1e-15) <= group.noise_multiplier
    assert Fraction(group.noise_multiplier) * size <= Fraction(multiplier)
    assert delta_of(group, 1.0) == pytest.approx(gaussian_delta(multiplier / size, 1.0), rel=1e-12)


def test_deltas_of_groups_add_up_with_what_they_grow_by() -> None:
    event = ApproximateEvent(0.5, 1e-9, ADD)
    group = group_event(event, 3)
    assert isinstance(group, ApproximateEvent)
    true = 1e-9 * (1 + math.exp(0.5) + math.exp(1.0))
    assert true <= group.delta <= true * (1 + 1e-11)
    for too_many in (60, 10**6):
        with pytest.raises(PrivacyParameterError, match="is not protected"):
            group_event(event, too_many)


def test_samples_hold_one_of_a_group_more_often_than_one_record() -> None:
    event = SummedDiscreteGaussianEvent(5.0, 9, 2.0, 4.0, 3, ADD, Unit.RECORD)
    group = group_event(PoissonSampled(0.1, event), 3)
    assert isinstance(group, PoissonSampled)
    assert 1 - 0.9**3 <= group.rate <= (1 - 0.9**3) * (1 + 1e-14)
    assert group.event == group_event(event, 3)
    tiny = group_event(PoissonSampled(1e-90, event), 3)
    assert isinstance(tiny, PoissonSampled)
    assert 3e-90 <= tiny.rate <= 3e-90 * (1 + 1e-14)


@given(
    bound=st.integers(1, 4),
    size=st.integers(2, 3),
    rate=st.integers(1, 20),
    local_sigma=st.floats(1.0, 4.0),
    relation=st.sampled_from(Adjacency),
    epsilon=st.floats(0, 3),
    apart=st.booleans(),
)
def test_no_group_is_told_by_more_than_is_claimed(
    bound: int, size: int, rate: int, local_sigma: float, relation: Adjacency, epsilon: float, *, apart: bool
) -> None:
    """Of one client or of several, there or not, or replaced by the opposite."""

    def clients(value: int) -> list[list[tuple[int, ...]]]:
        return [[(value,)] for _ in range(size)] if apart else [[(value,)] * size]

    honest, chance = 3, Fraction(rate, 20)
    share = NoiseShare(local_sigma, 1, bound, bound, unit=Unit.RECORD)
    group = group_event(PoissonSampled(float(chance), share.event(honest, relation)), size)
    true = whole_delta(
        clients(bound),
        [[]] if relation is ADD else clients(-bound),
        rate=chance,
        local_sigma=local_sigma,
        honest=honest,
        epsilon=epsilon,
    )
    assert true <= delta_of(group, epsilon) + ERROR


def test_a_group_costs_more_than_its_records_in_parts() -> None:
    event = Repeated(PoissonSampled(0.05, SummedDiscreteGaussianEvent(5.0, 9, 8.0, 8.0, 3, ADD, Unit.RECORD)), 20)
    spent = [epsilon_of(group_event(event, size), 1e-6) for size in (1, 2, 3, 10)]
    assert all(few < many for few, many in itertools.pairwise(spent))
    assert spent[0] == epsilon_of(event, 1e-6)
    for size, epsilon in zip((1, 2, 3, 10), spent, strict=True):
        assert epsilon <= epsilon_of(group_event(Repeated(event.event.event, 20), size), 1e-6)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "2"])
def test_groups_are_whole_numbers(size: object) -> None:
    with pytest.raises(PrivacyParameterError, match="size"):
        group_event(GaussianEvent(1.0, ADD), size)  # type: ignore[arg-type]


def test_what_is_no_event_has_no_group() -> None:
    with pytest.raises(PrivacyParameterError, match="no event"):
        group_event("gaussian", 2)  # type: ignore[arg-type]
