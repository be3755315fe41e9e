"""The service over HTTP: who may ask what, with which status it is refused, and nothing of sessions themselves.

Every request of a member is signed (`signing`). The signature is held against the digest that the request states before
the body is read, and the body against the digest after that: strangers' bodies are never read.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from secagg.errors import AuthenticationFailed

from ..masking.messages import VERSION
from . import signing
from .desk import Desk
from .errors import NoResultError, NotInvitedError, ReplayedRequestError, StoreError, UnknownSessionError
from .forms import read_awaited, read_form, read_refusal
from .limits import MAX_BODY_SECONDS, Bodies, Limiter, Limits, Rate, Refusal, Refused, as_json, fault_of, full
from .members import EnrolmentError, Member, Members, RevokedMemberError, UnknownMemberError
from .signing import Signed, authority_of
from .together import Together
from .views import Letter
from .waiting import Poll

MAX_FORM_BYTES = 4096
"""Of a body that is no letter."""
THREADS = 8
MOST_KEYS_AT_ONCE = 256
MOST_SERVED = 1 << 16
"""So many keys are remembered with their names, which never change."""
T = TypeVar("T")
_ANSWERS_PATH = re.compile("/v1/sessions/(?P<session>[^/]+)/letters")
_LARGE = 1 << 20
_SIGNATURE_FIELDS = ("content-digest", "signature-input", "signature")

KINDS: Mapping[type[Exception], str] = {
    AuthenticationFailed: "not-signed",
    UnknownMemberError: "stranger",
    RevokedMemberError: "revoked",
    EnrolmentError: "not-enrolled",
    ReplayedRequestError: "replayed",
    NotInvitedError: "not-invited",
    UnknownSessionError: "unknown-session",
    NoResultError: "no-result",
    StoreError: "store",
}
"""Error -> kind of refusal. An error's nearest class decides."""


@dataclass
class Asked:
    """A signed request, whose body was read; whoever serves it may let go of the body, which is counted until then."""

    member: Member
    signed: Signed
    body: bytes
    request: Request
    held: contextlib.ExitStack


