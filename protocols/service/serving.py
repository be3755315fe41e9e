"""The service as a process: uvicorn under TLS, the desk that runs sessions, and what guards its connections.

service = Service("hospitals.db", host="sums.example", certificate="cert.pem", key="key.pem")
invitations = {name: service.members.invite(name) for name in names}
result = await service.run(spec)
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
from asyncio.sslproto import SSLProtocol
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, Self

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from secagg.errors import ParameterError, StateError

from ..core.numbers import boolean
from .connection import LOOPBACK
from .handshakes import Handshakes
from .hosting import Hosted, hosts_of
from .limits import Limits, Refusal, Refused, as_json, peer_of

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - to tell that it is that
HANDSHAKE_SECONDS = 10.0
IDLE_SECONDS = 30
"""For which a connection may be open without a request."""
YOUNG_OBJECTS = 10_000
"""So many objects are made, and not let go of, before garbage is looked for."""
GRACE_SECONDS = 3
"""For requests that are being served when the service ends."""


def guarded(limits: Limits, refused: Refused) -> type[H11Protocol]:
    """Return uvicorn's protocol with limits on connections, and on the time that the head of a request may take."""
    peers: Counter[str] = Counter()
    under_way = Handshakes(limits, refused.count)

    class Guarded(H11Protocol):
        """One connection."""

        handshakes = under_way
        _peer = ""
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            under_way.done(transport.get_extra_info("peername"))
            address = self.client[0] if self.client else ""
            self._peer = peer_of(address)
            peers[self._peer] += 1
            if peers.total() > limits.connections or peers[self._peer] > limits.connections_a_peer:
                self._turn_away(Refusal("too-many", "too many connections: wait and try again"))
                return
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_came()
            peers[self._peer] -= 1
            if not peers[self._peer]:
                del peers[self._peer]
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            if self.conn.their_state is h11.IDLE:
                self._await_head()
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._head_came()

        def _await_head(self) -> None:
            if self._late is None:
                self._late = self.loop.call_later(limits.header_seconds, self._too_late)

        def _head_came(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def _too_late(self) -> None:
            self._late = None
            if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
                self._turn_away(Refusal("too-slow", "the head of a request did not come in time"))

        def _turn_away(self, refusal: Refusal) -> None:
            """Answer what was not read, and hang up."""
            refused.count(refusal.kind)
            body = as_json(refusal)
            head = (
                f"HTTP/1.1 {refusal.status_code} \r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            )
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
            self.transport.close()

        def send_400_response(self, msg: str) -> None:
            refused.count("bad-request")
            super().send_400_response(msg)

        def _unsupported_upgrade_warning(self) -> None:
            """Say nothing: whoever connects decides what is sent."""

    return Guarded


class _Tls(SSLProtocol):
    """TLS of one connection, which holds a buffer of this size for as long as it is open."""

    max_size = 64 << 10


class _Server(uvicorn.Server):
    """Uvicorn's server, which leaves signals to whoever runs it, and waits for no handshake for long."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: Any = None) -> None:
        await self.lifespan.startup()
        config = self.config
        self.servers = []

        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.BaseProtocol:
            kind: Any = config.http_protocol_class
            made: asyncio.Protocol = kind(config=config, server_state=self.server_state, app_state=self.lifespan.state)
            if config.ssl is None:
                return made
            return _Tls(loop, made, config.ssl, None, True, ssl_handshake_timeout=HANDSHAKE_SECONDS)  # type: ignore[arg-type] # nobody waits for the handshake

        guard: Any = config.http_protocol_class
        try:
            bound = await asyncio.to_thread(guard.handshakes.listen, config.host, config.port)
            for each in bound:
                self.servers.append(await loop.create_server(protocol, sock=each, backlog=config.backlog))
        except OSError as error:
            raise ParameterError(
                f"nothing can be served at {config.host}, port {config.port}: {error.strerror}"
            ) from None
        self.started = True


class Service(Hosted):
    """Sessions over HTTPS, in one process; several processes may share a store in PostgreSQL.

    Args:
        store: a path, or a URL as `Store` takes it; made if it is not there.
        host: where to listen.
        port: the same; 0 for one that is free.
        certificate: chain in PEM, with `key`; None serves http, on loopback alone and only if `insecure_loopback`.
        key: private, in PEM.
        authorities: hosts, with their ports unless 443, under which members know the service: where it listens when
            None.
        limits: of sizes, rates and connections.
        insecure_loopback: serve http on this machine, for trials.
        more: as `Hosted` takes it, such as `routes` and the arguments of the `Desk`.

    Raises:
        ParameterError: the address is not loopback and there is no certificate; or files cannot be read; or authorities
            are no hosts; or `insecure_loopback` is no boolean.
        StoreError: the store cannot be used.
    """

    def __init__(
        self,
        store: str | Path,
        *,
        host: str = "127.0.0.1",
        port: int = 8443,
        certificate: Path | str | None = None,
        key: Path | str | None = None,
        authorities: Iterable[str] | None = None,
        limits: Limits | None = None,
        insecure_loopback: bool = False,
        **more: Any,
    ) -> None:
        if (certificate is None) != (key is None):
            raise ParameterError("a certificate and its private key go together: give both")
        insecure_loopback = boolean(insecure_loopback, "insecure_loopback")
        if certificate is None and not (insecure_loopback and host in LOOPBACK):
            raise ParameterError(
                "without a certificate the service is served on loopback alone, and only if that is asked for in so "
                "many words: give certificate and key, or insecure_loopback"
            )
        if authorities is None and host in EVERYWHERE:
            raise ParameterError(
                f"at {host} the service cannot know by which names it is reached: give authorities (--authority), such "
                "as sums.example:8443"
            )
        self._tls = None if certificate is None or key is None else tls_context(certificate, key)
        self._host, self._port = host, port
        self._authorities = None if authorities is None else hosts_of(authorities)
        super().__init__(store, self._known_as(), limits=limits, **more)

    @property
    def url(self) -> str:
        """Where it is served; of a port that was to be free, once the service is `running`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self._port}"

    def asgi(self) -> NoReturn:
        """Refuse: this is served by itself.

        Raises:
            StateError: always.
        """
        raise StateError("a Service is served by itself: for another server, make a Hosted")

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Serve, and run sessions, as long as the block lasts.

        Raises:
            ParameterError: nothing can be served at the address.
            StateError: this is served already, or was closed.
        """
        self._check_idle()
        requests = self.requests
        requests.authorities = frozenset(self._known_as())
        config = uvicorn.Config(
            super().asgi(),
            host=self._host,
            port=self._port,
            http=guarded(self.limits, self.refused),
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            log_level="error",  # strangers' garbage is counted, not told
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
            h11_max_incomplete_event_size=self.limits.max_header_bytes,
        )
        config.load()
        config.ssl = self._tls
        server = _Server(config)
        seldom = gc.get_threshold()
        gc.freeze()  # what was loaded stays: looking for garbage in it, again and again, took a tenth of all time
        gc.set_threshold(YOUNG_OBJECTS, *seldom[1:])  # a request leaves no garbage in circles: most looks found none
        serving = asyncio.create_task(server.serve())
        try:
            while not server.started:
                if serving.done():
                    await serving
                await asyncio.sleep(0.01)
            self._port = server.servers[0].sockets[0].getsockname()[1]
            requests.authorities = frozenset(self._known_as())  # of a port that was free
            async with super().serving():
                try:
                    yield self
                finally:
                    server.should_exit = True
        finally:
            server.should_exit = True
            await asyncio.gather(serving, return_exceptions=True)
            gc.set_threshold(*seldom)
            gc.unfreeze()

    def _known_as(self) -> list[str]:
        if self._authorities is not None:
            return [each.lower() for each in self._authorities]
        hosts = LOOPBACK if self._host in LOOPBACK else (self._host,)
        ending = "" if self._port == (443 if self._tls else 80) else f":{self._port}"
        return [f"{f'[{host}]' if ':' in host else host}{ending}" for host in hosts]


def tls_context(certificate: Path | str, key: Path | str) -> ssl.SSLContext:
    """Return what the service is served under; raise ParameterError where these files cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0  # a member keeps its connection, and resumes none
    try:
        context.load_cert_chain(str(certificate), str(key))
    except (OSError, ssl.SSLError) as error:
        raise ParameterError(
            f"the certificate {certificate} and the key {key} cannot be used: {error.strerror or error}"
        ) from None
    return context
