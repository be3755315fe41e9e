"""The frame of every page: banner, look, the one script, and what the page forbids a browser."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from ...reporting import page, tables
from ...reporting.words import moment

_LOOK = """
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: .3rem; background: var(--page); }
header { border-bottom: 1px solid var(--line); background: var(--panel); }
header > div { max-width: 68rem; margin: 0 auto; padding: .7rem 1.5rem; display: flex; flex-wrap: wrap;
  align-items: center; gap: .4rem 1.4rem; }
header .brand { font-weight: 700; } header nav { display: flex; gap: 1.1rem; flex: 1; }
header nav a[aria-current] { color: var(--ink); font-weight: 600; text-decoration: none; }
small { font-weight: 400; } form.line > div { min-width: 0; max-width: 100%; }
#status.heard { position: absolute; left: -99rem; }
#status { margin: 0; color: var(--dim); font-size: .87rem; max-width: 68rem; margin: 0 auto; padding: .5rem 1.5rem 0; }
a { color: var(--accent); text-underline-offset: .15em; } main { padding-top: 1rem; }
a:focus-visible, button:focus-visible, input:focus-visible, summary:focus-visible, .scroll:focus-visible {
  outline: 3px solid var(--accent); outline-offset: 2px; }
h1 { margin-bottom: .3rem; overflow-wrap: anywhere; } h2 { margin-top: 2rem; } h3 { overflow-wrap: anywhere; }
.badge { display: inline-block; border: 1px solid currentColor; border-radius: 1rem; padding: 0 .65rem;
  font-size: .8rem; font-weight: 600; white-space: nowrap; vertical-align: middle; }
.badge + strong { margin-left: .3rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .idle { color: var(--idle); } .dim { color: var(--dim); }
.live { color: var(--accent); }
.lead { color: var(--dim); margin: 0 0 1rem; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); gap: 1rem; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .9rem 1.1rem; background: var(--panel); }
section.card + section.card { margin-top: 1rem; }
.card h3 { margin: 0 0 .3rem; font-size: 1.02rem; } .card p { margin: .35rem 0; }
.card.verdict { border-left: .4rem solid var(--idle); } .card.verdict.was-good { border-left-color: var(--good); }
.card.verdict.was-bad { border-left-color: var(--bad); } .card.verdict.was-live { border-left-color: var(--accent); }
.card.verdict strong { font-size: 1.1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .8rem; margin: 1rem 0; }
.tiles div { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .9rem; background: var(--panel); }
.tiles dt { font-size: .85rem; } .tiles dd { font-size: 1.5rem; font-weight: 600; line-height: 1.25; }
.tiles { grid-auto-rows: 1fr; }
.bar { display: block; width: 100%; height: .8rem; border-radius: .4rem; overflow: hidden; margin: .35rem 0; }
.bar .track { fill: var(--line); } .bar .mark { stroke: var(--ink); stroke-width: 2; }
.bar .fill-good { fill: var(--good); } .bar .fill-bad { fill: var(--bad); } .bar .fill-live { fill: var(--accent); }
.bar .fill-idle { fill: var(--idle); }
.row { display: flex; align-items: baseline; flex-wrap: wrap; justify-content: space-between; gap: .1rem 1rem; }
ol.phases { list-style: none; margin: .6rem 0 0; padding: 0; }
ol.phases > li { border-left: 3px solid var(--line); padding: 0 0 1.1rem 1.2rem; position: relative; }
ol.phases > li:last-child { padding-bottom: 0; }
ol.phases > li::before { content: ""; position: absolute; left: -.5rem; top: .3rem; width: .8rem; height: .8rem;
  border-radius: 50%; background: var(--page); border: 3px solid var(--line); box-sizing: border-box; }
ol.phases > li.was-good { border-left-color: var(--good); }
ol.phases > li.was-good::before { background: var(--good); border-color: var(--good); }
ol.phases > li.was-bad::before { background: var(--bad); border-color: var(--bad); }
ol.phases > li.was-live::before { background: var(--accent); border-color: var(--accent); }
ol.phases h3 { margin: 0; font-size: 1rem; } ol.phases p { margin: .15rem 0; }
ul.names { list-style: none; margin: .3rem 0; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem .4rem; }
ul.names li { border: 1px solid var(--line); border-radius: .3rem; padding: 0 .5rem; font-size: .87rem;
  background: var(--page); overflow-wrap: anywhere; }
