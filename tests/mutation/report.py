"""REPORT.md: a score for each module, and why each survivor lives."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .mutants import Mutant, path_of

EXPLANATIONS = Path(__file__).with_name("survivors.toml")


def is_dead(outcome: str) -> bool:
    """Return whether tests told the mutant from the original: they failed, crashed, or came to no end."""
    return outcome in {"killed", "import", "timeout"} or outcome.startswith("crash")


def interval(dead: int, tried: int, of: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the score of all mutants, given a sample; the score itself if all were tried."""
    score = dead / tried
    if tried == of:
        return score, score
    z = 1.96 * math.sqrt((of - tried) / (of - 1))  # drawn without replacement
    centre = (score + z * z / (2 * tried)) / (1 + z * z / tried)
    half = z / (1 + z * z / tried) * math.sqrt(score * (1 - score) / tried + z * z / (4 * tried * tried))
    return centre - half, min(1.0, centre + half)


def score_line(module: str, results: Sequence[Mapping[str, str]], of: int) -> str:
    """Return one module's score as a line."""
    dead = sum(is_dead(result["outcome"]) for result in results)
    return f"{module}: {dead} of {len(results)} killed ({100 * dead / max(1, len(results)):.1f} %), of {of} chosen"


def write(
    modules: Sequence[str],
    chosen: Callable[[str], list[Mutant]],
    known: Mapping[str, Mapping[str, str]],
    into: Path,
) -> None:
    """Write the report of what is known of the modules as they stand."""
    whys = _explanations()
    rows, survivors = [], []
    sums = _Score()
    for module in modules:
        mutants = chosen(module)
        tried = [(mutant, known[mutant.key]) for mutant in mutants if mutant.key in known]
        alive = sorted((mutant for mutant, result in tried if not is_dead(result["outcome"])), key=lambda one: one.at)
        text = path_of(module).read_text().splitlines()
        reasons = [
            whys.get((module, text[mutant.at[0] - 1].strip(), mutant.before, mutant.after), "**not yet explained**")
            for mutant in alive
        ]
        score = _Score(
            len(mutants), len(tried), len(tried) - len(alive), sum(why.startswith("Equivalent") for why in reasons)
        )
        sums += score
        rows.append(score.row(f"`{module}`"))
        survivors += [
            f"| `{module}` {mutant.at[0]} | `{_cell(mutant.before)}` | `{_cell(mutant.after)}` | {why} |"
            for mutant, why in zip(alive, reasons, strict=True)
        ]
    into.write_text(
        HEAD
        + "\n".join([*_Score.HEAD, *rows, sums.row("all", whole=True)])
        + f"\n\n## Survivors\n\n{len(survivors)}, of which {sums.equivalent} are equivalent: they give what the "
        + "original gives, if faster or slower.\n\n"
        + "\n".join(["| where | original | mutant | why it lives |", "|---|---|---|---|", *survivors])
        + "\n"
    )


@dataclass(frozen=True)
class _Score:
    mutants: int = 0
    tried: int = 0
    dead: int = 0
    equivalent: int = 0

    HEAD: ClassVar = [
        "| module | mutants | tried | killed | % | 95 % interval | equivalent | % without them |",
        "|---|---|---|---|---|---|---|---|",
    ]

    def __add__(self, other: _Score) -> _Score:
        return _Score(
            self.mutants + other.mutants,
            self.tried + other.tried,
            self.dead + other.dead,
            self.equivalent + other.equivalent,
        )

    def row(self, name: str, *, whole: bool = False) -> str:
        if not self.tried:
            return f"| {name} | {self.mutants} | 0 | | | not yet run | | |"
        low, high = interval(self.dead, self.tried, self.mutants)
        spread = "all" if self.tried == self.mutants else f"{100 * low:.0f} to {100 * high:.0f}"
        share, without = 100 * self.dead / self.tried, 100 * self.dead / max(1, self.tried - self.equivalent)
        return (
            f"| {name} | {self.mutants} | {self.tried} | {self.dead} | {share:.1f} | {'' if whole else spread} "
            f"| {self.equivalent} | {without:.1f} |"
        )


def _explanations() -> dict[tuple[str, str, str, str], str]:
    """Return why survivors live, by module, the text of the line that the change begins on, and the change."""
    entries = tomllib.loads(EXPLANATIONS.read_text()).get("survivor", [])
    return {(entry["module"], entry["line"], entry["before"], entry["after"]): entry["why"] for entry in entries}


def _cell(code: str) -> str:
    short = code if len(code) <= 110 else code[:70] + " ... " + code[-35:]
    return short.replace("|", "\\|").replace("`", "'")


HEAD = """# Mutation testing

`make mutation` makes every mutant of the modules below and runs the tests that reach it;
`make mutation MUTATION="--sample 40 protocols.wire"` does less. Results are kept in `.mutation/` and taken up again,
as long as the function or class around a mutant stays as it is; `--again` gives survivors another chance after tests
were added; `--report` writes this page.

**A mutant** is the source of one module with one change: mutmut's operators (comparisons, arithmetic, `and`/`or`,
`in`, `is`, `not`, numbers plus one, `True`/`False`, cases, conditional expressions, lambdas, state that is forgotten,
arguments left out), and five of ours: a guard that never fires, a call that is not made, a filter that lets everything
through, an entry that a table lacks, a number minus one. Decorated and compiled functions are mutated as all others.
Not mutated: texts (strings, the messages of errors; facts of errors are), annotations, decorators, `__repr__`,
`zip(strict=...)`, and what would only fail at once (a required argument missing, a local set to None).

**A kill** is a failing test, a crash, an import that fails, or more than 8 s + 4x of the processor time that the same
test takes without the mutant (20 s + 4x of all tests, where a mutant needs a new import). A mutant meets the tests that
execute its statement (by coverage), its module's own first, the short ones first. Tests of commands in processes of
their own do not see mutants and do not count. Compiled
loops get a cache of their own for each mutant, so that each is compiled anew.

**These figures** are of samples, about 30 mutants a module, run with `--budget` 6 to 60 and `--longest` 1.5 to 30
(seconds of the processor): the long tests of whole sessions were hardly asked, those of `test_tweaks.py` not at all,
and a survivor may well die by them. What was run on an earlier
state of the code counts only where the function or class is the same to the letter. A mutant that got too little of the
processor for too long is undecided and not counted.

**Equivalent** mutants give what the original gives, if faster or slower; each is explained below. The last column
leaves them out.

**A sample** is drawn by lot with a fixed seed; the interval is Wilson's for the score of all mutants, corrected for a
draw without replacement.

## Scores

"""
