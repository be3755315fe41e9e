"""One member's connection to a service: signed requests, tried again while that can help.

async with Connection("https://sums.example", identity, ca=Path("ca.pem")) as connection:
await connection.enrol("hospital-3", invitation)
letter = await connection.next_letter(after=0, wait=20)
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from secagg.errors import ParameterError
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import Identity

from ..core.framing import printable
from ..core.machine import Receipt
from ..core.numbers import boolean
from ..masking.messages import VERSION
from . import signing
from .errors import ServiceError, is_refusal
from .signing import Request, authority_of
from .views import Letter

MAX_ANSWER_BYTES = 256 << 20
"""Of a letter, of terms and of a result; and of all that waits to be handled, but for the last letter."""
MAX_FACTS_BYTES = 64 << 10
"""Of a receipt, a refusal and whatever else is read as JSON: objects take a hundred times their text."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same may succeed later."""
_HOST = re.compile(r"[0-9A-Za-z._:-]+")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 20.0
_TIMEOUT = 30.0
_LEAST_WAIT = 1.0
"""Seconds that a poll without a letter takes at least, if it may."""
_LONGEST_PHASE = 100
_LETTER = "secagg-session"
_RECEIPTS: Mapping[str, int] = {**dict.fromkeys(map(str, Receipt), 200), "kept": 202}
"""What a service says of an answer that it has, and the status with which it does."""
_REMEDIES = (  # OpenSSL's numbers of what is wrong with a certificate
    ({9, 10}, "ask its operator to renew it, unless this machine's clock is wrong"),
    ({18, 19, 20, 21}, "name the file with its authority's certificate (--ca), which its operator has"),
    ({62, 64}, "use the name that its operator gave you, for which it was made"),
)
_SESSION, _SEQUENCE = re.compile(r"[0-9a-f]{1,64}"), re.compile(r"[1-9][0-9]{0,17}")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,8}")


class ServiceUnavailableError(ServiceError):
    """The service could not be reached, or could not answer, for as long as was allowed."""


class NotOursError(ServiceError):
    """What answers is not the service: a proxy, a page that asks to sign in, another program at its address."""


class RequestRefusedError(ServiceError):
    """The service refuses a request, and would again.

    Attributes:
        status: of HTTP; 0 where it is this side that refuses, since the service's certificate is not trusted.
        kind: a word of the service's, such as `revoked`.
        reason: a sentence.
    """

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(f"the service refuses ({status}, {kind}): {reason}" if status else reason)
        self.status = status
        self.kind = kind
        self.reason = reason

    def __reduce__(self) -> tuple[type[RequestRefusedError], tuple[int, str, str]]:
        """Let the error cross process borders."""
        return type(self), (self.status, self.kind, self.reason)


