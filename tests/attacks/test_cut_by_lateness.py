"""Whoever chooses who is late cuts the reference's ring, and finds no cut in random cycles (SPEC section 2.4)."""

from dataclasses import replace

import numpy as np
import pytest

from protocols.core.threat_model import Adversary, ThreatModel
from protocols.masking.topology import GraphKind

from .cutting import Cutter, largest_cut

CURIOUS, SEMI, _ = Adversary
CYCLES, RING, _ = GraphKind


@pytest.mark.parametrize("num_clients", [500, 1000])
def test_a_stretch_of_the_ring_is_summed_apart_by_calling_those_beside_it_late(num_clients):
    """Nothing in it breaks the protocol: the thresholds are met, and no more are late than may be."""
    cutter = Cutter(ThreatModel(num_clients, 0.1, 0.1, CURIOUS), RING, 0)
    for group in cutter.stretches((25, 30, 40), 10):
        late = cutter.late_for(group)
        if late is not None and len(sizes := cutter.groups(late)) > 1:
            small, rest = sizes
            assert small <= 40 < rest
            assert late.sum() <= cutter.max_late == num_clients // 10
            return
    pytest.fail("no stretch of the ring was cut off")


@pytest.mark.parametrize("fraction", [0.05, 0.1])
@pytest.mark.parametrize("num_clients", [500, 1000])
def test_random_cycles_are_not_cut(num_clients, fraction):
    cutter = Cutter(ThreatModel(num_clients, fraction, fraction, CURIOUS), CYCLES, 0)
    assert largest_cut(cutter, starts=1, tries=20, step=25) == 0


def test_the_search_finds_cuts_of_random_cycles_where_more_may_be_late_and_the_threshold_is_low():
    cutter = Cutter(ThreatModel(500, 0.1, 0.1, CURIOUS), CYCLES, 0)
    cutter.max_late, cutter.topology = 150, replace(cutter.topology, threshold=3)
    assert largest_cut(cutter, starts=1, tries=20, step=100) > 0


def test_groups_are_those_that_the_server_can_unmask():
    cutter = Cutter(ThreatModel(500, 0.1, 0.1, CURIOUS), CYCLES, 1)
    nobody = np.zeros(500, dtype=bool)
    assert cutter.groups(nobody) == [450]
    late = cutter.edges[np.flatnonzero(cutter.honest)[0]] & cutter.honest  # one client alone: its seed stays unknown
    assert cutter.groups(late) == [450 - 1 - late.sum()]


@pytest.mark.long
@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize(
    ("num_clients", "fraction", "adversary"),
    [
        (500, 0.05, CURIOUS),
        (500, 0.1, CURIOUS),
        (500, 0.05, SEMI),
        (1000, 0.05, CURIOUS),
        (1000, 0.1, CURIOUS),
        (1000, 0.05, SEMI),
        (1000, 0.1, SEMI),
    ],
)
def test_longer_searches_cut_the_ring_of_curious_servers_alone(num_clients, fraction, adversary, number):
    model = ThreatModel(num_clients, fraction, fraction, adversary)
    assert largest_cut(Cutter(model, CYCLES, number), starts=20, tries=300, step=1) == 0
    ring = largest_cut(Cutter(model, RING, number), starts=0, tries=0, step=1)
    assert (ring > 0) is (adversary is CURIOUS)
