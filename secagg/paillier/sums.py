"""Streaming sums: encrypted vectors are checked and multiplied into one running vector as they arrive.

Whether every ciphertext is invertible is asked of the running product: it is, if and only if all its factors are. One
question answers for a whole batch, and only a batch that fails is searched for the culprit and multiplied again
without it. That keeps the check's price, half a multiplication when asked of every ciphertext alone, near nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self, final

from ..errors import MalformedMessage, StateError
from . import integers
from .integers import backend
from .keys import PublicKey
from .lanes import Lanes
from .products import Products, products_of
from .randomness import NoisePool
from .vectors import EncryptedVector, check_header, rerandomise


@final
class Accumulator:
    """The running sum of encrypted vectors. Memory: one vector, and the batch that is being added.

    Threads may call any method at any time; batches are added one after another. A sum is neither copied nor pickled,
    and not used in a forked process: copies would share positions, but not the count of what is in them.

    Args:
        public_key: the key that everyone encrypts under.
        lanes: what every vector must look like.
        max_addends: the encoding's num_summands: more are refused, since a lane might overflow.
        workers: threads, or processes where the arithmetic holds the interpreter lock, that share the positions among
            them; 1 computes here. More than one needs (as always with spawned processes) a main module that can be
            imported, and `close` or a with statement at the end.
        parts: key, positions and max_addends -> what computes so many positions; `workers` is then how many parts there
            are. None computes on this machine.

    Raises:
        ParameterError: workers or max_addends is not positive.
    """

    def __init__(
        self, public_key: PublicKey, lanes: Lanes, *, max_addends: int, workers: int = 1, parts: Parts | None = None
    ) -> None:
        workers, max_addends = integers.positive("workers", workers), integers.positive("max_addends", max_addends)
        self.public_key = public_key
        self.lanes = lanes
        self.max_addends = max_addends
        self.num_addends = 0
        self._torn = False
        self._lock, self._process = threading.RLock(), os.getpid()
        count = lanes.num_plaintexts
        edges = [count * worker // workers for worker in range(workers + 1)]
        size = public_key.ciphertext_bytes
        self._bounds = [(low * size, high * size) for low, high in pairwise(edges) if low < high]
        counts = [(high - low) // size for low, high in self._bounds]
        made = parts or partial(_part, alone=workers == 1)
        self._slices = [made(public_key, number, max_addends) for number in counts]

    def add(self, vector: EncryptedVector, *, sender: int) -> None:
        """Check one vector and add it.

        Raises:
            MalformedMessage: the vector is refused and `sender` is the culprit; the sum is as it was.
        """
        rejected = self.add_batch({sender: vector})
        if rejected:
            raise rejected[sender]

    def add_batch(self, vectors: Mapping[int, EncryptedVector]) -> dict[int, MalformedMessage]:
        """Check vectors and add those that are sound: sender -> vector. The cheapest way to add: eight or more at once.

        Returns:
            sender -> why its vector was refused. The others are in the sum.

        Raises:
            StateError: an earlier batch was interrupted while it was kept, or this is a forked process.
        """
        with self._alone():
            return self._add(vectors)

    def _add(self, vectors: Mapping[int, EncryptedVector]) -> dict[int, MalformedMessage]:
        rejected: dict[int, MalformedMessage] = {}
        accepted: list[int] = []
        addends = self.num_addends
        for sender, vector in vectors.items():
            try:
                check_header(vector, self.public_key, self.lanes)
                if addends + vector.num_addends > self.max_addends:
                    raise MalformedMessage(
                        f"a vector of {vector.num_addends} addends, but there is room for {self.max_addends - addends}"
                    )
            except MalformedMessage as error:
                rejected[sender] = MalformedMessage(error.reason, culprits={sender})
            else:
                accepted.append(sender)
                addends += vector.num_addends
        bad = self._stage([memoryview(vectors[sender].data) for sender in accepted])
        for index in bad:
            rejected[accepted[index]] = MalformedMessage(
                "a ciphertext is not an invertible residue from 1 to n**2 - 1", culprits={accepted[index]}
            )
        self._torn = True  # until all slices have kept the same vectors, and their addends are counted
        self._call("commit", [(bad,)] * len(self._slices))
        self.num_addends += sum(vectors[sender].num_addends for sender in accepted if sender not in rejected)
        self._torn = False
        return rejected

    def total(self, noise: NoisePool) -> EncryptedVector:
        """Return the sum under fresh noise, ready to leave; more can be added afterwards.

        Raises:
            StateError: as `product`.
        """
        return rerandomise(self.product(), noise)

    def product(self) -> EncryptedVector:
        """Return the bare product of the ciphertexts, which everyone who adds the same vectors finds the same.

        Security: not for sending: whoever knows the addends can recognise it. `total` is.

        Raises:
            StateError: nothing was added yet, a batch was interrupted while it was kept, or this is a forked process.
        """
        with self._alone():
            if not self.num_addends:
                raise StateError("nothing was added yet: an empty sum has no ciphertext")
            data = b"".join(self._call("product", [()] * len(self._slices)))
            key, lanes = self.public_key, self.lanes
            return EncryptedVector(key.fingerprint, lanes.lane_bits, lanes.length, self.num_addends, data)

    def close(self) -> None:
        """End the worker processes."""
        for part in self._slices:
            part.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads out between trial and keeping: a batch of theirs would be kept in place of this one."""
        if self._process != os.getpid():
            raise StateError(f"this sum belongs to process {self._process}: start one after the fork")
        with self._lock:
            if self._torn:
                raise StateError(
                    "a batch was interrupted while it was kept, so that some positions may hold it and others not: "
                    "start the sum again"
                )
            yield

    def __reduce__(self) -> NoReturn:
        raise StateError("a sum is neither copied nor pickled: add its product to a sum of its own")

    def _stage(self, vectors: list[memoryview]) -> frozenset[int]:
        arguments = [([bytes(vector[low:high]) for vector in vectors],) for low, high in self._bounds]
        return frozenset[int]().union(*self._call("stage", arguments))

    def _call(self, method: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        futures = [part.call(method, *given) for part, given in zip(self._slices, arguments, strict=True)]
        return [future.result() for future in futures]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Slice:
    """A run of positions of the sum. `stage` tries a batch, `commit` keeps all of it that no slice found fault with."""

    def __init__(self, products: Products) -> None:
        self._products = products
        self._values: Any = self._products.empty()
        self._batch: list[bytes] = []
        self._bad: frozenset[int] = frozenset()
        self._staged = self._values

    def stage(self, batch: list[bytes]) -> frozenset[int]:
        """Multiply a batch in on trial, and return the indices of vectors with an invalid ciphertext."""
        self._batch = batch
        bad = self._multiply(frozenset())
        if not self._products.invertible(self._staged):
            bad = self._multiply(bad.union(i for i, data in enumerate(batch) if i not in bad and not self._sound(data)))
        self._bad = bad
        return bad

    def commit(self, bad: frozenset[int]) -> None:
        """Keep the batch without the vectors that any slice found bad."""
        if bad != self._bad:
            self._multiply(bad)
        self._values, self._batch = self._staged, []

    def product(self) -> bytes:
        """Return the positions' ciphertexts."""
        return self._products.ciphertexts(self._values)

    def _sound(self, data: bytes) -> bool:
        return self._products.invertible(self._products.times(self._products.empty(), data))

    def _multiply(self, skip: frozenset[int]) -> frozenset[int]:
        """Stage the product with all vectors but those to skip, and return these and those out of range."""
        values, bad = self._values, set(skip)
        for index, data in enumerate(self._batch):
            if index in skip:
                continue
            if self._products.in_range(data):
                values = self._products.times(values, data)
            else:
                bad.add(index)
        self._staged = values
        return frozenset(bad)


def multiply(
    public_key: PublicKey, count: int, max_addends: int, vectors: Sequence[bytes]
) -> tuple[frozenset[int], bytes]:
    """Multiply ciphertexts position by position; return places of vectors with an invalid one, and the others' product.

    Args:
        public_key: under which they are.
        count: positions of each vector, whose length is so many ciphertexts.
        max_addends: of the sum that this is a part of.
        vectors: fewer are fine, and none: then all positions are 1.
    """
    part = _Slice(products_of(public_key, count, max_addends))
    bad = part.stage(list(vectors))
    part.commit(bad)
    return bad, part.product()


def _part(public_key: PublicKey, count: int, max_addends: int, *, alone: bool) -> Part:
    """Return a slice here, or on a thread beside others where these run at the same time, or else in a process."""
    products = products_of(public_key, count, max_addends)
    if alone:
        return _Here(_Slice(products))
    return _Beside(_Slice(products)) if products.releases_lock else _There(public_key, count, max_addends)


class Part(Protocol):
    """What computes a run of positions of a sum, here or elsewhere."""

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        """Call `stage` with the vectors' bytes, `commit` with the places of those to leave out, or `product`.

        `stage` multiplies vectors in on trial, and gives the places of those with an invalid ciphertext. `commit` keeps
        all others. `product` gives what was kept, as ciphertexts.
        """

    def close(self) -> None:
        """End what runs it."""


Parts = Callable[[PublicKey, int, int], Part]


class _Here:
    """A slice in this thread."""

    def __init__(self, part: _Slice) -> None:
        self._slice = part

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(getattr(self._slice, method)(*arguments))
        return future

    def close(self) -> None:
        """Nothing to end."""


class _Beside:
    """A slice on a thread of its own."""

    def __init__(self, part: _Slice) -> None:
        self._slice = part
        self._thread = ThreadPoolExecutor(1)

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        return self._thread.submit(getattr(self._slice, method), *arguments)

    def close(self) -> None:
        self._thread.shutdown()


class _There:
    """A slice in a process of its own: an executor with one worker, which therefore keeps its state between calls."""

    def __init__(self, public_key: PublicKey, count: int, max_addends: int) -> None:
        arguments = (public_key.n, public_key.key_bits, count, max_addends, backend().name)
        self._process = ProcessPoolExecutor(1, get_context("spawn"), initializer=_start, initargs=arguments)

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        return self._process.submit(_call, method, *arguments)

    def close(self) -> None:
        self._process.shutdown()


_worker_slice: list[_Slice] = []


def _start(n: int, key_bits: int, count: int, max_addends: int, backend_name: str | None) -> None:
    integers.choose(backend_name)
    _worker_slice[:] = [_Slice(products_of(PublicKey(n, _min_bits=key_bits), count, max_addends))]


def _call(method: str, *arguments: Any) -> Any:
    return getattr(_worker_slice[0], method)(*arguments)
