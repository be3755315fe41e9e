"""Private rounds: what the noise costs in accuracy (a) and in time (b).

a. The digits model of `secagg demo --private`, trained under the same budget twice: with noise that the clients share,
as the secure sum has it, and with a trusted server's. The sums are those of the round's own encodings, added without
masks: that masks change nothing is shown by the tests. 300 clients: with noise of about two clips on each sum of 300
vectors the mean is off by less than a hundredth of a clip a coordinate, so that 650 coordinates together are off by
about a fifth of one; with 30 they would be off by two, and nothing could be learned at these epsilons.
b. A client's noise, rotation and rounding alone, and whole rounds with and without noise.
"""

from __future__ import annotations

import os
import time

import numpy as np

from bench.command import run_secagg
from bench.side_by_side import clocked, size, take_turns
from bench.suite.findings import Finding, Row
from dp.analytic import gaussian_noise_multiplier
from protocols import warm_up
from protocols.cli.demo import private
from protocols.cli.demo.digits import load_digits, split_unequally
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import FloatVector
from protocols.masking.config import RoundConfig
from protocols.privacy.plans import PrivatePlan
from secagg.residues import reduce_in_place

CLIENTS = size(300, 30)
ROUNDS = size(15, 2)
SEEDS = size(5, 2)
DELTA = 1e-5


def train(epsilon: float, seed: int) -> dict[str, float]:
    """Accuracies after all rounds: with shared noise, with a trusted server's, without privacy."""
    rng = np.random.default_rng(seed)
    training, test = load_digits(rng)
    shares = split_unequally(training, CLIENTS, rng)
    plan = PrivatePlan(
        threat_model=ThreatModel(CLIENTS, 0.05, 0.05),
        length=private.PARAMETERS,
        l2_clip=private.L2_CLIP,
        epsilon=epsilon,
        delta=DELTA,
        rounds=ROUNDS,
    )
    codec = plan.codec
    sigma = gaussian_noise_multiplier(epsilon, DELTA) * np.sqrt(ROUNDS) * plan.l2_clip

    def shared(updates: list[np.ndarray]) -> np.ndarray:
        seed_of_round = os.urandom(32)
        total = np.zeros(codec.length, dtype=codec.dtype)
        for update in updates:
            total += codec.encode(update, session_id=seed_of_round).residues
        levels = codec.decode(reduce_in_place(total, codec.modulus_bits), num_summands=len(updates))
        return np.asarray(codec.release(levels, session_id=seed_of_round) / len(updates))

    def trusted(updates: list[np.ndarray]) -> np.ndarray:
        clipped = [u * min(1.0, plan.l2_clip / float(np.linalg.norm(u))) for u in updates]
        return (np.sum(clipped, axis=0) + rng.normal(0, sigma, plan.length)) / len(updates)

    accuracies = {}
    for name, aggregate in (("shared", shared), ("trusted", trusted), ("none", lambda u: np.mean(u, axis=0))):
        weights = np.zeros(plan.length)
        for _ in range(ROUNDS):
            updates = [private.local_update(weights, share) for share in shares.values()]
            weights = weights + private.SERVER_RATE * aggregate(updates)
        accuracies[name] = private.accuracy(weights, test)
    return accuracies


def test_accuracy(benchmark, report):
    finding = Finding(f"Digits, {CLIENTS} clients, all present, {ROUNDS} rounds, {SEEDS} seeds, delta {DELTA:g}")
    results: dict[float, list[dict[str, float]]] = {}

    def everything() -> None:
        for epsilon in (4.0, 8.0):
            results[epsilon] = [train(epsilon, seed) for seed in range(SEEDS)]

    benchmark.pedantic(everything, rounds=1)
    for epsilon, runs in results.items():
        for name in ("shared", "trusted", "none"):
            values = [100 * run[name] for run in runs]
            what = {"shared": "shared among clients", "trusted": "a trusted server's", "none": "none at all"}[name]
            finding.add(
                f"epsilon {epsilon:g}, noise {what}: accuracy",
                float(np.mean(values)),
                "%",
                lowest=min(values),
                highest=max(values),
            )
        gap = 100 * float(np.mean([run["trusted"] - run["shared"] for run in runs]))
        finding.add(
            f"epsilon {epsilon:g}: trusted less shared", gap, "points", asked="within 2 points", met=abs(gap) <= 2
        )
    report(finding)


def test_client_cost(benchmark, report):
    length = size(1_000_000, 10_000)
    plan = PrivatePlan(threat_model=ThreatModel(1000), length=length, l2_clip=1.0, epsilon=4.0, delta=DELTA)
    plain = RoundConfig(ThreatModel(1000), (FloatVector("update", length),))
    values = np.random.default_rng(0).normal(size=length) / np.sqrt(length)
    seed = bytes(32)

    def encode(config: RoundConfig) -> None:
        config.encode({"update": values}, session_id=seed)

    for config in (plan.config, plain):
        warm_up(config)
        encode(config)
    preparation, share = plan.codec.preparation, plan.codec.share
    timings = take_turns(
        benchmark,
        clocked(lambda: encode(plan.config)),
        {
            "plain": clocked(lambda: encode(plain)),
            "prepare": clocked(lambda: preparation.prepare(values, seed)),
            "noise": clocked(share.draw),
        },
        turns=size(7, 2),
    )
    finding = Finding(f"What a client pays for privacy: {length:,} numbers")
    finding.add("encode, private", timings.median("ours"), "s")
    finding.add("encode, plain fixed point", timings.median("plain"), "s")
    finding.add("of it clip, rotate, round", timings.median("prepare"), "s")
    finding.add("of it noise", timings.median("noise"), "s")
    finding.rows.append(
        Row(
            f"a private input of {length:,} numbers, noise included",
            "s",
            timings.median("ours"),
            limit=timings.limit("encoding without noise", "plain"),
        )
    )
    extra = timings.median("ours") - timings.median("plain")
    finding.add("extra for privacy", extra, "s", asked="under 0.5 s", met=extra < 0.5)
    report(finding)


def test_whole_round(benchmark, report):
    clients, dim = size(1000, 40), size(100_000, 1000)
    arguments = ("round", "--clients", str(clients), "--dim", str(dim), "--dropout", "0.1")
    facts: dict[str, list[dict]] = {"ours": [], "plain": []}

    def turn(name: str, *more: str) -> float:
        start = time.perf_counter()
        facts[name].append(run_secagg(*arguments, *more).facts)
        return time.perf_counter() - start

    timings = take_turns(
        benchmark,
        lambda: turn("ours", "--epsilon", "4", "--delta", str(DELTA)),
        {"plain": lambda: turn("plain")},
        turns=size(3, 1),
    )
    assert all(fact["noise_as_promised"] for fact in facts["ours"])
    finding = Finding(f"A whole private round: {clients:,} clients, {dim:,} numbers, 10 % dropped")
    finding.add("private, the command", timings.median("ours"), "s")
    finding.add("without noise, the command", timings.median("plain"), "s")
    ratio = timings.ratio("ours", "plain")
    finding.add_ratio("private / without noise", ratio, asked="under 1.5", met=ratio.median < 1.5)
    for name, what in (("ours", "private"), ("plain", "without noise")):
        seconds = [fact["seconds"]["client_mean"] for fact in facts[name]]
        finding.add(f"a client, {what}", float(np.median(seconds)), "s")
        finding.add(f"a client sends, {what}", facts[name][0]["bytes"]["client_sent_mean"] / 1024, "KiB")
    report(finding)
