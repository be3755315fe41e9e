"""Reports as one HTML page that needs nothing else: its frame, its look, pictures and lists of facts."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

_STYLE = """
:root { color-scheme: light; --ink: #1b2733; --dim: #5d6b79; --line: #dde3ea; --good: #1d7a46; --bad: #b3261e;
  --idle: #8a6d1a; --panel: #f6f8fa; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--ink); margin: 0; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .2rem; }
p.about { color: var(--dim); margin: 0 0 .6rem; max-width: 50rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .45rem .8rem .45rem 0; border-top: 1px solid var(--line); }
th { font-weight: 600; color: var(--dim); font-size: .85rem; border-top: 0; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em; }
code, dd { overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)); gap: 1rem;
  margin-top: 1rem; }
.plots img { width: 100%; border: 1px solid var(--line); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; margin: .6rem 0; }
dt { color: var(--dim); } dd { margin: 0; }
@media (max-width: 45rem) {
  main { padding: 1rem .8rem 3rem; }
  table:not(.grid), table:not(.grid) :is(tbody, tr, td) { display: block; }
  table:not(.grid) tr { border-top: 1px solid var(--line); padding: .5rem 0; }
  table:not(.grid) tr:has(th) { display: none; }
  table:not(.grid) tr > td { border-top: 0; padding: .1rem 0; width: auto; text-align: left; white-space: normal; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; }
}
"""


DARK = """
:root { color-scheme: light dark; --accent: #2b6aa3; --warm: #b4472e; --violet: #7b5ea7; --page: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4eaf0; --dim: #9fb0c0; --line: #33404d; --good: #5fc08a;
  --bad: #f2857c; --idle: #d8b24a; --panel: #1b232c; --accent: #7ab3e6; --warm: #ef8f6f; --violet: #b9a1e3;
  --page: #12181f; } }
body { background: var(--page); }
"""
"""Rules for pages whose pictures have no colours of their own: they follow whether the reader likes light or dark."""


def document(title: str, body: str, style: str = "", *, head: str = "", before: str = "", after: str = "") -> str:
    """Return a whole page.

    Args:
        title: plain text.
        body: HTML.
        style: CSS, after that which all reports share.
        head: more HTML for the head.
        before: HTML in front of the main part, such as a banner.
        after: HTML behind it.
    """
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{styled(style)}</style>{head}</head>\n"
        f'<body>{before}<main id="main">\n{body}\n'
        f"</main>{after}</body></html>\n"
    )


def styled(style: str) -> str:
    """Return all the CSS of a page with a style of its own, as it stands in the page."""
    return _STYLE + style


def picture(title: str, svg: bytes) -> str:
    """Return an image that carries its own data."""
    return f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}">'


def facts(of: Mapping[str, object]) -> str:
    """Return a list of names and values."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in of.items())
    return f"<dl>{rows}</dl>"
