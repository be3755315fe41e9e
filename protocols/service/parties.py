"""How a member becomes a participant of a session: which role it plays, and what it checks of what is proposed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

from secagg.errors import (
    AuthenticationFailed,
    ContradictoryRequest,
    MalformedMessage,
    ParameterError,
    QueryRefused,
    SecAggError,
    UnexpectedMessage,
)
from secagg.paillier import KeyShare, NoisePool
from secagg.signatures import Identity

from ..core.machine import GivenInputs, Inputs, Participant, take_inputs
from ..core.participants import Participants
from ..masking.client import Client
from ..masking.policy import ClientPolicy, PrivacyDemand
from ..masking.transitions import ClientPhase
from ..paillier.contributor import Contributor
from ..paillier.key_use import Remembers
from ..paillier.member import CommitteeMember
from ..paillier.parameters import RoundParameters
from ..paillier.state import Phase
from ..statistics.site import Site
from .kept import Folder
from .sessions import Kind, Terms, Which

Answers = Mapping[str, "Callable[[Terms], GivenInputs] | Site"]
"""Kind of session -> a function from the terms to inputs, or a site, which answers queries. What is not in it is
refused. Functions are called in threads, once others are known to take part, and perhaps again after a crash."""


class InputsError(SecAggError):
    """Inputs could not be made; the text says only which kind of error it was, since others may hold values."""


class Party(Protocol):
    """Makes a member's participants.

    Attributes:
        once: whether a session that is over is remembered for good, since a second participant in it would be unsafe.
    """

    @property
    def once(self) -> bool:
        """See above."""

    def begin(self, terms: Terms) -> Participant:
        """Return a new participant; raise SecAggError where the terms are not met."""

    def restore(self, dumped: bytes, terms: Terms) -> Participant:
        """Return a participant from its dump."""

    def check(self, participant: Participant, terms: Terms) -> None:
        """Raise SecAggError if what the session proposes is not what its terms say."""

    def count(self, participant: Participant, session: str, folder: Folder) -> None:
        """Note durably what an answer that has not left yet costs; raise SecAggError where that is too much."""


@dataclass(frozen=True)
class MaskingParty:
    """A client of masking sessions.

    Args:
        name: the member's.
        policy: what it demands of sessions; a site's own where it answers queries by one.
        identity: signs in malicious-server sessions.
        participants: everyone with their public keys, known beforehand, for malicious-server sessions.
    """

    name: str
    policy: ClientPolicy | None = None
    identity: Identity | None = None
    participants: Participants | None = None

    @property
    def once(self) -> bool:
        """No: a client that begins anew has other masks, and no key that opened anything before."""
        return False

    def begin(self, terms: Terms) -> Participant:
        """Return a client."""
        _expect(terms, Which.MASKING)
        return Client(policy=self.policy, identity=self.identity, participants=self._known(terms))

    def restore(self, dumped: bytes, terms: Terms) -> Participant:
        """Return a client from its dump, which holds its policy."""
        _expect(terms, Which.MASKING)
        return Client.load(dumped, identity=self.identity, participants=self._known(terms))

    def check(self, participant: Participant, terms: Terms) -> None:
        """Compare the invitation with the terms, once it is there: the configuration, and who this client is."""
        if not isinstance(participant, Client) or participant.config is None:
            return
        if participant.config != terms.proposed:
            raise ContradictoryRequest("the session's configuration is not the one that its terms state")
        if Participants(terms.participants).name(participant.number) != self.name:
            raise ContradictoryRequest("the invitation is for another participant")

    def count(self, participant: Participant, session: str, folder: Folder) -> None:
        """Note a private session before this client's masked input leaves; no more than its policy has noise for.

        Raises:
            ParameterError: inputs were given in as many private sessions before, from this folder, or in some under
                another demand.
        """
        demand = None if self.policy is None else self.policy.privacy
        if demand is None or not isinstance(participant, Client) or participant.phase is not ClientPhase.MASKED:
            return
        if not folder.count_private(session, _said(demand), demand.rounds):
            raise ParameterError(
                f"this member's policy demands noise for {demand.rounds} rounds, and it has taken part in as many: "
                "what sums tell adds up. For data that were in none of them, take a new folder"
            )

    def _known(self, terms: Terms) -> Participants | None:
        """Return the session's participants with the keys that this member knows of them."""
        if self.participants is None:
            return None
        keys = self.participants.keys
        strangers = sorted(set(terms.participants) - keys.keys())
        if strangers:
            raise ParameterError(f"{strangers[0]!r:.60} takes part, but is not in the roster of this member")
        return Participants({name: keys[name] for name in terms.participants})


