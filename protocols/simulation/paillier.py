"""A whole round of Paillier summation in one process, with chosen dropouts: what the command and its tests drive.

Every message takes the way over bytes. Contributors encrypt on worker processes; everything else runs here, one party
after another, and is timed for each party as if it had the machine to itself.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Protocol

import numpy as np

from secagg.encoding import FixedPoint, Floats, Levels, Rounding
from secagg.errors import ParameterError, PeerError
from secagg.paillier import KeyShare, NoisePool, ShortExponents, ThresholdKey, deal, integers
from secagg.signatures import Identity

from ..core.machine import Receipt
from ..core.participants import Participants
from ..paillier.aggregator import Aggregator
from ..paillier.contributions import Elsewhere
from ..paillier.contributor import Contributor, encrypt_update
from ..paillier.member import CommitteeMember
from ..paillier.parameters import RoundParameters, check_quorum
from ..paillier.result import PaillierResult
from ..paillier.state import EncryptedUpdate
from .memory import peak_memory_bytes

VALUE_BITS = 16
_BATCH = 16

Announce = Callable[[str, int], Callable[[int], None]]
"""Told of a stage and how many steps it has; returns what to call with steps done."""


class Engine(Elsewhere, Protocol):
    """What computes on public values for a round, if not this process and those that it starts."""

    @property
    def workers(self) -> int:
        """How many tasks run side by side."""

    def at_once(self, parameters: RoundParameters) -> int:
        """Return how many contributions are taken in at a time."""

    def encrypted(self, parameters: RoundParameters, clients: Sequence[int]) -> Iterator[tuple[EncryptedUpdate, float]]:
        """Yield each client's encrypted update, and the seconds that it took, in order."""


@dataclass(frozen=True)
class Report:
    """What a simulated round took, and whether its sum is exact. Seconds and bytes; counts of parties and numbers.

    `workers` are processes, or an engine's. The memory is of this process and those that it has ended, without an
    engine's.
    """

    exact: bool
    clients: int
    survivors: int
    lanes: int
    ciphertexts: int
    client_seconds_mean: float
    server_seconds: float
    decrypt_seconds: float
    wall_seconds: float
    client_bytes_sent_mean: float
    peak_memory_bytes: int
    workers: int

    def as_json(self) -> dict[str, object]:
        """Return the report as the command prints it."""
        return {
            "exact": self.exact,
            "clients": self.clients,
            "survivors": self.survivors,
            "lanes": self.lanes,
            "ciphertexts": self.ciphertexts,
            "seconds": {
                "client_mean": self.client_seconds_mean,
                "server": self.server_seconds,
                "decrypt": self.decrypt_seconds,
                "wall": self.wall_seconds,
            },
            "bytes": {"client_sent_mean": self.client_bytes_sent_mean},
            "peak_memory_bytes": self.peak_memory_bytes,
            "workers": self.workers,
        }