ul.names li.more { border: 0; background: none; color: var(--dim); }
footer { max-width: 68rem; margin: 0 auto; padding: 0 1.5rem 2rem; color: var(--dim); font-size: .85rem; }
details { margin: .4rem 0; } summary { cursor: pointer; color: var(--accent); }
table.list td { overflow-wrap: anywhere; } td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
form { margin: 0; } form.line { display: flex; flex-wrap: wrap; gap: .5rem; align-items: end; }
label { display: block; font-size: .87rem; color: var(--dim); } header label { position: absolute; left: -99rem; }
input { font: inherit; color: var(--ink); background: var(--page); border: 1px solid var(--dim); border-radius: .3rem;
  padding: .3rem .5rem; max-width: 100%; min-width: 0; }
button { font: inherit; font-weight: 600; color: var(--ink); background: var(--page); border: 1px solid var(--dim);
  border-radius: .3rem; padding: .3rem .9rem; cursor: pointer; min-height: 2.2rem; }
button.danger { color: var(--bad); border-color: var(--bad); }
button:hover { background: var(--panel); border-color: var(--ink); }
.told { border-left: .3rem solid var(--bad); padding: .4rem .9rem; background: var(--panel); }
@media (max-width: 45rem) { header > div, #status, footer { padding-left: .8rem; padding-right: .8rem; }
  table.list td[data-name]::before { content: attr(data-name) ": "; color: var(--dim); }
  table.list td:empty { display: none; } table.list td:first-child { font-weight: 600; }
  .tiles { grid-template-columns: repeat(2, 1fr); } }
@media (prefers-reduced-motion: no-preference) {
  ol.phases > li.was-live::before { animation: pulse 2s ease-in-out infinite; }
  @keyframes pulse { 50% { opacity: .4; } } }
@media print { header form, form { display: none; } }
"""
STYLE = page.DARK + tables.STYLE + _LOOK

SCRIPT = """
(() => {
  "use strict";
  const seconds = 2, status = document.getElementById("status");
  let last = document.querySelector("main").innerHTML, failed = 0;
  const open = () => new Set([...document.querySelectorAll("details[open][id]")].map((each) => each.id));
  let held = 0; // since when something is pressed, which must not be replaced before it is let go
  addEventListener("pointerdown", () => { held = Date.now(); }, true);
  for (const over of ["pointerup", "pointercancel"]) addEventListener(over, () => { held = 0; }, true);
  const typing = () => document.activeElement && document.activeElement.closest("main form");
  const busy = () => Date.now() - held < 3000 || typing();
  const place = () => {
    const within = document.activeElement && document.activeElement.closest("main");
    const all = [...document.querySelectorAll("main a, main summary, main button, main .scroll")];
    return within ? all.indexOf(document.activeElement) : -1;
  };
  async function refresh() {
    if (document.hidden || busy()) return true;
    const reply = await fetch(location.href, { cache: "no-store", credentials: "same-origin", redirect: "error" });
    if (!reply.ok) throw new Error(reply.status);
    const next = new DOMParser().parseFromString(await reply.text(), "text/html");
    const main = next.querySelector("main"), told = next.getElementById("status");
    if (busy()) return true;
    if (main.innerHTML !== last) {
      last = main.innerHTML;
      const were = open(), focused = place(), y = window.scrollY;
      document.querySelector("main").replaceChildren(...main.childNodes);
      for (const id of were) { const each = document.getElementById(id); if (each) each.open = true; }
      const all = document.querySelectorAll("main a, main summary, main button, main .scroll");
      if (focused >= 0 && all[focused]) all[focused].focus({ preventScroll: true });
      window.scrollTo(0, y);
      document.title = next.title;
    }
    status.classList.add("heard");
    if (told.textContent !== status.textContent) status.textContent = told.textContent;
    document.querySelector("footer time").textContent = next.querySelector("footer time").textContent;
    return told.hasAttribute("data-live");
  }
  async function loop() {
    let go = true;
    try { go = await refresh(); failed = 0; }
    catch {
      failed += 1;
      status.classList.remove("heard");
      status.textContent = "The service does not answer. This page tries again.";
    }
    if (go) setTimeout(loop, 1000 * Math.min(30, seconds * 2 ** Math.max(0, failed - 1)));
  }
  if (status.hasAttribute("data-live")) setTimeout(loop, 1000 * seconds);
})();
"""
"""Asks for the page again every two seconds, and puts in what has changed. Without it a browser reloads the page."""

_ICON = (
    "data:image/svg+xml;base64,"
    + base64.b64encode(
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
        b'<rect width="32" height="32" rx="7" fill="#2b6aa3"/>'
        b'<path d="M22 9H10l7 7-7 7h12" fill="none" stroke="#fff" stroke-width="3" stroke-linejoin="round"/></svg>'
    ).decode()
)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {_hash(page.styled(STYLE))}; script-src {_hash(SCRIPT)}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Sent with every page: a browser runs the one script, takes the one style, and asks nobody else for anything."""


