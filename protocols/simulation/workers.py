"""Participants in processes of their own, as many as there are cores; the coordinator stays in this one.

A worker makes its participants and keeps them: keys, masks and noise never leave it. Bytes of messages cross, and what
is public: keys, seconds, refusals, and the source of the simulated inputs, there and back. The workers rest while
the coordinator computes, and the other way round, so that neither's seconds count the other's work.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol, TypeVar

import numpy as np

from secagg.errors import ParameterError, SecAggError
from secagg.prg import cpu_count

from ..core.machine import Participant
from ..core.participants import Participants
from .memory import own_peak_memory_bytes
from .places import Answer, Here, Message

MANY_CLIENTS = 200
"""From here on a default round gains more by workers than they take to start, some seconds of a processor in all."""

E = TypeVar("E", bound=Exception)
_AT_ONCE = 16
_LOADED_ONCE = ["protocols.simulation._nursery"]
_THREADS_OF_LIBRARIES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class LostWorkerError(SecAggError):
    """A worker ended before its participants were done."""


class Company(Protocol):
    """Participants that live in one process. It crosses to that process while it has none."""

    inputs: Any
    """name -> inputs; goes back as it is when all is over, with what it may have counted."""

    def prepare(self) -> None:
        """Load what is slow to load, as far as it is not there yet: the process is new."""

    def settle(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """Make what these participants have before a session; return the public keys of those that have one."""

    def meet(self, everyone: Participants) -> None:
        """Learn who takes part, here and elsewhere."""

    def join(self, name: str) -> Participant:
        """Return the participant, which is now sent something for the first time."""


def useful_workers(clients: int) -> int:
    """Return how many workers make a simulated round of so many clients fastest; 1 is none but this process."""
    return cpu_count() if clients >= MANY_CLIENTS else 1


@contextmanager
def working(company: Company, count: int) -> Iterator[Workers]:
    """Start workers, each with a company like this one, and end them. This process prepares as they do.

    They are forked from a process that has loaded what is slow to load, and nothing else: one for all that this process
    ever starts. It keeps the environment that it was started in, for the libraries that it has loaded and for the top
    level of the script that Python runs again in each worker; whatever else a worker runs finds the present one.

    Raises:
        ParameterError: the company cannot be sent to another process; none was started.
        LostWorkerError: from here, or from any method: a worker has ended.
    """
    try:
        ForkingPickler.dumps(company)
    except Exception as error:  # objects raise what they like when they are taken apart
        raise ParameterError(
            f"inputs cannot be sent to workers ({error}): give a function or an instance of a class that can be "
            "imported, or workers=1"
        ) from None
    forkserver.set_forkserver_preload(_LOADED_ONCE)
    with _as_workers_start():
        forkserver.ensure_running()
    company.prepare()  # while the process that they are forked from loads
    workers: list[_Worker] = []
    try:
        for number in range(1, count + 1):
            workers.append(_Worker(company, f"worker {number} of {count}"))
        yield Workers(workers)
    finally:
        for worker in workers:
            worker.end()


class Workers:
    """A place of participants: the one with number i, in order of names, lives in worker i modulo the workers."""

    def __init__(self, workers: Sequence[_Worker]) -> None:
        self._workers = workers
        self._home: dict[str, _Worker] = {}

    @property
    def at_once(self) -> int:
        """How many to ask at a time: some for each worker, so that all are busy for about as long."""
        return _AT_ONCE * len(self._workers)

    def settle(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """Have each worker make its part; return the public keys of those that have one."""
        count = len(self._workers)
        for at, name in enumerate(names):
            self._home[name] = self._workers[at % count]
        for at, worker in enumerate(self._workers):
            worker.begin("settle", names[at::count])
        return {name: key for keys in _replies(self._workers) for name, key in keys.items()}

    def meet(self, everyone: Participants) -> None:
        """Tell all workers who takes part."""
        for worker in self._workers:
            worker.begin("meet", everyone)
        _replies(self._workers)

    def ask(self, messages: Iterable[Message]) -> Iterator[tuple[str, Answer]]:
        """Give each participant its message; yield the answers in the same order, when all have answered."""
        given = list(messages)
        shares: dict[_Worker, list[Message]] = {}
        for name, data in given:
            shares.setdefault(self._home[name], []).append((name, data))
        for worker, share in shares.items():
            worker.begin("ask", worker.take_delivered(), share)
        answers: dict[str, Answer] = {}
        while len(answers) < len(given):
            left: dict[Any, _Worker] = {
                worker.connection: worker for worker, share in shares.items() if share[-1][0] not in answers
            }
            for ready in wait(left):  # one at a time, so that no worker waits for another to be read to the end
                name, answer = left[ready].answer()
                answers[name] = answer
        for name, _ in given:
            yield name, answers.pop(name)

    def delivered(self, name: str) -> None:
        """Tell a participant that the coordinator has its answer, before its worker is asked the next time."""
        self._home[name].delivered.append(name)

    def leave(self) -> list[Leaving]:
        """Let the workers go, and return what they leave behind."""
        for worker in self._workers:
            worker.begin("leave")
        return _replies(self._workers)


@dataclass(frozen=True)
class Leaving:
    """What is left of a worker: the source of its inputs, and the most memory that it held at a time."""

    inputs: Any
    peak_memory_bytes: int


def _replies(workers: Iterable[_Worker]) -> list[Any]:
    """Return what workers reply, in their order; raise at once what the first of them raises, or that it is lost."""
    asked: dict[Any, _Worker] = {worker.connection: worker for worker in workers}
    replies: dict[Any, Any] = {}
    while len(replies) < len(asked):
        for ready in wait(asked.keys() - replies.keys()):
            replies[ready] = asked[ready].reply()
    return [replies[connection] for connection in asked]


class _Worker:
    """A worker, as this process has it. It is asked one thing at a time."""

    def __init__(self, company: Company, what: str) -> None:
        self.what = what
        self.delivered: list[str] = []
        context = get_context("forkserver")
        self.connection, theirs = context.Pipe()
        try:
            with theirs, _as_workers_start():
                given = theirs, dict(os.environ)
                self._process: ForkServerProcess = context.Process(target=_work, args=given, daemon=True)
                self._process.start()
        except (EOFError, OSError):
            raise LostWorkerError(f"{what} ended while it was started: ask for fewer workers") from None
        try:
            self.connection.send(company)  # not with the process, which is to have its environment before
        except OSError:
            raise self._lost() from None

    def take_delivered(self) -> list[str]:
        taken, self.delivered = self.delivered, []
        return taken

    def begin(self, method: str, *arguments: Any) -> None:
        try:
            self.connection.send((method, arguments))
        except OSError:
            raise self._lost() from None

    def reply(self) -> Any:
        try:
            reply = self.connection.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        if isinstance(reply, Exception):
            raise reply
        return reply

    def answer(self) -> tuple[str, Answer]:
        """Return the next answer that the worker has made; its data came as they are, since pickling copies them."""
        name, answer = self.reply()
        try:
            return name, replace(answer, data=self.connection.recv_bytes())
        except (EOFError, OSError):
            raise self._lost() from None

    def end(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.join()

    def _lost(self) -> LostWorkerError:
        self._process.join(1)
        code = self._process.exitcode
        how = f"ended by itself with exit code {code}"
        if code is not None and code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        if code == 1:
            how += ', as where the script that started it has no `if __name__ == "__main__":`, or is no file'
        if code == -signal.SIGKILL:
            how += ", as systems do when memory runs out: ask for less, or for fewer workers"
        return LostWorkerError(f"{self.what}, with the clients that were simulated there, {how}")


@contextmanager
def _as_workers_start() -> Iterator[None]:
    """Have a process that starts now deaf to Ctrl-C, which this one hears, and its libraries on a single thread."""
    before = {name: os.environ.get(name) for name in _THREADS_OF_LIBRARIES}
    resource_tracker.ensure_running()  # which else starts with the first process, and has all hear again
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(dict.fromkeys(_THREADS_OF_LIBRARIES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _work(connection: Connection, environment: Mapping[str, str]) -> None:
    """Answer until nobody asks any more: what a worker runs."""
    os.environ.clear()
    os.environ.update(environment)
    np.random.seed()  # whose state all workers have from one process: inputs may be drawn from it, secrets never are
    company: Company = connection.recv()
    company.prepare()
    desk = _Desk(company, connection)
    with suppress(EOFError, OSError):  # whoever asked is gone
        while True:
            method, arguments = connection.recv()
            try:
                getattr(desk, method)(*arguments)
            except Exception as error:
                connection.send(_crossing(error))


def _crossing(error: E) -> E | SecAggError:
    """Return an error as it can be sent, with where it was raised: itself, or one of ours where it cannot be."""
    what, where = traceback.format_exception_only(error)[0].strip(), "".join(traceback.format_exception(error))
    where = f"in a worker:\n{where}"
    with suppress(Exception):  # objects raise what they like when they are taken apart and put together
        if isinstance(ForkingPickler.loads(ForkingPickler.dumps(error)), type(error)):
            error.add_note(where)
            return error
    ours = SecAggError(f"{what} (as text alone, since this error does not cross from a worker)")
    ours.add_note(where)
    return ours


class _Desk:
    """What may be asked of a worker, which replies by the connection."""

    def __init__(self, company: Company, connection: Connection) -> None:
        self._company = company
        self._reply = connection
        self._here = Here(company.join, company.inputs)

    def settle(self, names: Sequence[str]) -> None:
        self._reply.send(self._company.settle(names))

    def meet(self, everyone: Participants) -> None:
        self._company.meet(everyone)
        self._reply.send(None)

    def ask(self, delivered: Sequence[str], messages: Sequence[Message]) -> None:
        for name in delivered:
            self._here.delivered(name)
        for name, answer in self._here.ask(messages):  # each goes while the next is made
            self._reply.send((name, replace(answer, data=b"", error=answer.error and _crossing(answer.error))))
            self._reply.send_bytes(answer.data)

    def leave(self) -> None:
        self._reply.send(Leaving(self._company.inputs, own_peak_memory_bytes()))
