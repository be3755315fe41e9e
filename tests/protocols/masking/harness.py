"""Sessions for the tests: the one driver, with every door open to a test that wants to interfere.

Clients are called by their numbers here; their names end in them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import numpy as np

from protocols.core.listener import Listener, ignore
from protocols.core.machine import Inputs, Receipt
from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector, IntegerVector
from protocols.masking import wire
from protocols.masking.client import Client
from protocols.masking.client.state import ClientState
from protocols.masking.config import RoundConfig
from protocols.masking.messages import Message, ToClient, ToServer, records
from protocols.masking.policy import ClientPolicy
from protocols.masking.result import RoundResult
from protocols.masking.server import Server
from protocols.masking.topology import GraphKind
from protocols.masking.transitions import ServerPhase
from protocols.simulation import driver
from secagg.encoding import Rounding
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import Identity


@cache
def identity(number: int) -> Identity:
    """Identities are long-lived: the same in all sessions, and cheap."""
    return Identity(bytes([number % 256]) * 32)


def known(num_clients: int) -> Participants:
    """Everyone by name, with public keys."""
    names = Participants.numbered(num_clients)
    return Participants({name: identity(names.number(name)).public_bytes for name in names})


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
        graph=GraphKind.COMPLETE if complete_graph else GraphKind.RING_FOR_RANDOM_DROPOUTS,
        min_survivors=min_survivors,
    )


def demanding(**demands: Any) -> ClientPolicy:
    """The policy of a client that demands this and nothing else."""
    return replace(ClientPolicy.permissive(), **demands)


def random_inputs(config: RoundConfig, seed: int = 0) -> dict[int, Inputs]:
    rng = np.random.default_rng(seed)
    inputs = {}
    for number in range(1, config.num_clients + 1):
        values: dict[str, np.ndarray] = {}
        for spec in config.vectors:
            if isinstance(spec, IntegerVector):
                values[spec.name] = rng.integers(0, spec.max_value + 1, spec.length)
            else:
                values[spec.name] = rng.uniform(-1.2, 1.2, spec.length) * spec.clip
        inputs[number] = Inputs(values, int(rng.integers(0, config.max_weight + 1)) if config.weighted else 1)
    return inputs


def plain_levels(config: RoundConfig, inputs: Mapping[int, Inputs], survivors: Collection[int]) -> dict[str, list[int]]:
    """The sums of the encoded integers, computed apart from the library's encoding, in Python's integers."""
    sums: dict[str, list[int]] = {}
    for spec in config.vectors:
        total = [0] * spec.length
        for number in survivors:
            given = inputs[number]
            for at, value in enumerate(given.values[spec.name].tolist()):
                if isinstance(spec, IntegerVector):
                    total[at] += value
                else:
                    top = 2 ** (spec.value_bits - 1) - 1
                    level = max(-top, min(top, round(max(-spec.clip, min(spec.clip, value)) * (top / spec.clip))))
                    total[at] += level * (given.weight if spec.weighted else 1)
        sums[spec.name] = total
    return sums


def decode(data: bytes) -> Any:
    return wire.decode(data, ToServer | ToClient, max_bytes=1 << 24)


def spoilt(together: bytes, ids: Sequence[int], chosen: Collection[int], spoil: Callable[[bytes], bytes]) -> bytes:
    """Records side by side, one for each id, with those of the chosen spoilt."""
    cut = records(together, len(together) // len(ids))
    return b"".join(spoil(record) if i in chosen else record for i, record in zip(ids, cut, strict=True))


def number(name: str) -> int:
    return int(name.rpartition("-")[2])


class Session(driver.Session[Server, Client]):
    """One session of everyone; what single parties refuse is in `refusals`."""

    def __init__(
        self,
        config: RoundConfig,
        given: Mapping[int, Inputs] | None = None,
        *,
        policy: ClientPolicy | None = None,
        through_dumps: bool = False,
        wire: driver.Wire = driver.faithful,
        listener: Listener = ignore,
        random: Callable[[str], RandomBytes] = lambda name: SYSTEM,
    ) -> None:
        self.config, self.random = config, random
        self.policy = policy or ClientPolicy.permissive()
        self.given = dict(random_inputs(config) if given is None else given)
        needs = config.threat_model.adversary.needs_identities
        self.everyone = known(config.num_clients) if needs else Participants.numbered(config.num_clients)
        server = Server(config, self.everyone, listener=listener, random=random("server"), threads=1)
        super().__init__(server, self.make_client, lambda name: self.given[number(name)], wire)
        self.participants = {name: self.make_client(name) for name in self.everyone}
        if through_dumps:
            self.restart = lambda name, client: Client.load(client.dump(), **self.credentials(name))
            self.restart_coordinator = lambda server: Server.load(server.dump(), threads=1)

    @property
    def server(self) -> Server:
        return self.coordinator

    @property
    def survivors(self) -> set[int]:
        return set(map(number, self.server.result.survivors))

    def credentials(self, name: str) -> dict[str, Any]:
        own = {"identity": identity(number(name)), "participants": self.everyone} if self.everyone.keys else {}
        return {**own, "policy": self.policy, "random": self.random(name), "threads": 1}

    def make_client(self, name: str) -> Client:
        return Client(**self.credentials(name))

    def step(self, silent: Collection[Any] = ()) -> None:
        super().step(self.everyone.named(silent))

    def run(self, drops: Mapping[Any, Collection[Any]] | None = None) -> Session:
        """Run to the end; raises what ends the session on the server's side."""
        while not self.server.ended:
            self.step((drops or {}).get(self.server.phase, ()))
        return self

    def assert_exact(self, result: RoundResult | None = None) -> None:
        """The result is exactly the sum of the survivors' encodings."""
        result = result or self.server.result
        survivors = set(map(number, result.survivors))
        expected = plain_levels(self.config, self.given, survivors)
        assert {name: result.levels[name].tolist() for name in expected} == expected
        if self.config.weighted:
            assert result.total_weight == sum(self.given[i].weight for i in survivors)

    # Single messages, typed

    def client(self, number: int) -> Client:
        return self.participants[self.everyone.name(number)]

    def state(self, number: int, **changes: Any) -> ClientState:
        """What a client remembers, changed behind its back where changes are given."""
        client = self.client(number)
        if changes:
            state = msgspec.structs.replace(client._memory.state, **changes)
            client._memory = msgspec.structs.replace(client._memory, state=state)
        return client._memory.state

    def message(self, number: int, **changes: Any) -> Any:
        """What a client is sent in this phase."""
        due = self.server.outgoing().message(self.everyone.name(number))  # type: ignore[attr-defined]
        return msgspec.structs.replace(due, **changes)

    def say(self, number: int, message: Message | None = None) -> Any:
        """Let a client answer a message, or the one that is due."""
        data = wire.encode(self.message(number) if message is None else message)
        return decode(self.client(number).respond(data, self.given.get(number)))

    def take(self, number: int, message: Message) -> Receipt:
        """Let the server receive a message from a client."""
        return self.server.receive(self.everyone.name(number), wire.encode(message))

    def bend(self, number: int, message: Message) -> None:
        """Have another message than the one that is due reach a client when the phase is collected."""
        due, faithful = (self.server.phase, self.everyone.name(number), False), self.wire
        self.wire = lambda crossing: (
            wire.encode(message)
            if (crossing.phase, crossing.name, crossing.to_coordinator) == due
            else faithful(crossing)
        )


def altering(phase: ServerPhase, culprits: Collection[int], alter: Callable[[Any], Message]) -> driver.Wire:
    """A wire on which some clients' messages of a phase are others than they sent."""

    def hook(crossing: driver.Crossing) -> bytes:
        if crossing.to_coordinator and crossing.phase == phase and number(crossing.name) in culprits:
            return wire.encode(alter(decode(crossing.data)))
        return crossing.data

    return hook


def session_after(
    phases: int,
    config: RoundConfig,
    given: Mapping[int, Inputs] | None = None,
    *,
    silent: Collection[int] = (),
    policy: ClientPolicy | None = None,
) -> Session:
    """A session of which so many phases are over; the silent did not answer in the last one."""
    session = Session(config, given, policy=policy)
    for at in range(1, phases + 1):
        session.step(silent if at == phases else ())
    return session
