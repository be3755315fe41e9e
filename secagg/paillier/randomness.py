"""The noise of ciphertexts: fresh n-th residues mod n**2, drawn when they are needed or ahead of time.

Source: Damgard, Jurik, Nielsen 2010, optimised encryption: h**n to the power of an exponent of half the modulus's
length, in place of r**n for r uniform mod n. The power is read from a fixed-base table: see halves.py.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from math import gcd
from multiprocessing import get_context
from typing import NamedTuple, NoReturn, Protocol, final

from ..errors import ParameterError
from ..randomness import SYSTEM, RandomBytes, below
from . import integers
from .halves import Abreast, FixedBase
from .integers import WEIGHT_BITS, Integer, Progress, backend
from .keys import PrivateKey, PublicKey
from .montgomery import montgomery
from .powers import powmod_product

_BATCH = 16
"""Draws that a worker process makes at once, and reports together."""
_MANY = 400
"""Draws for which a table of bytes and one of half-bytes take the same time, tables included, at any length of keys."""

_ABREAST = 64
"""Draws that the vector unit makes at once, and then holds until they are asked for."""
_LEAST = 4
"""Draws from which on the vector unit is faster: eight at once take as long there as one or two one by one."""


class Noise(NamedTuple):
    """One draw: an n-th residue mod n**2, and what its source knows its root by. Secret, both of them."""

    residue: Integer
    known_by: Integer

    def __repr__(self) -> str:
        return "Noise(...)"


class NoiseSource(Protocol):
    """Draws n-th residues mod n**2 for one key; every draw is fresh."""

    public_key: PublicKey
    random: RandomBytes

    def draw(self) -> Noise:
        """Return a fresh n-th residue."""
        ...

    def draws(self, count: int) -> Iterator[Noise]:
        """Return `count` draws, made one by one as they are asked for; what they share is prepared at once."""
        ...

    def root(self, drawn: Sequence[Noise], weights: Sequence[int]) -> Integer:
        """Return the n-th root mod n of the product of what was drawn here, each to its weight of WEIGHT_BITS."""
        ...


def unit(n: int, random: RandomBytes) -> int:
    """Draw a number mod n that is invertible."""
    while gcd(root := below(n, random), n) != 1:
        pass  # never, unless the key's factors are found by chance
    return root


@final
class ShortExponents:
    """Noise with exponents of half the modulus's length, from a fixed-base table: the fast source.

    The table has a row of 16 residues for every four bits of an exponent, 2 MB at 2048 bits, until so many draws are
    expected that one of 256 for every byte pays: 17 MB at 2048 bits, 38 MB at 3072, and for the vector unit two thirds
    of that again. Keep the source as long as the key.

    Security: assumes that short powers of h are indistinguishable from uniform ones (SPEC section 20). Table look-ups
    depend on the secret exponent and are not constant-time.
    """

    def __init__(self, public_key: PublicKey, *, random: RandomBytes = SYSTEM) -> None:
        self.public_key = public_key
        self.random = random
        self.exponent_bytes = -(-public_key.key_bits // 16)
        self._asked = 0
        self._table: FixedBase | None = None
        self._abreast: Abreast | None = None

    def draw(self) -> Noise:
        """Return noise_base to the power of `exponent_bytes` random bytes, read as a little-endian integer."""
        return next(self.draws(1))

    def draws(self, count: int) -> Iterator[Noise]:
        """Build the table that suits what was asked of this source so far, and return `count` draws."""
        self._asked += count
        table, window = self._table, 8 if self._asked >= _MANY else 4
        if table is None or table.window < window:
            key = self.public_key
            table = self._table = FixedBase(key.noise_base, backend().integer(key.n), self.exponent_bytes, window)
        if self._abreast is None and table.window == 8:
            # its multiplications are by numbers half as long as the modulus
            arithmetic = montgomery(int(self.public_key.n_squared), self._asked * self.exponent_bytes // 2)
            self._abreast = None if arithmetic is None else table.abreast(arithmetic)
        return self._draws(count, table, self._abreast)

    def _draws(self, count: int, table: FixedBase, abreast: Abreast | None) -> Iterator[Noise]:
        while abreast is not None and count >= _LEAST:
            owner, batch = os.getpid(), min(count, _ABREAST)
            count -= batch
            exponents = [self.random(self.exponent_bytes) for _ in range(batch)]
            for power, exponent in zip(abreast.powers(exponents), exponents, strict=True):
                drawn = Noise(power, int.from_bytes(exponent, "little"))
                yield drawn if os.getpid() == owner else self.draw()  # a forked process has a copy of the batch
        for _ in range(count):
            exponent = self.random(self.exponent_bytes)
            yield Noise(table.power(exponent), int.from_bytes(exponent, "little"))

    def root(self, drawn: Sequence[Noise], weights: Sequence[int]) -> Integer:
        """Return noise_root to the sum of all exponents, each times its weight."""
        exponent = sum(noise.known_by * weight for noise, weight in zip(drawn, weights, strict=True))
        return backend().powmod(self.public_key.noise_root, exponent, self.public_key.n)

    def __repr__(self) -> str:
        return f"ShortExponents(public_key={self.public_key!r})"


@final
class FullExponents:
    """Noise as Paillier has it, r**n for r uniform mod n: no assumption beyond his, and over twenty times slower."""

    def __init__(self, public_key: PublicKey, *, random: RandomBytes = SYSTEM) -> None:
        self.public_key = public_key
        self.random = random

    def draw(self) -> Noise:
        """Return a fresh n-th residue."""
        root = unit(self.public_key.n, self.random)
        return Noise(backend().powmod(root, self.public_key.n, self.public_key.n_squared), root)

    def draws(self, count: int) -> Iterator[Noise]:
        """Return so many draws."""
        return (self.draw() for _ in range(count))

    def root(self, drawn: Sequence[Noise], weights: Sequence[int]) -> Integer:
        """Return the product of the roots that were drawn, each to its weight."""
        return powmod_product([noise.known_by for noise in drawn], weights, self.public_key.n, bits=WEIGHT_BITS)


@final
class KeyHolder:
    """Noise at full strength for whoever holds the private key, by the Chinese remainder theorem."""

    def __init__(self, private_key: PrivateKey, *, random: RandomBytes = SYSTEM) -> None:
        self.public_key = private_key.public_key
        self.random = random
        self._private_key = private_key

    def draw(self) -> Noise:
        """Return a fresh n-th residue."""
        residue = self._private_key.noise(random=self.random)
        return Noise(residue, residue)  # whoever has the factors knows every root

    def draws(self, count: int) -> Iterator[Noise]:
        """Return so many draws."""
        return (self.draw() for _ in range(count))

    def root(self, drawn: Sequence[Noise], weights: Sequence[int]) -> Integer:
        """Return the root of the product, by the factors."""
        n = self.public_key.n
        return self._private_key.root(
            powmod_product([noise.known_by % n for noise in drawn], weights, n, bits=WEIGHT_BITS)
        )


@final
class NoisePool:
    """Noise drawn ahead of time, given out once each; drawn on the spot when there is none left.

    A pool cannot be copied or pickled, and a forked process finds its copy empty: the same noise under two
    plaintexts shows their difference to everyone.
    """

    def __init__(self, source: NoiseSource) -> None:
        self.source = source
        self._ready: deque[Noise] = deque()
        self._owner = os.getpid()

    @property
    def public_key(self) -> PublicKey:
        """The key whose noise this is."""
        return self.source.public_key

    def __len__(self) -> int:
        self._disown_after_fork()
        return len(self._ready)

    def take(self) -> Noise:
        """Return noise that was never returned before."""
        return next(self.takes(1))

    def takes(self, count: int) -> Iterator[Noise]:
        """Return so much noise, each as `take` does; what the pool lacks is drawn as it is asked for."""
        missing = count - len(self)
        drawn = self.source.draws(missing) if missing > 0 else iter(())
        for _ in range(count):
            self._disown_after_fork()
            try:
                yield self._ready.popleft()
            except IndexError:
                yield next(drawn, None) or self.source.draw()  # the latter if somebody else took what was here

    def fill(self, count: int, *, workers: int = 1, progress: Progress | None = None) -> None:
        """Draw `count` more ahead of time, on `workers` processes.

        More than one worker needs a source that is built from the public key alone, and (as always with spawned
        processes) a main module that can be imported, and draws from the operating system.

        Raises:
            ParameterError: count is negative, workers is not positive, or several are to draw from a key holder's
                source or from randomness that was handed in.
        """
        count, workers = integers.whole("count", count), integers.whole("workers", workers)
        if count < 0 or workers < 1:
            raise ParameterError(f"count is {count} and workers {workers}, but must be at least 0 and 1")
        self._disown_after_fork()
        for noise in self._drawn(count, workers):
            self._ready.extend(noise)
            if progress is not None:
                progress(len(noise))

    def _drawn(self, count: int, workers: int) -> Iterator[list[Noise]]:
        batches = [min(_BATCH, count - start) for start in range(0, count, _BATCH)]
        if workers == 1:
            draws = self.source.draws(count)
            for batch in batches:
                yield list(islice(draws, batch))
            return
        if isinstance(self.source, KeyHolder):
            raise ParameterError("a key holder's noise is drawn on one worker: the private key stays in its process")
        if self.source.random is not SYSTEM:
            raise ParameterError("randomness that was handed in is drawn on one worker: it stays in its process")
        key = self.public_key
        arguments = (key.n, key.key_bits, type(self.source), -(-count // workers), backend().name)
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=_start, initargs=arguments) as processes:
            for data in processes.map(_draw, batches):
                numbers = integers.split(data, key.ciphertext_bytes)
                yield list(map(Noise, numbers[::2], numbers[1::2]))

    def _disown_after_fork(self) -> None:
        if self._owner != os.getpid():
            self._ready.clear()
            self._owner = os.getpid()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a noise pool is neither copied nor pickled: noise is used once")

    def __repr__(self) -> str:
        return f"NoisePool({self.source!r}, {len(self)} ready)"


_worker_source: list[NoiseSource] = []


def _start(
    n: int, key_bits: int, source: Callable[[PublicKey], NoiseSource], count: int, backend_name: str | None
) -> None:
    integers.choose(backend_name)
    _worker_source[:] = [source(PublicKey(n, _min_bits=key_bits))]
    _worker_source[0].draws(count)  # prepares for as many, and makes none


def _draw(count: int) -> bytes:
    source = _worker_source[0]
    numbers = [backend().integer(number) for noise in source.draws(count) for number in noise]
    return integers.join(numbers, source.public_key.ciphertext_bytes)
