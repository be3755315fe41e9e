import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocols.core.threat_model import Adversary, ThreatModel
from protocols.masking.topology import GraphKind, _HypergeometricTails, derive_topology
from secagg.errors import ParameterError

CURIOUS, SEMI, MALICIOUS = Adversary
CYCLES, RING, COMPLETE = GraphKind

# (n, gamma, delta, adversary) -> (k, t), as google-parfait/federated-compute gives them (sigma = 40, eta = 20).
REFERENCE = [
    (100, 0.45, 0.45, CURIOUS, 92, 46),
    (1_000, 0.45, 0.45, CURIOUS, 822, 417),
    (10_000, 0.45, 0.45, CURIOUS, 3494, 1771),
    (10, 0.33, 0.33, CURIOUS, 8, 4),
    (100, 0.33, 0.33, CURIOUS, 68, 34),
    (1_000, 0.33, 0.33, CURIOUS, 286, 150),
    (10_000, 0.33, 0.33, CURIOUS, 422, 221),
    (100_000, 0.33, 0.33, CURIOUS, 480, 251),
    (1_000_000, 0.33, 0.33, CURIOUS, 518, 270),
    (100, 0.3, 0.3, SEMI, 92, 62),
    (1_000, 0.3, 0.3, SEMI, 872, 584),
    (10_000, 0.3, 0.3, SEMI, 4822, 3230),
    # The reference gives (4, 2) for (10, 0.05, 0.33): docs/decisions/0008 says why ours is not.
    (10, 0.05, 0.33, CURIOUS, 6, 2),
    (100, 0.05, 0.33, CURIOUS, 28, 6),
    (1_000, 0.05, 0.33, CURIOUS, 72, 24),
    (10_000, 0.05, 0.33, CURIOUS, 86, 29),
    (10, 0.05, 0.33, SEMI, 8, 5),
    (100, 0.05, 0.33, SEMI, 72, 39),
    (1_000, 0.05, 0.33, SEMI, 398, 223),
    (10_000, 0.05, 0.33, SEMI, 746, 420),
    (10, 0.33, 0.05, CURIOUS, 4, 4),
    (100, 0.33, 0.05, CURIOUS, 34, 29),
    (1_000, 0.33, 0.05, CURIOUS, 78, 60),
    (10, 0.33, 0.05, SEMI, 4, 4),
    (100, 0.33, 0.05, SEMI, 42, 37),
    (1_000, 0.33, 0.05, SEMI, 132, 109),
    (10_000, 0.33, 0.05, SEMI, 178, 146),
    (10, 0.05, 0.05, CURIOUS, 2, 2),
    (100, 0.05, 0.05, CURIOUS, 12, 6),
    (1_000, 0.05, 0.05, CURIOUS, 30, 17),
    (10_000, 0.05, 0.05, CURIOUS, 34, 20),
    (1_000, 0.05, 0.05, SEMI, 52, 37),
    (10_000, 0.05, 0.05, SEMI, 62, 44),
    (1_000, 0.1, 0.1, CURIOUS, 48, 27),
    (10_000, 0.1, 0.1, CURIOUS, 54, 31),
    (1_000, 0.1, 0.1, SEMI, 96, 67),
    (10_000, 0.1, 0.1, SEMI, 122, 85),
]


@pytest.mark.parametrize(("n", "corrupt", "dropout", "adversary", "degree", "threshold"), REFERENCE)
def test_degree_and_threshold_of_the_ring_are_the_references(n, corrupt, dropout, adversary, degree, threshold):
    topology = derive_topology(ThreatModel(n, corrupt, dropout, adversary), RING)
    assert (topology.degree, topology.threshold, topology.graph) == (degree, threshold, RING)


