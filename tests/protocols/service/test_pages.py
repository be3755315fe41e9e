"""Pages as text: what they say, what they forbid, and what they escape."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from protocols import Client, ClientPolicy, IntegerVector, Participants, RoundConfig, Server, ThreatModel
from protocols.core.threat_model import Adversary
from protocols.service.consents import Asked, Matter, OptOut
from protocols.service.pages import frame, operating
from protocols.service.pages.frame import Reader
from protocols.service.pages.mine import Standing, participant_page
from protocols.service.pages.phases import in_words, order, standing
from protocols.service.pages.results import result_tables
from protocols.service.views import PhaseView, ServiceView, State
from secagg.signatures import Identity
from tests.protocols.service import sample_views as sample

VIEW = sample.service()
RUNNING, STATISTICS, DONE, FAILED = VIEW.sessions
READER = Reader(sample.NOW, "sums.example")
OPERATOR = replace(READER, signed_in=True, may_sign_in=True)
STANDING = Standing(
    "hospital-11",
    "https://sums.example",
    (
        Asked(
            sample.DONE, "Weekly <update>", "sum", "masking", (Matter("update", "sum"),), (("update", 1000),),
            (), sample.NOW,
            (("advertise-keys", 64), ("masked-input", 4_000)), "completed",
        ),
        Asked(
            sample.RUNNING, "Stay", "statistics", "masking", (Matter("admissions", "heart <research>"),),
            (("n:ward", 3),), (("mean", "stay"), ("of", "rows with age ≥ 18 & more")), sample.NOW,
            refused="consent-withdrawn: the participant has opted out",
        ),
    ),
    (OptOut("admissions", "", sample.NOW),),
)  # fmt: skip


def pages() -> dict[str, str]:
    return {
        "overview": operating.overview(VIEW, READER),
        "nothing": operating.overview(ServiceView((), (), ()), READER),
        "members": operating.members_page(VIEW.members, READER),
        "refusal": operating.refusal_page("Not <done>", "a & b", READER),
        "participant": participant_page(STANDING, replace(READER, may_sign_in=True)),
        "participant signed in": participant_page(STANDING, OPERATOR),
        **{each.title: operating.session_page(each, OPERATOR, show_result=True) for each in VIEW.sessions},
    }


PAGES = pages()
VOID = {"meta", "link", "input", "br", "img"}
CLOSED_BY_ITSELF = {"rect", "line"}


class Reading(HTMLParser):
    """Notes tags, and fails where they do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID | CLOSED_BY_ITSELF:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_pages_are_whole_and_fetch_nothing(page):
    reading = Reading(page)
    names = [tag for tag, _ in reading.tags]
    assert names.count("h1") == names.count("main") == names.count("title") == 1
    for tag, attributes in reading.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        for name in ("src", "href", "action"):
            address = attributes.get(name) or "/"
            assert address.startswith(("/", "data:image/svg+xml", "#")), (tag, address)
            assert not address.startswith("//")
    ids = [attributes["id"] for _, attributes in reading.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_policy_admits_the_one_script_and_the_one_style(page):
    policy = frame.HEADERS["Content-Security-Policy"]
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_texts_of_others_are_escaped():
    hostile = "<script>alert(1)</script>\"'"
    view = replace(
        RUNNING,
        title=hostile,
        excluded={hostile: hostile},
        refused={hostile + "2": hostile},
        participants=(hostile,),
        phases=(PhaseView(hostile, (hostile,), (), 1, 0, 1, None, 0), *RUNNING.phases),
        error=hostile,
        reason=hostile,
        result=json.dumps({"sums": {hostile: [hostile]}, "survivors": [hostile], hostile: {hostile: [hostile]}}),
    )
    for state in State:
        page = operating.session_page(replace(view, state=state), OPERATOR, show_result=True)
        assert "<script>alert" not in page
        assert page.count("&lt;script&gt;alert") > 5
        Reading(page)
    matters, vectors, question = (Matter(hostile, hostile),), ((hostile, 1),), ((hostile, hostile),)
    asked = Asked("00", hostile, hostile, hostile, matters, vectors, question, 1.0, ((hostile, 3),))
    query = replace(asked, kind="statistics")
    page = participant_page(
        Standing(hostile, hostile, (asked, query), (OptOut(hostile, hostile, 1.0),), hostile), OPERATOR
    )
    assert "<script>alert" not in page
    Reading(page)


def test_a_phase_says_how_far_it_is_from_what_it_needs():
    phase = RUNNING.phases[-1]
    assert "<b>6 of 10</b> answered" in standing(phase)
    assert "2 short of the 8 needed" in standing(phase)
    assert "8 needed, 1 to spare" in standing(replace(phase, answered=phase.asked[:9]))
    page = PAGES[RUNNING.title]
    assert "21 s left at most" in page  # a quorum and its grace may close it before
    assert 'aria-label="6 of 10 have answered; 8 are needed"' in page
    assert f"<li>{sample.VANISHED}</li>" in page[page.index("Awaited") :]
    late = operating.session_page(RUNNING, replace(OPERATOR, now=sample.NOW + 60), show_result=False)
    assert "its deadline has passed" in late


def test_who_is_out_is_named_with_a_reason():
    page = PAGES[DONE.title]
    out = page[page.index("Out, and why") : page.index("About this session")]
    assert f"{sample.LIAR}</td>" in out
    assert "MalformedMessage: 17 shares" in out
    assert "opted out of admissions" in out
    assert "no answer in phase Inputs" in out
    assert out.count("<tr>") == 1 + 3


def test_phases_to_come_are_those_of_the_protocol():
    assert "Unmasking" in PAGES[RUNNING.title]
    assert "to come: each signs who is in the sum" in PAGES[RUNNING.title]
    curious = replace(RUNNING, adversary="curious-server")
    assert [str(name) for name in order(curious)] == ["advertise-keys", "share-keys", "masked-input", "unmasking"]
    assert len(order(replace(RUNNING, adversary="malicious-server"))) == 6
    assert order(replace(RUNNING, protocol="paillier"))[0] == "commitments"
    assert "to come" not in PAGES[DONE.title]


@pytest.mark.parametrize("adversary", list(Adversary))
def test_the_order_of_phases_is_the_servers(adversary):
    identities = {f"p{i}": Identity.generate() for i in range(5)}
    keys = {name: identity.public_bytes for name, identity in identities.items()}
    names = Participants(keys if adversary.needs_identities else list(keys))
    server = Server(RoundConfig(ThreatModel(5, adversary=adversary), (IntegerVector("v", 1),)), names)
    policy, signed = ClientPolicy.permissive(), adversary.needs_identities
    clients = {
        name: Client(policy=policy, participants=names, identity=identity) if signed else Client(policy=policy)
        for name, identity in identities.items()
    }
    found = []
    while not server.ended:
        found.append(str(server.phase))
        for name, message in server.outgoing().items():
            server.receive(name, clients[name].respond(message, {"v": np.ones(1, dtype=int)}))
        server.close_phase()
    assert found == [str(name) for name in order(replace(RUNNING, adversary=str(adversary)))]


def test_the_status_tells_everything_in_a_sentence():
    assert in_words(RUNNING, sample.NOW) == "Phase 3 of 5, Inputs: 6 of 10 answered, 8 needed. 2 out."
    silent = replace(RUNNING, excluded={}, phases=(*RUNNING.phases[:2], replace(RUNNING.phases[2], closed=sample.NOW)))
    assert in_words(silent, sample.NOW) == "Running. 1 out, 5 missing."
    assert in_words(FAILED, sample.NOW) == "Ended without a result: ThresholdError."
    assert in_words(DONE, sample.NOW).startswith("Completed after ")
    assert '<p id="status" class="heard" role="status" data-live>' in PAGES[RUNNING.title]
    assert '<p id="status" class="heard" role="status">' in PAGES[DONE.title]
    assert 'http-equiv="refresh"' not in PAGES[DONE.title]


def test_results_are_for_who_may_see_them():
    for result in (DONE, STATISTICS):
        hidden = operating.session_page(result, READER, show_result=False)
        assert "without an operator" in hidden
        assert '<table class="grid"' not in hidden
        assert "2,380" not in hidden
    assert "Sign in to see it" in operating.session_page(DONE, replace(READER, may_sign_in=True), show_result=False)


def test_results_are_tables():
    sums, found = PAGES[DONE.title], PAGES[STATISTICS.title]
    assert "In the sum: 9" in sums
    assert "<td>32</td><td>4.5714</td>" in sums
    assert "levels" not in sums
    assert "11 sites, 2,380 records" in found
    assert "<td>mean of age</td><td>62.14</td><td>0.0001</td>" in found
    assert "hidden: cell" in found
    assert "0.53 to 0.59" in found
    assert found.count('class="gone">hidden') == 4
    assert "beside what is shown it would tell of few rows" in found
    for odd in ('"text"', "[1, 2]", "[]", "{}", "no json", "null", '{"results": [{}, 3]}', '{"results": 3, "sums": 4}'):
        Reading(frame.framed("odd", f"<h1>odd</h1>{result_tables(odd)}", READER, status=""))


def test_only_who_has_signed_in_is_shown_forms_that_act():
    assert "/cancel" in PAGES[RUNNING.title]
    assert "/cancel" not in operating.session_page(RUNNING, READER, show_result=False)
    assert "/cancel" not in PAGES[DONE.title]
    assert 'action="/opt-out"' not in PAGES["participant"]
    assert 'action="/opt-out"' in PAGES["participant signed in"]
    assert 'action="/sign-in"' not in PAGES["overview"]  # there is no token
    assert 'action="/sign-in"' in PAGES["participant"]


def test_members_to_upgrade_are_named():
    for page in (PAGES["overview"], PAGES["members"]):
        assert "1 member to upgrade" in page
    members = PAGES["members"]
    assert "speaks wire version 0, not 1" in members
    assert "revoked" in members
    assert "not seen yet" in members


def test_budgets_have_bars():
    page = PAGES["overview"]
    assert 'aria-label="1.25 of epsilon 3 spent"' in page
    assert "1.75 left" in page
    assert '<span class="bad">0 left</span>' in page


def test_a_participant_sees_what_was_asked_and_given_and_what_it_is_out_of():
    page = PAGES["participant"]
    assert "update (1,000 numbers)" in page
    assert "your values under masks, 4.0 KiB in 2 answers" in page
    assert "admissions for heart &lt;research&gt;" in page
    assert "opted out" in page
    assert "<dt>Mean</dt><dd>stay</dd><dt>Of</dt><dd>rows with age ≥ 18 &amp; more</dd>" in page
    assert "3 sums over rows, on this machine: no row leaves it" in page
    early = participant_page(replace(STANDING, asked=(Asked(sample.FAILED, ended="aborted"),)), READER)
    assert "nothing: it ended before that" in early
    assert sample.FAILED in early
    trouble = participant_page(replace(STANDING, trouble="the file is damaged"), READER)
    assert "Nothing is answered" in trouble
    everything = participant_page(replace(STANDING, out=(OptOut("", "", 1.0),)), READER)
    assert "You have opted out of everything" in everything


def test_what_waits_for_members_is_shown_with_who_is_missing():
    page = PAGES["overview"]
    assert "<b>2 of 5</b> members can take part" in page
    assert 'aria-label="10 of 40 members can take part"' in page
    _, named, any_forty = (re.split("<h[23]>", page[page.index("Waiting for members") :]))[:3]

    def standings(card):
        listed = re.findall('<p class="dim">([^<]*):</p><ul class="names">(.*?)</ul>', card)
        return {what: re.findall("<li[^>]*>([^<]*)", names) for what, names in listed}

    assert standings(named) == {
        "enrolled": ["hospital-02", "hospital-03"],
        "revoked": ["hospital-09"],
        "invited, and not enrolled yet": ["hospital-13 &lt;new&gt;"],
        "missing, and not invited": ["clinic &lt;lost&gt;"],
    }
    assert standings(any_forty) == {
        "enrolled": [name for name in sample.HOSPITALS if name[-2:] not in ("01", "05", "09")],
        "enrolled, and not seen yet": ["hospital-01"],
        "to upgrade first": ["hospital-05"],
        "invited, and not enrolled yet": ["hospital-13 &lt;new&gt;", "hospital-14"],
    }
    assert "Waiting for members" not in PAGES["nothing"]


def test_a_session_that_ended_before_any_phase_says_that_nobody_was_asked():
    page = operating.session_page(replace(FAILED, phases=()), READER, show_result=False)
    assert "Nobody was asked for anything." in page
    assert "has not begun" not in page


def test_a_table_of_nothing_but_hidden_cells_is_a_sentence():
    hidden = {"edges": [0, 5, 10], "counts": [None, None], "below": None, "above": None, "missing": None}
    gone = sample.finding("histogram", ["stay"], hidden, n=None, suppressed={"below": "table", "bins": "table"})
    shown = result_tables(json.dumps({"sites": 9, "records": None, "results": [gone]}))
    assert "All of it is hidden: table." in shown
    assert "[0, 5)" not in shown
    assert "the margins of its table" in shown
    some = gone | {"value": hidden | {"counts": [7, None]}}
    assert "[0, 5)" in result_tables(json.dumps({"sites": 9, "records": None, "results": [some]}))


def test_a_page_of_very_many_stays_readable():
    crowd = tuple(f"client-{i:04}" for i in range(1000))
    phase = PhaseView("masked-input", crowd, crowd[:100], 900, sample.NOW - 3, sample.NOW + 60)
    view = replace(RUNNING, participants=crowd, phases=(phase,), excluded={}, refused={})
    page = operating.session_page(view, READER, show_result=False)
    assert "and 840 more" in page
    assert len(page) < 120_000
