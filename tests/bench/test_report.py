"""The comparison's table and report, from results that are made up."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.suite import plots, report
from bench.suite.findings import Curve, Finding, Line, PartResult, Ratio, Results, Rival, Row, number

CURVE = Curve("over-clients", "a <curve>", "clients", "seconds", {"ours": [(10.0, 0.01), (1000.0, 1.0)], "nobody": []})
NOW = "2026-01-01T10:00:00+00:00"


def results(*rows: Row, scale: str = "full", commit: str = "abc") -> Results:
    finding = Finding("a <b>title</b>", notes=["a note with | in it"], curves=[CURVE], rows=list(rows))
    finding.add("a figure", 3.25, "s", asked="under 4 s", met=True, lowest=3.0, highest=3.5)
    failed = PartResult("two", "2026-01-02T10:00:00+00:00", 30.0, "1.00 1.00 1.00", [], "AssertionError: wrong\nmore")
    return Results(scale, {"commit": commit}, [PartResult("one", NOW, 60.0, "0.10 0.20 0.30", [finding]), failed])


ROWS = (
    Row("faster", "s", 0.5, Rival("Peer", 2.0, Ratio(4.0, 3.5, 4.5), "scaled"), Rival("AES", 0.25, Ratio.of([2.0]))),
    Row("slower | here", "s", 0.0005, Rival("Peer", 0.00025, Ratio.of([0.5]))),
    Row("alone", "bytes", 1_500_000, Rival("Absent", note="pip: <no network>")),
    Row("no rival at all", "bytes", 120),
)


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
        (0.5, "bytes", "0.5 bytes"),
        (332_379, "bytes", "332 kB"),
        (2_500_000_000, "bytes", "2.5 GB"),
        (7.25, "GB/s", "7.25 GB/s"),
    ],
)
def test_amounts_are_told_in_units_that_suit_them(value: float, unit: str, shown: str) -> None:
    assert report.amount(value, unit) == shown


def test_figures_have_three_digits_a_range_and_a_verdict() -> None:
    shown = [number(value) for value in (0.123456, 12.3456, 123456.7, 1234567)]
    assert shown == ["0.123", "12.3", "123,457", "1,234,567"]
    line = Line("what", 1.5, "s", "under 1 s", False, 1.0, 2.0)
    assert (line.figure, line.verdict) == ("1.5 s  (1 to 2)", "NOT met")
    assert [Line("what", value).figure for value in (True, False, 3, "so")] == ["yes", "NO", "3", "so"]
    assert Line("what", 3).verdict == ""


def test_the_table_has_ours_peer_and_limit_and_a_figures_own_note() -> None:
    notes = report.noted(results(*ROWS))
    faster, slower, alone, unrivalled = (report.cells(row, notes) for row in ROWS)
    assert faster == ("faster", "500 ms", "Peer: 2 s [1]", "4x (3.5 to 4.5)", "AES: 250 ms", "2x")
    assert slower[1:] == ("500 µs", "Peer: 250 µs", "0.5x", "—", "—"), "no note of another figure"
    assert alone[1:4] == ("1.5 MB", "Absent: not to be had", "—")
    assert unrivalled[1:] == ("120 bytes", "—", "—", "—", "—")
    assert report.remarks(results(*ROWS, *ROWS)) == [
        "[1] Peer: scaled",
        "not to be had here: Absent: pip: <no network>",
        "two failed, and is left out: AssertionError: wrong",
    ]
    assert (
        report.remarks(results(scale="quick"))[0]
        == "left out of quick comparisons: large, flower, committee, statistics, ray, service"
    )


def test_the_terminals_table_fits_and_loses_no_row() -> None:
    limit = Rival("AES", 1.0, Ratio(0.967, 0.829, 4.13), "so")
    peer = Rival("Flower 1.41 SecAgg+", 2.0, Ratio(1207.0, 320.0, 1246.0), "scaled")
    rows = [Row(f"capability {i}", "s", 0.0226, peer, limit) for i in range(3)]
    lines = report.brief(results(*rows, Row("none", "s", None, Rival("absent"))))
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["ours", "better", "than", "/", "limit"]
    assert lines[1:3] == ["capability 0", "    22.6 ms  1,207x  Flower 1.41 SecAgg+ [1]  0.967x [2]"]
    assert lines[7:] == ["none", "    —        —       absent                   —"]


def test_the_head_tells_when_and_on_what() -> None:
    head = report.head(results())
    assert head["measured"] == "2026-01-01 10:00 to 2026-01-02 10:00 UTC, 1.5 minutes"
    assert (head["commit"], head["sizes"]) == ("abc", "full")
    assert head["load before"] == "one 0.10 0.20 0.30; two 1.00 1.00 1.00"
    assert report.head(Results("full", {}))["measured"] == "never"


def test_the_page_shows_all_of_it_and_pictures_that_are_written(tmp_path: Path) -> None:
    text = report.write(results(*ROWS), tmp_path / "deep").read_text()
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", text)
    assert ET.fromstring((tmp_path / "deep" / picture).read_bytes()).tag.endswith("}svg")  # noqa: S314 - our own
    assert "| slower \\| here | 500 µs |" in text
    assert "![seconds over clients: a &lt;curve>](" in text
    assert "| a figure | 3.25 s  (3 to 3.5) | under 4 s | met |" in text
    table = [line for line in text.splitlines() if line.startswith(("| faster", "| slower", "| alone", "| no rival"))]
    assert [len(re.split(r"(?<!\\)\|", line)) for line in table] == [len(report.HEADINGS) + 2] * len(ROWS)
    facts = json.loads((tmp_path / "deep/report/report.json").read_text())
    assert facts["parts"][0]["findings"][0]["rows"][0]["peer"]["ratio"]["median"] == 4.0
    assert facts["parts"][1]["failure"].startswith("AssertionError")


def test_the_same_figures_give_the_same_picture_and_others_do_not() -> None:
    other = Curve(CURVE.name, CURVE.title, CURVE.across, CURVE.up, {"ours": [(10.0, 0.02), (1000.0, 1.0)]})
    assert plots.svg(CURVE) == plots.svg(CURVE)
    assert plots.svg(CURVE) != plots.svg(other)
    plots.svg(Curve("linear", "from nought", "%", "seconds", {"ours": [(0.0, 0.01), (10.0, 1.0)]}, log_across=False))


def test_without_matplotlib_the_report_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    text = report.write(results(), tmp_path).read_text()
    assert "Plots need matplotlib" in text
    assert "![" not in text


def test_a_report_is_added_to_where_code_machine_and_scale_are_the_same(tmp_path: Path) -> None:
    nothing = Results("full", {"commit": "abc"})
    assert report.earlier(tmp_path, nothing) is nothing
    report.write(results(*ROWS), tmp_path)
    assert report.earlier(tmp_path, nothing) == results(*ROWS)
    for other in (Results("quick", {"commit": "abc"}), Results("full", {"commit": "abd"})):
        assert report.earlier(tmp_path, other) is other
    for unknown in ("unknown", "abc-dirty"):
        report.write(results(commit=unknown), tmp_path)
        assert not report.earlier(tmp_path, Results("full", {"commit": unknown})).parts
    for damaged in ("", "{}", '{"scale": 1}'):
        (tmp_path / "report/report.json").write_text(damaged)
        assert report.earlier(tmp_path, nothing) is nothing
