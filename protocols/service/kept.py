"""What a participant keeps on its disk, so that a process that starts again sends the same bytes and no others.

One folder for one member: up to which letter everything was handled, and for each session what was asked, and the
participant's dump. All of it is as secret as the dumps are. Restoring an older copy of the folder could send a second
masked input under the same masks, whose difference to the first is in the clear: never restore it, take a new one.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import IO, Self

import msgspec

from secagg.errors import ParameterError, StateError

from ..core.dumps import decode_state, encode_state
from ..core.files import write_whole

_LOCK, _SEQUENCE, _PRIVATE, _TERMS, _STATE = "lock", "sequence", "private", ".terms", ".state"
_SESSION = re.compile(r"[0-9a-f]{1,128}")
MAX_KEPT_BYTES = 512 << 20
"""Of all sessions of one member that are under way: terms and dumps."""


class NoRoomError(ParameterError):
    """Sessions under way take as much of the disk as is given to them: a further one is refused."""


class Kept(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One session of one member.

    Attributes:
        sequence: the last of its letters that was handled.
        over: whether the member has nothing more to say in it.
        dump: the participant's; empty when it is over.
    """

    sequence: int
    over: bool
    dump: bytes

    def __repr__(self) -> str:  # dumps are secret
        return f"Kept(sequence={self.sequence}, over={self.over})"


class Folder:
    """The folder of one member, for one process at a time.

    Args:
        path: of the folder; made, for its owner alone, if it is not there.

    Raises:
        ParameterError: it cannot be used, others than its owner can read it, or another process uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None
        self._counting = threading.Lock()
        self._measuring = threading.Lock()
        self._sizes: dict[str, int] = {}
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.stat().st_mode & 0o077:
                raise ParameterError(f"others than its owner can read {path}, which holds secrets: chmod 700 it")
            self._lock = (path / _LOCK).open("ab")
            _lock(self._lock, path)
            for ending in (_TERMS, _STATE):
                self._sizes |= {found.name: found.stat().st_size for found in path.glob(f"*{ending}")}
        except OSError as error:
            self.close()
            raise ParameterError(f"{path} cannot be used: {error.strerror}") from None
        except ParameterError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process use the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def sequence(self) -> int:
        """The number of the letter up to which all were handled."""
        try:
            text = self._read(_SEQUENCE)
            return int(text) if text else 0
        except ValueError:
            raise StateError(f"{self.path / _SEQUENCE} was damaged: take a new folder") from None

    def handled(self, sequence: int) -> None:
        """Note up to which letter all were handled."""
        self._write(_SEQUENCE, str(sequence).encode())

    def session(self, name: str) -> Kept | None:
        """Return what is kept of a session; None if nothing is; raise StateError where it was damaged.

        A private session that was counted and of which nothing is kept is over: earlier code forgot it.
        """
        data = self._read(name + _STATE)
        if not data and self._counted(name):
            return Kept(0, True, b"")
        return decode_state(data, Kept) if data else None

    def terms(self, name: str) -> bytes:
        """Return what was asked in a session; empty where it was not kept."""
        return self._read(name + _TERMS)

    def keep_terms(self, name: str, terms: bytes) -> None:
        """Keep what is asked in a session, nothing where it is over; raise NoRoomError where that is too much."""
        self._write_sized(name + _TERMS, terms, more=bool(terms))

    def keep(self, name: str, kept: Kept) -> None:
        """Keep a session's state; it is on the disk when this returns. Raises NoRoomError as `keep_terms`."""
        self._write_sized(name + _STATE, encode_state(kept), more=bool(kept.dump))

    def count_private(self, name: str, demand: str, most: int) -> bool:
        """Note a private session, durably; return whether it is among the first so many. Once more changes nothing.

        Args:
            name: of the session.
            demand: under which it was agreed to, in one line.
            most: so many sessions the demand is for.

        Raises:
            StateError: what was noted is damaged, or was noted without a demand.
            ParameterError: sessions were noted under another demand, whose losses this one does not count.
        """
        with self._counting:
            before, *given = self._read(_PRIVATE).decode("ascii", "replace").splitlines() or [demand]
            if _SESSION.fullmatch(before):
                raise StateError(
                    f"{self.path / _PRIVATE} does not begin with the demand under which its sessions were, since an "
                    "earlier version wrote it: what sums have told cannot be counted. For data that were in none of "
                    "them, take a new folder; others are in no further private session"
                )
            if any(not _SESSION.fullmatch(each) for each in given):
                raise StateError(f"{self.path / _PRIVATE} was damaged: take a new folder")
            if name not in given and before != demand:
                raise ParameterError(
                    f"this member was in {len(given)} private sessions under the demand {before}: what sums tell adds "
                    "up, and no other demand counts them. Demand the same, or take a new folder for data that were in "
                    "none of them"
                )
            if name not in given and len(given) < most:
                given.append(name)
                self._write(_PRIVATE, "\n".join([before, *given]).encode())
            return name in given

    def forget(self, name: str, *, once: bool = False) -> None:
        """Forget a session that has ended.

        Args:
            name: of the session.
            once: keep in mind that it was, so that nothing is answered in it ever again, unless it never began here. So
                is a private session that was counted: begun again under its id, it would be another one, and not be
                counted.
        """
        once = (once and any(name + ending in self._sizes for ending in (_TERMS, _STATE))) or self._counted(name)
        if once:
            self.keep(name, Kept(0, True, b""))
        for ending in (_TERMS,) if once else (_STATE, _TERMS):
            (self.path / (name + ending)).unlink(missing_ok=True)
            with self._measuring:
                self._sizes.pop(name + ending, None)

    def sessions(self) -> dict[str, float]:
        """Return session -> when something was last kept of it, in seconds since 1970, of all that were not forgotten.

        Raises:
            ParameterError: the folder cannot be read.
        """
        try:
            found = [path.stem for path in self.path.glob(f"*{_TERMS}") if _SESSION.fullmatch(path.stem)]
            return {name: max(self._written(name, ending) for ending in (_TERMS, _STATE)) for name in found}
        except OSError as error:
            raise ParameterError(f"{self.path} cannot be read: {error.strerror}") from None

    def _counted(self, name: str) -> bool:
        return name in self._read(_PRIVATE).decode("ascii", "replace").splitlines()

    def _written(self, name: str, ending: str) -> float:
        try:
            return (self.path / (name + ending)).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise ParameterError(f"{self.path / name} cannot be read: {error.strerror}") from None

    def _write_sized(self, name: str, data: bytes, *, more: bool) -> None:
        """Write what is kept of a session; `more` than that it is over only where there is room."""
        with self._measuring:
            total = sum(self._sizes.values()) - self._sizes.get(name, 0) + len(data)
            if more and total > MAX_KEPT_BYTES:
                raise NoRoomError(
                    f"sessions under way would take {total:,} bytes of this member's disk, but may take "
                    f"{MAX_KEPT_BYTES:,}: let some of them end first"
                )
            self._write(name, data)
            self._sizes[name] = len(data)

    def _write(self, name: str, data: bytes) -> None:
        try:
            write_whole(self.path / name, data, mode=0o600)
        except OSError as error:
            raise ParameterError(f"{self.path / name} cannot be written: {error.strerror}") from None


def _lock(file: IO[bytes], path: Path) -> None:
    if os.name != "posix":
        return
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ParameterError(f"another process uses {path}: one at a time may") from None
