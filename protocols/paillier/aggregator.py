"""The aggregator of Paillier summation: adds what it cannot read. A machine without I/O.

Rounds: commitments, endorsements, contributions, openings. The transport delivers messages to `receive`, which raises
if the message is refused; `close_round` ends a round and returns what to send to everyone next, or the result. Threads
may call any method at any time. Each accepted contribution is also sent on to every member as it is: members add for
themselves (SPEC section 22).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from secagg.encoding import Levels
from secagg.errors import PeerError, StateError, ThresholdError, UnexpectedMessage
from secagg.paillier import Accumulator, combine
from secagg.paillier.integers import Progress
from secagg.paillier.vectors import EncryptedVector

from ..core import dumps
from .contributions import add_contributions, check_endorsement
from .messages import (
    Commitment,
    CommitmentList,
    Contribution,
    Endorsement,
    Message,
    Opening,
    OpenRequest,
    RevealRequest,
)
from .parameters import RoundParameters
from .state import AggregatorPhase, AggregatorState, accumulator_of, load, product_of


@dataclass(frozen=True)
class Result:
    """What a round is for.

    Args:
        sums: float64 (length,): the sums of the contributors' updates, each times its weight.
        levels: int64 (length,): the same, exact, in the encoding's levels.
        total_weight: the sum of the weights; the number of contributors in a round without weights.
        contributors: whose updates are in the sums.
        liars: members whose partial openings were wrong; the sums are right nonetheless.
    """

    sums: npt.NDArray[np.float64] = field(repr=False)
    levels: Levels = field(repr=False)
    total_weight: int
    contributors: frozenset[int]
    liars: frozenset[int]


Request = CommitmentList | RevealRequest | OpenRequest

_EXPECTED: dict[AggregatorPhase, type[Message]] = {
    AggregatorPhase.COMMITMENTS: Commitment,
    AggregatorPhase.ENDORSEMENTS: Endorsement,
    AggregatorPhase.CONTRIBUTIONS: Contribution,
    AggregatorPhase.OPENINGS: Opening,
}


@final
class Aggregator:
    """The server of one round.

    Args:
        parameters: the round's.
        workers: processes for the sum and the opening.
        progress: told of every ciphertext that was opened.

    Attributes:
        phase: what is being collected.
        rejected: who sent a message that was refused, and is out of the round for it; contributors, then members.
    """

    def __init__(self, parameters: RoundParameters, *, workers: int = 1, progress: Progress | None = None) -> None:
        self.parameters = parameters
        self._lock = threading.RLock()
        self.phase = AggregatorPhase.COMMITMENTS
        self.rejected: dict[str, set[int]] = {"contributors": set(), "members": set()}
        self._workers = workers
        self._progress = progress
        self._commitments: dict[int, bytes] = {}
        self._listed = b""
        self._endorsements: dict[int, bytes] = {}
        self._accepted: set[int] = set()
        self._sum: Accumulator | None = None
        self._product: EncryptedVector | None = None
        self._context = b""
        self._openings: dict[int, Opening] = {}

    def receive(self, sender: int, message: Message) -> None:
        """Take one message; `sender` is who the transport authenticated: a contributor's or a member's id.

        Raises:
            PeerError: the message is refused, and its sender is the culprit and out of this round. The others go on.
            StateError: the round is over.
        """
        rejected = self.receive_batch({sender: message})
        if rejected:
            raise rejected[sender]

    def receive_batch(self, messages: Mapping[int, Message]) -> dict[int, PeerError]:
        """Take messages of different senders; contributions are cheapest eight or more at once.

        Returns:
            sender -> why its message was refused.
        """
        with self._lock:
            return self._receive_batch(messages)

    def _receive_batch(self, messages: Mapping[int, Message]) -> dict[int, PeerError]:
        expected = _EXPECTED.get(self.phase)
        if expected is None:
            raise StateError(f"the round is {self.phase.value}")
        role, roster = self._senders()
        rejected: dict[int, PeerError] = {}
        contributions: dict[int, Contribution] = {}
        for sender, message in messages.items():
            try:
                self._check_sender(sender, message, expected, roster, self.rejected[role])
                if isinstance(message, Contribution):
                    contributions[sender] = message
                else:
                    self._take(sender, message)
            except PeerError as error:
                rejected[sender] = error
        if contributions and self._sum is not None:
            rejected |= add_contributions(self.parameters, self._sum, self._commitments, self._accepted, contributions)
        self.rejected[role].update(rejected.keys() & roster.keys())
        return rejected

    def close_round(self) -> Request | Result:
        """End the round with what has arrived; return what to send on, or the result.

        Raises:
            ThresholdError: too few took part; the whole session is over and nothing was opened.
            InconsistentShares: too few partial openings are correct; the liars are the culprits.
            EncodingError: what was opened is no sum of encodings: some contributor encrypted something else.
            StateError: the session is over.
        """
        steps: dict[AggregatorPhase, tuple[Callable[[], Result | None], AggregatorPhase]] = {
            AggregatorPhase.COMMITMENTS: (self._list_commitments, AggregatorPhase.ENDORSEMENTS),
            AggregatorPhase.ENDORSEMENTS: (self._request_contributions, AggregatorPhase.CONTRIBUTIONS),
            AggregatorPhase.CONTRIBUTIONS: (self._request_openings, AggregatorPhase.OPENINGS),
            AggregatorPhase.OPENINGS: (self._finish, AggregatorPhase.COMPLETED),
        }
        with self._lock:
            if self.phase not in steps:
                raise StateError(f"the round is {self.phase.value}")
            step, reached = steps[self.phase]
            self.phase = AggregatorPhase.ABORTED
            try:
                result = step()
            except BaseException:  # an interrupt, too, must leave no worker behind
                self.close()
                raise
            self.phase = reached
            request = self.outgoing()
        if result is not None:
            return result
        if request is None:
            raise StateError(f"the round is {reached.value}, in which there is nothing to ask")
        return request

    def outgoing(self) -> Request | None:
        """Return what everyone who is to speak is sent in this phase, until it is closed; None where that is nothing.

        `load` restores it, so that it may be sent again.
        """
        parameters = self.parameters
        with self._lock:
            match self.phase:
                case AggregatorPhase.ENDORSEMENTS:
                    return CommitmentList(parameters.session, dict(self._commitments))
                case AggregatorPhase.CONTRIBUTIONS:
                    return RevealRequest(parameters.session, dict(self._commitments), dict(self._endorsements))
                case AggregatorPhase.OPENINGS:
                    return OpenRequest(parameters.session, sorted(self._accepted), self._context)
                case _:
                    return None

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process, but for the parameters.

        It holds no secret: contributions are encrypted, and only their sum is kept; but keep partial openings from
        whoever may not see the sum.
        """
        session = self.parameters.session
        with self._lock:
            if self.phase in (AggregatorPhase.COMPLETED, AggregatorPhase.ABORTED):
                return dumps.encode_state(AggregatorState(session, self.phase, self.rejected))
            return dumps.encode_state(
                AggregatorState(
                    session,
                    self.phase,
                    self.rejected,
                    commitments=self._commitments,
                    endorsements=self._endorsements,
                    accepted=frozenset(self._accepted),
                    product=self._product or product_of(self._sum),
                    openings=self._openings,
                )
            )

    @classmethod
    def load(
        cls, dumped: bytes, parameters: RoundParameters, *, workers: int = 1, progress: Progress | None = None
    ) -> Aggregator:
        """Restore what `dump` returned; the other arguments as on construction.

        Raises:
            StateError: the bytes are no dump of this kind and version, damaged, or of another round.
        """
        state = load(dumped, AggregatorState, parameters)
        aggregator = cls(parameters, workers=workers, progress=progress)
        aggregator.phase, aggregator.rejected = state.phase, state.rejected
        aggregator._commitments, aggregator._endorsements = state.commitments, state.endorsements
        aggregator._accepted, aggregator._openings = set(state.accepted), state.openings
        if state.phase is not AggregatorPhase.COMMITMENTS:
            aggregator._listed = parameters.commitments_digest(state.commitments)
        if state.phase is AggregatorPhase.CONTRIBUTIONS:
            aggregator._sum = accumulator_of(parameters, workers, state.product, state.accepted)
        elif state.phase is AggregatorPhase.OPENINGS:
            with accumulator_of(parameters, 1, state.product, state.accepted) as accumulator:
                aggregator._keep(accumulator.product())
        return aggregator

    def close(self) -> None:
        """End the worker processes, if the session is given up before its end."""
        if self._sum is not None:
            self._sum.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _senders(self) -> tuple[str, Mapping[int, bytes]]:
        if self.phase in (AggregatorPhase.COMMITMENTS, AggregatorPhase.CONTRIBUTIONS):
            return "contributors", self.parameters.contributors
        return "members", self.parameters.members

    def _check_sender(
        self, sender: int, message: Message, expected: type[Message], roster: Mapping[int, bytes], out: set[int]
    ) -> None:
        if sender not in roster:
            raise UnexpectedMessage("a message from a stranger", culprits={sender})
        if sender in out:
            raise UnexpectedMessage("a message from someone who is out of the round", culprits={sender})
        if not isinstance(message, expected) or message.session != self.parameters.session:
            raise UnexpectedMessage(
                f"a message of another session or round: {self.phase.value} are expected", culprits={sender}
            )

    def _take(self, sender: int, message: Message) -> None:
        if isinstance(message, Commitment):
            _store(self._commitments, sender, message.contribution_digest)
        elif isinstance(message, Endorsement):
            if message.commitments_digest != self._listed:
                raise UnexpectedMessage("an endorsement of another list of commitments", culprits={sender})
            check_endorsement(self.parameters, sender, self._listed, message.signature)
            _store(self._endorsements, sender, message.signature)
        elif isinstance(message, Opening):
            if message.sum_digest != self._context:
                raise UnexpectedMessage("a partial opening of another sum", culprits={sender})
            _store(self._openings, sender, message)

    def _list_commitments(self) -> None:
        self._check_enough(self._commitments, self.parameters.min_contributors, "contributors committed")
        self._listed = self.parameters.commitments_digest(self._commitments)

    def _request_contributions(self) -> None:
        self._check_enough(self._endorsements, self.parameters.key.threshold, "members endorsed the commitments")
        self._sum = accumulator_of(self.parameters, self._workers)

    def _request_openings(self) -> None:
        self._check_enough(self._accepted, self.parameters.min_contributors, "contributions arrived")
        if self._sum is None:
            raise StateError("there is no sum")
        with self._sum as accumulator:
            self._keep(accumulator.product())

    def _keep(self, product: EncryptedVector) -> None:
        self._product = product
        self._context = self.parameters.sum_digest(self._listed, self._accepted, product)

    def _finish(self) -> Result:
        parameters = self.parameters
        self._check_enough(self._openings, parameters.key.threshold, "partial openings arrived")
        if self._product is None:
            raise StateError("there is no sum")
        opened = combine(
            parameters.key,
            self._product,
            parameters.lanes,
            {member: opening.partial(member) for member, opening in self._openings.items()},
            context=self._context,
            workers=self._workers,
            progress=self._progress,
        )
        residues = parameters.lanes.unpack(opened.plaintexts, parameters.key.public_key.n)
        levels = parameters.codec.decode_levels(residues, num_summands=len(self._accepted))
        total_weight = int(levels[-1]) if parameters.weighted else len(self._accepted)
        levels = levels[: parameters.length]
        self.rejected["members"] |= opened.liars
        return Result(
            sums=levels / parameters.codec.scale,
            levels=levels,
            total_weight=total_weight,
            contributors=frozenset(self._accepted),
            liars=opened.liars,
        )

    def _check_enough(self, have: Mapping[int, Any] | set[int], needed: int, what: str) -> None:
        if len(have) < needed:
            raise ThresholdError(f"{len(have)} {what}, but {needed} are needed", needed=needed, have=len(have))


def _store(table: dict[int, Any], sender: int, value: Any) -> None:
    if sender in table:
        raise UnexpectedMessage("a second message in one round", culprits={sender})
    table[sender] = value
