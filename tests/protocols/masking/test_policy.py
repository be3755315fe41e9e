"""What a client demands of a round: each demand at its edge, and noise counted from the fewest that may be honest."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from dp.accounting import epsilon_of
from dp.events import Composed, Repeated
from dp.sensitivity import Adjacency
from protocols.core.threat_model import MAX_BAD_FRACTION, Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector, PrivateCounts, PrivateVector
from protocols.masking.config import RoundConfig
from protocols.masking.policy import ClientPolicy, EncodingDemand, PrivacyDemand
from protocols.masking.topology import GraphKind
from secagg.errors import ParameterError

from .harness import demanding

ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE
DELTA = 1e-5


def private(
    num_clients: int = 20, corrupt: float = 0.0, min_survivors: int = 16, sigma: float = 40.0, vectors: int = 1
) -> RoundConfig:
    kinds = [PrivateVector(f"v{i}", 8, 1.0, 16.0, sigma) for i in range(vectors)]
    return RoundConfig(
        ThreatModel(num_clients, corrupt, 0.1), tuple(kinds), min_survivors=min_survivors, graph=GraphKind.COMPLETE
    )


def spent(config: RoundConfig, honest: int, adjacency: Adjacency = ADD, rounds: int = 1) -> float:
    """What the noise of so many costs; as the round's own corrupt clients are not among them."""
    [*codecs] = config.codecs
    events = [codec.share.event(honest, adjacency) for codec in codecs]  # type: ignore[union-attr]
    return epsilon_of(Repeated(Composed(tuple(events)), rounds), DELTA)


def accepts(config: RoundConfig, demand: PrivacyDemand) -> bool:
    try:
        demand.check(config)
    except ParameterError as error:
        if "demands at most" not in str(error):
            raise
        return False
    return True


@pytest.mark.parametrize(
    ("corrupt", "doubted", "honest"),
    [
        (0.0, 0.0, 16),  # as the round says
        (0.1, 0.0, 14),  # the round says more than the client fears
        (0.0, 0.1, 14),  # and less
        (0.1, 0.25, 11),
    ],
)
def test_noise_is_counted_from_the_fewest_that_may_be_honest(corrupt: float, doubted: float, honest: int) -> None:
    config = private(corrupt=corrupt)
    least = spent(config, honest)
    assert accepts(config, PrivacyDemand(least, DELTA, corrupt_fraction=doubted))
    assert not accepts(config, PrivacyDemand(least * (1 - 1e-9), DELTA, corrupt_fraction=doubted))
    assert spent(config, honest + 1) < least


def test_a_demand_counts_rounds_vectors_and_its_own_relation() -> None:
    config = private(vectors=2)
    for adjacency in Adjacency:
        for rounds in (1, 5):
            least = spent(config, 16, adjacency, rounds)
            for size, accepted in ((least, True), (least * (1 - 1e-9), False)):
                assert accepts(config, PrivacyDemand(size, DELTA, rounds, adjacency, 0.0)) is accepted


def test_a_demand_is_for_one_round_in_which_one_in_ten_may_be_corrupt_unless_it_says_otherwise() -> None:
    assert PrivacyDemand(1.0, DELTA) == PrivacyDemand(1.0, DELTA, 1, ADD, 0.1)
    assert PrivacyDemand(1.0, DELTA, corrupt_fraction=MAX_BAD_FRACTION).corrupt_fraction == MAX_BAD_FRACTION


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epsilon": 0.0}, "epsilon"),
        ({"epsilon": math.nan}, "epsilon"),
        ({"epsilon": None}, "either"),
        ({"delta": 1.0}, "delta"),
        ({"rounds": 0}, "rounds"),
        ({"adjacency": "both"}, "Adjacency"),
        ({"corrupt_fraction": -0.01}, "corrupt_fraction is -0.01"),
        ({"corrupt_fraction": math.nextafter(MAX_BAD_FRACTION, 1)}, "corrupt_fraction is"),
        ({"corrupt_fraction": math.nan}, "corrupt_fraction is nan"),
    ],
)
def test_impossible_demands_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        PrivacyDemand(**({"epsilon": 1.0, "delta": DELTA} | change))  # type: ignore[arg-type]


