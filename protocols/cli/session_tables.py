"""What `secagg serve` shows people of a session that has ended: how, without whom, and its result in 80 columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from ..reporting.words import many
from ..statistics.facts import finding_of
from ..statistics.grids import number
from .stats_tables import show_findings, show_rules
from .tables import print_lines

if TYPE_CHECKING:
    from ..service.views import SessionView

MOST_NUMBERS = 100
"""Of a vector, so many are shown; `--json` prints all."""


def show_session(view: SessionView, result: Mapping[str, Any] | None) -> None:
    """Print how a session has ended.

    Args:
        view: of the session.
        result: from its JSON; None where there is none.
    """
    console = Console()
    ended = f"{view.state}, {view.error}: {view.reason}" if view.error else str(view.state)
    print_lines(f"{view.title}: {ended}", console)
    for name, why in (*view.excluded.items(), *view.refused.items()):
        print_lines(f"without {name}: {why}", console, "  ", "    ")
    if result is not None:
        _show_result(result, console)


def _show_result(result: Mapping[str, Any], console: Console) -> None:
    results, sums = result.get("results"), result.get("sums")
    if isinstance(results, list):
        records = result.get("records")
        of = "how many records is hidden" if records is None else many(records, "record")
        console.print(Text(f"{many(result.get('sites', 0), 'site')}, {of}"))
        found = [finding for each in results if (finding := finding_of(each)) is not None]
        show_findings(found, console)
        show_rules(found, console)
    elif isinstance(sums, Mapping):
        console.print(Text(f"the sum of {many(len(result['survivors']), 'member')}"))
        for name, values in sums.items():
            shown = "  ".join(map(number, values[:MOST_NUMBERS]))
            more = f"  and {len(values) - MOST_NUMBERS:,} more" if len(values) > MOST_NUMBERS else ""
            noise = result.get("noise_deviation", {}).get(name)
            of = "" if noise is None else f" (with noise of standard deviation {number(noise)})"
            print_lines(f"{name}{of}: {shown}{more}", console, "", "  ")
        for name in result.get("liars", ()):
            print_lines(f"its shares were not those that it was dealt: {name}", console, "", "  ")
    else:  # a form that a later release gives
        console.print(Text(json.dumps(result, indent=2)))
