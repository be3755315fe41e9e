"""The page of `secagg join`, served on this machine alone: what was asked and given, and opting out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from secagg.errors import ParameterError

from ...core.numbers import whole
from ..consents import Consents, ConsentsError
from ..tokens import Token
from .frame import Reader
from .mine import Standing, participant_page
from .operating import refusal_page
from .signing_in import SignIn, back_to, form_of, shown

HOST = "127.0.0.1"
_NOT_SIGNED_IN = "Only who has signed in with the token of this page, on this page, may change consent."


async def serve_page(
    consents: Consents,
    *,
    port: int,
    token: Token | None = None,
    name: str = "",
    service: str = "",
    told: Callable[[], None] = lambda: None,
) -> None:
    """Serve a participant's page on loopback until cancelled.

    Args:
        consents: what is shown and changed.
        port: on this machine.
        token: lets whoever knows it change consent; None lets nobody.
        name: of the participant.
        service: where it takes part.
        told: called once it is served.

    Raises:
        ParameterError: the port is taken, or none.
    """
    port = whole(port, "the page's port", 1, 65535)
    config = uvicorn.Config(
        participant_app(consents, token=token, name=name, service=service),
        host=HOST,
        port=port,
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config, told)
    serving = asyncio.create_task(server.serve())
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)


class _Server(uvicorn.Server):
    """Uvicorn's server, which leaves signals to whoever runs it, and its errors, too."""

    def __init__(self, config: uvicorn.Config, told: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = told

    async def startup(self, sockets: Any = None) -> None:
        """Listen; raise ParameterError where that cannot be."""
        config = self.config
        await self.lifespan.startup()

        def protocol() -> asyncio.Protocol:
            made: Any = config.http_protocol_class
            return made(config=config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[no-any-return]

        try:
            self.servers = [await asyncio.get_running_loop().create_server(protocol, HOST, config.port)]
        except OSError:
            raise ParameterError(
                f"nothing can be served at {HOST}, port {config.port}: it is taken, or not for this user; name another"
            ) from None
        self.started = True
        self._told()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def participant_app(consents: Consents, *, token: Token | None, name: str, service: str) -> ASGIApp:
    """Return the page as an application. It answers to names of this machine alone, whatever a browser was led to."""
    signing_in = SignIn(token, consents.clock, name)

    def standing() -> Standing:
        try:
            asked = consents.asked()
        except ConsentsError:
            asked = ()
        try:
            return Standing(name, service, asked, consents.out())
        except ConsentsError as error:
            return Standing(name, service, asked, (), str(error))

    async def show(request: Request) -> Response:
        found = await asyncio.to_thread(standing)
        return shown(participant_page(found, signing_in.reader(request)))

    async def change(request: Request) -> Response:
        if not signing_in.may_change(request):
            return shown(refusal(_NOT_SIGNED_IN, signing_in.reader(request)), 403)
        form = await form_of(request)
        act = consents.opt_out if request.scope["path"] == "/opt-out" else consents.opt_in
        if "matter" not in form:
            return shown(refusal("The form is incomplete.", signing_in.reader(request)), 400)
        try:
            await asyncio.to_thread(act, form["matter"].strip(), form.get("purpose", "").strip())
        except (ConsentsError, ParameterError) as error:
            return shown(refusal(f"Nothing was changed: {error}", signing_in.reader(request)), 400)
        return back_to("/")

    async def sign_in(request: Request) -> Response:
        return await signing_in.sign_in(request, lambda told: refusal(told, signing_in.reader(request)))

    return _Here(
        Starlette(
            routes=[
                Route("/", show, methods=["GET"]),
                Route("/opt-out", change, methods=["POST"]),
                Route("/opt-in", change, methods=["POST"]),
                Route("/sign-in", sign_in, methods=["POST"]),
                Route("/sign-out", signing_in.sign_out, methods=["POST"]),
            ]
        )
    )


def refusal(sentence: str, reader: Reader) -> str:
    """Return a page for what was not done."""
    return refusal_page("Not done", sentence, reader, links=(("Back", "/"),))


class _Here:
    """Answers requests to this machine's own names alone: no other page reads this one by a name of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"host"), "")
        if host.rpartition(":")[0] not in (HOST, "localhost") and host not in (HOST, "localhost"):
            await PlainTextResponse("This page is asked for by another name than this machine's.", 421)(
                scope, receive, send
            )
            return
        await self._app(scope, receive, send)
