"""What `secagg serve`, `join` and `members` have in common."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from secagg.errors import ParameterError

T = TypeVar("T")
_NEEDED = ("httpx", "opentelemetry", "prometheus_client", "sqlalchemy", "starlette", "uvicorn")


def check_installed() -> None:
    """Raise ParameterError, with the remedy, where the extra `service` is not installed."""
    for name in _NEEDED:
        if importlib.util.find_spec(name) is None:
            raise ParameterError(f"the service needs {name}: in a checkout of secagg, pip install '.[service]'")


def run_until_told(work: Coroutine[Any, Any, T]) -> T | None:
    """Run a coroutine to its end; None where the process was told to end (SIGTERM), which leaves all as it is."""

    async def run() -> T | None:
        task = asyncio.ensure_future(work)
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # signals are the main thread's
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            return None

    return asyncio.run(run())
