"""A Paillier round's public work on a Ray cluster: simulated updates are encrypted, contributions checked, multiplied.

Key shares, identities and the machines that own them stay in the process that drives the round. What a task is given
has crossed the network, or is about to: parameters, commitments, contributions. Products go by ranges of positions and
by groups of contributors, in a tree; each is the same number whoever multiplies it, so that a lost one is made again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from secagg.errors import PeerError
from secagg.paillier import PublicKey, multiply

from ..paillier.contributions import check_all
from ..paillier.messages import Contribution, decode, encode
from ..paillier.parameters import RoundParameters
from ..paillier.state import EncryptedUpdate
from ..simulation.paillier import encrypt_one
from .cluster import ClusterError, load_ray, versions
from .driver import MAX_LOSSES, SESSIONS_A_WORKER
from .steps import MAX_OBJECT_BYTES, check_versions, in_ranges

ADDENDS_A_TASK = 16
"""So many vectors, or products of them, are multiplied by a task."""
CHECKS_A_TASK = 8
"""So many contributions are checked by a task."""
LEAST_RANGE_BYTES = 1 << 16
"""Vectors are not cut finer than this."""
MAX_AT_ONCE, AT_ONCE_BYTES = 256, 1 << 26
"""So many contributions, and of so many bytes, are in the cluster's store at a time, or as many as one task takes."""


