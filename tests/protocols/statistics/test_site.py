"""Questions that would tell of single records are refused, and a refusal says no more than one word."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from protocols.masking.policy import ClientPolicy
from protocols.simulation.queried import ask_sites
from protocols.statistics.columns import Number
from protocols.statistics.journal import FIRST, Entry, Journal, read_entries
from protocols.statistics.partitions import Partition
from protocols.statistics.query import Where, asked
from protocols.statistics.site import Site, SitePolicy
from secagg.errors import ParameterError, QueryRefused

from .tables_of_sites import AGE, NAMES, WARD, Plan, query, rows, session, sites


def site(count=100, *, journal=None, ids=None, columns=None, allowed=NAMES, **policy):
    log = []
    given = SitePolicy(columns=allowed, **policy)
    made = Site(columns or rows(np.random.default_rng(7), count), given, "hospitals", journal, ids, log.append)
    return made, log


def refusal(asked_of, one):
    with pytest.raises(QueryRefused) as refused:
        asked_of.answer(one)
    assert str(refused.value) == refused.value.reason
    return refused.value.reason


def test_all_rows_and_then_all_but_one():
    age = np.arange(100.0)
    made, log = site(columns={"age": age})
    made.answer(query(asked("mean", "age")))
    assert refusal(made, query(asked("mean", "age"), where=(Where("age", "lt", 99.0),))) == "disclosure"
    assert "1 rows differ" in log[-1]
    made.answer(query(asked("mean", "age"), where=(Where("age", "lt", 90.0),)))
    assert refusal(made, query(asked("mean", "age"), where=(Where("age", "lt", 89.0),))) == "disclosure"


def test_the_journal_outlives_the_site(tmp_path):
    path = tmp_path / "journal"
    site(columns={"age": np.arange(100.0)}, journal=path)[0].answer(query(asked("mean", "age")))
    again, _ = site(columns={"age": np.arange(100.0)}, journal=path)
    assert refusal(again, query(asked("mean", "age"), where=(Where("age", "lt", 99.0),))) == "disclosure"
    assert [bool(each.partitions) for each in read_entries(path.read_bytes())] == [True, False]
    again.answer(query(asked("mean", "age")))  # the same rows tell nothing new of few


def test_rows_are_recognised_when_others_come():
    ids = [f"p{at}" for at in range(100)]
    first, _ = site(columns={"age": np.arange(100.0)}, ids=ids)
    first.answer(query(asked("mean", "age")))
    grown, _ = site(columns={"age": np.arange(101.0)}, ids=["new", *ids])
    grown._journal = first._journal
    assert refusal(grown, query(asked("mean", "age"))) == "disclosure"


def test_a_filter_on_an_id():
    columns = rows(np.random.default_rng(1), 100) | {"id": np.arange(100.0)}
    made, log = site(columns=columns)
    one = query(asked("mean", "age"), columns=(AGE, Number("id", 0, 100)), where=(Where("id", "eq", 7.0),))
    assert refusal(made, one) == "not-allowed"
    assert "id" in log[-1]
    open_to_all, _ = site(columns=columns, filters={"id"})
    assert refusal(open_to_all, one) == "disclosure"  # one row is too few, whatever may be filtered


def test_a_bin_a_row():
    edges = tuple(np.linspace(0, 120, 101))
    made, _ = site(100)
    one = query(asked("histogram", "age"), columns=(Number("age", 0, 120, 16, edges),))
    assert refusal(made, one) == "disclosure"
    wide, _ = site(100)
    assert (
        refusal(wide, query(asked("histogram", "age"), columns=(one.columns[0], WARD), group_by="ward")) == "disclosure"
    )


def test_a_column_that_is_declared_otherwise_than_before():
    made, _ = site()
    made.answer(query(asked("histogram", "age")))
    moved = Number("age", 0, 120, 16, (0.0, 10.5, 60.0, 120.0))
    assert refusal(made, query(asked("histogram", "age"), columns=(moved,))) == "another-schema"
    made.answer(query(asked("mean", "age"), columns=(moved,)))  # without bins, edges make no difference
    made.answer(query(asked("mean", "mass")))
    assert refusal(made, query(asked("mean", "mass"), columns=(Number("mass", 30, 199),))) == "another-schema"


def test_a_filter_that_selects_nobody_is_refused_as_one_that_selects_few():
    """Else a refusal would tell that there is somebody: one person, and one of their values, by two conditions."""
    made, _ = site(columns={"age": np.arange(100.0)})
    for above in (1000.0, 98.0, 90.0):
        assert refusal(made, query(asked("mean", "age"), where=(Where("age", "gt", above),))) == "disclosure"
    assert made.answer(query(asked("mean", "age"), where=(Where("age", "gt", 89.0),)))


@pytest.mark.parametrize(
    ("one", "policy", "reason"),
    [
        (query(asked("mean", "age")), {"allowed": {"mass"}}, "not-allowed"),
        (query(asked("count"), group_by="sex"), {"allowed": {"age"}}, "not-allowed"),
        (query(asked("mean", "age")), {"statistics": {"count"}}, "not-allowed"),
        (query(asked("count"), where=(Where("age", "lt", 5.0),)), {"filters": {"sex"}}, "not-allowed"),
        (query(asked("count"), max_rows=99), {}, "disclosure"),
        (query(asked("mean", "sex"), columns=(Number("sex", 0, 1),)), {}, "another-schema"),
        (query(asked("mean", "height"), columns=(Number("height", 0, 3),)), {"allowed": {"height"}}, "another-schema"),
    ],
)
def test_what_a_policy_does_not_allow(one, policy, reason):
    made, log = site(**policy)
    assert refusal(made, one) == reason
    assert len(log) == 1


def test_another_data_set():
    made, _ = site()
    made.dataset = "another"
    assert refusal(made, query()) == "another-dataset"


def test_a_refusal_for_what_the_rows_are_is_noted_once_and_an_explanation_is_not(tmp_path):
    path = tmp_path / "journal"
    made, _ = site(columns={"age": np.arange(100.0)}, journal=path)
    refusal(made, query(asked("mean", "age"), where=(Where("age", "gt", 95.0),)))
    assert made.explain(query(asked("mean", "age"))).startswith("answers: 100 of 100 rows")
    assert made.explain(query(asked("mean", "age"), where=(Where("age", "gt", 95.0),))) == (
        "refuses: disclosure: 4 rows are fewer than 10"
    )
    refusal(made, query(asked("mean", "age"), where=(Where("age", "gt", 95.0),)))
    assert [bool(each.partitions) for each in read_entries(path.read_bytes())] == [False]


def test_a_site_that_was_asked_too_often_about_few_answers_nothing_new(tmp_path):
    """Every refusal tells that some rows are few: bisection finds a value, one bit after the other."""
    path = tmp_path / "journal"
    made, _ = site(max_refusals=3, columns={"age": np.arange(100.0)}, journal=path)
    made.answer(query(asked("count")))
    for at in range(3):
        assert refusal(made, query(asked("count"), where=(Where("age", "gt", 95.0 + at),))) == "disclosure"
    for again in (made, site(max_refusals=3, columns={"age": np.arange(100.0)}, journal=path)[0]):
        assert refusal(again, query(asked("count"), where=(Where("age", "gt", 50.0),))) == "too-many-answers"
        again.answer(query(asked("count")))  # what was answered is answered


def test_no_refusal_but_disclosure_hangs_on_rows():
    """Declarations and types are looked at before anything is selected."""
    made, _ = site(allowed={"age", "visits"}, columns={"age": np.arange(100.0), "visits": np.full(100, 0.5)})
    made.answer(query(asked("mean", "age")))
    other = (Number("age", 0, 121), Number("visits", 0, 9))
    few, many = (Where("age", "gt", 95.0),), (Where("age", "gt", 50.0),)
    words = {refusal(made, query(asked("mean", "age"), columns=other, where=where)) for where in (few, many)}
    assert words == {"another-schema"}
    one = asked("poisson", "visits", "age", coefficients=(0, 0))  # none of these visits is a count
    for where, word in ((few, "disclosure"), (many, None)):
        made, _ = site(allowed={"age", "visits"}, columns={"age": np.arange(100.0), "visits": np.full(100, 0.5)})
        question = query(one, columns=(AGE, Number("visits", 0, 9)), where=where)
        assert (refusal(made, question) if word else made.answer(question) and None) == word


def test_an_owners_declarations_are_the_only_ones():
    made, _ = site(columns={"age": np.arange(100.0)})
    made.schema = (AGE,)
    made.answer(query(asked("mean", "age")))
    for other in (Number("age", 0, 1e9), Number("age", AGE.lo, AGE.hi, 2)):
        fresh, _ = site(columns={"age": np.arange(100.0)})
        fresh.schema = (AGE,)
        assert refusal(fresh, query(asked("mean", "age"), columns=(other,))) == "another-schema"
    assert refusal(
        fresh, query(asked("histogram", "age"), columns=(Number("age", AGE.lo, AGE.hi, AGE.bits, (0, 7, 9)),))
    )
    fresh.answer(query(asked("mean", "age"), columns=(Number("age", AGE.lo, AGE.hi, AGE.bits),)))


def test_a_site_that_refuses_is_left_out_and_named():
    asked_of = sites(1, [100, 100, 100, 100, 100])
    asked_of["site-3"].dataset = "another"
    found = ask_sites(query(asked("count")), asked_of)
    assert found.refused == {"site-3": "another-dataset"}
    assert found.answer.records == 400
    for one in asked_of.values():
        one.dataset = "another"
    with pytest.raises(ParameterError, match="another-dataset"):
        ask_sites(query(asked("count")), asked_of)


def test_too_few_sites_are_refused_by_the_sites_client():
    plan = Plan(query(asked("count")))
    policy = SitePolicy(columns=NAMES, min_sites=6).client_policy
    assert isinstance(policy, ClientPolicy)
    with pytest.raises(ParameterError, match="demands 6"):
        policy.check(session(plan, 5))
    policy.check(session(plan, 6))


# The journal


def entry(rows=(1, 2, 3), named=0, cells=1):
    codes = np.array([0] * named + [1 + at % cells for at in range(len(rows))], dtype=np.uint32)
    return Entry(bytes(32), {"age": "00"}, np.array(rows, dtype=np.uint64), [Partition(("age",), codes)])


def test_a_journal_is_read_as_it_was_written_and_a_torn_line_was_never_answered(tmp_path):
    path = tmp_path / "journal"
    with Journal(path).open() as journal:
        journal.add(entry())
    whole = path.read_bytes()
    path.write_bytes(whole + entry((4,), 3).line(whole[:64])[:-9])
    with Journal(path).open() as journal:
        (read,) = journal.entries
        journal.add(entry((5,), 3))
    assert read.rows.tolist() == [1, 2, 3]
    assert [one.rows.tolist() for one in read_entries(path.read_bytes())] == [[1, 2, 3], [5]]
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "data", [b"secret", b"a key\n", b"0" * 64, b"0" * 64 + b" and more", b"a key\nand no end"], ids=repr
)
def test_a_file_that_is_no_journal_is_left_as_it_is(tmp_path, data):
    path = tmp_path / "key"
    path.write_bytes(data)
    with pytest.raises(ParameterError, match="journal"):
        site(journal=path)[0].answer(query(asked("count")))
    assert path.read_bytes() == data


def test_a_first_line_that_was_cut_off_was_never_answered(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(entry().line(FIRST)[:-9])
    with Journal(path).open() as journal:
        journal.add(entry())
    assert path.read_bytes() == entry().line(FIRST)


def test_threads_look_and_add_one_after_the_other():
    journal, looking, second = Journal(None), threading.Event(), threading.Event()

    def look():
        looking.set()
        with journal.open():
            second.set()

    with journal.open():
        other = threading.Thread(target=look)
        other.start()
        looking.wait()
        assert not second.wait(0.05)
    other.join()
    assert second.is_set()


def test_a_damaged_journal_lets_the_site_answer_nothing(tmp_path):
    path = tmp_path / "journal"
    made, _ = site(journal=path)
    made.answer(query(asked("mean", "age")))
    data = bytearray(path.read_bytes())
    for at in (0, 70, len(data) // 2):
        spoilt = data.copy()
        spoilt[at] ^= 1
        path.write_bytes(spoilt)
        with pytest.raises(ParameterError, match="line 1 of the journal is damaged"):
            made.answer(query(asked("mean", "age")))


def test_a_line_that_is_lost_or_moved_is_noticed_and_one_that_is_cut_off_at_the_end_is_not(tmp_path):
    path = tmp_path / "journal"
    with Journal(path).open() as journal:
        journal.add(entry())
        for at in range(2):  # of the same rows, so that each line could stand anywhere behind the first
            journal.add(replace(entry((), 3), query=bytes([at]) * 32))
    first, second, third = path.read_bytes().splitlines(keepends=True)
    for changed, number in (
        ([first, third], 2),
        ([second, third], 1),
        ([first, second, second], 3),
        ([first, third, second], 2),
    ):
        with pytest.raises(ParameterError, match=f"line {number} of the journal is damaged"):
            read_entries(b"".join(changed))
    assert len(read_entries(first + second)) == 2  # nobody can tell: the copy of a journal is as old as it is


@pytest.mark.parametrize("cells", [1, 2, 300, 70_000])
def test_cells_of_any_number_come_back(cells):
    (read,) = read_entries(entry(range(cells + 1), cells=cells).line(FIRST))
    assert read.partitions[0].columns == ("age",)
    assert read.partitions[0].codes.tolist() == [1 + at % cells for at in range(cells + 1)]


def test_a_row_is_named_once_and_known_by_its_number():
    with Journal(None).open() as journal:
        names = np.array([30, 10, 20], dtype=np.uint64)
        part = Partition((), np.array([1, 0, 1], dtype=np.uint32))
        first = journal.entry(bytes(32), {}, names, [part])
        assert (first.rows.tolist(), first.partitions[0].codes.tolist()) == ([30, 20], [1, 1])
        journal.add(first)
        second = journal.entry(bytes(32), {}, names, [Partition((), np.array([2, 1, 3], dtype=np.uint32))])
        assert (second.rows.tolist(), second.partitions[0].codes.tolist()) == ([10], [2, 3, 1])


def test_a_repeated_question_is_noted_once(tmp_path):
    path = tmp_path / "journal"
    made, _ = site(journal=path)
    for _ in range(2):
        made.answer(query(asked("mean", "age")))
    assert len(read_entries(path.read_bytes())) == 1


def test_a_journal_that_cannot_be_kept_lets_no_answer_out(tmp_path):
    made, _ = site(journal=tmp_path / "nowhere" / "journal")
    with pytest.raises(ParameterError, match="cannot be kept"):
        made.answer(query(asked("mean", "age")))


def test_an_answer_is_on_the_disk_before_it_leaves(tmp_path, monkeypatch):
    made, _ = site(journal=tmp_path / "journal")
    settled = []
    monkeypatch.setattr(os, "fsync", settled.append)
    made.answer(query(asked("mean", "age")))
    assert len(settled) == 2  # the line, and the new file's name
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(5, "no disk")))
    with pytest.raises(ParameterError, match="no disk"):
        made.answer(query(asked("mean", "mass")))


PROCESS = """
import sys
from dataclasses import replace
import numpy as np
from protocols.statistics.journal import Journal
from protocols.statistics.partitions import Partition
for at in range(20):
    with Journal(sys.argv[1]).open() as journal:
        name = np.array([len(journal.entries)], dtype=np.uint64)
        journal.add(journal.entry(bytes(32), {}, name, [Partition((), np.array([1], dtype=np.uint32))]))
