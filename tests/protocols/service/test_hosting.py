"""The service under a server of its host's own, and when one is served at all."""

import asyncio
import contextlib
import json
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from protocols.inputs.vectors import IntegerVector
from protocols.service import Connection, Hosted, Service
from protocols.service.deadlines import Deadlines
from protocols.service.jobs import prepared
from protocols.service.session_file import Asked
from protocols.service.sessions import Audience
from protocols.service.tables import SESSIONS
from protocols.service.views import State
from protocols.statistics import Number, Query, asked
from protocols.statistics.release import ReleasePolicy
from secagg.errors import ParameterError, StateError
from secagg.signatures import Identity

from . import places
from .places import service_at
from .test_taking_part import NAMES, a_sum, member, total


@contextlib.asynccontextmanager
async def under_uvicorn(app, certificates, port):
    """Serve an application as its host would, with nothing of the service's own; yield its address."""
    config = uvicorn.Config(
        app,
        port=port,
        ws="none",
        ssl_certfile=certificates.chain,
        ssl_keyfile=certificates.key,
        log_level="error",
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done()
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await task


def mounted(hosted):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with hosted.serving():
            yield

    async def own(request):
        return PlainTextResponse("of the host's own")

    return Starlette(routes=[Route("/own", own), Mount("/", hosted.asgi())], lifespan=lifespan)


@pytest.mark.parametrize("how", ["alone", "mounted"])
def test_a_sum_under_anothers_server_and_tls(tmp_path, how):
    certificates = places.certificates()
    port = places.free_port()
    url = f"https://localhost:{port}"

    async def play():
        with Hosted(tmp_path / "service.db", [f"localhost:{port}"]) as hosted:
            app = hosted.asgi() if how == "alone" else mounted(hosted)
            known = SimpleNamespace(url=url, members=hosted.members)
            async with under_uvicorn(app, certificates, port), asyncio.TaskGroup() as group:
                assert hosted.running
                if how == "mounted":
                    async with httpx.AsyncClient(verify=certificates.context, trust_env=False) as client:
                        assert (await client.get(f"{url}/own")).text == "of the host's own"
                tasks = [group.create_task(member(known, certificates, tmp_path, name)) for name in NAMES]
                await hosted.enrolled(NAMES)
                (view,) = await hosted.sessions(a_sum())
                assert view.state is State.COMPLETED, view
                result = json.loads(await hosted.desk.result(None, view.session))
                assert [(await task)[0].phase for task in tasks] == ["completed"] * 5
            assert not hosted.running
            return result

    assert asyncio.run(asyncio.wait_for(play(), 120))["sums"] == {"v": total(NAMES)}


def test_a_service_is_under_no_other_server(tmp_path):
    with service_at(tmp_path, places.certificates()) as service, pytest.raises(StateError, match="make a Hosted"):
        service.asgi()


@pytest.mark.parametrize("bad", ["sums.example", [], [""], [443]])
@pytest.mark.parametrize("kind", [Hosted, Service])
def test_authorities_are_a_list_of_hosts(tmp_path, kind, bad):
    more = {"insecure_loopback": True} if kind is Service else {}
    with pytest.raises(ParameterError, match=r"must be hosts, such as \['sums\.example:8443'\]"):
        kind(tmp_path / "service.db", authorities=bad, **more)
    assert not (tmp_path / "service.db").exists()


@pytest.mark.parametrize("bad", ["no", 1, None])
def test_http_is_asked_for_by_true_and_nothing_else(tmp_path, bad):
    for make in (
        lambda: Service(tmp_path / "service.db", insecure_loopback=bad),
        lambda: Connection("http://127.0.0.1:8443", Identity.generate(), insecure_loopback=bad),
    ):
        with pytest.raises(ParameterError, match=r"insecure_loopback is .*, but must be True or False"):
            make()
    assert not (tmp_path / "service.db").exists()


@pytest.mark.parametrize("more", [{}, {"raw_path": None}])
def test_a_server_that_passes_no_raw_path_is_told_so(tmp_path, more):
    scope = {"type": "http", "method": "GET", "path": "/health", "query_string": b"", "headers": [], "scheme": "https"}
    sent = []

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    with Hosted(tmp_path / "service.db", ["sums.example"]) as hosted:
        asyncio.run(hosted.asgi()(scope | more, receive, send))
        assert hosted.refused.counts == {"bad-request": 1}
    assert sent[0]["status"] == 400
    assert b"raw_path" in sent[1]["body"]


def test_a_service_runs_when_its_port_is_known_and_once_at_a_time(tmp_path):
    async def play():
        urls = []
        with service_at(tmp_path, places.certificates()) as service:

            async def watch():
                while not service.running:
                    await asyncio.sleep(0)
                urls.append(service.url)

            watching = asyncio.create_task(watch())
            async with service.serving():
                await watching
                with pytest.raises(StateError, match="served already"):
                    async with service.serving():
                        pass
            assert not service.running
            assert urls == [service.url]
            async with service.serving():  # another time, at the same port
                assert (service.running, urls) == (True, [service.url])
        with pytest.raises(StateError, match="was closed, and its store with it: make another one"):
            async with service.serving():
                pass

    asyncio.run(asyncio.wait_for(play(), 60))


def test_a_session_goes_on_under_the_terms_that_are_asked_for_or_not_at_all(tmp_path):
    """What a file says of release, deadlines and audience is in no session's name."""
    query = Query("set", (Number("age", 0, 120),), (asked("mean", "age"),))
    title, members = "a query", tuple(NAMES)
    begun = Asked(title=title, members=members, query=query, release=ReleasePolicy(min_cell=5))
    with Hosted(tmp_path / "service.db", ["sums.example"]) as hosted:
        assert hosted.begun("x", begun) is None
        new = prepared(begun.spec(begun.trial), job="x", number=0)
        hosted.store.add(new)
        assert hosted.begun("x", begun) == new.session
        others = {
            "min_cell 5": Asked(title=title, members=members, query=query, release=ReleasePolicy(min_cell=20)),
            "seconds 60": replace(begun, deadlines=Deadlines(30)),
            "results_to operator": replace(begun, results_to=Audience.MEMBERS),
        }
        for said, other in others.items():
            assert other.digest == begun.digest
            with pytest.raises(ParameterError, match=rf"begun under other terms \({said}.*: take another title"):
                hosted.begun("x", other)


def test_training_goes_on_with_other_deadlines_but_for_the_same_audience(tmp_path):
    """Only its first round was begun with those from before."""
    vector = (IntegerVector("v", 3, 1),)
    begun = Asked(title="a model", members=tuple(NAMES), vectors=vector, training="model:proposed")
    with Hosted(tmp_path / "service.db", ["sums.example"]) as hosted:
        new = prepared(begun.spec(begun.trial), job="x", number=0)
        hosted.store.add(new)
        assert hosted.begun("x", replace(begun, deadlines=Deadlines(30))) == new.session
        with pytest.raises(ParameterError, match="results_to operator"):
            hosted.begun("x", replace(begun, results_to=Audience.MEMBERS))


def test_nothing_follows_a_session_that_is_run_once(tmp_path, monkeypatch):
    """Its terms would be kept for ever, as those of a round of training that another one follows."""
    one = Asked(title="a sum", members=tuple(NAMES), vectors=(IntegerVector("v", 3, 1),))

    async def there(members, told):
        return one.trial

    async def at_once(session):
        return session

    with Hosted(tmp_path / "service.db", ["sums.example"]) as hosted:
        monkeypatch.setattr(hosted, "enrolled", there)
        monkeypatch.setattr(hosted.desk, "wait", at_once)
        session = asyncio.run(hosted.once("x", one))
        assert hosted.store.row(session, SESSIONS.c.followed).followed
