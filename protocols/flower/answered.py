"""What the nodes on this machine have answered, in files: a state that comes back is not answered again.

Flower sends a node's answer before it keeps the node's new state. If the app's process is killed in between, the old
state stays, and a second answer from it would reveal the difference of two inputs under the same masks, or both shares
of a peer. A node's count of private rounds is kept here, too: runs are the server's to start, so it outlives them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from secagg.errors import ParameterError, UnexpectedMessage

from ..masking.transitions import ClientPhase
from .logs import ERROR, log

ANSWERED = "secagg-answered"
"""Key of a node's configuration: the folder, where it is not Flower's own."""
KEPT_SECONDS = 30 * 24 * 3600.0
KEPT_RUNS = 100
"""Folders of runs without a session for so long, and older than so many others, are removed when another run begins.

No session lasts that long; a clock that is wrong removes nothing of the last runs.
"""
_ROUNDS = "private-rounds"
_NOTE_BYTES = 32


def folder_of(node: Mapping[str, Any]) -> Path:
    """Return the folder that the node's operator names, or else one in Flower's home, where it keeps apps too."""
    if ANSWERED in node:
        return Path(str(node[ANSWERED]))
    home = os.environ.get("FLWR_HOME")
    return (Path(home) if home else Path("~/.flwr").expanduser()) / ANSWERED


def claim(folder: Path, run_id: int, node_id: int, session_id: bytes, phase: ClientPhase) -> None:
    """Note for good that a node answers the message that finds it in a phase; the answer may leave once this returns.

    Raises:
        UnexpectedMessage: it is noted already, whatever the node's state says.
        ParameterError: it cannot be noted; where and why is in the node's log.
    """
    run = folder / str(run_id)
    node = run / str(node_id)
    session = session_id.hex()
    with _noting(node):
        if not run.is_dir():
            _forget_old_runs(folder)
        _make(node)
        try:
            note = os.open(node / f"{session}-{phase}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise UnexpectedMessage(
                "this node has answered that before, and lost the state that came of it: it gives no second answer"
            ) from None
        _settle(note)
        _settle_folder(node)
        if phase is ClientPhase.ADVERTISED:  # the state has been kept since: none of an earlier session comes back
            os.utime(run)
            for earlier in node.iterdir():
                if not earlier.name.startswith(session):
                    earlier.unlink(missing_ok=True)


def private_rounds(node: Mapping[str, Any], node_id: int) -> int:
    """Return how many private rounds a node has given input to, in all runs.

    Raises:
        ParameterError: that cannot be read; where and why is in the node's log.
    """
    path = _rounds_file(node, node_id)
    with _noting(path):
        try:
            return -(-path.stat().st_size // _NOTE_BYTES)  # a note that was cut off counts
        except FileNotFoundError:
            return 0


def count_private_round(node: Mapping[str, Any], node_id: int, session_id: bytes) -> int:
    """Note for good that a node gives input to a private round, and return how many these are.

    Raises:
        ParameterError: it cannot be noted; where and why is in the node's log.
    """
    path = _rounds_file(node, node_id)
    with _noting(path):
        _make(path.parent)
        notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(notes, session_id)
        finally:
            _settle(notes)
        _settle_folder(path.parent)
    return private_rounds(node, node_id)


def _rounds_file(node: Mapping[str, Any], node_id: int) -> Path:
    """Where the operator names a folder, the count is the folder's: a node that starts anew may have another id."""
    return folder_of(node) / _ROUNDS / ("all" if ANSWERED in node else str(node_id))


@contextmanager
def _noting(path: Path) -> Iterator[None]:
    """Keep what a file system says from the server."""
    try:
        yield
    except OSError as error:
        log(ERROR, "secagg: cannot note answers in %s: %s; name another folder: %s", path, error.strerror, ANSWERED)
        raise ParameterError("this node cannot note what it has answered: its log tells why") from None


def _make(folder: Path) -> None:
    """Make a folder, and those above it, so that they are still there when the machine stops."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _settle_folder(folder.parent)


def _settle(descriptor: int) -> None:
    """Have what was written reach the disk, and close the file."""
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _settle_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere folders cannot be opened
        _settle(os.open(folder, os.O_RDONLY))


def _forget_old_runs(folder: Path) -> None:
    with suppress(FileNotFoundError):
        runs = [(run.stat().st_mtime, run) for run in folder.iterdir() if run.name.isdecimal()]
        for changed, run in sorted(runs, reverse=True)[KEPT_RUNS:]:
            if time.time() - changed > KEPT_SECONDS:
                shutil.rmtree(run, ignore_errors=True)
