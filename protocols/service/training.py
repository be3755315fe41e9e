"""Training by functions of the operator's and of each member's own, which they name on their own machines.

`module:function` is what somebody has typed or written into a file of his own; nothing that comes from elsewhere names
code. The operator's function gets the round before, and returns the bytes from which members train next; a member's
gets the terms of a round, and returns what training has changed.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from dp.sensitivity import Unit
from secagg.errors import ParameterError

from ..core.machine import Inputs
from ..core.participants import Participants
from ..masking.config import RoundConfig
from .errors import JobError
from .jobsteps import Ended, Rounds
from .parties import InputsError
from .sessions import MAX_PAYLOAD_BYTES, SessionSpec, Terms
from .tables import SESSIONS

if TYPE_CHECKING:
    from .hosting import Hosted
    from .session_file import Asked
    from .views import SessionView

Tell = Callable[[str], None]
_NAMED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)
_POLL_SECONDS = 0.1


def load(named: str) -> Callable[[Any], Any]:
    """Return a function that takes one argument; its module is looked for in the present folder, too.

    Args:
        named: `module:function`.

    Raises:
        ParameterError: there is no such module or function, or it is called otherwise; the text says which.
    """
    if not _NAMED.fullmatch(named):
        raise ParameterError(f"training is {named!r:.100}, but must be such as module:function")
    module, _, name = named.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ParameterError(f"{named} cannot be loaded: {module} needs {error.name}, which is not there") from None
        raise ParameterError(f"{named} cannot be loaded: there is no module {module}, here or installed") from None
    except Exception as error:
        raise ParameterError(f"{named} cannot be loaded: {_where(error)}: {error}") from None
    function = getattr(found, name, None)
    if function is None:
        raise ParameterError(f"{named} cannot be loaded: {module} has no {name}")
    if not callable(function):
        raise ParameterError(f"{named} is a {type(function).__name__}, but must be a function")
    if inspect.iscoroutinefunction(function):
        raise ParameterError(f"{named} is a coroutine function, but must be a plain one: it is called in a thread")
    try:
        signature = inspect.signature(function)
        signature.bind(None)
    except ValueError:  # of what is written in C, which is seen when it is called
        pass
    except TypeError as error:
        raise ParameterError(f"{named} must take one argument: {error}") from None
    called: Callable[[Any], Any] = function
    return called


def proposing(
    asked: Asked,
    function: Callable[[Any], Any],
    first: Participants | None,
    able: Callable[[], Participants],
    told: Tell = lambda text: None,
) -> Rounds:
    """Return the job whose rounds a function proposes.

    Args:
        asked: the session that each round is; `training` names the function.
        function: gets the `Ended` round before, or None at first; returns the bytes that members train from, which are
            the terms' payload, or None to end. It is called again after a crash: the same must follow from the same.
        first: who takes part in the first round; None where that has begun.
        able: returns who can take part now. In later rounds, whoever was in the one before and still can.
        told: hears where the function has failed, and nothing of what the error says.
    """

    def job(before: Ended | None) -> SessionSpec | None:
        returned = _watched(function, before, asked.training, told)
        try:
            payload = payload_of(returned, asked.training)
        except ParameterError as error:
            told(str(error))
            raise
        if payload is None:
            return None
        there = able()
        names = first if before is None else before.terms.participants
        return asked.spec(_among(names or (), there), payload)

    return job


def payload_of(returned: Any, named: str | None) -> bytes | None:
    """Return what a function proposes, None where it ends; raise ParameterError where that is something else."""
    if returned is None:
        return None
    if not isinstance(returned, bytes | bytearray | memoryview):
        raise ParameterError(
            f"{named} returned a {type(returned).__name__}, but must return the bytes that members train from, or None "
            "to end"
        )
    payload = bytes(returned)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ParameterError(
            f"{named} returned a payload that takes {len(payload):,} bytes, but may take {MAX_PAYLOAD_BYTES:,}"
        )
    return payload


def training(function: Callable[[Any], Any], named: str, told: Tell = lambda text: None) -> Callable[[Terms], Inputs]:
    """Return the answer of a member that trains by a function.

    Args:
        function: gets a round's `Terms`, of which `payload` is what training starts from; returns name of a vector ->
            array, or `Inputs` with a weight.
        named: what it is called.
        told: hears where the function has failed, and nothing of what the error says.

    The answer raises InputsError, which names shapes and no values, where the function returns something else.
    """

    def answer(terms: Terms) -> Inputs:
        returned = _watched(function, terms, named, told)
        made = returned if isinstance(returned, Inputs) else Inputs(returned)
        try:
            _check_shapes(made, terms, named)
        except InputsError as error:
            told(str(error))
            raise
        return made

    return answer


async def train(
    service: Hosted, name: str, asked: Asked, function: Callable[[Any], Any], told: Tell = lambda text: None
) -> AsyncIterator[SessionView]:
    """Run rounds while the service is served, or go on with those that were begun by this name; yield each that ended.

    The first begins when its members are there. A round without a sum is the last.

    Raises:
        ParameterError: the function has ended the training by an error; the text has the error's kind. Or the rounds
            were begun under other terms.
    """
    first = None
    if await asyncio.to_thread(service.begun, name, asked) is None:
        async with service.gathered(name, asked, lambda waiting: told(f"{asked.title}: waits, {waiting}")) as members:
            first = members
    service.desk.jobs[name] = proposing(asked, function, first, service.members.participants, told)
    number = 0
    while True:
        session = await asyncio.to_thread(_round, service, name, number)
        if session is not None:
            yield await service.desk.wait(session)
            number += 1
            continue
        ended = await asyncio.to_thread(service.store.job, name)
        if ended is not None and await asyncio.to_thread(_round, service, name, number) is None:
            if ended.error and not await asyncio.to_thread(_failed, service, name, number - 1):
                raise ParameterError(f"{asked.training} has ended the training: {ended.error}: {ended.reason}")
            return
        await asyncio.sleep(_POLL_SECONDS)


def _round(service: Hosted, name: str, number: int) -> str | None:
    with service.store.read() as connection:
        query = sa.select(SESSIONS.c.id).where(SESSIONS.c.job == name, SESSIONS.c.number == number)
        found = connection.execute(query).scalar()
    return None if found is None else str(found)


def _failed(service: Hosted, name: str, number: int) -> bool:
    with service.store.read() as connection:
        query = sa.select(SESSIONS.c.error).where(SESSIONS.c.job == name, SESSIONS.c.number == number)
        return bool(connection.execute(query).scalar())


def _among(names: Any, there: Participants) -> Participants:
    able = [name for name in names if name in there]
    if not able:
        raise ParameterError("nobody is left who can take part: members were revoked, or speak another wire version")
    return Participants({name: there.keys[name] for name in able})


def _watched(function: Callable[[Any], Any], given: Any, named: str | None, told: Tell) -> Any:
    try:
        return function(given)
    except BaseException as error:  # such as SystemExit
        if not isinstance(error, JobError):  # whose process has told it
            told(f"{named} has failed: {_where(error)}")
        raise


def place_of_error(error: BaseException) -> str:
    """Return in which file and line an error was raised, to stand behind its kind: its text may quote values."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""


def _where(error: BaseException) -> str:
    return f"{type(error).__name__}{place_of_error(error)}"


def _check_shapes(made: Inputs, terms: Terms, named: str) -> None:
    config = terms.proposed
    if not isinstance(made.values, Mapping):
        raise InputsError(f"{named} returned a {type(made.values).__name__}, but must return name of a vector -> array")
    if not isinstance(config, RoundConfig) or (config.private and config.unit is Unit.RECORD):
        return  # rows, which are counted when they are added up
    lengths = {vector.name: vector.length for vector in config.vectors}
    if made.values.keys() != lengths.keys():
        raise InputsError(
            f"{named} returned {_listed(made.values)}, but {_listed(lengths)} of "
            f"{', '.join(map(str, lengths.values()))} numbers are asked for"
        )
    for name, length in lengths.items():
        try:
            shape = np.shape(made.values[name])
        except ValueError:
            shape = ()
        if shape != (length,):
            raise InputsError(f"{named} returned {name!r:.60} of shape {shape}, but ({length},) is asked for")


def _listed(names: Any) -> str:
    return ", ".join(f"{name!s:.60}" for name in list(names)[:10]) or "nothing"
