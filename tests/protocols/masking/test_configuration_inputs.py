"""Configurations as people write them: lists, names, whole numbers; what is kept is of one kind."""

import numpy as np
import pytest

from protocols.core.threat_model import MAX_CLIENTS, Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector, IntegerVector
from protocols.masking.config import MAX_LENGTH, MAX_VECTORS, RoundConfig
from secagg.errors import EncodingError, ParameterError

MODEL = ThreatModel(6, 0.0, 0.3)


def test_an_adversary_may_be_named():
    model = ThreatModel(6, 0.0, 0.2, "malicious-server")
    assert model.adversary is Adversary.MALICIOUS_SERVER
    with pytest.raises(ParameterError, match="adversary"):
        ThreatModel(6, 0.0, 0.2, "benign-server")


def test_vectors_may_be_a_list_and_are_kept_as_a_tuple():
    vectors = [FloatVector("model", 3), IntegerVector("votes", 2)]
    config = RoundConfig(MODEL, vectors)
    assert config.vectors == tuple(vectors)
    assert isinstance(config.vectors, tuple)
    assert hash(config) == hash(RoundConfig(MODEL, tuple(vectors)))


def test_the_most_and_the_longest_vectors_are_accepted_and_no_more():
    RoundConfig(MODEL, (FloatVector("model", MAX_LENGTH),))
    with pytest.raises(ParameterError, match="length of 'model' is 4294967297"):
        RoundConfig(MODEL, (FloatVector("model", MAX_LENGTH + 1),))
    many = tuple(FloatVector(str(i), 1) for i in range(MAX_VECTORS + 1))
    RoundConfig(MODEL, many[:-1])
    with pytest.raises(ParameterError, match="1 to 64 vectors, not 65"):
        RoundConfig(MODEL, many)


def test_the_fewest_and_the_most_clients():
    with pytest.raises(ParameterError, match="num_clients"):
        ThreatModel(MAX_CLIENTS + 1)
    with pytest.raises(ParameterError, match="num_clients"):
        ThreatModel(1)
    assert ThreatModel(2).num_clients == 2
    assert ThreatModel(MAX_CLIENTS).num_clients == MAX_CLIENTS


def test_minima_go_up_to_everyone():
    vectors = (FloatVector("model", 1),)
    assert RoundConfig(MODEL, vectors, min_survivors=6).min_survivors == 6
    assert RoundConfig(MODEL, vectors, min_survivors=2).min_survivors == 2
    for wrong in (-1, 1, 7, 2.5, True, "6"):
        with pytest.raises(ParameterError, match=f"min_survivors is {wrong!r}"):
            RoundConfig(MODEL, vectors, min_survivors=wrong)


@pytest.mark.parametrize(("given", "told"), [(np.zeros((3, 1)), r"\(3, 1\)"), (np.zeros(2), r"\(2,\)")])
def test_a_vector_of_another_shape_is_refused_with_the_shape_it_has(given, told):
    config = RoundConfig(MODEL, (FloatVector("model", 3),))
    with pytest.raises(EncodingError, match=rf"shape \(3,\), not {told}"):
        config.encode({"model": given}, session_id=bytes(32))


def test_weights_multiply_weighted_vectors_alone_and_travel_last():
    vectors = (FloatVector("heavy", 1, weighted=True, rounding="nearest"), FloatVector("plain", 1, rounding="nearest"))
    config = RoundConfig(MODEL, vectors, max_weight=10)
    values = {"heavy": np.ones(1), "plain": np.ones(1)}
    encoded = [part.residues.tolist() for part in config.encode(values, 7, session_id=bytes(32))]
    assert encoded == [[7 * 32767], [32767], [7], [0, 0]]
    encoded = [part.residues.tolist() for part in config.encode(values, session_id=bytes(32))]
    assert encoded == [[32767], [32767], [1], [0, 0]]
