"""What machines see: bounded labels, spans, lines of JSON; and nothing that is secret, in these or on any page."""

import asyncio
import base64
import io
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from opentelemetry import trace
from prometheus_client.parser import text_string_to_metric_families

from protocols.core.listener import MessageAccepted, ParticipantExcluded, PhaseClosed, PhaseOpened, SessionEnded
from protocols.core.threat_model import Adversary
from protocols.masking.client import Client
from protocols.masking.policy import ClientPolicy
from protocols.service import observing
from protocols.service.consents import Consents, Did, What
from protocols.service.observing import Logged, Observer
from protocols.service.pages import operating
from protocols.service.pages.frame import Reader
from protocols.service.pages.mine import Standing, participant_page
from protocols.service.sessions import read_terms
from protocols.service.views import State
from secagg.randomness import SYSTEM

from .desk_parties import COUNT, NAMES, Members, but_one_in, serving, sum_of_seven

EVENTS = (
    PhaseOpened("masked-input", 3),
    MessageAccepted("masked-input", "a", 100),
    MessageAccepted("masked-input", "b", 120),
    ParticipantExcluded("masked-input", "c", "MalformedMessage", "no message"),
    PhaseClosed("masked-input", 2, frozenset({"c"}), 1.5, 0.01),
)


class Span(trace.NonRecordingSpan):
    """Remembers what is said of it."""

    def __init__(self, tracer, name, parent, attributes):
        super().__init__(trace.INVALID_SPAN_CONTEXT)
        self.tracer, self.name, self.parent, self.attributes = tracer, name, parent, dict(attributes or {})
        self.events, self.status = [], None

    def set_attribute(self, key, value):
        self.attributes[key] = value

    def add_event(self, name, attributes=None, timestamp=None):
        self.events.append((name, dict(attributes or {})))

    def set_status(self, status, description=None):
        self.status = status

    def end(self, end_time=None):
        self.tracer.ended.append(self)

    def __repr__(self):
        return repr((self.name, self.attributes, self.events, self.status and self.status.description))


class Tracer:
    """Makes such spans."""

    def __init__(self):
        self.ended = []

    def start_span(self, name, context=None, attributes=None):
        return Span(self, name, trace.get_current_span(context), attributes)


def samples(observer):
    """Name, and values of labels in the order of the labels' names -> value."""
    families = text_string_to_metric_families(observer.metrics().decode())
    found = [each for family in families for each in family.samples]
    return {(each.name, *(value for _, value in sorted(each.labels.items()))): each.value for each in found}


@pytest.fixture
def log():
    stream = io.StringIO()
    logger = logging.getLogger("protocols.service")
    before = logger.level, logger.propagate
    handler = observing.log_json(stream, logging.DEBUG)
    yield stream
    logger.removeHandler(handler)
    logger.level, logger.propagate = before


def test_metrics_count_what_happened():
    observer = Observer()
    for event in (*EVENTS, SessionEnded(2)):
        observer("aa", event)
    observer("bb", SessionEnded(0, "ThresholdError", "too few"))
    observer.refused("replayed")
    found = samples(observer)
    assert found["secagg_asked_total", "masked-input"] == 3
    assert found["secagg_answers_total", "masked-input"] == 2
    assert found["secagg_answer_bytes_total", "masked-input"] == 220
    assert found["secagg_missing_total", "masked-input"] == 1
    assert found["secagg_excluded_total", "MalformedMessage", "masked-input"] == 1
    assert found["secagg_sessions_total", "completed"] == 1
    assert found["secagg_sessions_total", "ThresholdError"] == 1
    assert found["secagg_phase_open_seconds_sum", "masked-input"] == 1.5
    assert found["secagg_requests_refused_total", "replayed"] == 1
    assert found["secagg_sessions_running",] == 0


