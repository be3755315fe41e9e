"""Faults put into the library, and the check of the audit that must notice each: at least one fault for every check."""

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
from dp import mechanisms, rotation, samplers
from dp.goodness import Verdict
from dp.ledger import Ledger, compositions, views
from dp.ledger import checks as ledger_checks
from dp.ledger import rounds as ledger_rounds
from dp.ledger.book import Account, Book
from dp.randomness import WordStream
from protocols.audit import strings
from protocols.audit.checks import known_answers, noise, paillier, primitives, sessions, thresholds
from protocols.audit.replay import group_operations, private_operations, shipped
from protocols.core import framing
from protocols.core.threat_model import Adversary
from protocols.groups import rounds as grouped_rounds
from protocols.groups import rules as grouped_rules
from protocols.groups.drawing import Terms
from protocols.groups.past_draws import PastDraws
from protocols.hierarchy.total import Total
from protocols.inputs import noisy_counts, noisy_floats
from protocols.masking import config as configuration
from protocols.masking import derivations, graph, topology, wire
from protocols.masking.client import Client, client, steps
from protocols.masking.client import checks as client_checks
from protocols.masking.client.state import Invited
from protocols.masking.messages import Confirmation, Invitation
from protocols.masking.policy import ClientPolicy, PrivacyDemand
from protocols.masking.server import Server, closing, unmasking
from protocols.masking.transitions import ServerPhase
from protocols.paillier import parameters as paillier_parameters
from protocols.paillier.parameters import RoundParameters
from protocols.privacy import plans
from protocols.privacy.plans import PrivatePlan
from protocols.service import signing
from protocols.simulation import paillier as paillier_simulation
from protocols.statistics import chosen as site_rows
from protocols.statistics import site as statistics_site
from protocols.statistics import suppression
from protocols.statistics.private import features as noisy_features
from secagg import aead, derivation, encoding, field, masking, prg, residues, shamir, signatures
from secagg.encoding import Encoded, FixedPoint
from secagg.errors import SecAggError
from secagg.key_agreement import KeyPair
from secagg.paillier import threshold
from secagg.signatures import Identity

Patch = pytest.MonkeyPatch
Fault = Callable[[Patch], None]
Draw = Callable[[int], bytes]

# Ways of putting a fault anywhere


def around(owner: Any, name: str, wrapper: Callable[..., Any]) -> Fault:
    """Replace a function by one that gets it as its first argument."""
    original = getattr(owner, name)
    return lambda patch: patch.setattr(owner, name, lambda *args, **given: wrapper(original, *args, **given))


def replaced(owner: Any, name: str, value: Any) -> Fault:
    return lambda patch: patch.setattr(owner, name, value)


def together(*faults: Fault) -> Fault:
    def fault(patch: Patch) -> None:
        for each in faults:
            each(patch)

    return fault


def given(owner: Any, name: str, **fixed: Any) -> Fault:
    """Let a function have these arguments, whatever it is given."""
    return around(owner, name, lambda of, *args, **kwargs: of(*args, **(kwargs | fixed)))


def nothing(*_: Any, **__: Any) -> None:
    """Stands for a check that is left out."""


def by_default(function: Any, draw: Draw) -> Fault:
    """Let a function that is handed no source draw from this one."""
    return lambda patch: patch.setitem(function.__kwdefaults__, "random", draw)


def whatever_is_handed_in(function: Any, draw: Draw) -> Fault:
    """Let a class method that makes a key draw from this source, whatever it is handed."""
    return replaced(function.__self__, "generate", classmethod(lambda cls, **_: cls(draw(32))))


# Sources that are not random enough


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


# Faults