@dataclass(frozen=True)
class PaillierParty:
    """A contributor, or with a key share a committee member, of one Paillier round.

    Args:
        parameters: the round's, known beforehand: sessions with others are refused.
        name: the member's.
        identity: of the member, the public half of which is in the parameters.
        share: of the key, for the committee.
        key_use: remembers what the share was used for.
        noise: encrypted zeros for a contribution, made beforehand.
        told: called with how many numbers of its update the clip has changed, if it has, before that is committed to.
    """

    parameters: RoundParameters
    name: str
    identity: Identity
    share: KeyShare | None = None
    key_use: Remembers | None = None
    noise: NoisePool | None = None
    told: Callable[[int], None] = lambda num_clipped: None

    @property
    def once(self) -> bool:
        """Yes: a committee member that began anew could endorse a second list, and open a second sum of the round."""
        return True

    def begin(self, terms: Terms) -> Participant:
        """Return a contributor or member."""
        self._agree(terms)
        if self.share is None:
            return Contributor(self.parameters, self.name, self.identity, noise=self.noise)
        return CommitteeMember(self.parameters, self.share, self.identity, key_use=self.key_use)

    def restore(self, dumped: bytes, terms: Terms) -> Participant:
        """Return it from its dump."""
        self._agree(terms)
        if self.share is None:
            return Contributor.load(dumped, self.parameters, self.identity, noise=self.noise)
        return CommitteeMember.load(dumped, self.parameters, self.share, self.identity, key_use=self.key_use)

    def check(self, participant: Participant, terms: Terms) -> None:
        """Return: all is bound to the parameters that the member has."""

    def count(self, participant: Participant, session: str, folder: Folder) -> None:
        """Tell what was clipped. Nothing is to be noted: a member's parameters are of one round."""
        if isinstance(participant, Contributor) and participant.phase is Phase.COMMITTED and participant.num_clipped:
            self.told(participant.num_clipped)

    def _agree(self, terms: Terms) -> None:
        _expect(terms, Which.PAILLIER)
        proposed = terms.proposed
        if not isinstance(proposed, RoundParameters) or proposed.session != self.parameters.session:
            raise ParameterError("the session's parameters are not those that this member has")


def check_session(session: str, terms: Terms) -> None:
    """Return unless these are terms of a round that has an id of its own, and this is another.

    Raises:
        ContradictoryRequest: it is: one round would be several sessions, each with an answer of its own.
    """
    proposed = terms.proposed
    if isinstance(proposed, RoundParameters) and proposed.session.hex() != session:
        raise ContradictoryRequest("the session is not the round that its parameters are of")


def changed_nothing(error: SecAggError, participant: Participant) -> bool:
    """Tell whether a participant that has refused a message goes on, as if that had not come.

    A committee member goes on when a contribution that was relayed to it is not its author's: that alone is left out.
    """
    if isinstance(error, AuthenticationFailed):
        return not participant.ended
    return isinstance(error, UnexpectedMessage | MalformedMessage)


def inputs_for(answers: Answers, terms: Terms) -> Callable[[], Inputs]:
    """Return a function that makes the inputs for a session, and tells nothing but the kind of error where it cannot.

    Raises:
        ParameterError: this member answers no such sessions.
    """
    answer: Any = answers.get(terms.kind)
    query: Any = terms.asked
    if answer is None:
        raise ParameterError(f"this member takes no part in sessions of kind {terms.kind}")
    if isinstance(answer, Site) and (terms.kind is not Kind.STATISTICS or query is None):
        raise ParameterError("a site answers queries, and this session has none")

    def make() -> Inputs:
        try:
            return answer.answer(query) if isinstance(answer, Site) else take_inputs(answer(terms))
        except InputsError:
            raise
        except QueryRefused as error:
            raise InputsError(f"QueryRefused: {error.reason}") from None  # one word of a fixed list
        except BaseException as error:  # of the member's own code, which may exit, and whose text may quote values
            raise InputsError(type(error).__name__) from error

    return make


def _expect(terms: Terms, protocol: Which) -> None:
    if terms.protocol is not protocol:
        raise ParameterError(f"the session is of {terms.protocol}, but this member takes part in {protocol} alone")


def _said(demand: PrivacyDemand) -> str:
    """Return a demand in one line."""
    return ", ".join(f"{field.name} {getattr(demand, field.name)}" for field in fields(demand))