def test_labels_are_of_lists_that_end_whatever_peers_send():
    observer = Observer()
    for number in range(50):
        odd = f"odd-{number}"
        observer(odd, PhaseOpened(odd, 1))
        observer(odd, MessageAccepted(odd, odd, 1))
        observer(odd, ParticipantExcluded(odd, odd, odd, odd))
        observer(odd, PhaseClosed(odd, 1, frozenset({odd}), 1, 1))
        observer(odd, SessionEnded(1, odd, odd))
        observer.refused(odd)
    text = observer.metrics().decode()
    assert "odd" not in text
    assert samples(observer)["secagg_excluded_total", "other", "other"] == 50
    assert len(text.splitlines()) < 120


def test_the_guides_metrics_are_there():
    guide = (Path(__file__).parents[3] / "docs/guides/service.md").read_text()
    named = set(re.findall(r"`(secagg_\w+)(?:\{([\w,]+)\})?`", guide))
    observer = Observer()
    for event in (*EVENTS, SessionEnded(2)):
        observer("aa", event)
    observer.refused("replayed")
    observer.served("letters", 200, 0.1)
    families = text_string_to_metric_families(observer.metrics().decode())
    kept = {each.name: set(each.labels) for family in families for each in family.samples}
    assert len(named) > 6
    for name, labels in named:
        found = kept[name if name.endswith("_total") else f"{name}_count"]
        assert not labels or found == set(labels.split(",")), name


def test_requests_are_counted_by_what_serves_them():
    async def shown(scope, receive, send):
        scope["endpoint"] = test_requests_are_counted_by_what_serves_them
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body"})

    async def nothing(message):
        pass

    observer = Observer()
    for path in ("/a", "/b", "/c"):
        asyncio.run(observer.counted(shown)({"type": "http", "path": path}, nothing, nothing))
    assert samples(observer)["secagg_requests_total", "404", "test_requests_are_counted_by_what_serves_them"] == 3


def test_a_span_for_each_phase_within_one_of_the_session():
    tracer = Tracer()
    observer = Observer(tracer=tracer)
    for event in (*EVENTS, PhaseOpened("unmasking", 2)):
        observer("aa", event)
    observer("aa", SessionEnded(0, "ThresholdError", "too few"))
    inputs, unmasking, whole = tracer.ended
    assert [inputs.name, unmasking.name, whole.name] == [
        "secagg.phase masked-input",
        "secagg.phase unmasking",
        "secagg.session",
    ]
    assert inputs.parent is whole
    assert unmasking.parent is whole
    assert inputs.attributes == {
        "secagg.session": "aa",
        "secagg.phase": "masked-input",
        "secagg.asked": 3,
        "secagg.answered": 2,
        "secagg.missing": 1,
        "secagg.closing_seconds": 0.01,
    }
    assert inputs.events == [("excluded", {"secagg.participant": "c", "secagg.error": "MalformedMessage"})]
    assert not whole.status.is_ok


def test_a_session_that_was_taken_over_or_is_left_to_others_has_whole_spans():
    tracer = Tracer()
    observer = Observer(tracer=tracer)
    observer("aa", PhaseClosed("masked-input", 2, frozenset(), 1, 1))  # opened by a process that died
    observer("aa", PhaseOpened("unmasking", 2))
    observer.close()
    assert [span.name for span in tracer.ended] == [
        "secagg.phase masked-input",
        "secagg.phase unmasking",
        "secagg.session",
    ]
    observer.close()


def test_a_line_of_json_for_each_event(log):
    observer = Observer()
    for event in (*EVENTS, SessionEnded(2), SessionEnded(0, "ThresholdError", "too few\nof them")):
        observer("aa", event)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [
        "phase opened",
        "answer accepted",
        "answer accepted",
        "participant excluded",
        "phase closed",
        "session completed",
        "session failed",
    ]
    assert {line["session"] for line in lines} == {"aa"}
    assert lines[3]["level"] == "warning"
    assert lines[4]["missing"] == ["c"]
    assert lines[6]["reason"] == "too few\nof them"
    try:
        raise ValueError("a secret")
    except ValueError:
        logging.getLogger("protocols.service").exception("something failed")
    last = json.loads(log.getvalue().splitlines()[-1])
    assert last["error"] == "ValueError"
    assert "a secret" not in log.getvalue()


