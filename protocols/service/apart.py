"""An operator's function in a process of its own: whatever it does, the service goes on, and ends when it is told to.

A thread cannot be ended, and one that holds the interpreter stops all others. So a function that is named by a command
is loaded and called in a process, which can be killed. Questions and answers are MessagePack in one pipe; nothing is
pickled, and the process inherits that pipe, standard error, and the environment. What it prints goes to standard error,
too, since standard output is the command's results; or nowhere, where standard error is lines of JSON.

What it has started is killed with it: its session, and on Linux whatever has the mark that its environment had, in
sessions of their own as well. A program that was started with another environment is not found, nor is one of another
user.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import msgspec

from secagg.errors import ParameterError

from ..core.numbers import real
from .errors import JobError
from .jobsteps import MAX_JOB_SECONDS, Ended, too_late
from .sessions import MAX_PAYLOAD_BYTES, read_terms
from .training import load, payload_of, place_of_error

MARK = "SECAGG_APART"
"""In the environment of the process, and of what it starts: a number of its own."""
TRIES = 3
"""So often a function is called whose process ends under it; one that fails is called once."""
_MOST_BYTES = MAX_PAYLOAD_BYTES + (1 << 16)
_MOST_LOOKS = 100
"""For processes that others have started before they were killed."""
_LOOK_SECONDS = 0.01
_MORE_SECONDS = 5.0
"""After which a process ends itself that is too late, if nobody has ended it."""


class _Before(msgspec.Struct):
    """What the function is given: a round that has ended. Terms and result are as they are written."""

    session: str
    number: int
    terms: bytes
    result: str


class _Returned(msgspec.Struct):
    """What it has returned, or why it has not: a sentence, or the kind of an error with its place."""

    payload: bytes | None = None
    refusal: str = ""
    kind: str = ""
    place: str = ""


class Apart:
    """The function of a name, called in a process of its own; a context in which that runs. One call at a time.

    Args:
        named: `module:function`, as `training.load` takes it.
        seconds: in which it must be loaded, and return, each time.
        told: hears where it has failed, and nothing of what its error says.
        silent: what it prints goes nowhere, instead of to standard error.

    Raises:
        ParameterError: the seconds are not above 0, or beyond 30 days.
    """

    def __init__(self, named: str, seconds: float, told: Callable[[str], None], *, silent: bool = False) -> None:
        self._named, self._tell, self._silent = named, told, silent
        self._seconds = real(seconds, "training_seconds", 0.001, MAX_JOB_SECONDS)
        self._turn, self._changing = threading.Lock(), threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._late = self._closed = False
        self._mark = f"{MARK}={secrets.token_hex(16)}"

    def __enter__(self) -> Self:
        """Start the process, and load the function.

        Raises:
            ParameterError: there is none of that name, or it is called otherwise; or it is not loaded in time.
        """
        try:
            with self._turn:
                self._within(self._start)
        except JobError as error:
            raise ParameterError(f"{self._named} cannot be loaded: {error}") from None
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __call__(self, before: Ended | None) -> bytes | None:
        """Return what the function returns: bytes, or None to end.

        Raises:
            JobDeadlineError: it does not return in time.
            JobError: it fails, or returns something else; or its process has ended `TRIES` times.
        """
        given = None
        if before is not None:
            given = _Before(before.session, before.number, before.terms.encoded, json.dumps(before.result))
        try:
            with self._turn:
                found: _Returned = self._within(lambda: self._asked(msgspec.msgpack.encode(given)))
        except ParameterError as error:  # of a process that was started again, and finds another module
            raise JobError(str(error)) from None
        if found.kind:
            self._tell(f"{self._named} has failed: {found.kind}{found.place}")
            raise JobError(f"its function has raised {found.kind}")
        if found.refusal:
            self._tell(found.refusal)
            raise JobError(found.refusal)
        return found.payload

    def close(self) -> None:
        """End the process, whatever it does. Who is called meanwhile has failed: what calls is to be ended before."""
        self._closed = True
        self._kill()
        with self._turn:
            self._end()

    def _within(self, work: Callable[[], Any]) -> Any:
        """Do what waits for the process, again if that ends meanwhile; end it if it takes too long."""
        self._late = False
        timer = threading.Timer(self._seconds, self._end_late)
        timer.daemon = True
        timer.start()
        try:
            for left in reversed(range(TRIES)):
                try:
                    return work()
                except (EOFError, OSError):
                    how = self._end()
                if self._late:
                    self._tell(f"{self._named} has failed: {too_late(self._seconds)}")
                    raise too_late(self._seconds)
                if self._closed or not left:
                    raise JobError(f"its process has ended ({how}), {TRIES - left} times")
                self._tell(f"the process of {self._named} has ended ({how}), and is started again")
        finally:
            timer.cancel()
            timer.join()

    def _asked(self, given: bytes) -> _Returned:
        connection = self._start()
        connection.send_bytes(given)
        return _read(connection)

    def _start(self) -> Connection:
        """Return the connection to the process, which is started unless it runs."""
        if self._connection is not None:
            return self._connection
        ours, theirs = Pipe()
        with self._changing, theirs:
            if self._closed or self._late:
                raise EOFError
            command = [sys.executable, "-P", "-m", __name__, self._named, str(theirs.fileno()), repr(self._seconds)]
            output = subprocess.DEVNULL if self._silent or sys.__stderr__ is None else 2
            self._process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                env=os.environ | dict([self._mark.split("=")]),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        found = _read(ours)
        if found.refusal:
            raise ParameterError(found.refusal)
        self._connection = ours
        return ours

    def _end_late(self) -> None:
        self._late = True
        self._kill()

    def _kill(self) -> None:
        """End the process and all that it has started."""
        with self._changing:
            if self._process is None or self._process.returncode is not None:
                return
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        kill_marked(self._mark)  # none is started meanwhile: who comes here has closed this, is late, or would start it

    def _end(self) -> str:
        """End the process, if it has not ended, and return how it did."""
        self._kill()
        with self._changing:
            process, self._process = self._process, None
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if process is None:
            return "not started"
        with suppress(subprocess.TimeoutExpired):  # of one that the operating system holds
            process.wait(1.0)
        code = process.returncode
        return "killed" if code is None else f"code {code}" if code >= 0 else f"signal {-code}"


def kill_marked(mark: str) -> None:
    """Kill this user's processes that have this in their environment but this one, and what they start meanwhile.

    It does nothing where there is no /proc, or Python knows no pidfds.
    """
    if not (hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")):
        return
    for _ in range(_MOST_LOOKS):
        if not [each for each in Path("/proc").glob("[0-9]*") if _killed(each, mark.encode())]:
            return
        time.sleep(_LOOK_SECONDS)


def _killed(process: Path, mark: bytes) -> bool:
    """Kill a process of this user's if it has the mark; tell whether it had."""
    with suppress(OSError):  # it has ended, or is somebody else's
        descriptor = os.pidfd_open(int(process.name))  # first, or the number could be another's by then
        try:
            if int(process.name) == os.getpid() or process.stat().st_uid != os.geteuid():
                return False  # as root one could read, and kill, what others run
            if mark in (process / "environ").read_bytes().split(b"\0"):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                return True
        finally:
            os.close(descriptor)
    return False