class PaillierOnRay:
    """The engine of a simulated round (`simulation.paillier.Engine`).

    Args:
        ray: connected to the cluster.
        workers: how many updates are encrypted side by side; as many ranges has a sum, where they are long enough.
    """

    def __init__(self, ray: Any, workers: int) -> None:
        self.ray, self.workers = ray, workers
        alike = {"num_cpus": 1, "max_retries": MAX_LOSSES}
        self.multiply = ray.remote(_multiplied).options(**alike, num_returns=2)
        self._check = ray.remote(_checked).options(**alike)
        # Encrypted twice, an update is two: Ray would put parts of both together.
        self._encrypt = ray.remote(_encrypted).options(num_cpus=1, max_retries=0, num_returns="streaming")

    def at_once(self, parameters: RoundParameters) -> int:
        """Return how many contributions are taken in at a time, which bounds what is in the cluster's store."""
        return max(ADDENDS_A_TASK, min(MAX_AT_ONCE, AT_ONCE_BYTES // _vector_bytes(parameters)))

    def parts(self, parameters: RoundParameters) -> int:
        """Return how many ranges a sum has: none larger than an object may be, and none needlessly small."""
        size = _vector_bytes(parameters)
        return max(-(-size // MAX_OBJECT_BYTES), min(self.workers, -(-size // LEAST_RANGE_BYTES)))

    def part(self, public_key: PublicKey, count: int, max_addends: int) -> _Range:
        """Return a range of a sum."""
        return _Range(self, public_key, count, max_addends)

    def check(
        self, parameters: RoundParameters, commitments: Mapping[int, bytes], contributions: Mapping[int, Contribution]
    ) -> dict[int, PeerError]:
        """Return author -> why its contribution is refused."""
        what, authors = self.ray.put((parameters, dict(commitments))), list(contributions)
        tasks = []
        for at in range(0, len(authors), CHECKS_A_TASK):
            given = {
                author: [self.ray.put(one) for one in in_ranges(encode(contributions[author]))]
                for author in authors[at : at + CHECKS_A_TASK]
            }
            tasks.append(self._check.remote(versions(), what, given))
        refused = {author: why for task in tasks for author, why in self.get(task).items()}
        return {author: kind(reason, culprits={author}) for author, (kind, reason) in refused.items()}

    def encrypted(self, parameters: RoundParameters, clients: Sequence[int]) -> Iterator[tuple[EncryptedUpdate, float]]:
        """Yield each client's encrypted update and what it took, in order; some are under way ahead."""
        what = self.ray.put(parameters)
        under_way: deque[tuple[int, Any]] = deque()
        for client in clients:
            under_way.append((client, self._encrypt.remote(versions(), what, client)))
            if len(under_way) == SESSIONS_A_WORKER * self.workers:
                yield self._taken(what, *under_way.popleft())
        while under_way:
            yield self._taken(what, *under_way.popleft())

    def get(self, reference: Any) -> Any:
        """Return what a task came to; raise what it raised, or ClusterError where no worker survives it."""
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            raise self._named(error) from None

    def _taken(self, what: Any, client: int, task: Any) -> tuple[EncryptedUpdate, float]:
        losses = 0
        while True:
            try:
                return self._whole(task)
            except (self.ray.exceptions.RayError, StopIteration) as error:
                losses += 1
                if isinstance(error, self.ray.exceptions.RayTaskError) or losses > MAX_LOSSES:
                    raise self._named(error) from None
            task = self._encrypt.remote(versions(), what, client)

    def _whole(self, task: Any) -> tuple[EncryptedUpdate, float]:
        seconds, count = self.ray.get(next(task))
        update = self.ray.cloudpickle.loads(b"".join(self.ray.get(next(task)) for _ in range(count)))
        return update, seconds

    def _named(self, error: Exception) -> Exception:
        cause = getattr(error, "cause", None)
        if isinstance(cause, Exception) and not isinstance(cause, self.ray.exceptions.RayError):
            return cause
        why = str(error).strip().partition("\n")[0]
        return ClusterError(f"a task of the Paillier round was lost more than {MAX_LOSSES} times ({why})")


class _Range:
    """A run of positions of a sum, whose products are objects of the cluster: a `secagg.paillier.Part`."""

    def __init__(self, engine: PaillierOnRay, public_key: PublicKey, count: int, max_addends: int) -> None:
        self._engine, self._shape = engine, (public_key, count, max_addends)
        self._batch: list[Any] = []
        self._bad: frozenset[int] = frozenset()
        self._kept: list[Any] = []  # a reference to the product, if there is one
        self._staged: list[Any] = []
        self._thread = ThreadPoolExecutor(1)

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        """Call a method of this range, beside those of others."""
        return self._thread.submit(getattr(self, method), *arguments)

    def close(self) -> None:
        """Forget the products."""
        self._thread.shutdown()
        self._batch, self._kept, self._staged = [], [], []

    def stage(self, batch: Sequence[bytes]) -> frozenset[int]:
        """Multiply a batch in on trial; return the places of vectors with an invalid ciphertext."""
        self._batch = [self._engine.ray.put(one) for one in batch]
        self._bad = self._multiply(frozenset())
        return self._bad

    def commit(self, bad: frozenset[int]) -> None:
        """Keep the batch without the vectors that any range found bad."""
        if bad != self._bad:
            self._multiply(bad)
        # What a worker's node holds goes with that node, and with it all batches so far: keep it where the driver is.
        self._kept, self._batch = [self._engine.ray.put(self._engine.get(one)) for one in self._staged], []

    def product(self) -> bytes:
        """Return the positions' ciphertexts."""
        (product,) = self._kept
        data: bytes = self._engine.get(product)
        return data

    def _multiply(self, skip: frozenset[int]) -> frozenset[int]:
        places = [place for place in range(len(self._batch)) if place not in skip]
        groups = [places[at : at + ADDENDS_A_TASK] for at in range(0, len(places), ADDENDS_A_TASK)]
        leaves = [self._times([self._batch[place] for place in group]) for group in groups]
        level = [*self._kept, *(product for _, product in leaves)]
        while len(level) > 1:
            level = [self._times(level[at : at + ADDENDS_A_TASK])[1] for at in range(0, len(level), ADDENDS_A_TASK)]
        self._staged = level
        found = (
            group[place] for group, (bad, _) in zip(groups, leaves, strict=True) for place in self._engine.get(bad)
        )
        return skip.union(found)

    def _times(self, vectors: Sequence[Any]) -> tuple[Any, Any]:
        bad, product = self._engine.multiply.remote(versions(), self._shape, *vectors)
        return bad, product


def _vector_bytes(parameters: RoundParameters) -> int:
    return parameters.lanes.num_plaintexts * parameters.key.public_key.ciphertext_bytes


def _multiplied(
    expected: dict[str, str], shape: tuple[PublicKey, int, int], *vectors: bytes
) -> tuple[frozenset[int], bytes]:
    """Multiply ciphertexts of one range, on a worker: as `secagg.paillier.multiply`."""
    _same_as(expected)
    return multiply(*shape, vectors)


def _checked(
    expected: dict[str, str],
    what: tuple[RoundParameters, Mapping[int, bytes]],
    given: Mapping[int, Sequence[Any]],
) -> dict[int, tuple[type[PeerError], str]]:
    """Check contributions, on a worker: author -> which error its contribution is refused by, and why."""
    ray = _same_as(expected)
    parameters, commitments = what
    contributions: dict[int, Contribution] = {}
    refused: dict[int, PeerError] = {}
    for author, ranges in given.items():
        data = b"".join(ray.get(one) for one in ranges)
        try:
            contributions[author] = decode(data, Contribution, max_bytes=parameters.max_message_bytes)
        except PeerError as error:
            refused[author] = error
    refused |= check_all(parameters, commitments, contributions)
    return {author: (type(error), error.reason) for author, error in refused.items()}


def _encrypted(
    expected: dict[str, str], parameters: RoundParameters, client: int
) -> Iterator[tuple[float, int] | bytes]:
    """Encrypt a simulated client's update, on a worker: yield what it took and how many ranges of the update follow."""
    ray = _same_as(expected)
    update, seconds = encrypt_one(parameters, client)
    ranges = in_ranges(ray.cloudpickle.dumps(update))
    yield seconds, len(ranges)
    yield from (part for part in ranges)  # a generator, since Ray sends to what it runs


def _same_as(expected: dict[str, str]) -> Any:
    ray = load_ray()
    check_versions(expected, str(ray.get_runtime_context().get_node_id()))
    return ray
