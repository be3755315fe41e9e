"""Every check of the audit passes on what is right, and turns when what it is about is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import dp.distributed
from dp import mechanisms, samplers
from dp.goodness import Verdict
from dp.ledger import Ledger
from dp.ledger import ledger as ledger_room
from protocols.audit.checks import known_answers, noise, paillier, primitives, sessions
from protocols.audit.outcome import Status
from protocols.audit.replay import shipped
from protocols.audit.runner import all_checks, chosen, run
from protocols.audit.stage import configuration as configuration_of
from protocols.core import framing
from protocols.core.threat_model import Adversary
from protocols.masking import config as configuration
from protocols.masking import wire
from protocols.masking.client import Client
from protocols.masking.messages import Confirmation
from protocols.masking.policy import PrivacyDemand
from protocols.masking.server import closing
from protocols.masking.transitions import ServerPhase
from protocols.privacy.plans import PrivatePlan
from protocols.simulation import paillier as paillier_simulation
from secagg import derivation, field, masking, prg, residues, shamir, signatures
from secagg.encoding import Encoded, FixedPoint
from secagg.errors import SecAggError
from secagg.key_agreement import KeyPair
from tests.protocols.audit.sabotage import SABOTAGES

from . import breaks
from .breaks import wrap

Patch = pytest.MonkeyPatch
KEYS = [check.key for check in all_checks()]


def swallowing(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return original(*args, **kwargs)
    except SecAggError:
        return None


def zeros_for_refusals(original: Callable[..., Any], packed: bytes, bits: int, length: int) -> Any:
    try:
        return original(packed, bits, length)
    except SecAggError:
        return np.zeros(length)


def one_off(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return original(*args, **kwargs) + 1


def one_level_off(original: Callable[..., Encoded], *args: Any, **kwargs: Any) -> Encoded:
    encoded = original(*args, **kwargs)
    return Encoded(encoded.residues + encoded.residues.dtype.type(1), encoded.num_clipped)


def scaled(factor: float) -> Callable[..., Any]:
    return lambda original, scale, *args, **given: original(scale * factor, *args, **given)


def only_adding(original: Callable[..., None], vectors: Any, **given: Any) -> None:
    original(vectors, **(given | {"client_id": -1}))


def without_orphans(original: Callable[..., None], sums: Any, **given: Any) -> None:
    original(sums, **(given | {"orphaned_seeds": []}))


def low_threshold(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return replace(original(*args, **kwargs), threshold=3)


def accepting_broken_messages(patch: Patch) -> None:
    def decode(original: Callable[..., Any], data: bytes, kind: Any, *, max_bytes: int) -> Any:
        try:
            return original(data, kind, max_bytes=max_bytes)
        except SecAggError:
            return Confirmation(bytes(32), 1, bytes(64))

    wrap(patch, wire, "decode", decode)


def no_digest(patch: Patch) -> None:
    patch.setattr(framing, "_digest", lambda body: bytes(16))
    patch.setattr(wire, "fingerprint", bytes)
    patch.setattr(sessions, "repaired", lambda data: data)
    patch.setattr(sessions, "_TWEAKS", ("flip",))
    patch.setattr(sessions, "COLLECTED_PHASES", (ServerPhase.MASKED_INPUT,) * 5)


def no_minimum(patch: Patch) -> None:
    patch.setattr(closing, "check_survivors", lambda *_: None)
    patch.setattr(closing, "_check_minimum", lambda *_: None)


def overflowing(patch: Patch) -> None:
    wide = FixedPoint.modulus_bits.fget  # type: ignore[attr-defined]
    patch.setattr(FixedPoint, "modulus_bits", property(lambda self: max(2, wide(self) - 2)))


def signature_of_anyone(patch: Patch) -> None:
    patch.setattr(signatures, "verify", lambda *_: None)


def forgetful_ledger(patch: Patch) -> None:
    wrap(patch, Ledger, "verify", lambda original, self, head=None: None if head else original(self))


NARROW = scaled(0.95)

BREAKS: dict[str, Callable[[Patch], None]] = {
    "vectors/encoding": lambda patch: wrap(patch, FixedPoint, "encode", one_level_off),
    "vectors/residues": lambda patch: wrap(patch, residues, "pack", lambda pack, *args: pack(*args)[::-1]),
    "vectors/prg": lambda patch: wrap(patch, prg, "keystream", lambda _, seed, size, **__: bytes(max(0, size))),
    "vectors/shamir": lambda patch: wrap(
        patch, shamir, "reconstruct", lambda _, *__, num_bytes, **___: bytes(num_bytes)
    ),
    "vectors/derivation": lambda patch: wrap(patch, derivation, "hkdf", lambda _, *__, length, **___: bytes(length)),
    "vectors/aead": breaks.no_associated_data,
    "vectors/key_agreement": lambda patch: wrap(patch, KeyPair, "agree", lambda *_: bytes(32)),
    "vectors/signatures": signature_of_anyone,
    "vectors/messages": accepting_broken_messages,
    "vectors/accounting": lambda patch: wrap(patch, known_answers, "gaussian_delta", lambda of, *a: of(*a) * 1.00001),
    "vectors/topology": lambda patch: wrap(patch, known_answers, "derive_topology", low_threshold),
    **dict(breaks.BREAKS.values()),
    "vectors/files": lambda patch: patch.setattr(shipped, "_data", lambda name: b"{}"),
    "primitives/encoding": overflowing,
    "primitives/residues": lambda patch: wrap(patch, primitives, "unpack", zeros_for_refusals),
    "primitives/masks": lambda patch: wrap(patch, masking, "mask", only_adding),
    "primitives/masks-uniform": lambda patch: patch.setattr(masking, "mask", lambda *_, **__: None),
    "primitives/shamir": lambda patch: wrap(
        patch, shamir, "reconstruct_robust", lambda of, *a, **k: (of(*a, **k)[0], frozenset())
    ),
    "primitives/shamir-uniform": lambda patch: wrap(patch, field, "random_elements", lambda of, n, **_: of(n) // 2),
    "primitives/aead": breaks.no_associated_data,
    "primitives/key-agreement": lambda patch: wrap(patch, KeyPair, "agree", lambda *_: bytes(32)),
    "primitives/signatures": lambda patch: patch.setattr(primitives, "verify", lambda *_: None),
    "sessions/dropouts": lambda patch: wrap(patch, masking, "unmask", without_orphans),
    "sessions/too-many-dropouts": no_minimum,
    "sessions/tampering": no_digest,
    "sessions/wire": no_digest,
    "sessions/no-plaintext": lambda patch: (
        patch.setattr(masking, "mask", lambda *_, **__: None),
        patch.setattr(masking, "unmask", lambda *_, **__: None),
    )[0],
    "equivocation/sparse": lambda patch: wrap(patch, configuration, "derive_topology", low_threshold),
    "equivocation/complete": lambda patch: wrap(patch, configuration, "derive_topology", low_threshold),
    "equivocation/malicious": lambda patch: wrap(patch, configuration, "derive_topology", low_threshold),
    "equivocation/control": lambda patch: wrap(patch, masking, "unmask", without_orphans),
    "equivocation/one-answer": lambda patch: wrap(patch, Client, "respond", swallowing),
    "equivocation/another-key": signature_of_anyone,
    **{
        f"noise/gaussian-{sigma:g}": lambda patch: wrap(patch, samplers, "discrete_gaussian", NARROW)
        for sigma in noise._GAUSSIANS
    },
    **{
        f"noise/laplace-{scale:g}": lambda patch: wrap(patch, samplers, "discrete_laplace", NARROW)
        for scale in noise._LAPLACES
    },
    "noise/shares": lambda patch: wrap(patch, dp.distributed, "discrete_gaussian", NARROW),
    "noise/control": lambda patch: patch.setattr(noise, "check_noise", lambda *_, **__: Verdict((), 0, 0.0)),
    "epsilon/claims": lambda patch: wrap(patch, mechanisms, "discrete_gaussian", scaled(0.4)),
    "epsilon/control": lambda patch: wrap(patch, mechanisms, "discrete_gaussian", scaled(2.5)),
    "private/rounds": lambda patch: wrap(patch, dp.distributed, "discrete_gaussian", scaled(0.9)),
    "private/too-few": lambda patch: patch.setattr(PrivatePlan, "min_survivors", property(lambda self: 17)),
    "private/demands": lambda patch: patch.setattr(PrivacyDemand, "check", lambda *_: None),
    "ledger/overspending": lambda patch: patch.setattr(ledger_room, "within", lambda *_: True),
    "ledger/tampering": forgetful_ledger,
    "paillier/sums": lambda patch: wrap(patch, paillier, "decrypt", one_off),
    "paillier/round": lambda patch: wrap(patch, paillier_simulation, "_levels", one_off),
}
RANDOMNESS = {key for key, _, _ in SABOTAGES}
"""These are broken in `test_randomness`, in more than one way."""
STUMBLE = {"sessions/dropouts", "sessions/too-many-dropouts"}
"""Masks that stay, and secrets that are missing, are noticed by the library itself, too."""
EXAMPLES = {"sessions/tampering": 60, "sessions/dropouts": 30, "equivocation/sparse": 64, "equivocation/complete": 64}


def test_every_check_has_something_that_breaks_it() -> None:
    assert set(BREAKS) | RANDOMNESS == set(KEYS)
    assert not BREAKS.keys() & RANDOMNESS
    assert len(set(KEYS)) == len(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_check_passes_on_what_is_right(key: str) -> None:
    done = run(chosen([key]), seed=3, examples=4, samples=200_000)
    (outcome,) = done.outcomes
    assert outcome.status is Status.PASSED, outcome.reason
    assert outcome.figures
    assert done.passed


@pytest.mark.parametrize("key", sorted(BREAKS))
def test_a_check_turns_when_what_it_is_about_is_broken(key: str, monkeypatch: Patch) -> None:
    checks = chosen([key])
    BREAKS[key](monkeypatch)
    done = run(checks, seed=3, examples=EXAMPLES.get(key, 4), samples=200_000)
    (outcome,) = done.outcomes
    assert outcome.status is Status.FAILED
    # Found out by what it looks for, and not by stumbling.
    assert key in STUMBLE or not outcome.reason.startswith("unexpected")
    assert not done.passed


def test_noise_too_wide_turns_as_well(monkeypatch: Patch) -> None:
    wrap(monkeypatch, samplers, "discrete_gaussian", scaled(1.05))
    done = run(chosen(["noise/gaussian-3.7306"]), seed=3, examples=1, samples=200_000)
    assert not done.passed
    assert done.outcomes[0].plots, "what failed is drawn as well"


def test_what_goes_wrong_unasked_is_a_finding_and_stops_nothing(monkeypatch: Patch) -> None:
    wrap(monkeypatch, shamir, "split", lambda *_, **__: 1 / 0)
    done = run(chosen(["primitives/shamir", "primitives/aead"]), seed=3, examples=2)
    assert [outcome.status for outcome in done.outcomes] == [Status.FAILED, Status.PASSED]
    assert "ZeroDivisionError" in done.outcomes[0].reason
    assert "example 0 of seed 3" in done.outcomes[0].reason


def test_false_alarms_add_up_and_controls_have_none() -> None:
    checks = all_checks()
    assert 0 < sum(check.false_alarm for check in checks) < 1e-7
    assert all(0 <= check.false_alarm <= 2e-9 for check in checks)


@pytest.mark.parametrize("complete", [True, False])
def test_the_audit_draws_no_round_that_is_impossible(complete: bool) -> None:
    for clients in range(*sessions.CLIENTS):
        for adversary in Adversary:
            configuration_of(clients, adversary, corrupt=0.05, max_weight=49, complete_graph=complete)
