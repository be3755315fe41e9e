"""REPORT.md: a score for each module, and why each survivor lives."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .mutants import Mutant

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
    whys = {
        (entry["module"], entry["before"], entry["after"]): entry["why"]
        for entry in tomllib.loads(EXPLANATIONS.read_text()).get("survivor", [])
    }
    rows, survivors = [], []
    total = total_tried = total_dead = total_equivalent = 0
    for module in modules:
        mutants = chosen(module)
        tried = [(mutant, known[mutant.key]) for mutant in mutants if mutant.key in known]
        if not tried:
            rows.append(f"| `{module}` | {len(mutants)} | 0 | | | not yet run |")
            continue
        alive = [mutant for mutant, result in tried if not is_dead(result["outcome"])]
        dead = len(tried) - len(alive)
        low, high = interval(dead, len(tried), len(mutants))
        spread = "all" if len(tried) == len(mutants) else f"{100 * low:.0f} to {100 * high:.0f}"
        score = f"{100 * dead / len(tried):.1f}"
        rows.append(f"| `{module}` | {len(mutants)} | {len(tried)} | {dead} | {score} | {spread} |")
        total, total_tried, total_dead = total + len(mutants), total_tried + len(tried), total_dead + dead
        for mutant in sorted(alive, key=lambda one: one.at):
            why = whys.get((module, mutant.before, mutant.after), "**not yet explained**")
            total_equivalent += why.startswith("Equivalent")
            survivors.append(
                f"| `{module}` {mutant.at[0]} | `{_cell(mutant.before)}` | `{_cell(mutant.after)}` | {why} |"
            )
    score = f"{100 * total_dead / max(1, total_tried):.1f}"
    rows.append(f"| all | {total} | {total_tried} | {total_dead} | {score} | |")
    into.write_text(
        HEAD
        + "\n".join(["| module | mutants | tried | killed | % | 95 % interval |", "|---|---|---|---|---|---|", *rows])
        + f"\n\n## Survivors\n\n{len(survivors)}, of which {total_equivalent} are equivalent: nobody could tell them "
        + "from the original.\n\n"
        + "\n".join(["| where | original | mutant | why it lives |", "|---|---|---|---|", *survivors])
        + "\n"
    )


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

**A kill** is a failing test, a crash, an import that fails, or more than 20 s + 4x of the processor time that the same
tests take without the mutant. A mutant meets the tests that execute its statement (by coverage), its module's own
first, the short ones first. Tests of commands in processes of their own do not see mutants and do not count. Compiled
loops get a cache of their own for each mutant, so that each is compiled anew.

**These figures** are of samples, run with `--budget` 4 to 16 and `--longest` 2 to 8 (seconds, on a machine so busy that
they were mostly those of waiting): the long tests of whole sessions were hardly asked, and a survivor may well die by
them. What was run on an earlier state of the code counts only where the function or class is the same to the letter.
Not counted for that reason, since their classes changed a little afterwards: `protocols.server` 30 of 30 and
`protocols.client` 29 of 30 (the survivor is below), `protocols.wire` 30 of 30.

**A sample** is drawn by lot with a fixed seed; the interval is Wilson's for the score of all mutants, corrected for a
draw without replacement.

## Scores

"""
