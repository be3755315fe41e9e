"""Private rounds: the noise of the sum is what was promised, too few clients give none, too little noise is refused."""

from __future__ import annotations

import math
from functools import partial

import msgspec

from dp.sensitivity import Adjacency
from secagg.errors import ParameterError, ThresholdError

from ...core.threat_model import Adversary, ThreatModel
from ...masking.policy import ClientPolicy, PrivacyDemand
from ...masking.topology import GraphKind
from ...masking.transitions import ServerPhase
from ...privacy.plans import PrivatePlan
from ...simulation.checked_private import run_checked_private_round
from ..outcome import Check, Found, Trials, demand, demand_refusal

_DELTA = 1e-5
_FALSE_ALARM = 1e-9
_REPLACE = Adjacency.REPLACE_ONE


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
        graph=GraphKind.RING_FOR_RANDOM_DROPOUTS,
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


CHECKS = (
    Check(
        "private",
        "rounds",
        "the noise of a private sum is what was promised, with dropouts in three rounds",
        _rounds,
        2 * _FALSE_ALARM,
    ),
    Check("private", "too-few", "with fewer survivors than the noise was calibrated to there is no sum", _too_few),
    Check("private", "demands", "a client refuses a round with a little less noise than it demands", _demanded),
)
