"""A whole round of Paillier summation in one process, with chosen dropouts: what the command and its tests drive.

Every message takes the way over bytes. Contributors encrypt on worker processes; everything else runs here, one party
after another, and is timed for each party as if it had the machine to itself.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from secagg.encoding import FixedPoint, Floats, Levels, Rounding
from secagg.errors import ParameterError, PeerError, SecAggError
from secagg.paillier import EncryptedVector, KeyShare, NoisePool, ShortExponents, ThresholdKey, deal, integers
from secagg.signatures import Identity

from ..paillier.aggregator import Aggregator, Result
from ..paillier.contributor import Contributor, encrypt_update
from ..paillier.member import CommitteeMember
from ..paillier.messages import (
    Commitment,
    CommitmentList,
    Contribution,
    Endorsement,
    M,
    Opening,
    OpenRequest,
    RevealRequest,
    decode,
    encode,
)
from ..paillier.parameters import RoundParameters, check_quorum

VALUE_BITS = 16
_BATCH = 16

Announce = Callable[[str, int], Callable[[int], None]]
"""Told of a stage and how many steps it has; returns what to call with steps done."""


@dataclass(frozen=True)
class Report:
    """What a simulated round took, and whether its sum is exact. Seconds and bytes; counts of parties and numbers."""

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
    dropout: float = 0.0,
    workers: int = 1,
    announce: Announce = silent,
) -> Report:
    """Deal a key and run a round: `clients` updates of `dim` numbers of 16 bits; `wall` starts after the dealing.

    Of the dropout fraction, half the clients vanish before they commit and half after; as many committee members vanish
    as the fraction says and the threshold bears, before they open.

    Raises:
        ParameterError: no such round is possible.
    """
    if not 0 <= dropout < 1:
        raise ParameterError(f"dropout is {dropout}, but must be from 0 to below 1")
    # Dealing takes long: what is impossible is refused before.
    check_quorum(threshold, committee)
    _survivors(clients, dropout)
    tick = announce("dealing the key (searching two safe primes)", 0)
    key, shares = deal(threshold, committee, key_bits=key_bits, progress=tick)
    return run_round(key, shares, clients, dim, dropout=dropout, workers=workers, announce=announce)


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
    dropout: float = 0.0,
    workers: int = 1,
    announce: Announce = silent,
) -> Report:
    """Run a round with a dealt key."""
    survivors = _survivors(clients, dropout)
    vanished = clients - survivors
    people = [Identity.generate() for _ in range(clients + key.num_members)]
    identities = dict(enumerate(people[:clients], start=1))
    committee = dict(enumerate(people[clients:], start=1))
    codec = FixedPoint(clip=1.0, value_bits=VALUE_BITS, num_summands=clients, rounding=Rounding.NEAREST)
    parameters = RoundParameters(
        key,
        codec,
        dim,
        contributors={party: identity.public_bytes for party, identity in identities.items()},
        members={party: identity.public_bytes for party, identity in committee.items()},
        min_contributors=min(survivors, max(2, clients // 2)),
        nonce=os.urandom(32),
    )
    lost_members = min(int(dropout * key.num_members), key.num_members - key.threshold)
    start = time.perf_counter()
    clock = _Clock()
    result, sent, client_seconds = _run(
        parameters,
        identities,
        [CommitteeMember(parameters, share, committee[share.member], workers=1) for share in shares],
        late=set(range(1, vanished // 2 + 1)),
        silent_after=set(range(vanished // 2 + 1, vanished + 1)),
        opening=key.num_members - lost_members,
        workers=workers,
        clock=clock,
        announce=announce,
    )
    wall = time.perf_counter() - start
    expected = np.zeros(dim, dtype=np.int64)
    for client in result.contributors:
        expected += _levels(codec, client, dim)
    members = [seconds for party, seconds in clock.seconds.items() if party.startswith("member")]
    return Report(
        exact=bool((expected == result.levels).all()) and len(result.contributors) == survivors,
        clients=clients,
        survivors=len(result.contributors),
        lanes=parameters.lanes.per_plaintext,
        ciphertexts=parameters.lanes.num_plaintexts,
        client_seconds_mean=client_seconds,
        server_seconds=clock.seconds["server"],
        decrypt_seconds=max(members) + clock.seconds["combine"],
        wall_seconds=wall,
        client_bytes_sent_mean=sent / len(result.contributors),
        peak_memory_bytes=_peak_memory_bytes(),
    )


def _run(
    parameters: RoundParameters,
    identities: dict[int, Identity],
    members: list[CommitteeMember],
    *,
    late: set[int],
    silent_after: set[int],
    opening: int,
    workers: int,
    clock: _Clock,
    announce: Announce,
) -> tuple[Result, int, float]:
    """Play all rounds. Returns the result, bytes sent by contributors in all, and their mean seconds."""
    wire = _Wire(parameters)
    active = {client: identity for client, identity in identities.items() if client not in late}
    contributors = {client: Contributor(parameters, client, identity) for client, identity in active.items()}
    with Aggregator(parameters, workers=workers) as aggregator:
        encrypting = 0.0
        tick = announce("clients encrypt and commit", len(contributors))
        for client, vector, seconds in _encrypted(parameters, list(contributors), workers):
            encrypting += seconds
            with clock.of("client"):
                commitment = wire.carry(contributors[client].commit_to(vector), Commitment, sender=client)
            with clock.of("server"):
                aggregator.receive(client, commitment)
            tick(1)
        with clock.of("server"):
            listed = aggregator.close_round()
        for member in members:
            with clock.of(f"member {member.member}"):
                endorsement = member.endorse(wire.carry(listed, CommitmentList))
            with clock.of("server"):
                aggregator.receive(member.member, wire.carry(endorsement, Endorsement))
        with clock.of("server"):
            request = aggregator.close_round()
        revealing = [client for client in contributors if client not in silent_after]
        tick = announce("server and committee add", len(revealing))
        for first in range(0, len(revealing), _BATCH):
            batch: dict[int, Contribution] = {}
            for client in revealing[first : first + _BATCH]:
                with clock.of("client"):
                    contribution = contributors.pop(client).reveal(wire.carry(request, RevealRequest))
                batch[client] = wire.carry(contribution, Contribution, sender=client)
            with clock.of("server"):
                _all_accepted(aggregator.receive_batch(batch))
            for member in members:
                with clock.of(f"member {member.member}"):
                    _all_accepted(member.receive_batch(batch))
            tick(len(batch))
        with clock.of("server"):
            to_open = aggregator.close_round()
        tick = announce("committee opens", opening + 1)
        for member in members[:opening]:
            with clock.of(f"member {member.member}"):
                opened = member.open(wire.carry(to_open, OpenRequest))
            with clock.of("server"):
                aggregator.receive(member.member, wire.carry(opened, Opening))
            tick(1)
        with clock.of("combine"):
            result = aggregator.close_round()
        tick(1)
    if not isinstance(result, Result):
        raise SecAggError("the round did not end with a result")
    sent = sum(wire.sent[client] for client in result.contributors)
    return result, sent, (encrypting + clock.seconds["client"]) / len(active)


class _Wire:
    """Carries messages as bytes, and counts what contributors send."""

    def __init__(self, parameters: RoundParameters) -> None:
        self._max_bytes = parameters.max_message_bytes
        self.sent: dict[int, int] = {}

    def carry(self, message: object, kind: type[M], *, sender: int | None = None) -> M:
        if not isinstance(message, kind):
            raise SecAggError(f"expected to send a {kind.__name__}")
        data = encode(message)
        if sender is not None:
            self.sent[sender] = self.sent.get(sender, 0) + len(data)
        return decode(data, kind, max_bytes=self._max_bytes)


def _all_accepted(rejected: dict[int, PeerError]) -> None:
    for error in rejected.values():
        raise error


def _update(client: int, dim: int) -> Floats:
    """Simulated data: the only place where randomness is not the operating system's."""
    values: Floats = np.random.default_rng(client).uniform(-1.1, 1.1, dim)
    return values


def _levels(codec: FixedPoint, client: int, dim: int) -> Levels:
    return codec.quantise(_update(client, dim))[0]


def _encrypted(
    parameters: RoundParameters, clients: list[int], workers: int
) -> Iterator[tuple[int, EncryptedVector, float]]:
    """Encrypt every client's update: client, vector, and the seconds that it took."""
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
    encrypt_update(parameters, _update(0, parameters.length), pool)  # compiles, outside of what is timed


def _encrypt(client: int) -> tuple[int, EncryptedVector, float]:
    parameters, noise = _worker[0]
    values = _update(client, parameters.length)
    start = time.perf_counter()
    vector = encrypt_update(parameters, values, noise)
    return client, vector, time.perf_counter() - start


def _peak_memory_bytes() -> int:
    """The most memory that this process, or the largest of its workers, ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return unit * max(usages)
