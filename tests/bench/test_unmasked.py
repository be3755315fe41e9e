"""The sum that benchmarks take without masks is the round's, bit by bit."""

from __future__ import annotations

import hashlib
from itertools import count
from typing import Any

import numpy as np
import pytest

from bench.unmasked import unmasked_sum
from protocols.core.threat_model import ThreatModel
from protocols.masking.config import RoundConfig
from protocols.masking.transitions import ServerPhase
from protocols.privacy.plans import PrivatePlan
from protocols.simulation.masked import Simulation
from secagg.randomness import RandomBytes


def replayed(rows: np.ndarray) -> RandomBytes:
    """Return bytes that depend on a client's input alone, so that both ways draw the same for it."""
    key, calls = rows.tobytes(), count()
    return lambda size: hashlib.shake_256(next(calls).to_bytes(8, "big") + key).digest(size)


@pytest.mark.parametrize("unit", ["client", "record"])
def test_unmasked_sums_are_those_of_a_round(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    plan = PrivatePlan(
        threat_model=ThreatModel(12, 0.1, 0.1),
        length=40,
        l2_clip=1.0,
        epsilon=3.0,
        delta=1e-5,
        unit=unit,
        max_records=1 if unit == "client" else 9,
    )
    shapes = [40 if unit == "client" else (number, 40) for number in range(12)]
    given = {f"client-{number + 1:02}": rng.normal(size=shape) for number, shape in enumerate(shapes)}
    encode = RoundConfig.encode

    def replaying(self: RoundConfig, values: Any, weight: int = 1, *, session_id: bytes, **_: Any) -> Any:
        return encode(self, values, weight, session_id=session_id, random=replayed(values["update"]))

    with monkeypatch.context() as patch:
        patch.setattr(RoundConfig, "encode", replaying)
        drops = {ServerPhase.MASKED_INPUT: ["client-07"]}
        report = Simulation(plan.config, lambda name: {"update": given[name]}, drops).run()
    survivors = report.result.survivors
    assert survivors == given.keys() - {"client-07"}
    result = unmasked_sum(
        plan.config,
        survivors,
        lambda name: {"update": given[name]},
        session_id=report.session_id,
        random=lambda name: replayed(given[name]),
    )
    assert np.array_equal(result.levels["update"], report.result.levels["update"])
    assert np.array_equal(result.sum("update"), report.result.sum("update"))
    other = unmasked_sum(plan.config, survivors, lambda name: {"update": given[name]}, session_id=report.session_id)
    assert not np.array_equal(other.levels["update"], report.result.levels["update"])  # fresh noise is another
