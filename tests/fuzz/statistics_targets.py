"""What statistics read that others wrote: queries as bytes and as TOML, questions, a site's journal, CSV files."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from protocols.cli.site_files import columns_of, read_tables
from protocols.statistics.columns import Levels, Number
from protocols.statistics.journal import FIRST, read_entries
from protocols.statistics.plan import Plan
from protocols.statistics.private.features import Features
from protocols.statistics.private.question import read_question
from protocols.statistics.query import Query, asked, read_query
from protocols.statistics.query_file import query_from_toml


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-statistics-")


def statistics_query(data: bytes) -> None:
    query = read_query(data)
    if query.encoded != data or Plan(query).lanes < 1:
        raise ValueError("a query that was read is written as another one")


def statistics_question(data: bytes) -> None:
    question = read_question(data)
    if question.encoded != data or Features(question.query).length < 1:
        raise ValueError("a question that was read is written as another one")


def statistics_toml(data: bytes) -> None:
    query = query_from_toml(data.decode("utf-8", "replace"))
    if read_query(query.encoded) != query:
        raise ValueError("a query of a file is not what its bytes say")


def statistics_journal(data: bytes) -> None:
    before, written = FIRST, b""
    for entry in read_entries(data):
        written += entry.line(before)
        before = written[written.rfind(b"\n", 0, -1) + 1 :][: len(FIRST)]
    if written != data[: data.rfind(b"\n") + 1]:
        raise ValueError("a journal that was read is written as another one")


def statistics_csv(data: bytes) -> None:
    path = Path(_folder().name) / "site.csv"
    path.write_bytes(data)
    (texts,) = read_tables(str(path)).values()
    for at, name in enumerate(list(texts)[:2]):
        column = Levels(name, ("a",)) if at else Number(name, 0, 1)
        columns_of("site", texts, Query("d", (column,), (asked("count"),)))


TARGETS = (statistics_query, statistics_question, statistics_toml, statistics_journal, statistics_csv)
WEIGHTS = {"statistics_csv": 0.3}
