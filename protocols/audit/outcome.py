"""What a check claims, how it runs, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from zlib import crc32

import numpy as np
import numpy.typing as npt

Figure = int | float | str
Numbers = npt.NDArray[np.float64]


class Status(StrEnum):
    """How a check ended. What did not run shows nothing, and the report says so.

    NOT_RUN: something optional is not installed. ERROR: the machine did not let it finish (no memory, no disk space, no
    permission), which says nothing about the library, and leaves the audit without a verdict.
    """

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"
    ERROR = "could not run"


class Unavailable(Exception):  # noqa: N818
    """A check cannot run here: something optional is not installed."""


@dataclass(frozen=True)
class Histogram:
    """Counts against what the law expects, for a plot.

    Attributes:
        title: what was drawn.
        at: middles of the bins, float64 (bins,).
        observed: counts, float64 (bins,).
        expected: what the law expects, float64 (bins,).
        unit: of the horizontal axis.
    """

    title: str
    at: Numbers
    observed: Numbers
    expected: Numbers
    unit: str = "steps"


@dataclass(frozen=True)
class Claims:
    """Claimed epsilons against certain lower bounds on the true ones, for a plot: (name, claimed, lower bound)."""

    title: str
    bounds: tuple[tuple[str, float, float], ...]


Plot = Histogram | Claims


class Refuted(Exception):  # noqa: N818 - a finding about the library, not an error of the audit's
    """A claim does not hold. Carries the figures and plots that show it."""

    def __init__(self, reason: str, plots: tuple[Plot, ...] = (), **figures: Figure) -> None:
        super().__init__(reason)
        self.plots = plots
        self.figures = figures


@dataclass(frozen=True)
class Found:
    """What a check that passed has measured, and what there is to be drawn of it."""

    figures: Mapping[str, Figure]
    plots: tuple[Plot, ...] = ()


@dataclass
class Trials:
    """How much a check is to try, and the stream of examples that it tries.

    All that a check chooses follows from `seed`: inputs, who drops out, which bit is flipped, and, through
    `Generator.bytes`, the keys and masks of simulated parties. So a failure can be had again, bit by bit. Checks that
    are not `repeatable` let the library draw from the operating system, as in use.

    Args:
        seed: of all that is simulated.
        examples: how many examples a property is tried with.
        samples: how many numbers a statistical check draws.
        on_progress: called with how much of this check is done, from 0 to 1.
    """

    seed: int
    examples: int
    samples: int
    on_progress: Callable[[float], None] = lambda done: None
    name: str = ""
    current: int | None = field(default=None, init=False)

    def each(self, count: int | None = None) -> Iterator[np.random.Generator]:
        """Yield a generator of simulated data for each example; it depends on seed, check and number alone."""
        total = max(1, self.examples if count is None else count)
        for number in range(total):
            self.current = number
            yield np.random.default_rng((self.seed, crc32(self.name.encode()), number))
            self.on_progress((number + 1) / total)
        self.current = None

    def share(self, divisor: int) -> int:
        """Return a part of the examples, for properties that take longer than others."""
        return max(1, self.examples // divisor)


@dataclass(frozen=True)
class Check:
    """One claim that can be refuted.

    Attributes:
        group: which part of the library it is about.
        name: distinct within the group.
        claim: what holds if it passes, in a sentence.
        run: tries to refute it; raises Refuted if it can.
        false_alarm: a bound on the probability with which a right library fails. It is 0 where only an accident of
            cryptography could make it fail, such as two equal keys, which is rarer than 2**-60.
        repeatable: whether everything follows from the seed. False where what the operating system draws is under
            check, where keys are made by a library that takes no randomness, or where threads race.
    """

    group: str
    name: str
    claim: str
    run: Callable[[Trials], Found]
    false_alarm: float = 0.0
    repeatable: bool = True

    @property
    def key(self) -> str:
        """What names the check in the report and at the command line."""
        return f"{self.group}/{self.name}"

    @property
    def caveat(self) -> str:
        """What people are told beside the command that runs it again: nothing where it does the very same."""
        if self.repeatable:
            return ""
        chance = f", and by chance it fails once in {round(1 / self.false_alarm):,} runs" if self.false_alarm else ""
        return f" (not all of it follows from the seed{chance})"


@dataclass(frozen=True)
class Outcome:
    """How one check ended.

    Attributes:
        check: what was checked.
        status: passed, failed, not run, or could not run.
        reason: why it did not pass; empty if it did.
        figures: what was measured.
        plots: what there is to be drawn.
        seconds: wall-clock time.
        again: for what failed, the command that runs it again; else empty.
    """

    check: Check
    status: Status
    reason: str
    figures: Mapping[str, Figure]
    plots: tuple[Plot, ...]
    seconds: float
    again: str = ""


def demand(held: bool, reason: str, plots: tuple[Plot, ...] = (), **figures: Figure) -> None:
    """Raise Refuted unless something held."""
    if not held:
        raise Refuted(reason, plots, **figures)


def demand_refusal(
    call: Callable[[], object], errors: type[Exception] | tuple[type[Exception], ...], what: str
) -> None:
    """Raise Refuted unless a call raises one of these errors; other errors pass through, and fail the check as well."""
    try:
        call()
    except errors:
        return
    raise Refuted(f"{what} was accepted")
