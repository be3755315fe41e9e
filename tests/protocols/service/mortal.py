"""A member in a process of its own, to be killed: python -m tests.protocols.service.mortal URL NAME FOLDER SESSIONS.

The folder holds its key, its state, and a line for each answer: session and digest, written before the answer leaves.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

import numpy as np

from protocols.core.identity_files import read_identity
from protocols.masking.policy import ClientPolicy
from protocols.service.client import take_part
from protocols.service.connection import Connection

SENT = "sent"
VALUES = (3, 4)


class Noting(Connection):
    """Notes what leaves."""

    sent: Path

    async def exchange(self, session, body, *asked):
        with self.sent.open("a") as file:
            file.write(f"{session} {hashlib.sha256(body).hexdigest()}\n")
            file.flush()
            os.fsync(file.fileno())
        return await super().exchange(session, body, *asked)


async def live(url: str, name: str, folder: Path, sessions: int) -> None:
    async with Noting(url, read_identity(folder / "key.pem"), ca=folder.parent / "ca.pem") as connection:
        connection.sent = folder / SENT
        sys.stdout.write("alive\n")
        sys.stdout.flush()
        await take_part(
            connection,
            name,
            {"sum": lambda terms: {"v": np.array(VALUES)}},
            state=folder / "state",
            policy=ClientPolicy.permissive(),
            sessions=sessions,
            warm=False,
        )


if __name__ == "__main__":
    asyncio.run(live(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
