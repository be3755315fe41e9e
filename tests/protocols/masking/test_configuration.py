import msgspec
import numpy as np
import pytest

from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector, IntegerVector
from protocols.masking.config import MAX_CONFIG_BYTES, RoundConfig, written_down
from protocols.masking.topology import GraphKind
from secagg.errors import EncodingError, ParameterError

from .harness import demanding, small_config

MODEL = ThreatModel(6, 0.0, 0.3)


def test_a_configuration_knows_its_vectors_and_bytes():
    config = RoundConfig(
        MODEL,
        (FloatVector("model", 10, weighted=True), FloatVector("loss", 1), IntegerVector("votes", 3, max_value=1)),
        max_weight=100,
    )
    assert [codec.name for codec in config.codecs] == ["model", "loss", "votes", "weight", "clipped"]
    assert config.codecs[0].modulus_bits == (2 * 32767 * 6 * 100).bit_length()
    assert config.codecs[1].modulus_bits == (2 * 32767 * 6).bit_length()
    assert config.codecs[2].modulus_bits == 3  # up to 6
    assert config.codecs[3].modulus_bits == 10  # up to 600
    assert config.codecs[4].modulus_bits == 6  # up to 60
    assert config.input_bytes == sum(codec.packed_bytes for codec in config.codecs)
    assert config.modulus_bits == 26


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"vectors": ()}, "1 to 64 vectors"),
        ({"vectors": (FloatVector("a", 1), FloatVector("a", 2))}, "distinct"),
        ({"vectors": (FloatVector("", 1),)}, "not empty"),
        ({"vectors": (FloatVector("weight", 1),)}, "'weight'"),
        ({"vectors": (FloatVector("a", -1),)}, "length of 'a' is -1"),
        ({"vectors": (FloatVector("a", 4.0),)}, "length of 'a' is 4.0"),
        ({"vectors": FloatVector("a", 4)}, "tuple of FloatVector"),
        ({"vectors": ("a",)}, "tuple of FloatVector"),
        ({"vectors": (FloatVector("a", 1, rounding="up"),)}, "rounding is 'up'"),
        ({"vectors": (FloatVector("a", 1, clip="1"),)}, "clip is '1'"),
        ({"vectors": (FloatVector("a", 1),), "max_weight": 5}, "no vector is weighted"),
        ({"vectors": (FloatVector("a", 1),), "min_survivors": 7}, "min_survivors is 7"),
        (
            {"vectors": (FloatVector("a", 1, value_bits=50, weighted=True),), "max_weight": 10**9},
            "value_bits of at most",
        ),
        ({"vectors": (FloatVector("a", 1, clip=-1.0),)}, "clip is -1.0"),
        ({"vectors": (FloatVector("a", 1, value_bits=1),)}, "value_bits is 1"),
        ({"vectors": (IntegerVector("a", 1, max_value=0),)}, "max_value of 'a' is 0"),
    ],
)
def test_impossible_configurations_name_the_culprit(arguments, match):
    with pytest.raises(ParameterError, match=match):
        RoundConfig(MODEL, **arguments)


def test_names_may_be_long_until_nobody_would_accept_the_configuration():
    def named(length):
        return RoundConfig(MODEL, (FloatVector("a" * length, 1),))

    longest = MAX_CONFIG_BYTES - len(msgspec.msgpack.encode(named(1000))) + 1000
    assert len(msgspec.msgpack.encode(written_down(named(longest)))) == MAX_CONFIG_BYTES
    with pytest.raises(ParameterError, match=f"takes {MAX_CONFIG_BYTES + 1} bytes, but at most {MAX_CONFIG_BYTES} are"):
        written_down(named(longest + 1))


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize(
    ("clients", "corrupt", "dropout", "least"),
    [(6, 0.0, 0.34, 4), (30, 0.0, 0.2, 24), (1000, 0.1, 0.1, 900), (10, 0.0, 0.9, 2), (20, 0.3, 0.6, 8)],
)
def test_min_survivors_is_what_the_dropouts_leave_unless_said(clients, corrupt, dropout, least, complete):
    """Today's sparse rounds released sums of as few as the threshold: 3 of 1,000."""
    config = small_config(clients, corrupt=corrupt, dropout=dropout, complete_graph=complete and dropout < 0.5)
    assert config.min_survivors == least
    stated = small_config(clients, corrupt=corrupt, dropout=dropout, min_survivors=config.threat_model.max_corrupt + 2)
    assert stated.min_survivors == config.threat_model.max_corrupt + 2


