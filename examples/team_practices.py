"""Sixteen companies ask what goes with success in software teams, and vote, and none shows a team of its own."""

import numpy as np

from protocols import RoundConfig, ThreatModel
from protocols.simulation import run_locally
from protocols.statistics import Levels, Number, Plan, Query, Site, SitePolicy, answer_of, asked, even_edges

rng = np.random.default_rng(2026)
BRANCHING = ("trunk", "branches", "forks")
IDEAS = ("pairing", "mobbing", "small changes")


def teams(count, taste):
    """Synthetic ones, a row a team: what they do, how it goes, and how they vote."""
    branching = rng.choice(BRANCHING, count, p=[0.5, 0.35, 0.15])
    reviewed = np.clip(rng.beta(4, 2, count), 0, 1).round(3)
    releases = np.clip(rng.gamma(2, np.where(branching == "trunk", 4, 1.5)), 0, 40).round(1)
    success = np.clip(35 + 30 * reviewed + 0.8 * releases + rng.normal(0, 9, count), 0, 100).round(1)
    ranks = np.argsort(np.argsort(rng.normal([0.8, 0, 0.4], 1, (count, 3)) * -1)) + 1
    return {
        "branching": branching,
        "reviewed": reviewed,
        "releases": releases,
        "success": success,
        "well": np.where(success > 60, "well", "less well"),
        "pairing": np.where(rng.random(count) < taste, "for", "against"),
        "mobbing": np.where(rng.random(count) < taste / 2, "for", "against"),
        **{f"rank of {idea}": ranks[:, at].astype(float) for at, idea in enumerate(IDEAS)},
    }


columns = (
    Levels("branching", BRANCHING),
    Number("reviewed", 0, 1),
    Number("releases", 0, 40),
    Number("success", 0, 100, edges=even_edges(0, 100, 10)),
    Levels("well", ("well", "less well")),
    Levels("pairing", ("for", "against")),
    Levels("mobbing", ("for", "against")),
    *(Number(f"rank of {idea}", 1, 3) for idea in IDEAS),
)
policy = SitePolicy(columns=frozenset(column.name for column in columns))
companies = {
    f"company-{at:02}": Site(teams(40 + 5 * at, 0.7 if at % 3 else 0.35), policy, "practices", journal=None)
    for at in range(16)
}


def ask(*statistics, **more):
    """One masked session over all companies; return what is found, by kind."""
    query = Query("practices", columns, statistics, **more)
    plan = Plan(query)
    config = RoundConfig(ThreatModel(len(companies), 0.1, 0.1), plan.vectors)
    return answer_of(plan, run_locally(config, {name: site.answer(query) for name, site in companies.items()}))


def pooled(name):
    """What nobody has but this example: all teams in one place."""
    return np.concatenate([site.columns[name] for site in companies.values()])


answer = ask(
    asked("frequencies", "branching"),
    asked("correlation", "reviewed", "success"),
    asked("correlation", "releases", "success"),
    asked("table", "branching", "well"),
    asked("association", "branching", "well"),
)
frequencies, *correlations, table, association = answer.findings
print(f"{answer.records} teams of {answer.sites} companies")
for name, count in zip(frequencies.value["levels"][:3], frequencies.value["counts"], strict=False):
    print(f"{name:10}{count:5}")
for finding in correlations:
    first, second = (pooled(name) for name in finding.columns)
    right = abs(finding.value - np.corrcoef(first, second)[0, 1]) <= finding.error
    print(f"{finding.columns[0]} and success: {finding.value:.2f}, as numpy has it: {right}")
print("branching and success: V", round(association.value["cramers_v"], 2))
for name, row in zip(table.value["rows"][:3], table.value["counts"], strict=False):
    print(f"{name:10}{row[0] / (row[0] + row[1]):.0%} do well")

by_branching = ask(asked("mean", "success"), group_by="branching")
for finding in by_branching.findings[:3]:
    print(f"{finding.group:10}{float(finding.value):6.1f} of 100")

approval, borda, consensus = ask(
    asked("approval", "pairing", "mobbing"),
    asked("borda", *(f"rank of {idea}" for idea in IDEAS)),
    asked("consensus", "pairing", share=0.5),
).findings
print("for pairing and mobbing:", approval.value["approvals"])
print("points:", dict(zip(IDEAS, borda.value["points"], strict=True)))
print(f"companies with a majority for pairing: {consensus.value['agree']} of {consensus.value['sites']}")
