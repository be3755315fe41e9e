"""The library and the second implementation derive the same, far beyond what the vectors show."""

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.accounting import epsilon_of
from dp.distributed import NoiseShare
from dp.events import Composed, Repeated
from dp.sensitivity import Adjacency
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.noisy_counts import NoisyCounts
from protocols.inputs.noisy_floats import NoisyFloats
from protocols.inputs.vectors import PrivateCounts, PrivateVector
from protocols.masking.graph import Graph
from protocols.masking.topology import GraphKind, Topology, derive_topology
from secagg.errors import ParameterError

from .costs import epsilon
from .private import PrivateCounts as CheckedCounts
from .private import PrivateFloats as CheckedFloats
from .refusal import Refused
from .topology import Topology as CheckedTopology
from .topology import derive, neighbours

FRACTIONS = (0.0, 0.1, 1 / 3, 0.45, 0.6)


@pytest.mark.parametrize("adversary", list(Adversary), ids=str)
@pytest.mark.parametrize("graph", GraphKind)
def test_degrees_and_thresholds(adversary, graph):
    found = set()
    for n, gamma, delta in product((2, 3, 7, 10, 40, 120), FRACTIONS, FRACTIONS):
        try:
            theirs = derive(n, gamma, delta, str(adversary), str(graph))
        except Refused:
            with pytest.raises(ParameterError):
                derive_topology(ThreatModel(n, gamma, delta, adversary), graph)
            found.add("refused")
            continue
        ours = derive_topology(ThreatModel(n, gamma, delta, adversary), graph)
        assert (ours.degree, ours.threshold, ours.graph) == (theirs.degree, theirs.threshold, theirs.graph)
        found.add(ours.graph)
    assert found >= {"refused", "complete"}
    sparse = adversary is Adversary.CURIOUS_SERVER or (
        adversary is Adversary.SEMI_MALICIOUS_SERVER and graph is GraphKind.RING_FOR_RANDOM_DROPOUTS
    )
    assert (graph in found) is (sparse or graph is GraphKind.COMPLETE)


@pytest.mark.parametrize("adversary", [Adversary.CURIOUS_SERVER, Adversary.SEMI_MALICIOUS_SERVER], ids=str)
def test_degrees_and_thresholds_of_random_cycles_in_larger_rounds(adversary):
    for n, gamma, delta in ((900, 0.0, 0.1), (501, 0.05, 0.05), (250, 0.1, 0.1), (501, 0.1, 0.2)):
        theirs = derive(n, gamma, delta, str(adversary))
        ours = derive_topology(ThreatModel(n, gamma, delta, adversary))
        assert (ours.degree, ours.threshold, ours.graph) == (theirs.degree, theirs.threshold, theirs.graph)


