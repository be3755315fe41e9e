"""Rounds for records cost what is claimed, and hardly less: held against the whole mechanism's law on small cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dp import Adjacency, PoissonSampled, Repeated, Unit, delta_of
from protocols import PrivateCounts, PrivateVector, RoundConfig, ThreatModel
from protocols.core.threat_model import Adversary

from .exact_mechanism import Counts, Floats, delta_between, released, twice

EPSILONS = [0.0, 0.25, 0.5, 1.0, 2.0, 3.0]
ROUNDING = 1e-13
SIGMA = 6.0


def config(spec: Any) -> RoundConfig:
    """Six clients, of whom one may be corrupt and one may vanish: the noise of four counts."""
    return RoundConfig(ThreatModel(6, 0.17, 0.17, Adversary.CURIOUS_SERVER), (spec,), min_survivors=5)


def floats(local_sigma: float = SIGMA) -> RoundConfig:
    return config(PrivateVector("v", 1, 1.0, 8.5, local_sigma, Unit.RECORD, 2))


def counts(local_sigma: float = SIGMA, bins: int = 1) -> RoundConfig:
    return config(PrivateCounts("c", bins, 3, 5, local_sigma, 0, Unit.RECORD, 2))


FLOATS, COUNTS = Floats(1.0, 8.5, 2), Counts(2, 3, 5)
# Honest clients' records; a record is added to the first client, whose sum is cut with some coins.
CASES: list[tuple[Any, Any, Any, list[list[Any]], Any]] = [
    (floats, {}, FLOATS, [[], [], [], []], 1.0),
    (floats, {}, FLOATS, [[0.3, -2.0], [0.75], [], []], 5.0),
    (floats, {}, FLOATS, [[0.9, 0.9, 0.9], [-0.4], [0.1], []], -0.66),
    (counts, {}, COUNTS, [[], [], [], []], [2]),
    (counts, {}, COUNTS, [[[2], [1]], [[7]], [], []], [9]),
    (counts, {"bins": 2}, COUNTS, [[[2, 0], [1, -3]], [[1, 1]], [], []], [0, 5]),
    (counts, {"bins": 2}, COUNTS, [[[1, 1], [1, 1], [2, 0]], [], [], []], [1, 1]),
]


def laws(case: Any, rate: float, local_sigma: float = SIGMA) -> tuple[Any, Any]:
    _, more, kind, clients, record = case
    with_record = [[*clients[0], record], *clients[1:]]
    given: dict[str, Any] = {"rate": rate, "local_sigma": local_sigma, "noisy": 4, "entries": more.get("bins", 1)}
    half = 130 if given["entries"] == 1 else 110
    return tuple(released(kind, data, half=half, **given) for data in (clients, with_record))


def claimed(case: Any, rate: float, rounds: int, epsilon: float, local_sigma: float = SIGMA) -> float:
    of, more, *_ = case
    event = of(local_sigma, **more).event(5)
    assert event.clients == 4
    return delta_of(Repeated(PoissonSampled(rate, event), rounds), epsilon)


@pytest.mark.parametrize("rate", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("case", CASES)
def test_one_round_costs_no_more_than_is_claimed(case: Any, rate: float) -> None:
    without, with_record = laws(case, rate)
    assert without.sum() == pytest.approx(1, abs=1e-9)
    for epsilon in EPSILONS:
        assert delta_between(without, with_record, epsilon) <= claimed(case, rate, 1, epsilon) + ROUNDING


@pytest.mark.parametrize("rate", [1.0, 0.25])
@pytest.mark.parametrize("case", [case for case in CASES if "bins" not in case[1]])
def test_two_rounds_cost_no_more_than_is_claimed(case: Any, rate: float) -> None:
    without, with_record = (twice(law) for law in laws(case, rate))
    for epsilon in EPSILONS:
        assert delta_between(without, with_record, epsilon) <= claimed(case, rate, 2, epsilon) + ROUNDING


@pytest.mark.parametrize(("case", "more"), [(CASES[0], 1.15), (CASES[3], 1.05)])
def test_a_claim_that_is_a_little_wrong_is_caught(case: Any, more: float) -> None:
    """Of floats, a few parts in a hundred are left over: what is rounded seldom comes to the bound on its norm."""

    def caught(rate: float, stated_rate: float, stated_sigma: float) -> bool:
        laws_of = laws(case, rate)
        return any(
            delta_between(*laws_of, epsilon) > claimed(case, stated_rate, 1, epsilon, stated_sigma)
            for epsilon in EPSILONS
        )

    for rate in (1.0, 0.25):
        assert not caught(rate, rate, SIGMA)
        assert caught(rate, rate, SIGMA * more)  # less noise than is stated
        assert caught(rate, rate / more, SIGMA)  # more often in the sum than is stated
    # The noise of five where that of four counts: a colluder's is known.
    event = case[0](SIGMA, **case[1]).event(6)
    assert any(delta_between(*laws(case, 1.0), epsilon) > delta_of(event, epsilon) for epsilon in EPSILONS)


@pytest.mark.parametrize("case", CASES[3:])
def test_replacing_a_record_costs_no_more_than_is_claimed(case: Any) -> None:
    of, more, kind, clients, record = case
    entries = more.get("bins", 1)
    other = [2, 0][:entries]
    half = 130 if entries == 1 else 110
    here, there = (
        released(
            kind, [[*clients[0], one], *clients[1:]], rate=1.0, local_sigma=SIGMA, noisy=4, entries=entries, half=half
        )
        for one in (record, other)
    )
    for epsilon in EPSILONS:
        assert (
            delta_between(here, there, epsilon)
            <= delta_of(of(SIGMA, **more).event(5, Adjacency.REPLACE_ONE), epsilon) + ROUNDING
        )


def test_the_second_implementation_prepares_as_the_library_does() -> None:
    for of, kind, rows in (
        (floats(), FLOATS, np.array([[0.25], [-3.0], [0.5]])),
        (counts(bins=2), COUNTS, np.array([[2, 1], [-1, 2], [1, 0]])),
    ):
        codec = of.codecs[0]
        for row in rows:
            levels, _ = codec.levels(row[None], bytes(32), random=bytes)  # type: ignore[attr-defined]
            possible = kind.of_record(row[0] if isinstance(kind, Floats) else row.tolist())
            mirrored = {tuple(-entry for entry in level) for level in possible}
            assert tuple(levels.tolist()) in possible.keys() | mirrored
        assert codec.max_level == kind.cut  # type: ignore[attr-defined]
