"""Twelve hospitals, one question: exact statistics of all patients, and no hospital hands over a number of its own."""

import numpy as np

from protocols import Client, Participants, RoundConfig, Server, ThreatModel
from protocols.statistics import (
    Levels,
    Number,
    Plan,
    Query,
    ReleasePolicy,
    Site,
    SitePolicy,
    Where,
    answer_of,
    asked,
    even_edges,
)
from secagg.errors import QueryRefused

rng = np.random.default_rng(2026)


def patients(count):
    """Synthetic ones."""
    age = np.clip(rng.normal(62, 14, count), 18, 100).round(1)
    pressure = np.clip(95 + 0.6 * age + rng.normal(0, 12, count), 70, 230).round()
    stay = np.clip(rng.exponential(2 + age / 20), 0.1, 60).round(1)
    ward = rng.choice(["heart", "lung", "rare"], count, p=[0.6, 0.398, 0.002])
    return {"age": age, "pressure": pressure, "stay": stay, "ward": ward}


query = Query(
    dataset="admissions",
    columns=(
        Number("age", 0, 120),
        Number("pressure", 40, 260),
        Number("stay", 0, 60, edges=even_edges(0, 60, 20)),
        Levels("ward", ("heart", "lung", "rare")),
    ),
    statistics=(asked("mean", "age"), asked("correlation", "age", "pressure"), asked("median", "stay")),
)
by_ward = Query("admissions", query.columns, (asked("count"), asked("mean", "stay")), group_by="ward")

policy = SitePolicy(columns=frozenset({"age", "pressure", "stay", "ward"}))
hospitals = {f"hospital-{i:02}": Site(patients(150 + 10 * i), policy, "admissions", journal=None) for i in range(1, 13)}


def ask(query, absent=()):
    """One masked session, every message as bytes; an absent hospital vanishes when its input is due."""
    plan = Plan(query)
    server = Server(RoundConfig(ThreatModel(12, 0.1, 0.2), plan.vectors), Participants(tuple(hospitals)))
    clients = {name: Client(policy=policy.client_policy) for name in hospitals}
    answers = {name: site.answer(query) for name, site in hospitals.items()}
    while not server.ended:
        for name, message in server.outgoing().items():
            if not (name in absent and server.phase == "masked-input"):
                server.receive(name, clients[name].respond(message, answers[name]))
        server.close_phase()
    return answer_of(plan, server.result, ReleasePolicy(min_cell=10))


answer = ask(query, absent=("hospital-05",))
print(f"{answer.sites} hospitals, {answer.records} patients")
mean, correlation, median = answer.findings
pooled = {
    name: np.concatenate([site.columns[name] for key, site in hospitals.items() if key != "hospital-05"])
    for name in ("age", "pressure", "stay")
}
print("mean age is numpy's:", abs(float(mean.value) - pooled["age"].mean()) <= float(mean.error))
numpys = np.corrcoef(pooled["age"], pooled["pressure"])[0, 1]
print("correlation is numpy's:", abs(correlation.value - numpys) <= correlation.error)
((low, high),) = median.value["brackets"]
print("median stay is within its bracket:", low <= np.median(pooled["stay"]) <= high)

for finding in ask(by_ward).findings:
    if finding.statistic == "count" and finding.suppressed:
        print(f"ward {finding.group}: {finding.suppressed}")

oldest = max(hospitals["hospital-01"].columns["age"])
try:
    all_but_the_oldest = (Where("age", "lt", float(oldest)),)
    hospitals["hospital-01"].answer(Query("admissions", query.columns, query.statistics, all_but_the_oldest))
except QueryRefused as refused:
    print("all but the oldest patient:", refused)
