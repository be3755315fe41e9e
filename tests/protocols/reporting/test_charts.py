"""Charts: well-formed, within their frame, and nothing of what is hidden is drawn as if it were there."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.reporting import charts
from protocols.reporting.charts import Line, Reach

FINITE = st.floats(-1e9, 1e9, allow_nan=False)
NASTY = "</svg><script>alert(1)</script>&\"'"


def parsed(figure):
    root = ET.fromstring(figure)  # noqa: S314 - our own text
    assert root.tag == "figure"
    return root


def of_class(figure, name):
    return [each for each in parsed(figure).iter() if name in each.get("class", "").split()]


def test_bars_are_as_high_as_counts_and_hidden_ones_are_fields():
    drawn = charts.histogram("stay", "rows", [0, 1, 2, 3], [10, None, 5], "days")
    first, second = of_class(drawn, "bar")
    assert float(first.get("height")) == pytest.approx(2 * float(second.get("height")), rel=0.01)
    (gone,) = of_class(drawn, "gone")
    assert gone.get("height") == first.get("height")  # which tells nothing


def test_bins_of_several_widths_are_drawn_by_their_area():
    narrow, wide = of_class(charts.histogram("stay", "", [0, 1, 4], [10, 30], "days"), "bar")
    assert narrow.get("height") == wide.get("height")


def test_a_curve_has_a_gap_where_shares_are_hidden_and_a_band_where_there_is_one():
    gap = charts.curves("ecdf", "", [Line("", [0, 1, 2, 3, 4], [0, 0.2, None, 0.9, 1])], "stay", "share")
    assert len(of_class(gap, "line")) == 2
    lines = [Line(name, [0, 1], [1.0, 0.5], [1.0, 0.4], [1.0, 0.6]) for name in ("drug", "placebo")]
    both = charts.curves("survival", "", lines, "months", "share")
    assert len(of_class(both, "band")) == 2
    assert {"drug", "placebo"} <= {each.text for each in parsed(both).iter("text")}
    (start, level, end) = re.findall(r"([\d.]+ [\d.]+)", of_class(gap, "line")[0].get("d"))
    assert start.split()[1] == level.split()[1]  # it stays, and then steps
    assert level.split()[0] == end.split()[0]


def test_a_forest_shows_zero_and_arrows_beyond_what_is_known():
    rows = [Reach("a", 1.0, -1.0, 3.0, "1"), Reach("b", None, None, 2.0, "below 2"), Reach("c", None, None, None, "-")]
    drawn = charts.forest("effects", "", rows, "mmHg")
    assert (len(of_class(drawn, "point")), len(of_class(drawn, "zero"))) == (1, 1)
    assert len([each for each in of_class(drawn, "reach") if each.tag == "path"]) == 1


def test_a_matrix_has_a_field_for_each_pair_and_its_sign():
    values = {("a", "b"): 0.5, ("c", "a"): -0.25, ("b", "c"): None}
    drawn = charts.matrix("correlation", "pairs", ["a", "b", "c", "d"], values)
    ((plus,), (minus,), (gone,)) = (of_class(drawn, name) for name in ("bar", "below", "gone"))
    assert (plus.get("opacity"), minus.get("opacity"), gone.get("opacity")) == ("0.50", "0.25", None)
    assert {"1 a", "4 d"} <= {each.text for each in parsed(drawn).iter("text")}
    many = [f"x{at}" for at in range(100)]
    assert (
        len(charts.matrix("correlation", "pairs", many, {(a, b): 0.1 for a in many for b in many if a < b})) < 600_000
    )


def test_names_are_escaped_and_cut():
    rows = [(NASTY * 10, 3), ("b", None)]
    for drawn in (
        charts.bars(NASTY, NASTY, rows),
        charts.forest(NASTY, NASTY, [Reach(NASTY, 1.0, 0.0, 2.0, "1")], NASTY),
        charts.histogram(NASTY, NASTY, [0, 1], [1], NASTY),
        charts.curves(NASTY, NASTY, [Line(NASTY, [0, 1], [0, 1])] * 2, NASTY, "share"),
    ):
        assert "<script" not in drawn
        assert max(len(each.text or "") for each in parsed(drawn).iter("text")) <= 52


def test_all_hidden_or_all_zero_can_be_drawn():
    for counts in ([None, None], [0, 0]):
        parsed(charts.histogram("x", "", [0, 1, 2], counts, "x"))
        parsed(charts.bars("x", "", list(zip("ab", counts, strict=True))))
    parsed(charts.forest("x", "", [Reach("a", None, None, None, "hidden")], "x"))


@given(FINITE, FINITE)
def test_ticks_are_few_and_within(low, high):
    low, high = sorted((low, high))
    found = charts.ticks(low, high)
    assert len(found) <= 12
    room = 1e-6 * max(abs(low), abs(high), 1e-300)
    assert all(low - room <= tick <= high + room for tick in found)


@given(st.lists(st.tuples(FINITE, FINITE, FINITE), min_size=1, max_size=5))
def test_what_a_forest_draws_is_in_its_frame(numbers):
    rows = [Reach("a", value, *sorted(ends), "told") for value, *ends in numbers]
    figure = charts.forest("x", "", rows, "x")
    for each in parsed(figure).iter():
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(each.get(name, "0")) <= charts.WIDTH
