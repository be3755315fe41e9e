"""What contributors and members share: a phase, a last answer, and steps that succeed or end the round."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from secagg.errors import StateError, UnexpectedMessage

from ..core.machine import GivenInputs
from ..core.one_copy import OneCopy
from .messages import Commitment, Contribution, Endorsement, Message, Opening, decode_any, encode, fingerprint
from .parameters import RoundParameters
from .state import Phase

A = TypeVar("A", Commitment, Contribution, Endorsement, Opening)


class Role(OneCopy, ABC):
    """A participant of a round; a `core.machine.Participant`."""

    def __init__(self, parameters: RoundParameters) -> None:
        self.parameters = parameters
        self.phase = Phase.NEW
        self._request, self._answer = b"", b""
        self._stepping = threading.RLock()
        self._stay_in_process()

    @property
    def ended(self) -> bool:
        """Whether this party has nothing more to say."""
        return self.phase in (Phase.COMPLETED, Phase.ABORTED)

    @property
    def outgoing(self) -> bytes:
        """The last answer, to be sent again where it may have been lost; empty if there is none."""
        return self._answer

    def delivered(self) -> None:
        """Forget the last answer: the aggregator has it."""
        with self._alone():
            self._request, self._answer = b"", b""

    def respond(self, data: bytes, inputs: GivenInputs | None = None) -> bytes:
        """Answer a message of the aggregator's, or take in a contribution that was relayed, whose answer is empty.

        The same bytes again get the same answer, until `delivered`.

        Raises:
            EncodingError: the inputs cannot be encoded; nothing changes.
            MalformedMessage, UnexpectedMessage: not a message for this party, session or time; nothing changes.
            AuthenticationFailed: of a contribution that was relayed to a member, leaves everything as it was.
            SecAggError: any other ends the round for this party.
        """
        with self._alone():
            asked = fingerprint(data)
            if self._request and asked == self._request:
                return self._answer
            message = decode_any(data, max_bytes=self.parameters.max_message_bytes)
            self.parameters.check_session(message)
            answer = self._respond(message, inputs)
            if answer is None:
                return b""
            self._request = asked
            return self._answer

    @abstractmethod
    def _respond(self, message: Message, inputs: GivenInputs | None) -> Message | None:
        """Take the step that a message asks for; raise UnexpectedMessage, unchanged, where none is due."""

    def _unexpected(self, message: Message) -> UnexpectedMessage:
        return UnexpectedMessage(f"this party is {self.phase} and expects no {type(message).__name__}")

    def _say(self, answer: A) -> A:
        self._answer = encode(answer)
        return answer

    def _due(self, expected: Phase) -> None:
        if self.phase is not expected:
            raise StateError(f"this step follows {expected}, but the round is {self.phase}")

    @contextmanager
    def _step(self, expected: Phase, reached: Phase) -> Iterator[None]:
        with self._alone():
            self._due(expected)
            self.phase = Phase.ABORTED
            self._request, self._answer = b"", b""
            yield
            self.phase = reached

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuse a second thread or process: two answers to one question would be two signatures or two sums."""
        self._stay_in_process()
        if not self._stepping.acquire(blocking=False):
            raise StateError("another thread is taking a step of this round")
        try:
            yield
        finally:
            self._stepping.release()
