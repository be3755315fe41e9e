"""An analyst's question at the server: nodes are asked who answers it, and those who do add up in one session."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from secagg.errors import ParameterError, SecAggError, ThresholdError
from secagg.randomness import SYSTEM, RandomBytes

from ..core.numbers import whole
from ..masking.server import Server
from ..statistics import Answer, Plan, Query, ReleasePolicy, answer_of
from .announcement import node_id_of, query_announcement, query_vectors
from .envelope import RECORD, STATISTICS, field, record_of
from .exchange import ASK, Exchange
from .report import SessionReport
from .session import Session
from .settings import SessionSettings


def ask(
    grid: Grid,
    query: Query,
    release: ReleasePolicy | None = None,
    settings: SessionSettings | None = None,
    *,
    min_available_nodes: int = 5,
    reports: list[SessionReport] | None = None,
    random: RandomBytes = SYSTEM,
    **options: Any,
) -> Answer:
    """Ask all connected nodes a query, and return what their sites' rows together say.

    A node whose site refuses tells one word (`secagg.errors.QueryRefused`), and is not in the session: refusals use up
    nothing of dropout_fraction.

    Args:
        grid: Flower's.
        query: what is asked.
        release: what is shown of the sum; `ReleasePolicy()` when None.
        settings: of the session; or else its fields as keyword arguments.
        min_available_nodes: wait until so many nodes are connected, for stage_timeout at most.
        reports: the session's report is appended, whatever becomes of it: who answered, who refused and why.
        random: where the session's nonce, and the question for identities, come from.
        options: fields of `SessionSettings`.

    Raises:
        ParameterError: an argument is not what it should be, no node can take part (the text says what nodes say), or
            the numbers of nodes and settings do not go together.
        ThresholdError: too few nodes are connected, answer, or are left.
        SecAggError: the session ended without a sum, or with one that no data have.
    """
    if settings is not None and options:
        raise ParameterError(f"give settings, or {sorted(options)}, but not both")
    for name, value, kind in (("query", query, Query), ("release", release, ReleasePolicy | None)):
        if not isinstance(value, kind):
            raise ParameterError(f"{name} is a {type(value).__name__}, but must be of protocols.statistics")
    min_available_nodes = whole(min_available_nodes, "min_available_nodes", 1)
    asking = _Asking(grid, query, release or ReleasePolicy(), settings or SessionSettings(**options), random)
    nodes = asking.connected(min_available_nodes)
    report = SessionReport(len(nodes))
    if reports is not None:
        reports.append(report)
    start = time.perf_counter()
    try:
        answer = asking.answer(nodes, report)
    except SecAggError as error:
        report.error = str(error)
        if not isinstance(error, ThresholdError):
            raise
        report.error += report.commonest_failure
        raise ThresholdError(report.error, needed=error.needed, have=error.have) from None
    finally:
        report.seconds["server"] = time.perf_counter() - start - sum(report.seconds.values())
        report.log()
    return answer


class _Asking:
    """One query."""

    def __init__(
        self, grid: Grid, query: Query, release: ReleasePolicy, settings: SessionSettings, random: RandomBytes
    ) -> None:
        self._grid = grid
        self._query = query
        self._plan = Plan(query)
        self._release = release
        self._least = max(2, release.min_sites, settings.min_survivors)
        self._settings = settings
        self._random = random

    def connected(self, least: int) -> list[int]:
        """Wait for so many nodes, and return all that are there; raise ThresholdError if they do not come."""
        end = time.monotonic() + self._settings.stage_timeout
        while len(nodes := sorted(self._grid.get_node_ids())) < least:
            left = end - time.monotonic()
            if left <= 0:
                raise ThresholdError(
                    f"{len(nodes)} nodes are connected after {self._settings.stage_timeout:g} s, but "
                    f"min_available_nodes is {least}",
                    needed=least,
                    have=len(nodes),
                )
            time.sleep(min(1.0, left))
        return nodes

    def answer(self, nodes: Sequence[int], report: SessionReport) -> Answer:
        """Ask who answers, run the session, and return what may be shown of its sum."""
        messages = {node: Message(RecordDict(), node, STATISTICS) for node in nodes}
        willing = self._willing(messages, report)
        run_id = self._grid.run.run_id
        session = Session(
            self._grid,
            self._settings,
            {node: messages[node] for node in willing},
            report,
            run_id=run_id,
            random=self._random,
        )
        identities = session.identities(self._least)
        willing = sorted(identities or willing)
        shown = tuple(identities[node] for node in willing) if identities else ()
        announcement = query_announcement(run_id, willing, shown, self._query)
        vectors = query_vectors(announcement, self._plan)
        config = self._settings.config_of(len(willing), vectors, self._release.min_sites)
        server = Server(config, announcement.participants(), random=self._random)
        session.run(server, announcement, RecordDict(), self._settings.stage_timeout)
        answer = answer_of(self._plan, server.result, self._release)
        report.survivors = frozenset(map(node_id_of, server.result.survivors))
        return answer

    def _willing(self, messages: dict[int, Message], report: SessionReport) -> list[int]:
        """Return the nodes that answer the query; the others have failed."""
        timeout = self._settings.stage_timeout
        questions = {node: RecordDict({RECORD: record_of(query=self._query.encoded)}) for node in messages}
        report.bytes_received += len(self._query.encoded) * len(messages)
        answers = Exchange(self._grid, messages, report).ask(ASK, questions, timeout)
        willing = []
        for node, content in answers.items():
            try:
                digest = field(content, "digest")
            except SecAggError as error:
                report.failures.setdefault(node, f"{ASK}: {error}")
                continue
            report.bytes_sent += len(digest)
            if digest == self._query.digest:
                willing.append(node)
            else:
                report.failures.setdefault(node, f"{ASK}: it answers another query: install the same versions")
        report.add_silent(ASK, messages.keys() - answers.keys(), timeout)
        report.check_anyone(willing)
        if len(willing) < self._least:
            raise ThresholdError(
                f"{len(willing)} of {len(messages)} nodes answer the query, and {self._least} must",
                needed=self._least,
                have=len(willing),
            )
        return sorted(willing)
