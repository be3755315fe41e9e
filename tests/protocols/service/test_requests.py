"""Requests that are not what they claim to be: refused by status and sentence, counted, and nobody else is hurt."""

import asyncio
import gc
import json
import time
import tracemalloc
from collections import Counter
from types import SimpleNamespace

import pytest

from protocols.core.participants import Participants
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.service import signing
from protocols.service.errors import ReplayedRequestError
from protocols.service.forms import read_form
from protocols.service.jobs import summing
from protocols.service.limits import Refusal
from protocols.service.members import fingerprint
from secagg.errors import ParameterError
from secagg.signatures import Identity

from .places import Raw, connected, raw_member, service_at, signed_fields

LETTERS = "/v1/letters?after=0&wait=0"
SESSION = "/v1/sessions/" + "ab" * 16
OTHER = Identity(b"\7" * 32)


@pytest.fixture
def certificates(request):
    from .places import certificates

    return certificates()


def played(play, tmp_path, certificates, **options):
    """Run a test's coroutine against a service, with two members of whom the second is honest to the end."""

    async def run():
        with service_at(tmp_path, certificates, **options) as service:
            async with service.serving(), connected(service, certificates, "honest") as honest:
                async with raw_member(service, certificates, "mallory") as mallory:
                    found = await play(service, mallory)
                await honest.next_letter(0, 0)
            return found, dict(service.refused.counts)

    return asyncio.run(run())


def a_session():
    names = Participants(["honest", "mallory", "x", "y"])
    return summing("a sum", (IntegerVector("v", 1),), ThreatModel(4), names)


def told(answer):
    return answer.status_code, answer.json()["error"]


BENT = {
    "a stranger's": ({"identity": OTHER}, 401, "stranger", "no member has the key"),
    "an old one": ({"created": time.time() - 61}, 401, "not-signed", "set the clock"),
    "one of the future": ({"created": time.time() + 3600}, 401, "not-signed", "set the clock"),
    "another host's": ({"authority": "sums.example"}, 421, "misdirected", "but this service is known as"),
    "another path's": ({"fields": {"Signature": None}}, 401, "not-signed", "no field 'signature'"),
    "without a digest": ({"fields": {"Content-Digest": None}}, 401, "not-signed", "no field 'content-digest'"),
    "another way to write it": ({"fields": {"Signature": "sig=:AA==:"}}, 401, "not-signed", "not written as"),
    "without a version": ({"fields": {"Secagg-Wire": None}}, 400, "bad-request", "Secagg-Wire"),
    "an older version": ({"fields": {"Secagg-Wire": "0"}}, 426, "wire-version", "upgrade the participant"),
    "a newer version": ({"fields": {"Secagg-Wire": "2"}}, 426, "wire-version", "upgrade the service"),
}


def test_bent_requests_are_refused_by_status_and_sentence(tmp_path, certificates):
    async def play(service, mallory):
        return {name: await mallory.send("GET", LETTERS, **bent) for name, (bent, *_) in BENT.items()}

    answers, counts = played(play, tmp_path, certificates)
    for name, (_, status, kind, sentence) in BENT.items():
        assert told(answers[name]) == (status, kind), name
        assert sentence in answers[name].json()["reason"], name
    assert answers["an older version"].headers["upgrade"] == "secagg/1"
    assert answers["a stranger's"].headers["www-authenticate"].startswith("Signature")
    assert counts == Counter(kind for _, _, kind, _ in BENT.values())


def test_a_member_cannot_be_another(tmp_path, certificates):
    async def play(service, mallory):
        honest = next(view for view in service.members.views() if view.name == "honest")
        fields = signing.sign(
            signing.Request("GET", mallory.authority, "/v1/letters", "after=0&wait=0", signing.sha256(b"")),
            mallory.identity,
            created=int(time.time()),
        )
        key = service.members.participants(["honest"]).keys["honest"]
        assert fingerprint(key) == honest.fingerprint
        claimed = fields["Signature-Input"].replace(mallory.identity.public_bytes.hex(), key.hex())
        as_honest = await mallory.send("GET", LETTERS, fields=fields | {"Signature-Input": claimed})
        new = Identity.generate()
        form = json.dumps({"public_key": new.public_bytes.hex()}).encode()
        takes_name = await mallory.send("PUT", "/v1/members/honest/key", form, new=new)
        looks = await mallory.send("GET", "/v1/members/honest")
        return [told(answer) for answer in (as_honest, takes_name, looks)]

    found, counts = played(play, tmp_path, certificates)
    assert found == [(401, "not-signed"), (403, "not-invited"), (403, "not-invited")]
    assert counts == {"not-signed": 1, "not-invited": 2}


