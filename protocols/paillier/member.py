"""The two client roles of Paillier summation: contributors, and members of the committee. Machines without I/O.

Contributors commit to their encrypted updates before anyone shows one, so that no update can be made from another's;
members endorse one list of commitments, add the revealed updates themselves, and open that sum and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar, final

import numpy as np

from secagg import signatures
from secagg.encoding import Floats
from secagg.errors import (
    AuthenticationFailed,
    ContradictoryRequest,
    ParameterError,
    PeerError,
    StateError,
    ThresholdError,
    UnexpectedMessage,
)
from secagg.paillier import Accumulator, EncryptedVector, KeyShare, NoisePool, encrypt, open_partially
from secagg.paillier.integers import Progress
from secagg.signatures import Identity

from ..core import dumps
from .messages import Commitment, CommitmentList, Contribution, Endorsement, Opening, OpenRequest, RevealRequest, encode
from .parameters import RoundParameters
from .state import ContributorState, MemberState, Phase, accumulator_of, load, product_of

A = TypeVar("A", Commitment, Contribution, Endorsement, Opening)


class _Role:
    """What both roles share: a phase, and steps that succeed or end the round for this party."""

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


def encrypt_update(
    parameters: RoundParameters, values: Floats, noise: NoisePool, *, weight: int = 1, progress: Progress | None = None
) -> EncryptedVector:
    """Encode and encrypt a contributor's update: floats (length,) times an integer weight.

    Raises:
        ParameterError: the noise is of another key.
        EncodingError: not floats of that shape, not finite, or the weight is out of range.
    """
    if noise.public_key != parameters.key.public_key:
        raise ParameterError("the noise is for another key than the round's")
    residues = parameters.codec.encode(values, weight=weight).residues
    if parameters.weighted:
        residues = np.append(residues, residues.dtype.type(weight))
    return encrypt(residues, parameters.lanes, noise, progress=progress)


@final
class Contributor(_Role):
    """A client with an update.

    Args:
        parameters: the round's.
        contributor: this client's id.
        identity: its Ed25519 identity, the public half of which is in the parameters.

    Raises:
        ParameterError: the identity is not the one in the parameters.
    """

    def __init__(self, parameters: RoundParameters, contributor: int, identity: Identity) -> None:
        super().__init__(parameters)
        if parameters.contributors.get(contributor) != identity.public_bytes:
            raise ParameterError(f"contributor {contributor} has another identity in this round, or no part in it")
        self.contributor = contributor
        self._identity = identity
        self._vector: EncryptedVector | None = None

    def commit(self, values: Floats, noise: NoisePool, *, weight: int = 1) -> Commitment:
        """Encrypt the update and commit to it. Raises as `encrypt_update`."""
        with self._step(Phase.NEW, Phase.NEW):
            vector = encrypt_update(self.parameters, values, noise, weight=weight)
        return self.commit_to(vector)

    def commit_to(self, vector: EncryptedVector) -> Commitment:
        """Commit to an update that `encrypt_update` encrypted before, in another process perhaps."""
        with self._step(Phase.NEW, Phase.COMMITTED):
            self._vector = vector
            contribution_digest = self.parameters.contribution_digest(self.contributor, vector)
            return self._say(Commitment(self.parameters.session, contribution_digest))

    def reveal(self, request: RevealRequest) -> Contribution:
        """Check that a quorum of members stands by one list of commitments, and show the encrypted update.

        Raises:
            UnexpectedMessage: another session, or a list with strangers or of too few.
            ContradictoryRequest: this client's commitment is not on the list as it was made.
            AuthenticationFailed: an endorsement does not verify; its member is the culprit.
            ThresholdError: too few endorsements.
        """
        parameters = self.parameters
        with self._step(Phase.COMMITTED, Phase.COMPLETED):
            vector, self._vector = self._vector, None
            if vector is None:
                raise StateError("there is no update to reveal")
            parameters.check_session(request)
            parameters.check_commitments(request.commitments)
            contribution_digest = parameters.contribution_digest(self.contributor, vector)
            if request.commitments.get(self.contributor) != contribution_digest:
                raise ContradictoryRequest("the list of commitments has another one of this contributor, or none")
            listed = parameters.commitments_digest(request.commitments)
            _check_endorsements(parameters, listed, request.endorsements)
            text = parameters.contribution_text(self.contributor, listed, contribution_digest)
            answer = Contribution(
                parameters.session,
                commitments_digest=listed,
                fingerprint=vector.fingerprint,
                lane_bits=vector.lane_bits,
                length=vector.length,
                num_addends=vector.num_addends,
                ciphertexts=vector.data,
                signature=self._identity.sign(text),
            )
            return self._say(answer)

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process, but for parameters and identity.

        It holds the encrypted update, not the update.
        """
        with self._alone():
            vector = self._vector if self.phase is Phase.COMMITTED else None
            state = ContributorState(self.parameters.session, self.contributor, self.phase, vector, self._answer)
            return dumps.seal(state)

    @classmethod
    def load(cls, dumped: bytes, parameters: RoundParameters, identity: Identity) -> Contributor:
        """Restore what `dump` returned; the other arguments as on construction.

        Raises:
            StateError: the bytes are no dump of this kind and version, damaged, or of another round.
            ParameterError: the identity is not the one in the parameters.
        """
        state = load(dumped, ContributorState, parameters)
        contributor = cls(parameters, state.contributor, identity)
        contributor.phase, contributor._vector, contributor._answer = state.phase, state.vector, state.answer
        return contributor