@pytest.mark.parametrize("n", [1_000, 10_000])
def test_a_third_corrupt_and_a_third_dropped_is_refused_against_a_semi_malicious_server(n):
    with pytest.raises(ParameterError, match="assume fewer"):
        ThreatModel(n, 0.33, 0.33, SEMI)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_clients", 2.5),
        ("corrupt_fraction", -0.1),
        ("corrupt_fraction", 1.0),
        ("corrupt_fraction", math.nan),
        ("dropout_fraction", 1.0),
        ("dropout_fraction", math.inf),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(field, value):
    good = {"num_clients": 10, "corrupt_fraction": 0.1, "dropout_fraction": 0.1}
    with pytest.raises(ParameterError, match=field):
        ThreatModel(**{**good, field: value})


def test_fractions_are_counted_without_rounding_errors():
    # 0.1 * 30 is 3.0000000000000004 in floats, 0.29 * 100 is 28.999999999999996
    assert ThreatModel(30, 0.1, 0.1).max_corrupt == 3
    assert ThreatModel(100, 0.29, 0.29).max_dropouts == 29
    assert ThreatModel(100, 0.29, 0.29).min_survivors == 71


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 50, 200])
@pytest.mark.parametrize("adversary", Adversary)
def test_complete_graph_threshold_is_reachable_and_above_the_corrupt(n, adversary):
    model = ThreatModel(n, 0.0, 0.2, adversary)
    topology = derive_topology(model, COMPLETE)
    assert topology.complete
    assert topology.degree == n - 1
    assert model.max_corrupt < topology.threshold <= max(model.min_survivors, 2)
    if adversary is not CURIOUS:
        # Two disjoint groups of honest clients, with the corrupt in both, are never both large enough.
        assert 2 * topology.threshold > n + model.max_corrupt


@pytest.mark.parametrize("graph", GraphKind)
def test_malicious_server_gets_the_complete_graph_only(graph):
    assert derive_topology(ThreatModel(200, 0.1, 0.1, MALICIOUS), graph).complete


def test_small_groups_fall_back_to_the_complete_graph():
    assert derive_topology(ThreatModel(3, 0.0, 0.3)).complete


@given(st.integers(2, 300), st.floats(0, 0.9), st.floats(0, 0.9), st.sampled_from(Adversary))
def test_the_complete_graph_serves_every_threat_model(clients, corrupt, dropout, adversary):
    assume(corrupt + (1 if adversary is CURIOUS else 2) * dropout <= 0.9)
    model = ThreatModel(clients, corrupt, dropout, adversary)
    topology = derive_topology(model, GraphKind.COMPLETE)
    assert max(model.max_corrupt, 1) < topology.threshold <= max(model.min_survivors, 2)
    assert adversary is CURIOUS or topology.resists_equivocation


@pytest.mark.parametrize("row", [row for row in REFERENCE if row[3] is SEMI])
def test_semi_malicious_thresholds_leave_no_room_for_both_shares(row):
    n, corrupt, dropout, adversary, degree, threshold = row
    # Even a client with the expected number of corrupt neighbours is safe from two contradictory requests.
    assert 2 * threshold > degree + math.floor(corrupt * degree)
    assert derive_topology(ThreatModel(n, corrupt, dropout, adversary), RING).resists_equivocation


@pytest.mark.parametrize("corrupt", [0.0, 0.05, 0.1])
@pytest.mark.parametrize("dropout", [0.05, 0.1, 0.2, 0.33])
def test_every_threshold_is_within_reach_of_the_survivors(corrupt, dropout):
    for n in range(3, 130, 3):
        model = ThreatModel(n, corrupt, dropout)
        topology = derive_topology(model, RING)
        if not topology.complete:
            surviving = _HypergeometricTails(n).lower_quantile(model.min_survivors, topology.degree, 2**-20 / n)
            assert surviving >= topology.threshold


@pytest.mark.parametrize("adversary", ["malicous", 3, None])
def test_unknown_adversaries_are_refused(adversary):
    with pytest.raises(ParameterError, match="must be one of curious-server"):
        ThreatModel(10, adversary=adversary)