def test_a_signature_is_of_one_request_alone(tmp_path, certificates):
    target = f"{SESSION}/letters?x=1"
    pairs = {
        "method": (("POST", LETTERS, b""), ("GET", LETTERS, b"")),
        "path": (("POST", target, b"answer"), ("POST", f"{SESSION[:-2]}cd/letters?x=1", b"answer")),
        "query": (("POST", target, b"answer"), ("POST", f"{SESSION}/letters?x=2", b"answer")),
        "body": (("POST", target, b"answer"), ("POST", target, b"Answer")),
    }

    async def play(service, mallory):
        return {
            part: told(
                await mallory.resend(*sent, signed_fields(mallory.identity, *signed, authority=mallory.authority))
            )
            for part, (signed, sent) in pairs.items()
        }

    found, _ = played(play, tmp_path, certificates)
    assert found == dict.fromkeys(("method", "path", "query"), (401, "not-signed")) | {"body": (400, "wrong-digest")}


def test_a_copy_of_a_request_is_refused(tmp_path, certificates):
    async def play(service, mallory):
        from .places import signed_fields

        found, session = [], f"/v1/sessions/{await service.desk.open(a_session())}"
        for method, target, body in (
            ("GET", "/v1/letters?after=99999999999999999&wait=0", b""),
            ("POST", f"{session}/letters", b"answer"),
            ("POST", f"{session}/refusal", b'{"kind": "policy", "reason": "no"}'),
        ):
            fields = signed_fields(mallory.identity, method, target, body, authority=mallory.authority)
            for _ in range(2):
                answer = await mallory.resend(method, target, body, fields)
                found.append(answer.status_code)
        return found

    found, counts = played(play, tmp_path, certificates)
    assert found == [204, 409, 422, 409, 200, 409]
    assert counts == {"replayed": 3, "refused-message": 1}


def test_a_copy_is_refused_after_a_restart_too(tmp_path, certificates):
    from .places import signed_fields

    async def run():
        form = {}
        with service_at(tmp_path, certificates) as service:
            async with service.serving(), raw_member(service, certificates, "mallory") as mallory:
                port, identity = service.url.rpartition(":")[2], mallory.identity
                target = f"/v1/sessions/{await service.desk.open(a_session())}/letters"
                form = signed_fields(identity, "POST", target, b"x", authority=mallory.authority)
                first = await mallory.resend("POST", target, b"x", form)
        with service_at(tmp_path, certificates, port=int(port)) as service:
            async with service.serving():
                from .places import Raw

                async with Raw(service, certificates, identity) as again:
                    second = await again.resend("POST", target, b"x", form)
        return first.status_code, second.status_code

    assert asyncio.run(run()) == (422, 409)


def test_who_was_revoked_is_refused(tmp_path, certificates):
    async def play(service, mallory):
        await asyncio.to_thread(service.members.revoke, "mallory")
        return await mallory.send("GET", LETTERS)

    answer, counts = played(play, tmp_path, certificates)
    assert told(answer) == (403, "revoked")
    assert counts == {"revoked": 1}


def test_an_answer_of_who_was_revoked_is_not_let_in_and_the_next_one_is_not_read(tmp_path, certificates):
    async def play(service, mallory):
        target = f"/v1/sessions/{await service.desk.open(a_session())}/letters"
        await mallory.send("GET", LETTERS)
        await asyncio.to_thread(service.members.revoke, "mallory")
        first = await mallory.send("POST", target, b"answer")
        read, service.requests._body = service.requests._body, None  # which would be a status of 500
        second = await mallory.send("POST", target, b"answer")
        service.requests._body = read
        with service.store.read() as connection:
            answers = connection.exec_driver_sql("SELECT count(*) FROM service_inbox").scalar()
            nonces = connection.exec_driver_sql("SELECT count(*) FROM service_nonces").scalar()
        return told(first), told(second), answers, nonces

    found, _ = played(play, tmp_path, certificates)
    assert found == ((403, "revoked"), (403, "revoked"), 0, 0)


