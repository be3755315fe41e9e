"""What the server sends in each phase, as a function of its state: a state that was restored sends the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import final

import msgspec

from ...core.participants import Participants
from .. import wire
from ..graph import Graph
from ..messages import InputRequest, Invitation, Roster, ShareDelivery, SurvivorList, ToClient, UnmaskingRequest
from ..transitions import ServerPhase
from . import holding
from .state import ServerState


@final
class Outgoing(Mapping[str, bytes]):
    """Name -> message of one phase, encoded when it is asked for.

    Args:
        state: as it was when the phase began; what a later phase changes is not read.
        invitation: of the session.
        graph: of the session.
        participants: of the session.
        recipients: numbers.
    """

    def __init__(
        self,
        state: ServerState,
        invitation: Invitation,
        graph: Graph,
        participants: Participants,
        recipients: Collection[int],
    ) -> None:
        self._state = state
        self._invitation = invitation
        self._session_id = invitation.session_id
        self._graph = graph
        self._participants = participants
        self._recipients = frozenset(recipients)
        self._shared, self._survivors = tuple(sorted(state.shared)), tuple(sorted(state.masked))
        self._dropped = state.shared - state.masked

    def __getitem__(self, name: str) -> bytes:
        return wire.encode(self.message(name))

    def __iter__(self) -> Iterator[str]:
        return map(self._participants.name, sorted(self._recipients))

    def __len__(self) -> int:
        return len(self._recipients)

    def message(self, name: str) -> ToClient:
        """Return the typed message for a name, for auditors; raise KeyError for whoever is sent none."""
        if name not in self._participants or self._participants.number(name) not in self._recipients:
            raise KeyError(name)
        number = self._participants.number(name)
        match self._state.phase:
            case ServerPhase.ADVERTISE_KEYS:
                return msgspec.structs.replace(self._invitation, recipient=number)
            case ServerPhase.SHARE_KEYS:
                return self._roster(number)
            case ServerPhase.MASKED_INPUT if self._state.config.threat_model.adversary.needs_identities:
                peers = tuple(sorted(self._graph.neighbours(number, self._state.shared)))
                return InputRequest(self._session_id, number, peers)
            case ServerPhase.ACCEPT_SHARES | ServerPhase.MASKED_INPUT:
                return self._delivery(number)
            case ServerPhase.CONSISTENCY_CHECK:
                return SurvivorList(self._session_id, number, self._shared, self._survivors)
            case _:
                return self._request(number)

    def _roster(self, number: int) -> Roster:
        advertised = self._state.advertised
        # In this phase the recipients are all who advertised.
        members = sorted([*self._graph.neighbours(number, self._recipients), number])
        return Roster(self._session_id, number, self._state.everyone, tuple([advertised[member] for member in members]))

    def _delivery(self, number: int) -> ShareDelivery:
        return ShareDelivery(self._session_id, number, *self._dealt.to(number))

    @cached_property
    def _dealt(self) -> holding.Dealt:
        return holding.Dealt(self._state, self._graph, self._shared)

    def _request(self, number: int) -> UnmaskingRequest:
        state, neighbours = self._state, self._graph.neighbours(number)
        # As many of its neighbours' confirmations as a client wants to see; there are none in curious sessions.
        confirming = sorted(neighbours & state.confirmations.keys())[: state.config.topology.threshold]
        return UnmaskingRequest(
            self._session_id,
            number,
            len(self._survivors),
            tuple(sorted(neighbours & self._dropped)),
            {signer: state.confirmations[signer] for signer in confirming},
        )
