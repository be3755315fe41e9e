"""A round's sum without the round: the clients' own encodings, noise included, added without masks."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable
from functools import reduce

from protocols.core.machine import Values
from protocols.masking.config import RoundConfig
from protocols.masking.result import RoundResult
from secagg.randomness import RandomBytes
from secagg.residues import reduce_in_place


def unmasked_sum(
    config: RoundConfig,
    names: Iterable[str],
    inputs: Callable[[str], Values],
    *,
    session_id: bytes | None = None,
    random: Callable[[str], RandomBytes] = lambda name: os.urandom,
) -> RoundResult:
    """Return what a round with these survivors gives: equal to it bit by bit, by a test, given the same random bytes.

    Args:
        config: of the round.
        names: of the survivors.
        inputs: name -> what it hands in.
        session_id: of the round that is imitated; a fresh one when None.
        random: name -> where the bytes for rounding and noise come from.
    """
    session_id, survivors = session_id or os.urandom(32), tuple(names)
    encoded = (
        [part.residues for part in config.encode(inputs(name), session_id=session_id, random=random(name))]
        for name in survivors
    )
    totals = reduce(lambda sums, client: list(map(operator.add, sums, client)), encoded)
    residues = [reduce_in_place(total, codec.modulus_bits) for total, codec in zip(totals, config.codecs, strict=True)]
    return RoundResult.decode(config, session_id, residues, frozenset(survivors), {}, ())
