"""What the audit's checks on real randomness, statistics and accounts must notice: faults put into the library."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

import dp.distributed
from dp import rotation, samplers
from dp.ledger import compositions, views
from dp.ledger.book import Account, Book
from dp.randomness import WordStream
from protocols.audit import strings
from protocols.audit.checks import thresholds
from protocols.core.threat_model import Adversary
from protocols.inputs import private_codecs
from protocols.masking import derivations, topology
from protocols.masking.client import client, steps
from protocols.masking.client.state import Invited
from protocols.masking.messages import Invitation
from protocols.masking.server import Server
from secagg import aead, encoding, field, shamir
from secagg.encoding import FixedPoint
from secagg.key_agreement import KeyPair
from secagg.signatures import Identity

Patch = pytest.MonkeyPatch
Sabotage = Callable[[Patch], None]


def by_default(function: Any, draw: Callable[[int], bytes]) -> Sabotage:
    """Let a function that is handed no source draw from this one."""
    return lambda patch: patch.setitem(function.__kwdefaults__, "random", draw)


def whatever_is_handed_in(function: Any, draw: Callable[[int], bytes]) -> Sabotage:
    """Let a class method that makes a key draw from this source, whatever it is handed."""
    owner = function.__self__
    return lambda patch: patch.setattr(owner, "generate", classmethod(lambda cls, **_: cls(draw(32))))


def constant(size: int) -> bytes:
    return b"\x17" * size


def padded(size: int) -> bytes:
    """Only 16 bits, and zeros."""
    return os.urandom(2).ljust(size, b"\0")


def repeated(size: int) -> bytes:
    return os.urandom(2) * (size // 2)


def hashed(size: int) -> bytes:
    """Only 16 bits, in a disguise that no test of uniformity sees through."""
    return hashlib.sha256(os.urandom(2)).digest()[:size]


def around(owner: Any, name: str, wrapper: Callable[..., Any]) -> Sabotage:
    """Replace a function by one that gets it as its first argument."""
    original = getattr(owner, name)
    return lambda patch: patch.setattr(owner, name, lambda *args, **given: wrapper(original, *args, **given))


def _nonces(draw: Callable[[int], bytes]) -> Sabotage:
    return around(aead, "seal", lambda seal, *args, **given: seal(*args, **(given | {"random": draw})))


def _keys_of_noise(draw: Callable[[int], bytes]) -> Sabotage:
    return around(WordStream, "__init__", lambda init, *args, random: init(*args, random=draw))


def _split(change: Callable[[Any], Any]) -> Sabotage:
    def evaluate(original: Any, coefficients: Any, points: Any) -> Any:
        return original(np.concatenate([coefficients[:1], change(coefficients[1:])]), points)

    return around(field, "evaluate", evaluate)


def _of_degree_one(random: Any) -> Any:
    return np.concatenate([random[:1], np.zeros_like(random[1:])])


def _all_alike(random: Any) -> Any:
    return np.repeat(random[:1], len(random), axis=0)


def _self_mask_seeds(draw: Callable[[int], bytes]) -> Sabotage:
    def advertise(party: steps.Party, state: Any, invitation: Invitation) -> Any:
        following, keys = steps.advertise(party, state, invitation)
        commitment = derivations.self_mask_commitment(keys.session_id, keys.sender, seed := draw(32))
        keys = msgspec.structs.replace(keys, self_mask_commitment=commitment)
        return msgspec.structs.replace(following, self_mask_seed=seed, advertised=keys), keys

    return lambda patch: patch.setitem(client._STEPS, (Invited, Invitation), advertise)


def _session_shares_of_degree_one(patch: Patch) -> None:
    def split(secret: bytes, *, threshold: int, indices: Any, random: Any) -> dict[int, bytes]:
        row = 4 * shamir.num_elements(len(secret))
        one = lambda size: os.urandom(min(row, size)).ljust(size, b"\0")  # noqa: E731
        return shamir.split(secret, threshold=threshold, indices=indices, random=one)

    patch.setattr(steps, "shamir", SimpleNamespace(split=split))


def _narrower(factor: float) -> Sabotage:
    return around(
        dp.distributed, "discrete_gaussian", lambda draw, sigma, *args, **given: draw(sigma * factor, *args, **given)
    )


def _threshold_of_complete_graphs(change: int) -> Sabotage:
    def off(derive: Any, *args: Any, **given: Any) -> Any:
        found = derive(*args, **given)
        return replace(found, threshold=found.threshold + change) if found.complete else found

    return around(thresholds, "derive_topology", off)


def _two_stories_forgotten(patch: Patch) -> None:
    patch.setattr(thresholds, "derive_topology", topology.derive_topology.__wrapped__)
    patch.setattr(Adversary, "may_equivocate", property(lambda self: False))


def _counts_without_noise(patch: Patch) -> None:
    def encode(self: private_codecs.NoisyCounts, value: Any, *_: Any) -> encoding.Encoded:
        return encoding.Encoded(encoding.to_residues(value.astype(np.int64) * self.spec.scale, self.modulus_bits), 0)

    patch.setattr(private_codecs.NoisyCounts, "_encode", encode)


def _nothing_drawn_when_few(patch: Patch) -> None:
    patch.setattr(samplers, "reference_sample", lambda law, random: 0)


def _rotated_by(seed: Callable[[bytes, str], bytes]) -> Sabotage:
    return lambda patch: patch.setattr(private_codecs, "rotation_seed", seed)


SABOTAGES: tuple[tuple[str, str, Sabotage], ...] = (
    ("freshness/parties", "constant self-mask seed", _self_mask_seeds(constant)),
    ("freshness/parties", "self-mask seed of 16 bits", _self_mask_seeds(hashed)),
    ("freshness/parties", "constant session nonce", by_default(Server.__init__, constant)),
    ("freshness/parties", "session nonce of 16 bits", by_default(Server.__init__, padded)),
    (
        "freshness/parties",
        "constant session id",
        lambda patch: patch.setattr(Invitation, "session_id", property(lambda self: constant(32))),
    ),
    ("freshness/parties", "X25519 keys of 16 bits, repeated", whatever_is_handed_in(KeyPair.generate, repeated)),
    ("freshness/parties", "X25519 keys of 16 bits, hashed", whatever_is_handed_in(KeyPair.generate, hashed)),
    ("freshness/identities", "Ed25519 keys of 16 bits, repeated", whatever_is_handed_in(Identity.generate, repeated)),
    ("freshness/identities", "Ed25519 keys of 16 bits, hashed", whatever_is_handed_in(Identity.generate, hashed)),
    ("freshness/nonces", "nonces of 16 bits", _nonces(padded)),
    ("freshness/nonces", "nonces of 16 bits, hashed", _nonces(hashed)),
    (
        "freshness/coefficients",
        "low 16 bits zero",
        around(field, "random_elements", lambda draw, count, **given: draw(count, **given) & np.uint64(0x7FFF0000)),
    ),
    (
        "freshness/coefficients",
        "a bit too few",
        around(field, "random_elements", lambda draw, count, **given: draw(count, **given) >> 1),
    ),
    ("freshness/coefficients", "nothing above x", _split(_of_degree_one)),
    ("freshness/coefficients", "all powers alike", _split(_all_alike)),
    ("freshness/coins", "constant seed of roundings", by_default(FixedPoint.quantise, constant)),
    ("freshness/coins", "constant key of noise", _keys_of_noise(constant)),
    ("freshness/coins", "key of noise of 16 bits", _keys_of_noise(hashed)),
    ("freshness/sessions", "nonces of 16 bits", _nonces(padded)),
    ("freshness/sessions", "constant self-mask seed", _self_mask_seeds(constant)),
    ("freshness/sessions", "clients' shares of degree one", _session_shares_of_degree_one),
    ("freshness/control", "a test that passes all", lambda patch: patch.setattr(strings, "fresh", lambda *_: {})),
    ("noise/few-gaussian", "always zero", _nothing_drawn_when_few),
    ("noise/few-laplace", "always zero", _nothing_drawn_when_few),
    ("noise/few-encoded", "always zero", _nothing_drawn_when_few),
    ("noise/few-encoded", "counts without noise", _counts_without_noise),
    ("noise/client", "a fortieth too narrow", _narrower(0.975)),
    ("noise/client", "a fortieth too wide", _narrower(1.025)),
    ("noise/rounding", "plain, up by 1 %", around(encoding, "_uniforms", lambda draw, *given: draw(*given) * 0.99)),
    (
        "noise/rounding",
        "private, up by 1 %",
        around(WordStream, "take", lambda take, *given: take(*given) // np.uint64(100) * np.uint64(99)),
    ),
    ("vectors/thresholds", "one too few in complete graphs", _threshold_of_complete_graphs(-1)),
    ("vectors/thresholds", "one too many in complete graphs", _threshold_of_complete_graphs(1)),
    ("vectors/thresholds", "two stories are not thought of", _two_stories_forgotten),
    ("private/counts", "counts without noise", _counts_without_noise),
    ("private/small", "always zero", _nothing_drawn_when_few),
    ("private/small", "counts without noise", _counts_without_noise),
    ("private/rotation", "a constant seed", _rotated_by(lambda session_id, name: constant(32))),
    ("private/rotation", "the same for all vectors", _rotated_by(lambda session_id, name: session_id)),
    (
        "private/rotation",
        "the same in all sessions",
        _rotated_by(lambda session_id, name: hashlib.sha256(name.encode()).digest()),
    ),
    ("private/rotation", "all signs alike", lambda patch: patch.setattr(rotation, "_signs", lambda _, n: np.ones(n))),
    (
        "ledger/sums",
        "delta is not charged",
        around(compositions, "_sum_charge", lambda charge, spend: (charge(spend)[0], 0)),
    ),
    (
        "ledger/reservations",
        "reservations hold nothing",
        lambda patch: patch.setattr(Account, "taken", property(lambda self: self.spent)),
    ),
    (
        "ledger/renyi",
        "a tenth is charged",
        around(compositions, "_renyi_charge", lambda charge, *given: tuple(one // 10 for one in charge(*given))),
    ),
    (
        "ledger/renyi",
        "a thousandth less is charged",
        around(
            compositions, "_renyi_charge", lambda charge, *given: tuple(one * 999 // 1000 for one in charge(*given))
        ),
    ),
    ("ledger/releases", "releases are not counted", around(compositions, "_release_charge", lambda *_: (0,))),
    (
        "ledger/releases",
        "two more than fit",
        around(compositions, "_most_releases", lambda most, budget: most(budget) + 2),
    ),
    (
        "ledger/participants",
        "who was absent is charged",
        lambda patch: patch.setattr(Book, "excuse", lambda *_: None),
    ),
    (
        "ledger/participants",
        "rounds are left out",
        around(views, "participants", lambda find, *a, **k: find(*a, **k)[:0]),
    ),
)
"""Which check must turn, what is wrong, and what makes it so."""
