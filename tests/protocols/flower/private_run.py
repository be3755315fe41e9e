"""What must hold of two private rounds of which a budget pays one, whichever of Flower's engines ran them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp.ledger import Budget, Composition, Ledger
from dp.sensitivity import Adjacency

APP = Path(__file__).with_name("private")
sys.path.append(str(APP))

from private_app import task  # noqa: E402 - an app of Flower's, which is found where it lies

BUDGET = "app"


def make_ledger(folder: Path) -> Path:
    """A budget that pays one round of epsilon 8 at most, and no second one."""
    path = folder / "ledger.sqlite"
    with Ledger.open(str(path), create=True) as ledger:
        ledger.create(Budget(BUDGET, 9, "1e-5", adjacency=Adjacency.ADD_REMOVE, composition=Composition.RENYI))
    return path


def check(findings: dict[str, Any], log: str, ledger: Path, num_nodes: int, updates: list[np.ndarray]) -> None:
    """The first round gave the noisy mean of clipped updates, and was paid for; the second was refused.

    Args:
        findings: `moved`, the model after the rounds minus the one before; `metrics`, as the strategy saw them;
            `reports`, those of the rounds.
        log: what the server's user can read.
        ledger: made by `make_ledger`.
        num_nodes: how many were asked.
        updates: of all of them but the one that demands more, and those that fell silent.
    """
    plan = task.settings(None).private_plan(num_nodes, updates[0].size, bytes(32))
    assert plan is not None
    paid, refused = findings["reports"]
    survivors = len(updates)
    assert paid["error"] is None
    assert paid["survivors"] == survivors
    (reason,) = (told for told in paid["failures"] if "no answer within" not in told)
    assert "this client demands at most 0.25" in reason
    assert len(paid["failures"]) == num_nodes - survivors
    assert 0 < paid["epsilon"] <= plan.epsilon
    assert findings["metrics"] == {"1": {}}  # FedAvg leaves its weights out

    wanted = np.mean([update * min(1.0, plan.l2_clip / float(np.linalg.norm(update))) for update in updates], axis=0)
    off = np.array(findings["moved"]) - wanted
    deviation = plan.sum_deviation(survivors) / survivors
    # Each within five deviations, which one run in two million exceeds: along the mean, where a sum that is scaled or
    # clipped otherwise would show, and the root of the mean square, where noise of another size would.
    assert abs(off @ wanted) / np.linalg.norm(wanted) < 5 * deviation
    assert np.sqrt(np.mean(off**2)) == pytest.approx(deviation, rel=5 / np.sqrt(2 * off.size))

    assert "the round by itself has cost each node epsilon" in log
    assert f"no mean in this round: budget '{BUDGET}'" in log
    assert BUDGET in refused["error"]
    assert refused["bytes_sent"] == refused["survivors"] == 0
    with Ledger.open(str(ledger)) as opened:
        status = opened.status(BUDGET)
        assert status.open == 0
        assert 0 < status.epsilon <= 9
        views = opened.participants(BUDGET)
        assert [len(view.rounds) for view in views] == [1] * survivors
        opened.verify()
