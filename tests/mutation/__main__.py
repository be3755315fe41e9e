"""`python -m tests.mutation`: make mutants, run the tests that reach them, keep what came out, report it."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from . import processes, report
from .baseline import Baseline, measure
from .mutants import ROOT, Mutant, mutants_of
from .runs import STATE, known_results, run, say
from .targets import TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    add = parser.add_argument
    add("modules", nargs="*", metavar="MODULE", help="such as protocols.client_checks; all by default")
    add("--jobs", type=int, default=2, help="processes at once (2)")
    add("--sample", type=int, default=0, help="at most so many mutants of each module, by lot with a fixed seed")
    add("--budget", type=float, default=60, help="seconds of tests for a mutant (60)")
    add("--longest", type=float, default=8, help="seconds of the longest test that is asked (8)")
    add("--again", action="store_true", help="run those that survived before once more")
    add("--survivors", action="store_true", help="run those that survived before, and no others")
    add("--anew", action="store_true", help="import everything anew for each mutant: slower, and blind to nothing")
    add("--tests", nargs="+", metavar="FILE", help="ask these files and no others; nothing is measured beforehand")
    add("--report", action="store_true", help="run nothing, write REPORT.md from what is known")
    options = parser.parse_args()
    modules = options.modules or list(TARGETS)
    if unknown := set(modules) - TARGETS.keys():
        parser.error(f"no such modules: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if options.report:
        report.write(list(TARGETS), chosen, known_results(), Path(__file__).with_name("REPORT.md"))
        return
    os.chdir(ROOT)
    os.nice(19 - os.nice(0))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; what was done is kept"))
    processes.preload()
    if not options.tests:
        say("measuring what each test runs, once for each state of the tests")
    baseline = Baseline() if options.tests else measure(STATE, jobs=options.jobs)
    known = known_results()
    mutants = {module: chosen(module, options.sample) for module in modules}
    waiting = {
        module: [mutant for mutant in some if _is_wanted(known.get(mutant.key), options)]
        for module, some in mutants.items()
    }
    run(waiting, baseline, options)
    known = known_results()
    for module, some in mutants.items():
        say(report.score_line(module, [known[mutant.key] for mutant in some if mutant.key in known], len(some)))


def _is_wanted(result: Mapping[str, str] | None, options: argparse.Namespace) -> bool:
    if result is None:
        return not options.survivors
    return (options.again or options.survivors) and not report.is_dead(result["outcome"])


def chosen(module: str, sample: int = 0) -> list[Mutant]:
    """Return a module's mutants, or as many of them by lot; smaller samples are the beginnings of larger ones."""
    mutants = mutants_of(module)
    random.Random(module).shuffle(mutants)
    return mutants[:sample] if sample else mutants


if __name__ == "__main__":
    main()
