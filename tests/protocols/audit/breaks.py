"""Ways of breaking the library that a session's record must show: at least one for each file that is replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import dp.distributed
from dp import rotation
from dp.ledger import Ledger
from protocols.audit.replay import private_operations
from protocols.masking import config as configuration
from protocols.masking import derivations
from protocols.masking.client import checks as client_checks
from protocols.masking.policy import ClientPolicy
from protocols.masking.server import unmasking
from protocols.paillier.parameters import RoundParameters
from protocols.privacy import plans
from secagg import aead, field, masking, prg
from secagg.key_agreement import KeyPair
from secagg.paillier import threshold
from secagg.randomness import SYSTEM, RandomBytes

Patch = pytest.MonkeyPatch


def wrap(patch: Patch, owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Replace a function by one that gets it as its first argument."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **kwargs: around(original, *args, **kwargs))


def no_pairwise_masks(patch: Patch) -> None:
    """On both sides, so that sums are right."""
    wrap(patch, masking, "mask", lambda of, vectors, **given: of(vectors, **(given | {"pairwise_seeds": {}})))
    wrap(patch, masking, "unmask", lambda of, sums, **given: of(sums, **(given | {"orphaned_seeds": []})))


def no_self_masks(patch: Patch) -> None:
    """On both sides, so that sums are right."""

    def only_pairwise(original: Callable[..., None], vectors: Any, *, self_mask_seed: bytes, **given: Any) -> None:
        original(vectors, self_mask_seed=self_mask_seed, **given)
        prg.add_streams(vectors, add=[], subtract=[self_mask_seed])

    wrap(patch, masking, "mask", only_pairwise)
    wrap(patch, masking, "unmask", lambda of, sums, **given: of(sums, **(given | {"self_mask_seeds": []})))


def shamir_of_degree_one(patch: Patch) -> None:
    def flat(original: Callable[..., Any], coefficients: Any, points: Any) -> Any:
        coefficients[2:] = 0
        return original(coefficients, points)

    wrap(patch, field, "evaluate", flat)


def no_associated_data(patch: Patch) -> None:
    for name in ("crypto_aead_chacha20poly1305_ietf_encrypt", "crypto_aead_chacha20poly1305_ietf_decrypt"):
        wrap(patch, aead, name, lambda of, text, data, nonce, key: of(text, b"always the same", nonce, key))


def no_session_in_pairwise_seeds(patch: Patch) -> None:
    wrap(patch, derivations, "pairwise_mask_seed", lambda of, agreed, session_id, *ends: of(agreed, b"", *ends))


class _EqualToAll:
    """A commitment that every seed opens."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


class _Derivations:
    """The room of that name, but for its commitments."""

    def __getattr__(self, name: str) -> Any:
        return getattr(derivations, name)

    def self_mask_commitment(self, *_: Any) -> _EqualToAll:
        return _EqualToAll()


def threshold_off_by(amount: int) -> Callable[[Patch], None]:
    """In complete graphs alone."""

    def off(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        return replace(found, threshold=found.threshold + amount) if found.complete else found

    return lambda patch: wrap(patch, configuration, "derive_topology", off)


def little_entropy(patch: Patch) -> None:
    def generate(cls: type[KeyPair], *, random: RandomBytes = SYSTEM) -> KeyPair:
        return cls(random(32)[:2] * 16)

    patch.setattr(KeyPair, "generate", classmethod(generate))


def no_noise(patch: Patch) -> None:
    patch.setattr(dp.distributed.NoiseShare, "draw", lambda self, **_: np.zeros(self.dimension, dtype=np.int64))


def forgetting_heads(patch: Patch) -> None:
    wrap(patch, Ledger, "verify", lambda of, self, head=None: of(self))


def halved_costs(patch: Patch) -> None:
    wrap(patch, private_operations, "epsilon_of", lambda of, *args: of(*args) / 2)


def half_the_noise_planned(patch: Patch) -> None:
    """With an accountant that calls it enough."""
    wrap(patch, plans, "local_sigma_for", lambda of, *args: of(*args) / 2)


def _any_commitment(patch: Patch) -> None:
    """The list of commitments is taken to hold whatever comes."""

    def check(original: Callable[..., Any], self: Any, contributor: int, contribution: Any, commitments: Any) -> Any:
        listed = self.commitments_digest(commitments)
        said = self.contribution_digest(contributor, contribution.vector())
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(RoundParameters, "commitments_digest", lambda *_: listed)
            return original(self, contributor, contribution, {**commitments, contributor: said})

    wrap(patch, RoundParameters, "check_contribution", check)


BREAKS: dict[str, tuple[str, Callable[[Patch], None]]] = {
    "half of what rounds cost": ("vectors/privacy", halved_costs),
    "samples that are one too large": (
        "vectors/privacy",
        lambda patch: wrap(patch, private_operations, "decide", lambda of, law, words, more: of(law, words, more) + 1),
    ),
    "half the noise planned": ("replay/private-curious", half_the_noise_planned),
    "no pairwise masks": ("replay/private-curious", no_pairwise_masks),
    "no pairwise masks, in a sparse graph": ("replay/curious-sparse", no_pairwise_masks),
    "no self masks": ("replay/private-semi-malicious", no_self_masks),
    "Shamir's polynomials of degree one": ("replay/semi-malicious", shamir_of_degree_one),
    "one associated data for all": (
        "replay/private-curious",
        lambda patch: patch.setattr(derivations, "share_associated_data", lambda *_: b"always the same"),
    ),
    "one associated data in the cipher": ("replay/private-curious", no_associated_data),
    "pairwise seeds that forget the session": ("replay/private-curious", no_session_in_pairwise_seeds),
    "confirmations that nobody checks": (
        "replay/malicious",
        lambda patch: patch.setattr(client_checks, "check_confirmations", lambda *_: None),
    ),
    "survivors that nobody counts": (
        "replay/semi-malicious",
        lambda patch: patch.setattr(client_checks, "_check_survivors", lambda *_: None),
    ),
    "lists of survivors that nobody checks": (
        "replay/malicious",
        lambda patch: patch.setattr(client_checks, "check_survivor_list", lambda *_: None),
    ),
    "policies that demand nothing": (
        "replay/private-malicious",
        lambda patch: patch.setattr(ClientPolicy, "check", lambda *_: None),
    ),
    "commitments that every seed opens": (
        "replay/curious-complete",
        lambda patch: patch.setattr(unmasking, "derivations", _Derivations()),
    ),
    "one share too few in complete graphs": ("replay/curious-complete", threshold_off_by(-1)),
    "one share too many in complete graphs": ("replay/malicious", threshold_off_by(1)),
    "counts without noise": ("replay/private-semi-malicious", no_noise),
    "a rotation that is none": (
        "replay/private-curious",
        lambda patch: patch.setattr(rotation, "_signs", lambda seed, length: np.ones(length)),
    ),
    "keys of sixteen bits": ("replay/private-curious", little_entropy),
    "openings that nobody verifies": (
        "replay/paillier-round",
        lambda patch: patch.setattr(threshold, "verify", lambda *_: None),
    ),
    "updates other than were committed to": ("replay/paillier-round", _any_commitment),
    "a ledger whose kept head says nothing": ("replay/ledger", forgetting_heads),
}
"""What is broken -> the check that turns, and how it is broken."""
