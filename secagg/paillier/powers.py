"""Many powers at once: one exponent, one modulus, on the vector unit where that is worth it, else on threads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from .integers import Integer, Progress, backend
from .montgomery import montgomery

_CHUNK = 64
"""Exponentiations between two reports of progress."""


def powmod_all(
    bases: Sequence[Integer],
    exponent: Integer,
    modulus: Integer,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Integer]:
    """Raise every base, a residue of the modulus, to one exponent, on `workers` threads.

    gmpy2 and the compiled loops release the interpreter lock; Python's own integers do not, and take one thread.

    Args:
        bases: from 0 to modulus - 1.
        exponent: not negative.
        modulus: positive.
        workers: threads.
        progress: told of every power.
    """
    arithmetic = backend()
    exponent, modulus = arithmetic.integer(exponent), arithmetic.integer(modulus)
    abreast = montgomery(int(modulus), len(bases) * exponent.bit_length())
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
