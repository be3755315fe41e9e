"""The library and the second implementation derive the same, far beyond what the vectors show."""

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.accounting import epsilon_of
from dp.events import Composed, Repeated, SummedDiscreteGaussianEvent
from dp.sensitivity import Adjacency
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.private_codecs import NoisyCounts, NoisyFloats
from protocols.inputs.vectors import PrivateCounts, PrivateVector
from protocols.masking.topology import derive_topology
from secagg.errors import ParameterError

from .costs import epsilon
from .private import PrivateCounts as CheckedCounts
from .private import PrivateFloats as CheckedFloats
from .refusal import Refused
from .topology import derive

FRACTIONS = (0.0, 0.1, 1 / 3, 0.45, 0.6)


@pytest.mark.parametrize("adversary", list(Adversary), ids=str)
@pytest.mark.parametrize("whole", [False, True], ids=["sparse", "complete"])
def test_degrees_and_thresholds(adversary, whole):
    found = set()
    for n, gamma, delta in product((2, 3, 7, 10, 40, 120), FRACTIONS, FRACTIONS):
        try:
            theirs = derive(n, gamma, delta, str(adversary), whole)
        except Refused:
            with pytest.raises(ParameterError):
                derive_topology(ThreatModel(n, gamma, delta, adversary), complete_graph=whole)
            found.add("refused")
            continue
        ours = derive_topology(ThreatModel(n, gamma, delta, adversary), complete_graph=whole)
        assert (ours.degree, ours.threshold, ours.complete) == (theirs.degree, theirs.threshold, theirs.complete)
        found.add("complete" if ours.complete else "sparse")
    assert found >= {"refused", "complete"}
    assert ("sparse" in found) is (adversary is not Adversary.MALICIOUS_SERVER and not whole)


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
    vectors, events, factor = [], [], 2 if adjacency is Adjacency.REPLACE_ONE else 1
    for multiplier in multipliers:
        steps = max(1, round(local_sigma * math.sqrt(honest) / multiplier))
        fields = {"length": length, "max_total": 1, "scale": steps, "local_sigma": local_sigma, "least_count": 0}
        vectors.append(CheckedCounts(fields, honest))
        bound = float(factor * steps)
        events.append(SummedDiscreteGaussianEvent(local_sigma, honest, bound, bound, length, adjacency))
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
