"""Signing in to a page: a token once, then a cookie; and what else a form has to show before it changes anything."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ..tokens import SIGNED_IN_SECONDS, Token
from .frame import HEADERS, Reader

MAX_FORM_BYTES = 4096
_BACK = re.compile(r"/(?:members|sessions/[0-9a-f]{1,128})?")
_PORT = re.compile(r":([0-9]{1,5})\Z")
_ELSEWHERE = "The form came from another address than this page's."


class SignIn:
    """Who may act on a page.

    Args:
        token: lets whoever knows it act; None lets nobody.
        clock: seconds since 1970.
        service: what the banner says.
    """

    def __init__(self, token: Token | None, clock: Callable[[], float], service: str = "") -> None:
        self._token, self._clock, self._service = token, clock, service

    def reader(self, request: Request, told: str = "") -> Reader:
        """Return who looks at a page."""
        return Reader(self._clock(), self._service, self.signed_in(request), self._token is not None, told)

    def signed_in(self, request: Request) -> bool:
        """Tell whether a request has a cookie that was given for the token."""
        cookie = request.cookies.get(_cookie_of(request), "")
        return self._token is not None and self._token.admits(cookie, self._clock())

    def may_change(self, request: Request) -> bool:
        """Tell whether a form was sent by a page of this very origin, to someone who has signed in.

        A cookie goes along with forms of other ports of a host, too; a browser says which origin a form is from.
        """
        return self.signed_in(request) and is_own(request)

    async def sign_in(self, request: Request, refused: Callable[[str], str]) -> Response:
        """Answer the form of a token; `refused` makes a page around a sentence."""
        form = await form_of(request)
        if not is_own(request):
            return shown(refused(f"{_ELSEWHERE} Open the page by the address under which it is served."), 403)
        if self._token is None or not self._token.matches(form.get("token", "")):
            return shown(refused("This is not the token."), 401)
        reply = _back_to(form)
        secure = request.scope["scheme"] == "https"
        reply.set_cookie(
            _cookie_of(request),
            self._token.cookie(self._clock()),
            max_age=SIGNED_IN_SECONDS,
            secure=secure,
            httponly=True,
            samesite="strict",
        )
        return reply

    async def sign_out(self, request: Request) -> Response:
        """Answer the form that forgets the cookie."""
        form = await form_of(request)
        reply = _back_to(form)
        if is_own(request):
            secure = request.scope["scheme"] == "https"
            reply.delete_cookie(_cookie_of(request), secure=secure, httponly=True, samesite="strict")
        return reply


def shown(html: str, status: int = 200) -> Response:
    """Return a page as a response."""
    return HTMLResponse(html, status, headers=dict(HEADERS))


async def form_of(request: Request) -> Mapping[str, str]:
    """Return the fields of a small form; none of one that is too long or no form."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return {}
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_FORM_BYTES:
        return {}
    try:
        data = await request.body()
    except ClientDisconnect:
        return {}
    try:
        return dict(parse_qsl(data.decode("ascii"), keep_blank_values=True, max_num_fields=10))
    except ValueError:
        return {}


def is_own(request: Request) -> bool:
    """Tell whether a browser says that a form is from this very origin."""
    return request.headers.get("origin", "") == f"{request.scope['scheme']}://{request.headers.get('host', '')}"


def back_to(path: str) -> Response:
    """Send a browser to a page, after a form."""
    return RedirectResponse(path, 303, headers={"Cache-Control": "no-store"})


def _back_to(form: Mapping[str, str]) -> Response:
    back = form.get("back", "/")
    return back_to(back if _BACK.fullmatch(back) else "/")


def _cookie_of(request: Request) -> str:
    """Return the cookie's name: browsers take one that begins so from https alone, for this host and no other."""
    if request.scope["scheme"] == "https":
        return "__Host-secagg"
    port = _PORT.search(request.headers.get("host", ""))  # which a stranger may have written as no number of a port
    return f"secagg-{port[1] if port else 80}"
