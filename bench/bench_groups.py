"""Attacks against rules over groups: the digits, dealt alike and with one label a client.

400 clients, of whom a hundredth is bad and a hundredth corrupt: by the fewest groups that bear them, and by 25, which
privacy allows as well. Each bad client is in a group of its own, the worst that can be. Above what is planned, most
groups are spoilt. Something is asked of data that are alike, and of 25 groups.
"""

from __future__ import annotations

import pytest

from bench.attacked import ATTACKS, IID, ONE_LABEL, train
from bench.side_by_side import say, size
from bench.suite.findings import Curve, Finding
from protocols.groups import GroupPlan, Rule

CLIENTS, BAD = 400, 0.01
ROUNDS = size(20, 1)
RULES = list(Rule) if size(1, 0) else [Rule.SUM, Rule.MEDIAN]
WIDE = 25


def plan_for(rule: Rule, groups: int | None) -> GroupPlan:
    """Plan for a rule; for the sum, which bears nobody, as many groups as the median has."""
    if rule is Rule.SUM:
        groups = groups or plan_for(Rule.MEDIAN, None).num_groups
        return GroupPlan(CLIENTS, 0.0, BAD, rule=rule, groups=groups, dropout_fraction=0.05)
    return GroupPlan(CLIENTS, BAD, BAD, rule=rule, groups=groups, dropout_fraction=0.05)


@pytest.mark.parametrize("split", [IID, ONE_LABEL])
@pytest.mark.parametrize("groups", [None, WIDE], ids=["fewest", "wide"])
def test_attacks(split, groups, benchmark, report):
    bad = int(CLIENTS * BAD)
    many = "25 groups" if groups else "the fewest groups"
    finding = Finding(
        f"attacks on {many} of {CLIENTS} clients, {bad} of them bad, {split}: accuracy after {ROUNDS} rounds"
    )

    def run() -> None:
        for rule in RULES:
            say(f"{rule}, {many}, {split}")
            plan = plan_for(rule, groups)
            above = plan.num_groups // 2 + 2
            kept = {attack: train(plan, attack, split, bad, rounds=ROUNDS) for attack in ATTACKS}
            broken = {attack: train(plan, attack, split, above, rounds=ROUNDS) for attack in ATTACKS}
            clean = train(plan, None, split, 0, rounds=ROUNDS)
            finding.add(f"{rule}, {plan.num_groups} groups: nobody bad", 100 * clean, "%")
            for attack in ATTACKS:
                hopeless = rule is Rule.SUM or (groups is None and split == ONE_LABEL)  # section 51 promises nothing
                asked = {} if hopeless else {"asked": "at least 65 %", "met": kept[attack] >= 0.65}
                finding.add(f"{rule}: {attack}, {bad} groups spoilt", 100 * kept[attack], "%", **asked)
                finding.add(f"{rule}: {attack}, {above} groups spoilt, above the plan", 100 * broken[attack], "%")

    benchmark.pedantic(run, rounds=1)
    report(finding)


def test_accuracy_over_spoilt_groups(benchmark, report):
    spoilt = range(0, WIDE, size(3, 12))
    lines: dict[str, list[tuple[float, float]]] = {str(rule): [] for rule in RULES}

    def run() -> None:
        for rule in RULES:
            say(f"{rule} over spoilt groups")
            plan = plan_for(rule, WIDE)
            for count in spoilt:
                kept = train(plan, "sign flip", IID, count, rounds=ROUNDS)
                lines[str(rule)].append((count, 100 * max(kept, 0.01)))

    benchmark.pedantic(run, rounds=1)
    finding = Finding(f"sign flip in some of {WIDE} groups: accuracy after {ROUNDS} rounds, iid")
    for name, points in lines.items():
        for count, value in points:
            finding.add(f"{name}: {count:g} groups spoilt", value, "%")
    title = f"sign flip in some of {WIDE} groups, planned for {int(CLIENTS * BAD)} bad clients"
    finding.curves.append(Curve("groups", title, "groups spoilt", "accuracy (%)", lines, log_across=False))
    report(finding)
