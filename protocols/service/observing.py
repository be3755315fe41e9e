"""What machines see of a service: metrics, spans, logs, whether it lives and is ready. Kinds, counts and times.

Labels are of lists that end: no session, no name and no text of anybody is one. Spans and logs name sessions and
participants; no value, key, share or token is in any of them.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

import dp.errors
import secagg.errors

from ..core.listener import MessageAccepted, ParticipantExcluded, PhaseClosed, PhaseOpened, SessionEnded, Transition
from ..masking.transitions import ServerPhase
from ..paillier.state import AggregatorPhase
from .errors import STATUSES, StoreError, UnknownSessionError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .consents import Consenting, Did
    from .desk import Desk
    from .sessions import Terms

_LOG = logging.getLogger("protocols.service")
_LOG.addHandler(logging.NullHandler())  # or Python writes bare words to standard error where nobody set up logging
_PHASES = frozenset({*map(str, ServerPhase), *map(str, AggregatorPhase)})
_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800, 7200, 43200, 259200)
_OTHER = "other"
_NO_SESSION = "0" * 32


def _kinds() -> frozenset[str]:
    """Return the names of all errors of ours."""
    found = set[str]()
    left: list[type] = [secagg.errors.SecAggError, dp.errors.DpError]
    while left:
        kind = left.pop()
        if kind.__module__.split(".")[0] in ("secagg", "dp", "protocols"):
            found.add(kind.__name__)
            left += kind.__subclasses__()
    return frozenset(found)


class Observer:
    """Hears of what sessions do, from any thread: `Desk(..., observe=observer)`.

    Args:
        registry: where metrics are kept: its own when None, so that nothing else is in them.
        tracer: makes spans: OpenTelemetry's for "secagg" when None, which does nothing unless its SDK was set up.
    """

    def __init__(self, registry: CollectorRegistry | None = None, tracer: trace.Tracer | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._tracer = tracer or trace.get_tracer("secagg")
        self._lock = threading.Lock()
        self._spans: dict[str, dict[str, trace.Span]] = {}
        made: dict[str, Any] = {"registry": self.registry}
        self._ended = Counter("secagg_sessions", "Sessions that have ended, by how.", ["outcome"], **made)
        self._running = Gauge(
            "secagg_sessions_running", "Sessions that this process runs, or has lost to another.", **made
        )
        self._asked = Counter("secagg_asked", "Participants that were asked, by phase.", ["phase"], **made)
        self._answers = Counter("secagg_answers", "Answers that were accepted, by phase.", ["phase"], **made)
        self._bytes = Counter("secagg_answer_bytes", "Bytes of accepted answers, by phase.", ["phase"], **made)
        self._missing = Counter("secagg_missing", "Participants that did not answer, by phase.", ["phase"], **made)
        self._excluded = Counter(
            "secagg_excluded",
            "Participants whose message was bad, by phase and kind of error.",
            ["phase", "error"],
            **made,
        )
        self._open = Histogram(
            "secagg_phase_open_seconds", "How long a phase was open.", ["phase"], buckets=_SECONDS, **made
        )
        self._closing = Histogram(
            "secagg_phase_closing_seconds", "How long closing a phase took.", ["phase"], buckets=_SECONDS, **made
        )
        self._requests = Counter(
            "secagg_requests", "Requests, by what served them and status.", ["to", "status"], **made
        )
        self._latency = Histogram(
            "secagg_request_seconds", "From a request to the begin of its reply.", ["to"], buckets=_SECONDS, **made
        )
        self._refusals = Counter("secagg_requests_refused", "Requests that were refused, by kind.", ["kind"], **made)
        self._known = _kinds()

    def __call__(self, session: str, transition: Transition) -> None:
        """Count a transition, trace it, and log it."""
        self._count(session, transition)
        self._trace(session, transition)
        self._log(session, transition)

    def refused(self, kind: str) -> None:
        """Count a request that was refused."""
        self._refusals.labels(kind if kind in STATUSES else _OTHER).inc()

    def counted(self, app: ASGIApp) -> ASGIApp:
        """Return an application whose requests are counted, by the name of what serves them."""
        return _Counted(app, self)

    def served(self, to: str, status: int, seconds: float) -> None:
        """Count a request that was served."""
        self._requests.labels(to, str(status)).inc()
        self._latency.labels(to).observe(seconds)

    def metrics(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)

    def close(self) -> None:
        """End the spans of sessions that others go on with."""
        with self._lock:
            spans, self._spans = self._spans, {}
        for own in spans.values():
            for span in reversed(own.values()):
                span.end()
        self._running.set(0)

    def routes(self, desk: Desk, *, running: Callable[[], bool] = lambda: True) -> list[BaseRoute]:
        """Return /health, /ready and /metrics.

        Args:
            desk: whose store must answer before the service is ready.
            running: whether this process runs sessions.
        """

        async def health(_: Request) -> Response:
            return JSONResponse({"status": "alive"})

        async def ready(_: Request) -> Response:
            try:
                await desk.session_view(_NO_SESSION)
            except UnknownSessionError:
                pass
            except StoreError as error:
                return JSONResponse({"status": "store", "reason": type(error).__name__}, 503)
            if not running():
                return JSONResponse({"status": "stopped", "reason": "no sessions are run by this process"}, 503)
            return JSONResponse({"status": "ready"})

        async def metrics(_: Request) -> Response:
            return Response(self.metrics(), media_type=CONTENT_TYPE_LATEST)

        return [
            Route("/health", health, methods=["GET"]),
            Route("/ready", ready, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
        ]

    def _count(self, session: str, transition: Transition) -> None:
        match transition:
            case PhaseOpened(phase, asked):
                self._asked.labels(_phase(phase)).inc(asked)
            case MessageAccepted(phase, _, num_bytes):
                self._answers.labels(_phase(phase)).inc()
                self._bytes.labels(_phase(phase)).inc(num_bytes)
            case ParticipantExcluded(phase, _, error, _):
                self._excluded.labels(_phase(phase), self._error(error)).inc()
            case PhaseClosed(phase, _, missing, open_seconds, closing_seconds):
                self._missing.labels(_phase(phase)).inc(len(missing))
                self._open.labels(_phase(phase)).observe(open_seconds)
                self._closing.labels(_phase(phase)).observe(closing_seconds)
            case SessionEnded(_, error, _):
                self._ended.labels("completed" if error is None else self._error(error)).inc()

    def _error(self, kind: str) -> str:
        if kind not in self._known:
            self._known = _kinds()  # of modules that were loaded since
        return kind if kind in self._known else _OTHER

    def _trace(self, session: str, transition: Transition) -> None:
        with self._lock:
            own = self._spans.get(session)
            if own is None:
                span = self._tracer.start_span("secagg.session", attributes={"secagg.session": session})
                own = self._spans[session] = {"": span}
            self._running.set(len(self._spans))
            whole = own[""]
            match transition:
                case PhaseOpened(phase, asked):
                    context = trace.set_span_in_context(whole)
                    facts: dict[str, str | int] = {
                        "secagg.session": session,
                        "secagg.phase": phase,
                        "secagg.asked": asked,
                    }
                    own[phase] = self._tracer.start_span(f"secagg.phase {phase}", context=context, attributes=facts)
                case ParticipantExcluded(phase, name, error, _):
                    facts = {"secagg.participant": name, "secagg.error": error}
                    own.get(phase, whole).add_event("excluded", facts)
                case PhaseClosed(phase, answered, missing, _, closing_seconds):
                    context = trace.set_span_in_context(whole)
                    if phase not in own:  # it was opened by a process that died
                        own[phase] = self._tracer.start_span(f"secagg.phase {phase}", context=context)
                    span = own.pop(phase)
                    span.set_attribute("secagg.answered", answered)
                    span.set_attribute("secagg.missing", len(missing))
                    span.set_attribute("secagg.closing_seconds", closing_seconds)
                    span.end()
                case SessionEnded(survivors, error, _):
                    whole.set_attribute("secagg.survivors", survivors)
                    if error is not None:
                        whole.set_status(trace.Status(trace.StatusCode.ERROR, error))
                    for span in reversed(own.values()):
                        span.end()
                    del self._spans[session]
                    self._running.set(len(self._spans))

    def _log(self, session: str, transition: Transition) -> None:
        facts: dict[str, Any] = {"session": session}
        level = logging.INFO
        match transition:
            case PhaseOpened(phase, asked):
                event, facts = "phase opened", facts | {"phase": phase, "asked": asked}
            case MessageAccepted(phase, sender, num_bytes):
                event, level = "answer accepted", logging.DEBUG
                facts |= {"phase": phase, "participant": sender, "bytes": num_bytes}
            case ParticipantExcluded(phase, name, error, reason):
                event, level = "participant excluded", logging.WARNING
                facts |= {"phase": phase, "participant": name, "error": error, "reason": reason}
            case PhaseClosed(phase, answered, missing, open_seconds, closing_seconds):
                event = "phase closed"
                facts |= {"phase": phase, "answered": answered, "missing": sorted(missing)}
                facts |= {"open_seconds": round(open_seconds, 3), "closing_seconds": round(closing_seconds, 3)}
            case SessionEnded(survivors, None, _):
                event, facts = "session completed", facts | {"survivors": survivors}
            case SessionEnded(_, error, reason):
                event, level = "session failed", logging.ERROR
                facts |= {"error": error, "reason": reason}
        _LOG.log(level, event, extra={"facts": facts})


class _Counted:
    """An application whose requests are counted."""

    def __init__(self, app: ASGIApp, observer: Observer) -> None:
        self._app, self._observer = app, observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), 500

        async def counting(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status = message["status"]
                self._observer.served(_name_of(scope), status, time.monotonic() - begun)
            await send(message)

        await self._app(scope, receive, counting)


def _name_of(scope: Scope) -> str:
    """Return the name of the function that serves a request: one of the code's own, whatever was asked for."""
    return str(getattr(scope.get("endpoint"), "__name__", "nothing")).strip("_")


