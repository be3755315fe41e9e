"""Drives whole sessions for the tests: every message through bytes, every party through dump and load if asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector, IntegerVector
from protocols.masking import wire
from protocols.masking.client import Client
from protocols.masking.config import RoundConfig
from protocols.masking.messages import ToClient, ToServer
from protocols.masking.policy import ClientPolicy
from protocols.masking.server import Server
from protocols.masking.transitions import ServerPhase
from secagg.encoding import Rounding
from secagg.errors import SecAggError
from secagg.signatures import Identity

Inputs = dict[int, tuple[dict[str, np.ndarray], int]]


@cache
def identity(client_id: int) -> Identity:
    """Identities are long-lived: the same in all sessions, and cheap."""
    return Identity(bytes([client_id % 256]) * 32)


def known_identities(num_clients: int) -> dict[int, bytes]:
    return {i: identity(i).public_bytes for i in range(1, num_clients + 1)}


def small_config(
    num_clients: int = 6,
    adversary: Adversary = Adversary.CURIOUS_SERVER,
    *,
    corrupt: float = 0.0,
    dropout: float = 0.34,
    length: int = 5,
    value_bits: int = 16,
    max_weight: int = 1,
    complete_graph: bool = False,
    min_survivors: int = 0,
) -> RoundConfig:
    vectors = (
        FloatVector("model", length, value_bits=value_bits, weighted=max_weight > 1, rounding=Rounding.NEAREST),
        IntegerVector("votes", 2, max_value=7),
    )
    return RoundConfig(
        ThreatModel(num_clients, corrupt, dropout, adversary),
        vectors,
        max_weight=max_weight,
        complete_graph=complete_graph,
        min_survivors=min_survivors,
    )


def random_inputs(config: RoundConfig, seed: int = 0) -> Inputs:
    rng = np.random.default_rng(seed)
    inputs: Inputs = {}
    for client_id in range(1, config.threat_model.num_clients + 1):
        values: dict[str, np.ndarray] = {}
        for spec in config.vectors:
            if isinstance(spec, IntegerVector):
                values[spec.name] = rng.integers(0, spec.max_value + 1, spec.length)
            else:
                values[spec.name] = rng.uniform(-1.2, 1.2, spec.length) * spec.clip
        inputs[client_id] = values, int(rng.integers(0, config.max_weight + 1)) if config.weighted else 1
    return inputs


def plain_levels(config: RoundConfig, inputs: Inputs, survivors: Collection[int]) -> dict[str, list[int]]:
    """The sums of the encoded integers, computed apart from the library's encoding, in Python's integers."""
    sums: dict[str, list[int]] = {}
    for spec in config.vectors:
        total = [0] * spec.length
        for client_id in survivors:
            values, weight = inputs[client_id]
            for at, value in enumerate(values[spec.name].tolist()):
                if isinstance(spec, IntegerVector):
                    total[at] += value
                else:
                    top = 2 ** (spec.value_bits - 1) - 1
                    level = max(-top, min(top, round(max(-spec.clip, min(spec.clip, value)) * (top / spec.clip))))
                    total[at] += level * (weight if spec.weighted else 1)
        sums[spec.name] = total
    return sums


@dataclass
class Session:
    """One session, driven round by round, with every door open to a test that wants to interfere.

    Hooks take (phase, client_id, bytes) and return the bytes that arrive instead, or None for nothing.
    """

    config: RoundConfig
    inputs: Inputs
    policy: ClientPolicy = field(default_factory=ClientPolicy)
    through_dumps: bool = False
    to_client: Callable[[ServerPhase, int, bytes], bytes | None] = lambda phase, client_id, data: data
    to_server: Callable[[ServerPhase, int, bytes], bytes | None] = lambda phase, client_id, data: data
    before_close: Callable[[Server], None] = lambda server: None
    errors: list[tuple[str, int, SecAggError]] = field(default_factory=list)

    def __post_init__(self) -> None:
        n = self.config.threat_model.num_clients
        self.known = known_identities(n) if self.config.threat_model.adversary is Adversary.MALICIOUS_SERVER else {}
        self.server = Server(self.config, known_identities=self.known, threads=1)
        self.clients = {i: self.make_client(i) for i in range(1, n + 1)}
        self.outgoing: Mapping[int, Any] = self.server.outgoing()

    def _credentials(self, client_id: int) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "identity": identity(client_id) if self.known else None,
            "known_identities": self.known,
            "threads": 1,
        }

    def make_client(self, client_id: int) -> Client:
        return Client(client_id, **self._credentials(client_id))

    def answer(self, client_id: int, data: bytes) -> bytes:
        """Let a client answer bytes with bytes."""
        if self.through_dumps:
            self.clients[client_id] = Client.load(self.clients[client_id].dump(), **self._credentials(client_id))
        values, weight = self.inputs[client_id]
        return self.clients[client_id].respond_bytes(data, values, weight=weight)

    def deliver(self, client_id: int, data: bytes) -> None:
        """Let the server take bytes from a client."""
        if self.through_dumps:
            self.server = Server.load(self.server.dump(), known_identities=self.known, threads=1)
        self.server.receive_bytes(client_id, data)

    def run_phase(self, silent: Collection[int] = ()) -> None:
        """Let everyone but the silent answer, and close the round. Errors of single parties are kept, not raised."""
        phase = self.server.phase
        for client_id, message in self.outgoing.items():
            if client_id in silent:
                continue
            data = self.to_client(phase, client_id, wire.encode(message))
            if data is None:
                continue
            try:
                response = self.to_server(phase, client_id, self.answer(client_id, data))
            except SecAggError as error:
                self.errors.append(("client", client_id, error))
                continue
            if response is None:
                continue
            try:
                self.deliver(client_id, response)
            except SecAggError as error:
                self.errors.append(("server", client_id, error))
        self.before_close(self.server)
        self.outgoing = self.server.close_round()

    def run(self, drops: Mapping[ServerPhase, Collection[int]] | None = None) -> Session:
        """Run to the end; raises what ends the session on the server's side."""
        while self.server.phase not in (ServerPhase.COMPLETED, ServerPhase.ABORTED):
            self.run_phase((drops or {}).get(self.server.phase, ()))
        return self

    def assert_exact(self) -> None:
        """The result is exactly the sum of the survivors' encodings."""
        result = self.server.result
        levels = {name: sums.tolist() for name, sums in result.levels.items()}
        assert levels == plain_levels(self.config, self.inputs, result.survivors)
        if self.config.weighted:
            assert result.total_weight == sum(self.inputs[i][1] for i in result.survivors)


def decode_to_server(data: bytes) -> Any:
    message: ToServer = wire.decode(data, ToServer, max_bytes=1 << 24)
    return message


def decode_to_client(data: bytes) -> Any:
    message: ToClient = wire.decode(data, ToClient, max_bytes=1 << 24)
    return message
