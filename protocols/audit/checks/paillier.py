"""Paillier summation: exact, bound to its key, and opened by a committee alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np

from secagg.encoding import FixedPoint, Rounding
from secagg.errors import MalformedMessage
from secagg.paillier import Accumulator, KeyHolder, Lanes, NoisePool, deal, decrypt, encrypt, generate

from ..outcome import Check, Found, Trials, Unavailable, demand, demand_refusal

_KEY_BITS = 2048
_LENGTH = 50


def _need(library: str) -> None:
    """Keys are made by phe; without gmpy2, safe primes take minutes."""
    if find_spec(library) is None:
        raise Unavailable(f"{library} is not installed: pip install 'secagg[paillier]'")


def _sums(trials: Trials) -> Found:
    _need("phe")
    key = generate(_KEY_BITS)
    noise = NoisePool(KeyHolder(key))
    other = NoisePool(KeyHolder(generate(_KEY_BITS)))
    count = trials.share(10)
    for rng in trials.each(count):
        clients = int(rng.integers(2, 6))
        codec = FixedPoint(1.0, 16, clients, rounding=Rounding.NEAREST)
        lanes = Lanes(_KEY_BITS, codec.modulus_bits, _LENGTH)
        vectors, plain = [], np.zeros(_LENGTH, dtype=np.int64)
        for _ in range(clients):
            values = rng.uniform(-1.2, 1.2, _LENGTH)
            vectors.append(encrypt(codec.encode(values).residues, lanes, noise))
            plain += np.rint(np.clip(values, -1, 1) * codec.max_level).astype(np.int64)
        with Accumulator(key.public_key, lanes, max_addends=clients) as total:
            for sender, vector in enumerate(vectors):
                total.add(vector, sender=sender)
            foreign = encrypt(codec.encode(np.zeros(_LENGTH)).residues, lanes, other)
            extra = partial(total.add, foreign, sender=clients)
            demand_refusal(extra, MalformedMessage, "a vector under another key")
            demand_refusal(
                partial(total.add, vectors[0], sender=0), MalformedMessage, "an addend beyond the lanes' room"
            )
            summed = total.total(noise)
        opened = codec.decode_levels(decrypt(summed, lanes, key), num_summands=clients)
        demand(np.array_equal(opened, plain), f"the encrypted sum of {clients} vectors is wrong")
        zero = replace(summed, data=bytes(len(summed.data)))
        demand_refusal(partial(decrypt, zero, lanes, key), MalformedMessage, "a ciphertext of zero")
        again = encrypt(codec.encode(np.zeros(_LENGTH)).residues, lanes, noise)
        demand(
            again.data != encrypt(codec.encode(np.zeros(_LENGTH)).residues, lanes, noise).data, "noise was used twice"
        )
    return Found({"sums": count, "key bits": _KEY_BITS})


def _round(trials: Trials) -> Found:
    from ...simulation.paillier import run_round

    _need("gmpy2")
    (_,) = trials.each(1)
    key, shares = deal(2, 3, key_bits=_KEY_BITS)
    report = run_round(key, shares, 6, _LENGTH, dropout=0.34)
    demand(report.exact, "the sum that the committee opened is wrong")
    return Found({"clients": report.clients, "in the sum": report.survivors, "committee": 3, "threshold": 2})


CHECKS = (
    Check(
        "paillier",
        "sums",
        "encrypted sums are exact, and what is not of this key or round is refused",
        _sums,
        repeatable=False,
    ),
    Check(
        "paillier",
        "round",
        "a committee opens the exact sum of a round with dropouts, and proves it",
        _round,
        repeatable=False,
    ),
)
