"""What a proxy answers in the service's place ends nothing: only the service's own words do."""

import asyncio
import gzip
import json
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest

from protocols.core.participants import Participants
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking.policy import ClientPolicy
from protocols.service.client import take_part
from protocols.service.connection import MAX_FACTS_BYTES, Connection, RequestRefusedError, ServiceUnavailableError
from protocols.service.errors import STATUSES, is_refusal
from protocols.service.jobs import summing
from protocols.service.serving import Service
from secagg.errors import ParameterError
from secagg.signatures import Identity

NAMES = [f"site-{number}" for number in range(1, 6)]
HTML = b"<html><body>Not here.</body></html>"
PAGES = [
    (404, HTML, {}),
    (502, HTML, {}),
    (200, b"<html>Sign in to this network</html>", {}),
    (403, b'{"error": "forbidden", "reason": "by the proxy"}', {"Content-Type": "application/json"}),
    (409, b'{"message": "conflict"}', {"Content-Type": "application/json"}),
    (502, gzip.compress(HTML), {"Content-Encoding": "gzip"}),
    (302, b"", {"Location": "http://elsewhere.example/"}),
    (302, b"", {"Location": "javascript:history.back()"}),
    (410, b"", {}),
    (404, b'{"error": ["unknown-session"], "reason": 1}', {}),
    (200, b"", {}),
    (403, b'{"error": "unknown-session", "reason": "with another status"}', {}),
    (422, b'{"error": "KeyError", "reason": "of no session"}', {}),
]


