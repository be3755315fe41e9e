"""From one session of a job to the next: whoever sees that one has ended asks the job what follows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dp.errors import DpError
from secagg.errors import SecAggError

from .errors import DamagedStoreError
from .jobs import prepared
from .sessions import SessionSpec, Terms, read_terms
from .store import Store
from .views import State


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


class JobSteps:
    """Makes the next sessions of jobs. A number of a job is one session, whichever process makes it."""

    def __init__(self, store: Store, jobs: Mapping[str, Rounds]) -> None:
        self._store, self._jobs = store, jobs

    def follow(self) -> bool:
        """Open what follows from sessions that have ended; return whether anything was opened. It blocks."""
        if not self._jobs:
            return False
        ended, begun = self._store.job_sessions(self._jobs)
        opened = False
        for name in sorted(set(self._jobs) - begun):
            opened |= self._next(name, None, 0, None)
        for row in ended:
            if row.state == State.FAILED:
                self._store.end_job(row.job, row.id, row.error, row.reason)
                continue
            try:
                before = Ended(row.id, row.number, read_terms(row.terms), json.loads(row.result))
            except ValueError:
                self._store.end_job(row.job, row.id, DamagedStoreError.__name__, "the session before cannot be read")
                continue
            opened |= self._next(row.job, before, row.number + 1, row.id)
        return opened

    def _next(self, name: str, before: Ended | None, number: int, after: str | None) -> bool:
        try:
            spec = self._jobs[name](before)
            new = None if spec is None else prepared(spec, job=name, number=number)
        except (SecAggError, DpError) as error:
            self._store.end_job(name, after, type(error).__name__, str(error))
            return False
        except Exception as error:  # of the operator's own code, whose text may hold anything
            self._store.end_job(name, after, type(error).__name__, "the job's own code has failed")
            return False
        if new is None:
            self._store.end_job(name, after)
            return False
        return self._store.add(new, after=after)