class Connection:
    """Signed requests of one identity to one service.

    Args:
        url: of the service: https, and http on loopback where `insecure_loopback` says so.
        identity: of the member.
        ca: file of certificates in PEM that are trusted instead of the system's.
        patience: seconds for which a request is tried again; without end when None.
        insecure_loopback: take http on this machine, for trials.
        told: is told, once a request, that it was not answered and is tried again.
        clock: seconds since 1970.
        random: where nonces and the jitter of pauses come from.

    Raises:
        ParameterError: the URL is none of a service, the file cannot be read, or `insecure_loopback` is no boolean.
    """

    def __init__(
        self,
        url: str,
        identity: Identity,
        *,
        ca: Path | None = None,
        patience: float | None = None,
        insecure_loopback: bool = False,
        told: Callable[[str], None] = lambda text: None,
        clock: Callable[[], float] = time.time,
        random: RandomBytes = SYSTEM,
    ) -> None:
        try:
            base = httpx.URL(url)
        except (httpx.InvalidURL, TypeError, ValueError):
            base = httpx.URL("")
        insecure_loopback = boolean(insecure_loopback, "insecure_loopback")
        allowed = base.scheme == "https" or (base.scheme == "http" and insecure_loopback and base.host in LOOPBACK)
        if not allowed or not _HOST.fullmatch(base.host) or base.path.strip("/") or base.query or base.userinfo:
            raise ParameterError(
                f"the service's address is {url!r:.100}, but must be such as https://sums.example:8443"
            )
        self.url = url
        self._base = base
        self._identity = identity
        self._patience = patience
        self._told = told
        self._clock = clock
        self._random = random
        self._client = httpx.AsyncClient(
            verify=_context(ca) if base.scheme == "https" else True,
            timeout=httpx.Timeout(_TIMEOUT, read=_TIMEOUT),
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # a proxy's could not even be sent back
            headers={"Secagg-Wire": str(VERSION), "Accept-Encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"Connection({self.url!r})"

    @property
    def identity(self) -> Identity:
        """Whose requests these are."""
        return self._identity

    async def close(self) -> None:
        """Give back what the connection holds."""
        await self._client.aclose()

    async def enrol(self, name: str, invitation: str) -> None:
        """Become a member by an invitation; the same once more changes nothing.

        Raises:
            RequestRefusedError: the invitation was used, has expired, or is for another name.
            ServiceUnavailableError: see `patience`.
        """
        form = {"name": name, "public_key": self._identity.public_bytes.hex(), "invitation": invitation}
        await self._ask("POST", "/v1/members", json.dumps(form).encode(), says="name")

    async def confirm(self, name: str) -> None:
        """Return if the service knows this connection's key as this member's.

        Raises:
            RequestRefusedError: it is another member's, or nobody's.
            ServiceUnavailableError: see `patience`.
        """
        await self._ask("GET", f"/v1/members/{quote(name, safe='')}", says="name")

    async def rotate(self, name: str, new: Identity) -> None:
        """Replace the member's key; this connection signs by the new one from then on.

        Raises:
            RequestRefusedError: the old key is not the member's, or the new one cannot be taken.
            ServiceUnavailableError: see `patience`. Whether the key was replaced is then not known: the same call, with
                either key, tells.
        """
        path = f"/v1/members/{quote(name, safe='')}"
        form = {"public_key": new.public_bytes.hex()}
        try:
            await self._ask("PUT", f"{path}/key", json.dumps(form).encode(), says="name", new=new)
        except RequestRefusedError as error:
            if error.kind != "revoked":
                raise
            old, self._identity = self._identity, new  # the answer to an earlier try may have been lost
            try:
                await self._ask("GET", path, says="name")
            except RequestRefusedError:
                self._identity = old
                raise error from None
        self._identity = new

    async def next_letter(self, after: int, wait: float) -> Letter | None:
        """Return the first letter after a sequence number, as soon as there is one; None if there was none.

        Raises:
            RequestRefusedError: no member, revoked, another process took over, another wire version.
            ServiceUnavailableError: see `patience`.
        """
        target = f"/v1/letters?after={after}&wait={wait:.3f}"
        begun = time.monotonic()
        answer = await self._ask("GET", target, letters=True, timeout=wait + _TIMEOUT)
        if answer.status_code == 204:  # a service waits before it says so; a proxy may not, and is not asked at once
            await asyncio.sleep(max(0.0, min(wait, _LEAST_WAIT) - (time.monotonic() - begun)))
            return None
        return letter_of(answer.headers, answer.content, after)

    async def deliver(self, session: str, body: bytes) -> Receipt | None:
        """Send an answer; return what came of it, None if it is kept but was not looked at yet.

        Raises:
            RequestRefusedError: the answer breaks a rule, or the member has no part in the session.
            ServiceUnavailableError: see `patience`.
        """
        return (await self.exchange(session, body))[0]

    async def exchange(
        self,
        session: str,
        body: bytes,
        after: int | None = None,
        wait: float = 0.0,
        allowed: Callable[[], Awaitable[None]] | None = None,
    ) -> tuple[Receipt | None, Letter | None]:
        """Send an answer and wait for the letter that follows: one request for what `deliver` and `next_letter` do.

        Args:
            session: of the answer.
            body: the answer.
            after: as `next_letter` takes it; no letter is asked for when None.
            wait: the same.
            allowed: awaited before each try, which may be hours after the one before; what it raises ends them.

        Returns:
            What came of the answer, as `deliver` has it, and the letter; None where there was none in time.

        Raises:
            RequestRefusedError, ServiceUnavailableError: as `deliver` and `next_letter`.
        """
        asked = "" if after is None else f"?after={after}&wait={wait:.3f}"
        target = f"/v1/sessions/{session}/letters{asked}"
        letters = after is not None
        seconds = wait + _TIMEOUT
        answer = await self._ask(
            "POST", target, body, says="receipt", letters=letters, timeout=seconds, allowed=allowed
        )
        if after is None or _LETTER not in answer.headers:
            return _receipt(_facts(answer).get("receipt")), None
        return _receipt(answer.headers.get("secagg-receipt")), letter_of(answer.headers, answer.content, after)

    async def refuse(self, session: str, kind: str, reason: str) -> None:
        """Say that the member will not take part, and why."""
        form = {"kind": kind, "reason": printable(reason)}
        await self._ask("POST", f"/v1/sessions/{session}/refusal", json.dumps(form).encode(), says="receipt")

    async def terms(self, session: str) -> bytes:
        """Return what is asked in a session; `sessions.read_terms` reads it."""
        return (await self._ask("GET", f"/v1/sessions/{session}", says="version")).content

    async def result(self, session: str) -> bytes:
        """Return a session's result as JSON; raise RequestRefusedError where there is none for members."""
        return (await self._ask("GET", f"/v1/sessions/{session}/result", says="version")).content

    async def _ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        says: str = "",
        letters: bool = False,
        new: Identity | None = None,
        timeout: float = _TIMEOUT,
        allowed: Callable[[], Awaitable[None]] | None = None,
    ) -> httpx.Response:
        """Send a request until the service answers it, each time signed anew, with pauses of full jitter.

        What something else answers, such as a proxy, says nothing about the service, whatever its status.
        """
        end = None if self._patience is None else time.monotonic() + self._patience
        most = MAX_ANSWER_BYTES if letters or says == "version" else MAX_FACTS_BYTES
        tries = 0
        while True:
            if allowed is not None:
                await allowed()
            try:
                answer = await self._send(method, target, body, new, timeout, most)
                if answer.is_success and _is_ours(answer, says, letters):
                    if tries:
                        self._told(f"{self.url} answers again")
                    return answer
                facts = _facts(answer)
                kind, reason = (printable(facts.get(key, "")) for key in ("error", "reason"))
                if not is_refusal(answer.status_code, kind):
                    raise NotOursError(f"the answer ({answer.status_code}) is none of the service's")
                if answer.status_code not in TRANSIENT and kind != "replayed":  # by a proxy: this side signs anew
                    raise RequestRefusedError(answer.status_code, kind, reason or "it does not say why")
                why, least = f"{answer.status_code}, {reason}", _seconds(answer.headers.get("retry-after", ""))
            except NotOursError as error:
                why, least = str(error), 0.0
            except (httpx.HTTPError, httpx.InvalidURL) as error:  # of an address that a redirect leads to
                why, least = str(error) or type(error).__name__, 0.0
                distrusted = _certificate_error(error)
                if distrusted is not None:
                    raise RequestRefusedError(0, "certificate", f"{self.url}: {_distrust(distrusted)}") from None
            bound = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**tries)
            pause = least + bound * int.from_bytes(self._random(4), "big") / 2**32
            if end is not None and time.monotonic() + pause > end:
                raise ServiceUnavailableError(f"{self.url} cannot answer: {printable(why)}")
            if not tries:
                self._told(f"{self.url} does not answer, and is tried again: {printable(why)}")
            await asyncio.sleep(pause)
            tries = min(tries + 1, 20)

    async def _send(
        self, method: str, target: str, body: bytes, new: Identity | None, timeout: float, most: int
    ) -> httpx.Response:
        url = self._base.join(target)
        path, _, query = url.raw_path.decode("ascii").partition("?")
        authority = authority_of(url.scheme, url.netloc.decode("ascii"))
        digest = await asyncio.to_thread(signing.sha256, body) if len(body) > 1 << 20 else signing.sha256(body)
        fields = signing.sign(
            Request(method, authority, path, query, digest),
            self._identity,
            created=int(self._clock()),
            new=new,
            random=self._random,
        )
        request = self._client.build_request(
            method, url, content=body or None, headers=fields, timeout=httpx.Timeout(_TIMEOUT, read=timeout)
        )
        answer = await self._client.send(request, stream=True)
        try:
            if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
                raise NotOursError(f"the answer ({answer.status_code}) is compressed, which was not asked for")
            most = most if answer.is_success else MAX_FACTS_BYTES
            taken = bytearray()
            async for chunk in answer.aiter_raw():
                taken += chunk
                if len(taken) > most:
                    raise NotOursError(f"the answer ({answer.status_code}) is longer than is taken")
        finally:
            await answer.aclose()
        return httpx.Response(answer.status_code, headers=answer.headers, content=bytes(taken))


