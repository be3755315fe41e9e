"""A question is written in one way, bound to its price, and refused where noise has no answer to it."""

import msgspec
import pytest

from dp.sensitivity import Adjacency, Unit
from protocols.statistics.private import PrivateQuestion, read_question
from protocols.statistics.private.question import SUPPORTED
from protocols.statistics.query import Query, asked, read_query
from secagg.errors import ParameterError

from ..tables_of_sites import COLUMNS, NAMES, query
from ..test_families import COLUMNS as OF_FAMILIES
from ..test_families import EVERY_KIND

QUESTION = PrivateQuestion(query(asked("count"), asked("mean", "age")), 1.0, 1e-5)


def test_it_is_read_as_it_was_written():
    assert read_question(QUESTION.encoded) == QUESTION
    assert read_question(QUESTION.encoded).name == QUESTION.name == f"statistics/private/{QUESTION.digest.hex()}"


@pytest.mark.parametrize(
    "changed",
    [
        {"query": query(asked("count"))},
        {"epsilon": 1.1},
        {"delta": 1e-6},
        {"unit": Unit.CLIENT},
        {"adjacency": Adjacency.REPLACE_ONE},
    ],
)
def test_its_name_hangs_on_all_of_it(changed):
    assert msgspec.structs.replace(QUESTION, **changed).name != QUESTION.name


def test_no_query_has_its_bytes():
    with pytest.raises(ParameterError):
        read_query(QUESTION.encoded)
    with pytest.raises(ParameterError):
        read_question(QUESTION.query.encoded)
    assert QUESTION.digest != QUESTION.query.digest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        QUESTION.encoded + b"\x00",
        QUESTION.encoded[:-1],
        msgspec.msgpack.encode([msgspec.to_builtins(QUESTION.query), 1, 1e-5, "record", "add-remove"]),  # 1 for 1.0
        bytes((1 << 20) + 1),
    ],
)
def test_other_bytes_are_refused(data):
    with pytest.raises(ParameterError):
        read_question(data)


@pytest.mark.parametrize("kind", sorted(SUPPORTED - {"table"}))
def test_a_supported_kind_is_asked(kind):
    columns = {"covariance": ("age", "mass"), "correlation": ("age", "mass"), "count": ()}.get(kind, ("age",))
    one = query(asked(kind, *columns, **({"quantiles": (0.5,)} if kind == "quantiles" else {})))
    assert PrivateQuestion(one, 1.0, 1e-5).query == one


@pytest.mark.parametrize(
    "one", [asked("skewness", "age"), *EVERY_KIND], ids=lambda one: f"{one.kind} {len(one.columns)}"
)
def test_other_kinds_are_refused_by_name(one):
    assert one.kind not in SUPPORTED
    columns = (*COLUMNS, *(column for column in OF_FAMILIES if column.name not in NAMES))
    with pytest.raises(ParameterError, match=f"{one.kind} is not given with noise: there are correlation, count"):
        PrivateQuestion(query(one, columns=columns), 1.0, 1e-5)


def test_cells_are_not_left_out():
    with pytest.raises(ParameterError, match="leave `cells` out"):
        PrivateQuestion(query(asked("count"), group_by="sex", cells=("f",)), 1.0, 1e-5)


@pytest.mark.parametrize(
    "changed",
    [
        {"epsilon": 0.0},
        {"epsilon": float("nan")},
        {"delta": 0.0},
        {"delta": 1.0},
        {"unit": "person"},
        {"adjacency": "any"},
        {"query": "count"},
    ],
)
def test_values_out_of_range_are_refused(changed):
    with pytest.raises(ParameterError):
        PrivateQuestion(**{name: getattr(QUESTION, name) for name in QUESTION.__struct_fields__} | changed)


def test_names_of_units_are_settled():
    named = PrivateQuestion(QUESTION.query, 1, 1e-5, "record", "add-remove")
    assert named == QUESTION
    assert named.encoded == QUESTION.encoded
    assert isinstance(named.query, Query)
