"""The service as an ASGI application: members, sessions, and the desk that runs them, under whatever server.

`serving.Service` is this under uvicorn, with limits on connections. To mount it in an application of yours:

    hosted = Hosted("hospitals.db", ["sums.example"])

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with hosted.serving():
            yield

    app = Starlette(routes=[*yours, Mount("/", hosted.asgi())], lifespan=lifespan)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa

from secagg.errors import ParameterError, SecAggError, StateError

from ..core.participants import Participants
from .app import Requests
from .desk import Desk
from .errors import DamagedStoreError
from .jobs import prepared, read_orders
from .limits import Limits, Refused
from .members import Members
from .sessions import Audience, SessionSpec
from .store import Store
from .tables import SESSIONS
from .views import SessionView, WaitingView

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from .session_file import Asked


class Hosted:
    """Sessions for members who have enrolled, as an ASGI application; several processes may share a PostgreSQL store.

    The server that hosts it must speak TLS, pass the host name and the path on as they came, since signatures cover
    both, and guard its connections by itself: limits of connections, handshakes and heads are not kept here. It must
    pass `raw_path`, which ASGI leaves open: requests without one are refused. An address has limits here if `client`
    is passed; where it takes that from anybody's forwarded headers, a stranger chooses its address. When it ends, it
    must wait for open requests a few seconds at most (`uvicorn --timeout-graceful-shutdown 3`): members' polls are
    among them, and hear of the end only afterwards.

    Args:
        store: a path, or a URL as `Store` takes it; made if it is not there.
        authorities: hosts, with their ports unless 443, under which members know the service; requests to others are
            refused.
        limits: of sizes and rates.
        routes: makes further routes, such as pages, from this service.
        wrap: another ASGI application around all, such as one that counts.
        desk: further arguments of the `Desk`, such as `ledger` and `jobs`.

    Raises:
        ParameterError: the authorities are no hosts, or none.
        StoreError: the store cannot be used.
    """

    def __init__(
        self,
        store: str | Path,
        authorities: Iterable[str],
        *,
        limits: Limits | None = None,
        routes: Callable[[Any], Sequence[BaseRoute]] = lambda service: (),
        wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app,
        **desk: Any,
    ) -> None:
        known = hosts_of(authorities)
        self.limits = limits or Limits()
        self.refused = Refused()
        self.store = Store(store, create=True)
        self.members = Members(self.store)

        async def views() -> Any:
            return await asyncio.to_thread(self.members.views)

        async def invited() -> Any:
            return tuple(await asyncio.to_thread(self.members.invited))

        self.desk = Desk(self.store, members=views, invited=invited, standing=self.members.turned_away, **desk)
        self.requests = Requests(self.desk, self.members, known, limits=self.limits, refused=self.refused)
        self._routes, self._wrap = routes, wrap
        self._running = self._closed = False

    @property
    def running(self) -> bool:
        """Whether sessions are run, and requests are answered where they are to be."""
        return self._running

    def asgi(self) -> ASGIApp:
        """Return the application, for an ASGI server, or `Mount("/", ...)` as the last route of another application.

        Under a server it runs sessions by itself, by ASGI's lifespan. A mounted application is told of no lifespan: the
        one around it enters `serving`.
        """
        return self._wrap(self.requests.app(self._routes(self), lifespan=lambda app: self._lifespan()))

    def close(self) -> None:
        """Let go of threads and store, for good; who was seen last is written down, if the store can be written."""
        self._closed = True
        self.requests.close()
        with contextlib.suppress(SecAggError):
            self.members.write_seen()
        self.desk.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Run sessions, and let members wait for letters, as long as the block lasts.

        Raises:
            StateError: this runs already, or was closed.
        """
        self._check_idle()
        self.requests.opened()
        running = asyncio.create_task(self.desk.run())
        self._running = True
        try:
            yield self
        finally:
            self._running = False
            self.requests.closing()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def run(self, *specs: SessionSpec) -> list[SessionView]:
        """Run sessions, side by side, until they have ended and their members know; return them in their order."""
        async with self.serving():
            ended = await self.sessions(*specs)
            await self.desk.parted()
            return ended

    async def sessions(self, *specs: SessionSpec) -> list[SessionView]:
        """Run sessions while the service is served; return them once they have ended, in their order."""
        opened = [await self.desk.open(spec) for spec in specs]
        return list(await asyncio.gather(*(self.desk.wait(session) for session in opened)))

    async def enrolled(
        self, members: Iterable[str] | int, told: Callable[[Participants], None] = lambda able: None
    ) -> Participants:
        """Return members with their keys once all of these, or so many, can take part; of more, the first by name.

        Args:
            members: names, or how many.
            told: called with all who can take part while that is not enough, whenever it changes.
        """
        before: tuple[str, ...] | None = None
        while True:
            able = await asyncio.to_thread(self.members.participants)
            if isinstance(members, int):
                if len(able) >= members:
                    return Participants({name: able.keys[name] for name in able.names[:members]})
            elif set(members) <= set(able):
                return Participants({name: able.keys[name] for name in members})
            if able.names != before:
                before = able.names
                told(able)
            await asyncio.sleep(0.1)

    @contextlib.asynccontextmanager
    async def gathered(
        self, name: str, asked: Asked, told: Callable[[WaitingView], None] = lambda waiting: None
    ) -> AsyncIterator[Participants]:
        """Wait for who takes part, and have the session opened inside.

        Until then `told` hears who is there, and the page shows it.
        """

        def still_waits(able: Participants) -> None:
            names = () if isinstance(asked.members, int) else asked.members
            missing = tuple(each for each in names if each not in able)
            count = asked.count - len(missing) if names else len(able)
            self.desk.waiting[name] = WaitingView(asked.title, asked.count, count, missing, tuple(names))
            told(self.desk.waiting[name])

        try:
            yield await self.enrolled(asked.members, still_waits)
        finally:
            self.desk.waiting.pop(name, None)

    async def once(
        self, name: str, asked: Asked, told: Callable[[WaitingView], None] = lambda waiting: None
    ) -> SessionView:
        """Run a session while the service is served, or go on with the one that was begun by this name before.

        It is opened when its members are there (see `gathered`). All processes of a store may call this: they run one
        session.
        """
        session = await asyncio.to_thread(self.begun, name, asked)
        if session is None:
            async with self.gathered(name, asked, told) as members:
                await asyncio.to_thread(
                    lambda: self.store.add(prepared(asked.spec(members), job=name, number=0), last=True)
                )
            session = await asyncio.to_thread(self.begun, name, asked)
        return await self.desk.wait(session or "")

    def begun(self, name: str, asked: Asked) -> str | None:
        """Return the first session that was begun by a name; None if none was. Blocks.

        Raises:
            ParameterError: it was begun under other terms.
            StoreError: the store cannot be read.
        """
        query = sa.select(SESSIONS.c.id, SESSIONS.c.orders, SESSIONS.c.to_members)
        with self.store.read() as connection:
            row = connection.execute(query.where(SESSIONS.c.job == name, SESSIONS.c.number == 0)).first()
        if row is None:
            return None
        with contextlib.suppress(DamagedStoreError):  # by which the session ends
            results_to = Audience.MEMBERS if row.to_members else Audience.OPERATOR
            asked.check_begun(read_orders(row.orders.encode()), results_to)
        return str(row.id)

    def _check_idle(self) -> None:
        if self._closed:
            raise StateError("the service was closed, and its store with it: make another one")
        if self._running:
            raise StateError("the service is served already: once at a time")

    @contextlib.asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        async with self.serving():
            yield  # nothing: what is yielded here is state of every request


def hosts_of(authorities: Iterable[str]) -> list[str]:
    """Return the hosts under which a service is known; raise ParameterError where these are none."""
    hosts = [] if isinstance(authorities, str) else list(authorities)
    if not hosts or not all(isinstance(host, str) and host for host in hosts):
        raise ParameterError(f"authorities are {authorities!r:.60}, but must be hosts, such as ['sums.example:8443']")
    return hosts
