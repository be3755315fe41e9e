"""What the aggregator and the members of the committee both check and add."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from secagg import signatures
from secagg.errors import AuthenticationFailed, PeerError, ThresholdError, UnexpectedMessage
from secagg.paillier import Accumulator, EncryptedVector

from .messages import Contribution
from .parameters import RoundParameters


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


def add_contributions(
    parameters: RoundParameters,
    accumulator: Accumulator,
    commitments: Mapping[int, bytes],
    accepted: set[int],
    contributions: Mapping[int, Contribution],
    *,
    workers: int = 1,
    relayed: bool = False,
) -> dict[int, PeerError]:
    """Check contributions, add the sound ones to the sum and their authors to `accepted`; aggregator and members do it.

    Where they were relayed, an author is named for nothing but what it has signed.

    Returns:
        author -> why its contribution was refused.
    """

    def checked(author: int) -> EncryptedVector | PeerError:
        try:
            if author in accepted:
                raise UnexpectedMessage("a second contribution", culprits={author})
            return parameters.check_contribution(author, contributions[author], commitments)
        except PeerError as error:
            signed = not isinstance(error, UnexpectedMessage) and parameters.is_signed(author, contributions[author])
            return type(error)(error.reason) if relayed and not signed else error

    rejected: dict[int, PeerError] = {}
    vectors: dict[int, EncryptedVector] = {}
    with ThreadPoolExecutor(workers) as threads:  # on the vector unit, proofs are checked beside one another
        for author, outcome in zip(contributions, threads.map(checked, contributions), strict=True):
            if isinstance(outcome, PeerError):
                rejected[author] = outcome
            else:
                vectors[author] = outcome
    refused: Mapping[int, PeerError] = accumulator.add_batch(vectors)
    accepted.update(vectors.keys() - refused.keys())
    return rejected | dict(refused)