class Requests:
    """The routes of a service, and what they share.

    Args:
        desk: what runs sessions.
        members: who may take part.
        authorities: under which hosts, with their ports, the service is known; requests to others are misdirected.
        limits: of rates and sizes.
        refused: where refusals are counted.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        desk: Desk,
        members: Members,
        authorities: Iterable[str],
        *,
        limits: Limits | None = None,
        refused: Refused | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.desk = desk
        self.members = members
        self.authorities = frozenset(each.lower() for each in authorities)
        self.limits = limits or Limits()
        self.refused = refused or Refused()
        self._clock, self._steady = clock, time.monotonic
        self._rates = Rate(self.limits.requests_a_second_a_member, self.limits.burst_a_member)
        self._nonces: set[bytes] = set()
        self._older: set[bytes] = set()
        self._since = 0.0
        self.polls: dict[str, Poll] = {}
        self._closing = False
        self._bodies = Bodies(self.limits)
        self._threads = ThreadPoolExecutor(THREADS, "requests")
        self._served: dict[bytes, Member] = {}
        self._keys: Together[bytes, Member] = Together(self._call, members.by_keys, MOST_KEYS_AT_ONCE)

    def app(self, routes: Iterable[BaseRoute] = (), lifespan: Any = None) -> ASGIApp:
        """Return the application behind its limits, with further routes such as pages; `lifespan` is Starlette's."""
        letters, answers = self._signed(self._letters), self._signed(self._deliver, None)
        own = [
            Route("/v1/members", self._enrol, methods=["POST"]),
            Route("/v1/members/{name:path}/key", self._signed(self._rotate, MAX_FORM_BYTES), methods=["PUT"]),
            Route("/v1/members/{name:path}", self._signed(self._member), methods=["GET"]),
            Route("/v1/letters", letters, methods=["GET"]),
            Route("/v1/sessions/{session}", self._signed(self._terms), methods=["GET"]),
            Route("/v1/sessions/{session}/result", self._signed(self._result), methods=["GET"]),
            Route("/v1/sessions/{session}/letters", answers, methods=["POST"]),
            Route("/v1/sessions/{session}/refusal", self._signed(self._refuse, MAX_FORM_BYTES), methods=["POST"]),
        ]
        handlers: dict[Any, Any] = {Refusal: self._tell} | dict.fromkeys(KINDS, self._tell_error)
        handlers[Exception] = _tell_fault
        app = Starlette(routes=[*own, *routes], exception_handlers=handlers, lifespan=lifespan)
        app.router.redirect_slashes = False

        async def served_first(scope: Scope, receive: Receive, send: Send) -> None:
            """Serve letters and answers, which are nearly all requests, without a search among routes."""
            method = scope["method"] if scope["type"] == "http" else ""
            answered = _ANSWERS_PATH.fullmatch(scope["path"]) if method == "POST" else None
            if answered is not None or (method == "GET" and scope["path"] == "/v1/letters"):
                scope["endpoint"] = letters if answered is None else answers
                scope["path_params"] = {} if answered is None else answered.groupdict()
                await self._serve(scope["endpoint"], Request(scope, receive), send)
            else:
                await app(scope, receive, send)

        return Limiter(served_first, self.limits, self.refused)

    async def _serve(self, endpoint: Callable[[Request], Awaitable[Response]], request: Request, send: Send) -> None:
        """Serve one request as a route does, errors included that have a kind."""
        try:
            response = await endpoint(request)
        except Refusal as refusal:
            response = await self._tell(request, refusal)
        except tuple(KINDS) as error:
            response = await self._tell_error(request, error)
        await response(request.scope, request.receive, send)

    def closing(self) -> None:
        """Let nobody wait any longer: the service ends."""
        self._closing = True
        for poll in self.polls.values():
            poll.give_up()

    def close(self) -> None:
        """Give back threads."""
        self._keys.close()
        self._threads.shutdown(cancel_futures=True)

    def opened(self) -> None:
        """Let members wait for letters."""
        self._closing = False

    def _check_open(self) -> None:
        if self._closing:
            raise Refusal("ending", "the service is ending: try again", headers={"Connection": "close"})

    # Requests

    def _signed(
        self, serve: Callable[[Asked], Awaitable[Response]], most: int | None = 0
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint for members alone; `most` bytes of body, or what the limits say when None."""

        async def endpoint(request: Request) -> Response:
            signed = self._read_signed(request)
            # Whether a key still serves is asked as its answer is let in; before that body is read, memory is enough.
            member = (self._served.get(signed.key) if most is None else None) or await self._owner(signed.key)
            if not self._rates.allows(member.name):
                raise Refusal("too-fast", f"too many requests of {member.name}: wait and try again")
            wire = self._wire(request)
            if request.method in ("GET", "HEAD"):
                self._use_nonce(signed)  # before anything is noted: no signature covers the wire version
                if self.members.saw(member.name, wire):
                    await self._call(self.members.write_seen)
            self._check_wire(wire)
            with contextlib.ExitStack() as held:
                stated = int(request.headers.get("content-length", 0))
                try:
                    async with asyncio.timeout(None) as until:
                        cut = functools.partial(until.reschedule, 0.0)  # long ago: it ends at once
                        receiving = self._bodies.receiving(member.name, stated, cut)
                        came = held.enter_context(receiving) if most is None else _forget
                        body = await self._body(request, signed, most, came)
                except TimeoutError:
                    raise full() from None
                late = self._clock() - signed.created > MAX_BODY_SECONDS
                if most is None and late:  # which may have taken long
                    raise Refusal("too-slow", "the body came too long after it was signed: sign it anew")
                asked = Asked(member, signed, body, request, held)
                del body  # or it would be held as long as the request is
                return await serve(asked)

        return functools.wraps(serve)(endpoint)

    async def _owner(self, key: bytes) -> Member:
        """Return whose key it is, if it serves now."""
        self._served.pop(key, None)
        member = await self._keys.ask(key)
        if len(self._served) >= MOST_SERVED:
            self._served.clear()
        self._served[key] = member
        return member

    def _read_signed(self, request: Request) -> Signed:
        """Return who has signed a request, if it was signed for this host, now."""
        fields: dict[str, list[str]] = {"host": [], **{name: [] for name in _SIGNATURE_FIELDS}}
        for name, value in request.scope["headers"]:
            if (known := fields.get(name.decode("latin-1"))) is not None:
                known.append(value.decode("latin-1"))
        hosts = fields.pop("host")
        authority = authority_of(request.scope["scheme"], hosts[0]) if len(hosts) == 1 else ""
        if authority not in self.authorities:
            names = " or ".join(sorted(self.authorities))
            raise Refusal("misdirected", f"the request is for {authority!r:.100}, but this service is known as {names}")
        if any(len(values) > 1 for values in fields.values()):
            raise AuthenticationFailed("a field of the signature stands twice")
        path = request.scope["raw_path"].partition(b"?")[0].decode("latin-1")
        query = request.scope["query_string"].decode("latin-1")
        given = {name: values[0] for name, values in fields.items() if values}
        signed = signing.read_signed(request.method, authority, path, query, given)
        signed.verify()
        signed.check_time(self._clock())
        return signed

    def _use_nonce(self, signed: Signed) -> None:
        """Note a request that changes nothing, in memory: a copy at another process reads what the first could."""
        now, key = self._steady(), signed.key + signed.nonce  # the other clock may be set back, and forget nothing
        if now - self._since > 2 * signing.WINDOW_SECONDS:
            self._nonces, self._older, self._since = set(), self._nonces, now
        if key in self._nonces or key in self._older:
            raise ReplayedRequestError("the request was served before: sign each one anew")
        self._nonces.add(key)

    def _wire(self, request: Request) -> int:
        stated = request.headers.get("secagg-wire", "")
        if not re.fullmatch(r"[0-9]{1,4}", stated):
            raise Refusal("bad-request", "the request does not state its wire version: send the field Secagg-Wire")
        return int(stated)

    def _check_wire(self, wire: int) -> None:
        if wire != VERSION:
            raise Refusal(
                "wire-version",
                f"the request speaks wire version {wire}, but this service speaks version {VERSION}: "
                f"upgrade the {'participant' if wire < VERSION else 'service'}",
                headers={"Upgrade": f"secagg/{VERSION}"},
            )

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Do what waits for the store, or takes its time, in a thread of the service's requests."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _body(self, request: Request, signed: Signed, most: int | None, came: Callable[[int], None]) -> bytes:
        """Return the body, if it is not too long, and the one that was signed."""
        limit = self.limits.max_body_bytes if most is None else most
        if int(request.headers.get("content-length", 0)) > limit:
            raise Refusal("too-large", f"at most {limit:,} bytes are taken here")
        chunks, size = [], 0
        try:
            async for chunk in request.stream():
                if chunk:
                    came(len(chunk))
                    chunks.append(chunk)
                    size += len(chunk)
                if size > limit:
                    raise Refusal("too-large", f"at most {limit:,} bytes are taken here")
        except ClientDisconnect:
            raise Refusal("too-slow", "the body did not come as a whole") from None
        whole = b"".join(chunks)
        digest = await self._call(signing.sha256, whole) if len(whole) > _LARGE else signing.sha256(whole)
        if digest != signed.request.digest:
            raise Refusal("wrong-digest", "the body is not the one that was signed")
        return whole

    async def _tell(self, request: Request, refusal: Exception) -> Response:
        if not isinstance(refusal, Refusal):
            raise refusal
        self.refused.count(refusal.kind)
        return JSONResponse(
            {"error": refusal.kind, "reason": refusal.detail}, refusal.status_code, headers=refusal.headers
        )

    async def _tell_error(self, request: Request, error: Exception) -> Response:
        kind = next(KINDS[each] for each in type(error).__mro__ if each in KINDS)
        headers = {"WWW-Authenticate": 'Signature realm="secagg"'} if kind in ("not-signed", "stranger") else {}
        # The store's own words name files and hosts of the operator's.
        text = "the service cannot reach its store: try again" if kind == "store" else str(error)
        return await self._tell(request, Refusal(kind, text, headers=headers))

    # Members

    async def _enrol(self, request: Request) -> Response:
        signed = self._read_signed(request)
        self._check_wire(self._wire(request))
        body = await self._body(request, signed, MAX_FORM_BYTES, _forget)
        given = read_form(body, "name", "public_key", "invitation")
        if given["public_key"] != signed.key.hex():
            raise Refusal("not-signed", "an enrolment is signed by the key that it is for")
        # No nonce is kept: a copy changes nothing, and a stranger's tries leave nothing in the store.
        await self._call(self.members.enrol, given["name"], signed.key, given["invitation"])
        return JSONResponse({"name": given["name"]}, 201)

    async def _member(self, asked: Asked) -> Response:
        self._check_name(asked)
        return JSONResponse({"name": asked.member.name})

    async def _rotate(self, asked: Asked) -> Response:
        self._check_name(asked)
        given = read_form(asked.body, "public_key")
        if not asked.signed.new_key or given["public_key"] != asked.signed.new_key.hex():
            raise Refusal("not-signed", "a change of keys is signed by both keys")
        await self._note(asked)
        await self._call(self.members.rotate, asked.member, asked.signed.new_key)
        return JSONResponse({"name": asked.member.name})

    def _check_name(self, asked: Asked) -> None:
        if asked.request.path_params["name"] != asked.member.name:
            raise Refusal(
                "not-invited", f"the key that signed the request is not this member's but {asked.member.name}'s"
            )

    async def _note(self, asked: Asked) -> None:
        await self._call(self.members.use_nonce, asked.member.name, asked.signed.nonce)

    # Sessions

    async def _letters(self, asked: Asked) -> Response:
        after, wait = read_awaited(asked.signed.request.query)
        self._check_open()
        letter = await self._next(asked.member.name, after, wait)
        if letter is None:
            self._check_open()
            return Response(status_code=204)
        return self._with_letter(letter)

    async def _next(self, name: str, after: int, wait: float) -> Letter | None:
        """Return the member's next letter, as soon as there is one; None if there was none, or the service ends."""
        before = self.polls.get(name)
        if before is not None:
            before.give_up()
        poll = self.polls[name] = Poll()
        try:
            letter = await self.desk.next_letter(name, after, wait, poll)
            if letter is None and poll.over and not self._closing:
                raise Refusal("taken-over", f"another process asks as {name}: one at a time may")
            return letter
        finally:
            if self.polls.get(name) is poll:
                del self.polls[name]

    async def _deliver(self, asked: Asked) -> Response:
        awaited = read_awaited(asked.signed.request.query) if asked.signed.request.query else None
        session, name = asked.request.path_params["session"], asked.member.name
        signed = asked.signed
        try:
            outcome = await self.desk.deliver(
                name, session, asked.body, nonce=signed.nonce, sha256=signed.request.digest, key=signed.key
            )
        except (UnknownSessionError, NotInvitedError):
            await self._owner(signed.key)  # what sessions there are is told to members alone
            raise
        except (UnknownMemberError, RevokedMemberError):
            self._served.pop(signed.key, None)  # no further body of its is read
            raise
        asked.body = b""  # while the member waits for its next letter, nobody keeps the answer
        asked.held.close()
        if outcome.error:
            kind = "unexpected" if outcome.error == "UnexpectedMessage" else "refused-message"
            self.refused.count(kind)
            return JSONResponse(
                {"error": outcome.error, "reason": outcome.reason}, Refusal(kind, outcome.reason).status_code
            )
        receipt, status = ("kept", 202) if outcome.receipt is None else (str(outcome.receipt), 200)
        letter = None if awaited is None or self._closing else await self._next(name, *awaited)
        if letter is None:
            return JSONResponse({"receipt": receipt}, status)
        return self._with_letter(letter, status, {"Secagg-Receipt": receipt})

    def _with_letter(self, letter: Letter, status: int = 200, fields: Mapping[str, str] | None = None) -> Response:
        """Return an answer with a letter, before which the terms stand if it is the first of its session."""
        headers = {
            "Secagg-Session": letter.session,
            "Secagg-Sequence": str(letter.sequence),
            "Secagg-Phase": letter.phase,
            **({"Secagg-Terms": str(len(letter.terms))} if letter.terms else {}),
            **(fields or {}),
        }
        return Response(letter.terms + letter.body, status, headers, "application/octet-stream")

    async def _refuse(self, asked: Asked) -> Response:
        kind, reason = read_refusal(asked.body)
        await self._note(asked)
        session = asked.request.path_params["session"]
        await self.desk.refuse(asked.member.name, session, kind, reason)
        return JSONResponse({"receipt": "accepted"})

    async def _terms(self, asked: Asked) -> Response:
        terms = await self.desk.terms(asked.member.name, asked.request.path_params["session"])
        return Response(terms, media_type="application/json")

    async def _result(self, asked: Asked) -> Response:
        result = await self.desk.result(asked.member.name, asked.request.path_params["session"])
        return Response(result, media_type="application/json")


async def _tell_fault(request: Request, error: Exception) -> Response:
    """Tell of a fault as the service tells all; it is raised again after that, and counted in the `Limiter`."""
    fault = fault_of(error)
    return Response(as_json(fault), fault.status_code, media_type="application/json")


def _forget(size: int) -> None:
    """Count no bytes of a form: it is short."""
