"""Flower in an environment of its own: made when first needed, and spoken to in lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent
ENVIRONMENT = HERE / ".venv-flower"
REQUIREMENT = "flwr==1.41.0"


class PeerMissingError(Exception):
    """The peer's environment cannot be made, for instance without a network."""


def python() -> Path:
    """Return the interpreter that has flwr; make its environment first if there is none."""
    interpreter = ENVIRONMENT / "bin" / "python"
    marker = ENVIRONMENT / ".installed"
    if marker.exists() and marker.read_text() == REQUIREMENT:
        return interpreter
    print(f"installing {REQUIREMENT} into an environment of its own", flush=True)
    install = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT]
    for command in ([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], install):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise PeerMissingError(f"{REQUIREMENT} could not be installed: {done.stderr[-1000:]}")
    marker.write_text(REQUIREMENT)
    return interpreter


class FlowerPeer:
    """A script of this folder under Flower's interpreter: it prepares once, then runs each time it is asked."""

    def __init__(self, script: str, parameters: Mapping[str, Any]) -> None:
        self._home = tempfile.TemporaryDirectory()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {"FLWR_HOME": self._home.name, "FLWR_TELEMETRY_ENABLED": "0"}
        self._process = subprocess.Popen(
            [python(), HERE / script, json.dumps(parameters)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.prepared = self._read()

    def run(self) -> dict[str, Any]:
        """Let it do the work once, and return what it says of it."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return self._read()

    def __enter__(self) -> FlowerPeer:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()  # its input ends, and so does it
        self._home.cleanup()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer has ended with exit code {self._process.wait()}")
        return json.loads(line)
