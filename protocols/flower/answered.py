"""What the nodes on this machine have answered, in files: a state that comes back is not answered again.

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

from secagg.errors import UnexpectedMessage

from ..core.files import sync
from ..masking.transitions import ClientPhase
from .durable import ANSWERED, make, noting, settle

KEPT_SECONDS = 30 * 24 * 3600.0
KEPT_RUNS = 100
"""Folders of runs without a session for so long, and older than so many others, are removed when another run begins.

No session lasts that long; a clock that is wrong removes nothing of the last runs.
"""


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
    with noting(node):
        if not run.is_dir():
            _forget_old_runs(folder)
        make(node)
        try:
            note = os.open(node / f"{session}-{phase}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise UnexpectedMessage(
                "this node has answered that before, and lost the state that came of it: it gives no second answer"
            ) from None
        settle(note)
        sync(node)
        if phase is ClientPhase.ADVERTISED:  # the state has been kept since: none of an earlier session comes back
            os.utime(run)
            for earlier in node.iterdir():
                if not earlier.name.startswith(session):
                    earlier.unlink(missing_ok=True)


def _forget_old_runs(folder: Path) -> None:
    with suppress(FileNotFoundError):
        runs = [(run.stat().st_mtime, run) for run in folder.iterdir() if run.name.isdecimal()]
        for changed, run in sorted(runs, reverse=True)[KEPT_RUNS:]:
            if time.time() - changed > KEPT_SECONDS:
                shutil.rmtree(run, ignore_errors=True)
