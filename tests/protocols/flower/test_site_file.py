"""What an operator writes down of a node's site, and what is said of slips of the pen."""

import re
from contextlib import suppress
from dataclasses import fields

import numpy as np
import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from protocols.statistics import Kind, Number, Query, SitePolicy, asked, site_file
from protocols.statistics.site_file import read_site
from secagg.errors import ParameterError, QueryRefused
from tests.documents import ROOT, of_language

from .sites import DATASET, ROWS, patients, write_site


def test_a_file_says_all_that_a_site_is(tmp_path):
    policy = 'columns = ["age"]\nfilters = ["ward"]\nstatistics = ["mean"]\nleast_difference = 12\nmin_sites = 7\n'
    site = read_site(write_site(tmp_path, 3, policy=policy))
    assert site.dataset == DATASET
    assert site.policy == SitePolicy({"age"}, {"ward"}, {Kind.MEAN}, least_difference=12, min_sites=7)
    assert site.length == ROWS
    assert list(site.ids[:2]) == ["3-0", "3-1"]
    assert site.journal == tmp_path / "journal"
    for name, values in patients(3).items():
        assert site.columns[name].tolist() == values.tolist()


def test_what_is_not_said_is_as_a_site_has_it(tmp_path):
    site = read_site(write_site(tmp_path, 3, ids=None))
    assert site.policy == SitePolicy(columns={"age", "ward"})
    assert site.ids is None


def test_a_column_that_the_operator_declares_is_answered_for_no_other_bounds(tmp_path):
    path = write_site(tmp_path, 3)
    path.write_text(re.sub(r'age = "number"', "age = {lo = 0, hi = 120}", path.read_text()))
    site = read_site(path)
    assert site.schema == [Number("age", 0, 120)]
    with pytest.raises(QueryRefused, match="another-schema"):
        site.answer(Query(DATASET, (Number("age", 0, 1e6),), (asked("mean", "age"),)))
    site.answer(Query(DATASET, (Number("age", 0, 120),), (asked("mean", "age"),)))
    path.write_text(re.sub(r"age = {lo = 0, hi = 120}", "age = {lo = 0}", path.read_text()))
    with pytest.raises(ParameterError, match="needs hi"):
        read_site(path)


def test_the_guides_file_is_one(tmp_path):
    (block,) = (block for place, block in of_language("toml") if place.startswith("docs/guides/flower.md"))
    write_site(tmp_path, 3).write_text(block.text)
    site = read_site(tmp_path / "site.toml")
    assert (site.dataset, site.length) == (DATASET, ROWS)
    assert site.policy == SitePolicy(columns={"age", "ward"}, min_sites=5)


def test_the_guide_names_every_key_and_its_default():
    guide = (ROOT / "docs/guides/flower.md").read_text()
    table = guide[guide.index("| key | meaning | if left out |") :]
    rows = dict(re.findall(r"^\| (`[^|]+`) \|[^|]+\| ([^|]+) \|$", table[: table.index("\n\n")], re.MULTILINE))
    named = {key for cell in rows for key in re.findall(r"`\[?([a-z_]+)\]?`", cell)}
    assert named == {*site_file.KEYS, *(field.name for field in fields(SitePolicy))} - {"policy"}
    for field in fields(SitePolicy):
        if isinstance(field.default, int | float):
            assert rows[f"`{field.name}`"] == f"{field.default:g}"


def test_missing_values_are_missing_and_others_are_as_they_stand(tmp_path):
    path = write_site(tmp_path, 0, ids=None)
    (tmp_path / "patients.csv").write_text('ward,age\n"heart, and lung",NA\n,1e2\nNA, -3 \nnan,\n')
    site = read_site(path)
    assert site.columns["ward"].tolist() == ["heart, and lung", "", "", ""]
    np.testing.assert_array_equal(site.columns["age"], [np.nan, 100, -3, np.nan])


def test_what_is_refused_is_told_to_the_operator(tmp_path):
    told = []
    site = read_site(write_site(tmp_path, 0), log=told.append)
    with pytest.raises(QueryRefused):
        site.answer(Query(DATASET, (Number("salary", 0, 1),), (asked("mean", "salary"),)))
    assert "salary" in told[0]


def test_another_table_may_be_named_and_be_parquet(tmp_path):
    columns = {"patient": ["a", "b"], "age": [41.0, None], "ward": ["heart", None], "other": [1, 2]}
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    site = read_site(write_site(tmp_path, 0, table=None), table=tmp_path / "t.parquet")
    np.testing.assert_array_equal(site.columns["age"], [41, np.nan])
    assert site.columns["ward"].tolist() == ["heart", ""]
    assert list(site.ids) == ["a", "b"]
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(ParameterError, match="no Parquet file"):
        read_site(write_site(tmp_path, 0, table=None), table=tmp_path / "t.parquet")


