"""Private rounds: the noise of the sum is what was promised, too few clients give none, too little noise is refused."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from functools import partial
from typing import Any

import msgspec
import numpy as np

from dp import clipping
from dp.errors import DpError
from dp.quantile import AdaptiveClip
from dp.sensitivity import Adjacency, Norm, Unit
from secagg.errors import ParameterError, ThresholdError

from ...core.threat_model import Adversary, ThreatModel
from ...inputs.noisy_counts import NoisyCounts
from ...inputs.noisy_floats import NoisyFloats
from ...inputs.vectors import PrivateCounts, PrivateVector
from ...masking.config import RoundConfig
from ...masking.policy import ClientPolicy, PrivacyDemand
from ...masking.topology import GraphKind
from ...masking.transitions import ServerPhase
from ...privacy.plans import PrivatePlan
from ...simulation.checked_private import run_checked_private_round
from ...simulation.masked import Simulation
from ..outcome import Check, Found, Trials, demand, demand_refusal

_DELTA = 1e-5
_FALSE_ALARM = 1e-9
_REPLACE = Adjacency.REPLACE_ONE
_HUGE = sys.float_info.max
_LENGTH, _MOST = 4, 5


def _plan(
    adversary: Adversary, epsilon: float, length: int, adjacency: Adjacency = Adjacency.ADD_REMOVE
) -> PrivatePlan:
    return PrivatePlan(
        threat_model=ThreatModel(24, 0.1, 0.2, adversary),
        length=length,
        l2_clip=1.0,
        epsilon=epsilon,
        delta=_DELTA,
        adjacency=adjacency,
        # The complete graph's own threshold would stop a sum of too few before its minimum does.
        graph=None if adversary.may_equivocate else GraphKind.RING_FOR_RANDOM_DROPOUTS,
    )


def _rounds(trials: Trials) -> Found:
    figures: dict[str, int | float | str] = {}
    goals = [(Adversary.CURIOUS_SERVER, 1.0, Adjacency.ADD_REMOVE), (Adversary.SEMI_MALICIOUS_SERVER, 4.0, _REPLACE)]
    fractions = {ServerPhase.SHARE_KEYS: 0.05, ServerPhase.MASKED_INPUT: 0.1, ServerPhase.UNMASKING: 0.05}
    for (adversary, epsilon, adjacency), rng in zip(goals, trials.each(len(goals)), strict=False):
        plan = _plan(adversary, epsilon, trials.samples // 40, adjacency)
        outcome = run_checked_private_round(plan, fractions, seed=int(rng.integers(1 << 32)))
        facts = outcome.facts()["privacy"]
        ratio = outcome.noise_measured / facts["noise_expected"]
        demand(outcome.as_promised, f"the sum has {ratio:.4g} times the noise that was promised", ratio=ratio)
        demand(
            facts["epsilon_achieved"] <= epsilon * (1 + 1e-9),
            f"a round planned for epsilon {epsilon} has cost {facts['epsilon_achieved']}",
        )
        figures[f"{adversary}: noise, of what was promised"] = round(ratio, 5)
        figures[f"{adversary}: epsilon, of at most {epsilon:g}"] = round(facts["epsilon_achieved"], 4)
    return Found(figures)


def _too_few(trials: Trials) -> Found:
    for rng in trials.each(2):
        run = partial(
            run_checked_private_round,
            _plan(Adversary.CURIOUS_SERVER, 1.0, 50),
            {ServerPhase.MASKED_INPUT: 0.25},
            seed=int(rng.integers(1 << 32)),
        )
        demand_refusal(run, ThresholdError, "a sum whose noise is below the promise")
    return Found({"rounds": 2})


def _demanded(trials: Trials) -> Found:
    refused = 0
    for rng in trials.each(trials.share(10)):
        epsilon = float(math.exp(rng.uniform(-1, 2)))
        config = _plan(Adversary.CURIOUS_SERVER, epsilon, 100).config
        demanding = ClientPolicy.permissive(PrivacyDemand(epsilon * (1 + 1e-6), _DELTA, trusts_server=True))
        demanding.check(config)
        (vector,) = config.vectors
        less = msgspec.structs.replace(vector, local_sigma=vector.local_sigma * 0.98)  # type: ignore[union-attr]
        weakened = msgspec.structs.replace(config, vectors=(less,))
        demand_refusal(partial(demanding.check, weakened), ParameterError, "a round with a fiftieth less noise")
        refused += 1
    return Found({"rounds refused": refused})


def _clipping(trials: Trials) -> Found:
    """Clip vectors of all magnitudes that floats have; norms are computed once more, in exact numbers."""
    cases = 0
    for rng in trials.each():
        size, magnitude = int(rng.integers(1, 40)), float(10 ** min(308.25, rng.uniform(-300, 600)))
        bound = float(10 ** rng.uniform(-3, 3))
        vector = rng.choice([-1.0, 1.0], size) * rng.uniform(0.3, 1.0, size) * magnitude
        for norm in Norm:
            clipped = clipping.clip(vector, bound, norm)
            before, after = (_norm(values.tolist(), norm) for values in (vector, clipped))
            text = f"{size} numbers of about {magnitude:.3g}, clipped to {bound:.3g} in {norm}"
            demand(after <= bound, f"{text}, are beyond it")
            demand(
                after >= min(before, Fraction(bound)) * Fraction(999_999, 1_000_000),
                f"{text}, have a norm of {float(after):.3g}",
            )
            cases += 1
    state = AdaptiveClip(1.0, 0.5, 3.0)
    for count in (math.nan, math.inf, -math.inf):
        demand_refusal(partial(state.update_from_noisy, count, 10), DpError, f"a count of {count}")
    return Found({"vectors clipped": cases})


def _norm(values: list[float], norm: Norm) -> Fraction:
    """Return a norm: exactly, but for the square root, which is rounded down by less than one part in 2**60."""
    exact = [abs(Fraction(value)) for value in values]
    if norm is Norm.L1:
        return sum(exact, Fraction(0))
    if norm is Norm.LINF:
        return max(exact)
    squares = sum((value * value for value in exact), Fraction(0))
    scale = 1 << 2 * (64 + max(0, squares.denominator.bit_length() - squares.numerator.bit_length()))
    return Fraction(math.isqrt(int(squares * scale)), math.isqrt(scale))


_BAD_DATA: dict[str, tuple[str, Any]] = {
    "NaN": ("update", np.full(_LENGTH, np.nan)),
    "an infinity": ("update", np.array([np.inf, *[0.0] * (_LENGTH - 1)])),
    "the largest floats": ("update", np.full(_LENGTH, _HUGE)),
    "counts beyond max_total": ("counts", np.full(_LENGTH, _MOST, dtype=np.int64)),
    "a count beyond max_total": ("counts", np.array([_MOST + 1, *[0] * (_LENGTH - 1)])),
    "a negative count": ("counts", np.array([-1, *[0] * (_LENGTH - 1)])),
}


def _silence(trials: Trials) -> Found:
    """Let one client have data that cannot be summed: it must answer all the same, as silence would tell."""
    model = ThreatModel(12, 0.0, 0.2, Adversary.CURIOUS_SERVER)
    vectors = (PrivateVector("update", _LENGTH, 1.0, 100.0, 2.0), PrivateCounts("counts", _LENGTH, _MOST, 4, 2.0, 0))
    config = RoundConfig(model, vectors, min_survivors=10)
    fine = {"update": np.zeros(_LENGTH), "counts": np.zeros(_LENGTH, dtype=np.int64)}
    silent = []
    for _, (what, (name, values)) in zip(trials.each(len(_BAD_DATA)), _BAD_DATA.items(), strict=True):
        given = {"client-01": fine | {name: values}}
        result = Simulation(config, lambda client: given.get(client, fine), threads=1).run().result  # noqa: B023
        if len(result.survivors) < model.num_clients:
            silent.append(what)
    demand(not silent, f"a client that has {', or '.join(silent)}, does not answer, and so tells the server")
    return Found({"kinds of data that cannot be summed": len(_BAD_DATA)})


def _records(trials: Trials) -> Found:
    """Take a record away, or put another in its place: a client's sum may move by what the noise is made for alone."""
    cases, cut = 0, 0
    for rng in trials.each():
        length, most = int(rng.integers(1, 9)), int(rng.integers(1, 5))
        count = int(rng.integers(0, 20))
        room = int(rng.integers(1, 4))
        unit = Unit.RECORD
        floats = NoisyFloats(PrivateVector("v", length, 1.0, float(rng.uniform(1, 50)), 1.0, unit, room), 10)
        counts = NoisyCounts(PrivateCounts("c", length, most * room, 3, 1.0, 0, unit, most), 10)
        long, many = rng.normal(size=(count + 2, length)) * 1.5, rng.integers(-1, most + 2, (count + 2, length))
        drawn, seed = rng.bytes(32), rng.bytes(32)
        for codec, rows in ((floats, long), (counts, many)):
            others, one, other = rows[:count], rows[: count + 1], np.vstack((rows[:count], rows[-1:]))

            def levels(given: Any, codec: Any = codec) -> Any:
                # All other records take the same words of the rounding, since the one that changes is last.
                return codec.levels(given, seed, random=lambda _: drawn)[0]  # noqa: B023

            for pair, adjacency in (((others, one), Adjacency.ADD_REMOVE), ((one, other), _REPLACE)):
                moved = levels(pair[0]) - levels(pair[1])
                l2, l1 = codec.share.sensitivities(adjacency)
                size = math.isqrt(int(moved @ moved)), int(np.abs(moved).sum())
                text = f"a record of {count + 1} moves a sum of {codec.name} by {size}, where noise is for {l2}, {l1}"
                demand(int(moved @ moved) <= Fraction(l2) ** 2 and size[1] <= l1, text)
                cases += 1
            cut += int(np.abs(levels(one)).max() == codec.max_level)
    return Found({"pairs of data sets": cases, "sums that were cut": cut})


CHECKS = (
    Check(
        "private",
        "rounds",
        "the noise of a private sum is what was promised, with dropouts in three rounds",
        _rounds,
        2 * _FALSE_ALARM,
        repeatable=False,
    ),
    Check(
        "private",
        "too-few",
        "with fewer survivors than the noise was calibrated to there is no sum",
        _too_few,
        repeatable=False,
    ),
    Check("private", "clipping", "clipped vectors are within their bound and as near to it as they were", _clipping),
    Check("private", "records", "a record moves a sum by no more than what the noise is made for", _records),
    Check("private", "silence", "no data makes a client of a private round fall silent", _silence, repeatable=False),
    Check("private", "demands", "a client refuses a round with a little less noise than it demands", _demanded),
)