def check_endorsement(parameters: RoundParameters, member: int, listed: bytes, signature: bytes) -> None:
    """Raise AuthenticationFailed, naming the member, unless it signed the list of commitments with this hash."""
    try:
        signatures.verify(parameters.members[member], parameters.endorsement_text(member, listed), signature)
    except (AuthenticationFailed, KeyError):
        raise AuthenticationFailed("an endorsement does not verify", culprits={member}) from None


def _check_endorsements(parameters: RoundParameters, listed: bytes, endorsements: Mapping[int, bytes]) -> None:
    for member, signature in endorsements.items():
        check_endorsement(parameters, member, listed, signature)
    if len(endorsements) < parameters.key.threshold:
        raise ThresholdError(
            f"{len(endorsements)} members endorse the commitments, but {parameters.key.threshold} are needed",
            needed=parameters.key.threshold,
            have=len(endorsements),
        )


@final
class CommitteeMember(_Role):
    """A holder of one key share. It adds what contributors signed by itself, and opens that sum once.

    Args:
        parameters: the round's.
        share: this member's.
        identity: its Ed25519 identity, the public half of which is in the parameters.
        workers: processes for the sum and threads for the opening.

    Raises:
        ParameterError: share or identity are not those in the parameters.

    Security: the machine opens one sum; that no second machine is started for the same session is its owner's duty.
    """

    def __init__(self, parameters: RoundParameters, share: KeyShare, identity: Identity, *, workers: int = 1) -> None:
        super().__init__(parameters)
        if share.key != parameters.key or parameters.members[share.member] != identity.public_bytes:
            raise ParameterError("the key share or the identity is not of this round's committee")
        self.member = share.member
        self._share: KeyShare | None = share
        self._identity = identity
        self._workers = workers
        self._commitments: dict[int, bytes] = {}
        self._accepted: set[int] = set()
        self._sum: Accumulator | None = None

    def endorse(self, request: CommitmentList) -> Endorsement:
        """Stand by a list of commitments: the only one, for this member.

        Raises:
            UnexpectedMessage: another session, or a list with strangers or of too few.
        """
        parameters = self.parameters
        with self._step(Phase.NEW, Phase.ENDORSED):
            parameters.check_session(request)
            parameters.check_commitments(request.commitments)
            self._commitments = dict(request.commitments)
            self._sum = accumulator_of(parameters, self._workers)
            listed = parameters.commitments_digest(self._commitments)
            signature = self._identity.sign(parameters.endorsement_text(self.member, listed))
            return self._say(Endorsement(parameters.session, listed, signature))

    def receive(self, contributor: int, contribution: Contribution) -> None:
        """Check a contribution as its author signed it, and add it.

        Raises:
            PeerError: it is refused, its author is the culprit, and the sum is as it was. See `receive_batch`.
        """
        rejected = self.receive_batch({contributor: contribution})
        if rejected:
            raise rejected[contributor]

    def receive_batch(self, contributions: Mapping[int, Contribution]) -> dict[int, PeerError]:
        """Check contributions and add the sound ones, cheaper together. Returns author -> why it was refused."""
        with self._alone():
            if self.phase is not Phase.ENDORSED or self._sum is None:
                raise StateError(f"contributions follow the endorsement, but the round is {self.phase.value}")
            return add_contributions(self.parameters, self._sum, self._commitments, self._accepted, contributions)

    def close(self) -> None:
        """Give the round up, and end the worker processes."""
        if self.phase is not Phase.COMPLETED:
            self.phase = Phase.ABORTED
        self._share = None
        if self._sum is not None:
            self._sum.close()

    def open(self, request: OpenRequest, *, progress: Progress | None = None) -> Opening:
        """Do this member's part in opening the sum of what it accepted, if that is what is asked for.

        Raises:
            UnexpectedMessage: another session.
            ContradictoryRequest: another set of contributors or another sum than this member has, too few of them, or
                one of them twice.
        """
        parameters = self.parameters
        with self._step(Phase.ENDORSED, Phase.COMPLETED):
            share, self._share = self._share, None
            if share is None or self._sum is None:
                raise StateError("there is nothing to open")
            with self._sum as accumulator:
                parameters.check_session(request)
                asked = set(request.contributors)
                if len(asked) != len(request.contributors) or asked != self._accepted:
                    raise ContradictoryRequest(
                        f"asked to open a sum of {len(request.contributors)} contributors that are not exactly the "
                        f"{len(self._accepted)} that this member accepted"
                    )
                if len(asked) < parameters.min_contributors:
                    raise ContradictoryRequest(
                        f"asked to open a sum of {len(asked)}, but none of fewer than {parameters.min_contributors} is"
                    )
                product = accumulator.product()
            listed = parameters.commitments_digest(self._commitments)
            context = parameters.sum_digest(listed, asked, product)
            if context != request.sum_digest:
                raise ContradictoryRequest("asked to open another sum than that of the contributions")
            partial = open_partially(
                share, product, parameters.lanes, context=context, workers=self._workers, progress=progress
            )
            response = partial.proof.response
            answer = Opening(
                parameters.session,
                sum_digest=context,
                roots=partial.roots,
                challenge=partial.proof.challenge,
                response=response.to_bytes((response.bit_length() + 7) // 8, "big"),
            )
            return self._say(answer)

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process, but for parameters, key share and identity.

        Security: keep it before the endorsement or the opening that it follows leaves. Restore a dump once, and never
        an older one than the last answer: a second endorsement or opening could tell two sums apart by one update.
        """
        with self._alone():
            session, phase = self.parameters.session, self.phase
            if phase is not Phase.ENDORSED:
                return dumps.seal(MemberState(session, self.member, phase, self._answer))
            accepted, product = frozenset(self._accepted), product_of(self._sum)
            state = MemberState(session, self.member, phase, self._answer, self._commitments, accepted, product)
            return dumps.seal(state)

    @classmethod
    def load(
        cls, dumped: bytes, parameters: RoundParameters, share: KeyShare, identity: Identity, *, workers: int = 1
    ) -> CommitteeMember:
        """Restore what `dump` returned; the other arguments as on construction.

        Raises:
            StateError: the bytes are no dump of this kind and version, damaged, or of another round or member.
            ParameterError: share or identity are not those in the parameters.
        """
        state = load(dumped, MemberState, parameters)
        member = cls(parameters, share, identity, workers=workers)
        if state.member != member.member:
            raise StateError(f"the dump is of member {state.member}, not {member.member}")
        if state.phase is Phase.ENDORSED:
            member._commitments, member._accepted = state.commitments, set(state.accepted)
            member._sum = accumulator_of(parameters, workers, state.product, state.accepted)
        elif state.phase is not Phase.NEW:
            member._share = None
        member.phase, member._answer = state.phase, state.answer
        return member


def add_contributions(
    parameters: RoundParameters,
    accumulator: Accumulator,
    commitments: Mapping[int, bytes],
    accepted: set[int],
    contributions: Mapping[int, Contribution],
) -> dict[int, PeerError]:
    """Check contributions, add the sound ones to the sum and their authors to `accepted`; aggregator and members do it.

    Returns:
        author -> why its contribution was refused.
    """
    rejected: dict[int, PeerError] = {}
    vectors: dict[int, EncryptedVector] = {}
    for author, contribution in contributions.items():
        try:
            if author in accepted:
                raise UnexpectedMessage("a second contribution", culprits={author})
            vectors[author] = parameters.check_contribution(author, contribution, commitments)
        except PeerError as error:
            rejected[author] = error
    refused: Mapping[int, PeerError] = accumulator.add_batch(vectors)
    accepted.update(vectors.keys() - refused.keys())
    return rejected | dict(refused)
