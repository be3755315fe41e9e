"""State dicts of any floats, integers and booleans go through a round and come back in their shapes and dtypes."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocols import EncodingDemand, Inputs, RoundConfig, ThreatModel
from protocols.inputs import ModelLayout
from protocols.simulation.masked import run_locally
from secagg.encoding import Rounding
from secagg.errors import EncodingError, ParameterError

DTYPES = ["f2", "f4", "f8", ">f4", "<f8", "i1", "i4", ">i8", "u2", "u8", "?"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


@st.composite
def state_dicts(draw: st.DrawFn) -> dict[str, np.ndarray]:
    names = draw(st.lists(st.text("abc.", min_size=1, max_size=4), unique=True, max_size=5))
    state = {}
    for name in names:
        dtype = np.dtype(draw(st.sampled_from(DTYPES)))
        elements = (
            st.floats(-100, 100, width=16)
            if dtype.kind == "f"
            else st.booleans()
            if dtype.kind == "b"
            else st.integers(0, 99)
        )
        state[name] = draw(hnp.arrays(dtype, SHAPES, elements=elements))
    return state


@given(state_dicts())
def test_restoring_undoes_cutting(state: dict[str, np.ndarray]) -> None:
    layout = ModelLayout.of(state)
    values = layout.values(state)
    assert {spec.name: spec.length for spec in layout.vectors()} == {
        name: vector.size for name, vector in values.items()
    }
    restored = layout.restore(values)
    assert restored.keys() == state.keys()
    for name, array in state.items():
        assert restored[name].shape == array.shape
        assert restored[name].dtype == array.dtype
        assert np.array_equal(restored[name], array)


@given(state_dicts(), st.integers(1, 5))
def test_differences_are_added_again(state: dict[str, np.ndarray], steps: int) -> None:
    layout = ModelLayout.of(state)
    moved = {n: (a if a.dtype.kind == "b" else (a + a.dtype.type(steps)).astype(a.dtype)) for n, a in state.items()}
    back = layout.restore(layout.values(moved, minus=state), plus=state)
    for name, array in moved.items():
        assert np.array_equal(back[name], array)


def test_strides_and_views_are_read_in_row_order_and_not_shared() -> None:
    array = np.arange(6.0).reshape(2, 3)
    state = {"t": array.T, "s": array[:, ::2]}
    values = ModelLayout.of(state).values(state)
    assert values["floats"].tolist() == [0, 2, 3, 5, 0, 3, 1, 4, 2, 5]
    values["floats"][:] = 7
    assert array[0, 1] == 1


def test_integers_are_rounded_and_booleans_true_from_one_half_on() -> None:
    layout = ModelLayout.of({"b": np.zeros(3, dtype=bool), "n": np.array(0)})
    restored = layout.restore({"floats": np.empty(0), "integers": np.array([0.49, 0.5, 1.0, 7.6])})
    assert restored["b"].tolist() == [False, True, True]
    assert restored["n"] == 8
    assert restored["n"].shape == ()


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (np.ma.masked_array([1.0, 2.0], mask=[0, 1]), "masked"),
        (np.array([None]), "object"),
        (np.array(["a"]), "floats or integers"),
        (np.zeros(1, dtype=[("a", "f4")]), "floats or integers"),
        (np.zeros(1, dtype=complex), "floats or integers"),
        (np.zeros(1, dtype=np.longdouble), "64 bits"),
        (np.array(["2026-01-01"], dtype="datetime64[D]"), "floats or integers"),
    ],
)
def test_what_cannot_be_read_faithfully_is_refused_by_name(bad: np.ndarray, match: str) -> None:
    with pytest.raises(EncodingError, match=f"array 'w'.*{match}"):
        ModelLayout.of({"w": bad})


class OnAnotherDevice:
    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def test_a_tensor_that_numpy_cannot_read_is_refused_by_name() -> None:
    with pytest.raises(
        EncodingError, match="array 'w' is a OnAnotherDevice that numpy cannot read: detach it, move it to the CPU"
    ):
        ModelLayout.of({"w": OnAnotherDevice()})


@pytest.mark.parametrize(
    ("returned", "match"),
    [
        ({}, r"lack \['n', 'w'\]"),
        ({"w": np.ones(2), "n": np.array(1), "x": np.ones(1)}, r"have \['x'\]"),
        (
            {"w": np.ones(3), "n": np.array(1)},
            "'w' came as float32 of shape .2,. and was returned as float64 of shape .3,.",
        ),
        ({"w": np.ones(2, dtype=int), "n": np.array(1)}, "same shape and kind"),
        ({"w": np.array([1.0, np.nan]), "n": np.array(1)}, "'w' has values that are not finite"),
        ({"w": np.ones(2), "n": np.array(1.0)}, "'n' came as int64"),
    ],
)
def test_another_model_than_was_sent_is_refused(returned: dict[str, np.ndarray], match: str) -> None:
    layout = ModelLayout.of({"w": np.zeros(2, dtype=np.float32), "n": np.array(0)})
    with pytest.raises(EncodingError, match=match):
        layout.values(returned)


@pytest.mark.parametrize(
    ("dtype", "value"), [("f2", 65520.0), ("i1", 128.0), ("u1", -1.0), ("f4", np.inf), ("f8", np.nan)]
)
def test_a_mean_that_does_not_fit_its_array_is_refused(dtype: str, value: float) -> None:
    layout = ModelLayout.of({"w": np.zeros(2, dtype=dtype)})
    kind = "floats" if dtype.startswith("f") else "integers"
    with pytest.raises(EncodingError, match="mean of array 'w' does not fit"):
        layout.restore({"floats": np.empty(0), kind: np.array([0.0, value])})


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(EncodingError, match="floats must be a vector of 2 numbers"):
        ModelLayout.of({"w": np.zeros(2)}).restore({"floats": np.zeros(3)})


@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), st.integers(1, 50)), min_size=4, max_size=4))
def test_weighted_means_of_integers_are_exact(clients: list[tuple[int, int]]) -> None:
    layout = ModelLayout.of({"n": np.array(0)})
    vectors = layout.vectors(weighted=True, integer_limit=2**40)
    config = RoundConfig(ThreatModel(4), vectors, max_weight=50)
    codec = config.codecs[1]
    encoded = [
        config.encode(layout.values({"n": np.array(value)}), weight, session_id=bytes(32)) for value, weight in clients
    ]
    total = sum(vector[1].residues for vector in encoded) & np.array(2**codec.modulus_bits - 1).astype(codec.dtype)
    levels = codec.decode(total.astype(codec.dtype), num_summands=4)
    assert levels.tolist() == [sum(value * weight for value, weight in clients)]
    assert codec.release(levels, session_id=bytes(32)).tolist() == levels.tolist()


def test_a_state_dict_goes_through_a_weighted_round() -> None:
    sent = {
        "bn.num_batches_tracked": np.array(2**60 + 1),  # no float64 has it
        "empty": np.empty((0, 3), dtype=np.float16),
        "mask": np.array([True, False]),
        "w": np.full((2, 2), 0.5, dtype=np.float32).T,
    }
    layout = ModelLayout.of(sent)
    weights = {"amber": 1, "birch": 2, "cedar": 3, "dogwood": 4}
    inputs = {}
    for name, weight in weights.items():
        trained = sent | {"bn.num_batches_tracked": sent["bn.num_batches_tracked"] + 10 * weight}
        trained["mask"] = np.array([weight > 3, weight > 2])
        trained["w"] = sent["w"] + np.float32(weight)
        inputs[name] = Inputs(layout.values(trained, minus=sent), weight)
    config = RoundConfig(ThreatModel(4), layout.vectors(clip=3.0, value_bits=24, weighted=True), max_weight=4)
    result = run_locally(config, inputs)
    mean = layout.restore(result, plus=sent)
    assert mean["bn.num_batches_tracked"] == 2**60 + 1 + 30
    assert mean["empty"].shape == (0, 3)
    assert mean["mask"].tolist() == [False, True]  # 0.4 and 0.7
    assert mean["w"].shape == (2, 2)
    assert np.allclose(mean["w"], 0.5 + (1 + 2 * 2 + 3 * 3 + 4 * 3) / 10, atol=1e-5)  # 4 is clipped to 3
    assert result.num_clipped == {"floats": 4, "integers": 0}


@pytest.mark.parametrize("dtype", ["i8", "u8", ">u8"])
def test_what_training_does_not_touch_stays_to_the_last_bit(dtype: str) -> None:
    state = {"n": np.array([2**62 + 1, np.iinfo(dtype).max, np.iinfo(dtype).min], dtype=dtype)}
    layout = ModelLayout.of(state)
    moved = {"n": np.array([2**62 + 2, np.iinfo(dtype).max - 1, np.iinfo(dtype).min + 1], dtype=dtype)}
    differences = layout.values(moved, minus=state)
    assert differences["integers"].tolist() == [1, -1, 1]
    assert layout.restore(differences, plus=state)["n"].tolist() == moved["n"].tolist()
    with pytest.raises(EncodingError, match="mean of array 'n' does not fit"):
        layout.restore({"integers": np.array([0.0, 1.0, 0.0])}, plus=state)


@pytest.mark.parametrize("limit", [0, -1, 2**51, True, 2.0**31])
def test_limits_of_integers_that_no_encoding_serves_are_refused(limit: object) -> None:
    layout = ModelLayout.of({"n": np.array(0)})
    with pytest.raises(ParameterError, match="integer_limit is"):
        layout.vectors(integer_limit=limit)
    assert layout.vectors(integer_limit=2**51 - 1)[1].value_bits == 52


@pytest.mark.parametrize(
    "other", [{"w": np.zeros(1)}, {"w": np.zeros((2, 1))}, {}, {"w": np.zeros(2), "x": np.zeros(2)}]
)
def test_the_model_that_is_added_or_subtracted_has_the_same_shapes(other: dict[str, np.ndarray]) -> None:
    layout = ModelLayout.of({"w": np.zeros(2)})
    with pytest.raises(EncodingError, match="array"):
        layout.values({"w": np.ones(2)}, minus=other)
    with pytest.raises(EncodingError, match="array"):
        layout.restore({"floats": np.ones(2)}, plus=other)


def test_differences_beyond_the_floats_are_refused_without_a_warning() -> None:
    most = np.array([np.finfo(np.float64).max])
    layout = ModelLayout.of({"w": most})
    with pytest.raises(EncodingError, match="not finite"):
        layout.values({"w": most}, minus={"w": -most})
    with pytest.raises(EncodingError, match="does not fit float64"):
        layout.restore({"floats": most}, plus={"w": most})


class Record:
    def __init__(self, array: object) -> None:
        self.array = array

    def numpy(self) -> object:
        return self.array


def test_what_has_a_method_numpy_is_read_by_it() -> None:
    layout = ModelLayout.of({"w": Record(np.zeros((2, 1), dtype=np.float32))})
    assert layout == ModelLayout.of({"w": np.zeros((2, 1), dtype=np.float32)})
    for bad in (np.ma.masked_array([1.0], mask=[1]), [1.0]):
        with pytest.raises(EncodingError, match="array 'w'"):
            ModelLayout.of({"w": Record(bad)})


@pytest.mark.parametrize("bad", [[1.0], 1.0, None, "w"])
def test_what_is_no_array_is_refused_by_name(bad: object) -> None:
    with pytest.raises(EncodingError, match=f"array 'w' is a {type(bad).__name__}, which is no array"):
        ModelLayout.of({"w": bad})


def test_names_are_texts() -> None:
    with pytest.raises(EncodingError, match="an array is named 0"):
        ModelLayout.of({0: np.zeros(1), "w": np.zeros(1)})


def test_a_result_without_the_vector_is_named() -> None:
    with pytest.raises(EncodingError, match="the model has integers, but there is no such vector"):
        ModelLayout.of({"n": np.array(0)}).restore({"floats": np.empty(0)})


@pytest.mark.parametrize("limit", [1, 2, 63, 127, 128])
def test_small_integers_are_exact_in_as_many_bits_as_clients_demand(limit: int) -> None:
    layout = ModelLayout.of({"n": np.zeros(3, dtype=bool)})
    spec = layout.vectors(rounding=Rounding.NEAREST, integer_limit=limit)[1]
    assert spec.rounding is Rounding.NEAREST
    assert limit <= spec.clip < 2 * limit + 1
    EncodingDemand(rounding=None).check(RoundConfig(ThreatModel(4), (spec,)))
    codec = RoundConfig(ThreatModel(4), (msgspec.structs.replace(spec, rounding=Rounding.STOCHASTIC),)).codecs[0]
    given = np.array([-limit, 0, limit], dtype=np.float64)
    encoded = codec.encode(given, session_id=bytes(32))
    released = codec.release(codec.decode(encoded.residues, num_summands=1), session_id=bytes(32))
    assert (released.tolist(), encoded.num_clipped) == (given.tolist(), 0)
