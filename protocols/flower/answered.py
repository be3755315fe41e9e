"""What the nodes on this machine have answered, as empty files: a state that comes back is not answered again.

Flower sends a node's answer before it keeps the node's new state. If the app's process is killed in between, the old
state stays, and a second answer from it would reveal the difference of two inputs under the same masks, or both shares
of a peer.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from secagg.errors import ParameterError, UnexpectedMessage

from ..masking.transitions import ClientPhase
from .logs import ERROR, log

ANSWERED = "secagg-answered"
"""Key of a node's configuration: the folder, where it is not Flower's own."""
KEPT_SECONDS = 30 * 24 * 3600.0
"""Folders of runs without a session for so long are removed when another run begins: no session lasts that long."""


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
    try:
        if not run.is_dir():
            _forget_old_runs(folder)
        node.mkdir(mode=0o700, parents=True, exist_ok=True)
        session = session_id.hex()
        os.close(os.open(node / f"{session}-{phase}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        if phase is ClientPhase.ADVERTISED:  # the state has been kept since: none of an earlier session comes back
            os.utime(run)
            for note in node.iterdir():
                if not note.name.startswith(session):
                    note.unlink(missing_ok=True)
    except FileExistsError:
        raise UnexpectedMessage(
            "this node has answered that before, and lost the state that came of it: it gives no second answer"
        ) from None
    except OSError as error:
        log(ERROR, "secagg: cannot note answers in %s: %s; name another folder: %s", node, error.strerror, ANSWERED)
        raise ParameterError("this node cannot note what it has answered: its log tells why") from None


def _forget_old_runs(folder: Path) -> None:
    with suppress(FileNotFoundError):
        for run in folder.iterdir():
            if run.name.isdecimal() and time.time() - run.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(run, ignore_errors=True)
