"""Run inside OpenDP's own environment: samples a CPU second of its exact discrete noise, as JSON on standard output."""

from __future__ import annotations

import json
import sys
import time

import opendp.prelude as dp

dp.enable_features("contrib")


def rate(law: str, scale: float, count: int) -> float:
    gaussian = law == "gaussian"
    domain = dp.vector_domain(dp.atom_domain(T=int))
    metric = dp.l2_distance(T=float) if gaussian else dp.l1_distance(T=int)
    mechanism = (dp.m.make_gaussian if gaussian else dp.m.make_laplace)(domain, metric, scale)
    zeros = [0] * count
    best = 0.0
    for _ in range(3):
        start = time.thread_time()
        mechanism(zeros)
        best = max(best, count / (time.thread_time() - start))
    return best


law, count, *scales = sys.argv[1:]
print(json.dumps([rate(law, float(scale), int(count)) for scale in scales]))
