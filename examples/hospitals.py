"""Twelve hospitals count their patients by age: private for each patient, though there are only twelve hospitals.

Noise for whole hospitals would drown the counts. So each hospital hands in a row for each patient, the noise covers the
change of one, and every hospital demands that itself.
"""

import numpy as np

from protocols import ClientPolicy, HistogramPlan, Participants, PrivacyDemand, ThreatModel
from protocols.simulation import Simulation

BINS = 20
DELTA = 1e-6
SIZES = (1210, 880, 655, 560, 480, 402, 350, 275, 205, 150, 95, 50)  # 5,312 patients
HOSPITALS = Participants.numbered(len(SIZES))
MODEL = ThreatModel(len(SIZES), corrupt_fraction=0.1, dropout_fraction=0.1)

rng = np.random.default_rng(16)
patients = {  # a row for each: a one in the bin of the age
    name: np.eye(BINS, dtype=np.int64)[np.clip(rng.normal(11, 4, size), 0, BINS - 1).astype(int)]
    for name, size in zip(HOSPITALS, SIZES, strict=True)
}

plan = HistogramPlan(threat_model=MODEL, bins=BINS, epsilon=1.0, delta=DELTA, unit="record", max_total=1000)
demand = ClientPolicy(privacy=PrivacyDemand(epsilon=1.0, delta=DELTA, unit="record"))
result = Simulation(plan.config, lambda name: {"counts": patients[name]}, policy=demand).run().result

truth = sum(rows.sum(axis=0) for rows in patients.values())
print(f"{truth.sum():,} patients of {len(result.survivors)} hospitals, by age:")
print(" ".join(f"{count:4}" for count in truth))
print(" ".join(f"{count:4}" for count in result.sum("counts")), "as published")
print(f"each count is off by {plan.sum_deviation(12):.1f}: epsilon 1 for each patient")

whole = HistogramPlan(threat_model=MODEL, bins=BINS, epsilon=1.0, delta=DELTA, max_total=1000)
print(f"with noise for whole hospitals it would be {whole.sum_deviation(12):,.0f}")
