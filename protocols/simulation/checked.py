"""A simulated round whose sum is held against the plain one: the main job of the `secagg` command."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg import shamir
from secagg.residues import pack, unpack

from ..core.machine import Inputs
from ..core.participants import Participants
from ..inputs.plain_codecs import FloatCodec
from ..masking.config import RoundConfig
from ..masking.transitions import ServerPhase
from .masked import Simulation, SimulationReport, choose_drops, peak_memory_bytes


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
        "modulus_bits": config.modulus_bits,
        "seconds": {
            "client_mean": float(np.mean(seconds)),
            "client_max": float(np.max(seconds)),
            "server": report.server_seconds,
            "wall": report.wall_seconds,
            "phases": {str(phase): value for phase, value in report.phase_seconds.items()},
        },
        "bytes": {
            "client_sent_mean": float(np.mean(sent)),
            "client_received_mean": float(np.mean(received)),
            "server_received": sum(cost.sent_bytes for cost in costs),
        },
        "peak_memory_bytes": peak_memory_bytes(),
    }


def run_checked_round(
    config: RoundConfig,
    drop_fractions: Mapping[ServerPhase, float],
    *,
    seed: int,
    on_progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> CheckedRound:
    """Run a round of one float vector, rounded to nearest, on simulated data, and compare.

    The plain sum is made of the same data by other code than the encoding's: scaled, clipped and rounded in one line.

    Raises:
        SecAggError: the round ended without a sum.
    """
    (spec,) = config.vectors
    codec = config.codecs[0]
    if not isinstance(codec, FloatCodec):  # pragma: no cover - callers' configurations have one float vector
        raise TypeError("run_checked_round sums one vector of floats")
    encoding = codec.fixed_point
    plain_sum = np.zeros(spec.length, dtype=np.int64)
    lock = threading.Lock()
    drops = choose_drops(config.num_clients, drop_fractions, np.random.default_rng(seed))
    participants = Participants.numbered(config.num_clients)
    summed: set[str] = set()

    def draw(name: str) -> npt.NDArray[np.float32]:
        # A little beyond the clip, so that clipping is part of what is compared.
        uniform = np.random.default_rng((seed, participants.number(name))).random(spec.length, dtype=np.float32)
        uniform *= np.float32(2.2 * codec.spec.clip)
        uniform -= np.float32(1.1 * codec.spec.clip)
        return uniform

    def inputs(name: str) -> Inputs:
        values = draw(name)
        levels = np.rint(np.clip(values.astype(np.float64) * encoding.scale, -encoding.max_level, encoding.max_level))
        with lock:  # everyone who is asked for an input gets it through: drops fall silent before
            np.add(plain_sum, levels, out=plain_sum, casting="unsafe")
            summed.add(name)
        return Inputs({spec.name: values})

    warm_up(config)
    report = Simulation(config, inputs, drops, on_progress=on_progress).run()
    exact = summed == report.result.survivors and np.array_equal(report.result.levels[spec.name], plain_sum)
    return CheckedRound(config, exact, report, drops)


def warm_up(config: RoundConfig) -> None:
    """Have the kernels compiled that a round uses, on a few numbers, so that no party's seconds are the compiler's."""
    for codec in config.codecs:
        codec.warm_up()
        few = np.zeros(2, dtype=codec.dtype)
        unpack(pack(few, codec.modulus_bits), codec.modulus_bits, few.size)
    shares = shamir.split(bytes(32), threshold=2, indices=(1, 2, 3))
    shamir.reconstruct_many((1, 2), [[shares[1]], [shares[2]]], num_bytes=32)
