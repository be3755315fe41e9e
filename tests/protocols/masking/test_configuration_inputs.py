"""Configurations as people write them: lists, names, whole numbers; what is kept is of one kind."""

from functools import partial

import msgspec
import numpy as np
import pytest

from dp.sensitivity import Unit
from protocols.core.participants import Participants
from protocols.core.threat_model import MAX_CLIENTS, Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector, IntegerVector, PrivateCounts, PrivateVector
from protocols.masking.client import Client
from protocols.masking.config import MAX_LENGTH, MAX_VECTORS, RoundConfig, written_down
from protocols.masking.server import Server
from protocols.simulation.masked import Simulation
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


@pytest.mark.parametrize("threads", [0, -1, "2", 2.0, True])
def test_threads_are_looked_at_before_anything_is_revealed(threads):
    config = RoundConfig(ThreatModel(5), (IntegerVector("v", 1),))
    for made in (
        lambda: Server(config, threads=threads),
        lambda: Server.load(Server(config).dump(), threads=threads),
        lambda: Client(threads=threads),
        lambda: Client.load(Client().dump(), threads=threads),
    ):
        with pytest.raises(ParameterError, match=r"threads is .*, but must be an integer from 1"):
            made()


def test_nobody_takes_the_place_of_participants_of_whom_there_are_none():
    config = RoundConfig(ThreatModel(5), (IntegerVector("v", 1),))
    for begun in (partial(Server, config), Simulation(config, dict, participants=Participants([])).run):
        with pytest.raises(ParameterError, match="but 0 take part"):
            begun(*[Participants([])] * isinstance(begun, partial))


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (FloatVector(np.str_("v"), 4, np.float32(2), np.int64(16), np.True_), FloatVector("v", 4, 2.0, 16, True)),
        (IntegerVector("v", 4, np.uint8(7), np.int8(-2)), IntegerVector("v", 4, 7, -2)),
        (
            PrivateVector("v", np.int32(4), np.float64(1), np.float32(8), np.float64(4), Unit.RECORD, np.int64(3)),
            PrivateVector("v", 4, 1.0, 8.0, 4.0, Unit.RECORD, 3),
        ),
        (
            PrivateCounts("v", np.int64(4), np.int64(3), np.int64(8), np.float16(4), np.int64(2)),
            PrivateCounts("v", 4, 3, 8, 4.0, 2),
        ),
    ],
)
def test_numbers_of_numpys_are_written_down_as_pythons(given, plain):
    config = RoundConfig(ThreatModel(5), (given,), max_weight=2 if isinstance(given, FloatVector) else 1)
    assert config.vectors == (plain,)
    assert all(type(value) is type(getattr(plain, field)) for field, value in msgspec.structs.asdict(given).items())
    assert written_down(config) == config


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        (FloatVector(["v"], 1), "name is .*, but must be a text"),
        (FloatVector(7, 1), "name is 7, but must be a text"),
        (FloatVector("v", 1, weighted="no"), "weighted of 'v' is 'no', but must be True or False"),
        (FloatVector("v", 1, weighted=1), "weighted of 'v' is 1, but must be True or False"),
    ],
)
def test_names_are_texts_and_weighted_is_true_or_false(spec, match):
    with pytest.raises(ParameterError, match=match):
        RoundConfig(ThreatModel(5), (spec,))