def test_random_cycles_are_for_sums_of_all_that_the_dropouts_leave():
    """With fewer inputs a server could call more clients late than degree and threshold were made for."""
    model, vectors = ThreatModel(1000, 0.1, 0.1, Adversary.CURIOUS_SERVER), small_config().vectors
    assert RoundConfig(model, vectors, min_survivors=900).topology.graph is GraphKind.RANDOM_CYCLES
    with pytest.raises(ParameterError, match=r"leaves 900: raise either of them, or use GraphKind\.COMPLETE"):
        RoundConfig(model, vectors, min_survivors=899)
    assert RoundConfig(model, vectors, min_survivors=899, graph=GraphKind.COMPLETE).min_survivors == 899


def test_a_sum_of_which_the_corrupt_could_subtract_all_but_one_is_refused():
    with pytest.raises(ParameterError, match="at least 5, two more than may be corrupt"):
        small_config(30, corrupt=0.1, dropout=0.2, min_survivors=4)
    with pytest.raises(ParameterError, match="no sum would hide anybody"):
        RoundConfig(ThreatModel(5, 0.8, 0.1, Adversary.CURIOUS_SERVER), small_config().vectors)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model": None}, "the round sums"),
        ({"extra": np.zeros(1)}, "the round sums"),
        ({"model": np.zeros(4)}, r"'model': must be an array of shape \(5,\)"),
        ({"model": [0.0] * 5}, "'model': must be a numpy array, not list"),
        ({"model": np.zeros(5, dtype=int)}, "'model': floats are encoded"),
        ({"model": np.array([0, 0, np.nan, 0, 0])}, "'model': value at index 2 is not finite"),
        ({"model": np.array([0, np.inf, 0, 0, 0])}, "'model': value at index 1 is not finite"),
        ({"votes": np.array([0, 8])}, "'votes': value at index 1"),
        ({"votes": np.array([-1, 0])}, "'votes': value at index 0"),
        ({"votes": np.zeros(2)}, "'votes': must be an array of integers, not of float64"),
    ],
)
def test_bad_inputs_are_refused_with_their_place(change, match):
    config = small_config(max_weight=10)
    values = {"model": np.zeros(5), "votes": np.zeros(2, dtype=int), **change}
    values = {name: value for name, value in values.items() if value is not None}
    with pytest.raises(EncodingError, match=match):
        config.encode(values, weight=1, session_id=bytes(32))


@pytest.mark.parametrize("weight", [-1, 11, 1.5, True, "1"])
def test_bad_weights_are_refused(weight):
    with pytest.raises(EncodingError, match=r"^the weight is not an integer from 0 to 10: raise max_weight"):
        small_config(max_weight=10).encode(
            {"model": np.zeros(5), "votes": np.zeros(2, dtype=int)}, weight, session_id=bytes(32)
        )


def test_a_weight_in_an_unweighted_round_is_refused():
    with pytest.raises(EncodingError, match=r"^this round is not weighted"):
        small_config().encode({"model": np.zeros(5), "votes": np.zeros(2, dtype=int)}, 0, session_id=bytes(32))


def test_clipped_coordinates_are_counted():
    values = {"model": np.array([0, 1.5, -2, 1, -1.0]), "votes": np.zeros(2, dtype=int)}
    encoded = small_config().encode(values, session_id=bytes(32))
    assert [part.num_clipped for part in encoded[:2]] == [2, 0]


@pytest.mark.parametrize("demanded", Adversary)
@pytest.mark.parametrize("proposed", Adversary)
def test_a_policy_accepts_its_adversary_and_stronger_ones(demanded, proposed):
    order = list(Adversary)
    policy, config = demanding(adversary=demanded), small_config(12, proposed, dropout=0.2)
    if order.index(proposed) >= order.index(demanded):
        policy.check(config)
        return
    with pytest.raises(ParameterError, match=f"demands {demanded}"):
        policy.check(config)


def test_a_policy_accepts_more_than_it_demands():
    demanding(corrupt_fraction=0.05, min_clients=5).check(
        small_config(20, Adversary.SEMI_MALICIOUS_SERVER, corrupt=0.1, dropout=0.2)
    )