def letter_of(fields: Mapping[str, str], body: bytes, after: int) -> Letter:
    """Return the letter that an answer is; raise RequestRefusedError for anything else, as nothing else would come."""
    session, sequence, phase = (fields.get(f"secagg-{name}", "") for name in ("session", "sequence", "phase"))
    known = _SESSION.fullmatch(session) and _SEQUENCE.fullmatch(sequence) and len(phase) <= _LONGEST_PHASE
    stated = fields.get("secagg-terms", "0")
    split = int(stated) if _LENGTH.fullmatch(stated) else MAX_ANSWER_BYTES + 1
    if not known or not after < int(sequence) or split > len(body):
        raise RequestRefusedError(200, "no-letter", "it answers with something that is no letter")
    return Letter(session, int(sequence), printable(phase), body[split:], terms=body[:split])


def _receipt(stated: Any) -> Receipt | None:
    return Receipt(stated) if stated in tuple(Receipt) else None


def _context(ca: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ParameterError(f"the certificates in {ca} cannot be read: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _distrust(error: ssl.SSLCertVerificationError) -> str:
    """Return why a certificate is not trusted, and what to do."""
    why = printable(error.verify_message).rstrip(".")
    for codes, remedy in _REMEDIES:
        if error.verify_code in codes:
            return f"the service's certificate is not trusted ({why}): {remedy}"
    return f"the service's certificate is not trusted ({why}): ask its operator"


def _is_ours(answer: httpx.Response, says: str, letters: bool) -> bool:
    """Tell whether this is what the service answers where it does what was asked.

    An answer of the member's is forgotten then, so a receipt must be one: nothing else has said that it is durable.
    """
    if letters and not says:
        return _LETTER in answer.headers or answer.status_code == 204
    if says == "receipt":
        with_letter = letters and _LETTER in answer.headers
        stated = answer.headers.get("secagg-receipt") if with_letter else _facts(answer).get("receipt")
        return isinstance(stated, str) and _RECEIPTS.get(stated) == answer.status_code
    return answer.content.startswith(f'{{"{says}":'.encode())


def _facts(answer: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of an answer; empty where it is none, or longer than any of the service's."""
    if len(answer.content) > MAX_FACTS_BYTES:
        return {}
    try:
        facts = json.loads(answer.content)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _seconds(text: str) -> float:
    return min(float(text), _LONGEST_PAUSE) if text.isascii() and text.isdigit() else 0.0
