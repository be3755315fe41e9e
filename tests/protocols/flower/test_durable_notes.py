"""What a node notes for good: what it has answered, and how many private rounds it has given input to."""

import os
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import ClientPolicy, PrivacyDemand
from protocols.flower import Privacy, SecAggGrid, SecAggMod, SecAggSettings, answered
from protocols.flower.account import charge, check_left
from protocols.flower.own_group import remembered
from protocols.masking.transitions import ClientPhase
from secagg.errors import ParameterError, UnexpectedMessage
from secagg.signatures import Identity

from .in_process import NODE_IDS, make_app, make_grid, train_messages

SESSION = bytes(range(32))
DEMAND = PrivacyDemand(8.0, 1e-5, rounds=2)
PRIVATE = SecAggSettings(dropout_fraction=0.0, privacy=Privacy(l2_clip=1.0, epsilon=8.0, delta=1e-5, rounds=2))


def training(arrays, partition):
    return [arrays[0] + 0.01], {"num-examples": 1}


def new_run(**options):
    """Nodes with their ids and an empty state, as each run of Flower's gives them."""
    return make_grid(make_app(training, mods=[SecAggMod(policy=ClientPolicy(privacy=DEMAND))]), 10, **options)


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


def test_a_round_is_charged_before_it_is_trained(flower_home):
    sizes = []

    def charged(arrays, partition):
        path = answered.folder_of({}) / "private-rounds" / f"partition-{partition}"
        sizes.append(path.stat().st_size)
        raise RuntimeError("after that")

    grid = make_grid(make_app(charged, mods=[SecAggMod(policy=ClientPolicy(privacy=DEMAND))]), 10)
    train_once(grid)
    assert sizes == [40] * 10


def test_a_count_that_cannot_be_kept_is_no_input(tmp_path):
    (tmp_path / "private-rounds").write_text("a file where a folder should be")
    grid = new_run(node_config=lambda partition: {"secagg-answered": str(tmp_path)} if partition == 2 else {})
    secure = SecAggGrid(grid, PRIVATE)
    list(secure.send_and_receive(train_messages([np.zeros(5)], NODE_IDS), timeout=5))
    assert "cannot note what it has answered" in secure.reports[0].failures[NODE_IDS[2]]


def test_a_note_that_was_cut_off_counts(tmp_path):
    node, path = {"secagg-answered": str(tmp_path)}, tmp_path / "private-rounds" / "all"
    charge(node, SESSION, DEMAND)
    check_left(node, DEMAND)
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(ParameterError, match="2 private rounds"):
        check_left(node, DEMAND)
    check_left({}, DEMAND)  # another account


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_note_that_was_cut_off_does_not_shift_those_that_follow(tmp_path, cut):
    """Read out of line, their numbers of rounds were taken from session ids, and 200 rounds passed a demand for 10."""
    node, path = {"secagg-answered": str(tmp_path)}, tmp_path / "private-rounds" / "all"
    demand = replace(DEMAND, rounds=10)
    charge(node, os.urandom(32), demand)
    path.write_bytes(path.read_bytes()[:cut])
    for _ in range(9):
        charge(node, os.urandom(32), demand)
    with pytest.raises(ParameterError, match="in all runs together"):
        charge(node, os.urandom(32), demand)
    with pytest.raises(ParameterError, match="in all runs together"):
        check_left(node, replace(DEMAND, rounds=1000))  # what was held to ten rounds is read as that


def test_a_note_for_which_there_is_no_room_is_no_note(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "write", lambda descriptor, data: len(data) - 1)
    with pytest.raises(ParameterError, match="cannot note what it has answered"):
        charge({"secagg-answered": str(tmp_path)}, SESSION, DEMAND)


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ({}, "all"),
        ({"partition-id": 3}, "partition-3"),
        ({"partition-id": "../3"}, "all"),
        ({"partition-id": True}, "all"),
        ({"partition-id": 3, "secagg-answered": "named"}, "all"),
    ],
)
def test_accounts_go_by_what_the_operator_says(node, name, flower_home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    charge(node, SESSION, DEMAND)
    assert (answered.folder_of(node) / "private-rounds" / name).stat().st_size == 40


def test_what_is_noted_beyond_a_demand_is_refused(tmp_path):
    """As two SuperNodes would that share a folder, which each found enough left in it."""
    node = {"secagg-answered": str(tmp_path)}
    for _ in range(2):
        charge(node, SESSION, DEMAND)
    with pytest.raises(ParameterError, match="2 private rounds, in all runs together"):
        charge(node, SESSION, DEMAND)


def test_demands_for_more_rounds_than_there_will_be_are_charged(tmp_path):
    node, demand = {"secagg-answered": str(tmp_path)}, PrivacyDemand(8.0, 1e-5, rounds=2**53)
    charge(node, SESSION, demand)
    check_left(node, demand)


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


def test_a_nodes_group_and_its_place_in_the_folder_are_on_the_disk_before_an_answer_leaves(tmp_path, monkeypatch):
    synced = []
    honest = os.fsync

    def fsync(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        honest(descriptor)

    identity = Identity(bytes(range(32)))
    with remembered({"secagg-answered": str(tmp_path)}, identity) as draws:
        monkeypatch.setattr(os, "fsync", fsync)
        draws.save()
    folder = tmp_path / "draws"
    assert synced == [(folder / identity.public_bytes.hex()).stat().st_ino, folder.stat().st_ino]


def test_a_clock_that_is_ahead_erases_no_open_sessions_notes(tmp_path, monkeypatch):
    answered.claim(tmp_path, 1, 5, SESSION, ClientPhase.ADVERTISED)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 31 * 24 * 3600)
    answered.claim(tmp_path, 2, 5, bytes(32), ClientPhase.ADVERTISED)
    with pytest.raises(UnexpectedMessage):
        answered.claim(tmp_path, 1, 5, SESSION, ClientPhase.ADVERTISED)


@given(notes=st.binary(max_size=200), rounds=st.integers(1, 5))
def test_any_bytes_are_an_account(tmp_path_factory, notes, rounds):
    node = {"secagg-answered": str(tmp_path_factory.mktemp("notes"))}
    path = answered.folder_of(node) / "private-rounds" / "all"
    path.parent.mkdir()
    path.write_bytes(notes)
    with suppress(ParameterError):
        check_left(node, PrivacyDemand(8.0, 1e-5, rounds=rounds))
