"""The comparison's report, from results that are made up, as browsers and repositories meet it."""

from __future__ import annotations

import base64
import json
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench.suite import plots, report, tables
from bench.suite.findings import Curve, Finding, Line, Ratio, Rival, Row, number
from bench.suite.parts import PARTS, chosen
from bench.suite.results import PartResult, Results

SVG = "{http://www.w3.org/2000/svg}"
CURVE = Curve(
    "over-clients",
    "a <curve>",
    "clients",
    "seconds",
    {"ours": [(10.0, 0.01), (1000.0, 1.0)], "a peer": [(10.0, 0.011), (1000.0, 1.01)], "nobody": []},
)


PEER = Rival("Peer & Co", 2.0, Ratio(4.0, 3.5, 4.5), "scaled")


def results(**more: Any) -> Results:
    finding = Finding("x", "a <b>title</b>", notes=["a note with | in it"], curves=[CURVE])
    finding.add("a figure", 3.25, "s", asked="under 4 s", met=True, lowest=3.0, highest=3.5)
    finding.rows = [
        Row(
            "faster",
            "s",
            0.5,
            Rival("Peer & Co", 2.0, Ratio(4.0, 3.5, 4.5), "scaled"),
            Rival("AES", 0.25, Ratio.plain(2.0)),
        ),
        Row("slower | here", "s", 0.0005, Rival("Swift", 0.00025, Ratio.plain(0.5))),
        Row("alone", "bytes", 1_500_000, Rival("Absent", note="pip: <no network>")),
        Row("no rival at all", "bytes", 120),
    ]
    parts = [
        PartResult("one", "2026-01-01T10:00:00+00:00", 60.0, "0.10 0.20 0.30", [finding]),
        PartResult("two", "2026-01-02T10:00:00+00:00", 30.0, "1.00 1.00 1.00", [], "AssertionError: wrong\nand more"),
    ]
    facts = {
        "scale": "full",
        "machine": {"processor": "A <fast> one"},
        "versions": {"secagg": "1.2.3"},
        "commit": "abc",
    }
    return Results(**(facts | {"parts": parts} | more))