def test_who_speaks_another_version_is_seen_and_not_invited(tmp_path, certificates):
    async def play(service, mallory):
        await mallory.send("GET", LETTERS, fields={"Secagg-Wire": "9"})
        (view,) = (view for view in service.members.views() if view.name == "mallory")
        able = set(service.members.participants())
        with pytest.raises(LookupError, match="must upgrade first"):
            service.members.participants(["mallory"])
        await mallory.send("GET", LETTERS)
        return view.wire, able, set(service.members.participants())

    found, _ = played(play, tmp_path, certificates)
    assert found == (9, {"honest"}, {"honest", "mallory"})


FORMS = {
    "no JSON": b"{",
    "no object": b"[]",
    "a key twice": b'{"kind": "a", "kind": "b", "reason": ""}',
    "a number": b'{"kind": 1, "reason": ""}',
    "another key": b'{"kind": "a", "reason": "", "more": ""}',
    "a kind of two words": b'{"kind": "a b", "reason": ""}',
    "a reason of two lines": b'{"kind": "a", "reason": "a\\nb"}',
    "a long reason": b'{"kind": "a", "reason": "' + b"x" * 501 + b'"}',
    "deep": b"[" * 4000,
}


@pytest.mark.parametrize("text", [b"\\ud800", b"\\u0000", b"\\n"])
def test_a_form_is_of_text_that_a_store_can_keep(text):
    """Anybody may sign an enrolment: an error of the store's would be a fault of the service's."""
    assert read_form(b'{"name": "a"}', "name") == {"name": "a"}
    with pytest.raises(Refusal, match="printable"):
        read_form(b'{"name": "%s"}' % text, "name")


def test_forms_are_read_in_one_way(tmp_path, certificates):
    async def play(service, mallory):
        found = {name: told(await mallory.send("POST", f"{SESSION}/refusal", form)) for name, form in FORMS.items()}
        found["long"] = told(await mallory.send("POST", f"{SESSION}/refusal", b" " * 5000))
        found["query"] = told(await mallory.send("GET", "/v1/letters?after=-1&wait=0"))
        return found

    found, _ = played(play, tmp_path, certificates)
    assert found.pop("long") == (413, "too-large")
    assert set(found.values()) == {(400, "bad-request")}


def test_a_second_process_of_a_member_takes_over(tmp_path, certificates):
    async def play(service, mallory):
        first = asyncio.create_task(mallory.send("GET", "/v1/letters?after=0&wait=30"))
        while "mallory" not in service.requests.polls:
            await asyncio.sleep(0.01)
        second = await mallory.send("GET", LETTERS)
        return told(await first), second.status_code

    found, _ = played(play, tmp_path, certificates)
    assert found == ((409, "taken-over"), 204)


def test_pages_that_are_not_there_tell_nothing(tmp_path, certificates):
    async def play(service, mallory):
        return [(await mallory.send("GET", path)).status_code for path in ("/v2/letters", "/v1/sessions/")]

    assert played(play, tmp_path, certificates)[0] == [404, 404]


def test_a_service_everywhere_must_be_told_its_names(tmp_path, certificates):
    with pytest.raises(ParameterError, match="give authorities"):
        service_at(tmp_path, certificates, host="0.0.0.0")  # noqa: S104

    async def play(service, mallory):
        named = await mallory.send("GET", LETTERS, authority="sums.example")
        return [(await mallory.send("GET", LETTERS)).status_code, named.status_code]

    async def run():
        known = ["Sums.Example", "localhost:1"]
        with service_at(tmp_path, certificates, authorities=known) as service:
            token = service.members.invite("mallory")
            service.members.enrol("mallory", OTHER.public_bytes, token)
            async with service.serving(), Raw(service, certificates, OTHER) as mallory:
                return await play(service, mallory)

    assert asyncio.run(run()) == [421, 204]


def an_ended_session(service):
    """Open a session and end it: answers to it are late, and its members have a last letter."""

    async def ended():
        session = await service.desk.open(a_session())
        await service.desk.cancel(session)
        return f"/v1/sessions/{session}/letters"

    return ended()