class _Clock:
    """Adds up what each party spends."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, party: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[party] = self.seconds.get(party, 0.0) + time.perf_counter() - start


def silent(stage: str, steps: int) -> Callable[[int], None]:
    """Announce nothing."""
    return lambda done: None


def simulate(
    clients: int,
    dim: int,
    *,
    key_bits: int,
    committee: int,
    threshold: int,
    corrupt_members: int | None = None,
    dropout: float = 0.0,
    workers: int = 1,
    engine: Engine | None = None,
    announce: Announce = silent,
) -> Report:
    """Deal a key and run a round: `clients` updates of `dim` numbers of 16 bits; `wall` starts after the dealing.

    Of the dropout fraction, half the clients vanish before they commit and half after; as many committee members vanish
    as the fraction says and the threshold bears, before they open. Key shares and identities stay in this process,
    whatever the engine.

    Raises:
        ParameterError: no such round is possible.
    """
    if not 0 <= dropout < 1:
        raise ParameterError(f"dropout is {dropout}, but must be from 0 to below 1")
    # Dealing takes long: what is impossible is refused before.
    integers.positive("workers", workers)
    check_quorum(threshold, committee, corrupt_members)
    _survivors(clients, dropout)
    tick = announce("dealing the key (searching two safe primes)", 0)
    key, shares = deal(threshold, committee, key_bits=key_bits, progress=tick)
    return run_round(
        key,
        shares,
        clients,
        dim,
        corrupt_members=corrupt_members,
        dropout=dropout,
        workers=workers,
        engine=engine,
        announce=announce,
    )


def _survivors(clients: int, dropout: float) -> int:
    survivors = clients - int(dropout * clients)
    if survivors < 2:
        raise ParameterError(f"{survivors} of {clients} clients survive, but a sum needs at least 2")
    return survivors


def run_round(
    key: ThresholdKey,
    shares: list[KeyShare],
    clients: int,
    dim: int,
    *,
    corrupt_members: int | None = None,
    dropout: float = 0.0,
    workers: int = 1,
    engine: Engine | None = None,
    announce: Announce = silent,
) -> Report:
    """Run a round with a dealt key."""
    survivors = _survivors(clients, dropout)
    vanished = clients - survivors
    identities = {name: Identity.generate() for name in Participants.numbered(clients)}
    committee = {name: Identity.generate() for name in Participants.numbered(key.num_members, "member")}
    codec = FixedPoint(clip=1.0, value_bits=VALUE_BITS, num_summands=clients, rounding=Rounding.NEAREST)
    minimum = min(survivors, max(2, clients // 2))
    parameters = RoundParameters(
        key,
        codec,
        dim,
        contributors=Participants({name: identity.public_bytes for name, identity in identities.items()}),
        members=Participants({name: identity.public_bytes for name, identity in committee.items()}),
        min_contributors=minimum,
        nonce=os.urandom(32),
        corrupt_members=corrupt_members,
        corrupt_contributors=min(clients // 3, minimum - 2),
    )
    lost_members = min(int(dropout * key.num_members), key.num_members - key.threshold)
    start = time.perf_counter()
    clock = _Clock()
    names = parameters.members.names
    contributors = list(identities)
    result, sent, client_seconds = _run(
        parameters,
        identities,
        {
            share.member: CommitteeMember(parameters, share, committee[names[share.member - 1]], elsewhere=engine)
            for share in shares
        },
        late=frozenset(contributors[: vanished // 2]),
        silent_after=frozenset(contributors[vanished // 2 : vanished]),
        opening=key.num_members - lost_members,
        workers=workers,
        engine=engine,
        clock=clock,
        announce=announce,
    )
    wall = time.perf_counter() - start
    expected = np.zeros(dim, dtype=np.int64)
    for name in result.survivors:
        expected += _levels(codec, parameters.contributors.number(name), dim)
    members = [seconds for party, seconds in clock.seconds.items() if party.startswith("member")]
    return Report(
        exact=bool((expected == result.levels).all()) and len(result.survivors) == survivors,
        clients=clients,
        survivors=len(result.survivors),
        lanes=parameters.lanes.per_plaintext,
        ciphertexts=parameters.lanes.num_plaintexts,
        client_seconds_mean=client_seconds,
        server_seconds=clock.seconds["server"],
        decrypt_seconds=max(members) + clock.seconds["combine"],
        wall_seconds=wall,
        client_bytes_sent_mean=sent / len(result.survivors),
        peak_memory_bytes=peak_memory_bytes(),
        workers=engine.workers if engine else workers,
    )


def _run(
    parameters: RoundParameters,
    identities: dict[str, Identity],
    members: dict[int, CommitteeMember],
    *,
    late: frozenset[str],
    silent_after: frozenset[str],
    opening: int,
    workers: int,
    engine: Engine | None,
    clock: _Clock,
    announce: Announce,
) -> tuple[PaillierResult, int, float]:
    """Play all phases. Returns the result, bytes sent by contributors in all, and their mean seconds."""
    sent: dict[str, int] = defaultdict(int)
    contributors: dict[str, Contributor] = {}
    number, committee = parameters.contributors.number, parameters.members
    at_once = engine.at_once(parameters) if engine else _BATCH
    with Aggregator(parameters, workers=workers, elsewhere=engine) as aggregator:

        def close() -> Mapping[str, bytes]:
            with clock.of("server"):
                aggregator.close_phase()
                return aggregator.outgoing()

        invited = [name for name in aggregator.outgoing() if name not in late]
        encrypting = 0.0
        tick = announce("clients encrypt and commit", len(invited))
        numbers = list(map(number, invited))
        encrypted = engine.encrypted(parameters, numbers) if engine else _encrypted(parameters, numbers, workers)
        for name, (update, seconds) in zip(invited, encrypted, strict=True):
            encrypting += seconds
            with clock.of("client"):
                contributors[name] = Contributor(parameters, name, identities[name])
                contributors[name].commit_to(update)
            sent[name] += len(contributors[name].outgoing)
            with clock.of("server"):
                aggregator.receive(name, contributors[name].outgoing)
            tick(1)
        for name, request in close().items():
            with clock.of(name):
                endorsement = members[committee.number(name)].respond(request)
            with clock.of("server"):
                aggregator.receive(name, endorsement)
        requests = {name: request for name, request in close().items() if name not in silent_after}
        tick = announce("server and committee add", len(requests))
        revealing = list(requests)
        for first in range(0, len(revealing), at_once):
            batch: dict[str, bytes] = {}
            for name in revealing[first : first + at_once]:
                with clock.of("client"):
                    batch[name] = contributors.pop(name).respond(requests[name])
                sent[name] += len(batch[name])
            with clock.of("server"):
                _all_accepted(aggregator.receive_many(batch))
            for name in aggregator.relay_to:
                with clock.of(name):
                    members[committee.number(name)].respond_many(batch.values())
            tick(len(batch))
        asked = list(close().items())[:opening]
        tick = announce("committee opens", opening + 1)
        for name, request in asked:
            with clock.of(name):
                opened = members[committee.number(name)].respond(request)
            with clock.of("server"):
                aggregator.receive(name, opened)
            tick(1)
        with clock.of("combine"):
            aggregator.close_phase()
        tick(1)
        result = aggregator.result
    in_all = sum(sent[name] for name in result.survivors)
    return result, in_all, (encrypting + clock.seconds["client"]) / len(invited)


def _all_accepted(outcomes: Mapping[str, Receipt | PeerError]) -> None:
    for outcome in outcomes.values():
        if isinstance(outcome, PeerError):
            raise outcome


def _update(client: int, dim: int) -> Floats:
    """Simulated data: the only place where randomness is not the operating system's."""
    values: Floats = np.random.default_rng(client).uniform(-1.1, 1.1, dim)
    return values