SLIPS = {
    "no TOML": (lambda text: text + "\n[", "is no TOML"),
    "a strange key": (lambda text: "datasets = 1\n" + text, "no key 'datasets': there are dataset, table"),
    "no dataset": (lambda text: text.replace("dataset =", "#"), "needs dataset, a text"),
    "no journal": (lambda text: text.replace("journal =", "#"), "needs journal, a text"),
    "a number for a table": (lambda text: text.replace("table = 'patients.csv'", "table = 5"), "needs table, a text"),
    "another table": (lambda text: text.replace("patients.csv", "people.csv"), "people.csv cannot be read"),
    "a kind": (lambda text: text.replace('"number"', '"float"'), "must say 'number' or 'text' of each column"),
    "a column": (lambda text: text.replace("age =", "wage ="), "must name ['wage', 'ward', 'patient']"),
    "an id": (lambda text: text.replace("ids = 'patient'", "ids = 'person'"), "must name ['age', 'ward', 'person']"),
    "ids that are no name": (lambda text: text.replace("ids = 'patient'", "ids = ['age']"), "must be the name of a"),
    "a strange path": (lambda text: text.replace("'patients.csv'", r'"a\u0000b"'), "is no CSV file"),
    "ids that are not": (lambda text: text.replace("ids = 'patient'", "ids = 'ward'"), "must be distinct"),
    "a text as a number": (lambda text: text.replace('"text"', '"number"'), "column 'ward', row 2 is no number"),
    "a demand": (lambda text: text + "min_site = 3\n", "[policy] of"),
    "a value of a demand": (lambda text: text + "min_sites = 0\n", "min_sites"),
    "a kind of a demand": (lambda text: text + 'statistics = ["average"]\n', "average"),
    "one column as a text": (lambda text: text + 'columns = "age"\n', "columns is one text"),
    "columns that are no names": (lambda text: text + "columns = [1, 2]\n", "a name in columns is"),
    "a column that is not read": (lambda text: text + 'columns = ["wage"]\n', "names 'wage', but [columns] does not"),
    "a filter that is not read": (lambda text: text + 'filters = ["wage"]\n', "names 'wage', but [columns] does not"),
    "a policy": (lambda text: text.replace("[policy]", "").replace("\n[columns]", "policy = 3\n[columns]"), "a table"),
    "columns": (lambda text: text.split("\n[columns]")[0] + "columns = 3\n", "[columns] of"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_slips_are_named(tmp_path, name):
    change, text = SLIPS[name]
    path = write_site(tmp_path, 0)
    path.write_text(change(path.read_text()))
    with pytest.raises(ParameterError) as refused:
        read_site(path)
    assert text in str(refused.value)


def test_a_mark_in_front_of_a_file_is_none_of_its_text(tmp_path):
    path = write_site(tmp_path, 3)
    for each in (path, tmp_path / "patients.csv"):
        each.write_bytes(b"\xef\xbb\xbf" + each.read_bytes())
    assert list(read_site(path).ids[:2]) == ["3-0", "3-1"]


BAD_TABLES = {
    "nothing": (b"", "the first line of"),
    "a column twice": (b"patient,age,age,ward\n1,2,3,4\n", "each column once"),
    "a short row": (b"patient,age,ward\n1,2\n", "row 2 has 2 values, but there are 3 columns"),
    "another encoding": (b"patient,age,ward\n1,2,M\xfcnchen\n", "is no CSV file"),
    "an open quote": (b'patient,age,ward\n"1,2,3\n', "is no CSV file"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_tables_that_are_none_are_named(tmp_path, name):
    data, text = BAD_TABLES[name]
    path = write_site(tmp_path, 0)
    (tmp_path / "patients.csv").write_bytes(data)
    with pytest.raises(ParameterError) as refused:
        read_site(path)
    assert text in str(refused.value)


def test_a_table_without_rows_is_a_table(tmp_path):
    path = write_site(tmp_path, 0)
    (tmp_path / "patients.csv").write_text("patient,age,ward\n")
    assert read_site(path).length == 0


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ParameterError, match="cannot be read: No such file"):
        read_site(tmp_path / "site.toml")


@given(where=st.sampled_from(["site.toml", "patients.csv"]), data=st.binary(max_size=200) | st.text().map(str.encode))
def test_any_bytes_are_a_site_or_a_named_error(tmp_path_factory, where, data):
    path = write_site(tmp_path_factory.mktemp("site"), 0)
    (path.parent / where).write_bytes(data)
    with suppress(ParameterError):
        read_site(path)
