"""A simulated round whose sum is held against the plain one: the main job of the `secagg` command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.machine import Inputs
from ..inputs.plain_codecs import FloatCodec
from ..masking.config import RoundConfig
from ..masking.transitions import ServerPhase
from ..masking.warming import warm_up
from .drawn import SimulatedInputs, plain_sum
from .masked import Simulation, SimulationReport, choose_drops


class Updates(SimulatedInputs):
    """Float vectors, and the sum of their levels by other code than the encoding's: scaled, clipped and rounded."""

    def __init__(self, config: RoundConfig, num_clients: int, seed: int) -> None:
        (self._spec,) = config.vectors
        codec = config.codecs[0]
        if not isinstance(codec, FloatCodec):  # pragma: no cover - callers' configurations have one float vector
            raise TypeError("run_checked_round sums one vector of floats")
        self._encoding, self._clip = codec.fixed_point, codec.spec.clip
        super().__init__(num_clients, seed, np.zeros(self._spec.length, dtype=np.int64))

    def draw(self, rng: np.random.Generator) -> tuple[Inputs, npt.NDArray[np.float64]]:
        """Draw a client's vector, and its levels."""
        # A little beyond the clip, so that clipping is part of what is compared.
        values = rng.random(self._spec.length, dtype=np.float32)
        values *= np.float32(2.2 * self._clip)
        values -= np.float32(1.1 * self._clip)
        top = self._encoding.max_level
        levels = values.astype(np.float64)
        levels *= self._encoding.scale
        np.clip(levels, -top, top, out=levels)
        np.rint(levels, out=levels)
        return Inputs({self._spec.name: values}), levels


@dataclass(frozen=True)
class CheckedRound:
    """A round's outcome, and whether its sum is exactly the sum of the survivors' fixed-point encodings."""

    config: RoundConfig
    exact: bool
    report: SimulationReport
    drops: Mapping[ServerPhase, frozenset[str]]

    def facts(self) -> dict[str, Any]:
        """Return what the command prints as JSON: counts, seconds, bytes."""
        return {"exact": self.exact, **round_facts(self.config, self.report, self.drops)}


def orphaned_pairs(report: SimulationReport, drops: Mapping[ServerPhase, frozenset[str]]) -> int:
    """Return how many pairwise masks the server had to undo: survivors' with who shared keys and vanished."""
    graph, number = report.graph, report.participants.number
    survivors = set(map(number, report.result.survivors))
    return sum(len(graph.neighbours(number(name)) & survivors) for name in drops[ServerPhase.MASKED_INPUT])


def round_facts(
    config: RoundConfig, report: SimulationReport, drops: Mapping[ServerPhase, frozenset[str]]
) -> dict[str, Any]:
    """Return a simulated round's counts, seconds and bytes, as JSON holds them."""
    costs = list(report.clients.values())
    survivors = report.result.survivors
    seconds = [report.clients[name].seconds for name in survivors]
    sent = [report.clients[name].sent_bytes for name in survivors]
    received = [report.clients[name].received_bytes for name in survivors]
    return {
        "clients": config.num_clients,
        "survivors": len(survivors),
        "orphaned_pairs": orphaned_pairs(report, drops),
        "degree": config.topology.degree,
        "threshold": config.topology.threshold,
        "adversary": str(config.threat_model.adversary),
        "workers": report.workers,
        "modulus_bits": config.modulus_bits,
        "seconds": {
            "client_mean": float(np.mean(seconds)),
            "client_max": float(np.max(seconds)),
            "server": report.server_seconds,
            "server_processor": report.server_processor_seconds,
            "wall": report.wall_seconds,
            "phases": {str(phase): value for phase, value in report.phase_seconds.items()},
        },
        "bytes": {
            "client_sent_mean": float(np.mean(sent)),
            "client_received_mean": float(np.mean(received)),
            "server_received": sum(cost.sent_bytes for cost in costs),
        },
        "peak_memory_bytes": report.peak_memory_bytes,
    }


def run_checked_round(
    config: RoundConfig,
    drop_fractions: Mapping[ServerPhase, float],
    *,
    seed: int,
    workers: int = 1,
    on_progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> CheckedRound:
    """Run a round of one float vector, rounded to nearest, on simulated data, and compare.

    The plain sum is made of the same data by other code than the encoding's: scaled, clipped and rounded.
    `workers` is how many processes the clients live in (`Simulation`).

    Raises:
        SecAggError: the round ended without a sum.
    """
    (spec,) = config.vectors
    drops = choose_drops(config.num_clients, drop_fractions, np.random.default_rng(seed))
    inputs = Updates(config, config.num_clients, seed)
    if workers == 1:  # else all processes do, at the same time
        warm_up(config)
    report = Simulation(config, inputs, drops, workers=workers, on_progress=on_progress).run()
    expected, given_to = plain_sum(report.sources)
    exact = given_to == report.result.survivors and np.array_equal(report.result.levels[spec.name], expected)
    return CheckedRound(config, exact, report, drops)
