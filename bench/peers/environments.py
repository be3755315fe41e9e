"""Peers in environments of their own: made when first needed, in one folder, and left for the next time."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.side_by_side import say

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENVIRONMENTS = HERE / ".venvs"
FLOWER = ("flower", "flwr==1.41.0")
FLOWER_WORKFLOW = ("flower-workflow", f"flwr[simulation]==1.41.0 scikit-learn --editable {shlex.quote(str(ROOT))}")
"""Flower with its simulation engine, and ours in the same environment: the adapter runs within Flower."""
OPENDP = ("opendp", "opendp==0.16.0")
FLARE = ("flare", "nvflare==2.9.0 pandas")
VANTAGE6 = ("vantage6", "vantage6-algorithm-tools==4.15.2 'pandas<3'")
TENSEAL = ("tenseal", "tenseal==0.3.18 numpy")


class PeerMissingError(Exception):
    """The peer's environment cannot be made, for instance without a network."""


def python(name: str, requirements: str) -> Path:
    """Return the interpreter of a peer's environment, which is made first if there is none.

    Raises:
        PeerMissingError: it cannot be made.
    """
    environment = ENVIRONMENTS / name
    interpreter, marker = environment / "bin" / "python", environment / ".installed"
    if marker.exists() and marker.read_text() == requirements:
        return interpreter
    say(f"building an environment for {name}, once")
    install = [
        str(interpreter),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *shlex.split(requirements),
    ]
    for command in ([sys.executable, "-m", "venv", "--clear", str(environment)], install):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise PeerMissingError(f"{name} could not be installed: {_reason(done.stderr)}")
    marker.write_text(requirements)
    return interpreter


def _reason(said: str) -> str:
    """Return what pip gives as its reason, without addresses and paths, which are this machine's own affair."""
    reasons = [line for line in said.splitlines() if line.startswith("ERROR")]
    return re.sub(r"\S*(://|/|host=)\S*", "…", reasons[0])[:200] if reasons else "pip gives no reason"


class Peer:
    """A script of this folder under a peer's interpreter: it prepares once, then runs each time it is asked.

    Args:
        environment: the peer's name and requirements.
        script: of this folder; its one argument is JSON, and it speaks lines of JSON.
        parameters: for the script.

    Raises:
        PeerMissingError: the environment cannot be made, or the script ends before it is prepared.
    """

    def __init__(self, environment: tuple[str, str], script: str, parameters: Mapping[str, Any]) -> None:
        self._home = tempfile.TemporaryDirectory()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the peer
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        variables |= {"FLWR_HOME": self._home.name, "FLWR_TELEMETRY_ENABLED": "0"}
        self._process = subprocess.Popen(
            [python(*environment), HERE / script, json.dumps(parameters)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=variables,
        )
        try:
            self.prepared = self._read()
        except RuntimeError as error:
            self._close()
            raise PeerMissingError(f"{environment[0]} is installed, but does not work here: {error}") from None

    def run(self, **parameters: Any) -> dict[str, Any]:
        """Let it do the work once, and return what it says of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(parameters) + "\n")
        self._process.stdin.flush()
        return self._read()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()  # its input ends, and so does it
        self._close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise RuntimeError(f"it ended with {last[:200] or f'exit code {self._process.returncode}'}")
        return json.loads(line)

    def _close(self) -> None:
        self._errors.close()
        self._home.cleanup()