class Reader(HTMLParser):
    """What a browser sees: text, and tags that are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (2.5, "s", "2.5 s"),
        (0.0025, "s", "2.5 ms"),
        (2.5e-6, "s", "2.5 µs"),
        (2.5e-9, "s", "0.0025 µs"),
        (0.0, "s", "0 µs"),
        (1234.5, "s", "1,234 s"),
        (999, "bytes", "999 bytes"),
        (3.76, "bytes", "3.76 bytes"),
        (332_379, "bytes", "332 kB"),
        (2_500_000_000, "bytes", "2.5 GB"),
        (7.25, "GB/s", "7.25 GB/s"),
    ],
)
def test_amounts_are_told_in_units_that_suit_them(value: float, unit: str, shown: str) -> None:
    assert tables.amount(value, unit) == shown


def test_numbers_keep_three_digits() -> None:
    assert [number(value) for value in (0.123456, 12.3456, 123456.7, 1234567)] == [
        "0.123",
        "12.3",
        "123,457",
        "1,234,567",
    ]


def test_lines_tell_their_range_and_verdict() -> None:
    line = Line("what", 1.5, "s", "under 1 s", False, 1.0, 2.0)
    assert (line.figure, line.verdict) == ("1.5 s  (1 to 2)", "NOT met")
    assert Line("what", False).figure == "NO"
    assert (Line("what", 3).figure, Line("what", 3).verdict) == ("3", "")


def test_the_table_has_ours_peer_and_limit() -> None:
    faster, slower, alone, unrivalled = map(tables.cells, results().rows)
    assert faster == ("faster", "500 ms", "Peer & Co: 2 s", "4x (3.5 to 4.5)", "AES: 250 ms", "2x")
    assert slower[1:] == ("500 µs", "Swift: 250 µs", "0.5x", "—", "—")
    assert alone[1:4] == ("1.5 MB", "Absent: not to be had", "—")
    assert unrivalled[1:] == ("120 bytes", "—", "—", "—", "—")


def test_a_figure_refers_to_its_own_note_and_others_of_that_peer_do_not() -> None:
    rows = [Row(what, "s", 1.0, Rival("P", 2.0, Ratio.plain(2.0), note)) for what, note in (("x", "scaled"), ("y", ""))]
    shown = results(parts=[PartResult("one", "2026-01-01T10:00:00+00:00", 1.0, "0 0 0", [Finding("x", "", rows=rows)])])
    assert [tables.cells(row, tables.noted(shown))[2] for row in rows] == ["P: 2 s [1]", "P: 2 s"]
    assert tables.remarks(shown) == ["[1] P: scaled"]
    assert "| P: 2 s [1] |" in report.markdown(shown, {})


def test_the_brief_table_fits_a_terminal_and_loses_no_row() -> None:
    peer, limit = (
        Rival("Flower 1.41 SecAgg+", 2.0, Ratio(1207.0, 320.0, 1246.0), "scaled"),
        Rival("AES", 1.0, note="so"),
    )
    limit.ratio = Ratio(0.967, 0.829, 4.13)
    names = ("500 clients: a", "500 clients: " + "long " * 9, "alone: with a colon", "plain", "plain", "wide " * 12)
    rows = [Row(name, "s", 0.0226, peer, limit) for name in names] + [Row("none", "s", None, Rival("absent"))]
    shown = results(parts=[PartResult("one", "2026-01-01T10:00:00+00:00", 1.0, "0 0 0", [Finding("x", "", rows=rows)])])
    lines = tables.brief(shown, 80)
    assert max(map(len, lines)) <= 80
    figures = "22.6 ms  1,207x  Flower 1.41 SecAgg+ [1]  0.967x [2]"
    assert sum(line.endswith(figures) for line in lines) == len(names)
    assert lines[1:3] == ["500 clients", lines[2]]
    assert lines[2].startswith("  a ")
    assert lines.count("500 clients") == lines.count("plain") == lines.count("alone: with a colon") == 1
    assert lines[-1].split() == ["—", "—", "absent", "—"]


def test_the_page_says_which_command_made_it() -> None:
    every = [PartResult(part.name, "2026-01-01T10:00:00+00:00", 1.0, "0 0 0") for part in chosen((), quick=True)]
    assert "`python -m bench.suite --quick`," in report.markdown(results(parts=every, scale="quick"), {})
    assert "`python -m bench.suite --quick --only round`," in report.markdown(
        results(parts=every[:1], scale="quick"), {}
    )


def test_what_is_absent_scaled_or_failed_is_told_once() -> None:
    assert tables.remarks(results()) == [
        "[1] Peer & Co: scaled",
        "not to be had here: Absent: pip: <no network>",
        "two failed, and is left out: AssertionError: wrong",
    ]


def test_the_head_tells_when_and_on_what() -> None:
    head = tables.head(results())
    assert head["measured"] == "2026-01-01 10:00 UTC to 2026-01-02 10:00 UTC, 1.5 minutes"
    assert (head["commit"], head["sizes"]) == ("abc", "full")
    assert head["load before"] == "0.10 0.20 0.30; over all parts 0.10 to 1.00 in a minute"
    assert tables.head(results(parts=results().parts[:1]))["load before"] == "0.10 0.20 0.30"
    assert head["processor"] == "A <fast> one"
    nothing = tables.head(results(parts=[], commit="", scale="quick"))
    assert nothing["measured"].startswith("never")
    assert "commit" not in nothing
    assert nothing["sizes"].startswith("quick")


def test_markdown_refers_to_pictures_that_are_written(tmp_path: Path) -> None:
    written = report.write(results(), tmp_path / "deep")
    text = (tmp_path / "deep/REPORT.md").read_text()
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", text)
    assert ET.fromstring((tmp_path / "deep" / picture).read_bytes()).tag == f"{SVG}svg"  # noqa: S314 - our own
    assert {path.name for path in written} == {"REPORT.md", "report.html", "report.json", "over-clients.svg"}
    assert "| slower \\| here | 500 µs |" in text
    assert "![seconds over clients: a &lt;curve>](" in text
    assert "### a <b>title</b>\n" in text, "no letter of the file's own"
    table = [line for line in text.splitlines() if line.startswith(("| faster", "| slower", "| alone", "| no rival"))]
    assert all(len(re.split(r"(?<!\\)\|", line)) == len(tables.HEADINGS) + 2 for line in table)
    assert len(table) == 4
    facts = json.loads((tmp_path / "deep/report/report.json").read_text())
    assert facts["parts"][0]["findings"][0]["rows"][0]["peer"]["ratio"]["median"] == 4.0
    assert facts["parts"][1]["failure"].startswith("AssertionError")


def test_the_page_needs_nothing_else_and_shows_strange_words_as_they_are() -> None:
    shown = results()
    page = report.html(shown, report.draw(shown))
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    for words in (
        "a <b>title</b>",
        "2 s [1]Peer & Co",
        "not to be hadAbsent",
        "pip: <no network>",
        "A <fast> one",
        "under 4 s",
        "met",
    ):
        assert words in reader.text
    assert "http://" not in re.sub(r'base64,[^"]*', "", page)
    assert "https://" not in page
    (picture,) = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)
    assert ET.fromstring(base64.b64decode(picture)).tag == f"{SVG}svg"  # noqa: S314 - our own
    assert page.count('class="better"') == 1
    assert "<code>python -m bench.suite --only one --only two</code>" in page
    assert page.count('class="worse"') == 1, "who loses is told, too"


def test_the_same_figures_give_the_same_picture_and_others_do_not() -> None:
    other = Curve(CURVE.name, CURVE.title, CURVE.across, CURVE.up, {"ours": [(10.0, 0.02), (1000.0, 1.0)]})
    assert plots.svg(CURVE) == plots.svg(CURVE)
    assert plots.svg(CURVE) != plots.svg(other)
    plots.svg(Curve("linear", "from nought", "%", "seconds", {"ours": [(0.0, 0.01), (10.0, 1.0)]}, log_across=False))


def test_names_at_lines_ends_do_not_lie_on_one_another() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    plots._draw(figure, CURVE)
    (axes,) = figure.get_axes()
    places = sorted(text.xy[1] for text in axes.texts)
    assert [text.get_text() for text in axes.texts] == ["ours", "a peer"]
    assert all(later - earlier >= 0.99 * plots._ROOM for earlier, later in pairwise(places))
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("clients", "seconds")


def test_without_matplotlib_the_report_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    report.write(results(), tmp_path)
    page = (tmp_path / "report/report.html").read_text()
    assert "plots need matplotlib" in page
    assert "<img" not in page
    assert "![" not in (tmp_path / "REPORT.md").read_text()


def test_a_quick_comparison_says_what_it_leaves_out() -> None:
    left = {part.name for part in PARTS} - {part.name for part in chosen([], quick=True)}
    assert left == {"flower"}
    assert "left out of quick comparisons: flower" in tables.remarks(results(scale="quick"))
    assert not any("left out of" in remark for remark in tables.remarks(results()))
