"""Programs that tests run in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def python(*arguments: object, folder: Path = ROOT, **environment: str) -> str:
    """Run this interpreter with arguments and return what it prints; fail with what it complains about."""
    command = [sys.executable, *map(str, arguments)]
    env = os.environ | environment
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def findings(module: str, *arguments: object) -> dict[str, Any]:
    """Run a module of the tests, and return its findings, which it prints as JSON."""
    facts: dict[str, Any] = json.loads(python("-m", module, *arguments))
    return facts


def forked(body: Any, *arguments: Any) -> int:
    """Fork; the child does nothing but `body`."""
    pid = os.fork()
    if pid == 0:
        try:
            body(*arguments)
        except BaseException as error:
            sys.stderr.write(repr(error))
            os._exit(1)
        os._exit(0)
    return pid
