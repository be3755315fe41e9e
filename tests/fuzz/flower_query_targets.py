"""Queries in Flower: a node under a hostile server, a server under a hostile node, and what an operator wrote."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from protocols.flower import SecAggMod, SessionReport, SessionSettings, ask
from protocols.flower.agreed import agree, agreed_query
from protocols.flower.announcement import node_name, query_announcement, query_vectors
from protocols.flower.envelope import RECORD, STATISTICS, record_of
from protocols.flower.memory import AGREED
from protocols.masking import wire
from protocols.masking.messages import Invitation
from protocols.statistics import Number, Plan, Query, ReleasePolicy, Site, SitePolicy, asked
from protocols.statistics.site_file import read_site
from secagg.errors import MalformedMessage, ParameterError, SecAggError, UnexpectedMessage
from tests.protocols.flower.in_process import RUN_ID, make_grid, train_messages

from .flower_session import NODES, VICTIM, context_of, fresh_notes, from_bytes, quiet
from .flower_targets import _check_answer, _hostile
from .texts import check_text

ROWS = 20
QUERY = Query("d", (Number("x", 0, 1, bits=4),), (asked("count"), asked("mean", "x")), max_rows=99)
EXCHANGES = 6
SHOWN = ReleasePolicy(min_cell=1)


def site(node_config: Mapping[str, Any]) -> Site:
    del node_config
    return Site({"x": np.full(ROWS, 0.5)}, SitePolicy(columns=frozenset({"x"})), "d", None)


@cache
def mod() -> SecAggMod:
    return SecAggMod(site=site, threads=1)


@cache
def invitation() -> dict[str, bytes]:
    """What a server sends those who have agreed to QUERY."""
    import msgspec

    announcement = query_announcement(RUN_ID, sorted(NODES), (), QUERY)
    config = SessionSettings().config_of(len(NODES), query_vectors(announcement, Plan(QUERY)))
    number = announcement.participants().number(node_name(VICTIM))
    message = wire.encode(Invitation(number, config, bytes(32)))
    return {"message": message, "announcement": msgspec.msgpack.encode(announcement)}


def agreeing() -> Context:
    """The victim, which has agreed to QUERY."""
    context = context_of(b"")
    own = site({})
    agree(context, QUERY, own.policy.client_policy, own.answer(QUERY))
    return context


def flower_query(data: bytes) -> None:
    """The first byte says as what the rest reaches a node with a site."""
    shape, rest = (data[0] if data else 0) % 4, data[1:]
    context, content = context_of(b""), RecordDict({RECORD: record_of(query=rest)})
    if shape == 1:
        content = from_bytes(rest) or RecordDict()
    elif shape == 2:
        context, content = agreeing(), RecordDict({RECORD: record_of(**invitation() | {"announcement": rest})})
    elif shape == 3:
        context, content = agreeing(), RecordDict({RECORD: record_of(**invitation())})
        context.state[AGREED] = ConfigRecord({"agreed": rest})
        with suppress(MalformedMessage, ParameterError, UnexpectedMessage):
            agreed_query(context)
    train_messages(nodes=[VICTIM])  # tells newer Flowers who asks
    message = Message(content, VICTIM, STATISTICS)
    message.metadata.__dict__["_message_id"] = "m"
    with quiet():
        reply = mod().query(message, context)
    _check_answer(reply)


def flower_asked(data: bytes) -> None:
    """A whole query with living nodes, one of which sends, in one exchange, what the input says."""
    at, shape, rest = (data[0] if data else 0) % EXCHANGES, (data[1] if data[1:] else 0) % 3, data[2:]

    def disturb(number: int, node_id: int, message: Message, answer: Any) -> Message:
        if node_id != VICTIM or number != at + 1:
            return answer(message)
        answer(message)
        return _hostile(shape, at, rest, message)[0]

    app = ClientApp(mods=[mod()])
    app.query("statistics")(mod().query)
    notes = fresh_notes()
    grid = make_grid(app, len(NODES), node_config=lambda _: {"secagg-answered": notes}, disturb=disturb)
    reports: list[SessionReport] = []
    with quiet():
        try:
            answer = ask(grid, QUERY, SHOWN, reports=reports, dropout_fraction=0.2)
        except SecAggError as error:
            check_text(str(error))
            return
    (report,) = reports
    for node, reason in report.failures.items():
        check_text(reason)
        if node != VICTIM and "no answer" not in reason:
            raise AssertionError(f"node {node} is blamed for what another one sent: {reason}")
    if VICTIM not in report.survivors and answer.findings[0].value != ROWS * len(report.survivors):
        raise AssertionError("the answer is not that of the survivors' rows")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-flower-site-")


def flower_site_file(data: bytes) -> None:
    """The first byte says whether the rest is the file of a site, or its table."""
    path = Path(_folder().name) / "site.toml"
    path.write_bytes(b'dataset = "d"\ntable = "t.csv"\njournal = "j"\n[columns]\nx = "number"\ny = "text"\n')
    path.with_name("t.csv").write_bytes(b"x,y\n1,a\n")
    (path.with_name("t.csv") if data[:1] == b"\x01" else path).write_bytes(data[1:])
    with quiet():
        try:
            found = read_site(path)
        except ParameterError as error:
            check_text(str(error).replace(_folder().name, ""))
            return
    if any(len(values) != found.length for values in found.columns.values()):
        raise AssertionError("columns of unequal lengths")


TARGETS = (flower_query, flower_asked, flower_site_file)
WEIGHTS = {"flower_query": 0.15, "flower_asked": 0.003, "flower_site_file": 0.3}