def _phase(name: str) -> str:
    return name if name in _PHASES else _OTHER


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON: when, how grave, what, and its facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
        line = {"at": at, "level": record.levelname.lower(), "logger": record.name, "event": record.getMessage()}
        line |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__  # its text may hold anything
        return json.dumps(line, default=str, ensure_ascii=True)


class Logged:
    """A participant's consents, of which each thing that is done is logged, too.

    Args:
        consents: what is asked, and what keeps what was done.
    """

    def __init__(self, consents: Consenting) -> None:
        self._consents = consents

    def objection(self, session: str, terms: Terms) -> str:
        """Return what the consents say."""
        return self._consents.objection(session, terms)

    def note(self, did: Did) -> None:
        """Log it, and keep it."""
        self._consents.note(did)
        facts: dict[str, str | int] = {"session": did.session, "title": did.title, "phase": did.phase}
        facts |= {"bytes": did.num_bytes} if did.num_bytes else {}
        refused = {"reason": did.reason} if did.reason else {}
        _LOG.log(logging.WARNING if refused else logging.INFO, str(did.what), extra={"facts": facts | refused})


def saying_json(stream: IO[str]) -> Callable[[str], None]:
    """Have the service's log written as `log_json` does; return what says a sentence in it."""
    log_json(stream)
    return _LOG.info


def log_json(stream: IO[str], level: int = logging.INFO) -> logging.Handler:
    """Let the service write its log to a stream, a line of JSON a record; return the handler, to be taken off again."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    _LOG.addHandler(handler)
    _LOG.setLevel(level)
    _LOG.propagate = False
    return handler
