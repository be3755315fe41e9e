"""What the aggregator and the members of the committee both check and add."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from secagg import signatures
from secagg.errors import AuthenticationFailed, PeerError, ThresholdError, UnexpectedMessage
from secagg.paillier import Accumulator, Part, PublicKey

from .messages import Contribution
from .parameters import RoundParameters


class Elsewhere(Protocol):
    """Other machines that check contributions and multiply them. All that they are given has crossed the network."""

    def parts(self, parameters: RoundParameters) -> int:
        """Return how many runs of positions a sum has."""

    def part(self, public_key: PublicKey, count: int, max_addends: int) -> Part:
        """Return what computes one of them; as `Accumulator` takes it."""

    def check(
        self, parameters: RoundParameters, commitments: Mapping[int, bytes], contributions: Mapping[int, Contribution]
    ) -> dict[int, PeerError]:
        """Do what `check_all` does."""


def check_endorsement(parameters: RoundParameters, member: int, listed: bytes, signature: bytes) -> None:
    """Raise AuthenticationFailed, naming the member, unless it signed the list of commitments with this hash."""
    try:
        signatures.verify(parameters.member_keys[member], parameters.endorsement_text(member, listed), signature)
    except (AuthenticationFailed, KeyError):
        raise AuthenticationFailed("an endorsement does not verify", culprits={member}) from None


def check_endorsements(parameters: RoundParameters, listed: bytes, endorsements: Mapping[int, bytes]) -> None:
    """Raise AuthenticationFailed, naming a member that did not sign, or ThresholdError where too few did."""
    for member, signature in endorsements.items():
        check_endorsement(parameters, member, listed, signature)
    if len(endorsements) < parameters.key.threshold:
        raise ThresholdError(
            f"{len(endorsements)} members endorse the commitments, but {parameters.key.threshold} are needed",
            needed=parameters.key.threshold,
            have=len(endorsements),
        )


def check_all(
    parameters: RoundParameters,
    commitments: Mapping[int, bytes],
    contributions: Mapping[int, Contribution],
    *,
    workers: int = 1,
) -> dict[int, PeerError]:
    """Return author -> why its contribution is refused, with the author as the culprit."""

    def checked(author: int) -> PeerError | None:
        try:
            parameters.check_contribution(author, contributions[author], commitments)
        except PeerError as error:
            return error
        return None

    with ThreadPoolExecutor(workers) as threads:  # on the vector unit, proofs are checked beside one another
        outcomes = dict(zip(contributions, threads.map(checked, contributions), strict=True))
    return {author: error for author, error in outcomes.items() if error is not None}


def add_contributions(
    parameters: RoundParameters,
    accumulator: Accumulator,
    commitments: Mapping[int, bytes],
    accepted: set[int],
    contributions: Mapping[int, Contribution],
    *,
    workers: int = 1,
    elsewhere: Elsewhere | None = None,
    relayed: bool = False,
) -> dict[int, PeerError]:
    """Check contributions, add the sound ones to the sum and their authors to `accepted`; aggregator and members do it.

    Where they were relayed, an author is named for nothing but what it has signed.

    Returns:
        author -> why its contribution was refused.
    """
    fresh = {author: contribution for author, contribution in contributions.items() if author not in accepted}
    rejected: dict[int, PeerError] = {
        author: UnexpectedMessage("a second contribution", culprits={author})
        for author in contributions.keys() & accepted
    }
    if elsewhere is None:
        rejected |= check_all(parameters, commitments, fresh, workers=workers)
    else:
        rejected |= elsewhere.check(parameters, commitments, fresh)
    if relayed:
        for author, error in rejected.items():
            signed = not isinstance(error, UnexpectedMessage) and parameters.is_signed(author, contributions[author])
            rejected[author] = error if signed else type(error)(error.reason)
    vectors = {author: contributions[author].vector() for author in fresh if author not in rejected}
    refused: Mapping[int, PeerError] = accumulator.add_batch(vectors)
    accepted.update(vectors.keys() - refused.keys())
    return rejected | dict(refused)