def swallowing(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return original(*args, **kwargs)
    except SecAggError:
        return None


def zeros_for_refusals(original: Callable[..., Any], packed: bytes, bits: int, length: int) -> Any:
    unpacked = swallowing(original, packed, bits, length)
    return np.zeros(length) if unpacked is None else unpacked


def one_off(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return original(*args, **kwargs) + 1


def one_level_off(original: Callable[..., Encoded], *args: Any, **kwargs: Any) -> Encoded:
    encoded = original(*args, **kwargs)
    return Encoded(encoded.residues + encoded.residues.dtype.type(1), encoded.num_clipped)


def half(original: Callable[..., float], *args: Any) -> float:
    return original(*args) / 2


def scaled(factor: float) -> Callable[..., Any]:
    return lambda original, scale, *args, **kwargs: original(scale * factor, *args, **kwargs)


def low_threshold(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return replace(original(*args, **kwargs), threshold=3)


def threshold_off_by(owner: Any, amount: int) -> Fault:
    """In complete graphs alone."""

    def off(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        return replace(found, threshold=found.threshold + amount) if found.complete else found

    return around(owner, "derive_topology", off)


def accepting_broken_messages(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return swallowing(original, *args, **kwargs) or Confirmation(bytes(32), 1, bytes(64))


def overflowing(patch: Patch) -> None:
    wide = FixedPoint.modulus_bits.fget  # type: ignore[attr-defined]
    patch.setattr(FixedPoint, "modulus_bits", property(lambda self: max(2, wide(self) - 2)))


def only_pairwise(original: Callable[..., None], vectors: Any, *, self_mask_seed: bytes, **kwargs: Any) -> None:
    original(vectors, self_mask_seed=self_mask_seed, **kwargs)
    prg.add_streams(vectors, add=[], subtract=[self_mask_seed])


def _split(change: Callable[[Any], Any]) -> Fault:
    """Change the coefficients above the secret."""

    def evaluate(original: Any, coefficients: Any, points: Any) -> Any:
        return original(np.concatenate([coefficients[:1], change(coefficients[1:])]), points)

    return around(field, "evaluate", evaluate)


def _of_degree_one(random: Any) -> Any:
    return np.concatenate([random[:1], np.zeros_like(random[1:])])


def _all_alike(random: Any) -> Any:
    return np.repeat(random[:1], len(random), axis=0)


class _EqualToAll:
    """A commitment that every seed opens."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


class _Derivations:
    """The module of that name, but for its commitments."""

    def __getattr__(self, name: str) -> Any:
        return getattr(derivations, name)

    def self_mask_commitment(self, *_: Any) -> _EqualToAll:
        return _EqualToAll()


def _any_commitment(original: Callable[..., Any], self: Any, contributor: int, said: Any, commitments: Any) -> Any:
    """The list of commitments is taken to hold whatever comes."""
    listed = self.commitments_digest(commitments)
    digest = self.contribution_digest(contributor, said.vector(), said.proof)
    with pytest.MonkeyPatch.context() as inner:
        inner.setattr(RoundParameters, "commitments_digest", lambda *_: listed)
        return original(self, contributor, said, {**commitments, contributor: digest})


def _self_mask_seeds(draw: Draw) -> Fault:
    def advertise(party: steps.Party, state: Any, invitation: Invitation) -> Any:
        following, keys = steps.advertise(party, state, invitation)
        commitment = derivations.self_mask_commitment(keys.session_id, keys.sender, seed := draw(32))
        keys = msgspec.structs.replace(keys, self_mask_commitment=commitment)
        return msgspec.structs.replace(following, self_mask_seed=seed, advertised=keys), keys

    return lambda patch: patch.setitem(client._STEPS, (Invited, Invitation), advertise)


def _session_shares_of_degree_one(patch: Patch) -> None:
    def split(secret: bytes, **kwargs: Any) -> dict[int, bytes]:
        row = 4 * shamir.num_elements(len(secret))
        one = lambda size: os.urandom(min(row, size)).ljust(size, b"\0")  # noqa: E731
        return shamir.split(secret, **(kwargs | {"random": one}))

    patch.setattr(steps, "shamir", SimpleNamespace(split=split))


def _nothing_when_few(draw: Callable[..., Any], law: Any, size: Any, random: Any) -> Any:
    values = draw(law, size, random)
    return values if values.size > 32 else values * 0


def _counts_without_noise(self: noisy_counts.NoisyCounts, value: Any, *_: Any) -> Encoded:
    return Encoded(encoding.to_residues(value.astype(np.int64) * self.spec.scale, self.modulus_bits), 0)


no_self_masks = together(around(masking, "mask", only_pairwise), given(masking, "unmask", self_mask_seeds=[]))
no_pairwise_masks = together(given(masking, "mask", pairwise_seeds={}), given(masking, "unmask", orphaned_seeds=[]))
"""Both on both sides, so that sums are right."""
no_associated_data = together(
    *(
        around(aead, f"crypto_aead_chacha20poly1305_ietf_{way}", lambda of, text, data, *rest: of(text, b"same", *rest))
        for way in ("encrypt", "decrypt")
    )
)
no_digest = together(
    replaced(framing, "digest", lambda body: bytes(16)),
    replaced(wire, "fingerprint", bytes),
    replaced(sessions, "repaired", lambda data: data),
    replaced(sessions, "_TWEAKS", ("flip",)),
    replaced(sessions, "COLLECTED_PHASES", (ServerPhase.MASKED_INPUT,) * 5),
)
no_masks = together(replaced(masking, "mask", nothing), replaced(masking, "unmask", nothing))
no_minimum = together(replaced(closing, "check_survivors", nothing), replaced(closing, "_check_minimum", nothing))
no_equivocation = together(
    replaced(thresholds, "derive_topology", topology.derive_topology.__wrapped__),
    replaced(Adversary, "may_equivocate", property(lambda self: False)),
)
cycles_of_no_seed = around(graph, "_cycles", lambda of, seed, *rest: of(bytes(32), *rest))
keys_agree = around(KeyPair, "agree", lambda *_: bytes(32))
low_thresholds = around(configuration, "derive_topology", low_threshold)


def _cut_as_a_whole(original: Callable[..., Any], self: Any, value: Any, *_: Any, **__: Any) -> Any:
    total = np.maximum(value, 0).sum(axis=0) * self.spec.scale
    return total * self.max_level // max(self.max_level, int(total.max())), 0


def _twice_as_much(original: Callable[..., Any], block: Any, most: int, scale: int) -> Any:
    return original(block, 2 * most, scale)


counts_without_noise = replaced(noisy_counts.NoisyCounts, "_encode", _counts_without_noise)
nothing_when_few = around(samplers, "_draw", _nothing_when_few)
nothing_when_plain = replaced(samplers, "reference_sample", lambda law, random: 0)


def noise_of_clients(factor: float) -> Fault:
    return around(dp.distributed, "discrete_gaussian", scaled(factor))


def elements(change: Callable[[Any], Any]) -> Fault:
    return around(field, "random_elements", lambda draw, count, **kwargs: change(draw(count, **kwargs)))


def charged(name: str, change: Callable[..., Any]) -> Fault:
    return around(compositions, name, lambda charge, *args: change(charge(*args)))


def rotated_by(seed: Callable[[bytes, str], bytes]) -> Fault:
    return replaced(noisy_floats, "rotation_seed", seed)


def one_honest_fewer(plan: Any, clients: int, bad: float, corrupt: float, honest: int, *rest: Any) -> Any:
    return plan(clients, bad, corrupt, max(honest - 1, 1), *rest)


def rounded_down(column: Any, values: Any) -> Any:
    return np.floor((values - column.lo) / (column.hi - column.lo) * column.top).astype(np.int64)


_differences_unseen = replaced(statistics_site, "least_apart", lambda *_: 0)
_combinations_unseen = replaced(statistics_site, "systems", lambda *_: ())

FAULTS: tuple[tuple[str, str, Fault], ...] = (
    ("vectors/files", "empty files", replaced(shipped, "_data", lambda name: b"{}")),
    ("vectors/encoding", "a level too many", around(FixedPoint, "encode", one_level_off)),
    ("vectors/residues", "bytes in reverse", around(residues, "pack", lambda pack, *args: pack(*args)[::-1])),
    ("vectors/prg", "zeros", replaced(prg, "keystream", lambda seed, size, **_: bytes(max(0, size)))),
    ("vectors/shamir", "zeros", replaced(shamir, "reconstruct", lambda *_, num_bytes, **__: bytes(num_bytes))),
    ("vectors/derivation", "zeros", replaced(derivation, "hkdf", lambda *_, length, **__: bytes(length))),
    ("vectors/aead", "no associated data", no_associated_data),
    ("vectors/key_agreement", "one secret for all", keys_agree),
    ("vectors/signatures", "anyone's signature", replaced(signatures, "verify", nothing)),
    ("vectors/derivations", "cycles that follow from no seed", cycles_of_no_seed),
    ("vectors/messages", "broken ones accepted", around(wire, "decode", accepting_broken_messages)),
    ("vectors/accounting", "off by 1e-5", around(known_answers, "gaussian_delta", lambda of, *a: of(*a) * 1.00001)),
    ("vectors/topology", "a low threshold", around(known_answers, "derive_topology", low_threshold)),
    ("vectors/thresholds", "one too few in complete graphs", threshold_off_by(thresholds, -1)),
    ("vectors/thresholds", "one too many in complete graphs", threshold_off_by(thresholds, 1)),
    ("vectors/thresholds", "equivocation is not thought of", no_equivocation),
    ("vectors/privacy", "half of what rounds cost", around(private_operations, "epsilon_of", half)),
    ("vectors/privacy", "samples that are one too large", around(private_operations, "decide", one_off)),
    ("vectors/statistics", "values rounded down", replaced(site_rows, "quantise", rounded_down)),
    ("vectors/groups", "a laxer honest minimum", around(group_operations, "GroupPlan", one_honest_fewer)),
    ("vectors/hierarchy", "counts are not looked at", replaced(Total, "_check", nothing)),
    ("vectors/requests", "a request that never grows old", replaced(signing, "WINDOW_SECONDS", 10**9)),
    ("vectors/noisy_statistics", "squares off the middle", replaced(noisy_features, "square", np.square)),
    ("replay/private-curious", "half the noise planned", around(plans, "local_sigma_for", half)),
    ("replay/private-curious", "no pairwise masks", no_pairwise_masks),
    ("replay/curious-sparse", "no pairwise masks", no_pairwise_masks),
    ("replay/private-semi-malicious", "no self masks", no_self_masks),
    ("replay/semi-malicious", "Shamir's polynomials of degree one", _split(_of_degree_one)),
    ("replay/private-curious", "one context", replaced(derivations, "share_associated_data", lambda *_: b"one")),
    ("replay/private-curious", "one associated data in the cipher", no_associated_data),
    (
        "replay/private-curious",
        "pairwise seeds that forget the session",
        around(derivations, "pairwise_mask_seed", lambda of, agreed, session_id, *ends: of(agreed, b"", *ends)),
    ),
    ("replay/malicious", "unchecked confirmations", replaced(client_checks, "check_confirmations", nothing)),
    ("replay/semi-malicious", "uncounted survivors", replaced(client_checks, "_check_survivors", nothing)),
    ("replay/malicious", "unchecked lists of survivors", replaced(client_checks, "check_survivor_list", nothing)),
    ("replay/private-malicious", "policies that demand nothing", replaced(ClientPolicy, "check", nothing)),
    ("replay/curious-complete", "seeds that open all", replaced(unmasking, "derivations", _Derivations())),
    ("replay/curious-complete", "one share too few in complete graphs", threshold_off_by(configuration, -1)),
    ("replay/malicious", "one share too many in complete graphs", threshold_off_by(configuration, 1)),
    ("replay/private-semi-malicious", "counts without noise", counts_without_noise),
    ("replay/private-records", "cut as a whole", around(noisy_counts.NoisyCounts, "levels", _cut_as_a_whole)),
    ("replay/private-curious", "a rotation that is none", replaced(rotation, "_signs", lambda _, n: np.ones(n))),
    (
        "replay/private-curious",
        "keys of sixteen bits",
        replaced(KeyPair, "generate", classmethod(lambda cls, *, random: cls(random(32)[:2] * 16))),
    ),
    ("replay/paillier-round", "unchecked openings", replaced(threshold, "verify", nothing)),
    ("replay/paillier-round", "unproven updates", replaced(paillier_parameters, "check_knowledge", nothing)),
    ("replay/paillier-round-once", "proofs of any kind", replaced(RoundParameters, "_check_knowledge", nothing)),
    ("replay/paillier-round", "other updates", around(RoundParameters, "check_contribution", _any_commitment)),
    ("replay/ledger", "a kept head says nothing", around(Ledger, "verify", lambda of, self, head=None: of(self))),
    ("primitives/encoding", "two bits too few", overflowing),
    ("primitives/residues", "refusals that are none", around(primitives, "unpack", zeros_for_refusals)),
    ("primitives/masks", "only added", given(masking, "mask", client_id=-1)),
    ("primitives/masks-uniform", "no masks", replaced(masking, "mask", nothing)),
    (
        "primitives/shamir",
        "liars unnamed",
        around(shamir, "reconstruct_robust", lambda of, *a, **k: (of(*a, **k)[0], frozenset())),
    ),
    ("primitives/shamir-uniform", "small elements", elements(lambda drawn: drawn // 2)),
    ("primitives/aead", "no associated data", no_associated_data),
    ("primitives/key-agreement", "one secret for all", keys_agree),
    ("primitives/signatures", "unchecked", replaced(primitives, "verify", nothing)),
    ("sessions/cycles", "cycles that follow from no seed", cycles_of_no_seed),
    ("sessions/cycles", "neighbours who are another's", around(graph, "_all_next", lambda of, *a: of(*a)[::-1])),
    ("sessions/dropouts", "orphaned masks stay", given(masking, "unmask", orphaned_seeds=[])),
    ("sessions/too-many-dropouts", "no minimum", no_minimum),
    ("sessions/tampering", "no digest", no_digest),
    ("sessions/wire", "no digest", no_digest),
    ("sessions/no-plaintext", "no masks", no_masks),
    ("equivocation/sparse", "a low threshold", low_thresholds),
    ("equivocation/complete", "a low threshold", low_thresholds),
    ("equivocation/malicious", "a low threshold", low_thresholds),
    ("equivocation/control", "orphaned masks stay", given(masking, "unmask", orphaned_seeds=[])),
    ("equivocation/one-answer", "refusals that are none", around(Client, "respond", swallowing)),
    ("equivocation/another-key", "anyone's signature", replaced(signatures, "verify", nothing)),
    ("freshness/parties", "constant self-mask seed", _self_mask_seeds(constant)),
    ("freshness/parties", "self-mask seed of 16 bits", _self_mask_seeds(hashed)),
    ("freshness/parties", "constant session nonce", by_default(Server.__init__, constant)),
    ("freshness/parties", "session nonce of 16 bits", by_default(Server.__init__, padded)),
    ("freshness/parties", "constant id", replaced(Invitation, "session_id", property(lambda self: constant(32)))),
    ("freshness/parties", "X25519 keys of 16 bits, repeated", whatever_is_handed_in(KeyPair.generate, repeated)),
    ("freshness/parties", "X25519 keys of 16 bits, hashed", whatever_is_handed_in(KeyPair.generate, hashed)),
    ("freshness/parties", "confirmation keys of 16 bits", whatever_is_handed_in(Identity.generate, hashed)),
    ("freshness/identities", "Ed25519 keys of 16 bits, repeated", whatever_is_handed_in(Identity.generate, repeated)),
    ("freshness/identities", "Ed25519 keys of 16 bits, hashed", whatever_is_handed_in(Identity.generate, hashed)),
    ("freshness/nonces", "nonces of 16 bits", given(aead, "seal", random=padded)),
    ("freshness/nonces", "nonces of 16 bits, hashed", given(aead, "seal", random=hashed)),
    ("freshness/coefficients", "low 16 bits zero", elements(lambda drawn: drawn & np.uint64(0x7FFF0000))),
    ("freshness/coefficients", "a bit too few", elements(lambda drawn: drawn >> 1)),
    ("freshness/coefficients", "nothing above x", _split(_of_degree_one)),
    ("freshness/coefficients", "all powers alike", _split(_all_alike)),
    ("freshness/coins", "constant seed of roundings", by_default(FixedPoint.quantise, constant)),
    ("freshness/coins", "constant key of noise", given(WordStream, "__init__", random=constant)),
    ("freshness/coins", "key of noise of 16 bits", given(WordStream, "__init__", random=hashed)),
    ("freshness/sessions", "nonces of 16 bits", given(aead, "seal", random=padded)),
    ("freshness/sessions", "constant self-mask seed", _self_mask_seeds(constant)),
    ("freshness/sessions", "clients' shares of degree one", _session_shares_of_degree_one),
    ("freshness/control", "a test that passes all", replaced(strings, "fresh", lambda *_: {})),
    *(
        (f"noise/{law}-{parameter:g}", "a twentieth too narrow", around(samplers, f"discrete_{law}", scaled(0.95)))
        for law, parameters in (("gaussian", noise._GAUSSIANS), ("laplace", noise._LAPLACES))
        for parameter in parameters
    ),
    ("noise/gaussian-3.7306", "a twentieth too wide", around(samplers, "discrete_gaussian", scaled(1.05))),
    ("noise/shares", "a twentieth too narrow", noise_of_clients(0.95)),
    ("noise/control", "a test that passes all", replaced(noise, "check_noise", lambda *_, **__: Verdict((), 0, 0.0))),
    ("noise/few-gaussian", "always zero", nothing_when_few),
    ("noise/few-gaussian", "always zero by the plain sampler", nothing_when_plain),
    ("noise/few-laplace", "always zero", nothing_when_few),
    ("noise/few-laplace", "always zero by the plain sampler", nothing_when_plain),
    ("noise/few-encoded", "always zero", nothing_when_few),
    ("noise/few-encoded", "counts without noise", counts_without_noise),
    ("noise/client", "a fortieth too narrow", noise_of_clients(0.975)),
    ("noise/client", "a fortieth too wide", noise_of_clients(1.025)),
    (
        "noise/rounding",
        "plain, up by 1 %",
        around(encoding, "_lanes", lambda draw, *args: draw(*args) // np.uint64(100) * np.uint64(99)),
    ),
    (
        "noise/rounding",
        "private, up by 1 %",
        around(WordStream, "take", lambda take, *args: take(*args) // np.uint64(100) * np.uint64(99)),
    ),
    ("epsilon/claims", "two fifths of the noise", around(mechanisms, "discrete_gaussian", scaled(0.4))),
    ("epsilon/control", "all of the noise", around(mechanisms, "discrete_gaussian", scaled(10 / 3))),
    ("private/rounds", "a tenth too narrow", noise_of_clients(0.9)),
    ("private/too-few", "a low minimum", replaced(PrivatePlan, "min_survivors", property(lambda self: 17))),
    ("private/demands", "unchecked", replaced(PrivacyDemand, "check", nothing)),
    ("private/records", "cut as a whole", around(noisy_counts.NoisyCounts, "levels", _cut_as_a_whole)),
    ("private/records", "twice as much a record", around(noisy_counts, "counted", _twice_as_much)),
    ("private/counts", "counts without noise", counts_without_noise),
    ("private/small", "always zero", nothing_when_few),
    ("private/small", "counts without noise", counts_without_noise),
    ("private/rotation", "a constant seed", rotated_by(lambda session_id, name: constant(32))),
    ("private/rotation", "the same for all vectors", rotated_by(lambda session_id, name: session_id)),
    ("private/rotation", "the same in all sessions", rotated_by(lambda _, name: f"{name:32}".encode())),
    ("private/rotation", "all signs alike", replaced(rotation, "_signs", lambda _, n: np.ones(n))),
    ("ledger/overspending", "everything fits", replaced(ledger_rounds, "within", lambda *_: True)),
    ("ledger/tampering", "unverified", around(Ledger, "verify", lambda of, self, head=None: head or of(self))),
    ("ledger/units", "all units are one", replaced(ledger_checks, "check_unit", nothing)),
    ("ledger/sums", "delta is not charged", charged("_sum_charge", lambda charge: (charge[0], 0))),
    ("ledger/reservations", "nothing is held", replaced(Account, "taken", property(lambda self: self.spent))),
    ("ledger/renyi", "a tenth is charged", charged("_renyi_charge", lambda charge: tuple(one // 10 for one in charge))),
    ("ledger/renyi", "a thousandth less", charged("_renyi_charge", lambda paid: tuple(n * 999 // 1000 for n in paid))),
    ("ledger/releases", "releases are not counted", charged("_release_charge", lambda charge: (0,))),
    ("ledger/releases", "two more than fit", charged("_most_releases", lambda most: most + 2)),
    ("ledger/participants", "who was absent is charged", replaced(Book, "excuse", nothing)),
    ("ledger/participants", "rounds are left out", around(views, "participants", lambda of, *a, **k: of(*a, **k)[:0])),
    ("paillier/sums", "one too many", around(paillier, "decrypt", one_off)),
    ("paillier/round", "one too many", around(paillier_simulation, "_levels", one_off)),
    ("statistics/exact", "values rounded down", replaced(site_rows, "quantise", rounded_down)),
    ("statistics/few-rows", "answers are not compared", together(_differences_unseen, _combinations_unseen)),
    ("statistics/small-counts", "small ones alone are hidden", replaced(suppression, "reach", lambda *_: 10**9)),
    ("groups/draws", "unsigned lists", replaced(Terms, "check_signature", nothing)),
    ("groups/draws", "any number of draws", replaced(PastDraws, "check", nothing)),
    ("groups/sums", "a group is left out", around(grouped_rounds, "_added", lambda add, levels: add(levels[1:]))),
    ("groups/rules", "the mean", replaced(grouped_rules, "_trimmed", lambda vectors, _: vectors.mean(axis=0))),
)
"""The check that must fail, what is wrong, and what makes it so."""
