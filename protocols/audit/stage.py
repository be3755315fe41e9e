"""A whole session on simulated inputs, message by message as bytes, any of which may be tampered with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from secagg.encoding import Rounding
from secagg.randomness import RandomBytes
from secagg.signatures import Identity

from ..core.machine import Inputs
from ..core.participants import Participants
from ..core.threat_model import Adversary, ThreatModel
from ..inputs.vectors import FloatVector, IntegerVector
from ..masking import wire
from ..masking.client import Client
from ..masking.config import RoundConfig
from ..masking.messages import ToServer
from ..masking.policy import ClientPolicy
from ..masking.server import Server
from ..masking.topology import GraphKind
from ..simulation.driver import Session, Wire, faithful
from .outcome import demand

MAX_MESSAGE_BYTES = 1 << 20


@cache
def identity(name: str) -> Identity:
    """Return a simulated client's long-lived identity: the same in all sessions of all audits, and no secret."""
    return Identity(hashlib.sha256(f"identity of {name} in audits".encode()).digest())


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
    """One session. Inputs and secrets follow from the generator, so that a session can be had again.

    Args:
        config: one of `configuration`.
        rng: of the inputs, and of the secrets.
        tamper: what becomes of messages on their way.
        through_dumps: whether every message meets a party that was restored from its dump.
        random: of the secrets instead, where what the operating system draws is under check.
    """

    def __init__(
        self,
        config: RoundConfig,
        rng: np.random.Generator,
        tamper: Wire = faithful,
        *,
        through_dumps: bool = False,
        random: RandomBytes | None = None,
    ) -> None:
        self.config = config
        self.random: RandomBytes = rng.bytes if random is None else random
        everyone = Participants.numbered(config.num_clients)
        self.named = config.threat_model.adversary.needs_identities
        self.everyone = (
            Participants({name: identity(name).public_bytes for name in everyone}) if self.named else everyone
        )
        self.given = {name: self._draw(rng) for name in self.everyone}
        super().__init__(
            Server(config, self.everyone, threads=1, random=self.random),
            lambda name: Client(policy=ClientPolicy.permissive(), **self.credentials(name)),
            self.given.__getitem__,
            tamper,
            restart=(lambda name, of: Client.load(of.dump(), **self.credentials(name))) if through_dumps else None,
            restart_coordinator=(lambda of: Server.load(of.dump(), threads=1)) if through_dumps else None,
        )

    @property
    def server(self) -> Server:
        """The server."""
        return self.coordinator

    def _draw(self, rng: np.random.Generator) -> Inputs:
        model, votes = self.config.vectors
        values = {"model": rng.uniform(-1.2, 1.2, model.length), "votes": rng.integers(0, 8, votes.length)}
        return Inputs(values, int(rng.integers(0, self.config.max_weight + 1)) if self.config.weighted else 1)

    def credentials(self, name: str) -> dict[str, Any]:
        """Return what a client is made or restored with."""
        known = {"identity": identity(name), "participants": self.everyone} if self.named else {}
        return known | {"threads": 1, "random": self.random}

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
