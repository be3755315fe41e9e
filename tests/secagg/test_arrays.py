from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from secagg.arrays import ArrayLayout, flatten
from secagg.errors import EncodingError

float_arrays = hnp.arrays(
    dtype=st.sampled_from(["float16", "float32", "float64", ">f4", ">f8"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@given(st.lists(float_arrays, max_size=5))
def test_restoring_undoes_flattening_whatever_the_shapes_and_dtypes(arrays: list[np.ndarray]) -> None:
    # NaN comes back as NaN; infinities are refused on restore as too large for any dtype.
    arrays = [np.where(np.isinf(array), array.dtype.type(1), array) for array in arrays]
    vector, layout = flatten(arrays)
    assert vector.shape == (layout.length,) == (sum(array.size for array in arrays),)
    restored = layout.restore(vector)
    assert len(restored) == len(arrays)
    for before, after in zip(arrays, restored, strict=True):
        assert after.shape == before.shape
        assert after.dtype == before.dtype.newbyteorder("=")
        assert np.array_equal(after, before, equal_nan=True)


@given(st.lists(float_arrays, max_size=5))
def test_flattening_keeps_the_order_and_the_widest_dtype(arrays: list[np.ndarray]) -> None:
    vector, _ = flatten(arrays)
    expected = [float(value) for array in arrays for value in array.flat]
    assert np.array_equal(vector, expected, equal_nan=True)
    assert vector.dtype.itemsize == max((array.dtype.itemsize for array in arrays), default=8)


def test_scalars_empty_arrays_and_no_arrays_have_their_place() -> None:
    vector, layout = flatten([np.array(2.5), np.empty((0, 3), dtype=np.float32), np.ones((2, 1), dtype=np.float16)])
    assert vector.tolist() == [2.5, 1.0, 1.0]
    assert layout == ArrayLayout(((), (0, 3), (2, 1)), ("float64", "float32", "float16"))
    assert [array.shape for array in layout.restore(vector)] == [(), (0, 3), (2, 1)]
    nothing, empty = flatten([])
    assert nothing.dtype == np.float64
    assert nothing.shape == (0,)
    assert empty.restore(nothing) == []


def test_neither_direction_shares_memory_with_its_argument() -> None:
    array = np.ones((2, 2))
    vector, layout = flatten([array])
    (restored,) = layout.restore(vector)
    vector[:] = 7
    assert array.tolist() == restored.tolist() == [[1, 1], [1, 1]]


def test_transposed_and_strided_arrays_flatten_in_row_order() -> None:
    array = np.arange(6.0).reshape(2, 3)
    assert flatten([array.T])[0].tolist() == [0, 3, 1, 4, 2, 5]
    assert flatten([array[:, ::2]])[0].tolist() == [0, 2, 3, 5]


@pytest.mark.parametrize("value", [65536.0, -65536.0, 1e300, np.inf, -np.inf])
def test_a_value_too_large_for_its_array_is_refused_with_its_index(value: float) -> None:
    # A sum of float16 updates may well leave float16.
    _, layout = flatten([np.zeros(2), np.zeros((2, 2), dtype=np.float16)])
    vector = np.array([1e300, 1.0, 65504.0, -65504.0, value, value])
    with pytest.raises(EncodingError, match="index 4 does not fit array 1, float16") as caught:
        layout.restore(vector)
    assert caught.value.index == (4,)


def test_the_largest_values_of_every_dtype_come_back() -> None:
    extremes = [np.array([np.finfo(name).max, np.finfo(name).min], dtype=name) for name in ("f2", "f4", "f8")]
    vector, layout = flatten(extremes)
    assert all(np.array_equal(a, b) for a, b in zip(extremes, layout.restore(vector), strict=True))


@pytest.mark.parametrize("shape", [(4,), (6,), (5, 1), (1, 5), ()])
def test_a_vector_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    _, layout = flatten([np.zeros(2), np.zeros((3, 1))])
    with pytest.raises(EncodingError, match=r"\(5,\) is expected"):
        layout.restore(np.zeros(shape))


@pytest.mark.parametrize(
    "bad", [np.zeros(2, dtype=int), np.zeros(2, dtype=complex), np.zeros(2, dtype=np.longdouble), [1.0], 1.0, None]
)
def test_arrays_of_other_dtypes_are_refused_with_their_number(bad: object) -> None:
    with pytest.raises(EncodingError, match=r"array 1 is .* an array must be float16, float32 or float64") as caught:
        flatten([np.zeros(1), bad])
    assert caught.value.index == (1,)
