"""What a request may cost before anybody has looked at it: size, time, rate, and how many at once.

Everything here is decided from addresses, lengths and clocks. What is refused is counted by its kind, told by status
and sentence, and held against nobody: an address is not a member.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..core.numbers import real, whole
from .errors import STATUSES
from .signing import WINDOW_SECONDS
from .store import NONCE_SECONDS

MAX_BODY_SECONDS = NONCE_SECONDS - WINDOW_SECONDS
"""For a body, however long: later its nonce could be forgotten while its signature is of now."""
_DRAINED_BYTES = 8 << 20
_DRAIN_SECONDS = 1.0
_MOST_KEYS = 50_000


class Refusal(HTTPException):
    """A request is not served: the kind, and a sentence for whoever sent it."""

    def __init__(self, kind: str, sentence: str, *, headers: Mapping[str, str] | None = None) -> None:
        fields = dict(headers or {})
        if STATUSES[kind] in (429, 503):
            fields.setdefault("Retry-After", "1")
        super().__init__(STATUSES[kind], sentence, fields)
        self.kind = kind


@dataclass(frozen=True)
class Limits:
    """What one process of a service takes from outside.

    Args:
        max_header_bytes: of a request line with its fields.
        header_seconds: for them, from their first byte or from the connection on.
        max_body_bytes: of a body.
        body_seconds: for a body, and besides one second for each `least_bytes_a_second` of it that have come; 540 at
            most.
        least_bytes_a_second: of a body.
        max_bodies_bytes: of all members' bodies, as far as they have come, that are being read, or were and wait to be
            looked at. One body alone may have more. Of others, those are refused of which the fewest bytes have come;
            what is stated counts nothing.
        connections: in all.
        connections_a_peer: from one address, or one /64 network of IPv6. Behind a proxy all come from its address.
        handshakes_a_second: connections that are begun from one such address, before any byte of them is read.
        burst_handshakes: so many at once, after a pause.
        requests_a_second: from one such address, before anything else is looked at.
        burst: so many at once, after a pause.
        requests_a_second_a_member: signed ones, wherever they come from.
        burst_a_member: the same.

    Raises:
        ParameterError: a value is out of range.
    """

    max_header_bytes: int = 16 << 10
    header_seconds: float = 10.0
    max_body_bytes: int = 64 << 20
    body_seconds: float = 20.0
    least_bytes_a_second: int = 16 << 10
    max_bodies_bytes: int = 512 << 20
    connections: int = 4096
    connections_a_peer: int = 64
    handshakes_a_second: float = 20.0
    burst_handshakes: int = 200
    requests_a_second: float = 100.0
    burst: int = 400
    requests_a_second_a_member: float = 20.0
    burst_a_member: int = 100

    def __post_init__(self) -> None:
        """Check every field."""
        for name in (
            *("max_header_bytes", "max_body_bytes", "least_bytes_a_second", "max_bodies_bytes"),
            *("connections", "connections_a_peer", "burst_handshakes", "burst", "burst_a_member"),
        ):
            object.__setattr__(self, name, whole(getattr(self, name), name, 1))
        rates = ("handshakes_a_second", "requests_a_second", "requests_a_second_a_member")
        for name in ("header_seconds", "body_seconds", *rates):
            object.__setattr__(self, name, real(getattr(self, name), name, 0.001, 1e9))


@dataclass
class Refused:
    """How many requests were refused, by kind.

    Attributes:
        counts: kind -> how many, of `STATUSES` and nothing else.
        told: is called with each kind, for metrics.
        failed: is called with a sentence for each request that failed by a fault of the service's own.
    """

    counts: Counter[str] = field(default_factory=Counter)
    told: Callable[[str], None] = lambda kind: None
    failed: Callable[[str], None] = lambda sentence: None

    def count(self, kind: str) -> None:
        """Count one."""
        self.counts[kind] += 1
        self.told(kind)


@dataclass(eq=False)
class _Coming:
    """A body of a member's: how many bytes are to come, how many have, and what ends its request."""

    name: str
    length: int
    cut: Callable[[], object]
    size: int = 0


class Bodies:
    """What has come of members' bodies, until they are let go of: many, side by side, would fill memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._coming: set[_Coming] = set()
        self._of_members: Counter[str] = Counter()
        self._total = 0

    @contextlib.contextmanager
    def receiving(self, name: str, length: int, cut: Callable[[], object]) -> Iterator[Callable[[int], None]]:
        """Enter the time for which a member's body is held; what is returned counts the bytes that have come.

        Both raise Refusal where there is no room, for `length` bytes or those that came. What is stated and does not
        come takes no room from others. Where bytes that come find none, the body gives way of which the fewest have
        come, or bodies well under way would end each other: another one's `cut` is called, which is to end it.
        """
        own = _Coming(name, length, cut)
        self._check_member(own, length)
        if 0 < self._total > self._limits.max_bodies_bytes - length:
            raise full()
        self._coming.add(own)

        def came(size: int) -> None:
            self._check_member(own, size)
            self._make_room(own, size)
            self._count(own, size)

        try:
            yield came
        finally:
            self._let_go(own)

    def _count(self, body: _Coming, size: int) -> None:
        body.size += size
        self._total += size
        self._of_members[body.name] += size

    def _check_member(self, own: _Coming, size: int) -> None:
        before = self._of_members[own.name]
        if before and before + size > self._limits.max_body_bytes:
            raise Refusal("too-many", f"{own.name} is sending another answer: wait and try again")

    def _make_room(self, own: _Coming, size: int) -> None:
        if own not in self._coming:  # it was cut, and its task has not heard of that
            raise full()
        while own.size < self._total > self._limits.max_bodies_bytes - size:
            unfinished = (each for each in self._coming if 0 < each.size < each.length and each is not own)
            least = min(unfinished, key=lambda each: each.size, default=own)
            if least.size >= own.size:
                raise full()
            self._let_go(least)
            least.cut()

    def _let_go(self, body: _Coming) -> None:
        if body in self._coming:  # or it was cut
            self._coming.remove(body)
            self._count(body, -body.size)
            if not self._of_members[body.name]:
                del self._of_members[body.name]


def full() -> Refusal:
    """Return what is told to whoever has no room."""
    return Refusal("too-many", "too much is being received: wait and try again")


class Rate:
    """So many a second for each key, and so many at once after a pause."""

    def __init__(self, a_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_second = a_second
        self._burst = burst
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def allows(self, key: str) -> bool:
        """Tell whether one more is allowed now, and count it if so."""
        now = self._clock()
        left, at = self._left.get(key, (float(self._burst), now))
        left = min(float(self._burst), left + (now - at) * self._a_second)
        if len(self._left) >= _MOST_KEYS and key not in self._left:
            self._forget(now)
        self._left[key] = (left - 1 if left >= 1 else left), now
        return left >= 1

    def _forget(self, now: float) -> None:
        """Drop whoever could send a whole burst again; all, if addresses come faster than that."""
        full = self._burst / self._a_second
        self._left = {key: (left, at) for key, (left, at) in self._left.items() if now - at < full}
        if len(self._left) >= _MOST_KEYS:
            self._left.clear()


@lru_cache(maxsize=1 << 12)
def peer_of(address: str) -> str:
    """Return what stands for an address: itself, or its /64 network, of which one peer may have all."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


