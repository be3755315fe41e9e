"""A promise that is kept at the planned fraction of bad clients, and not overstated: above it, it breaks."""

import numpy as np
import pytest

from bench.attacked import ATTACKS, IID, ONE_LABEL, local_updates, shares, train
from protocols.cli.demo.digits import Examples, load_digits
from protocols.cli.demo.private import PARAMETERS, local_update
from protocols.groups import GroupPlan, Rule

ROBUST = [rule for rule in Rule if rule is not Rule.SUM]


def plan_of(rule):
    return GroupPlan(200, 0.0 if rule is Rule.SUM else 0.01, 0.01, rule=rule, groups=11, dropout_fraction=0.05)


def accuracy(rule, attack, split=IID, spoilt=2):
    return train(plan_of(rule), attack, split, spoilt, rounds=8)


@pytest.mark.parametrize("rule", ROBUST)
def test_at_the_planned_fraction_the_rule_holds_and_above_it_fails(rule):
    assert plan_of(rule).max_spoilt == 2
    clean = accuracy(rule, None)
    assert clean > 0.88
    for attack in ATTACKS:
        assert accuracy(rule, attack) > clean - 0.07, attack
    assert accuracy(rule, "scale x1000", ONE_LABEL) > 0.5
    most = plan_of(rule).rule.bears(11) + 2
    for attack in ("sign flip", "scale x1000"):
        assert accuracy(rule, attack, spoilt=most) < 0.2, attack


def test_the_mean_fails_at_the_planned_fraction():
    assert accuracy(Rule.SUM, None) > 0.88
    for split in (IID, ONE_LABEL):
        assert accuracy(Rule.SUM, "scale x1000", split) < 0.2


def test_clients_train_as_in_the_demonstration():
    rng = np.random.default_rng(0)
    training, _ = load_digits(rng)
    images, labels, taken = data = shares(training, 40, ONE_LABEL, rng)
    weights = rng.normal(size=PARAMETERS) / 10
    updates = local_updates(weights, data)
    for client in (0, 17, 39):
        count = int(taken[client].sum())
        assert len(set(labels[client, :count].argmax(axis=1))) == 1
        own = Examples(images[client, :count], labels[client, :count].argmax(axis=1))
        np.testing.assert_allclose(updates[client], local_update(weights, own), atol=1e-12)
    assert taken.sum() == training.labels.size