@given(
    num_clients=st.integers(3, 60),
    cycles=st.integers(1, 5),
    graph=st.sampled_from([GraphKind.RANDOM_CYCLES, GraphKind.RING_FOR_RANDOM_DROPOUTS]),
    seed=st.binary(min_size=32, max_size=32),
    data=st.data(),
)
def test_neighbours(num_clients, cycles, graph, seed, data):
    degree = 2 * min(cycles, (num_clients - 1) // 2)
    client = data.draw(st.integers(1, num_clients))
    ours = Graph(Topology(degree, 2, graph, 0, ()), num_clients, seed).neighbours(client)
    assert ours == neighbours(CheckedTopology(num_clients, degree, 2, 0, str(graph), 0), seed, client)


def _outcome(codec):
    return codec.modulus_bits, codec.max_level, codec.length, codec.share.l2_bound


def _checked(codec):
    return codec.bits, codec.largest, codec.dimension, codec.bound


@given(
    length=st.integers(1, 5000),
    norm=st.floats(0.25, 2.0**30),
    l2_clip=st.floats(1e-3, 1e3),
    local_sigma=st.floats(0.25, 2.0**45),
    clients=st.integers(2, 100_000),
)
def test_moduli_and_bounds_of_floats(length, norm, l2_clip, local_sigma, clients):
    scale = norm / l2_clip
    fields = {"length": length, "l2_clip": l2_clip, "scale": scale, "local_sigma": local_sigma}
    try:
        theirs = CheckedFloats(fields, clients)
    except Refused:
        with pytest.raises(ParameterError):
            NoisyFloats(PrivateVector("v", **fields), clients)
        return
    ours = NoisyFloats(PrivateVector("v", **fields), clients)
    assert _outcome(ours) == _checked(theirs)
    assert [m * ours.max_level + ours.share.reach(m) for m in (1, clients)] == [theirs.reach(m) for m in (1, clients)]


@given(
    length=st.integers(1, 5000),
    max_total=st.integers(0, 2**21),
    scale=st.integers(0, 2**21),
    local_sigma=st.floats(0.25, 2.0**45),
    clients=st.integers(2, 100_000),
)
def test_moduli_and_bounds_of_counts(length, max_total, scale, local_sigma, clients):
    fields = {"length": length, "max_total": max_total, "scale": scale, "local_sigma": local_sigma, "least_count": 0}
    try:
        theirs = CheckedCounts(fields, clients)
    except Refused:
        with pytest.raises(ParameterError):
            NoisyCounts(PrivateCounts("v", **fields), clients)
        return
    assert _outcome(NoisyCounts(PrivateCounts("v", **fields), clients)) == _checked(theirs)


@given(
    honest=st.integers(1, 60),
    multipliers=st.lists(st.floats(1.0, 30.0), min_size=1, max_size=3),
    local_sigma=st.floats(4.0, 1e4),
    length=st.integers(1, 10**6),
    rounds=st.integers(1, 4),
    delta=st.sampled_from([1e-10, 1e-6, 1e-3]),
    adjacency=st.sampled_from(list(Adjacency)),
)
def test_costs_in_closed_form(honest, multipliers, local_sigma, length, rounds, delta, adjacency):
    vectors, events = [], []
    for multiplier in multipliers:
        steps = max(1, round(local_sigma * math.sqrt(honest) / multiplier))
        fields = {"length": length, "max_total": 1, "scale": steps, "local_sigma": local_sigma, "least_count": 0}
        vectors.append(CheckedCounts(fields, honest))
        events.append(NoiseShare(local_sigma, length, steps, steps, nonnegative=True).event(honest, adjacency))
    theirs = epsilon(vectors, honest, str(adjacency), delta, rounds)
    ours = epsilon_of(Repeated(Composed(tuple(events)), rounds), delta)
    assert math.isclose(ours, theirs, rel_tol=1e-7, abs_tol=1e-9)


@given(
    honest=st.integers(1, 60),
    scales=st.lists(st.integers(1, 6), min_size=1, max_size=2),
    clip=st.floats(0.5, 20.0),
    local_sigma=st.floats(0.5, 2.0),
    length=st.integers(1, 5000),
    rounds=st.integers(1, 20),
    delta=st.sampled_from([1e-10, 1e-6, 1e-3]),
    adjacency=st.sampled_from(list(Adjacency)),
)
def test_costs_by_divergence(honest, scales, clip, local_sigma, length, rounds, delta, adjacency):
    floats = {"length": length, "l2_clip": clip, "scale": 1.0, "local_sigma": local_sigma}
    vectors, ours = [CheckedFloats(floats, honest)], [NoisyFloats(PrivateVector("v", **floats), honest)]
    for scale in scales:
        fields = {"length": length, "max_total": 1, "scale": scale, "local_sigma": local_sigma, "least_count": 0}
        vectors.append(CheckedCounts(fields, honest))
        ours.append(NoisyCounts(PrivateCounts("v", **fields), honest))
    theirs = epsilon(vectors, honest, str(adjacency), delta, rounds)
    event = Repeated(Composed(tuple(codec.share.event(honest, adjacency) for codec in ours)), rounds)
    assert theirs == math.inf or math.isclose(epsilon_of(event, delta), theirs, rel_tol=1e-9)