class Limiter:
    """An ASGI application before another: it refuses what is too fast, too large or too slow, and counts it.

    Args:
        app: what serves the others.
        limits: what is taken.
        refused: where refusals are counted.
    """

    def __init__(self, app: ASGIApp, limits: Limits, refused: Refused) -> None:
        self._app = app
        self._limits = limits
        self._refused = refused
        self._peers = Rate(limits.requests_a_second, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            length = self._check(scope)
        except Refusal as refusal:
            self._refused.count(refusal.kind)
            await _drain(receive)
            await _answer(refusal, send)
            return
        body = _Body(receive, self._limits, length)
        begun = False

        async def answered(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start" and length and not body.whole:
                # The rest is not waited for: a sender could make that take for ever.
                await _drain(receive)
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, body.receive, answered)
        except Exception as error:  # a fault of ours, whose text and trace may hold anything
            fault = fault_of(error)
            self._refused.count(fault.kind)
            with contextlib.suppress(Exception):  # such as a standard error that was closed
                self._refused.failed(fault.detail)
            if not begun:
                await _answer(fault, answered)

    def _check(self, scope: Scope) -> int:
        """Return the length that a body states, 0 if there is none; raise Refusal."""
        raw_path = scope.get("raw_path")
        if raw_path is None:
            raise Refusal("bad-request", "the server passes no raw_path on, which signatures cover: take another one")
        head = len(raw_path) + len(scope["query_string"]) + sum(map(_size, scope["headers"]))
        if head > self._limits.max_header_bytes:  # which the parser sees of heads alone that come in pieces
            raise Refusal("bad-request", f"the head takes more than {self._limits.max_header_bytes:,} bytes")
        client = scope.get("client")
        if client is not None and not self._peers.allows(peer_of(client[0])):
            raise Refusal("too-fast", "too many requests from this address: wait and try again")
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            raise Refusal("too-large", "a body must state its length, and come whole: send Content-Length alone")
        if not lengths:
            return 0
        if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
            raise Refusal("bad-request", "Content-Length is no number")
        length = int(lengths[0])
        if length > self._limits.max_body_bytes:
            raise Refusal(
                "too-large", f"a body of {length:,} bytes, but at most {self._limits.max_body_bytes:,} are taken"
            )
        return length


class _Body:
    """The body of one request, which comes in time or not at all."""

    def __init__(self, receive: Receive, limits: Limits, length: int) -> None:
        self._receive = receive
        self._length = length
        self._limits = limits
        self._begun: float | None = None
        self._came = 0
        self.whole = False

    async def receive(self) -> Message:
        if self.whole:
            return await self._receive()  # tells when the peer leaves
        if self._begun is None:
            self._begun = time.monotonic()
            if not self._length:
                self.whole = True
                return {"type": "http.request", "body": b"", "more_body": False}
        seconds = self._limits.body_seconds + self._came / self._limits.least_bytes_a_second
        seconds = min(seconds, MAX_BODY_SECONDS)
        try:
            async with asyncio.timeout(max(0.0, self._begun + seconds - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise Refusal("too-slow", f"{self._came:,} bytes of the body came within {seconds:.0f} s") from None
        self._came += len(message.get("body", b""))
        self.whole = not message.get("more_body", False)
        return message


def _size(field: tuple[bytes, bytes]) -> int:
    name, value = field
    return len(name) + len(value) + 4


async def _drain(receive: Receive) -> None:
    """Take some of a refused body, so that a sender who is still sending reads why."""
    left = _DRAINED_BYTES
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


async def _answer(refusal: Refusal, send: Send) -> None:
    """Send a refusal: its status, and JSON with kind and sentence; its connection ends with it."""
    body = as_json(refusal)
    headers = [(name.lower().encode(), value.encode()) for name, value in (refusal.headers or {}).items()]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def fault_of(error: Exception) -> Refusal:
    """Return what is told of a fault of the service's own."""
    return Refusal("internal", f"an internal error: {type(error).__name__}")


def as_json(refusal: Refusal) -> bytes:
    """Return the body of a refusal's answer."""
    facts: dict[str, Any] = {"error": refusal.kind, "reason": refusal.detail}
    return json.dumps(facts).encode()
