"""The members of the committee of Paillier summation: machines without I/O.

Members endorse one list of commitments, add the revealed updates themselves, and open that sum and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import final

from secagg.errors import ContradictoryRequest, ParameterError, PeerError, StateError, UnexpectedMessage
from secagg.paillier import Accumulator, KeyShare, open_partially
from secagg.paillier.integers import Progress, positive
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import Identity

from ..core import dumps
from ..core.machine import GivenInputs
from .contributions import Elsewhere, add_contributions
from .key_use import Remembers
from .messages import CommitmentList, Contribution, Endorsement, Message, Opening, OpenRequest, decode
from .parameters import RoundParameters
from .role import Role
from .state import MemberState, Phase, accumulator_of, load, product_of


@final
class CommitteeMember(Role):
    """A holder of one key share. It adds what contributors signed by itself, and opens that sum once.

    Args:
        parameters: the round's.
        share: this member's.
        identity: its Ed25519 identity, the public half of which is in the parameters.
        workers: threads for the sum and the opening.
        random: where the proof of an opening comes from.
        key_use: remembers the one session of a key that was dealt for one, durably: a `KeyUse`.
        elsewhere: other machines that check and add contributions, which this member must trust to do so; its key share
            stays here. This one when None.

    Raises:
        ParameterError: share or identity are not those in the parameters, a `key_use` is missing, or workers is no
            positive integer.

    Security: the machine opens one sum; that no second machine is started for the same session is its owner's duty.
    """

    def __init__(
        self,
        parameters: RoundParameters,
        share: KeyShare,
        identity: Identity,
        *,
        workers: int = 1,
        random: RandomBytes = SYSTEM,
        key_use: Remembers | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        super().__init__(parameters)
        if share.key != parameters.key or parameters.member_keys[share.member] != identity.public_bytes:
            raise ParameterError("the key share or the identity is not of this round's committee")
        once = parameters.key.one_session_without_proofs
        if once and key_use is None:
            raise ParameterError(
                "the key was dealt for one session without proofs: give a key_use, so that the member remembers which"
            )
        self.member = share.member
        self._key_use = key_use if once else None
        self._share: KeyShare | None = share
        self._identity = identity
        self._workers, self._elsewhere = positive("workers", workers), elsewhere
        self._random = random
        self._commitments: dict[int, bytes] = {}
        self._accepted: set[int] = set()
        self._sum: Accumulator | None = None

    def _respond(self, message: Message, inputs: GivenInputs | None) -> Message | None:
        if isinstance(message, CommitmentList) and self.phase is Phase.NEW:
            return self.endorse(message)
        if isinstance(message, OpenRequest) and self.phase is Phase.ENDORSED:
            return self.open(message)
        if isinstance(message, Contribution) and self.phase is Phase.ENDORSED:
            if message.contributor not in self._accepted:  # relayed once more, it changes nothing
                self.receive(message.contributor, message)
            return None
        raise self._unexpected(message)

    def respond_many(self, relayed: Iterable[bytes]) -> dict[int, PeerError]:
        """Take in contributions that were relayed, cheaper together than one by one.

        Returns:
            author's number -> why its contribution was refused; those that are no contributions at all are under 0.
        """
        with self._alone():
            refused: dict[int, PeerError] = {}
            fresh: dict[int, Contribution] = {}
            for data in relayed:
                try:
                    contribution = decode(data, Contribution, max_bytes=self.parameters.max_message_bytes)
                except PeerError as error:
                    refused[0] = error
                    continue
                if contribution.contributor in fresh:  # one of the two is not what was committed to
                    refused |= self.receive_batch(fresh)
                    fresh = {}
                if contribution.contributor not in self._accepted:
                    fresh[contribution.contributor] = contribution
            return refused | self.receive_batch(fresh)

    def endorse(self, request: CommitmentList) -> Endorsement:
        """Stand by a list of commitments: the only one, for this member.

        Raises:
            UnexpectedMessage: another session, or a list with strangers or of too few; nothing changes.
            StateError: the key was dealt for one session, and served another.
        """
        parameters = self.parameters
        with self._alone():
            self._due(Phase.NEW)
            parameters.check_session(request)
            parameters.check_commitments(request.commitments)
        with self._step(Phase.NEW, Phase.ENDORSED):
            if self._key_use is not None:
                self._key_use.claim(parameters.key.digest(), self.member, parameters.session)
            self._commitments = dict(request.commitments)
            self._sum = accumulator_of(parameters, self._workers, elsewhere=self._elsewhere)
            listed = parameters.commitments_digest(self._commitments)
            signature = self._identity.sign(parameters.endorsement_text(self.member, listed))
            return self._say(Endorsement(parameters.session, listed, signature))

    def receive(self, contributor: int, contribution: Contribution) -> None:
        """Check a contribution as its author signed it, and add it.

        Raises:
            PeerError: it is refused, and the sum is as it was. Its author is the culprit of what it has signed; for all
                else, whoever relayed it may be to blame. See `receive_batch`.
        """
        rejected = self.receive_batch({contributor: contribution})
        if rejected:
            raise rejected[contributor]

    def receive_batch(self, contributions: Mapping[int, Contribution]) -> dict[int, PeerError]:
        """Check contributions and add the sound ones, cheaper together. Returns author -> why it was refused.

        Raises:
            StateError: contributions are not due; nothing changes.

        Any other exception, such as an interrupt in the middle of the sum, ends the round for this member.
        """
        with self._alone():
            if self.phase is not Phase.ENDORSED or self._sum is None:
                raise StateError(f"contributions follow the endorsement, but the round is {self.phase.value}")
            try:
                return add_contributions(
                    self.parameters,
                    self._sum,
                    self._commitments,
                    self._accepted,
                    contributions,
                    workers=self._workers,
                    elsewhere=self._elsewhere,
                    relayed=True,
                )
            except BaseException:  # an interrupt, too, must leave no contribution half added
                self.close()
                raise

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
            UnexpectedMessage: another session, or more contributors than this member has, each of whom has committed:
                some were not relayed, or lost in a restart; nothing changes.
            ContradictoryRequest: another set of contributors or another sum than this member has, too few of them, one
                of them twice, or in another order than that of their numbers.
        """
        parameters = self.parameters
        with self._alone():
            self._due(Phase.ENDORSED)
            parameters.check_session(request)
            if self._accepted < set(request.contributors) <= self._commitments.keys():
                raise UnexpectedMessage(
                    f"asked to open a sum of {len(request.contributors)}, but {len(self._accepted)} were relayed to "
                    "this member: relay the others again, then ask again"
                )
        with self._step(Phase.ENDORSED, Phase.COMPLETED):
            share, self._share = self._share, None
            if share is None or self._sum is None:
                raise StateError("there is nothing to open")
            with self._sum as accumulator:
                asked = request.contributors
                if asked != sorted(self._accepted):
                    raise ContradictoryRequest(
                        f"asked to open a sum of {len(asked)} contributors that are not exactly the "
                        f"{len(self._accepted)} that this member accepted, in their order"
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
                share,
                product,
                parameters.lanes,
                context=context,
                workers=self._workers,
                progress=progress,
                random=self._random,
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

        Keep it after each contribution that was relayed, too, before whoever relays may forget it: without it, this
        member cannot open.

        Security: keep it before the endorsement or the opening that it follows leaves. Restore a dump once, and never
        an older one than the last answer: a second endorsement or opening could tell two sums apart by one update.
        """
        with self._alone():
            session, phase = self.parameters.session, self.phase
            if phase is not Phase.ENDORSED:
                return dumps.encode_state(MemberState(session, self.member, phase, self._request, self._answer))
            accepted, product = frozenset(self._accepted), product_of(self._sum)
            state = MemberState(
                session, self.member, phase, self._request, self._answer, self._commitments, accepted, product
            )
            return dumps.encode_state(state)

    @classmethod
    def load(
        cls,
        dumped: bytes,
        parameters: RoundParameters,
        share: KeyShare,
        identity: Identity,
        *,
        workers: int = 1,
        random: RandomBytes = SYSTEM,
        key_use: Remembers | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> CommitteeMember:
        """Restore what `dump` returned; the other arguments as on construction.

        Raises:
            StateError: the bytes are no dump of this kind and version, damaged, or of another round or member.
            ParameterError: as on construction.
        """
        state = load(dumped, MemberState, parameters)
        member = cls(parameters, share, identity, workers=workers, random=random, key_use=key_use, elsewhere=elsewhere)
        if state.member != member.member:
            raise StateError(f"the dump is of member {state.member}, not {member.member}")
        if state.phase is Phase.ENDORSED:
            member._commitments, member._accepted = state.commitments, set(state.accepted)
            member._sum = accumulator_of(parameters, workers, state.product, state.accepted, elsewhere)
        elif state.phase is not Phase.NEW:
            member._share = None
        member.phase, member._request, member._answer = state.phase, state.request, state.answer
        return member
