"""The folder in which a driver keeps a round in groups, so that it can die and go on."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from secagg.errors import ParameterError, StateError

from ..core.files import write_whole

_PRIVATE = 0o600


class Kept:
    """The newest dump of each group's session, a file each, behind the round's fingerprint. As secret as the clients.

    Args:
        folder: of this round alone; made if it is not there.
        fingerprint: of the round.

    Raises:
        ParameterError: another round is kept there, or other files are.
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._head = f"{fingerprint}\n".encode()
        self._round = folder / "round"
        if not self._round.exists():
            if any(folder.iterdir()):
                raise ParameterError(f"{folder} holds other files than a round: name an empty folder")
            with suppress(FileExistsError):
                write_whole(self._round, fingerprint, mode=_PRIVATE, new=True)
        if self._round.read_text() != fingerprint:
            raise ParameterError(f"{folder} keeps another round: give the same options as then, or an empty folder")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other drivers out: two would take a session further in two ways. The system forgets who has died.

        Raises:
            ParameterError: another one is at work.
        """
        descriptor = os.open(self._round, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ParameterError(f"another driver is at work in {self._folder}: wait for it to end") from None
            yield
        finally:
            os.close(descriptor)

    def file(self, place: int) -> Path:
        """Return where a group's dump is, or will be."""
        return self._folder / f"group-{place:06}"

    def newest(self, place: int) -> bytes | None:
        """Return a group's newest dump; None before its first step.

        Raises:
            StateError: what is there is of another round, whose clients and inputs would be summed here.
        """
        try:
            kept = self.file(place).read_bytes()
        except FileNotFoundError:
            return None
        if not kept.startswith(self._head):
            raise StateError("it is no dump of this round")
        return kept.removeprefix(self._head)

    def keep(self, place: int, dumped: bytes) -> None:
        """Put a dump in the place of the one before, as a whole or not at all."""
        write_whole(self.file(place), self._head + dumped, mode=_PRIVATE)
