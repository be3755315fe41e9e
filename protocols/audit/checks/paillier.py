"""Paillier summation: exact, bound to its key, and opened by a committee alone."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from secagg.encoding import FixedPoint, Rounding
from secagg.errors import MalformedMessage
from secagg.paillier import (
    Accumulator,
    KeyHolder,
    KeyShare,
    Lanes,
    NoisePool,
    ThresholdKey,
    deal,
    decrypt,
    encrypt,
    generate,
)
from secagg.signatures import Identity

from ...core.machine import Inputs, Participant
from ...core.participants import Participants
from ...paillier.aggregator import Aggregator
from ...paillier.contributor import UPDATE, Contributor
from ...paillier.member import CommitteeMember
from ...paillier.parameters import RoundParameters
from ...simulation.driver import Session
from ..outcome import Check, Found, Trials, Unavailable, demand, demand_refusal

_KEY_BITS = 2048
_LENGTH = 50
_CONTRIBUTORS = 5
_THRESHOLD, _MEMBERS = 3, 4


def _need(library: str) -> None:
    """Keys are made by phe; without gmpy2, safe primes take minutes."""
    if find_spec(library) is None:
        raise Unavailable(f"{library} is not installed: in a checkout of secagg, pip install '.[paillier]'")


@cache
def _dealt() -> tuple[ThresholdKey, list[KeyShare]]:
    """Search two safe primes, once an audit."""
    return deal(_THRESHOLD, _MEMBERS, key_bits=_KEY_BITS)


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
    key, shares = _dealt()
    report = run_round(key, shares, 6, _LENGTH, dropout=0.34)
    demand(report.exact, "the sum that the committee opened is wrong")
    return Found(
        {"clients": report.clients, "in the sum": report.survivors, "committee": _MEMBERS, "threshold": _THRESHOLD}
    )


def _replayed(trials: Trials) -> Found:
    """Let a contributor hand in, as its own, what another one encrypted in an earlier session under the same key."""
    _need("gmpy2")
    key, shares = _dealt()
    names, officers = Participants.numbered(_CONTRIBUTORS), Participants.numbered(_MEMBERS, "member")
    identities = {name: Identity.generate() for name in (*names, *officers)}
    public = {name: identity.public_bytes for name, identity in identities.items()}
    stolen: list[Any] = []
    for rng, thief in zip(trials.each(2), (None, names.names[1]), strict=True):
        parameters = RoundParameters(
            key,
            FixedPoint(1.0, 16, _CONTRIBUTORS, rounding=Rounding.NEAREST),
            _LENGTH,
            contributors=Participants({name: public[name] for name in names}),
            members=Participants({name: public[name] for name in officers}),
            min_contributors=3,
            nonce=rng.bytes(32),
        )
        with Aggregator(parameters, workers=1) as aggregator:

            def join(name: str, parameters: RoundParameters = parameters, thief: str | None = thief) -> Participant:
                if name in parameters.members.names:
                    share = shares[parameters.members.number(name) - 1]
                    return CommitteeMember(parameters, share, identities[name])
                joining: Any = Contributor(parameters, name, identities[name])
                commit_to = joining.commit_to

                def commit(update: Any) -> Any:
                    stolen.append(update)
                    return commit_to(stolen[0] if name == thief else update)

                joining.commit_to = commit
                return joining  # type: ignore[no-any-return]

            given = {name: Inputs({UPDATE: rng.uniform(-1, 1, _LENGTH)}) for name in names}
            result = Session(aggregator, join, given.__getitem__).run()
        demand(
            thief not in result.survivors,
            "what one contributor encrypted in a session is summed as another's in the next, and so read",
        )
        demand(
            len(result.survivors) == _CONTRIBUTORS - (thief is not None), "who contributed rightly is not in the sum"
        )
    return Found({"sessions": 2, "contributors": _CONTRIBUTORS})


CHECKS = (
    Check(
        "paillier",
        "sums",
        "encrypted sums are exact, and what is not of this key or round is refused",
        _sums,
        repeatable=False,
    ),
    Check("paillier", "replayed", "nobody can hand in what another has encrypted", _replayed, repeatable=False),
    Check(
        "paillier",
        "round",
        "a committee opens the exact sum of a round with dropouts, and proves it",
        _round,
        repeatable=False,
    ),
)
