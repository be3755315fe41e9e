"""The aggregator of Paillier summation: adds what it cannot read. A sans-I/O state machine.

Phases: commitments, endorsements, contributions, openings. Threads may call any method at any time; steps are taken one
after another. While contributions are collected, each accepted one goes on to every member of `relay_to`: members
add for themselves (SPEC section 23).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, final

import msgspec
import numpy as np

from secagg.errors import PeerError, StateError, UnexpectedMessage
from secagg.paillier.integers import Progress

from ..core import dumps
from ..core.listener import (
    Listener,
    MessageAccepted,
    ParticipantExcluded,
    PhaseClosed,
    PhaseOpened,
    SessionEnded,
    Telling,
    Transition,
    ignore,
)
from ..core.machine import Receipt
from .collecting import EXPECTED, OF_CONTRIBUTORS, ORDER, Collecting
from .contributions import Elsewhere
from .messages import (
    Message,
    decode_any,
    encode,
    fingerprint,
)
from .parameters import RoundParameters
from .result import PaillierResult
from .state import AggregatorPhase, AggregatorState, accumulator_of, load, product_of


@final
class Aggregator(Collecting):
    """The server of one round; a `core.machine.Coordinator`.

    Args:
        parameters: the round's.
        listener: called with every transition; see `core.listener`.
        workers: threads for the sum and the opening.
        progress: told of every ciphertext that was opened.
        elsewhere: other machines that check and add contributions; this one when None.

    Raises:
        ParameterError: workers is no positive integer.
    """

    def __init__(
        self,
        parameters: RoundParameters,
        *,
        listener: Listener = ignore,
        workers: int = 1,
        progress: Progress | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        super().__init__(parameters, workers, progress, elsewhere)
        self._listener = listener
        self._fingerprints: dict[str, bytes] = {}
        self._revealed = False
        self._opened = time.perf_counter()
        listener(PhaseOpened(self._phase, len(self._speakers)))

    @property
    def phase(self) -> AggregatorPhase:
        """Which phase is being collected, or how the round ended."""
        return self._phase

    @property
    def session_id(self) -> bytes:
        """What names the round, 32 bytes: a hash of all parameters."""
        return self.parameters.session

    @property
    def awaited(self) -> frozenset[str]:
        """Who may still answer in this phase."""
        with self._lock:
            silent = (number for number in self._speakers if number not in self._heard)
            return self._roster.named(silent) - self._excluded.keys()

    @property
    def num_awaited(self) -> int:
        """How many that are."""
        return len(self.awaited)

    @property
    def relay_to(self) -> frozenset[str]:
        """The members that endorsed the commitments, while contributions are collected; nobody else."""
        with self._lock:
            relaying = self._phase is AggregatorPhase.CONTRIBUTIONS
            return self.parameters.members.named(self._endorsements) if relaying else frozenset()

    @property
    def excluded(self) -> dict[str, str]:
        """Whose messages were bad, and why; they are out of the round."""
        with self._lock:
            return dict(self._excluded)

    @property
    def revealed(self) -> bool:
        """Whether members were asked for openings; it stays so when the round is aborted."""
        return self._revealed

    @property
    def result(self) -> PaillierResult:
        """The sum, once the round has completed. Raises StateError before, or if it was aborted."""
        if self._result is None:
            raise StateError(f"there is no result: the round is in {self._phase}")
        return self._result

    def outgoing(self) -> Mapping[str, bytes]:
        """Return what each party is to be sent; it stays the same until `close_phase`, and after `load`."""
        with self._lock:
            request = self.request
            names = sorted(self._roster.named(self._speakers))
        return {} if request is None else dict.fromkeys(names, encode(request))

    def receive(self, sender: str, data: bytes) -> Receipt:
        """Take in what a party sent.

        Raises:
            MalformedMessage, AuthenticationFailed: the content is bad; the sender is out of this round.
            UnexpectedMessage: not this party's turn, another round's, or a second one that differs; nothing changes.

        Any other exception, such as an interrupt in the middle of a sum, ends the round.
        """
        outcome = self.receive_many({sender: data})[sender]
        if isinstance(outcome, PeerError):
            raise outcome
        return outcome

    def receive_many(self, messages: Mapping[str, bytes]) -> dict[str, Receipt | PeerError]:
        """Take in messages of different senders; contributions are cheapest eight or more at once.

        Returns:
            sender -> what came of its message, or why it was refused.

        Any exception, such as an interrupt in the middle of a sum, ends the round where messages were being taken in.
        """
        outcomes: dict[str, Receipt | PeerError] = {}
        decoded: dict[str, Message | PeerError] = {}
        for sender, data in messages.items():
            try:
                decoded[sender] = decode_any(data, max_bytes=self.parameters.max_message_bytes)
            except PeerError as error:
                decoded[sender] = type(error)(error.reason, culprits={sender})
        with Telling(self._listener) as transitions, self._lock:
            due: dict[int, Message] = {}
            for sender, message in decoded.items():
                try:
                    if isinstance(message, PeerError):
                        raise message
                    outcomes[sender] = self._admit(sender, message, fingerprint(messages[sender]))
                    if outcomes[sender] is Receipt.ACCEPTED:
                        due[self._roster.number(sender)] = message
                except PeerError as error:
                    outcomes[sender] = self._refuse(sender, error, transitions)
            try:
                for number, refusal in (self.take_batch(due) if due else {}).items():
                    sender = self._roster.name(number)
                    outcomes[sender] = self._refuse(sender, refusal, transitions)
                for number in due:
                    sender = self._roster.name(number)
                    if outcomes[sender] is Receipt.ACCEPTED:
                        self._fingerprints[sender] = fingerprint(messages[sender])
                        transitions.append(MessageAccepted(self._phase, sender, len(messages[sender])))
            except BaseException as error:  # an interrupt, too, must leave no contribution half added
                self._abort()
                transitions.append(SessionEnded(0, type(error).__name__, str(error)))
                raise
        return outcomes

    def close_phase(self) -> None:
        """End the phase with what has arrived, and begin the next; after the last there is a `result`.

        Raises:
            ThresholdError: too few took part; the round is over and nothing was opened.
            InconsistentShares: too few partial openings are correct; the liars are the culprits.
            EncodingError: what was opened is no sum of encodings: some contributor encrypted something else.
            StateError: the round is over.
        """
        steps: dict[AggregatorPhase, Callable[[], None]] = {
            AggregatorPhase.COMMITMENTS: self._list_commitments,
            AggregatorPhase.ENDORSEMENTS: self._request_contributions,
            AggregatorPhase.CONTRIBUTIONS: self._request_openings,
            AggregatorPhase.OPENINGS: self._finish,
        }
        with Telling(self._listener) as transitions, self._lock:
            if self.ended:
                raise StateError(f"the round is {self._phase}")
            phase, started, answered, missing = self._phase, time.perf_counter(), len(self._heard), self.awaited
            try:
                steps[phase]()
                following = ORDER[ORDER.index(phase) + 1]
                self._revealed = self._revealed or following is AggregatorPhase.OPENINGS
                self._phase = following
            except BaseException as error:  # an interrupt, too, must leave no phase half closed
                self._abort()
                if isinstance(error, PeerError):
                    named = self.parameters.members.named(int(number) for number in error.culprits)
                    error = type(error)(error.reason, culprits=named)
                transitions.append(SessionEnded(0, type(error).__name__, str(error)))
                raise error from None
            closing = time.perf_counter() - started
            transitions.append(PhaseClosed(phase, answered, missing, started - self._opened, closing))
            self._opened = time.perf_counter()
            if following is AggregatorPhase.COMPLETED:
                transitions.append(SessionEnded(len(self._accepted)))
            else:
                transitions.append(PhaseOpened(following, len(self._speakers)))

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process, what is to be sent included, but for the parameters.

        It holds no secret: contributions are encrypted, and only their sum is kept; but keep partial openings from
        whoever may not see the sum. That of a completed round holds its result.
        """
        session = self.parameters.session
        with self._lock:
            state = AggregatorState(session, self._phase, self._excluded, self._fingerprints, self._revealed)
            if self._result is not None:
                result = self._result
                kept = (result.levels.tobytes(), result.total_weight, tuple(sorted(result.liars)))
                state = msgspec.structs.replace(state, accepted=frozenset(self._accepted), outcome=kept)
            if self.ended:
                return dumps.encode_state(state)
            state = msgspec.structs.replace(
                state,
                commitments=self._commitments,
                endorsements=self._endorsements,
                accepted=frozenset(self._accepted),
                product=self._product or product_of(self._sum),
                openings=self._openings,
            )
            return dumps.encode_state(state)

    @classmethod
    def load(
        cls,
        dumped: bytes,
        parameters: RoundParameters,
        *,
        listener: Listener = ignore,
        workers: int = 1,
        progress: Progress | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> Aggregator:
        """Restore what `dump` returned; the other arguments as on construction.

        Raises:
            StateError: the bytes are no dump of this kind and version, damaged, or of another round.
        """
        state = load(dumped, AggregatorState, parameters)
        aggregator = cls(parameters, workers=workers, progress=progress, elsewhere=elsewhere)
        aggregator._listener = listener
        aggregator._phase, aggregator._excluded = state.phase, state.excluded
        aggregator._fingerprints, aggregator._revealed = state.fingerprints, state.revealed
        aggregator._commitments, aggregator._endorsements = state.commitments, state.endorsements
        aggregator._accepted, aggregator._openings = set(state.accepted), state.openings
        if state.phase is not AggregatorPhase.COMMITMENTS:
            aggregator._listed = parameters.commitments_digest(state.commitments)
        if state.phase is AggregatorPhase.CONTRIBUTIONS:
            aggregator._sum = accumulator_of(parameters, workers, state.product, state.accepted, elsewhere)
        elif state.phase is AggregatorPhase.OPENINGS:
            with accumulator_of(parameters, 1, state.product, state.accepted) as accumulator:
                aggregator._keep(accumulator.product())
        elif state.outcome is not None:
            data, total_weight, liars = state.outcome
            levels = np.frombuffer(data, dtype=np.int64)
            aggregator._result = aggregator._result_of(levels, total_weight, frozenset(liars))
        return aggregator

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _admit(self, sender: str, message: Message, asked: bytes) -> Receipt:
        """Return whether to take a message in; raise UnexpectedMessage if it breaks a rule."""
        parameters = self.parameters
        if sender not in parameters.contributors and sender not in parameters.members:
            raise UnexpectedMessage("a message from a stranger")
        due = next((phase for phase, kind in EXPECTED.items() if type(message) is kind), None)
        if message.session != parameters.session or due is None:
            raise UnexpectedMessage("a message of another round, or that no party sends")
        if self._fingerprints.get(sender) == asked:
            return Receipt.DUPLICATE
        if sender not in (parameters.contributors if due in OF_CONTRIBUTORS else parameters.members):
            raise UnexpectedMessage(f"a {type(message).__name__} from a party of the other role")
        if self.ended or ORDER.index(due) < ORDER.index(self._phase):
            return Receipt.LATE
        if due is not self._phase:
            raise UnexpectedMessage(f"a {type(message).__name__} while {self._phase} are collected")
        if sender in self._excluded:
            raise UnexpectedMessage("a message from someone who is out of the round")
        if self._roster.number(sender) not in self._speakers:
            raise UnexpectedMessage(f"a message from someone who has no part in {self._phase}")
        return Receipt.ACCEPTED

    def _refuse(self, sender: str, error: PeerError, transitions: list[Transition]) -> PeerError:
        """Let a party pay for a bad message; return the error with its name."""
        if not isinstance(error, UnexpectedMessage) and sender in self.awaited:
            self._excluded[sender] = f"{type(error).__name__}: {error.reason}"
            transitions.append(ParticipantExcluded(self._phase, sender, type(error).__name__, error.reason))
        return type(error)(error.reason, culprits={sender})

    def _abort(self) -> None:
        self._phase, self._result = AggregatorPhase.ABORTED, None
        self.close()
