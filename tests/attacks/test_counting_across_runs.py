"""Runs are the server's to start and to configure: a node's demand on privacy holds for all of them together."""

from dataclasses import replace

import numpy as np
import pytest

from dp.accounting import epsilon_of
from dp.events import Composed
from protocols import ClientPolicy, PrivacyDemand
from protocols.flower import Privacy, SecAggGrid, SecAggMod, SecAggSettings
from secagg.errors import ParameterError

from ..protocols.flower.conftest import flower_home  # noqa: F401 - a home of the test's own
from ..protocols.flower.in_process import make_app, make_grid, train_messages

EPSILON, DELTA = 8.0, 1e-5


def run(demanded, planned, *, times, run_config=None, shift=0):
    """Start a run of so many rounds as the server plans them; return what its rounds have revealed of each node."""
    mod = SecAggMod(policy=ClientPolicy(privacy=PrivacyDemand(EPSILON, DELTA, rounds=demanded)))
    app = make_app(lambda arrays, partition: ([arrays[0] + 0.01], {"num-examples": 1}), mods=[mod])
    privacy = Privacy(l2_clip=1.0, epsilon=EPSILON, delta=DELTA, rounds=planned)
    settings = SecAggSettings(dropout_fraction=0.0, privacy=privacy)
    grid = make_grid(app, 10, run_config=run_config)
    grid.nodes = {node_id + shift: replace(context, node_id=node_id + shift) for node_id, context in grid.nodes.items()}
    secure = SecAggGrid(grid, settings)
    events = []
    for _ in range(times):
        replies = list(secure.send_and_receive(train_messages([np.zeros(5)], list(grid.nodes)), timeout=5))
        if replies[0].has_content():
            events.append(settings.private_plan(10, 5, bytes(32)).event())
    return events


def test_a_demand_is_for_all_runs_together():
    """Epsilon 5 was spent of 1, in five runs."""
    assert len(run(2, 2, times=1)) == 1
    assert len(run(2, 2, times=1)) == 1
    with pytest.raises(ParameterError, match="in all runs together"):
        run(2, 2, times=1)


def test_a_server_that_raises_the_number_of_rounds_from_run_to_run_gets_no_more():
    """A run's configuration may demand more rounds, with more noise in each: what was spent before still counts."""
    events = run(1, 1, times=1)
    for rounds in (2, 4, 8):
        raised = {"secagg-epsilon": 100.0, "secagg-delta": 0.5, "secagg-rounds": rounds}
        with pytest.raises(ParameterError, match="in all runs together"):
            events += run(1, rounds, times=rounds // 2, run_config=raised)
    assert epsilon_of(Composed(tuple(events)), DELTA) <= EPSILON


def test_rounds_count_as_parts_of_the_least_number_that_any_was_held_to():
    """Parts of unlike demands do not add up: one of two and fifty of a hundred came to epsilon 8.29 of 8."""
    events = run(2, 2, times=1) + run(4, 4, times=1)
    assert len(events) == 2
    assert epsilon_of(Composed(tuple(events)), DELTA) <= EPSILON
    with pytest.raises(ParameterError, match="in all runs together"):
        run(4, 4, times=1)


def test_a_superlink_that_gives_nodes_other_ids_gets_no_new_account():
    """Ids are the SuperLink's to give."""
    assert len(run(1, 1, times=1)) == 1
    with pytest.raises(ParameterError, match="in all runs together"):
        run(1, 1, times=1, shift=1)
