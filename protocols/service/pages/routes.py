"""The operator's pages and the machines' ones as routes of the service: who may see what, and who may act."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...core.framing import printable
from ..errors import StoreError, UnknownSessionError
from ..tokens import Token
from ..views import ServiceView
from . import operating
from .signing_in import SignIn, back_to, form_of, shown

if TYPE_CHECKING:
    from ..desk import Desk
    from ..observing import Observer

_FRESH_SECONDS = 1.0
_STRANGER = "Sign in with the operator's token to see these pages."
_NOT_SIGNED_IN = "Only who has signed in with the operator's token, on this page, may do this."


def routes(
    desk: Desk,
    *,
    token: Token | None = None,
    public: bool = True,
    observer: Observer | None = None,
    running: Callable[[], bool] = lambda: True,
    service: str = "",
    clock: Callable[[], float] = time.time,
) -> list[BaseRoute]:
    """Return pages, and with an observer /health, /ready and /metrics.

    Args:
        desk: what is shown.
        token: of the operator, who signs in with it to see results and to end sessions; None lets nobody.
        public: whether everyone who can reach the service may read its pages; else only who has signed in.
        observer: what is counted.
        running: whether this process runs sessions.
        service: what the banner says.
        clock: seconds since 1970.
    """
    pages = _Pages(desk, SignIn(token, clock, service), public, clock)
    own: list[BaseRoute] = [
        Route("/", pages.overview, methods=["GET"]),
        Route("/members", pages.members, methods=["GET"]),
        Route("/sessions/{session}", pages.session, methods=["GET"]),
        Route("/sessions/{session}/cancel", pages.cancel, methods=["POST"]),
        Route("/sign-in", pages.sign_in, methods=["POST"]),
        Route("/sign-out", pages.sign_out, methods=["POST"]),
    ]
    return own + ([] if observer is None else observer.routes(desk, running=running))


class _Pages:
    def __init__(self, desk: Desk, signing_in: SignIn, public: bool, clock: Callable[[], float]) -> None:
        self._desk, self._signing_in, self._public, self._clock = desk, signing_in, public, clock
        self._seen: tuple[float, ServiceView] | None = None
        self._looking = asyncio.Lock()

    async def overview(self, request: Request) -> Response:
        """Show all sessions."""
        if (stranger := self._stranger(request)) is not None:
            return stranger
        try:
            view = await self._view()
        except StoreError as error:
            return self._no_store(request, error)
        return shown(operating.overview(view, self._signing_in.reader(request)))

    async def members(self, request: Request) -> Response:
        """Show who has enrolled."""
        if (stranger := self._stranger(request)) is not None:
            return stranger
        try:
            view = await self._view()
        except StoreError as error:
            return self._no_store(request, error)
        return shown(operating.members_page(view.members, self._signing_in.reader(request)))

    async def session(self, request: Request) -> Response:
        """Show one session."""
        if (stranger := self._stranger(request)) is not None:
            return stranger
        try:
            view = await self._desk.session_view(request.path_params["session"])
        except UnknownSessionError:
            return self._refusal(request, 404, "No such session", "There is no session of this name here.")
        except StoreError as error:
            return self._no_store(request, error)
        reader = self._signing_in.reader(request)
        return shown(operating.session_page(view, reader, show_result=reader.signed_in))

    async def cancel(self, request: Request) -> Response:
        """End a session without a result."""
        if not self._signing_in.may_change(request):
            return self._refusal(request, 403, "Not done", _NOT_SIGNED_IN)
        form, session = await form_of(request), request.path_params["session"]
        reason = printable(form.get("reason", "").strip())[:200] or "no reason was given"
        try:
            await self._desk.cancel(session, f"the operator has ended it: {reason}")
        except UnknownSessionError:
            return self._refusal(request, 404, "No such session", "There is no session of this name here.")
        except StoreError as error:
            return self._no_store(request, error)
        return back_to(f"/sessions/{session}")

    async def sign_in(self, request: Request) -> Response:
        """Take the token."""
        return await self._signing_in.sign_in(
            request, lambda told: operating.refusal_page("Sign in", told, self._signing_in.reader(request))
        )

    async def sign_out(self, request: Request) -> Response:
        """Forget that it was shown."""
        return await self._signing_in.sign_out(request)

    async def _view(self) -> ServiceView:
        """Return all that is shown, looked up once a second however many look."""
        async with self._looking:
            if self._seen is None or not 0 <= self._clock() - self._seen[0] < _FRESH_SECONDS:
                self._seen = self._clock(), await self._desk.view()
            return self._seen[1]

    def _stranger(self, request: Request) -> Response | None:
        if self._public or self._signing_in.signed_in(request):
            return None
        return self._refusal(request, 401, "Sign in", _STRANGER)

    def _no_store(self, request: Request, error: StoreError) -> Response:
        """Say why the store does not answer to whoever may know its place: its file, or the host of its database."""
        sentence = str(error) if self._signing_in.signed_in(request) else "Sign in to read why, or try again."
        return self._refusal(request, 503, "The store does not answer", sentence)

    def _refusal(self, request: Request, status: int, title: str, sentence: str) -> Response:
        return shown(operating.refusal_page(title, sentence, self._signing_in.reader(request)), status)
