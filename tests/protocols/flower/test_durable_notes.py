"""What a node notes for good: what it has answered, and how many private rounds it has given input to."""

import os
import time

import numpy as np
import pytest

from protocols import ClientPolicy, PrivacyDemand
from protocols.flower import Privacy, SecAggGrid, SecAggMod, SecAggSettings, answered
from protocols.masking.transitions import ClientPhase
from secagg.errors import ParameterError, UnexpectedMessage

from .in_process import NODE_IDS, make_app, make_grid, train_messages

SESSION = bytes(range(32))
PRIVATE = SecAggSettings(dropout_fraction=0.0, privacy=Privacy(l2_clip=1.0, epsilon=8.0, delta=1e-5, rounds=2))


def training(arrays, partition):
    return [arrays[0] + 0.01], {"num-examples": 1}


def new_run(**options):
    """Nodes with their ids and an empty state, as each run of Flower's gives them."""
    demand = ClientPolicy(privacy=PrivacyDemand(8.0, 1e-5, rounds=2))
    return make_grid(make_app(training, mods=[SecAggMod(policy=demand)]), 10, **options)


def train_once(grid):
    secure = SecAggGrid(grid, PRIVATE)
    return list(secure.send_and_receive(train_messages([np.zeros(5)], NODE_IDS), timeout=5))


def test_a_new_run_does_not_begin_a_new_count_of_private_rounds():
    """Runs are the server's to start: epsilon 5 was spent of 1 in five of them."""
    for _ in range(2):
        assert train_once(new_run())[0].has_content()
    with pytest.raises(ParameterError, match="2 private rounds, in all runs together"):
        train_once(new_run())


def test_a_node_of_another_id_counts_on_where_its_operator_names_the_folder(tmp_path):
    def started_anew(shift):
        grid = new_run(node_config=lambda partition: {"secagg-answered": str(tmp_path / str(partition))})
        contexts = list(grid.nodes.values())
        grid.nodes = {}
        for context in contexts:
            context.node_id += shift
            grid.nodes[context.node_id] = context
        return grid

    def train(grid):
        secure = SecAggGrid(grid, PRIVATE)
        return list(secure.send_and_receive(train_messages([np.zeros(5)], list(grid.nodes)), timeout=5))

    for shift in (0, 1):
        assert train(started_anew(shift))[0].has_content()
    with pytest.raises(ParameterError, match="2 private rounds, in all runs together"):
        train(started_anew(2))


def test_a_round_is_counted_before_it_is_trained():
    counts = []

    def counting(arrays, partition):
        counts.append(answered.private_rounds({}, NODE_IDS[partition]))
        raise RuntimeError("after that")

    grid = make_grid(make_app(counting), 10)
    train_once(grid)
    assert counts == [1] * 10


def test_a_count_that_cannot_be_kept_is_no_input(tmp_path):
    (tmp_path / "private-rounds").write_text("a file where a folder should be")
    grid = new_run(node_config=lambda partition: {"secagg-answered": str(tmp_path)} if partition == 2 else {})
    secure = SecAggGrid(grid, PRIVATE)
    list(secure.send_and_receive(train_messages([np.zeros(5)], NODE_IDS), timeout=5))
    assert "cannot note what it has answered" in secure.reports[0].failures[NODE_IDS[2]]


def test_a_count_that_was_cut_off_counts(tmp_path):
    node = {"secagg-answered": str(tmp_path)}
    assert answered.private_rounds(node, 5) == 0
    assert answered.count_private_round(node, 5, SESSION) == 1
    with (tmp_path / "private-rounds" / "all").open("ab") as file:
        file.write(b"\x00")
    assert answered.private_rounds(node, 5) == 2
    assert answered.private_rounds({}, 5) == 0


def test_notes_and_their_folders_are_on_the_disk_before_an_answer_leaves(tmp_path, monkeypatch):
    synced = []
    honest = os.fsync

    def fsync(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        honest(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    folder = tmp_path / "home" / "answered"
    answered.claim(folder, 1, 5, SESSION, ClientPhase.ADVERTISED)
    node = folder / "1" / "5"
    note = node / f"{SESSION.hex()}-{ClientPhase.ADVERTISED}"
    made = [tmp_path, folder.parent, folder, folder / "1", note, node]
    assert synced == [path.stat().st_ino for path in made]


def test_a_clock_that_is_ahead_erases_no_open_sessions_notes(tmp_path, monkeypatch):
    answered.claim(tmp_path, 1, 5, SESSION, ClientPhase.ADVERTISED)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * 24 * 3600)
    answered.claim(tmp_path, 2, 5, bytes(32), ClientPhase.ADVERTISED)
    with pytest.raises(UnexpectedMessage):
        answered.claim(tmp_path, 1, 5, SESSION, ClientPhase.ADVERTISED)
