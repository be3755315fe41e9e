"""`secagg stats --report`: a page that needs nothing else and tells nothing that the analyst is not told."""

import csv
import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from protocols.cli.app import app
from protocols.cli.stats_report import interval_of, report_page
from protocols.cli.stats_tables import show_stats
from protocols.simulation.queried import ask_sites
from protocols.statistics import (
    Levels,
    Number,
    Query,
    ReleasePolicy,
    Rule,
    Site,
    SitePolicy,
    Where,
    asked,
    even_edges,
)
from protocols.statistics.grids import WORDS, grids_of
from tests.command_line import separating_runner

RARE = "<script>alert('rare')</script>&"
COLUMNS = (
    Number("age", 0, 120, edges=even_edges(0, 120, 12)),
    Number("pressure", 40, 260),
    Number("months", 0, 48, edges=even_edges(0, 48, 8)),
    Levels("ward", ("heart", "lung", RARE)),
    Levels("sex", ("f", "m")),
    Levels("arm", ("drug", "placebo")),
    Levels("end", ("died", "seen")),
)
OPEN = SitePolicy(columns={column.name for column in COLUMNS}, least_difference=1, max_cells_fraction=1)


def table(at, n=80):
    rng = np.random.default_rng(at)
    return {
        "age": np.where(rng.random(n) < 0.05, np.nan, rng.uniform(20, 100, n)),
        "pressure": rng.normal(130, 15, n),
        "months": rng.exponential(20, n),
        "ward": np.array([*rng.choice(["heart", "lung"], n - 1), RARE if at < 2 else "heart"], dtype=object),
        "sex": rng.choice(["f", "m"], n).astype(object),
        "arm": rng.choice(["drug", "placebo"], n).astype(object),
        "end": rng.choice(["died", "seen"], n).astype(object),
    }


def answer(*statistics, **query):
    question = Query("admissions <b>", COLUMNS, statistics, **query)
    sites = {f"site-{at}": Site(table(at), OPEN, question.dataset, None) for at in range(7)}
    return question, ask_sites(question, sites, ReleasePolicy(min_cell=5))


EVERY_FORM = (
    asked("count"),
    asked("mean", "age"),
    asked("deviation", "age"),
    asked("correlation", "age", "pressure"),
    asked("missing", "age"),
    asked("histogram", "age"),
    asked("ecdf", "age"),
    asked("quantiles", "age", quantiles=(0.25, 0.5)),
    asked("table", "ward", "sex"),
    asked("frequencies", "sex"),
    asked("association", "sex", "arm"),
    asked("t-test", "pressure", "sex"),
    asked("anova", "pressure", "arm"),
    asked("linear", "pressure", "age"),
    asked("survival", "months", "end", "arm"),
    asked("approval", "sex", "arm"),
    asked("consensus", "sex", share=0.4),
)


@pytest.fixture(scope="module")
def shown():
    """Each by itself, since together they would tell of few rows, and be hidden: the page shows them as one answer."""
    where = (Where("pressure", "ge", 60.0),)
    apart = [answer(one, where=where)[1] for one in EVERY_FORM]
    findings = tuple(finding for each in apart for finding in each.answer.findings)
    question = Query("admissions <b>", COLUMNS, EVERY_FORM, where)
    found = replace(apart[0], answer=replace(apart[0].answer, digest=question.digest, findings=findings))
    return question, found, report_page(question, found, ["ward"])


def test_the_page_needs_nothing_else(shown):
    page = shown[2]
    assert not re.search(r"<script|<link|<img|src=|url\(|@import|https?:|\son\w+=", page)
    assert page.count("<html") == page.count("</html>") == 1
    assert "prefers-color-scheme: dark" in page


def test_names_and_levels_are_escaped(shown):
    page = shown[2]
    assert RARE not in page
    assert "admissions <b>" not in page
    assert "&lt;script&gt;" in page


def test_it_says_what_was_asked_of_whom_and_what_is_hidden(shown):
    question, found, page = shown
    assert f"{found.answer.sites} sites, {found.answer.records:,} records" in page
    assert question.digest.hex() in page
    assert "rows with pressure ≥ 60.0" in page
    assert "(read from the files)" in page
    assert "Counts from 1 to 4 are hidden" in page
    given = [each.suppressed for each in found.answer.findings]
    rules = [rule for each in given for rule in (each.values() if isinstance(each, dict) else [each])]
    assert rules.count("cell")
    assert f"<b>cell</b>, in {rules.count('cell')} places" in page
    assert "Every sum is that of the pooled rows" in page
    assert "NOT THOSE OF THE POOLED ROWS" in report_page(question, replace(found, exact=False))


