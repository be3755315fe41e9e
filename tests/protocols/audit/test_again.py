"""A failure of the audit can be had again from what it prints, and its rate of false alarms is what it states."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

from protocols.audit import stage
from protocols.audit.checks import sessions
from protocols.audit.runner import all_checks, run
from protocols.core.threat_model import Adversary

ROOT = Path(__file__).parents[3]
SABOTAGED = """
import sys
import numpy as np
from secagg import masking
from protocols.cli import main

mask = masking.mask

def wrong_for_some_seeds(vectors, *, self_mask_seed, **more):
    mask(vectors, self_mask_seed=self_mask_seed, **more)
    if self_mask_seed[0] < 4:  # one secret in 64: neither clients nor inputs decide it
        vectors[0][0] += vectors[0].dtype.type(1)

masking.mask = wrong_for_some_seeds
main()
"""


def audited(arguments: list[str], hash_seed: str) -> tuple[int, str]:
    """Run the command on a sabotaged copy in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", SABOTAGED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    return done.returncode, done.stdout


def test_a_failure_that_hangs_on_secrets_comes_again_by_the_printed_command() -> None:
    code, told = audited(["audit", "--examples", "60", "--samples", "100000", "--only", "sessions/dropouts"], "1")
    assert code == 4, told
    lines = told.splitlines()
    (again,) = [line.partition("again: ")[2] for line in lines if "again: " in line]
    (reason,) = [line for line in lines if "of seed" in line]
    arguments = shlex.split(again)
    assert arguments[:2] == ["secagg", "audit"]
    code, told_again = audited([*arguments[1:], "--json"], "2")
    assert code == 4, told_again
    (facts,) = json.loads(told_again)["checks"]
    assert facts["again"] == again
    assert facts["reason"] == reason.strip()


def test_what_is_not_repeatable_says_so() -> None:
    by_chance = {check.key for check in all_checks() if not check.repeatable}
    assert {"freshness/parties", "noise/shares", "epsilon/claims", "private/counts", "paillier/round"} <= by_chance
    assert not {key for key in by_chance if key.startswith(("sessions", "equivocation", "primitives", "vectors"))}


def test_whoever_drops_out_leaves_shares_enough_for_certain() -> None:
    """In sparse graphs correctness may hold but for 2**-20; the audit's are small enough for it to hold always."""
    for clients in range(*sessions.CLIENTS):
        for adversary in Adversary:
            config = stage.configuration(clients, adversary, corrupt=0.05)
            topology, gone = config.topology, config.threat_model.max_dropouts
            assert topology.complete or topology.degree - gone >= topology.threshold


def test_false_alarms_are_counted_for_what_is_drawn_and_for_nothing_else() -> None:
    for check in all_checks():
        assert 0 <= check.false_alarm <= 2e-9
        # Of what follows from the seed, only tests of uniformity can fail by chance.
        assert not check.false_alarm or not check.repeatable or "uniform" in check.name, check.key
    assert 2e-8 < sum(check.false_alarm for check in all_checks()) < 5e-8
    assert run([], seed=np.random.default_rng(1).integers(10)).false_alarm == 0
