"""A whole session, message by message as bytes, on a stage where anything may be interfered with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from secagg import aead
from secagg.encoding import Rounding
from secagg.errors import SecAggError
from secagg.signatures import Identity

from ..core.threat_model import Adversary, ThreatModel
from ..inputs.vectors import FloatVector, IntegerVector
from ..masking import wire
from ..masking.client import Client
from ..masking.client.state import Advertised
from ..masking.config import RoundConfig
from ..masking.messages import ShareKeys
from ..masking.server import Server
from ..masking.transitions import ServerPhase
from .outcome import demand

Hook = Callable[[ServerPhase, int, bool, bytes], bytes | None]
"""Takes the round, a client, whether a message goes to the server, and its bytes; returns what arrives, if anything."""

ENDS = (ServerPhase.COMPLETED, ServerPhase.ABORTED)
MALICIOUS = Adversary.MALICIOUS_SERVER

NONCES = "nonces of clients' shares"
_MOST_NOTES = 100_000
_notes: dict[str, list[bytes]] = defaultdict(list)


def _note(kind: str, *drawn: bytes) -> None:
    if len(_notes[kind]) < _MOST_NOTES:  # enough for any check, and not so many as to fill the memory
        _notes[kind] += drawn


def take_notes() -> dict[str, list[bytes]]:
    """Return what the parties of all sessions have drawn since this was asked last, by kind; and forget it.

    For the freshness check alone. Inputs and parties are simulated, so that nobody's secrets are in it.
    """
    taken = dict(_notes)
    _notes.clear()
    return taken


@cache
def identity(client_id: int) -> Identity:
    """Return a simulated client's long-lived identity: the same in all sessions of an audit."""
    return Identity.generate()


def configuration(
    num_clients: int,
    adversary: Adversary,
    *,
    corrupt: float = 0.0,
    dropout: float = 0.3,
    length: int = 6,
    max_weight: int = 1,
    complete_graph: bool = False,
) -> RoundConfig:
    """Return a round of one float vector, weighted if weights may exceed 1, and one of votes."""
    vectors = (
        FloatVector("model", length, value_bits=16, weighted=max_weight > 1, rounding=Rounding.NEAREST),
        IntegerVector("votes", 2, max_value=7),
    )
    model = ThreatModel(num_clients, corrupt, dropout, adversary)
    return RoundConfig(model, vectors, max_weight=max_weight, complete_graph=complete_graph)


@dataclass
class Stage:
    """One session's parties; their inputs follow from the generator, their secrets from the operating system."""

    config: RoundConfig
    rng: np.random.Generator
    hook: Hook = lambda phase, client_id, to_server, data: data
    through_dumps: bool = False
    refusals: list[SecAggError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.num_clients = self.config.threat_model.num_clients
        named = self.config.threat_model.adversary.needs_identities
        self.known = {i: identity(i).public_bytes for i in range(1, self.num_clients + 1)} if named else {}
        self.server = Server(self.config, known_identities=self.known, threads=1)
        self.clients = {i: Client(i, **self._credentials(i)) for i in range(1, self.num_clients + 1)}
        self.inputs = {i: self._draw() for i in self.clients}
        self.outgoing: Mapping[int, Any] = self.server.outgoing()
        _note("sessions' ids", self.server.session_id)

    def _draw(self) -> tuple[dict[str, Any], int]:
        model, votes = self.config.vectors
        values = {"model": self.rng.uniform(-1.2, 1.2, model.length), "votes": self.rng.integers(0, 8, votes.length)}
        return values, int(self.rng.integers(0, self.config.max_weight + 1)) if self.config.weighted else 1

    def _credentials(self, client_id: int) -> dict[str, Any]:
        own = identity(client_id) if self.known else None
        return {"identity": own, "known_identities": self.known, "threads": 1}

    def step(self, silent: Collection[int] = ()) -> None:
        """Let everyone but the silent answer, and close the round; what single parties refuse is kept, not raised."""
        phase = self.server.phase
        for client_id, message in self.outgoing.items():
            if client_id in silent:
                continue
            try:
                self._exchange(phase, client_id, wire.encode(message))
            except SecAggError as refusal:
                self.refusals.append(refusal)
        self.outgoing = self.server.close_round()

    def _exchange(self, phase: ServerPhase, client_id: int, sent: bytes) -> None:
        data = self.hook(phase, client_id, False, sent)
        if data is None:
            return
        if self.through_dumps:  # as where every message meets another process
            credentials = self._credentials(client_id)
            self.clients[client_id] = Client.load(self.clients[client_id].dump(), **credentials)
            self.server = Server.load(self.server.dump(), known_identities=self.known, threads=1)
        values, weight = self.inputs[client_id]
        made = self.clients[client_id].respond_bytes(data, values, weight=weight)
        self._note_secrets(phase, client_id, made)
        answer = self.hook(phase, client_id, True, made)
        if answer is not None:
            self.server.receive_bytes(client_id, answer)

    def _note_secrets(self, phase: ServerPhase, client_id: int, made: bytes) -> None:
        state = self.clients[client_id]._state
        if isinstance(state, Advertised):
            _note("clients' X25519 keys", state.cipher_private_key, state.mask_private_key)
            _note("clients' self-mask seeds", state.self_mask_seed)
            if state.confirmation_private_key:
                _note("clients' confirmation keys", state.confirmation_private_key)
        elif phase is ServerPhase.SHARE_KEYS:
            dealt: ShareKeys = wire.decode(made, ShareKeys, max_bytes=wire.max_bytes(self.config))
            _note(NONCES, *(sealed[: aead.NONCE_BYTES] for sealed in dealt.sealed.values()))

    def run(self, drops: Mapping[ServerPhase, Collection[int]]) -> None:
        """Run to the end; raises what ends the session without a sum."""
        while self.server.phase not in ENDS:
            self.step(drops.get(self.server.phase, ()))

    def levels(self, clients: Collection[int]) -> dict[str, list[int]]:
        """Return the sums of these clients' encoded integers, by other code than the encoding's."""
        model, _ = self.config.vectors
        top = 2**15 - 1
        totals = {"model": [0] * model.length, "votes": [0, 0]}
        for client_id in clients:
            values, weight = self.inputs[client_id]
            for at, value in enumerate(values["model"].tolist()):
                totals["model"][at] += weight * round(max(-1.0, min(1.0, value)) * top)
            for at, value in enumerate(values["votes"].tolist()):
                totals["votes"][at] += value
        return totals

    def demand_exact(self) -> None:
        """Raise Refuted unless the result is exactly the sum over the survivors."""
        result = self.server.result
        found = {name: sums.tolist() for name, sums in result.levels.items()}
        demand(found == self.levels(result.survivors), f"the sum of {len(result.survivors)} clients is wrong")
        weight = sum(self.inputs[i][1] for i in result.survivors)
        demand(result.total_weight == weight, f"the total weight is {result.total_weight}, not {weight}")
