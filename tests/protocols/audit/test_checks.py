"""Every check of the audit passes on what is right, and fails when what it is about is broken."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocols.audit import stage
from protocols.audit.checks import sessions
from protocols.audit.outcome import Check, Status
from protocols.audit.runner import all_checks, chosen, run
from protocols.core.threat_model import Adversary
from secagg import shamir

from .faults import FAULTS, Fault, around
from .misuses import MISUSES

Patch = pytest.MonkeyPatch
KEYS = [check.key for check in all_checks()]
ROOT = Path(__file__).parents[3]
# Blinding, which leaves no trace in an outcome, is always the operating system's.
BLINDED = {"replay/paillier-round", "replay/paillier-round-once"}
ALL_FAULTS = (*FAULTS, *MISUSES)
STUMBLE = {"sessions/dropouts", "sessions/too-many-dropouts"}
"""Masks that stay, and secrets that are missing, are noticed by the library itself, too."""
EXAMPLES = {
    "sessions/tampering": 60,
    "sessions/dropouts": 30,
    "equivocation/sparse": 64,
    "equivocation/complete": 64,
    "private/records": 40,
}


def test_every_check_has_something_that_breaks_it() -> None:
    assert {key for key, _, _ in ALL_FAULTS} == set(KEYS)
    assert len(set(KEYS)) == len(KEYS)


def drawing(action: Callable[[], Any]) -> tuple[Any, set[str]]:
    """Return what an action returns, and the files of the library in which it asked the operating system for bytes."""
    callers: set[str] = set()

    def watch(frame: Any, event: str, called: Any) -> None:
        if event == "c_call" and called is os.urandom:
            callers.add(frame.f_code.co_filename)

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        done = action()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return done, {name for name in callers if str(ROOT) in name}


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.key)
def test_a_check_passes_on_what_is_right_and_draws_from_the_seed_if_it_says_so(check: Check) -> None:
    checks = chosen([check.key])
    if check.repeatable and check.key not in BLINDED:
        done, drawn = drawing(lambda: run(checks, seed=3, examples=2, samples=100_000))
        assert not drawn
    else:
        done = run(checks, seed=3, examples=4, samples=200_000)
    (outcome,) = done.outcomes
    assert outcome.status is Status.PASSED, outcome.reason
    assert outcome.figures
    assert done.passed


@pytest.mark.parametrize(
    ("key", "fault"),
    [(key, fault) for key, _, fault in ALL_FAULTS],
    ids=[f"{key}: {what}" for key, what, _ in ALL_FAULTS],
)
def test_a_fault_is_found(key: str, fault: Fault, monkeypatch: Patch) -> None:
    checks = chosen([key])
    fault(monkeypatch)
    done = run(checks, seed=3, examples=EXAMPLES.get(key, 4), samples=200_000)
    (outcome,) = done.outcomes
    assert outcome.status is Status.FAILED, outcome.figures
    # By what it looks for, and not by stumbling.
    assert key in STUMBLE or not outcome.reason.startswith("unexpected"), outcome.reason
    assert not done.passed
    assert outcome.plots or not key.startswith("noise/gaussian"), "what failed is drawn as well"


def test_what_goes_wrong_unasked_is_a_finding_and_stops_nothing(monkeypatch: Patch) -> None:
    around(shamir, "split", lambda *_, **__: 1 / 0)(monkeypatch)
    done = run(chosen(["primitives/shamir", "primitives/aead"]), seed=3, examples=2)
    assert [outcome.status for outcome in done.outcomes] == [Status.FAILED, Status.PASSED]
    assert "ZeroDivisionError" in done.outcomes[0].reason
    assert "example 0 of seed 3" in done.outcomes[0].reason


@pytest.mark.parametrize("complete", [True, False])
def test_the_audit_draws_no_round_that_is_impossible(complete: bool) -> None:
    for clients in range(*sessions.CLIENTS):
        for adversary in Adversary:
            stage.configuration(clients, adversary, corrupt=0.05, max_weight=49, complete_graph=complete)
