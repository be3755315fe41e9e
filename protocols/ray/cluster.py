"""A Ray cluster: how a driver comes to one, and what it must have. Ray is loaded when it is needed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import secagg
from secagg.errors import MissingDependencyError, ParameterError, SecAggError
from secagg.prg import cpu_count

LOCAL_STORE_BYTES = 1 << 28
"""The object store of a cluster that is started here: what is beyond it is spilled to disk."""
_ANSWERS_WITHIN_SECONDS = 10
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""How HTTP/2 begins: its preface, and settings, none."""
_GREETED = bytes(3) + b"\x04"
"""How its answer begins: three bytes of a length, and that these are settings."""
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nobody else needs to hear of it
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # the driver tells of the first
    "RAY_worker_niceness": "0",  # of a cluster that is started here, which is there for this alone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray is to do of itself in future, and warns of
}


class ClusterError(SecAggError):
    """The cluster is not there, cannot run the round as it was asked for, or can no longer."""


def load_ray() -> Any:
    """Return the module `ray`; raise MissingDependencyError if it is not installed."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise MissingDependencyError(
            "groups on a cluster need Ray: in a checkout of secagg, pip install '.[ray]'"
        ) from None
    return ray


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[Any]:
    """Connect to a cluster and disconnect in the end; yield `ray`.

    Args:
        address: host:port, or auto for one on this machine; None to start one here, or for the one that this process is
            connected to, which then stays so.
        workers: how many processors the cluster must have; at least one if None.

    Raises:
        ParameterError: no such form of an address, or this process is connected to a cluster already.
        ClusterError: nobody answers there, its Ray or Python has another version, or it has fewer processors.
    """
    ray = load_ray()
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address, workers)
    elif address is not None:
        raise ParameterError("this process is connected to a Ray cluster already: give no address")
    try:
        have = num_processors(ray)
        if have < (workers or 1):
            raise ClusterError(
                f"the cluster has {have} processors on {num_nodes(ray)} nodes, but {workers or 1} workers need one "
                "each: ask for fewer workers, or add nodes"
            )
        yield ray
    finally:
        if ours:
            ray.shutdown()


def num_processors(ray: Any) -> int:
    """Return how many processors the nodes that are alive offer."""
    return int(ray.cluster_resources().get("CPU", 0))


def num_nodes(ray: Any) -> int:
    """Return how many nodes are alive."""
    return sum(bool(node["Alive"]) for node in ray.nodes())


@cache
def versions() -> dict[str, str]:
    """Return what must be the same wherever a part of a round runs: Python, and the sources of secagg to the byte."""
    sources, root = hashlib.sha256(), Path(secagg.__file__).parent.parent
    for package in ("dp", "protocols", "secagg"):
        for path in sorted((root / package).rglob("*.py")):
            sources.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "secagg": f"{secagg.__version__} (sources {sources.hexdigest()[:12]})",
    }


def _connect(ray: Any, address: str | None, workers: int | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    what = f"join the Ray cluster at {address}"
    if address is None:
        what, address = "start a Ray cluster here", "local"
        quiet |= {"num_cpus": workers or cpu_count(), "object_store_memory": LOCAL_STORE_BYTES}
        quiet["include_dashboard"] = False
    elif address != "auto":
        _check_answers(address)
    try:
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        first = str(error).strip().replace("\n", " ")
        raise ClusterError(f"cannot {what}: {first}") from None


def _check_answers(address: str) -> None:
    """Refuse an address where nobody answers as Ray does, in HTTP/2: Ray would wait there for ever."""
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not port.isdecimal() or not 1 <= int(port) < 1 << 16:
        raise ParameterError(f"the address of a Ray cluster is {address!r}, but must be host:port or auto")

    async def knock() -> bytes:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            if os.environ.get("RAY_USE_TLS", "0") == "1":  # which it would be greeted in
                return _GREETED
            writer.write(_GREETING)
            return await reader.readexactly(len(_GREETED))
        finally:
            writer.close()

    async def within_time() -> bytes:
        return await asyncio.wait_for(knock(), _ANSWERS_WITHIN_SECONDS)

    try:
        greeted = asyncio.run(within_time())
        why = "" if greeted[3:] == _GREETED[3:] else "something else answers"
    except EOFError:
        why = "something else answers"
    except (OSError, TimeoutError) as error:
        why = getattr(error, "strerror", None) or "no answer"
    if why:
        raise ClusterError(f"no Ray cluster at {address} ({why}): is `ray start --head` running there?")