def _read(connection: Connection) -> _Returned:
    try:
        return msgspec.msgpack.decode(connection.recv_bytes(_MOST_BYTES), type=_Returned)
    except msgspec.MsgspecError:  # a function that writes there
        raise EOFError from None


def main() -> None:
    """Load a function, and call it for each question that comes, until nobody is left who asks."""
    named, connection, seconds = sys.argv[1], Connection(int(sys.argv[2])), float(sys.argv[3])
    mark = f"{MARK}={os.environ.get(MARK, secrets.token_hex(16))}"  # before the function can change it
    # What the function starts or forks must not hold the pipe, or nobody would see this process end, or answer in it.
    os.set_inheritable(connection.fileno(), False)
    os.register_at_fork(after_in_child=connection.close)
    # Who stops the service may tell all of its processes to end: this one is ended by the service.
    signal.signal(signal.SIGTERM, lambda *_: None)
    own = os.getpid()
    questions: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_take, args=(connection, questions, mark), daemon=True).start()
    with Path(os.devnull).open("w") as nowhere:

        def watched(work: Callable[[], _Returned]) -> None:
            faulthandler.dump_traceback_later(seconds + _MORE_SECONDS, exit=True, file=nowhere)
            answer = msgspec.msgpack.encode(work())
            if os.getpid() != own:
                os._exit(0)  # a fork of the function's, which has returned as well
            faulthandler.cancel_dump_traceback_later()
            with suppress(Exception):  # whatever a function has put in its place
                sys.stdout.flush()
            connection.send_bytes(answer)

        loaded: list[Callable[[Any], Any]] = []
        watched(partial(_loaded, named, loaded))
        while loaded:  # or it has said why not
            watched(partial(_answer, loaded[0], named, questions.get()))


def _take(connection: Connection, questions: queue.SimpleQueue[bytes], mark: str) -> None:
    """Take questions; when the service is gone, end whatever the function does."""
    try:
        while True:
            questions.put(connection.recv_bytes())
    except (EOFError, OSError):
        try:
            kill_marked(mark)
        finally:
            os._exit(0)


def _loaded(named: str, loaded: list[Callable[[Any], Any]]) -> _Returned:
    try:
        loaded.append(load(named))
    except ParameterError as error:
        return _Returned(refusal=_line(error))
    return _Returned()


def _line(error: Exception) -> str:
    """Return a text that can be written down, whatever an error of Python's has put into it."""
    return str(error).encode(errors="replace").decode()


def _answer(function: Callable[[Any], Any], named: str, question: bytes) -> _Returned:
    try:
        before = msgspec.msgpack.decode(question, type=_Before | None)
        ended = None
        if before is not None:
            ended = Ended(before.session, before.number, read_terms(before.terms), json.loads(before.result))
        returned = function(ended)
    except BaseException as error:  # a function may exit, and whatever it raises may quote values
        return _Returned(kind=type(error).__name__, place=place_of_error(error))
    try:
        return _Returned(payload_of(returned, named))
    except ParameterError as error:
        return _Returned(refusal=_line(error))


if __name__ == "__main__":
    main()
