"""What `secagg serve`, `join` and `members` have in common."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from secagg.errors import ParameterError

from .errors import tell

T = TypeVar("T")
END_SECONDS = 10.0
"""After SIGTERM the process ends in so many seconds, whatever still computes in a thread: nothing is lost by that."""
_NEEDED = ("httpx", "opentelemetry", "prometheus_client", "sqlalchemy", "starlette", "uvicorn")


def check_installed() -> None:
    """Raise ParameterError, with the remedy, where the extra `service` is not installed."""
    for name in _NEEDED:
        if importlib.util.find_spec(name) is None:
            raise ParameterError(f"the service needs {name}: in a checkout of secagg, pip install '.[service]'")


def saying(log_json: bool) -> Callable[[str], None]:
    """Return what says on standard error what goes on: in sentences, or as lines of JSON, like the rest of a log."""
    if not log_json:
        return lambda text: tell(text, False)
    from ..service.observing import saying_json

    return saying_json(sys.stderr)


def run_until_told(work: Coroutine[Any, Any, T]) -> T | None:
    """Run a coroutine to its end; None where the process was told to end (SIGTERM), which leaves all as it is.

    Raises:
        KeyboardInterrupt: Ctrl-C, once what runs has been put away. A second one ends the process where it stands.
    """
    told = False

    async def run() -> T | None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()

        def interrupted() -> None:
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            task.cancel()

        def ended() -> None:
            nonlocal told
            told = True
            leaving = threading.Timer(END_SECONDS, os._exit, (0,))
            leaving.daemon = True
            leaving.start()
            task.cancel()

        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # signals are the main thread's
            loop.add_signal_handler(signal.SIGTERM, ended)
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                loop.add_signal_handler(signal.SIGINT, interrupted)
        return await task

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        if told:
            return None
        raise KeyboardInterrupt from None
