"""State dicts of any floats, integers and booleans go through a round and come back in their shapes and dtypes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocols.inputs import ModelLayout
from secagg.errors import EncodingError

DTYPES = ["f2", "f4", "f8", ">f4", "<f8", "i1", "i4", ">i8", "u2", "?"]
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
        assert restored[name].dtype == array.dtype.newbyteorder("=")
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
        EncodingError, match="array 'w' is a OnAnotherDevice that numpy cannot read: move it to the CPU"
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