def page(number):
    status, body, fields = PAGES[number % len(PAGES)]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def proxy(every, target):
    """A proxy that answers two of so many requests by itself, in turn with every page; `target()` is where it leads."""
    seen = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        body = await reader.readexactly(length)
        seen.append(head.split(b" ")[1])
        if len(seen) % every < 2:
            writer.write(page(len(seen) // every * 2 + len(seen) % every))
        else:
            host, port = target()
            upstream, forth = await asyncio.open_connection(host, port)
            forth.write(head[:-2] + b"Connection: close\r\n\r\n" + body)
            writer.write(await upstream.read())
            forth.close()
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()


def test_a_session_through_a_proxy_that_answers_by_itself(tmp_path):
    values = {name: np.array([1 << (4 * at), at]) for at, name in enumerate(NAMES)}
    told = []

    async def play():
        services = []
        async with proxy(5, lambda: ("127.0.0.1", int(services[0].url.rpartition(":")[2]))) as (port, seen):
            options = {"insecure_loopback": True, "authorities": [f"127.0.0.1:{port}"]}
            with Service(tmp_path / "service.db", port=0, **options) as service:
                services.append(service)

                async def one(name):
                    url = f"http://127.0.0.1:{port}"
                    tells = {"told": told.append, "insecure_loopback": True}
                    async with Connection(url, Identity.generate(), **tells) as connection:
                        await connection.enrol(name, await asyncio.to_thread(service.members.invite, name))
                        answers = {"sum": lambda terms: {"v": values[name]}}
                        options = {"state": tmp_path / name, "policy": ClientPolicy.permissive(), "warm": False}
                        return await take_part(connection, name, answers, sessions=1, **options)

                async with service.serving():
                    members = [asyncio.create_task(one(name)) for name in NAMES]
                    await service.enrolled(NAMES)
                    vectors = (IntegerVector("v", 2, max_value=1 << 20),)
                    spec = summing("a sum", vectors, ThreatModel(5, 0.2, 0.2), Participants(NAMES))
                    (view,) = await service.sessions(spec)
                    ended = await asyncio.gather(*members)
                    return view, json.loads(await service.desk.result(None, view.session)), ended, seen

    view, result, ended, seen = asyncio.run(asyncio.wait_for(play(), 200))
    assert result["sums"]["v"] == sum(values.values()).tolist()
    assert (dict(view.excluded), dict(view.refused)) == ({}, {})
    assert {one[0].phase for one in ended} == {"completed"}
    assert len(seen) > 2 * len(PAGES)
    assert any("none of the service's" in text for text in told)


def answering(status, body, fields):
    def answer(request):
        return httpx.Response(status, headers=fields, stream=httpx.ByteStream(body))

    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


@pytest.mark.parametrize("number", range(len(PAGES)))
@pytest.mark.parametrize("ask", ["terms", "deliver", "refuse", "next_letter", "result", "enrol"])
def test_no_such_answer_is_taken_for_the_services(number, ask):
    status, body, fields = PAGES[number]
    arguments = {
        "deliver": ("00" * 32, b"answer"),
        "refuse": ("00" * 32, "x", "y"),
        "next_letter": (0, 0.0),
        "enrol": ("a", "b"),
    }

    async def play():
        async with Connection("https://sums.example", Identity.generate(), patience=0.05) as connection:
            connection._client = answering(status, body, fields)
            await getattr(connection, ask)(*arguments.get(ask, ("00" * 32,)))

    with pytest.raises(ServiceUnavailableError, match="cannot answer"):
        asyncio.run(play())


def test_the_services_own_refusals_end_a_request_at_once():
    for kind, status in STATUSES.items():
        body = json.dumps({"error": kind, "reason": "because"}).encode()

        async def play(status=status, body=body):
            async with Connection("https://sums.example", Identity.generate(), patience=0.05) as connection:
                connection._client = answering(status, body, {})
                await connection.terms("00" * 32)

        again = status in (408, 429, 500, 503) or kind == "replayed"
        with pytest.raises(ServiceUnavailableError if again else RequestRefusedError, match="because"):
            asyncio.run(play())


@pytest.mark.parametrize("ask", ["terms", "deliver"])
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, b'{"error": "revoked", "reason": "x"', "longer than is taken"),
        (200, b'{"receipt": "accepted"', "cannot answer"),
    ],
)
def test_what_is_read_as_json_is_short(status, body, said, ask, monkeypatch):
    """Objects take a hundred times the bytes of their text: a service could fill a member's memory."""
    monkeypatch.setattr("protocols.service.connection.json.loads", lambda text: pytest.fail("it was read"))

    async def play():
        async with Connection("https://sums.example", Identity.generate(), patience=0.05) as connection:
            connection._client = answering(status, body + b" " * MAX_FACTS_BYTES + b"}", {})
            arguments = {"deliver": ("00" * 32, b"answer")}
            await getattr(connection, ask)(*arguments.get(ask, ("00" * 32,)))

    with pytest.raises(ServiceUnavailableError, match=said):
        asyncio.run(play())


def test_consent_is_asked_before_each_try():
    """The first answer to be refused may be hours after the question whether it may leave."""
    sent, asked = [], []

    def answer(request):
        sent.append(request)
        return httpx.Response(502, stream=httpx.ByteStream(HTML))

    async def allowed():
        asked.append(len(sent))
        if sent:
            raise PermissionError

    async def play():
        async with Connection("https://sums.example", Identity.generate()) as connection:
            connection._client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
            await connection.exchange("00" * 32, b"answer", None, 0.0, allowed)

    with pytest.raises(PermissionError):
        asyncio.run(asyncio.wait_for(play(), 10))
    assert (len(sent), asked) == (1, [0, 1])


def test_errors_of_sessions_are_the_services_words():
    assert is_refusal(422, "MalformedMessage")
    assert is_refusal(409, "UnexpectedMessage")
    for status, kind in ((404, "MalformedMessage"), (422, "KeyError"), (422, "annotations"), (422, ""), (422, "a b")):
        assert not is_refusal(status, kind)
    assert not is_refusal(422, ParameterError.__name__ + "x")