def test_every_form_has_its_picture_and_its_words(shown):
    page = shown[2]
    labels = re.findall(r'aria-label="(\w[\w-]*) of', page)
    drawn = ["missing", "histogram", "ecdf", "quantiles", "frequencies", "t-test", "linear", "survival", "approval"]
    assert labels == drawn
    assert page.count("<svg") == page.count("<figcaption>") == len(drawn)
    assert 'class="hot h9"' in page


def test_hidden_counts_are_nowhere_on_the_page(shown):
    _, found, page = shown
    (table_found,) = (each for each in found.answer.findings if each.statistic == "table")
    (grid,) = grids_of(table_found.value)
    gone = sum(row.count(None) for row in grid.rows)
    assert gone >= 3
    section = page[page.index("table of ward, sex") : page.index("frequencies of sex")]
    assert section.count(">hidden<") == gone


def test_no_number_of_a_single_site_is_on_the_page(shown):
    page = shown[2]
    for at in range(7):
        assert f"site-{at}" not in page
        assert f"{np.nanmean(table(at)['age']):.6g}" not in page


def test_groups_are_a_forest_with_intervals_and_bars():
    question, found = answer(
        asked("count"), asked("mean", "age"), asked("deviation", "age"), asked("histogram", "age"), group_by="sex"
    )
    page = report_page(question, found)
    for title in ("count of rows", "mean of age"):
        assert f'aria-label="{title}.' in page
    assert page.count('aria-label="histogram of age | ') == 4
    mean = next(each for each in found.answer.findings if (each.statistic, each.group) == ("mean", "f"))
    low, high = interval_of(mean, found.answer.findings)
    ages = np.concatenate([table(at)["age"][table(at)["sex"] == "f"] for at in range(7)])
    ages = ages[~np.isnan(ages)]
    reach = 1.965 * ages.std(ddof=1) / np.sqrt(len(ages))
    assert (low, high) == pytest.approx((ages.mean() - reach, ages.mean() + reach), abs=0.05)
    assert interval_of(mean, [mean]) is None
    assert f"{low:.5g} to {high:.5g}" in page


def test_several_correlations_share_a_picture():
    pairs = [("age", "pressure"), ("age", "months"), ("pressure", "months")]
    page = report_page(*answer(*(asked("correlation", *pair) for pair in pairs)))
    assert page.count("<svg") == 1
    assert 'aria-label="correlation of pairs.' in page


def test_many_correlations_are_a_matrix():
    columns = tuple(Number(f"x{at}", -5, 5) for at in range(7))
    pairs = list(combinations([column.name for column in columns], 2))
    question = Query("many", columns, tuple(asked("correlation", *pair) for pair in pairs))
    rng = np.random.default_rng(3)
    policy = SitePolicy(columns={column.name for column in columns})
    sites = {
        f"site-{at}": Site({each.name: rng.normal(size=60) for each in columns}, policy, "many", None)
        for at in range(5)
    }
    page = report_page(question, ask_sites(question, sites))
    assert page.count("<rect") == len(pairs)


def test_a_question_of_many_is_told_in_few_words():
    shares = [asked("quantiles", "age", quantiles=(at / 100,)) for at in range(1, 40)]
    page = report_page(*answer(*shares))
    assert "and 36 more" in page


def test_all_is_hidden_where_there_are_too_few_sites():
    question = Query("admissions <b>", COLUMNS, EVERY_FORM)
    sites = {f"site-{at}": Site(table(at), OPEN, question.dataset, None) for at in range(2)}
    page = report_page(question, ask_sites(question, sites, ReleasePolicy(min_sites=3)))
    assert "how many records is hidden" in page
    assert "<svg" not in page


def test_every_form_fits_a_terminal(shown, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    show_stats(shown[1])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    (age,) = (line for line in lines if re.match(r"age +[-\d.]+ +[-\d.e]+ +[\d.]+ +", line))
    assert re.search(r"-?[\d.]+ to -?[\d.]+ +[\d.]+$", age)  # an interval in one line


def test_every_rule_has_its_words():
    assert WORDS.keys() == {str(rule) for rule in Rule}


def test_the_command_writes_it(tmp_path):
    for at in range(5):
        with (tmp_path / f"clinic-{at}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["age", "sex"])
            writer.writerows(zip(table(at)["pressure"], table(at)["sex"], strict=True))
    page = tmp_path / "page.html"
    given = ["stats", "--data", str(tmp_path / "*.csv"), "--mean", "age", "--bounds", "age:0:300", "--report"]
    outcome = separating_runner().invoke(app, [*given, str(page)])
    assert (outcome.exit_code, str(page) in outcome.stdout) == (0, True)
    assert "5 sites, 400 records" in page.read_text()
    for place, words in ((tmp_path, "that is a folder"), (tmp_path / "new" / "page.html", "there is no folder")):
        outcome = separating_runner().invoke(app, [*given, str(place)])
        assert (outcome.exit_code, words in outcome.stderr) == (2, True)
    assert not (tmp_path / "new").exists()
