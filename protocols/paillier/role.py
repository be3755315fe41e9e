"""What contributors and members of the committee share: a phase, and steps that succeed or end the round."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from secagg.errors import StateError

from .messages import Commitment, Contribution, Endorsement, Opening, encode
from .parameters import RoundParameters
from .state import Phase

A = TypeVar("A", Commitment, Contribution, Endorsement, Opening)


class Role:
    """A phase, and steps that succeed or end the round for this party."""

    def __init__(self, parameters: RoundParameters) -> None:
        self.parameters = parameters
        self.phase = Phase.NEW
        self._answer = b""
        self._stepping = threading.Lock()

    @property
    def outgoing(self) -> bytes:
        """The last answer as bytes, to be sent again where it may have been lost; empty if there is none."""
        return self._answer

    def _say(self, answer: A) -> A:
        self._answer = encode(answer)
        return answer

    @contextmanager
    def _step(self, expected: Phase, reached: Phase) -> Iterator[None]:
        with self._alone():
            if self.phase is not expected:
                raise StateError(f"this step follows {expected.value}, but the round is {self.phase.value}")
            self.phase = Phase.ABORTED
            self._answer = b""
            yield
            self.phase = reached

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuse a second thread: two answers to one question would be two signatures or two sums."""
        if not self._stepping.acquire(blocking=False):
            raise StateError("another thread is taking a step of this round")
        try:
            yield
        finally:
            self._stepping.release()
