"""Differential privacy beside its peers, in one run: exact noise, calibration, import.

    python -m pytest bench/bench_dp.py -p no:cacheprovider --override-ini=filterwarnings= -s

Peers: OpenDP (exact, Rust) in a virtual environment of its own under bench/peers/, built on demand; a discrete
Gaussian made of numpy floats in the style of jax_privacy (not exact: Laplace proposals and float acceptance); the
search of dp_accounting. Figures are the best of several runs on one core; take ratios, not seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dp import samplers
from dp.analytic import gaussian_noise_multiplier
from dp.calibration import noise_multiplier
from dp.laws import gaussian_law
from dp.reference import reference_sample

PEER = Path(__file__).parent / "peers" / "opendp"
SCALES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6)
COUNT = 1_000_000

OPENDP = """
import json, sys, time
import opendp.prelude as dp
dp.enable_features("contrib")
def rate(make, scale, count):
    space = dp.vector_domain(dp.atom_domain(T=int)), (dp.l2_distance(T=float) if make is dp.m.make_gaussian else dp.l1_distance(T=int))
    mechanism = make(*space, scale)
    best = 0.0
    for _ in range(3):
        start = time.perf_counter(); mechanism([0] * count); best = max(best, count / (time.perf_counter() - start))
    return best
scales = json.loads(sys.argv[1])
print(json.dumps({name: [rate(make, s, 20_000) for s in scales] for name, make in (("gaussian", dp.m.make_gaussian), ("laplace", dp.m.make_laplace))}))
"""


def best(call: Callable[[], object], runs: int = 5) -> float:
    """Return the least seconds of several runs, after one that is not counted."""
    call()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def inexact_gaussian(sigma: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a discrete Gaussian with floats: rejection from a discrete Laplace, as float libraries do."""
    scale = np.floor(sigma) + 1
    out = np.empty(count, dtype=np.int64)
    done = 0
    while done < count:
        n = int((count - done) * 1.5) + 64
        log_ratio = -1 / scale
        p = -np.expm1(log_ratio)
        proposal = rng.geometric(p, n) - rng.geometric(p, n)
        distance = np.abs(proposal) - sigma**2 / scale
        kept = proposal[rng.random(n) < np.exp(-(distance**2) / (2 * sigma**2))][: count - done]
        out[done : done + kept.size] = kept
        done += kept.size
    return out


def inexact_laplace(scale: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a discrete Laplace with floats, as the difference of two geometric variables."""
    p = -np.expm1(-1 / scale)
    return rng.geometric(p, count) - rng.geometric(p, count)


def opendp_rates() -> dict[str, list[float]] | None:
    """Build OpenDP's environment if need be and return its samples a second over SCALES."""
    python = PEER / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(PEER)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", "opendp"], check=True)
        out = subprocess.run(
            [str(python), "-c", OPENDP, json.dumps(SCALES)], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"OpenDP is left out: {error} {getattr(error, 'stderr', '')}")
        return None
    rates: dict[str, list[float]] = json.loads(out.stdout)
    return rates


def test_samplers_over_sigma() -> None:
    peer = opendp_rates()
    rng = np.random.default_rng()
    print("\nmillion samples a second on one core (a million at a time; tables warm)")
    print(f"{'law':10}{'scale':>10}{'ours':>9}{'float':>9}{'ratio':>8}{'OpenDP':>9}{'ratio':>8}{'cold table':>12}")
    for name, draw, inexact in (
        ("gaussian", samplers.discrete_gaussian, inexact_gaussian),
        ("laplace", samplers.discrete_laplace, inexact_laplace),
    ):
        for i, scale in enumerate(SCALES):
            fresh = scale * (1 + 2.0**-40)
            start = time.perf_counter()
            draw(fresh, 64)
            cold = time.perf_counter() - start
            ours = COUNT / best(lambda draw=draw, scale=scale: draw(scale, COUNT)) / 1e6
            float_rate = COUNT / best(lambda f=inexact, scale=scale: f(scale, COUNT, rng), 3) / 1e6
            other = peer[name][i] / 1e6 if peer else float("nan")
            print(
                f"{name:10}{scale:10.0f}{ours:9.1f}{float_rate:9.1f}{ours / float_rate:8.1f}"
                f"{other:9.3f}{ours / other:8.0f}{cold * 1e3:9.1f} ms"
            )
            assert ours > 1


def test_the_slow_reference() -> None:
    law = gaussian_law(Fraction(100))
    seconds = best(lambda: [reference_sample(law) for _ in range(500)], 3)
    print(f"\nreference on Fractions, sigma 10: {500 / seconds:,.0f} samples a second")


@pytest.mark.parametrize("sigma", [1.0, 1e6])
def test_noise_for_an_update(benchmark: Callable[..., object], sigma: float) -> None:
    noise = benchmark(samplers.discrete_gaussian, sigma, 1_000_000)
    assert noise.size == 1_000_000  # type: ignore[attr-defined]


def test_release_of_an_update(benchmark: Callable[..., object]) -> None:
    from dp.mechanisms import gaussian
    from dp.sensitivity import Neighbours, Norm, Sensitivity

    update = np.random.default_rng(0).normal(size=1_000_000)
    benchmark(gaussian, update, Sensitivity(1.0, Norm.L2, Neighbours.ADD_REMOVE), epsilon=1.0, delta=1e-5)


def test_analytic_sigma(benchmark: Callable[..., object]) -> None:
    benchmark(gaussian_noise_multiplier, 1.0, 1e-5)


def test_calibration_of_a_training_run() -> None:
    """T = 1000 rounds at q = .01 for (2, 1e-5): ours, and dp_accounting's own search to 1e-5."""
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    from dp import pld

    def ours() -> float:
        pld._gaussian.cache_clear()
        return noise_multiplier(2.0, 1e-5, rounds=1000, sampling_rate=0.01)

    def theirs() -> float:
        return dp_accounting.calibrate_dp_mechanism(
            PLDAccountant,
            lambda s: dp_accounting.SelfComposedDpEvent(
                dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(s)), 1000
            ),
            2.0,
            1e-5,
            dp_accounting.LowerEndpointAndGuess(0.4, 1.0),
            tol=1e-5,
        )

    mine, other = best(ours, 2), best(theirs, 1)
    print(
        f"\nPLD calibration, T=1000, q=.01, (2, 1e-5): ours {mine:.2f} s, dp_accounting {other:.2f} s, {other / mine:.1f}x"
    )
    print(f"noise multipliers: {ours():.6f} and {theirs():.6f}")


def test_import() -> None:
    code = "import time; t = time.perf_counter(); import dp; dp.discrete_gaussian; print(time.perf_counter() - t)"
    bare = best(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), 3)
    whole = best(lambda: subprocess.run([sys.executable, "-c", "import dp"], check=True), 3)
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    print(f"\nimport dp: {whole - bare:.3f} s beside a bare interpreter; with its samplers: {float(out.stdout):.3f} s")
