"""A member's durable memory of the session that its key share served, for keys that were dealt for one."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Protocol, final

from secagg.errors import StateError

from ..core.files import put, sync

VERSION = 1


class Remembers(Protocol):
    """What a member remembers the session of its key share by: a `KeyUse`, or a database of its owner's."""

    def claim(self, key_digest: bytes, member: int, session: bytes) -> None:
        """Return if the share now serves this session for good; raise StateError if it served another."""


@final
class KeyUse:
    """A file that names the session that one member's share of one key was used in.

    It is made when the member endorses, before the endorsement is signed. Keep it where the share is kept.

    Args:
        path: of the file, which need not be there yet; its folder must be.

    Security: whoever removes the file, or restores a state of the machine from before, lets the share serve twice.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def claim(self, key_digest: bytes, member: int, session: bytes) -> None:
        """Return if the file now says that the share serves this session; the same claim again changes nothing.

        Args:
            key_digest: of the dealt key, 32 bytes.
            member: whose share it is.
            session: the round's, 32 bytes.

        Raises:
            StateError: the share was used in another session, or the file is of another share, damaged, or cannot be
                written or read.
        """
        record = {"version": VERSION, "key": key_digest.hex(), "member": member, "session": session.hex()}
        try:
            with contextlib.suppress(FileExistsError):  # of one that may not have come so far that its name is durable
                put(self.path, json.dumps(record) + "\n", mode=0o600, new=True)
            sync(self.path.parent)
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise StateError(f"{self.path} cannot tell what the key share was used for: {error}") from None
        if found == record:
            return
        if isinstance(found, dict) and found | {"session": session.hex()} == record:
            raise StateError(
                f"the key share of member {member} was used in another session, as {self.path} says, and was dealt for "
                "one: deal a new key for each session, or one for many, under which contributors prove what they know"
            )
        raise StateError(f"{self.path} is of another key share, or damaged: give each share a file of its own")
