"""Replays what only private sessions record: clients of other policies, inputs that cannot be encoded, and costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import msgspec

from dp.accounting import epsilon_of
from dp.events import Repeated
from dp.sensitivity import Adjacency, Unit

from ...core.machine import Inputs
from ...inputs.vectors import PrivateVector
from ...masking.config import RoundConfig
from ...privacy.plans import PrivatePlan
from ..outcome import Refuted, demand
from .configurations import read_configuration
from .recorded_sessions import Run, Vector, array

INPUTS = "masked-input"
_ROUNDED_UP = 1e-7
"""A recorded parameter is a multiple of 2**-20, which is the next above the plan's."""
_DIGITS = 1e-9
"""How far costs may be apart: the last digits are those of a machine's logarithms."""


def size(vector: Vector) -> int:
    """Return how many proposals, inputs, costs and goals are compared in `check`."""
    return sum(len(vector[name]) for name in ("proposals", "inputs", "costs")) + ("goal" in vector)


def check(vector: Vector, on_progress: Callable[[float], None]) -> int:
    """Replay what a private session's record has beyond the session; return how much was compared.

    Raises:
        Refuted: the library says or does something else than was recorded.
    """
    config = read_configuration(vector)
    compared, total = 0, size(vector)
    for step in (_proposals, _inputs, _costs, _goal):
        compared += step(vector, config)
        on_progress(compared / total)
    return compared


def epsilon(
    config: RoundConfig,
    survivors: int,
    delta: float,
    rounds: int,
    adjacency: str = Adjacency.ADD_REMOVE,
    unit: str | None = None,
) -> float:
    """Return what some rounds of so many survivors cost, to twelve digits; at the round's own unit, or another."""
    event = config.event(survivors, Adjacency(adjacency), Unit(unit) if unit else None)
    return float(f"{epsilon_of(Repeated(event, rounds), delta):.12g}")


def _proposals(vector: Vector, config: RoundConfig) -> int:
    client = min(map(int, vector["clients"]))
    for case in vector["proposals"]:
        run = Run(vector | {"policy": case["policy"]}, config)
        said = run.outcome_of(partial(run.answer, client, run.outgoing[client])).get("error")
        demand(said == case["error"], f"a client's policy: {case['name']}: {said}, where {case['error']} was recorded")
    return len(vector["proposals"])


def _inputs(vector: Vector, config: RoundConfig) -> int:
    """Inputs of one client that cannot be encoded: nothing is said, and nothing changes by it."""
    silent = {each["phase"]: each["silent"] for each in vector["rounds"]}
    run = Run(vector, config)
    while (phase := str(run.server.phase)) != INPUTS:
        run.collect(silent[phase], {})
        run.server.close_phase()
    for case in vector["inputs"]:
        i = case["client"]
        given = vector["clients"][str(i)]["values"] | {case["vector"]: case["values"]}
        inputs = Inputs({name: array(numbers) for name, numbers in given.items()})
        said = run.outcome_of(partial(run.answer, i, run.outgoing[i], inputs)).get("error")
        demand(said == case["error"], f"an input: {case['name']}: {said}, where {case['error']} was recorded")
    demand(run.finish(silent, {}) == vector["output"], "inputs that were refused have changed the session")
    return len(vector["inputs"])


def _costs(vector: Vector, config: RoundConfig) -> int:
    for case in vector["costs"]:
        terms = case["survivors"], float.fromhex(case["delta"]), case["rounds"], case["adjacency"], case.get("unit")
        ours, theirs = epsilon(config, *terms), float.fromhex(case["epsilon"])
        same = math.isclose(ours, theirs, rel_tol=_DIGITS)
        demand(same, f"{terms[2]} sums of {terms[0]} survivors cost {ours:.9g}, where {theirs:.9g} was recorded")
    return len(vector["costs"])


def _goal(vector: Vector, config: RoundConfig) -> int:
    """A plan for the goal asks for this noise, which serves it; noise that is a millionth less does not."""
    if "goal" not in vector:
        return 0
    goal = vector["goal"]
    (spec,) = config.vectors
    if not isinstance(spec, PrivateVector):
        raise Refuted("a goal was recorded for a vector that no plan makes")
    plan = PrivatePlan(
        threat_model=config.threat_model,
        length=spec.length,
        l2_clip=spec.l2_clip,
        epsilon=float.fromhex(goal["epsilon"]),
        delta=float.fromhex(goal["delta"]),
        rounds=goal["rounds"],
        adjacency=Adjacency(goal["adjacency"]),
        min_participants=config.min_survivors,
    )
    (planned,) = plan.config.vectors
    asked = planned.local_sigma if isinstance(planned, PrivateVector) else 0.0
    same = math.isclose(asked, spec.local_sigma, rel_tol=_ROUNDED_UP)
    demand(same, f"a plan asks for noise of {asked:.9g}, where {spec.local_sigma:.9g} was recorded")
    terms = config.min_survivors, float.fromhex(goal["delta"]), goal["rounds"], goal["adjacency"]
    weaker = msgspec.structs.replace(spec, local_sigma=spec.local_sigma * (1 - 1e-6))
    wanted = float.fromhex(goal["epsilon"])
    demand(epsilon(config, *terms) <= wanted, "noise that was planned for a goal does not serve it")
    less = msgspec.structs.replace(config, vectors=(weaker,))
    demand(epsilon(less, *terms) > wanted, "noise that is a millionth less than was planned serves the goal, too")
    return 1
