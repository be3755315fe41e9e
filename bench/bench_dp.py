"""dp: exact noise over sigma, an update's noise, calibration and import, beside their peers in one run.

Peers: OpenDP (exact, compiled) in a virtual environment of its own, built on demand; discrete noise made of numpy's
floats in the style of jax_privacy (fast and not exact); dp_accounting's own search.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant

from bench.peers import environments
from bench.side_by_side import QUICK, clocked, measured_once, peer, size, take_turns
from bench.suite.findings import Finding, Ratio, Rival, Row
from dp import pld, samplers
from dp.analytic import gaussian_noise_multiplier
from dp.calibration import noise_multiplier
from dp.events import GaussianEvent, PoissonSampled
from dp.laws import gaussian_law
from dp.ledger import Budget, Composition
from dp.ledger.compositions import limit_of
from dp.mechanisms import gaussian
from dp.reference import reference_sample
from dp.sensitivity import Adjacency, Norm, Sensitivity

Report = Callable[[Finding], None]
HERE = Path(__file__).parent
SCALES = (1, 1_000, 1_000_000) if QUICK else (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
SHOWN = SCALES.index(1_000)
COUNT = size(1_000_000, 20_000)
TURNS = size(7, 2, quick=3)


def cpu_seconds(function: Callable[[], object]) -> float:
    """Return the seconds that this thread's core worked: what others do on the machine does not count."""
    start = time.thread_time()
    function()
    return time.thread_time() - start


