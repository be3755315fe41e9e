"""Notes in files that are on the disk before anything else happens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from secagg.errors import ParameterError

from ..core.files import sync
from .logs import ERROR, log

ANSWERED = "secagg-answered"
"""Key of a node's configuration: the folder of its notes, where it is not Flower's own."""


@contextmanager
def noting(path: Path) -> Iterator[None]:
    """Keep what a file system says from the server."""
    try:
        yield
    except OSError as error:
        log(ERROR, "secagg: cannot note answers in %s: %s; name another folder: %s", path, error.strerror, ANSWERED)
        raise ParameterError("this node cannot note what it has answered: its log tells why") from None


def make(folder: Path) -> None:
    """Make a folder, and those above it, so that they are still there when the machine stops."""
    if not folder.is_dir():
        make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync(folder.parent)


@contextmanager
def alone(descriptor: int) -> Iterator[None]:
    """Keep other processes of this machine out of an open file."""
    if os.name != "posix":
        yield
        return
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def settle(descriptor: int) -> None:
    """Have what was written reach the disk, and close the file."""
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
