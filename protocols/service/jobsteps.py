"""From one session of a job to the next: whoever sees that one has ended asks the job what follows.

Each job is called in a thread of its own, so that one that hangs holds up nothing but itself. A thread cannot be ended:
one that is too late, or whose service ends, is left to itself, and what it returns is dropped.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dp.errors import DpError
from secagg.errors import ParameterError, SecAggError

from ..core.numbers import real
from .errors import DamagedStoreError, JobDeadlineError, StoreError
from .jobs import prepared
from .sessions import SessionSpec, Terms, read_terms
from .store import Store
from .views import State

JOB_SECONDS = 3600.0
"""A job that has not returned for so long has ended."""
MAX_JOB_SECONDS = 30 * 24 * 3600.0
_PAUSE_SECONDS = 5.0
"""So long a job is left alone whose session the store could not take."""


@dataclass(frozen=True)
class Ended:
    """A session of a job that has a result: what its job's next session may follow from.

    Attributes:
        session: its id, in hex.
        number: of the session in its job, from 0.
        terms: what was asked, such as the payload that training began from.
        result: its JSON, decoded.
    """

    session: str
    number: int
    terms: Terms
    result: Mapping[str, Any] = field(repr=False)


Rounds = Callable[[Ended | None], SessionSpec | None]
"""A job: gets the session before, or None at first, and returns the next; None ends it. It is called in a thread, and
again after a crash, by whichever process runs next: what it returns must follow from what it is given."""


class _Call:
    """One call of a job. Whoever `claims` it says what comes of it: its thread, or who waits no longer."""

    def __init__(self, after: str | None, until: float) -> None:
        self.after, self.until = after, until
        self.late = False
        self._turn = threading.Lock()

    def claims(self) -> bool:
        """Tell whether nobody has claimed the call before."""
        return self._turn.acquire(blocking=False)


class JobSteps:
    """Makes the next sessions of jobs. A number of a job is one session, whichever process makes it.

    Args:
        store: of the sessions.
        jobs: by name; more may be added.
        seconds: in which a job must return.
        told: called from threads, when something has come of a job.

    Raises:
        ParameterError: the seconds are not above 0, or beyond 30 days.
    """

    def __init__(self, store: Store, jobs: Mapping[str, Rounds], seconds: float, told: Callable[[], None]) -> None:
        self._store, self._jobs, self._told = store, jobs, told
        self._seconds = real(seconds, "job_seconds", 0.001, MAX_JOB_SECONDS)
        self._calls: dict[str, _Call] = {}
        self._paused: dict[str, float] = {}

    def follow(self) -> None:
        """Call the jobs of sessions that have ended, and end those that are too late. It waits for the store alone.

        Raises:
            StoreError: the store cannot be used now; the same call goes on later.
        """
        self._end_late()
        now = time.monotonic()
        jobs = {name: job for name, job in dict(self._jobs).items() if self._paused.get(name, now) <= now}
        free = jobs.keys() - self._calls.keys()
        if not free:
            return
        ended, begun = self._store.job_sessions(free)
        for name in sorted(free - begun):
            self._call(name, jobs[name], None, 0, None)
        for row in ended:
            if row.state == State.FAILED:
                self._store.end_job(row.job, row.id, row.error, row.reason)
                continue
            try:
                before = Ended(row.id, row.number, read_terms(row.terms), json.loads(row.result))
            except ValueError:
                damaged = DamagedStoreError.__name__
                self._store.end_job(row.job, row.id, damaged, "the session before cannot be read")
                continue
            self._call(row.job, jobs[row.job], before, row.number + 1, row.id)

    def close(self) -> None:
        """Wait for no job any longer, and keep nothing of what it returns: whoever runs next calls it again."""
        for name, call in list(self._calls.items()):
            if call.claims():
                self._calls.pop(name, None)

    def _end_late(self) -> None:
        for name, call in list(self._calls.items()):
            if time.monotonic() >= call.until and (call.late or call.claims()):
                call.late = True
                late = too_late(self._seconds)
                self._store.end_job(name, call.after, type(late).__name__, str(late))
                self._calls.pop(name, None)

    def _call(self, name: str, job: Rounds, before: Ended | None, number: int, after: str | None) -> None:
        call = self._calls[name] = _Call(after, time.monotonic() + self._seconds)
        threading.Thread(target=self._step, args=(name, job, before, number, call), name=name, daemon=True).start()

    def _step(self, name: str, job: Rounds, before: Ended | None, number: int, call: _Call) -> None:
        """Call a job, and open what it returns, unless nobody waits for it any more."""
        new, error, reason = None, "", ""
        store_fails = False
        try:
            spec = job(before)
            new = None if spec is None else prepared(spec, job=name, number=number)
        except (SecAggError, DpError) as failure:
            store_fails = isinstance(failure, StoreError) and not isinstance(failure, DamagedStoreError)
            error, reason = type(failure).__name__, str(failure)
        except BaseException as failure:  # of the operator's own code, which may exit, and whose text may hold anything
            error, reason = type(failure).__name__, "the job's own code has failed"
        if not call.claims():
            return
        try:
            if new is not None:
                try:
                    self._store.add(new, after=call.after)
                except ParameterError as failure:  # of parameters that another session has used
                    new, error, reason = None, type(failure).__name__, str(failure)
            if new is None and not store_fails:
                self._store.end_job(name, call.after, error, reason)
        except StoreError:
            store_fails = True
        if store_fails:  # the job is called again
            self._paused[name] = time.monotonic() + _PAUSE_SECONDS
        self._calls.pop(name, None)
        self._told()


def too_late(seconds: float) -> JobDeadlineError:
    """Return the error of a job that has not returned in so many seconds."""
    return JobDeadlineError(f"it has not returned within {seconds:g} s")
