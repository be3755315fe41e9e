"""Who may see and do what on the pages, over HTTP."""

import asyncio
import re
import socket

import httpx
import pytest
from starlette.applications import Starlette

from protocols.service.consents import Consents
from protocols.service.errors import StoreError, UnknownSessionError
from protocols.service.observing import Observer
from protocols.service.pages.frame import HEADERS
from protocols.service.pages.joining import participant_app, serve_page
from protocols.service.pages.routes import routes
from protocols.service.tokens import Token
from secagg.errors import ParameterError
from tests.protocols.service import sample_views as sample

TOKEN = Token.new()
AT = "https://sums.example"
OWN = {"Origin": AT}


class Browser:
    """Sends requests to an application, and keeps its cookies."""

    def __init__(self, app, at):
        transport = httpx.ASGITransport(app)
        self._client = httpx.AsyncClient(transport=transport, base_url=at, follow_redirects=False)
        self.cookies = self._client.cookies

    def get(self, path, **more):
        return asyncio.run(self._client.get(path, **more))

    def post(self, path, **more):
        return asyncio.run(self._client.post(path, **more))


class Desk:
    """Gives views; notes what was ended."""

    def __init__(self):
        self.ended = []
        self.broken = False

    async def view(self):
        self._work()
        return sample.service()

    async def session_view(self, session):
        self._work()
        for each in sample.service().sessions:
            if each.session == session:
                return each
        raise UnknownSessionError("there is none")

    async def cancel(self, session, reason=""):
        await self.session_view(session)
        self.ended.append((session, reason))

    def _work(self):
        if self.broken:
            raise StoreError("the store at postgresql://db is gone")


@pytest.fixture
def desk():
    return Desk()


def browser(desk, at=AT, **options):
    options.setdefault("token", TOKEN)
    app = Starlette(routes=routes(desk, clock=lambda: sample.NOW, observer=Observer(), **options))
    return Browser(app, at)


def sign_in(client, at=AT, token=TOKEN.text, **more):
    return client.post("/sign-in", data={"token": token, "back": "/members"}, headers={"Origin": at} | more)


@pytest.mark.parametrize("host", ["x:99999999", "x:a", "[::1]", "[::1]:1", "[1:2:3:4:5:6:7:8:9]", "["])
def test_no_host_that_a_stranger_writes_breaks_a_page(desk, host):
    page = Browser(Starlette(routes=routes(desk, token=TOKEN)), "http://127.0.0.1:80")
    assert page.get("/", headers={"Host": host}).status_code == 200


def test_everyone_reads_and_only_the_operator_sees_results(desk):
    client = browser(desk)
    for path in ("/", "/members", f"/sessions/{sample.DONE}", f"/sessions/{sample.RUNNING}"):
        reply = client.get(path)
        assert reply.status_code == 200
        assert {name: reply.headers[name] for name in HEADERS} == HEADERS
        assert "2,380" not in reply.text
        assert "/cancel" not in reply.text
        assert not reply.cookies
    assert "Sign in to see it" in client.get(f"/sessions/{sample.DONE}").text
    assert sign_in(client).status_code == 303
    assert "2,380" in client.get(f"/sessions/{sample.DONE}").text
    assert "/cancel" in client.get(f"/sessions/{sample.RUNNING}").text


@pytest.mark.parametrize(("at", "secure"), [(AT, True), ("http://127.0.0.1:8443", False)])
def test_the_cookie_is_for_this_host_alone_and_no_script_reads_it(desk, at, secure):
    client = browser(desk, at)
    reply = sign_in(client, at)
    assert reply.headers["location"] == "/members"
    cookie = reply.headers["set-cookie"]
    assert TOKEN.text not in cookie
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
        assert part in cookie
    assert ("Secure" in cookie) is cookie.startswith("__Host-secagg=") is secure
    assert "Domain" not in cookie
    assert "Sign out" in client.get("/").text
    client.post("/sign-out", headers={"Origin": at})
    assert "Sign out" not in client.get("/").text


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/sessions/../x", "/members\r\nX: 1", "/cancel"]
)
def test_signing_in_leads_to_a_page_of_ours(desk, back):
    reply = browser(desk).post("/sign-in", data={"token": TOKEN.text, "back": back}, headers=OWN)
    assert (reply.status_code, reply.headers["location"]) == (303, "/")


def test_a_wrong_token_or_a_form_from_elsewhere_signs_nobody_in(desk):
    client = browser(desk)
    assert sign_in(client, token=TOKEN.text[:-1]).status_code == 401
    for origin in ("https://evil.example", "http://sums.example", "https://sums.example:444", "null", ""):
        assert sign_in(client, origin).status_code == 403
    long = client.post("/sign-in", data={"token": TOKEN.text, "more": "x" * 5000}, headers=OWN)
    plain = client.post("/sign-in", content=f"token={TOKEN.text}", headers=OWN | {"Content-Type": "text/plain"})
    many = client.post("/sign-in", data={f"f{i}": "x" for i in range(20)} | {"token": TOKEN.text}, headers=OWN)
    assert [long.status_code, plain.status_code, many.status_code] == [401] * 3
    assert not client.cookies
    assert sign_in(browser(desk, token=None)).status_code == 401


