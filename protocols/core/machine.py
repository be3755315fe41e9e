"""What every protocol's roles are: machines without I/O, driven by bytes.

A coordinator (a server, an aggregator) runs one session phase by phase; participants (clients, contributors, committee
members) answer its messages. Time and transport are the caller's: it carries bytes, decides when a phase has lasted
long enough, and keeps dumps. Whatever drives these two interfaces drives every protocol: simulation, service, Flower,
a cluster.

The loop of every transport::

    while not coordinator.ended:
        for name, data in coordinator.outgoing().items():
            answer = participants[name].respond(data, inputs)
            if answer and coordinator.receive(name, answer) is not Receipt.LATE:  # of a copy, too: see relay_to
                for other in coordinator.relay_to:  # nobody, in most protocols
                    participants[other].respond(answer)
        coordinator.close_phase()
    coordinator.result
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from secagg.errors import EncodingError, StateError

Values = Mapping[str, Any]
"""Name of a vector -> array; where the unit is the record, an iterable of blocks of rows may stand for one."""


@dataclass(frozen=True)
class Inputs:
    """What one participant contributes.

    Attributes:
        values: name of a vector -> array, as the round's configuration names and types them.
        weight: from 0 to the round's max_weight; 1 where the round is not weighted.
    """

    values: Values
    weight: int = 1

    def __repr__(self) -> str:  # values are private
        return f"Inputs({', '.join(self.values)})"


GivenInputs = Inputs | Values | Callable[[], Inputs | Values]
"""Inputs, bare values of weight 1, or a function that gives either when they are needed, such as training."""


def take_inputs(given: GivenInputs) -> Inputs:
    """Return the inputs, made now if a function gives them; raise EncodingError unless they are arrays by name."""
    made = given() if callable(given) else given
    inputs = made if isinstance(made, Inputs) else Inputs(made)
    if not isinstance(inputs.values, Mapping) or not all(isinstance(name, str) for name in inputs.values):
        raise EncodingError(
            f"inputs are a {type(inputs.values).__name__}, but must be arrays by name, such as {{'update': array}}, or "
            "Inputs(values, weight)"
        )
    return inputs


def once(given: GivenInputs) -> Callable[[], Inputs | Values]:
    """Return a function that gives the inputs a single time, for whoever may be asked in several sessions.

    Two sums over the same inputs, of which one lacks a participant, differ by that participant's inputs.

    Raises:
        StateError: from the function, when it is asked a second time.
    """
    lock = threading.Lock()

    def give() -> Inputs | Values:
        if not lock.acquire(blocking=False):
            raise StateError("these inputs were given in a session before: a second sum would tell the difference")
        return take_inputs(given)

    return give


class Receipt(StrEnum):
    """What came of a message that broke no rule. A message that breaks one is a PeerError, which names its sender."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """The same bytes were accepted before; nothing changes. Retries are no offence."""
    LATE = "late"
    """It belongs to a phase that was closed, or to a session that has ended; it is not used. Nobody is to blame."""


class Coordinator(Protocol):
    """The role that runs a session. Threads may call any method at any time; steps are taken one after another."""

    @property
    def phase(self) -> StrEnum:
        """Which phase is being collected, or how the session ended."""

    @property
    def ended(self) -> bool:
        """Whether the session is over, with a result or without one."""

    @property
    def awaited(self) -> frozenset[str]:
        """Who may still answer in this phase; when it is empty there is nothing to wait for."""

    @property
    def num_awaited(self) -> int:
        """The size of `awaited`; cheap enough to ask after every message."""

    @property
    def relay_to(self) -> frozenset[str]:
        """Who must be sent every message that is accepted in this phase, byte for byte; nobody in most phases.

        A dump does not say what was relayed. So a DUPLICATE is relayed once more: the coordinator may have been
        restored from what it dumped between taking the message in and relaying it.
        """

    @property
    def excluded(self) -> Mapping[str, str]:
        """Participants whose messages were bad, and why; they count as dropped from then on."""

    @property
    def revealed(self) -> bool:
        """Whether participants were asked for what opens the sum; from then on a privacy budget counts as spent."""

    @property
    def result(self) -> Any:
        """The outcome of a completed session. Raises StateError before, or if the session was aborted."""

    def outgoing(self) -> Mapping[str, bytes]:
        """Return what each participant is to be sent in this phase.

        It stays the same until `close_phase`, and `dump` keeps it, so that a message may be sent again.
        """

    def receive(self, sender: str, data: bytes) -> Receipt:
        """Take in what a participant sent; `sender` is who the transport authenticated.

        Raises:
            PeerError: the message is refused. MalformedMessage and AuthenticationFailed exclude the sender if it was
                still awaited in this phase; everybody else's work stands. UnexpectedMessage changes nothing.
        """

    def close_phase(self) -> None:
        """End the phase with whoever has answered, and begin the next.

        Raises:
            SecAggError: there will be no result; which error says why. The session is aborted.
            StateError: the session has ended.
        """

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process."""


class Participant(Protocol):
    """A role that answers. One object, one session."""

    @property
    def phase(self) -> StrEnum:
        """What this participant has done last, unlike a coordinator's phase, which is what it collects now."""

    @property
    def ended(self) -> bool:
        """Whether it has nothing more to say."""

    @property
    def outgoing(self) -> bytes:
        """The last answer, kept until the next one or `delivered`; empty if there is none. `dump` keeps it, too."""

    def respond(self, data: bytes, inputs: GivenInputs | None = None) -> bytes:
        """Answer a message. The same bytes again get the same answer; an empty answer is not sent.

        Raises:
            EncodingError: the inputs cannot be encoded; nothing changes, and better ones may be given. Whatever a
                function of inputs raises goes the same way.
            MalformedMessage, UnexpectedMessage: not a message for this participant at this time; nothing changes.
            SecAggError: any other ends the session for this participant, but for what a role says of messages that
                were relayed to it.
        """

    def delivered(self) -> None:
        """Forget the last answer: the coordinator has it. The same message again is then unexpected."""

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process; store it before you send the answer."""