def _levels(codec: FixedPoint, client: int, dim: int) -> Levels:
    return codec.quantise(_update(client, dim))[0]


def _encrypted(
    parameters: RoundParameters, clients: list[int], workers: int
) -> Iterator[tuple[EncryptedUpdate, float]]:
    """Encrypt every client's update: the update, and the seconds that it took."""
    if workers == 1:
        _start(parameters, integers.backend().name)
        yield from map(_encrypt, clients)
        return
    arguments = (parameters, integers.backend().name)
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=arguments) as processes:
        yield from processes.map(_encrypt, clients)


_worker: list[tuple[RoundParameters, NoisePool]] = []


def _start(parameters: RoundParameters, backend_name: str | None) -> None:
    integers.choose(backend_name)
    pool = NoisePool(ShortExponents(parameters.key.public_key))
    _worker[:] = [(parameters, pool)]
    _encrypt(1)  # compiles, outside of what is timed


def encrypt_one(parameters: RoundParameters, client: int) -> tuple[EncryptedUpdate, float]:
    """Encrypt a client's update in a process that may have encrypted others' of this round before."""
    if not _worker or _worker[0][0].session != parameters.session:
        _start(parameters, None)
    return _encrypt(client)


def _encrypt(client: int) -> tuple[EncryptedUpdate, float]:
    parameters, noise = _worker[0]
    values = _update(client, parameters.length)
    start = time.perf_counter()
    update = encrypt_update(parameters, parameters.contributors.name(client), values, noise)
    return update, time.perf_counter() - start
