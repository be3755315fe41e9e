"""What an aggregator collects, by typed messages and numbers: the state behind `Aggregator`, and how phases close."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from secagg.encoding import FixedPoint, Levels
from secagg.errors import EncodingError, PeerError, StateError, ThresholdError, UnexpectedMessage
from secagg.paillier import Accumulator, combine
from secagg.paillier.integers import Progress, positive
from secagg.paillier.vectors import EncryptedVector

from ..core.participants import Participants
from .contributions import Elsewhere, add_contributions, check_endorsement
from .messages import (
    Commitment,
    CommitmentList,
    Contribution,
    Endorsement,
    Invitation,
    Message,
    Opening,
    OpenRequest,
    RevealRequest,
)
from .parameters import RoundParameters
from .result import PaillierResult
from .state import AggregatorPhase, accumulator_of

Request = Invitation | CommitmentList | RevealRequest | OpenRequest

EXPECTED: dict[AggregatorPhase, type[Message]] = {
    AggregatorPhase.COMMITMENTS: Commitment,
    AggregatorPhase.ENDORSEMENTS: Endorsement,
    AggregatorPhase.CONTRIBUTIONS: Contribution,
    AggregatorPhase.OPENINGS: Opening,
}
ORDER = list(AggregatorPhase)
OF_CONTRIBUTORS = (AggregatorPhase.COMMITMENTS, AggregatorPhase.CONTRIBUTIONS)


class Collecting:
    """Commitments, endorsements, contributions in their sum, and openings."""

    def __init__(
        self, parameters: RoundParameters, workers: int, progress: Progress | None, elsewhere: Elsewhere | None
    ) -> None:
        self.parameters = parameters
        self._lock = threading.RLock()
        self._phase = AggregatorPhase.COMMITMENTS
        self._excluded: dict[str, str] = {}
        self._workers, self._elsewhere = positive("workers", workers), elsewhere
        self._progress = progress
        self._commitments: dict[int, bytes] = {}
        self._listed = b""
        self._endorsements: dict[int, bytes] = {}
        self._accepted: set[int] = set()
        self._sum: Accumulator | None = None
        self._product: EncryptedVector | None = None
        self._context = b""
        self._openings: dict[int, Opening] = {}
        self._result: PaillierResult | None = None

    @property
    def ended(self) -> bool:
        """Whether the round has completed or was aborted."""
        return self._phase in (AggregatorPhase.COMPLETED, AggregatorPhase.ABORTED)

    @property
    def request(self) -> Request | None:
        """The typed message of this phase, the same for all recipients; None once the round has ended."""
        parameters = self.parameters
        with self._lock:
            match self._phase:
                case AggregatorPhase.COMMITMENTS:
                    return Invitation(parameters.session)
                case AggregatorPhase.ENDORSEMENTS:
                    return CommitmentList(parameters.session, dict(self._commitments))
                case AggregatorPhase.CONTRIBUTIONS:
                    return RevealRequest(parameters.session, dict(self._commitments), dict(self._endorsements))
                case AggregatorPhase.OPENINGS:
                    return OpenRequest(parameters.session, sorted(self._accepted), self._context)
                case _:
                    return None

    def take_batch(self, messages: Mapping[int, Message]) -> dict[int, PeerError]:
        """Take typed messages of this phase, by their senders' numbers, for auditors and vectors.

        Returns:
            sender -> why its message was refused.
        """
        with self._lock:
            if self.ended:
                raise StateError(f"the round is {self._phase}")
            rejected: dict[int, PeerError] = {}
            contributions: dict[int, Contribution] = {}
            for sender, message in messages.items():
                try:
                    self._check_sender(sender, message)
                    if isinstance(message, Contribution):
                        contributions[sender] = message
                    else:
                        self._take(sender, message)
                except PeerError as error:
                    rejected[sender] = error
            if contributions and self._sum is not None:
                rejected |= add_contributions(
                    self.parameters,
                    self._sum,
                    self._commitments,
                    self._accepted,
                    contributions,
                    workers=self._workers,
                    elsewhere=self._elsewhere,
                )
            return rejected

    def close(self) -> None:
        """End the worker processes, if the session is given up before its end."""
        if self._sum is not None:
            self._sum.close()

    @property
    def _roster(self) -> Participants:
        """Who speaks in this phase: the contributors or the committee."""
        parameters = self.parameters
        return parameters.contributors if self._phase in OF_CONTRIBUTORS else parameters.members

    @property
    def _speakers(self) -> Collection[int]:
        match self._phase:
            case AggregatorPhase.COMMITMENTS:
                return self.parameters.contributor_keys
            case AggregatorPhase.ENDORSEMENTS:
                return self.parameters.member_keys
            case AggregatorPhase.CONTRIBUTIONS:
                return self._commitments
            case AggregatorPhase.OPENINGS:
                return self._endorsements
            case _:
                return ()

    @property
    def _heard(self) -> Collection[int]:
        match self._phase:
            case AggregatorPhase.COMMITMENTS:
                return self._commitments
            case AggregatorPhase.ENDORSEMENTS:
                return self._endorsements
            case AggregatorPhase.CONTRIBUTIONS:
                return self._accepted
            case AggregatorPhase.OPENINGS:
                return self._openings
            case _:
                return ()

    def _check_sender(self, sender: int, message: Message) -> None:
        if sender not in self._roster.numbered_keys():
            raise UnexpectedMessage("a message from a stranger", culprits={sender})
        if not isinstance(message, EXPECTED[self._phase]) or message.session != self.parameters.session:
            raise UnexpectedMessage(
                f"a message of another session or phase: {self._phase} are expected", culprits={sender}
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
        self._sum = accumulator_of(self.parameters, self._workers, elsewhere=self._elsewhere)

    def _request_openings(self) -> None:
        self._check_enough(self._accepted, self.parameters.min_contributors, "contributions arrived")
        if self._sum is None:
            raise StateError("there is no sum")
        with self._sum as accumulator:
            self._keep(accumulator.product())

    def _keep(self, product: EncryptedVector) -> None:
        self._product = product
        self._context = self.parameters.sum_digest(self._listed, self._accepted, product)

    def _finish(self) -> None:
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
        _check_weight(parameters.codec, levels, total_weight, len(self._accepted))
        self._result = self._result_of(levels, total_weight, parameters.members.named(opened.liars))

    def _result_of(self, levels: Levels, total_weight: int, liars: frozenset[str]) -> PaillierResult:
        return PaillierResult(
            survivors=self.parameters.contributors.named(self._accepted),
            total_weight=total_weight,
            levels=levels,
            sums=levels / self.parameters.codec.scale,
            excluded=dict(self._excluded),
            liars=liars,
        )

    def _check_enough(self, have: Mapping[int, Any] | set[int], needed: int, what: str) -> None:
        if len(have) < needed:
            raise ThresholdError(f"{len(have)} {what}, but {needed} are needed", needed=needed, have=len(have))


def _check_weight(codec: FixedPoint, levels: Levels, total_weight: int, num_summands: int) -> None:
    """Raise EncodingError where no weights of so many contributors, or no values of so much weight, sum to this."""
    if not 0 <= total_weight <= codec.max_weight * num_summands:
        raise EncodingError(
            f"the weights of {num_summands} contributors sum to {total_weight}, but must to 0 at least and "
            f"{codec.max_weight * num_summands} at most: a contributor has encrypted something else"
        )
    reach = codec.max_level * total_weight
    if levels.min() < -reach or levels.max() > reach:
        at = int(np.flatnonzero((levels < -reach) | (levels > reach))[0])
        raise EncodingError(
            f"the sum at index {at} is beyond {reach}, which values of a total weight of {total_weight} cannot reach: "
            "a contributor has encrypted something else",
            index=(at,),
        )


def _store(table: dict[int, Any], sender: int, value: Any) -> None:
    if sender in table:
        raise UnexpectedMessage("a second message in one phase", culprits={sender})
    table[sender] = value
