"""What a private plan means, for people and as JSON: the derivation in sentences, and its figures."""

from __future__ import annotations

import math
from typing import Any

from dp.sensitivity import Unit

from ..core.numbers import spelled_up
from .plans import HistogramPlan, PrivatePlan

Plan = PrivatePlan | HistogramPlan


def explain(plan: Plan) -> tuple[str, ...]:
    """Return the derivation, a sentence for each step."""
    model, codec = plan.threat_model, plan.codec
    everyone = model.num_clients
    share = codec.share
    noise = share.local_sigma * math.sqrt(plan.honest)
    change = share.sensitivities(plan.adjacency)[0]
    lines = [
        f"a sum has at least {plan.min_survivors} inputs of {everyone}, or it fails; {model.max_corrupt} of "
        f"them may be corrupt and know their own noise, so that of {plan.honest} honest clients counts",
        *_encoding(plan),
        *_sampling(plan),
        f"each client adds discrete Gaussian noise of {spelled_up(share.local_sigma, 4)} steps; that of {plan.honest} "
        f"makes {noise:.4g} steps, {noise / change:.4g} times what one {plan.unit} can change ({plan.adjacency} "
        "adjacency)",
        f"{codec.modulus_bits} bits hold every sum of {everyone} inputs, and the noise but with a probability "
        "below 2^-40",
        f"{plan.rounds} such round{'s' if plan.rounds > 1 else ''} cost each {plan.unit} epsilon "
        f"{spelled_up(plan.epsilon_total, 4)} at delta {plan.delta:g}, whoever sees the sums",
        f"with everyone present each number of the sum is off by {plan.sum_deviation(everyone):.4g} (standard "
        f"deviation), of the mean by {plan.sum_deviation(everyone) / everyone:.4g}",
    ]
    return tuple(lines)


def facts(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON holds it, the derivation included; `secagg budget create --for-plan` reads it."""
    from dp.ledger.costs import to_plain

    return {
        "epsilon": plan.epsilon_total,
        "epsilon_goal": plan.epsilon,
        "delta": plan.delta,
        "rounds": plan.rounds,
        "adjacency": str(plan.adjacency),
        "unit": str(plan.unit),
        "sampling_rate": plan.sampling_rate,
        "event": to_plain(plan.event()),
        "scale": plan.codec.spec.scale,
        "local_sigma": plan.codec.share.local_sigma,
        "min_survivors": plan.min_survivors,
        "honest": plan.honest,
        "sum_deviation": plan.sum_deviation(plan.threat_model.num_clients),
        "why": list(explain(plan)),
    }


def _sampling(plan: Plan) -> tuple[str, ...]:
    if plan.sampling_rate == 1:
        return ()
    return (
        f"each record is in a round with probability {plan.sampling_rate:g}, by a coin that its client draws and tells "
        "nobody",
    )


def _encoding(plan: Plan) -> tuple[str, ...]:
    if isinstance(plan, HistogramPlan):
        if plan.unit is Unit.RECORD:
            return (
                f"each record's counts over {plan.bins:,} bins sum to at most {plan.max_per_record}, those of all of a "
                f"client's are each at most {plan.max_total:,}, in steps of {1 / plan.codec.spec.scale:.4g}; released "
                f"counts below {plan.least_count} are 0",
            )
        return (
            f"each client's counts over {plan.bins:,} bins sum to at most {plan.max_total}, in steps of "
            f"{1 / plan.codec.spec.scale:.4g}; released counts below {plan.least_count} are 0",
        )
    made = plan.codec.preparation
    whose = "" if plan.unit is Unit.CLIENT else f" of records, with room for {plan.max_records:,} of each client,"
    return (
        f"vectors{whose} of {plan.length:,} numbers are clipped to an L2 norm of {plan.l2_clip:g}, rotated ("
        f"{made.dimension:,} entries) and rounded to steps of {1 / made.scale:.4g}",
        f"the clip is {made.norm:.4g} steps; rounded vectors stay within {made.l2_bound:.4g}, "
        f"{made.l2_bound / made.norm - 1:.2%} more, which the noise allows for",
    )
