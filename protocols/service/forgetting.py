"""When a member forgets a session of which it never heard the end: secrets stay no longer than they can be of use.

A service keeps the last letter of a session for some days. Who was away for longer never gets it, and asks: what the
service does not know any more is forgotten, and so is what has stood still for longer than any session may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from secagg.errors import StateError

from .connection import Connection, RequestRefusedError, ServiceUnavailableError
from .kept import Folder

LOOK_SECONDS = 3600.0
LONGEST_SECONDS = 90 * 24 * 3600.0
"""So long a session may stand still at a member: three of the longest phases that there are."""
_GONE = frozenset({"unknown-session", "not-invited"})


async def forget_gone(
    connection: Connection, folder: Folder, busy: Callable[[str], bool], once: bool, clock: Callable[[], float]
) -> dict[str, str]:
    """Forget sessions that the service does not know any more, or that have stood still for too long.

    Args:
        connection: of the member.
        folder: the member's.
        busy: tells whether there are letters of a session at hand; such a session is left alone.
        once: as `Folder.forget` has it.
        clock: seconds since 1970.

    Returns:
        Session -> why, of those in which the member still had something to say.
    """
    forgotten: dict[str, str] = {}

    async def forget(session: str, why: str) -> None:
        if not why or busy(session):
            return
        try:
            kept = await asyncio.to_thread(folder.session, session)
        except StateError:  # which is no reason to keep it
            kept = None
        await asyncio.to_thread(folder.forget, session, once=once)
        if kept is None or not kept.over:
            forgotten[session] = why

    asked = []
    for session, written in (await asyncio.to_thread(folder.sessions)).items():
        if clock() - written > LONGEST_SECONDS:
            await forget(session, f"nothing was heard of it for {LONGEST_SECONDS / 86400:.0f} days")
        elif not busy(session):
            asked.append(session)
    for session in asked:  # after the others, which no service that is away may keep
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                why = await _gone(connection, session)
        except TimeoutError:
            break
        await forget(session, why)
    return forgotten


async def _gone(connection: Connection, session: str) -> str:
    """Return the service's words where it does not know a session; empty where it does, or does not say."""
    try:
        await connection.terms(session)
    except RequestRefusedError as error:
        return str(error) if error.kind in _GONE else ""
    except ServiceUnavailableError:
        return ""  # whoever waits for letters hears of it, too
    return ""
