"""The vectors of dp: what is deterministic in it, and samples from given words. Numbers that no formula rounds alike
are meant to nine digits."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from protocols.audit.replay.private_operations import OPERATIONS
from secagg.errors import SecAggError

from . import policies, private_costs, private_encodings, records

Case = dict[str, Any]
SEED = bytes(range(32)).hex()


def _cases() -> Iterator[tuple[str, str, Case]]:
    for length in (1, 3, 8, 200):
        values = [((17 * i) % 64 - 32) / 8 for i in range(length)]
        yield f"{length} values", "rotate", {"seed": SEED, "values": [value.hex() for value in values]}
    for law, parameters in (
        ("discrete-gaussian", ([1, 4], [1, 1], [2500, 1], [10**9 + 7, 10], [2**60, 3])),
        ("discrete-laplace", ([1, 2], [3, 1], [1000, 7], [2**40, 1])),
    ):
        for parameter in parameters:
            name = f"{law} of parameter {parameter[0]}/{parameter[1]}"
            given = {"law": law, "parameter": parameter, "seed": SEED, "words": 600, "count": 60}
            yield name, "samples", given
    for norm, dimension, beta in ((64.0, 1000, 0.6065306597126334), (1.0, 4, 0.6065306597126334), (10.0, 100, 0.0)):
        given = {"l2_norm": norm.hex(), "dimension": dimension, "beta": beta.hex()}
        yield f"norm {norm}, {dimension} entries, beta {beta:.2g}", "rounded_l2_bound", given
    values = [((29 * i) % 64 - 31.5) * 0.71875 for i in range(64)]
    norm = math.sqrt(math.fsum(value * value for value in values))
    for tries in (1, 2, 3):
        given = {"values": [value.hex() for value in values], "l2_norm": norm.hex()}
        seeds = (hashlib.sha256(f"secagg vectors/rounding {number}".encode()).hexdigest() for number in count())
        seed = next(
            seed for seed in seeds if OPERATIONS["conditionally_round"](given | {"seed": seed})["tries"] == tries
        )
        yield f"as many tries as {tries}", "conditionally_round", given | {"seed": seed}
    for multiplier, epsilon in ((1.0, 1.0), (1 / 3, 1.0), (1.0, 2.0), (4.0, 0.5)):
        given = {"noise_multiplier": multiplier.hex(), "epsilon": epsilon.hex()}
        yield f"noise {multiplier:.3g}, epsilon {epsilon}", "gaussian_delta", given
    for epsilon, delta in ((1.0, 1e-5), (0.1, 1e-6), (10.0, 1e-5)):
        given = {"epsilon": epsilon.hex(), "delta": delta.hex()}
        yield f"epsilon {epsilon}, delta {delta}", "gaussian_noise_multiplier", given
    for square, sensitivity, epsilon in (([1, 1], 1, 1.0), ([9, 4], 2, 0.5), ([400, 1], 3, 1.0)):
        given = {"sigma_squared": square, "sensitivity": sensitivity, "epsilon": epsilon.hex()}
        name = f"sigma^2 {square[0]}/{square[1]}, sensitivity {sensitivity}, epsilon {epsilon}"
        yield name, "discrete_gaussian_delta", given
    for sigma in (0.5, 1.0, 2.0):
        given = {"local_sigma": sigma.hex(), "clients": 100}
        yield f"100 clients, local sigma {sigma}", "summed_gaussians_ratio", given
    yield from private_encodings.cases()
    yield from private_costs.cases()
    yield from policies.cases()
    yield from records.cases()


def _outcome(operation: str, given: Case) -> Case:
    try:
        return {"output": OPERATIONS[operation](given)}
    except SecAggError as error:
        return {"error": type(error).__name__}


def render() -> str:
    """Return the contents of privacy.json: one case a line."""
    cases = [
        {"name": name, "operation": operation, "input": given} | _outcome(operation, given)
        for name, operation, given in _cases()
    ]
    lines = ",\n".join("    " + json.dumps(case) for case in cases)
    return f'{{\n  "primitive": "privacy",\n  "cases": [\n{lines}\n  ]\n}}\n'


FILES: dict[str, Callable[[], str]] = {"privacy": render}
