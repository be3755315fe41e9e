"""A query is written in one way, names itself by a digest, and says what is wrong with it."""

import msgspec
import pytest

from protocols.statistics.beginnings import beginnings_of
from protocols.statistics.columns import Levels, Number, even_edges
from protocols.statistics.families.registry import once
from protocols.statistics.kinds import Kind
from protocols.statistics.plan import Plan
from protocols.statistics.query import MAX_PARTS, Query, Statistic, Where, asked, read_query
from protocols.statistics.query_file import query_from_toml
from secagg.derivation import Label, digest
from secagg.errors import ParameterError

AGE = Number("age", 0, 120, 16, even_edges(0, 120, 4))
SEX = Levels("sex", ("f", "m"))
WARD = Levels("ward", ("a", "b", "c"))
FIRST = beginnings_of(WARD, 1)
TOML = """
dataset = "hospitals"
group_by = "sex"

[columns.age]
lo = 0
hi = 120
bins = 4

[columns.sex]
levels = ["f", "m"]

[[statistics]]
kind = "mean"
columns = ["age"]

[[statistics]]
kind = "quantiles"
columns = ["age"]
quantiles = [0.25, 0.5]

[[where]]
column = "age"
operator = "ge"
constant = 18
"""


def query(*statistics, columns=(AGE, SEX, WARD), **rest):
    return Query("hospitals", columns, statistics or (asked("count"),), **rest)


def test_the_bytes_are_read_as_what_was_written_and_the_digest_is_theirs():
    one = query(asked("mean", "age"), asked("table", "sex", "ward"), where=(Where("age", "ge", 18),))
    assert read_query(one.encoded) == one
    assert one.digest == digest(Label.STATISTICS_QUERY, one.encoded)
    assert Plan(one).name.endswith(one.digest.hex())


def test_equal_questions_have_equal_digests_and_others_do_not():
    base = query(asked("mean", "age"))
    assert (
        query(asked("mean", "age"), columns=(Number("age", 0.0, 120.0, 16, AGE.edges), SEX, WARD)).digest == base.digest
    )
    others = [
        query(asked("variance", "age")),
        query(asked("mean", "age"), group_by="sex"),
        query(asked("mean", "age"), where=(Where("age", "known"),)),
        query(asked("mean", "age"), max_rows=7),
        query(asked("mean", "age"), columns=(Number("age", 0, 121), SEX, WARD)),
        Query("other", (AGE,), (asked("mean", "age"),)),
    ]
    assert len({one.digest for one in [base, *others]}) == len(others) + 1


def test_a_query_does_not_change():
    with pytest.raises(AttributeError):
        query().dataset = "another"


def test_a_file_asks_the_same_as_code():
    read = query_from_toml(TOML)
    assert (
        read.digest
        == Query(
            "hospitals",
            (AGE, SEX),
            (asked("mean", "age"), asked("quantiles", "age", quantiles=(0.25, 0.5))),
            (Where("age", "ge", 18.0),),
            "sex",
        ).digest
    )


def test_levels_of_beginnings_follow_from_levels():
    source = """
dataset = "hospitals"
columns.code.levels = ["A00", "A01", "B05", "A1"]
statistics = [{kind = "top", columns = ["code|1"], most = 2}]
"""
    read = query_from_toml(source)
    assert read.levels("code|1").levels == ("A", "B")
    stated = query_from_toml(source.replace("statistics", 'columns."code|1".levels = ["A"]\nstatistics', 1))
    assert stated.levels("code|1").levels == ("A",)
    assert beginnings_of(read.levels("code"), 2) == Levels("code|2", ("A0", "B0", "A1"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("dataset =", "data ="),
        ("bins = 4", "bins = 4\nedges = [0.0, 1.0]"),
        ("bins = 4", "bin = 4"),
        ("lo = 0", ""),
        ("lo = 0", "lo = 'a'"),
        ('levels = ["f", "m"]', 'levels = "fm"'),
        ('kind = "mean"', 'kind = "means"'),
        ("[[statistics]]", "[statistics]"),
        ('group_by = "sex"', "group_by = 1"),
        ('group_by = "sex"', 'group_by = "age"'),
        ("constant = 18", "constant = nan"),
        ("constant = 18", "constant = 'f'"),
        ('operator = "ge"', 'operator = "in"'),
        ('operator = "ge"', "operator = []"),
        ("dataset", "= dataset"),
    ],
)
def test_a_file_that_is_off_by_one_thing_is_refused(before, after):
    assert before in TOML
    with pytest.raises(ParameterError):
        query_from_toml(TOML.replace(before, after, 1))


@pytest.mark.parametrize("name", ["min", "max"])
def test_min_and_max_are_refused_with_what_to_ask_instead(name):
    with pytest.raises(ParameterError, match="quantiles"):
        asked(name, "age")