@dataclass(frozen=True)
class Reader:
    """Who looks at a page, and when.

    Attributes:
        now: seconds since 1970.
        service: what the banner calls this service or participant.
        signed_in: whether the token was shown.
        may_sign_in: whether there is a token at all.
        told: a sentence about what was just tried; empty for none.
    """

    now: float
    service: str = ""
    signed_in: bool = False
    may_sign_in: bool = False
    told: str = ""


def framed(
    title: str,
    body: str,
    reader: Reader,
    *,
    status: str,
    links: Iterable[tuple[str, str]] = (),
    here: str = "",
    live: bool = True,
) -> str:
    """Return a whole page.

    Args:
        title: plain text.
        body: HTML of the main part.
        reader: who looks at it.
        status: how things stand, in a sentence that is read aloud when it changes.
        links: name and address of other pages.
        here: the address of this one among them.
        live: whether more can happen.
    """
    entries = "".join(
        f'<a href="{escape(address)}"{" aria-current=page" if address == here else ""}>{escape(name)}</a>'
        for name, address in links
    )
    navigation = f'<nav aria-label="Pages">{entries}</nav>' if entries else "<nav hidden></nav>"
    banner = (
        f'<a class="skip" href="#main">To the content</a><header><div>'
        f'<span class="brand">{escape(reader.service or "secagg")}</span>{navigation}{_sign_in(reader, here)}'
        "</div></header>"
        f'<p id="status" class="heard" role="status"{" data-live" if live else ""}>{escape(status)}</p>'
    )
    told = f'<p class="told" role="alert">{escape(reader.told)}</p>' if reader.told else ""
    head = f'<link rel="icon" href="{_ICON}"><meta name="color-scheme" content="light dark">' + (
        '<noscript><meta http-equiv="refresh" content="5"></noscript>' if live else ""
    )
    at = moment(reader.now)
    after = (
        f'<footer>As of <time datetime="{at[:10]}T{at[11:19]}Z">{at}</time>. No value, key or token of anybody is on '
        f"this page.</footer><script>{SCRIPT}</script>"
    )
    return page.document(title, told + body, STYLE, head=head, before=banner, after=after)


def _sign_in(reader: Reader, here: str) -> str:
    back = f'<input type="hidden" name="back" value="{escape(here)}">'
    if reader.signed_in:
        return f'<form method="post" action="/sign-out">{back}<button>Sign out</button></form>'
    if not reader.may_sign_in:
        return ""
    return (
        '<form class="line" method="post" action="/sign-in"><label for="token">Token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password" placeholder="Token" required '
        f'size="12">{back}<button>Sign in</button></form>'
    )


def badge(text: str, tone: str) -> str:
    """Return a word in a frame; `tone` is good, bad, idle, live or dim."""
    return f'<span class="badge {tone}">{escape(text)}</span>'


def bar(share: float, tone: str, told: str, mark: float | None = None) -> str:
    """Return a bar that is filled up to a share.

    Args:
        share: 0 to 1.
        tone: good, bad, idle or live.
        told: what it shows, for those who do not see it.
        mark: where a line crosses it, 0 to 1; None for none.
    """
    line = ""
    if mark is not None:
        x = min(99.6, max(0.4, 100 * mark))
        line = f'<line class="mark" x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="8" vector-effect="non-scaling-stroke"/>'
    width = 100 * min(1.0, max(0.0, share))
    return (
        f'<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{escape(told)}">'
        f'<rect class="track" width="100" height="8"/><rect class="fill-{tone}" width="{width:.2f}" height="8"/>{line}'
        f"</svg>"
    )


MOST_NAMES = 60


def names(of: Iterable[str], most: int = MOST_NAMES) -> str:
    """Return names in a row, and how many more there are."""
    found = sorted(of)
    listed = "".join(f"<li>{escape(each)}</li>" for each in found[:most])
    more = f'<li class="more">and {len(found) - most:,} more</li>' if len(found) > most else ""
    return f'<ul class="names">{listed}{more}</ul>' if found else ""


def listing(head: Iterable[str], rows: Iterable[Iterable[str]], caption: str = "") -> str:
    """Return a table for people, which on a phone becomes a list.

    Args:
        head: names of columns, plain text.
        rows: cells, HTML.
        caption: of what it is, for those who hear it.
    """
    titles = list(head)
    top = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-name="{escape(title)}">{cell}</td>' if place else f"<td>{cell}</td>"
            for place, (title, cell) in enumerate(zip(titles, row, strict=True))
        )
        + "</tr>"
        for row in rows
    )
    called = f' aria-label="{escape(caption)}"' if caption else ""
    return f'<table class="list"{called}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