def test_a_round_without_noise_or_without_honest_clients_meets_no_demand() -> None:
    plain = RoundConfig(ThreatModel(20, 0.0, 0.1), (FloatVector("v", 8),))
    with pytest.raises(ParameterError, match="the round has no noise"):
        PrivacyDemand(100.0, DELTA).check(plain)
    nobody = private(min_survivors=11)
    with pytest.raises(ParameterError, match="give no privacy"):
        PrivacyDemand(1e9, DELTA, corrupt_fraction=MAX_BAD_FRACTION).check(private(5, min_survivors=2))
    assert accepts(nobody, PrivacyDemand(1e9, DELTA, corrupt_fraction=0.5))  # one is left
    with pytest.raises(ParameterError, match="0 survivors of whom 0 may be corrupt give no privacy"):
        PrivacyDemand(1e9, DELTA, corrupt_fraction=0.55).check(nobody)  # none is


def test_an_event_has_at_least_one_honest_client() -> None:
    config = private(corrupt=0.25)
    assert config.event(6) == config.codecs[0].share.event(1, ADD)  # type: ignore[union-attr]
    for survivors in (5, 4):
        with pytest.raises(ParameterError, match=f"{survivors} survivors of whom 5 may be corrupt give no privacy"):
            config.event(survivors)


# Policies.


@pytest.mark.parametrize(
    ("name", "met", "missed"),
    [
        ("adversary", Adversary.SEMI_MALICIOUS_SERVER, Adversary.MALICIOUS_SERVER),
        ("corrupt_fraction", 0.1, 0.1001),
        ("min_clients", 20, 21),
        ("min_neighbours", 19, 20),
        ("min_survivors", 16, 17),
    ],
)
def test_each_demand_holds_at_its_edge(name: str, met: object, missed: object) -> None:
    config = RoundConfig(
        ThreatModel(20, 0.1, 0.1, Adversary.SEMI_MALICIOUS_SERVER),
        (FloatVector("v", 8),),
        min_survivors=16,
        graph=GraphKind.COMPLETE,
    )
    demanding(**{name: met}).check(config)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="this client demands"):
        demanding(**{name: missed}).check(config)  # type: ignore[arg-type]


def test_counts_are_private_too() -> None:
    config = RoundConfig(
        ThreatModel(20, 0.0, 0.1),
        (PrivateCounts("c", 4, 1, 8, 20.0), PrivateCounts("e", 4, 1, 8, 20.0)),
        min_survivors=16,
    )
    least = spent(config, 16)
    assert accepts(config, PrivacyDemand(least * (1 + 1e-12), DELTA, corrupt_fraction=0.0))
    assert not accepts(config, PrivacyDemand(least * (1 - 1e-9), DELTA, corrupt_fraction=0.0))


NUMPYS = ClientPolicy(
    corrupt_fraction=np.float64(0.2),
    min_survivor_fraction=np.float32(0.5),
    min_clients=np.int64(5),
    takes_ring=np.True_,
    encoding=EncodingDemand(
        min_value_bits=np.int64(8), min_clip=np.float64(1), max_clip=np.float64(4), max_weight=np.int64(9)
    ),
    privacy=PrivacyDemand(
        np.float64(1), np.float64(1e-5), np.int64(2), corrupt_fraction=np.float64(0.2), trusts_server=np.False_
    ),
)


def test_numbers_of_numpys_are_kept_as_pythons() -> None:
    """They were taken, and a client that was to be dumped in the middle of a session could not be."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(NUMPYS), type=ClientPolicy) == NUMPYS
    for kept in (NUMPYS, NUMPYS.encoding, NUMPYS.privacy):
        assert not [name for name, value in vars(kept).items() if isinstance(value, np.generic)]


@pytest.mark.parametrize("given", ["no", "False", 1, 0, None])
def test_what_is_true_or_false_is_nothing_else(given: Any) -> None:
    with pytest.raises(ParameterError, match=r"trusts_server is .*, but must be True or False"):
        PrivacyDemand(1.0, DELTA, trusts_server=given)
    with pytest.raises(ParameterError, match=r"takes_ring is .*, but must be True or False"):
        ClientPolicy(takes_ring=given)


def test_a_fraction_of_survivors_is_not_rounded_up_for_a_floats_error() -> None:
    """0.55 * 100 is 55.00000000000001, and 56 were demanded."""
    config = RoundConfig(ThreatModel(100, 0.1, 0.4), (FloatVector("v", 4),), min_survivors=55, graph=GraphKind.COMPLETE)
    demanding(min_survivor_fraction=0.55).check(config)
    with pytest.raises(ParameterError, match="demands 56"):
        demanding(min_survivor_fraction=0.551).check(config)
    demanding(min_survivor_fraction=0.0).check(config)