def test_no_cookie_of_a_proxy_is_kept():
    heads = []

    async def serve(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 502 X\r\nSet-Cookie: a=b\r\nSet-Cookie: \xff=\xff\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def play():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            identity = Identity.generate()
            async with Connection(url, identity, patience=0.0, insecure_loopback=True) as connection:
                for _ in range(2):
                    with pytest.raises(ServiceUnavailableError):
                        await connection.next_letter(0, 0.0)

    asyncio.run(play())
    assert len(heads) == 2
    assert b"cookie" not in heads[1].lower()


@pytest.mark.parametrize(("wait", "pauses"), [(20.0, 1), (0.0, 0)])
def test_who_says_at_once_that_there_is_no_letter_is_not_asked_again_at_once(monkeypatch, wait, pauses):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    async def play():
        async with Connection("https://sums.example", Identity.generate(), patience=0.05) as connection:
            connection._client = answering(204, b"", {})
            monkeypatch.setattr("protocols.service.connection.asyncio.sleep", sleep)
            assert await connection.next_letter(0, wait) is None
            monkeypatch.undo()

    asyncio.run(play())
    assert sum(seconds > 0 for seconds in slept) == pauses


def test_a_request_that_a_proxy_has_sent_twice_is_signed_anew():
    nonces = []

    def answer(request):
        nonces.append(request.headers["signature-input"].partition("nonce=")[2])
        if len(nonces) > 1:
            return httpx.Response(200, stream=httpx.ByteStream(b'{"version":1}'))
        return httpx.Response(409, stream=httpx.ByteStream(b'{"error": "replayed", "reason": "served before"}'))

    async def play():
        async with Connection("https://sums.example", Identity.generate(), patience=20.0) as connection:
            connection._client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
            return await connection.terms("00" * 32)

    assert asyncio.run(play()) == b'{"version":1}'
    assert len(set(nonces)) == 2


RECEIPTS = {
    "accepted": (200, b'{"receipt":"accepted"}', {}),
    "duplicate": (200, b'{"receipt": "duplicate", "more": 1}', {}),
    "kept": (202, b'{"receipt":"kept"}', {}),
    "with a letter": (202, b"letter", {"Secagg-Receipt": "kept"}),
    "of another status": (202, b'{"receipt":"accepted"}', {}),
    "kept, of another status": (200, b'{"receipt":"kept"}', {}),
    "another word": (200, b'{"receipt":"thanks"}', {}),
    "no word": (200, b'{"receipt":1}', {}),
    "a list": (200, b'{"receipt":["accepted"]}', {}),
    "cut off": (200, b'{"receipt":', {}),
    "a letter without one": (200, b"letter", {}),
    "a letter with another": (200, b"letter", {"Secagg-Receipt": "thanks"}),
    "a letter of another status": (200, b"letter", {"Secagg-Receipt": "kept"}),
}


@pytest.mark.parametrize("name", RECEIPTS)
def test_an_answer_is_forgotten_for_a_receipt_alone(name):
    """Whatever else begins like one: an answer that was taken for delivered would never be sent again."""
    status, body, fields = RECEIPTS[name]
    if "letter" in name:
        fields = {"Secagg-Session": "ab", "Secagg-Sequence": "7", "Secagg-Phase": "unmasking"} | fields

    async def play():
        async with Connection("https://sums.example", Identity.generate(), patience=0.05) as connection:
            connection._client = answering(status, body, fields)
            return await connection.exchange("00" * 32, b"answer", 0)

    if list(RECEIPTS).index(name) > 3:
        with pytest.raises(ServiceUnavailableError, match="none of the service's"):
            asyncio.run(play())
        return
    receipt, letter = asyncio.run(play())
    assert str(receipt) == name if status == 200 else receipt is None
    assert letter is None or letter.body == b"letter"


@pytest.mark.parametrize("ask", ["terms", "deliver", "exchange"])
def test_nothing_is_no_answer_but_to_a_question_for_letters(ask):
    arguments = {"terms": (), "deliver": (b"answer",), "exchange": (b"answer", 0)}

    async def play():
        async with Connection("https://sums.example", Identity.generate(), patience=0.05) as connection:
            connection._client = answering(204, b"", {})
            await getattr(connection, ask)("00" * 32, *arguments[ask])

    with pytest.raises(ServiceUnavailableError, match="none of the service's"):
        asyncio.run(play())