@pytest.mark.parametrize(
    "given",
    [
        {"statistics": ()},
        {"statistics": (asked("mean", "height"),)},
        {"statistics": (asked("mean", "sex"),)},
        {"statistics": (asked("table", "sex", "age"),)},
        {"statistics": (asked("table", "sex", "sex"),)},
        {"statistics": (asked("correlation", "age"),)},
        {"statistics": (asked("count", "age"),)},
        {"statistics": (asked("mean", "age"), asked("mean", "age"))},
        {"statistics": (asked("table", "sex", "ward"),), "group_by": "sex"},
        {"statistics": (asked("weighted", "sex", "ward", weights=(1, 2)),)},
        {"statistics": (asked("weighted", "sex", "ward", weights=(1, 2, -1)),)},
        {"statistics": (asked("weighted", "sex", "ward", weights=(0, 0, 0)),)},
        {"statistics": (asked("frequencies", "ward"), asked("top", "ward|1", most=1)), "columns": (WARD, FIRST)},
        {"statistics": (asked("quantiles", "age"),)},
        {"statistics": (asked("quantiles", "age", quantiles=(0.0,)),)},
        {"statistics": (asked("quantiles", "age", quantiles=(0.5, 0.25)),)},
        {"statistics": (asked("histogram", "age"),), "columns": (Number("age", 0, 1),)},
        {"columns": (AGE, AGE)},
        {"where": (Where("sex", "lt", "f"),)},
        {"where": (Where("sex", "eq", "x"),)},
        {"where": (Where("age", "known", 1.0),)},
        {"max_rows": 0},
        {"max_rows": 1 << 40},
        {"dataset": "a\x1b[31m"},
    ],
    ids=lambda given: str(given)[:200],
)
def test_parts_that_do_not_fit_together_are_refused(given):
    with pytest.raises(ParameterError):
        Query(**({"dataset": "d", "columns": (AGE, SEX, WARD), "statistics": (asked("count"),)} | given))


@pytest.mark.parametrize(
    ("part", "one"), [("columns", SEX), ("statistics", asked("count")), ("where", Where("age", "known"))], ids=str
)
def test_too_many_parts_are_refused_before_a_look_at_them(part, one):
    with pytest.raises(ParameterError, match=f"at most {MAX_PARTS} {part}, not {MAX_PARTS + 1}"):
        Query(
            **{"dataset": "d", "columns": (AGE, SEX), "statistics": (asked("count"),), part: (one,) * (MAX_PARTS + 1)}
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda: Number("age", 1, 1),
        lambda: Number("age", 0, float("inf")),
        lambda: Number("age", float("nan"), 1),
        lambda: Number("age", 0, 1, 1),
        lambda: Number("age", 0, 1, 33),
        lambda: Number("age", 0, 1, 16, (0.0,)),
        lambda: Number("age", 0, 1, 16, (0.0, 0.0)),
        lambda: Levels("sex", ()),
        lambda: Levels("sex", ("f", "f")),
        lambda: Levels("", ("f",)),
        lambda: even_edges(0, 1, 0),
        lambda: even_edges(1, 1, 3),
    ],
)
def test_bounds_edges_and_levels_that_are_none_are_refused(make):
    with pytest.raises(ParameterError):
        make()


def test_bytes_that_would_be_written_otherwise_are_refused():
    one = query(asked("mean", "age"))
    fields = msgspec.msgpack.decode(one.encoded)
    for data in (b"", one.encoded + b"\0", one.encoded[:-1], msgspec.msgpack.encode([*fields, 1])):
        with pytest.raises(ParameterError):
            read_query(data)
    fields[1][0][2] = 0  # an integer, where a float is written
    with pytest.raises(ParameterError, match="another way"):
        read_query(msgspec.msgpack.encode(fields))


def test_a_column_is_found_by_its_name_and_not_by_looking_at_all():
    """Reading 0.7 MB took a minute: each statistic compared all names, each column went through all statistics."""
    compared = []

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            compared.append(other)
            return str.__eq__(self, other)

    one = query(columns=tuple(Levels(f"c{at}", ("a",)) for at in range(50)))
    assert one.column(Name("c49")).name == "c49"
    assert len(compared) <= 1
    assert one.used is one.used


def test_totals_are_shared_and_each_is_there_once():
    alone = {kind: set(Plan(query(asked(kind, "age"))).totals) for kind in (Kind.MEAN, Kind.VARIANCE, Kind.SKEWNESS)}
    together = Plan(query(*(asked(kind, "age") for kind in alone)))
    assert set(together.totals) == alone[Kind.SKEWNESS] > alone[Kind.VARIANCE] > alone[Kind.MEAN]
    assert together.lanes == Plan(query(asked(Kind.SKEWNESS, "age"))).lanes


def test_what_many_statistics_sum_is_gone_through_once():
    """1600 approvals of the same 100 columns, each in another order, took a minute before any gate."""
    ridge = [asked("ridge", "age", "mass", penalty=at) for at in (0.5, 2.0)]
    votes = [asked("approval", *names) for names in (("sex", "ward"), ("ward", "sex"))]
    assert list(once([*votes, *ridge])) == [asked("approval", "sex"), asked("approval", "ward"), ridge[0]]
    assert Plan(query(*votes)).totals == Plan(query(votes[0])).totals


def test_a_query_of_too_many_totals_is_refused_before_they_are_made():
    many = Levels("code", tuple(map(str, range(1000))))
    wide = Number("x", 0, 1, 16, even_edges(0, 1, 5000))
    with pytest.raises(ParameterError, match="fewer bins"):
        Plan(Query("d", (many, wide), (Statistic(Kind.HISTOGRAM, ("x",)),), group_by="code"))
