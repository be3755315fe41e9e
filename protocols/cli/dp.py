"""The `secagg dp` commands: draw noise and check it, calibrate it, account for it."""

from __future__ import annotations

import math
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from dp.errors import PrivacyParameterError
from dp.sensitivity import Adjacency, Norm, Sensitivity, round_up

from ..core.files import write_whole
from ..core.numbers import spelled_up
from .errors import EXIT_WRONG, Commands
from .modes import refuse_typed
from .tables import AsJson, print_json

if TYPE_CHECKING:
    from dp.events import Event
    from dp.goodness import Verdict
    from dp.laws import Law

dp_app = typer.Typer(
    name="dp",
    cls=Commands,
    help="Calibrated differential privacy: exact noise, tight calibration, honest accounts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class LawName(StrEnum):
    """Which integer noise."""

    GAUSSIAN = "gaussian"
    LAPLACE = "laplace"


class MechanismName(StrEnum):
    """Which mechanism to calibrate."""

    GAUSSIAN = "gaussian"
    DISCRETE_GAUSSIAN = "discrete-gaussian"
    LAPLACE = "laplace"


class MethodName(StrEnum):
    """Which accountant."""

    AUTO = "auto"
    PLD = "pld"
    RDP = "rdp"


Relation = Annotated[Adjacency, typer.Option(help="What adjacent data sets differ in.")]
Rounds = Annotated[int, typer.Option(help="How many releases.")]
Rate = Annotated[float, typer.Option(help="Probability with which a record takes part in a round (Poisson).")]
Accounting = Annotated[MethodName, typer.Option(help="Accountant: loss distributions, Renyi DP, or the tightest.")]


def _print(title: str, facts: dict[str, Any], as_json: bool) -> None:
    """Print facts as one JSON object or as a table of two columns; infinities become null in JSON."""
    if as_json:
        plain = {k: (None if isinstance(v, float) and not math.isfinite(v) else v) for k, v in facts.items()}
        print_json(plain, indent=None)
        return
    table = Table(title=title, show_header=False)
    for key, value in facts.items():
        table.add_row(key.replace("_", " "), spelled_up(value, 8) if isinstance(value, float) else str(value))
    Console().print(table)


@dp_app.command()
def noise(
    law: Annotated[LawName, typer.Argument(help="Which noise on the integers.")],
    scale: Annotated[float, typer.Option(help="sigma of the discrete Gaussian, scale of the discrete Laplace.")],
    count: Annotated[int, typer.Option(help="How many samples to draw and check.")] = 200_000,
    false_alarm: Annotated[float, typer.Option(help="Probability that right noise fails the check.")] = 1e-6,
    plot: Annotated[Path | None, typer.Option(help="Draw the histogram against the exact law into this PNG.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw noise as the library does and test it against its exact law."""
    from dp.goodness import check_noise
    from dp.laws import gaussian_law, laplace_law
    from dp.rational import positive
    from dp.samplers import discrete_gaussian, discrete_laplace

    if law is LawName.GAUSSIAN:
        exact_law = gaussian_law(positive(scale, "scale") ** 2)
        values = discrete_gaussian(scale, count)
    else:
        exact_law = laplace_law(positive(scale, "scale"))
        values = discrete_laplace(scale, count)
    verdict = check_noise(values, exact_law, false_alarm=false_alarm)
    if plot is not None:
        _plot(values, exact_law, verdict, f"discrete {law.capitalize()}, scale {scale:g}", plot)
    if as_json:
        findings = [
            {"test": f.name, "statistic": f.statistic, "critical": f.critical, "passed": f.passed}
            for f in verdict.findings
        ]
        facts = {
            "law": law.value,
            "scale": scale,
            "samples": verdict.samples,
            "false_alarm": false_alarm,
            "passed": verdict.passed,
            "findings": findings,
            "plot": str(plot) if plot else None,
        }
        print_json(facts, indent=None)
    else:
        _show_verdict(verdict, f"{verdict.samples} samples of the discrete {law.capitalize()}, scale {scale:g}")
        if plot is not None:
            Console().print(f"drawn into {plot}", markup=False, highlight=False, soft_wrap=True)
    if not verdict.passed:
        raise typer.Exit(EXIT_WRONG)


def _show_verdict(verdict: Verdict, title: str) -> None:
    table = Table(title=title)
    for column in ("test", "statistic", "critical value", ""):
        table.add_column(column, justify="left" if column in {"test", ""} else "right")
    for f in verdict.findings:
        mark = "[green]passes[/green]" if f.passed else "[red]fails[/red]"
        table.add_row(f.name, f"{f.statistic:.6g}", f"{f.critical:.6g}", mark)
    console = Console()
    console.print(table)
    word = "has its law" if verdict.passed else "does not have its law"
    console.print(f"the noise {word} (right noise fails with probability {verdict.false_alarm:g})")


def _plot(values: Any, law: Law, verdict: Verdict, title: str, path: Path) -> None:
    """Draw the histogram of the noise against the exact mass, on a linear and on a logarithmic axis."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        msg = "drawing needs matplotlib: in a checkout of secagg, pip install '.[plots]'"
        raise PrivacyParameterError(msg) from error
    import numpy as np

    from dp.mass import distribution

    reach = int(np.abs(values).max())
    width = max(1, -(-(2 * reach + 1) // 120))
    bins = -(-(2 * reach + 1) // width)
    edges = np.arange(bins + 1) * width - (bins * width) // 2
    counts = np.histogram(values, bins=edges - 0.5)[0]
    centres = edges[:-1] + (width - 1) / 2
    expected = np.diff(distribution(law, edges - 1)) * values.size
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, logarithmic in zip(figure.subplots(1, 2), (False, True), strict=True):
        axes.bar(centres, counts, width=width, color="#9ecae1", label=f"{values.size:,} samples")
        axes.plot(centres, expected, color="#d62728", marker="." if width == 1 else "", lw=1.2, label="exact law")
        axes.set_xlabel("noise, in grid steps")
        axes.set_ylabel(f"count in bins of {width}" if width > 1 else "count")
        if logarithmic:
            axes.set_yscale("log")
            axes.set_ylim(bottom=0.5)
            axes.set_title("the same, logarithmic: the tails")
        else:
            axes.set_title(title)
            axes.legend(loc="upper left")
    words = "passed" if verdict.passed else "FAILED"
    tests = "   ".join(f"{f.name}: {f.statistic:.4g} ≤ {f.critical:.4g}" for f in verdict.findings if f.passed)
    failed = "   ".join(f"{f.name}: {f.statistic:.4g} > {f.critical:.4g}" for f in verdict.findings if not f.passed)
    colour = "#2ca02c" if verdict.passed else "#d62728"
    figure.suptitle(f"check {words} (false alarm {verdict.false_alarm:g})", color=colour)
    figure.supxlabel(failed or tests, fontsize=7)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=110, format="png")
    try:
        write_whole(path, drawn.getvalue())
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise PrivacyParameterError(msg) from error


@dp_app.command()
def calibrate(
    ctx: typer.Context,
    epsilon: Annotated[float, typer.Option(help="Privacy goal for all rounds together.")],
    delta: Annotated[float, typer.Option(help="Privacy goal; 0 for Laplace.")] = 0.0,
    mechanism: Annotated[MechanismName, typer.Option(help="Which noise.")] = MechanismName.GAUSSIAN,
    sensitivity: Annotated[float, typer.Option(help="How far the query moves between adjacent data sets.")] = 1.0,
    norm: Annotated[Norm | None, typer.Option(help="Norm of the sensitivity; l1 for Laplace, else l2.")] = None,
    adjacency: Relation = Adjacency.ADD_REMOVE,
    dimension: Annotated[int, typer.Option(help="How many numbers are released.")] = 1,
    rounds: Rounds = 1,
    sampling_rate: Rate = 1.0,
    method: Accounting = MethodName.AUTO,
    as_json: AsJson = False,
) -> None:
    """Find the least noise that keeps a goal."""
    from dp.accounting import Method
    from dp.calibration import discrete_gaussian_sigma, laplace_scale, noise_multiplier

    own = Norm.L1 if mechanism is MechanismName.LAPLACE else Norm.L2
    bound = Sensitivity(sensitivity, norm or own, adjacency).bound(own, dimension)
    facts: dict[str, Any] = {"mechanism": mechanism.value, "epsilon": epsilon, "delta": delta}
    if mechanism is not MechanismName.GAUSSIAN:
        refuse_typed(ctx, ("method",), f"for {mechanism} noise, which needs no accountant")
    if mechanism is MechanismName.GAUSSIAN:
        multiplier = noise_multiplier(
            epsilon,
            delta,
            rounds=rounds,
            sampling_rate=sampling_rate,
            adjacency=adjacency,
            method=Method(method.value),
        )
        facts |= {"noise_multiplier": multiplier, "sigma": round_up(multiplier * bound)}
    elif rounds != 1 or sampling_rate != 1:
        msg = f"{mechanism} noise is calibrated for one round; use --mechanism gaussian for several"
        raise PrivacyParameterError(msg)
    elif mechanism is MechanismName.LAPLACE:
        if delta:
            msg = f"delta = {delta}: Laplace noise gives pure DP; leave delta out, or take Gaussian noise"
            raise PrivacyParameterError(msg)
        least = laplace_scale(epsilon, Sensitivity(bound, Norm.L1, adjacency))
        scale = float(least)
        facts["scale"] = scale if scale >= least else math.nextafter(scale, math.inf)
    else:
        facts["sigma"] = discrete_gaussian_sigma(epsilon, delta, bound, dimension)
    facts |= {"sensitivity": bound, "norm": own.value, "adjacency": adjacency.value, "rounds": rounds}
    facts["sampling_rate"] = sampling_rate
    _print("the least noise", facts, as_json)


@dp_app.command()
def account(
    noise_multiplier: Annotated[float, typer.Option(help="sigma (or scale) over the sensitivity.")],
    delta: Annotated[float | None, typer.Option(help="Ask for epsilon at this delta.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Ask for delta at this epsilon.")] = None,
    law: Annotated[LawName, typer.Option(help="Which noise.")] = LawName.GAUSSIAN,
    adjacency: Relation = Adjacency.ADD_REMOVE,
    rounds: Rounds = 1,
    sampling_rate: Rate = 1.0,
    batch: Annotated[int | None, typer.Option(help="Fixed sample size, with --population; for replace-one.")] = None,
    population: Annotated[int | None, typer.Option(help="Records to sample from, with --batch.")] = None,
    method: Accounting = MethodName.AUTO,
    as_json: AsJson = False,
) -> None:
    """Tell what a number of releases costs."""
    from dp.accounting import Method, delta_of, epsilon_of
    from dp.events import FixedSizeSampled, GaussianEvent, LaplaceEvent, PoissonSampled, Repeated

    if (delta is None) == (epsilon is None):
        msg = "give --delta to learn epsilon, or --epsilon to learn delta"
        raise PrivacyParameterError(msg)
    if (batch is None) != (population is None) or (batch is not None and sampling_rate != 1):
        msg = "a fixed-size sample takes --batch and --population together, and no --sampling-rate"
        raise PrivacyParameterError(msg)
    event: Event = (
        GaussianEvent(noise_multiplier, adjacency)
        if law is LawName.GAUSSIAN
        else LaplaceEvent(noise_multiplier, adjacency, 1)
    )
    if batch is not None and population is not None:
        event = FixedSizeSampled(batch, population, event)
    elif sampling_rate != 1:
        event = PoissonSampled(sampling_rate, event)
    event = Repeated(event, rounds)
    chosen = Method(method.value)
    if delta is not None:
        epsilon = epsilon_of(event, delta, chosen)
    else:
        delta = delta_of(event, epsilon or 0.0, chosen)
    facts = {
        "epsilon": epsilon,
        "delta": delta,
        "law": law.value,
        "noise_multiplier": noise_multiplier,
        "rounds": rounds,
        "sampling_rate": sampling_rate if batch is None else None,
        "batch": batch,
        "population": population,
        "adjacency": adjacency.value,
        "method": method.value,
    }
    _print("what it costs", {k: v for k, v in facts.items() if as_json or v is not None}, as_json)