def float_gaussian(sigma: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """A discrete Gaussian in floats: proposals from a discrete Laplace, accepted by a float comparison."""
    scale = math.floor(sigma) + 1
    out = np.empty(count, dtype=np.int64)
    done = 0
    while done < count:
        n = int((count - done) * 1.5) + 64
        proposal = float_laplace(scale, n, rng)
        distance = np.abs(proposal) - sigma**2 / scale
        kept = proposal[rng.random(n) < np.exp(-(distance**2) / (2 * sigma**2))][: count - done]
        out[done : done + kept.size] = kept
        done += kept.size
    return out


def float_laplace(scale: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """A discrete Laplace in floats: the difference of two geometric variables."""
    p = -math.expm1(-1 / scale)
    return rng.geometric(p, count) - rng.geometric(p, count)


def opendp_rates(law: str) -> list[float] | str:
    """Samples a second of OpenDP over SCALES; its environment is built if need be. Why not, if it cannot be had."""
    script = str(HERE / "peers" / "opendp_noise.py")
    try:
        python = environments.python(*environments.OPENDP)
        command = [str(python), script, law, str(size(20_000, 500, quick=5_000)), *map(str, SCALES)]
        out = subprocess.run(command, check=True, capture_output=True, text=True)
    except environments.PeerMissingError as error:
        return str(error)
    except subprocess.CalledProcessError as error:
        return f"OpenDP is installed, but does not work here: {error.stderr.strip().rpartition(chr(10))[2][:200]}"
    rates: list[float] = json.loads(out.stdout)
    return rates


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
def test_samplers_over_sigma(benchmark: Any, report: Report, law: str) -> None:
    finding = Finding(f"exact discrete {law} noise, {COUNT:,} at a time, one core, million samples a CPU second")
    draw = samplers.discrete_gaussian if law == "gaussian" else samplers.discrete_laplace
    inexact = float_gaussian if law == "gaussian" else float_laplace
    rng = np.random.default_rng()
    rates = opendp_rates(law)
    ours: dict[int, list[float]] = {scale: [] for scale in SCALES}
    floats: dict[int, list[float]] = {scale: [] for scale in SCALES}
    for scale in SCALES:
        draw(scale, COUNT)

    def one_turn() -> None:
        for scale in SCALES:
            floats[scale].append(cpu_seconds(partial(inexact, scale, COUNT, rng)))
            ours[scale].append(cpu_seconds(partial(draw, scale, COUNT)))

    benchmark.pedantic(one_turn, rounds=TURNS)
    for i, scale in enumerate(SCALES):
        speeds = sorted(COUNT / s / 1e6 for s in ours[scale])
        median = speeds[len(speeds) // 2]
        finding.add(
            f"scale {scale:,}", median, "M/s", asked=">= 10", met=median >= 10, lowest=speeds[0], highest=speeds[-1]
        )
        ratios = sorted(f / o for f, o in zip(floats[scale], ours[scale], strict=True))
        middle = ratios[len(ratios) // 2]
        finding.add(
            "  over inexact numpy floats",
            middle,
            "x",
            asked=">= 1",
            met=middle >= 1,
            lowest=ratios[0],
            highest=ratios[-1],
        )
        if not isinstance(rates, str):
            over = median * 1e6 / rates[i]
            finding.add("  over OpenDP", over, "x", asked=">= 100", met=over >= 100)
    median = sorted(ours[1_000])[TURNS // 2] * 1e6 / COUNT
    theirs = rates if isinstance(rates, str) else 1e6 / rates[SHOWN]
    ratio = Ratio.of([one / other for one, other in zip(ours[1_000], floats[1_000], strict=True)])
    inexact_row = Rival(
        "numpy's inexact floats",
        sorted(floats[1_000])[TURNS // 2] * 1e6 / COUNT,
        ratio,
        "no limit: what noise costs that is not exact",
    )
    what = f"a million exact discrete {law.capitalize()} samples, scale 1,000"
    finding.rows.append(
        Row(what, "s", median, peer("OpenDP 0.16", theirs, median, "processor time, one core"), inexact_row)
    )
    if isinstance(rates, str):
        finding.notes.append(f"without OpenDP: {rates}")
    start = time.perf_counter()
    draw(Fraction(1_000_003, 3), 64)
    finding.add("a new scale's table and first draw", (time.perf_counter() - start) * 1e3, "ms")
    if law == "gaussian":
        slow = gaussian_law(Fraction(100))
        seconds = cpu_seconds(lambda: [reference_sample(slow) for _ in range(500)])
        finding.add("the reference on Fractions, sigma 10", 500 / seconds / 1e6, "M/s")
    report(finding)


def test_noise_of_an_update(benchmark: Any, report: Report) -> None:
    finding = Finding(f"noise for an update of {COUNT:,} coordinates")
    update = np.random.default_rng(0).normal(size=COUNT)
    bound = Sensitivity(1.0, Norm.L2, Adjacency.ADD_REMOVE)
    samplers.discrete_gaussian(1e6, COUNT)
    timings = take_turns(
        benchmark,
        clocked(lambda: gaussian(update, bound, epsilon=1.0, delta=1e-5)),
        {
            "sigma 1": clocked(lambda: samplers.discrete_gaussian(1, COUNT)),
            "sigma 1e6": clocked(lambda: samplers.discrete_gaussian(1e6, COUNT)),
        },
        turns=TURNS,
    )
    for name in ("sigma 1", "sigma 1e6"):
        median = timings.median(name)
        finding.add(f"integer noise, {name}", median, "s", asked="<= 0.2", met=median <= 0.2)
    finding.add("whole release of floats, calibration included", timings.median("ours"), "s")
    report(finding)


def test_calibration(benchmark: Any, report: Report) -> None:
    rounds, rate = size(1000, 50), 0.01
    finding = Finding(f"calibration; loss distributions for T={rounds}, q={rate}, goal (2, 1e-5)")
    gaussian_noise_multiplier(1.0, 1e-5)
    analytic = min(clocked(lambda: gaussian_noise_multiplier(1.0, 1e-5))() for _ in range(50))
    finding.add("analytic sigma for (1, 1e-5)", analytic * 1e3, "ms", asked="<= 1", met=analytic <= 1e-3)
    found: dict[str, float] = {}

    def ours() -> None:
        pld._gaussian.cache_clear()
        found["ours"] = noise_multiplier(2.0, 1e-5, rounds=rounds, sampling_rate=rate)

    def event(multiplier: float) -> dp_accounting.DpEvent:
        one = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(multiplier))
        return dp_accounting.SelfComposedDpEvent(one, rounds)

    def theirs() -> None:
        bracket = dp_accounting.ExplicitBracketInterval(0.5, 2.0)
        found["theirs"] = dp_accounting.calibrate_dp_mechanism(PLDAccountant, event, 2.0, 1e-5, bracket, tol=1e-5)

    ours()
    timings = take_turns(
        benchmark,
        lambda: cpu_seconds(ours),
        {"dp_accounting": measured_once(lambda: cpu_seconds(theirs))},
        turns=size(3, 1, quick=1),
    )
    median = timings.median("ours")
    finding.add("loss distributions, CPU time", median, "s", asked="< 3", met=median < 3)
    finding.add("dp_accounting's search to the same tolerance", timings.median("dp_accounting"), "s")
    finding.add("ratio", timings.median("dp_accounting") / median, "x")
    theirs_row = timings.peer("dp_accounting", "dp-accounting", note="measured once, processor time")
    what = f"least noise for (2, 1e-5): {rounds:,} sampled rounds, q = {rate}"
    finding.rows.append(Row(what, "s", median, theirs_row))
    finding.notes.append(f"multipliers found: {found['ours']:.6f}, dp_accounting {found['theirs']:.6f}")
    many, seldom = size(1_000_000, 1000), 1e-3
    sampled = PoissonSampled(seldom, GaussianEvent(2.0, Adjacency.ADD_REMOVE))
    terms: dict[str, Any] = {
        "composition": Composition.RELEASES,
        "event": sampled,
        "adjacency": Adjacency.ADD_REMOVE,
    }
    for what, work in (
        (f"T={many:,}, q={seldom}", lambda: noise_multiplier(2.0, 1e-5, rounds=many, sampling_rate=seldom)),
        (f"a budget of sampled releases, q={seldom}", lambda: limit_of(Budget("sampled", 2, "1e-5", **terms))),
    ):
        pld._gaussian.cache_clear()
        seconds = cpu_seconds(work)
        finding.add(f"{what}, CPU time", seconds, "s", asked="< 2", met=seconds < 2)
    report(finding)


def test_import(benchmark: Any, report: Report) -> None:
    finding = Finding("import dp")

    def process(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    names = "import dp; dp.discrete_gaussian, dp.gaussian, dp.Accountant"
    timings = take_turns(
        benchmark,
        clocked(process("import dp")),
        {"bare": clocked(process("pass")), "names": clocked(process(names))},
        turns=TURNS,
    )
    alone = timings.median("ours") - timings.median("bare")
    finding.add("import dp", alone, "s", asked="< 0.35", met=alone < 0.35)
    finding.add("and every name that draws or accounts", timings.median("names") - timings.median("bare"), "s")
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys; {names}; print(not {{'scipy', 'numba'}} & set(sys.modules))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    finding.add("neither scipy nor numba is loaded", loaded == "True", asked="yes", met=loaded == "True")
    report(finding)
