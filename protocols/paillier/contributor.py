"""The contributor of Paillier summation: a client with an update. A machine without I/O.

Contributors commit to their encrypted updates before anyone shows one, so that no update can be made from
another's.
"""

from __future__ import annotations

from typing import final

import numpy as np

from secagg.encoding import Floats
from secagg.errors import ContradictoryRequest, EncodingError, ParameterError, StateError
from secagg.paillier import NoisePool, ShortExponents, encrypt, encrypt_and_prove
from secagg.paillier.integers import Progress
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import Identity

from ..core import dumps
from ..core.machine import GivenInputs, take_inputs
from .contributions import check_endorsements
from .messages import Commitment, Contribution, Invitation, Message, RevealRequest
from .parameters import RoundParameters
from .role import Role
from .state import ContributorState, EncryptedUpdate, Phase, load

UPDATE = "update"
"""The name of the one vector of a round, among a contributor's inputs."""


def encrypt_update(
    parameters: RoundParameters,
    name: str,
    values: Floats,
    noise: NoisePool,
    *,
    weight: int = 1,
    random: RandomBytes = SYSTEM,
    progress: Progress | None = None,
) -> EncryptedUpdate:
    """Encode and encrypt a contributor's update, floats (length,) times an integer weight, and prove that it knows it.

    Args:
        parameters: the round's.
        name: the contributor's.
        values: the update.
        noise: encrypted zeros for the round's key.
        weight: 0 to the encoding's max_weight.
        random: where rounding and the proof come from.
        progress: told of every ciphertext.

    Raises:
        ParameterError: the noise is of another key, or nobody contributes by that name.
        EncodingError: not floats of that shape, not finite, the weight is out of range, or not 1 in a round without
            weights.
    """
    if noise.public_key != parameters.key.public_key:
        raise ParameterError("the noise is for another key than the round's")
    residues, num_clipped = parameters.codec.encode(values, weight=weight, random=random)
    if residues.size != parameters.length:
        raise EncodingError(f"an update has {residues.size} numbers, but must have {parameters.length}")
    if not parameters.weighted and weight != 1:
        raise EncodingError("this round is not weighted: leave the weight 1, or raise max_weight for everyone")
    if parameters.weighted:
        residues = np.append(residues, residues.dtype.type(weight))
    lanes, context = parameters.lanes, parameters.knowledge_context(parameters.contributors.number(name))
    if parameters.key.one_session_without_proofs:
        return EncryptedUpdate(encrypt(residues, lanes, noise, progress=progress), b"", num_clipped)
    proven = encrypt_and_prove(residues, lanes, noise, context=context, random=random, progress=progress)
    return EncryptedUpdate(*proven, num_clipped)


