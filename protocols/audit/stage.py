"""A whole session on simulated inputs, message by message as bytes, any of which may be tampered with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from secagg import aead
from secagg.encoding import Rounding
from secagg.signatures import Identity

from ..core.machine import Inputs
from ..core.participants import Participants
from ..core.threat_model import Adversary, ThreatModel
from ..inputs.vectors import FloatVector, IntegerVector
from ..masking import wire
from ..masking.client import Client
from ..masking.client.state import Advertised
from ..masking.config import RoundConfig
from ..masking.messages import ShareKeys, ToServer
from ..masking.policy import ClientPolicy
from ..masking.server import Server
from ..masking.topology import GraphKind
from ..masking.transitions import ServerPhase
from ..simulation.driver import Crossing, Session, Wire, faithful
from .outcome import demand

MAX_MESSAGE_BYTES = 1 << 20
NONCES = "nonces of clients' shares"
_MAX_NOTES = 100_000
_notes: dict[str, list[bytes]] = defaultdict(list)


def _note(kind: str, *drawn: bytes) -> None:
    if len(_notes[kind]) < _MAX_NOTES:  # enough for any check, and not so many as to fill the memory
        _notes[kind] += drawn


def take_notes() -> dict[str, list[bytes]]:
    """Return what the parties of all sessions have drawn since this was last called, by kind; and forget it.

    For the freshness check alone. Inputs and parties are simulated, so that nobody's secrets are in it.
    """
    taken = dict(_notes)
    _notes.clear()
    return taken


@cache
def identity(name: str) -> Identity:
    """Return a simulated client's long-lived identity: the same in all sessions of an audit."""
    return Identity.generate()


def read(data: bytes, message_type: Any = ToServer) -> Any:
    """Return the message that the bytes are."""
    return wire.decode(data, message_type, max_bytes=MAX_MESSAGE_BYTES)


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
    # Rounds this small are sparse on the ring alone.
    graph = GraphKind.COMPLETE if complete_graph else GraphKind.RING_FOR_RANDOM_DROPOUTS
    return RoundConfig(model, vectors, max_weight=max_weight, graph=graph)


class Stage(Session[Server, Client]):
    """One session. Inputs follow from the generator, secrets come from the operating system.

    Args:
        config: one of `configuration`.
        rng: of the inputs.
        tamper: what becomes of messages on their way.
        through_dumps: whether every message meets a party that was restored from its dump.
    """

    def __init__(
        self, config: RoundConfig, rng: np.random.Generator, tamper: Wire = faithful, *, through_dumps: bool = False
    ) -> None:
        self.config, self.tamper = config, tamper
        everyone = Participants.numbered(config.num_clients)
        self.named = config.threat_model.adversary.needs_identities
        self.everyone = (
            Participants({name: identity(name).public_bytes for name in everyone}) if self.named else everyone
        )
        self.given = {name: self._draw(rng) for name in self.everyone}
        super().__init__(
            Server(config, self.everyone, threads=1),
            lambda name: Client(policy=ClientPolicy.permissive(), **self._credentials(name)),
            self.given.__getitem__,
            self._carry,
            restart=(lambda name, of: Client.load(of.dump(), **self._credentials(name))) if through_dumps else None,
            restart_coordinator=(lambda of: Server.load(of.dump(), threads=1)) if through_dumps else None,
        )
        _note("sessions' ids", self.server.session_id)

    @property
    def server(self) -> Server:
        """The server."""
        return self.coordinator

    def _draw(self, rng: np.random.Generator) -> Inputs:
        model, votes = self.config.vectors
        values = {"model": rng.uniform(-1.2, 1.2, model.length), "votes": rng.integers(0, 8, votes.length)}
        return Inputs(values, int(rng.integers(0, self.config.max_weight + 1)) if self.config.weighted else 1)

    def _credentials(self, name: str) -> dict[str, Any]:
        known = {"identity": identity(name), "participants": self.everyone} if self.named else {}
        return known | {"threads": 1}

    def _carry(self, crossing: Crossing) -> bytes | None:
        if crossing.to_coordinator:
            self._note_secrets(crossing)
        return self.tamper(crossing)

    def _note_secrets(self, crossing: Crossing) -> None:
        state = self.participants[crossing.name]._memory.state
        if crossing.phase == ServerPhase.ADVERTISE_KEYS and isinstance(state, Advertised):
            _note("clients' X25519 keys", state.cipher_private_key, state.mask_private_key)
            _note("clients' self-mask seeds", state.self_mask_seed)
            if state.confirmation_private_key:
                _note("clients' confirmation keys", state.confirmation_private_key)
        elif crossing.phase == ServerPhase.SHARE_KEYS and isinstance(message := read(crossing.data), ShareKeys):
            _note(NONCES, *(sealed[: aead.NONCE_BYTES] for sealed in message.sealed.values()))

    def levels(self, clients: Iterable[str]) -> dict[str, list[int]]:
        """Return the sums of these clients' encoded integers, by other code than the encoding's."""
        model, _ = self.config.vectors
        top = 2**15 - 1
        totals = {"model": [0] * model.length, "votes": [0, 0]}
        for name in clients:
            given = self.given[name]
            for at, value in enumerate(given.values["model"].tolist()):
                totals["model"][at] += given.weight * round(max(-1.0, min(1.0, value)) * top)
            for at, value in enumerate(given.values["votes"].tolist()):
                totals["votes"][at] += value
        return totals

    def demand_exact(self) -> None:
        """Raise Refuted unless the result is exactly the sum over the survivors."""
        result = self.server.result
        found = {name: sums.tolist() for name, sums in result.levels.items()}
        demand(found == self.levels(result.survivors), f"the sum of {len(result.survivors)} clients is wrong")
        weight = sum(self.given[name].weight for name in result.survivors)
        demand(result.total_weight == weight, f"the total weight is {result.total_weight}, not {weight}")
