"""Tables of texts within a page: what is hidden says so, and large counts are shaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_SHADES = 9
STYLE = """
.scroll { overflow: auto; max-height: 26rem; margin: 0 0 .8rem; }
table.grid { width: auto; min-width: 12rem; font-size: .9rem; }
.grid th, .grid td { padding: .25rem .9rem .25rem .3rem; overflow-wrap: normal; }
.grid td + td, .grid th + th { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.grid td.gone { color: var(--dim); font-style: italic; }
@media (max-width: 45rem) { table.grid { font-size: .8rem; } .grid th, .grid td { padding: .25rem .5rem .25rem 0; } }
@media print { .scroll { max-height: none; overflow: visible; } }
""" + "".join(
    f".h{shade} {{ background: color-mix(in srgb, var(--accent) {5 * shade}%, transparent); }}\n"
    for shade in range(1, _SHADES + 1)
)
"""Rules for `html`. Shades are classes, so that a page can forbid styles that it does not know."""


@dataclass(frozen=True)
class Grid:
    """A table of texts.

    Attributes:
        head: a name for each column; empty for none.
        rows: of one length; None is hidden.
        heat: of each cell that is a count of its table, the share of the largest; empty where that says nothing.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    heat: tuple[tuple[float | None, ...], ...] = ()


def html(grid: Grid, name: str = "") -> str:
    """Return a table that scrolls by itself; nothing where it has no rows.

    Args:
        grid: its texts.
        name: of what the table is, for those who hear it.
    """
    if not grid.rows:
        return ""
    titles = "".join(f'<th scope="col">{escape(each)}</th>' for each in grid.head)
    head = f"<tr>{titles}</tr>" if titles else ""
    heats: Sequence[Sequence[float | None]] = grid.heat or [[None] * len(row) for row in grid.rows]
    rows = "".join(
        f"<tr>{''.join(_cell(text, heat) for text, heat in zip(row, heats_of, strict=True))}</tr>"
        for row, heats_of in zip(grid.rows, heats, strict=True)
    )
    called = f' role="region" aria-label="{escape(name)}"' if name else ""
    return f'<div class="scroll" tabindex="0"{called}><table class="grid">{head}{rows}</table></div>'


def _cell(text: str | None, heat: float | None) -> str:
    if text is None:
        return '<td class="gone">hidden</td>'
    warm = "" if heat is None else f' class="hot h{round(_SHADES * heat)}"'
    return f"<td{warm}>{escape(text)}</td>"
