"""Runs the checks, one after the other, and says what came of them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Any

from dp.errors import DpError, LedgerBusyError, LedgerStorageError, MissingDependencyError
from secagg import __version__
from secagg.errors import ParameterError, SecAggError

from .outcome import Check, Found, Outcome, Refuted, Status, Trials, Unavailable

EXAMPLES, QUICK_EXAMPLES = 200, 25
SAMPLES, QUICK_SAMPLES = 1_000_000, 200_000
MOST_EXAMPLES = 100_000
LEAST_SAMPLES, MOST_SAMPLES = 100_000, 10_000_000
"""With fewer samples, noise that is a twentieth too narrow passes; with more, arrays take gigabytes."""

_MACHINE = (MemoryError, OSError, ImportError, RuntimeError)
"""What is no finding about the library: no memory, disk or permission, no thread or place for a compiler's cache."""

_LIBRARIES = (
    *("numpy", "numba", "pycryptodome", "pynacl", "msgspec", "xxhash"),
    *("dp-accounting", "gmpy2", "phe", "matplotlib"),
)


class Verdict(StrEnum):
    """What an audit comes to. INCOMPLETE: nothing was refuted, but something could not run, or nothing ran."""

    PASSED = "passed"
    FAILED = "failed"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Audit:
    """An audit that has run.

    Attributes:
        outcomes: of all checks, in order.
        seed: from which all that is simulated follows.
        examples: tried for each property.
        samples: drawn by each statistical check.
        started: when, in UTC.
        seconds: wall-clock time of it all.
    """

    outcomes: Sequence[Outcome]
    seed: int
    examples: int
    samples: int
    started: datetime
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether something was checked, nothing failed, and nothing that is installed was left unchecked."""
        return self.verdict is Verdict.PASSED

    @property
    def verdict(self) -> Verdict:
        """What came of it all: one failure decides; without one, a check that could not run leaves no verdict."""
        if self.count(Status.FAILED):
            return Verdict.FAILED
        complete = self.count(Status.PASSED) and not self.count(Status.ERROR)
        return Verdict.PASSED if complete else Verdict.INCOMPLETE

    @property
    def only(self) -> tuple[str, ...]:
        """What was checked, where that is not all that there is: whole groups, and single checks of others."""
        chosen = {done.check.key: done.check.group for done in self.outcomes}
        left_out = {check.group for check in all_checks() if check.key not in chosen}
        return tuple(dict.fromkeys(key if group in left_out else group for key, group in chosen.items() if left_out))

    @property
    def without(self) -> tuple[str, ...]:
        """What did not run for want of a library: groups of which nothing ran, and single checks of others."""
        missing = [done.check for done in self.outcomes if done.status is Status.NOT_RUN]
        ran = {done.check.group for done in self.outcomes if done.status is not Status.NOT_RUN}
        return tuple(dict.fromkeys(check.key if check.group in ran else check.group for check in missing))

    @property
    def false_alarm(self) -> float:
        """A bound on the probability that a right library fails any check: the sum over the checks that ran."""
        idle = (Status.NOT_RUN, Status.ERROR)
        rates = [outcome.check.false_alarm for outcome in self.outcomes if outcome.status not in idle]
        return float(sum(map(Decimal, map(repr, rates))))  # as they are written: no digits of a sum of binary fractions

    def count(self, status: Status) -> int:
        """Return how many checks ended so."""
        return sum(outcome.status is status for outcome in self.outcomes)

    def facts(self) -> dict[str, Any]:
        """Return all that JSON can hold of it."""
        return {
            "verdict": str(self.verdict),
            "passed": self.count(Status.PASSED),
            "failed": self.count(Status.FAILED),
            "not_run": self.count(Status.NOT_RUN),
            "could_not_run": self.count(Status.ERROR),
            "without": list(self.without),
            "only": list(self.only),
            "checks_in_all": len(all_checks()),
            "false_alarm": self.false_alarm,
            "seed": self.seed,
            "examples": self.examples,
            "samples": self.samples,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "versions": versions(),
            "checks": [
                {
                    "check": outcome.check.key,
                    "claim": outcome.check.claim,
                    "status": str(outcome.status),
                    "reason": outcome.reason,
                    "again": outcome.again,
                    "repeatable": outcome.check.repeatable,
                    "false_alarm": outcome.check.false_alarm,
                    "figures": dict(outcome.figures),
                    "seconds": round(outcome.seconds, 3),
                }
                for outcome in self.outcomes
            ],
        }


@cache
def all_checks() -> tuple[Check, ...]:
    """Return every check, in the order in which they run: from what others stand on upwards."""
    from .checks import (
        accounts,
        doors,
        draws,
        epsilon,
        equivocation,
        freshness,
        groups,
        known_answers,
        ledgers,
        misuse,
        noise,
        paillier,
        primitives,
        private,
        questions,
        releases,
        sessions,
        thresholds,
    )
    from .replay import replay, shipped

    modules = (
        *(shipped, known_answers, thresholds, replay, primitives, sessions, equivocation, freshness),
        *(noise, draws, epsilon, private, releases, ledgers, accounts, paillier, questions, groups),
        *(misuse, doors),
    )
    return tuple(check for module in modules for check in module.CHECKS)


def chosen(only: Iterable[str]) -> tuple[Check, ...]:
    """Return the checks of the named groups, or with the named keys; all of them if none is named.

    Raises:
        ParameterError: there is no such group or check.
    """
    wanted = set(only)
    known = {name for check in all_checks() for name in (check.group, check.key)}
    if wanted - known:
        absent = min(wanted - known)
        of_group = ", ".join(check.key for check in all_checks() if check.group == absent.partition("/")[0])
        groups = ", ".join(dict.fromkeys(check.group for check in all_checks()))
        there = f"this group has {of_group}" if of_group else f"groups are {groups}"
        raise ParameterError(f"there is no check {absent!r}; {there}")
    return tuple(check for check in all_checks() if not wanted or wanted & {check.group, check.key})


def run(
    checks: Sequence[Check],
    *,
    seed: int | None = None,
    examples: int = EXAMPLES,
    samples: int = SAMPLES,
    on_progress: Callable[[Check, float], None] = lambda check, done: None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> Audit:
    """Run checks; nothing that they find or stumble over stops the others.

    Args:
        checks: which; see `chosen`.
        seed: of all that is simulated, from 0; drawn afresh if None.
        examples: how many examples each property is tried with, 1 to 100,000.
        samples: how many numbers each statistical check draws, 100,000 to 10,000,000: with fewer, noise that
            is a twentieth too narrow would pass; with more, arrays would take gigabytes.
        on_progress: called with a check and how much of it is done, from 0 to 1.
        on_outcome: called with each outcome.

    Raises:
        ParameterError: too few or too many examples or samples, or a negative seed; the text names each.
    """
    _check_numbers(seed, examples, samples)
    used = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    started, start = datetime.now(UTC), time.perf_counter()
    outcomes = []
    for check in checks:
        on_progress(check, 0.0)

        def tick(done: float, check: Check = check) -> None:
            on_progress(check, done)

        outcome = _run_one(check, Trials(used, examples, samples, tick, check.key))
        on_outcome(outcome)
        outcomes.append(outcome)
    return Audit(tuple(outcomes), used, examples, samples, started, time.perf_counter() - start)


def _check_numbers(seed: int | None, examples: int, samples: int) -> None:
    """Raise ParameterError that names each number out of range, its limits and what to do; and no others."""
    again = "for more, run the audit several times, as each draws afresh"
    wrong = []
    if seed is not None and seed < 0:
        wrong.append(f"seed is {seed}, but must be at least 0: leave it out to have one drawn")
    if not 1 <= examples <= MOST_EXAMPLES:
        wrong.append(f"examples is {examples}, but must be from 1 to {MOST_EXAMPLES:,}: {again}")
    if not LEAST_SAMPLES <= samples <= MOST_SAMPLES:
        wrong.append(
            f"samples is {samples}, but must be from {LEAST_SAMPLES:,} to {MOST_SAMPLES:,}: fewer tell too little, and "
            f"{again}"
        )
    if wrong:
        raise ParameterError("; ".join(wrong))


def _run_one(check: Check, trials: Trials) -> Outcome:
    start = time.perf_counter()
    found, status, reason = Found({}), Status.PASSED, ""
    try:
        found = check.run(trials)
    except Refuted as refuted:
        found, status, reason = Found(refuted.figures, refuted.plots), Status.FAILED, str(refuted)
    except (Unavailable, MissingDependencyError) as missing:
        status, reason = Status.NOT_RUN, str(missing)
    except BrokenPipeError:  # whoever watched has gone
        raise
    except Exception as error:
        status = Status.ERROR if _is_the_machines(error) else Status.FAILED
        reason = f"unexpected {type(error).__name__}: {error}"
        if status is Status.ERROR:
            reason += "; nothing was refuted: see to it and run this check again, or with fewer --samples"
    if status is Status.FAILED and trials.current is not None:
        reason += f" (example {trials.current} of seed {trials.seed})"
    again = _again(check, trials) if status is Status.FAILED else ""
    return Outcome(check, status, reason, found.figures, found.plots, time.perf_counter() - start, again)


def _again(check: Check, trials: Trials) -> str:
    size = f"--examples {trials.examples} --samples {trials.samples}"
    return f"secagg audit --seed {trials.seed} {size} --only {check.key}"


def _is_the_machines(error: Exception) -> bool:
    """Return whether the machine is to blame for an error; in doubt, it is the library."""
    if isinstance(error, LedgerBusyError | LedgerStorageError):
        return True
    # Ours, and what means a fault in code, say something about the library.
    if isinstance(error, SecAggError | DpError | NotImplementedError | RecursionError):
        return False
    return isinstance(error, _MACHINE)


def versions() -> dict[str, str]:
    """Return what ran: the library, Python, the machine, and the libraries beneath; "absent" where one is not there."""
    found = {"secagg": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for library in _LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            found[library] = "absent"
    return found
