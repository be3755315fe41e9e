"""Loads compiled loops before they are needed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from dp.samplers import discrete_gaussian
from secagg import shamir
from secagg.encoding import FixedPoint, Rounding
from secagg.loops import prefer_compiled
from secagg.prg import SEED_BYTES, add_streams
from secagg.residues import lane_dtype, pack, unpack

from .config import RoundConfig

_LANES = (31, 57, 63)  # each by another loop
_SHARES = 5
_SEEDS = [bytes([number]) * SEED_BYTES for number in range(8)]


def warm_up(config: RoundConfig | None = None) -> None:
    """Load the compiled loops that rounds use, so that no message of a new process has to wait for them.

    It takes about a second in a new process, and some ten where nothing was compiled before. A service calls it before
    its event loop runs, or on another thread. Any thread may call it, and again, which costs nothing. A process that
    lives for one message does without: numpy is done before loops are loaded, with the same bits.

    Args:
        config: a round, to load what it uses and no more; what all rounds use when None.
    """
    prefer_compiled()
    for bits in _LANES if config is None else sorted({codec.modulus_bits for codec in config.codecs}):
        lanes = np.zeros(2, dtype=lane_dtype(bits))
        add_streams([lanes], add=_SEEDS, subtract=_SEEDS)
        unpack(pack(lanes, bits), bits, 2)
    if config is None:
        discrete_gaussian(3.0, 100)
        for rounding in Rounding:
            FixedPoint(clip=1.0, value_bits=16, num_summands=2, rounding=rounding).encode(np.zeros(1))
    else:
        for codec in config.codecs:
            codec.warm_up()
    shares = shamir.split(bytes(32), threshold=2, indices=range(1, _SHARES + 1))
    table = np.array([[list(shares[1]), list(shares[2])]], dtype=np.uint8)
    shamir.reconstruct_many([[1, 2]], table, num_bytes=32)
    shamir.reconstruct_robust(shares | {1: b"\1" + shares[1][1:]}, threshold=2, num_bytes=32)


@dataclass(frozen=True)
class KeptLoops:
    """Where the compiled loops of this process are kept.

    Attributes:
        places: folder -> how many loops are kept there.
        compiled: how many versions of loops this process has compiled.
        read: how many it has read.
        lost: how many loops are kept nowhere, so that each process compiles them for itself.
    """

    places: dict[str, int]
    compiled: int
    read: int
    lost: int


def kept_loops() -> KeptLoops:
    """Tell where the loops are kept that this process has loaded, after `warm_up`."""
    from dp._compiling import LOOPS as OF_DP
    from secagg._compiling import LOOPS as OF_SECAGG

    known = [loop.stats for loop in (*OF_SECAGG, *OF_DP)]
    places = Counter(stats.cache_path for stats in known if stats.cache_path)
    compiled = sum(sum(stats.cache_misses.values()) for stats in known)
    read = sum(sum(stats.cache_hits.values()) for stats in known)
    return KeptLoops(dict(places), compiled, read, len(known) - places.total())