def test_what_a_participant_does_is_logged_where_that_is_asked_for(log, tmp_path):
    consents = Consents(tmp_path)
    noting = Logged(consents)
    terms = sum_of_seven().terms
    assert noting.objection("aa", terms) == ""
    noting.note(Did(What.ANSWERED, "aa", "a sum", "sum", "masked-input", 100))
    noting.note(Did(What.REFUSED, "aa", "a sum", "sum", "unmasking", reason="consent-withdrawn: no"))
    answered, refused = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (answered["event"], answered["bytes"], answered["level"]) == ("answered", 100, "info")
    assert (refused["event"], refused["reason"], refused["level"]) == ("refused", "consent-withdrawn: no", "warning")
    (kept,) = consents.asked()
    assert kept.given == (("masked-input", 100),)


def written(secret: bytes) -> list[str]:
    """All ways in which bytes may stand in a text."""
    return [
        secret.hex(),
        secret.hex().upper(),
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        str(int.from_bytes(secret, "little")),
        str(int.from_bytes(secret, "big")),
        repr(secret)[2:-1],
    ]


def test_nothing_of_a_session_that_is_secret_is_shown_anywhere(tmp_path, log):
    """One vanishes, one lies; every draw, message and input of every participant is looked for in all that is shown."""
    values = {name: np.array([1_234_567 + 1_003 * at, 7, 0, 7, 1]) for at, name in enumerate(NAMES)}
    drawn, bodies, texts = [], [], []
    tracer = Tracer()
    observer = Observer(tracer=tracer)
    consents = Consents(tmp_path / "own")
    gone, liar = NAMES.names[-1], NAMES.names[0]

    def recorded(count):
        found = SYSTEM(count)
        drawn.append(found)
        return found

    def bent(name, phase, answer):
        bodies.append(answer)
        if name == NAMES.names[1]:
            consents.note(Did(What.ANSWERED, "aa", "a sum of seven", "sum", phase, len(answer)))
        return [answer[:-1] + bytes([answer[-1] ^ 1])] if (name, phase) == (liar, "unmasking") else [answer]

    async def look(desk, session):
        service = await desk.view()
        view = await desk.session_view(session)
        for signed_in in (False, True):
            reader = Reader(1_795_900_000.0, "a service", signed_in, True)
            texts.append(operating.overview(service, reader))
            texts.append(operating.members_page(service.members, reader))
            texts.append(operating.session_page(view, reader, show_result=signed_in))

    async def play():
        async with serving(tmp_path, observe=observer) as desk:
            session = await desk.open(sum_of_seven(Adversary.CURIOUS_SERVER, deadlines=but_one_in("masked-input")))
            consents.objection("aa", read_terms(await desk.terms(NAMES.names[1], session)))
            members = Members(
                desk,
                lambda name: Client(policy=ClientPolicy.permissive(), random=recorded, threads=1),
                values=lambda name: {"v": values[name]},
                silent={"masked-input": {gone}},
                bend=bent,
            )
            playing = asyncio.create_task(members.play(sum_of_seven(), session))
            while not playing.done():
                await look(desk, session)
                await asyncio.sleep(0.05)
            await look(desk, session)
            return await playing

    view = asyncio.run(play())
    assert view.state is State.COMPLETED, view
    assert view.excluded
    texts.append(participant_page(Standing("me", "there", consents.asked(), consents.out()), Reader(1.0)))
    texts.append(observer.metrics().decode())
    texts.append(log.getvalue())
    texts += [repr(span) for span in tracer.ended]
    texts += [path.read_text() for path in (tmp_path / "own").iterdir()]
    everything = "\n".join(texts)
    assert len(texts) > 15
    assert "masked-input" in everything
    assert gone in everything
    total = sum(values[name] for name in values if name != gone)
    assert f"{total[0]:,}" in everything  # the sum is there, and so would an input be
    secrets = [text for draw in drawn if len(draw) >= 8 for text in written(draw[:32])]
    secrets += [text for body in bodies for text in written(body[-48:])]
    secrets += [form for own in values.values() for form in (str(own[0]), f"{own[0]:,}", f"{own[0]:.8g}")]
    assert len(secrets) > 50 * COUNT
    assert [secret for secret in secrets if secret in everything] == []
