"""`secagg stats`: files of sites, a question, an answer that is held against the pooled rows."""

import csv
import json
import re
import sys

import numpy as np
import pyarrow as arrow
import pytest
from pyarrow import parquet

from protocols.cli.app import app
from protocols.cli.site_files import columns_of, read_tables
from protocols.simulation import queried, queried_privately
from protocols.statistics import Levels, Number, Query, ReleasePolicy, asked
from tests.command_line import separating_runner
from tests.documents import ROOT

runner = separating_runner()
QUERY = """
dataset = "clinics"
[columns.age]
lo = 0
hi = 120
bins = 6
[columns.sex]
levels = ["f", "m"]
[[statistics]]
kind = "mean"
columns = ["age"]
[[statistics]]
kind = "histogram"
columns = ["age"]
"""


GUIDE = (ROOT / "docs/guides/statistics.md").read_text()


def names_in(pattern):
    """What the guide names where it says this."""
    return set(re.findall(r"`(\w+)`", re.search(pattern, GUIDE, re.DOTALL | re.MULTILINE)[1]))


TABLE = GUIDE[GUIDE.index("| key |") :]
KEYS = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", TABLE[: TABLE.index("\n\n")], re.MULTILINE))))
RESULT = names_in(r"^\| `results` \| (.*?) \|$")


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(5)
    for at in range(7):
        with (tmp_path / f"clinic-{at}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["age", "weight", "sex", "smoker"])
            for _ in range(60):
                age = round(float(rng.uniform(1, 119)), 1)
                writer.writerow([age, round(40 + age / 3, 2), rng.choice(["f", "m"]), rng.choice(["yes", "no"])])
    return tmp_path


def run(folder, *arguments, code=0):
    outcome = runner.invoke(app, ["stats", "--data", str(folder / "*.csv"), *arguments])
    assert outcome.exit_code == code, outcome.output
    return outcome


def ages(folder, names):
    texts = [(folder / f"{name}.csv").read_text().splitlines() for name in names]
    return np.array([float(row["age"]) for lines in texts for row in csv.DictReader(lines)])


OPTIONS = ["--count", "--mean", "age", "--variance", "age", "--bounds", "age:0:120", "--bounds", "weight:20:200"]
OPTIONS += ["--histogram", "age:0:120:6", "--quantiles", "age:.25,.5", "--correlation", "age,weight"]
OPTIONS += ["--table", "sex,smoker", "--levels", "sex:f,m", "--levels", "smoker:no,yes", "--min-cell", "5"]


def test_facts_for_machines(folder):
    facts = json.loads(run(folder, *OPTIONS, "--json").stdout)
    age = ages(folder, [f"clinic-{at}" for at in range(7)])
    assert (facts["sites"], facts["records"], facts["exact"], facts["refused"]) == (7, 420, True, {})
    found = {each["statistic"]: each for each in facts["results"]}
    for each in facts["results"]:
        assert each.keys() | {"interval"} == RESULT
    assert facts.keys() == KEYS
    assert found["count"]["value"] == 420
    assert abs(found["mean"]["value"] - age.mean()) <= found["mean"]["error"] + 1e-9
    assert abs(found["variance"]["value"] - age.var(ddof=1)) <= found["variance"]["error"] + 1e-9
    assert found["histogram"]["value"]["counts"] == np.histogram(age, 6, (0, 120))[0].tolist()
    (low, high), _ = found["quantiles"]["value"]["brackets"]
    assert low <= np.quantile(age, 0.25) <= high
    assert sum(map(sum, found["table"]["value"]["counts"])) == 420
    assert found["correlation"]["value"] > 0.99
    assert facts["policy"] == vars(ReleasePolicy(min_cell=5))


def test_sites_that_vanish_are_not_in_the_answer(folder):
    facts = json.loads(run(folder, "--count", "--dropout", "0.29", "--json").stdout)
    assert (facts["sites"], facts["records"], facts["exact"]) == (5, 300, True)
    other = ["--drop-in", "unmasking=0.15", "--adversary", "curious-server"]
    assert json.loads(run(folder, "--count", *other, "--json").stdout)["sites"] == 7


def test_tables_for_people_are_80_columns_wide(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    printed = run(folder, *OPTIONS, "--ecdf", "age", "--missing", "age").stdout
    assert "7 sites, 420 records; all sums are equal to the pooled data's" in printed
    assert "[20, 40)" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_a_query_file_asks_the_same(folder):
    (folder / "query.toml").write_text(QUERY)
    facts = json.loads(run(folder, str(folder / "query.toml"), "--json").stdout)
    assert [each["statistic"] for each in facts["results"]] == ["mean", "histogram"]
    assert facts["exact"]


def test_groups_filters_and_small_cells(folder):
    given = ["--mean", "age", "--bounds", "age:0:120", "--group-by", "sex", "--levels", "sex:f,m"]
    facts = json.loads(run(folder, *given, "--where", "age < 100", "--json").stdout)
    assert [each["group"] for each in facts["results"]] == ["f", "m", "(other)", "(missing)"]
    facts = json.loads(run(folder, "--count", "--min-cell", "1000", "--group-by", "sex", "--json").stdout)
    assert {each["suppressed"] for each in facts["results"]} == {"records"}
    assert facts["levels_from_data"] == ["sex"]
    told = run(folder, "--count", "--min-sites", "8").stdout
    assert "hidden: sites: fewer sites are in the sum" in " ".join(told.split())


def test_explain_asks_nobody(folder, monkeypatch):
    monkeypatch.setattr("protocols.cli.stats.ask_sites", None)
    printed = run(folder, "--median", "age", "--bounds", "age:0:120", "--explain").stdout
    assert "clinic-3 refuses: disclosure: 32 cells are more than 30" in printed
    assert "Counts from 1 to 9 are hidden" in " ".join(printed.split())
    assert max(map(len, printed.splitlines())) <= 80
    facts = json.loads(run(folder, "--count", "--explain", "--json").stdout)
    assert facts["sites"]["clinic-0"].startswith("answers: 60 of 60 rows")


def test_another_sum_than_the_pooled_one_ends_with_4(folder, monkeypatch):
    monkeypatch.setattr(queried, "pooled", lambda plan, sites: {})
    assert not json.loads(run(folder, "--count", "--json", code=4).stdout)["exact"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "give a query file"),
        (["--mean", "age"], "--bounds age:LO:HI"),
        (["--mean", "age", "--bounds", "age:0"], "--bounds is 'age:0', but must be COL:LO:HI: 2 numbers"),
        (["--mean", "age", "--bounds", "age:a:b"], "numbers"),
        (["--mean", "height", "--bounds", "height:0:3"], "no file has a column 'height': there are 'age', 'weight'"),
        (["--table", "sex,colour"], "no file has a column 'colour'"),
        (["--count", "--explain", "--report", "page.html"], "--report is not read with --explain"),
        (["--mean", "sex", "--bounds", "sex:0:3"], "is no number"),
        (["--histogram", "age:0:120:6.5"], "bins"),
        (["--histogram", "age:0:120:inf"], "--histogram has '0,120,inf', but must have finite numbers"),
        (["--ecdf", "age", "--edges", "age:0:nan:6"], "--edges has '0,nan,6', but must have finite numbers"),
        (["--histogram", "age:0:120:6", "--edges", "age:0:120:7"], "twice"),
        (["--correlation", "age", "--bounds", "age:0:1"], "A,B"),
        (["--where", "age is 4", "--count", "--bounds", "age:0:1"], "COL OP VALUE"),
        (["--count", "--min-cell", "3", "--preset", "cms"], "give one"),
        (["--count", "--preset", "lax"], "cms, datashield"),
        (["--count", "--dropout", "0.9"], "dropout"),
        (["nowhere.toml"], "nowhere.toml"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_ends_with_2(folder, arguments, text):
    assert text in run(folder, *arguments, code=2).stderr


@pytest.mark.parametrize("content", ["", "age,age\n1,2\n", "age,sex\n1\n", 'age\n"1\n', b"\xff\n"], ids=repr)
def test_files_that_are_no_tables_end_with_2(folder, content):
    path = folder / "bad.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert "bad" in run(folder, "--count", code=2).stderr


def test_no_files_end_with_2(tmp_path):
    assert "no such file" in run(tmp_path, "--count", code=2).stderr


def test_a_file_that_lacks_a_column_is_named_and_left_out(folder):
    path = folder / "clinic-3.csv"
    path.write_text(path.read_text().replace("weight", "mass", 1))
    outcome = run(folder, "--mean", "weight", "--bounds", "weight:20:200", "--json")
    assert "clinic-3 has no column 'weight': there are 'age', 'mass', 'sex', 'smoker'" in outcome.stderr
    facts = json.loads(outcome.stdout)
    assert (facts["sites"], facts["refused"]) == (6, {"clinic-3": "another-schema"})


def test_parquet_files_answer_as_csv_files_do(folder):
    given = [*OPTIONS, "--missing", "age", "--json"]
    before = json.loads(run(folder, *given).stdout)
    for path in sorted(folder.glob("*.csv"))[::2]:  # some of both
        with path.open() as file:
            rows = list(csv.DictReader(file))
        columns = {name: [float(row[name]) for row in rows] for name in ("age", "weight")}
        columns |= {name: [row[name] for row in rows] for name in ("sex", "smoker")}
        parquet.write_table(arrow.table(columns), path.with_suffix(".parquet"))
        path.unlink()
    outcome = runner.invoke(app, ["stats", "--data", str(folder / "*"), *given])
    after = json.loads(outcome.stdout)
    assert after["exact"]
    assert after["results"] == before["results"]


def test_values_of_parquet_are_numbers_and_levels_and_null_is_missing(tmp_path):
    columns = {
        "whole": [1, None, 3],
        "real": [0.5, None, float("nan")],
        "text": ["a", None, "NA"],
        "yes": [True, False, None],
        "coded": [1.0, None, 2.0],
    }
    parquet.write_table(arrow.table(columns), tmp_path / "site.parquet")
    given = read_tables(str(tmp_path / "*"))["site"]
    numbers = tuple(Number(name, 0, 9) for name in ("whole", "real"))
    levels = tuple(Levels(name, ("1",)) for name in ("text", "yes", "coded"))
    found = columns_of("site", given, Query("data", numbers + levels, (asked("count"),)))
    np.testing.assert_array_equal(found["whole"], [1, np.nan, 3])
    np.testing.assert_array_equal(found["real"], [0.5, np.nan, np.nan])
    assert [found[name].tolist() for name in ("text", "yes", "coded")] == [
        ["a", "", ""],
        ["true", "false", ""],
        ["1", "", "2"],
    ]


def test_what_is_no_parquet_ends_with_2(folder, monkeypatch):
    (folder / "bad.parquet").write_bytes(b"PAR1 and no more")
    outcome = runner.invoke(app, ["stats", "--data", str(folder / "*"), "--count"])
    assert (outcome.exit_code, "bad.parquet is no Parquet file" in outcome.stderr) == (2, True)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    outcome = runner.invoke(app, ["stats", "--data", str(folder / "*"), "--count"])
    assert (outcome.exit_code, "pip install '.[parquet]'" in outcome.stderr) == (2, True)


def test_any_kind_is_asked_for_and_regressions_are_fitted_to_their_end(folder):
    given = ["--ask", "t-test:age,sex", "--ask", "ridge:weight,age:2.5", "--ask", "logistic:smoker,age", "--count"]
    given += ["--bounds", "age:0:120", "--bounds", "weight:20:200", "--levels", "sex:f,m", "--levels", "smoker:yes,no"]
    facts = json.loads(run(folder, *given, "--json").stdout)
    assert facts["exact"]
    assert facts["sessions"] > 2
    found = {each["statistic"]: each for each in facts["results"]}
    assert list(found) == ["count", "t-test", "ridge", "logistic"]  # as they were asked
    assert abs(found["logistic"]["value"]["decrement"]) < 1e-10
    assert found["t-test"]["value"]["means"]["f"]["n"] + found["t-test"]["value"]["means"]["m"]["n"] == 420
    assert found["ridge"]["value"]["coefficients"][1]["value"] == pytest.approx(1 / 3, abs=1e-3)
    printed = run(folder, *given).stdout
    assert max(map(len, printed.splitlines())) <= 80


def test_a_regression_without_an_end_is_undefined_beside_what_has_one(folder):
    for path in folder.glob("*.csv"):
        with path.open() as file:
            rows = list(csv.DictReader(file))
        lines = [f"{row['age']},{'yes' if float(row['age']) > 60 else 'no'}" for row in rows]
        path.write_text("\n".join(["age,old", *lines]))
    given = ["--ask", "logistic:old,age", "--mean", "age", "--bounds", "age:0:120", "--levels", "old:yes,no"]
    mean, fit = json.loads(run(folder, *given, "--json").stdout)["results"]
    assert mean["value"] is not None
    assert (fit["value"], fit["suppressed"], fit["reason"]) == (None, "undefined", "no-convergence")


def test_votes_are_weighed_and_codes_counted_by_their_beginnings(tmp_path, monkeypatch):
    for at in range(5):
        rows = ["choice,voter,code", *["yes,large,A00"] * 11, *["no,small,A01"] * 20, *["yes,small,B05"] * 12]
        (tmp_path / f"team-{at}.csv").write_text("\n".join(rows))
    given = ["--ask", "weighted:choice,voter:3,0.5", "--levels", "choice:yes,no", "--levels", "voter:large,small"]
    codes = ["--ask", "top:code|1:1", "--levels", "code:A00,A01,B05"]
    votes, top = json.loads(run(tmp_path, *given, *codes, "--json").stdout)["results"]
    assert votes["value"]["votes"][:2] == [3 * 55 + 0.5 * 60, 0.5 * 100]
    assert top["value"] == {"levels": ["A"], "counts": [155]}
    found = json.loads(run(tmp_path, "--ask", "frequencies:code|2", "--json").stdout)
    assert found["results"][0]["value"]["levels"] == ["A0", "B0", "(other)", "(missing)"]  # from the files
    monkeypatch.setenv("COLUMNS", "80")
    assert "rows without a weight" in run(tmp_path, *given).stdout
    assert "order of the weights" in run(tmp_path, "--ask", "weighted:choice,voter:3,1", code=2).stderr
    assert "has a column 'ward'" in run(tmp_path, "--ask", "top:ward|1:2", code=2).stderr


def test_two_rounds_tell_what_one_tells(folder):
    given = ["--mean", "age", "--bounds", "age:0:120", "--group-by", "sex", "--levels", "sex:f,m", "--json"]
    once, twice = (json.loads(run(folder, *given, *more).stdout) for more in ((), ("--two-rounds",)))
    assert (once["sessions"], twice["sessions"]) == (1, 2)
    assert twice["results"] == once["results"]
    run(folder, "--table", "sex,smoker", "--two-rounds", code=2)


@pytest.mark.parametrize(
    ("asked_for", "text"),
    [
        ("t-tests:age,sex", "no statistic is called"),
        ("t-test:age", "2 distinct columns"),
        ("ridge:weight,age:x", "must have numbers"),
        ("logistic:smoker,age", "needs two levels in order"),
    ],
)
def test_kinds_that_are_asked_for_wrongly_end_with_2(folder, asked_for, text):
    given = ["--bounds", "age:0:120", "--bounds", "weight:20:200", "--ask", asked_for]
    assert text in run(folder, *given, code=2).stderr


NOISE = ["--epsilon", "4", "--delta", "1e-5", "--max-rows", "500"]


def test_answers_with_noise_have_intervals_and_a_price(folder, monkeypatch):
    given = [*OPTIONS[:-2], "--ecdf", "age", "--missing", "age", *NOISE]  # no least cell
    facts = json.loads(run(folder, *given, "--json").stdout)
    noise = facts["noise"]
    assert (facts["sites"], noise["epsilon"], noise["unit"], noise["as_promised"]) == (7, 4.0, "record", True)
    assert facts.keys() == {*KEYS, "noise"} - names_in(r"has `noise`.*? and no (.*?);")
    assert {key for each in facts["results"] for key in each} == RESULT - names_in(r"its results have no (.*?)\.")
    found = {each["statistic"]: each["value"] for each in facts["results"]}
    assert found["count"].keys() == names_in(r"Each number in them has (.*?)\.")
    assert found["count"]["low"] < found["count"]["value"] < found["count"]["high"]
    assert abs(found["count"]["value"] - 420) < 100
    assert len(found["histogram"]["counts"]) == 6
    monkeypatch.setenv("COLUMNS", "80")
    printed = run(folder, *given).stdout
    assert "7 sites; the noise is as promised" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_less_noise_than_was_promised_ends_with_4(folder, monkeypatch):
    monkeypatch.setattr(queried_privately, "_pooled", lambda plan, sites: np.zeros(plan.features.length))
    assert not json.loads(run(folder, "--count", *NOISE, "--json", code=4).stdout)["noise"]["as_promised"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--epsilon", "1"], "both --epsilon and --delta"),
        ([*NOISE, "--two-rounds"], "--two-rounds is not read with --epsilon"),
        ([*NOISE, "--skewness", "age", "--bounds", "age:0:120"], "skewness is not given with noise"),
    ],
)
def test_noise_that_cannot_be_is_refused(folder, arguments, text):
    assert text in run(folder, "--count", *arguments, code=2).stderr