def test_only_who_has_signed_in_ends_a_session_and_only_from_its_page(desk):
    client, path = browser(desk), f"/sessions/{sample.RUNNING}/cancel"
    assert client.post(path, data={"reason": "x"}, headers=OWN).status_code == 403
    client.cookies.set("__Host-secagg", f"{int(sample.NOW) + 9}.{'0' * 64}")
    assert client.post(path, data={"reason": "x"}, headers=OWN).status_code == 403
    client.cookies.clear()
    sign_in(client)
    for origin in ("https://evil.example", "null", "https://sums.example:8000"):
        assert client.post(path, data={"reason": "x"}, headers={"Origin": origin}).status_code == 403
    assert client.post(path, data={"reason": "x"}).status_code == 403  # no browser leaves it out
    assert client.get(path).status_code == 405
    assert desk.ended == []
    reply = client.post(path, data={"reason": "a mistake\x1b[31m " + "y" * 900}, headers=OWN)
    assert (reply.status_code, reply.headers["location"]) == (303, f"/sessions/{sample.RUNNING}")
    ((session, reason),) = desk.ended
    assert session == sample.RUNNING
    assert reason.startswith("the operator has ended it: ")
    assert reason.isprintable()
    assert len(reason) < 300
    assert client.post("/sessions/ffff/cancel", headers=OWN).status_code == 404


def test_a_private_page_shows_nothing_to_strangers(desk):
    client = browser(desk, public=False)
    for path in ("/", "/members", f"/sessions/{sample.DONE}"):
        reply = client.get(path)
        assert reply.status_code == 401
        assert "hospital" not in reply.text
        assert "Weekly" not in reply.text
        assert 'name="token"' in reply.text
    sign_in(client)
    assert "Weekly" in client.get("/").text


def test_however_many_look_the_store_is_asked_once_a_second(desk):
    now, asked = [sample.NOW], []
    view = desk.view

    async def counted():
        asked.append(now[0])
        return await view()

    desk.view = counted
    client = Browser(Starlette(routes=routes(desk, clock=lambda: now[0])), AT)
    for step in (0.0, 0.4, 0.5, 0.2, -5.0):  # a clock may be set back
        now[0] += step
        assert client.get("/").status_code == client.get("/members").status_code == 200
    assert asked == [sample.NOW, pytest.approx(sample.NOW + 1.1), pytest.approx(sample.NOW - 3.9)]


def test_what_is_not_there_is_said_in_a_page(desk):
    client = browser(desk)
    reply = client.get("/sessions/<script>")
    assert reply.status_code == 404
    assert "<script>alert" not in reply.text
    desk.broken = True
    for path in ("/", "/members", f"/sessions/{sample.DONE}"):
        reply = client.get(path)
        assert (reply.status_code, "postgresql" in reply.text) == (503, False)  # which names a host of the operator's
    sign_in(client)
    assert "postgresql://db is gone" in client.get("/members").text


def test_health_readiness_and_metrics(desk):
    runs = True
    client = browser(desk, running=lambda: runs)
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json() == {"status": "ready"}
    runs = False
    assert client.get("/ready").status_code == 503
    runs, desk.broken = True, True
    reply = client.get("/ready")
    assert (reply.status_code, reply.json()) == (503, {"status": "store", "reason": "StoreError"})
    assert client.get("/health").status_code == 200  # the process lives
    assert "secagg_sessions_total" in client.get("/metrics").text


HERE = "http://127.0.0.1:9000"


@pytest.fixture
def consents(tmp_path):
    return Consents(tmp_path, clock=lambda: sample.NOW)


def own_page(consents, at=HERE, token=TOKEN):
    app = participant_app(consents, token=token, name="hospital-01", service=AT)
    return Browser(app, at)


def test_a_participant_opts_out_and_in_with_the_token(consents):
    client, own = own_page(consents), {"Origin": HERE}
    form = {"matter": "admissions", "purpose": "heart research"}
    assert client.post("/opt-out", data=form, headers=own).status_code == 403
    assert consents.out() == ()
    sign_in(client, HERE)
    for origin in ("http://127.0.0.1:9001", "http://localhost:9000", "null"):
        assert client.post("/opt-out", data=form, headers={"Origin": origin}).status_code == 403
    assert client.post("/opt-out", data=form, headers=own).status_code == 303
    assert [str(each) for each in consents.out()] == ["admissions for heart research"]
    page = client.get("/")
    assert {name: page.headers[name] for name in HEADERS} == HEADERS
    assert "Take part again in admissions for heart research" in page.text
    assert client.post("/opt-out", data={"purpose": "x"}, headers=own).status_code == 400
    assert client.post("/opt-out", data={"matter": "", "purpose": "x"}, headers=own).status_code == 400
    assert client.post("/opt-in", data=form, headers=own).status_code == 303
    assert consents.out() == ()
    (consents.folder / "consents.json").write_text("damaged")
    assert client.post("/opt-out", data=form, headers=own).status_code == 400
    assert "Nothing is answered" in client.get("/").text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9000", "127.0.0.1.evil.example:9000", "", "10.0.0.1:9000"]
)
def test_the_participants_page_answers_to_this_machines_names_alone(consents, host):
    reply = own_page(consents).get("/", headers={"Host": host})
    assert reply.status_code == 421
    assert "hospital" not in reply.text
    assert own_page(consents, "http://localhost:9000").get("/").status_code == 200


def test_a_port_that_is_taken_is_a_named_error(consents):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ParameterError, match=f"nothing can be served at 127.0.0.1, port {port}: it is taken"):
            asyncio.run(serve_page(consents, port=port))
    with pytest.raises(ParameterError, match="the page's port is 1048576"):
        asyncio.run(serve_page(consents, port=1 << 20))


def test_every_form_has_a_route(consents, desk):
    client = browser(desk)
    sign_in(client)
    pages = [client.get(path).text for path in ("/", "/members", f"/sessions/{sample.RUNNING}")]
    actions = {action for page in pages for action in re.findall(r'action="([^"]+)"', page)}
    assert actions == {"/sign-out", f"/sessions/{sample.RUNNING}/cancel"}
    for action in sorted(actions):
        assert client.post(action, headers=OWN).status_code == 303
