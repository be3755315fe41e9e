"""Flower's simulation engine, on Ray: twenty nodes, and some fail in every exchange; 25 in groups."""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from protocols.flower.own_group import group_in
from protocols.groups import Rule, combine

from . import grouped, private_run, ray_app
from .engines import Process, environment


def test_a_ray_simulation_with_dropouts_in_every_exchange_is_plain_averaging_of_the_survivors(tmp_path):
    # As a script, so that no package has to be imported by Ray's workers under a name that they do not know.
    script = Path(__file__).with_name("ray_app.py")
    ledger = private_run.make_ledger(tmp_path)
    paths = (str(private_run.APP), str(Path(__file__).parents[3]))
    env = environment(tmp_path / "home") | {"PYTHONPATH": os.pathsep.join(paths)}
    process = Process(tmp_path / "simulation.log", sys.executable, script, ledger, env=env)
    try:
        text = process.wait(500)
    finally:
        process.kill()
    findings = json.loads(re.findall(r"^FINDINGS (.*)$", text, flags=re.MULTILINE)[0])
    assert findings["errors"] == [None, None]
    assert findings["survivors"] == [15, 20]
    expected = {"advertise-keys": 1, "share-keys": 2, "masked-input": 2, "unmasking": 1}
    assert findings["failed_in"] == sorted(name for name, count in expected.items() for _ in range(count))
    # value_bits 28 at max_weight / weight of 20, and float32's own.
    assert findings["error"] < 2e-6
    assert findings["dtypes"] == ["float32", "float64"]
    assert findings["loss"] == pytest.approx(findings["expected_loss"], abs=1e-6)
    assert findings["evaluated"] == pytest.approx(9.5)
    assert findings["adam_moved"] > 0.001

    updates = [
        np.concatenate([array.ravel() for array in ray_app.updated(ray_app.PRIVATE_MODEL, partition, 1)])
        for partition in range(20)
        if partition != ray_app.DEMANDING
    ]
    private_run.check(findings["private"], text, ledger, 20, updates)

    check_queries(findings["queries"])


def check_queries(found):
    """The answer is that of the rows of all whose answer came; a question that would betray one person has none."""
    pooled = np.concatenate(
        [ray_app.ages(p) for p in range(20) if p not in (0, 1, 2, 3, 4, ray_app.SMALL, ray_app.WITHOUT_SITE)]
    )
    assert found["sites"] == 13
    assert found["count"] == len(pooled)
    for name, value in (("mean", pooled.mean()), ("variance", pooled.var(ddof=1))):
        assert found[name][0] == pytest.approx(value, abs=found[name][1] + 1e-9)
    failed = [name for name, partitions in ray_app.QUERY_FAILING.items() for _ in partitions] + ["query"] * 2
    assert [reason.split(":")[0] for reason in found["failures"]] == sorted(failed)
    no_site, disclosure = (reason for reason in found["failures"] if "secagg:" in reason)
    assert "this node has no site: its operator names one" in no_site
    assert disclosure == "query: secagg: QueryRefused: disclosure"
    assert found["exchanges"] == [*ray_app.QUERY_FAILING, "server"]
    # Asked without one person of each table: no node answers whose answer to the first question is in its journal.
    assert "nodes answer the query, and 3 must" in found["after"]
    assert "QueryRefused: disclosure" in found["after"]


def test_strategies_that_compare_results_do_so_over_groups_and_bear_a_liar(tmp_path):
    script = Path(__file__).with_name("ray_groups_app.py")
    home = tmp_path / "home"
    env = environment(home) | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = Process(tmp_path / "simulation.log", sys.executable, script, tmp_path, env=env)
    try:
        text = process.wait(500)
    finally:
        process.kill()
    findings = json.loads(re.findall(r"^FINDINGS (.*)$", text, flags=re.MULTILINE)[0])
    for name, found in findings.items():
        assert found["errors"] == [None, None]
        assert found["failures"] == [[], []]
        assert (found["rule"], found["bears"], found["left_out"]) == (name, 1, 0)
        draws = [[exchange for exchange in exchanges if "draw" in exchange] for exchanges in found["exchanges"]]
        assert draws == [["draw-commitments", "draw-nonces", "draw-settlement"], []]
        groups = kept_groups(home, found["run_id"])
        assert sorted(partition for group in groups for partition in group) == list(range(25))
        assert [len(group) for group in groups] == [5] * 5
        check_two_rounds(name, groups, found["arrays"])


def kept_groups(home, run_id):
    """Who is in which group, as the nodes have kept it."""
    keys = {grouped.identity_of(partition).public_bytes: partition for partition in range(25)}
    node = {"secagg-answered": str(home / "secagg-answered")}
    groups = {group_in(node, grouped.identity_of(partition), run_id).identities for partition in range(25)}
    return [[keys[key] for key in members] for members in groups]


def check_two_rounds(name, groups, arrays):
    """What a plain computation over the groups' means says; the liar's group is not the one that Krum takes."""
    honest = [group for group in groups if name == "FedMedian" or 4 not in group]
    moves = [[mean - sent for mean, sent in zip(m, grouped.MODEL, strict=True)] for m in grouped.group_means(honest)]
    got = [np.array(array) - sent for array, sent in zip(arrays, grouped.MODEL, strict=True)]
    if name == "FedMedian":
        for moved, parts in zip(got, zip(*moves, strict=True), strict=True):
            np.testing.assert_allclose(moved, 2 * np.median(parts, axis=0), atol=1e-6)
        return
    vectors = np.array([np.concatenate([part.ravel() for part in move]) for move in moves])
    far = np.full((1, vectors.shape[1]), -1e3)  # wherever the liar's group is, it is far from all others
    best = combine(Rule.KRUM, np.concatenate([vectors, far]), 1).value
    np.testing.assert_allclose(np.concatenate([part.ravel() for part in got]), 2 * best, atol=1e-5)