def test_an_answer_may_ask_for_the_letter_that_follows(tmp_path, certificates):
    async def play(service, mallory):
        target = await an_ended_session(service)
        with_letter = await mallory.send("POST", f"{target}?after=0&wait=20", b"x")
        sequence = with_letter.headers["secagg-sequence"]
        without = await mallory.send("POST", f"{target}?after={sequence}&wait=0", b"x")
        alone = await mallory.send("POST", target, b"x")
        fields = [with_letter.headers[f"secagg-{name}"] for name in ("receipt", "session", "phase")]
        return fields, with_letter.content, without.json(), alone.json(), target

    (fields, body, without, alone, target), counts = played(play, tmp_path, certificates)
    assert fields == ["late", target.split("/")[3], "aborted"]
    assert (body, without, alone) == (b"", {"receipt": "late"}, {"receipt": "late"})
    assert counts == {}


@pytest.mark.parametrize("query", ["after=0", "after=00&wait=1", "after=-1&wait=1", "after=0&wait=1&x=2", "x=1"])
def test_an_answer_that_asks_for_something_else_is_not_let_in(tmp_path, certificates, query):
    async def play(service, mallory):
        session = f"/v1/sessions/{await service.desk.open(a_session())}"
        bent = await mallory.send("POST", f"{session}/letters?{query}", b"answer")
        with service.store.read() as connection:
            return told(bent), connection.exec_driver_sql("SELECT count(*) FROM service_inbox").scalar()

    found, counts = played(play, tmp_path, certificates)
    assert found == ((400, "bad-request"), 0)
    assert counts == {"bad-request": 1}


def test_an_answer_that_waits_is_taken_over_by_a_later_question_and_told_when_the_service_ends(tmp_path, certificates):
    async def play(service, mallory):
        target = await an_ended_session(service)
        asking = f"{target}?after=99999999999999999&wait=20"

        async def waiting():
            task = asyncio.create_task(mallory.send("POST", asking, b"x"))
            while "mallory" not in service.requests.polls:
                await asyncio.sleep(0.01)
            return task

        first = await waiting()
        later = await mallory.send("GET", "/v1/letters?after=99999999999999999&wait=0")
        over = told(await first)
        second = await waiting()
        service.requests.closing()
        ended = (await second).json()
        service.requests.opened()
        return over, later.status_code, ended

    found, _ = played(play, tmp_path, certificates)
    assert found == ((409, "taken-over"), 204, {"receipt": "late"})


def test_an_answer_is_not_held_while_its_member_waits(tmp_path, certificates):
    body = bytes(8 << 20)
    ours = [tracemalloc.Filter(True, f"*/{place}") for place in ("service/*", "uvicorn/*", "h11/*", "starlette/*")]

    def held():
        return sum(each.size for each in tracemalloc.take_snapshot().filter_traces(ours).statistics("filename"))

    async def play(service, mallory):
        target = await an_ended_session(service)
        tracemalloc.start()
        try:
            task = asyncio.create_task(mallory.send("POST", f"{target}?after=99999999999999999&wait=4", body))
            while "mallory" not in service.requests.polls:
                await asyncio.sleep(0.01)
            while held() > 1 << 20 and not task.done():  # threads that have worked on it let go of it soon
                await asyncio.sleep(0.1)
            waited = not task.done()
        finally:
            tracemalloc.stop()
        service.requests.closing()
        await task
        service.requests.opened()
        return waited

    assert played(play, tmp_path, certificates)[0]


def test_what_was_loaded_is_not_looked_through_for_garbage_while_serving(tmp_path, certificates):
    async def play(service, mallory):
        return gc.get_freeze_count()

    assert played(play, tmp_path, certificates)[0] > 10_000
    assert gc.get_freeze_count() == 0


def test_a_copy_is_known_however_old_what_is_remembered_has_become(tmp_path, certificates):
    with service_at(tmp_path, certificates) as service:
        requests, now = service.requests, [1000.0]
        requests._steady, requests._clock = lambda: now[0], lambda: 0.0  # which stands still, or was set back
        signed = SimpleNamespace(key=b"key", nonce=b"nonce")
        requests._use_nonce(signed)
        now[0] += 2 * signing.WINDOW_SECONDS  # so long a request may be of now, if its clock was ahead
        requests._use_nonce(SimpleNamespace(key=b"key", nonce=b"another"))
        now[0] += 1
        for _ in range(2):
            with pytest.raises(ReplayedRequestError):
                requests._use_nonce(signed)
        for _ in range(2):
            now[0] += 2 * signing.WINDOW_SECONDS + 1
            requests._use_nonce(SimpleNamespace(key=b"key", nonce=b"%d" % now[0]))
        requests._use_nonce(signed)  # too old to be served: it was forgotten
