"""Big-integer arithmetic: gmpy2 where it is installed, Python's own integers where not. Same results, other speed.

Everything in this package computes through `backend()`. An `Integer` is an int or a gmpy2.mpz: both take the same
operators and methods, and nothing public returns the latter.
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from ..derivation import Label, frame
from ..errors import ParameterError
from ..randomness import SYSTEM, below

Integer = Any

WEIGHT_BITS = 128
"""Bits of the public weights that combine many ciphertexts, or their noise, into one."""

Progress = Callable[[int], None]
"""Called with how many elements have been dealt with since the last call."""


class Backend(NamedTuple):
    """The operations whose speed matters, from one library; `name` is what `choose` takes."""

    name: str | None
    integer: Callable[[int], Integer]
    from_bytes: Callable[[bytes, str], Integer]
    powmod: Callable[[Integer, Integer, Integer], Integer]
    powmod_many: Callable[[list[Integer], Integer, Integer], list[Integer]]
    invert: Callable[[Integer, Integer], Integer]
    gcd: Callable[[Integer, Integer], Integer]
    releases_lock: bool
    abreast: bool = False
    """Whether much of the same at once may go to the processor's vector unit: see montgomery.py."""


def _int_from_bytes(data: bytes, order: str) -> int:
    return int.from_bytes(data, "big" if order == "big" else "little")


PYTHON = Backend(
    name="python",
    integer=int,
    from_bytes=_int_from_bytes,
    powmod=pow,
    powmod_many=lambda bases, exponent, modulus: [pow(base, exponent, modulus) for base in bases],
    invert=lambda value, modulus: pow(value, -1, modulus),
    gcd=math.gcd,
    releases_lock=False,
)


@cache
def _gmpy2() -> Backend | None:
    try:
        import gmpy2
    except ImportError:
        return None
    return Backend(
        name="gmpy2",
        integer=gmpy2.mpz,
        from_bytes=gmpy2.mpz.from_bytes,
        powmod=gmpy2.powmod,
        powmod_many=gmpy2.powmod_base_list,
        invert=gmpy2.invert,
        gcd=gmpy2.gcd,
        releases_lock=True,
    )


_chosen: list[Backend] = []


def backend() -> Backend:
    """Return the fastest backend there is, with the vector unit's help, or the one that `choose` named."""
    if not _chosen:
        _chosen.append(_fastest())
    return _chosen[0]


def _fastest() -> Backend:
    return (_gmpy2() or PYTHON)._replace(name=None, abreast=True)


def choose(name: str | None) -> None:
    """Compute with the backend of that name alone from now on: "gmpy2", "python", or None for the fastest there is.

    Keys, tables and sums that exist already keep the integers they were made of, which is harmless: the two mix.

    Raises:
        ParameterError: no such backend, or gmpy2 is not installed.
    """
    known = {"python": PYTHON, "gmpy2": _gmpy2(), None: _fastest()}
    chosen = known.get(name)
    if chosen is None:
        raise ParameterError(f"there is no backend {name!r} here: use 'python', or install gmpy2")
    _chosen[:] = [chosen]


def whole(name: str, value: object) -> int:
    """Return an integer of Python's or numpy's as one of Python's.

    Raises:
        ParameterError: the value is anything else, or a boolean.
    """
    try:
        return _index(value)
    except TypeError:
        raise ParameterError(f"{name} is {value!r:.50}, but must be an integer") from None


def positive(name: str, value: object) -> int:
    """Return an integer as `whole` does; raise ParameterError if it is below 1, too."""
    number = whole(name, value)
    if number < 1:
        raise ParameterError(f"{name} is {number}, but must be 1 at least")
    return number


def _index(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def all_invertible(values: Iterable[Integer], modulus: Integer) -> bool:
    """Tell whether no value shares a factor with the modulus: one gcd for all of them, on their product."""
    arithmetic = backend()
    modulus = arithmetic.integer(modulus)
    product = arithmetic.integer(1)
    for value in values:
        product = product * (value % modulus) % modulus
    return bool(arithmetic.gcd(product, modulus) == 1)


def inverses(values: Sequence[Integer], modulus: Integer) -> list[Integer]:
    """Return the inverses of values that are invertible: one inversion for all of them, of their product."""
    product, before = backend().integer(1), []
    for value in values:
        before.append(product)
        product = product * value % modulus
    inverse, found = backend().invert(product, modulus), []
    for value, others in zip(reversed(values), reversed(before), strict=True):
        found.append(inverse * others % modulus)
        inverse = inverse * value % modulus
    return found[::-1]


def is_probable_prime(candidate: int, rounds: int = 40) -> bool:
    """Miller-Rabin with random bases: a composite passes with probability below 4**-rounds."""
    if candidate < 4:
        return candidate in (2, 3)
    if candidate % 2 == 0:
        return False
    powmod = backend().powmod
    twos = ((candidate - 1) & -(candidate - 1)).bit_length() - 1
    odd = (candidate - 1) >> twos
    for _ in range(rounds):
        power = powmod(below(candidate - 3, SYSTEM) + 2, odd, candidate)
        if power in (1, candidate - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % candidate
            if power == candidate - 1:
                break
        else:
            return False
    return True


def width(modulus: int) -> int:
    """Return how many bytes a residue of the modulus takes."""
    return (int(modulus).bit_length() + 7) // 8


def to_bytes(value: Integer, num_bytes: int) -> bytes:
    """Write an integer as exactly num_bytes bytes, big-endian."""
    return bytes(value.to_bytes(num_bytes, "big"))


def join(values: Iterable[Integer], num_bytes: int) -> bytes:
    """Write integers side by side, num_bytes each, big-endian."""
    return b"".join([value.to_bytes(num_bytes, "big") for value in values])


def split(data: bytes | memoryview, num_bytes: int) -> list[Integer]:
    """Read back what `join` wrote; the length must be a multiple of num_bytes."""
    from_bytes = backend().from_bytes
    data = bytes(data)
    return [from_bytes(data[start : start + num_bytes], "big") for start in range(0, len(data), num_bytes)]


def expand(label: Label, *context: bytes, length: int) -> bytes:
    """Hash to `length` public bytes: SHAKE-256 of `frame(label, *context)`, a random oracle of any length."""
    return hashlib.shake_256(frame(label, *context)).digest(length)


def weights_of(label: Label, transcript: bytes, count: int) -> list[int]:
    """Return so many public numbers of WEIGHT_BITS that depend on all of the transcript, and are chosen by nobody."""
    size = WEIGHT_BITS // 8
    stream = expand(label, transcript, length=size * count)
    return [int.from_bytes(stream[start : start + size], "big") for start in range(0, len(stream), size)]
