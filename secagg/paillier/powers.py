"""Many powers at once, mod one modulus, on the vector unit where that is worth it: to one exponent, or multiplied."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from .integers import Integer, Progress, backend, positive
from .montgomery import montgomery
from .squares import squares

_CHUNK = 64
"""Exponentiations between two reports of progress."""


def powmod_all(
    bases: Sequence[Integer],
    exponent: Integer,
    modulus: Integer,
    *,
    root: Integer | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Integer]:
    """Raise every base, a residue of the modulus, to one exponent, on `workers` threads.

    gmpy2 and the compiled loops release the interpreter lock; Python's own integers do not, and take one thread.

    Args:
        bases: from 0 to modulus - 1.
        exponent: not negative.
        modulus: positive.
        root: its square root, where it is the square of a number that is known: powers take half as long then.
        workers: threads.
        progress: told of every power.

    Raises:
        ParameterError: workers is no positive integer.
    """
    arithmetic, workers = backend(), positive("workers", workers)
    exponent, modulus = arithmetic.integer(exponent), arithmetic.integer(modulus)
    multiplications = len(bases) * exponent.bit_length()
    abreast = montgomery(int(modulus), multiplications) if root is None else squares(int(root), multiplications)
    chunks = [list(bases[start : start + _CHUNK]) for start in range(0, len(bases), _CHUNK)]

    def compute(chunk: list[Integer]) -> list[Integer]:
        if abreast is not None:
            return abreast.power_all(chunk, int(exponent))
        return arithmetic.powmod_many([arithmetic.integer(base) for base in chunk], exponent, modulus)

    results: list[Integer] = []
    with ThreadPoolExecutor(workers if abreast or arithmetic.releases_lock else 1) as threads:
        for powers in threads.map(compute, chunks):
            results.extend(powers)
            if progress is not None:
                progress(len(powers))
    return results


def powmod_product(
    bases: Sequence[Integer], exponents: Sequence[int], modulus: Integer, *, bits: int, times: int = 1
) -> Integer:
    """Return the product of base ** exponent, for public exponents.

    Source: Pippenger's bucket method: one multiplication a base and window, and two for each number that a window can
    hold, with windows as long as suits so many bases.

    Args:
        bases: from 0 to modulus - 1.
        exponents: from 0 to 2**bits - 1.
        modulus: positive.
        bits: how long exponents are.
        times: how often this is going to be asked, which may make the vector unit worth it.
    """
    product = abreast_product(bases, exponents, modulus, bits=bits, times=times)
    return _product(bases, exponents, modulus, bits) if product is None else product


def abreast_product(
    bases: Sequence[Integer], exponents: Sequence[int], modulus: Integer, *, bits: int, times: int
) -> int | None:
    """Return what `powmod_product` does from the vector unit, or None if that is not there, or not worth it."""
    multiplications = _multiplications(len(bases), bits, best_window(len(bases), bits))
    abreast = montgomery(int(modulus), times * multiplications)
    if abreast is None:
        return None
    window = best_window(-(-len(bases) // 8), bits)
    return abreast.product_of_powers(bases, exponents, window, -(-bits // window))


def _multiplications(count: int, bits: int, window: int) -> int:
    return -(-bits // window) * (count + (2 << window))


def best_window(count: int, bits: int) -> int:
    """Return how many bits of an exponent to take at once, with so many bases."""
    return min(range(1, 17), key=lambda window: _multiplications(count, bits, window))


def _product(bases: Sequence[Integer], exponents: Sequence[int], modulus: Integer, bits: int) -> Integer:
    arithmetic = backend()
    modulus, window = arithmetic.integer(modulus), best_window(len(bases), bits)
    one = result = arithmetic.integer(1)
    mask = (1 << window) - 1
    for place in reversed(range(0, bits, window)):
        result = arithmetic.powmod(result, 1 << window, modulus)
        buckets: list[Integer] = [one] * (1 << window)
        for base, exponent in zip(bases, exponents, strict=True):
            digit = exponent >> place & mask
            if digit:
                buckets[digit] = buckets[digit] * base % modulus
        result = result * bucket_product(buckets, modulus) % modulus
    return result


def bucket_product(buckets: Sequence[Integer], modulus: Integer) -> Integer:
    """Return the product of all buckets, each to the power of its index."""
    running = total = backend().integer(1)
    for bucket in reversed(buckets[1:]):  # bucket d enters the running product at d, and so d times in total
        running = running * bucket % modulus
        total = total * running % modulus
    return total