@final
class Contributor(Role):
    """A client with an update.

    Args:
        parameters: the round's.
        name: this client's.
        identity: its Ed25519 identity, the public half of which is in the parameters.
        noise: encrypted zeros for the round's key; made when they are needed when None.
        random: where rounding and the proof come from, and noise that is made here.

    Attributes:
        num_clipped: how many numbers of the update the encoding's clip has changed, once it is encrypted. Nobody else
            is told: the sum alone does not show it.

    Raises:
        ParameterError: the identity is not the one in the parameters.
    """

    def __init__(
        self,
        parameters: RoundParameters,
        name: str,
        identity: Identity,
        *,
        noise: NoisePool | None = None,
        random: RandomBytes = SYSTEM,
    ) -> None:
        super().__init__(parameters)
        if name not in parameters.contributors or parameters.contributors.keys[name] != identity.public_bytes:
            raise ParameterError(f"contributor {name!r} has another identity in this round, or no part in it")
        self.contributor = parameters.contributors.number(name)
        self._identity = identity
        self._noise = noise
        self._random = random
        self._name = name
        self._update: EncryptedUpdate | None = None
        self.num_clipped = 0

    def _respond(self, message: Message, inputs: GivenInputs | None) -> Message:
        if isinstance(message, Invitation) and self.phase is Phase.NEW:
            given = take_inputs(inputs if inputs is not None else {})
            if given.values.keys() != {UPDATE}:
                raise EncodingError(f"the round sums {UPDATE!r}, but {sorted(map(str, given.values))} were given")
            if self._noise is None:
                self._noise = NoisePool(ShortExponents(self.parameters.key.public_key, random=self._random))
            return self.commit_to(self._encrypted(given.values[UPDATE], self._noise, given.weight))
        if isinstance(message, RevealRequest) and self.phase is Phase.COMMITTED:
            return self.reveal(message)
        raise self._unexpected(message)

    def commit(self, values: Floats, noise: NoisePool, *, weight: int = 1) -> Commitment:
        """Encrypt the update and commit to it. Raises as `encrypt_update`."""
        with self._step(Phase.NEW, Phase.NEW):
            update = self._encrypted(values, noise, weight)
        return self.commit_to(update)

    def commit_to(self, update: EncryptedUpdate) -> Commitment:
        """Commit to an update that `encrypt_update` encrypted before, in another process perhaps."""
        with self._step(Phase.NEW, Phase.COMMITTED):
            self._update, self.num_clipped = update, update.num_clipped
            contribution_digest = self.parameters.contribution_digest(self.contributor, update.vector, update.proof)
            return self._say(Commitment(self.parameters.session, contribution_digest))

    def _encrypted(self, values: Floats, noise: NoisePool, weight: int) -> EncryptedUpdate:
        return encrypt_update(self.parameters, self._name, values, noise, weight=weight, random=self._random)

    def reveal(self, request: RevealRequest) -> Contribution:
        """Check that a quorum of members stands by one list of commitments, and show the encrypted update.

        Raises:
            UnexpectedMessage: another session, or a list with strangers or of too few; nothing changes.
            ContradictoryRequest: this client's commitment is not on the list as it was made.
            AuthenticationFailed: an endorsement does not verify; its member is the culprit.
            ThresholdError: too few endorsements.
        """
        parameters = self.parameters
        with self._alone():
            self._due(Phase.COMMITTED)
            parameters.check_session(request)
            parameters.check_commitments(request.commitments)
        with self._step(Phase.COMMITTED, Phase.COMPLETED):
            update, self._update = self._update, None
            if update is None:
                raise StateError("there is no update to reveal")
            vector = update.vector
            contribution_digest = parameters.contribution_digest(self.contributor, vector, update.proof)
            if request.commitments.get(self.contributor) != contribution_digest:
                raise ContradictoryRequest("the list of commitments has another one of this contributor, or none")
            listed = parameters.commitments_digest(request.commitments)
            check_endorsements(parameters, listed, request.endorsements)
            text = parameters.contribution_text(self.contributor, listed, contribution_digest)
            answer = Contribution(
                parameters.session,
                contributor=self.contributor,
                commitments_digest=listed,
                fingerprint=vector.fingerprint,
                lane_bits=vector.lane_bits,
                length=vector.length,
                num_addends=vector.num_addends,
                ciphertexts=vector.data,
                proof=update.proof,
                signature=self._identity.sign(text),
            )
            return self._say(answer)

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process, but for parameters and identity.

        It holds the encrypted update, not the update.
        """
        with self._alone():
            update = self._update if self.phase is Phase.COMMITTED else None
            session = self.parameters.session
            state = ContributorState(
                session, self.contributor, self.phase, update, self._request, self._answer, self.num_clipped
            )
            return dumps.encode_state(state)

    @classmethod
    def load(
        cls,
        dumped: bytes,
        parameters: RoundParameters,
        identity: Identity,
        *,
        noise: NoisePool | None = None,
        random: RandomBytes = SYSTEM,
    ) -> Contributor:
        """Restore what `dump` returned; the other arguments as on construction.

        Raises:
            StateError: the bytes are no dump of this kind and version, damaged, or of another round.
            ParameterError: the identity is not the one in the parameters.
        """
        state = load(dumped, ContributorState, parameters)
        name = parameters.contributors.name(state.contributor)
        contributor = cls(parameters, name, identity, noise=noise, random=random)
        contributor.phase, contributor._update = state.phase, state.update
        contributor._request, contributor._answer = state.request, state.answer
        contributor.num_clipped = state.num_clipped
        return contributor
