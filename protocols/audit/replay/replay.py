"""Replays whole sessions with recorded randomness: every message and every refusal must come out as recorded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from dp.errors import DpError, MissingDependencyError
from secagg.errors import SecAggError

from ..outcome import Check, Found, Refuted, Trials, demand
from . import recorded_ledger, recorded_paillier, recorded_private, recorded_sessions, shipped
from .recorded_randomness import OtherRandomness

Vector = dict[str, Any]
Part = Any
"""A module with `check(vector, on_progress)` and `size(vector)`."""

FILES: dict[str, tuple[Part, ...]] = {
    "session-curious-sparse": (recorded_sessions,),
    "session-curious-complete": (recorded_sessions,),
    "session-semi-malicious": (recorded_sessions,),
    "session-malicious": (recorded_sessions,),
    "session-private-curious": (recorded_sessions, recorded_private),
    "session-private-semi-malicious": (recorded_sessions, recorded_private),
    "session-private-malicious": (recorded_sessions, recorded_private),
    "session-private-records": (recorded_sessions, recorded_private),
    "paillier-round": (recorded_paillier,),
    "paillier-round-once": (recorded_paillier,),
    "ledger": (recorded_ledger,),
}
"""What replays each file."""


def size(name: str, vector: Vector) -> int:
    """Return how much of a file is compared: its messages, and all that comes of its forks."""
    return sum(part.size(vector) for part in FILES[name])


def replay(name: str, vector: Vector, on_progress: Callable[[float], None]) -> int:
    """Replay a file; return how much was compared.

    Raises:
        Refuted: the library says, draws or refuses something else than was recorded.
    """
    compared, parts = 0, FILES[name]
    try:
        for number, part in enumerate(parts):
            compared += part.check(vector, lambda done, before=number: on_progress((before + done) / len(parts)))
    except MissingDependencyError:
        raise
    except OtherRandomness as other:
        raise Refuted(str(other)) from None
    except (SecAggError, DpError) as error:
        raise Refuted(f"{type(error).__name__}, where none was recorded: {error}") from None
    return compared


def _replay(name: str, trials: Trials) -> Found:
    vector = shipped.vectors(name)
    compared = replay(name, vector, trials.on_progress)
    demand(compared == shipped.cases(name), f"{compared} messages and outcomes of {shipped.cases(name)} were compared")
    figures = {"messages and outcomes, all as recorded": compared}
    counted = {"refused": "of them refusals", "endings": "other endings", "proposals": "proposals", "inputs": "inputs"}
    return Found(figures | {name: len(vector[key]) for key, name in counted.items() if key in vector})


_CLAIMS = {
    "session": "each message of a session has the recorded bytes, given its randomness, and forks end alike",
    "paillier": "each message of a round has the recorded bytes, given its randomness, and forks end alike",
    "ledger": "a recorded ledger verifies, and so does no copy of it in which one thing is changed",
}

CHECKS = tuple(
    Check("replay", name.removeprefix("session-"), _CLAIMS[name.partition("-")[0]], partial(_replay, name))
    for name in FILES
)