"""


def test_processes_write_one_after_the_other(tmp_path):
    path = tmp_path / "journal"
    running = [subprocess.Popen([sys.executable, "-c", PROCESS, str(path)]) for _ in range(2)]  # noqa: S603
    assert [one.wait() for one in running] == [0, 0]
    assert [one.rows.tolist() for one in read_entries(path.read_bytes())] == [[at] for at in range(40)]


def test_the_columns_of_a_site_are_of_one_table():
    with pytest.raises(ParameterError, match="one length"):
        site(columns={"age": np.arange(3.0), "mass": np.arange(2.0)})
    with pytest.raises(ParameterError, match="distinct"):
        site(columns={"age": np.arange(2.0)}, ids=["a", "a"])


def test_nothing_of_a_table_is_in_a_sites_name():
    assert repr(site()[0]) == "Site('hospitals')"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5, None], "f"),
        ([1, True, np.float32(2)], "f"),
        (["a", None, float("nan"), ""], "O"),
        (np.array(["a", "b"]), "U"),
        (np.array(["a", None, "b"], dtype=object), "O"),
        (np.array([1, None], dtype=object), "f"),
        ([None, None], "f"),
        (np.array([None, None], dtype=object), "O"),
    ],
)
def test_a_columns_type_is_settled_when_a_site_is_made(values, kind):
    made, _ = site(allowed={"x"}, columns={"x": values})
    assert made.columns["x"].dtype.kind == kind


@pytest.mark.parametrize(
    "odd",
    ["a", 1j, [1], 10**400, 2**53 + 1, -(2**53) - 1, np.uint64(2**64 - 1), object()],
    ids=lambda odd: type(odd).__name__,
)
def test_no_single_row_decides_later_whether_a_site_answers(odd):
    """One text among numbers made a site refuse, which told of that row, with noise as well and before any payment."""
    with pytest.raises(ParameterError, match="'x'"):
        site(allowed={"x"}, columns={"x": [0.5] * 50 + [odd]})


def test_the_greatest_whole_numbers_that_floats_hold_are_held():
    made, _ = site(allowed={"x"}, columns={"x": [2**53, -(2**53), None]})
    assert made.columns["x"][:2].tolist() == [2**53, -(2**53)]


@pytest.mark.parametrize("values", [np.array(["a", "b"]), np.arange(2.0), np.array(["a", None], dtype=object)])
def test_what_lies_under_a_mask_is_read_by_nobody(values):
    with pytest.raises(ParameterError, match="'x' is a masked array"):
        site(allowed={"x"}, columns={"x": np.ma.masked_array(values, [False, True])})


@pytest.mark.parametrize(
    ("given", "text"),
    [({"averages"}, "no statistic is called 'averages'"), ("mean", "one text"), ({"min"}, "quantiles")],
)
def test_statistics_of_a_policy_are_named_as_in_a_question(given, text):
    with pytest.raises(ParameterError, match=text):
        SitePolicy(columns=NAMES, statistics=given)
