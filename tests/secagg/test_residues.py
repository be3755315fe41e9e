from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import _bit_kernels, residues
from secagg.errors import EncodingError, ParameterError
from secagg.residues import add_packed, lane_dtype, pack, packed_bytes, reduce_in_place, unpack
from tests.processes import python
from tests.strategies import lanes, modulus_bits, random_lanes

pytestmark = pytest.mark.usefixtures("either_way")


def big_integer_reference(values: np.ndarray, bits: int) -> bytes:
    """Element i stands at bit i * bits of one little-endian integer."""
    digits = "".join(format(int(value), f"0{bits}b") for value in reversed(values))
    return int(digits or "0", 2).to_bytes((len(values) * bits + 7) // 8, "little")


@pytest.mark.parametrize("bits", range(1, 65))
def test_packing_is_one_little_endian_integer_for_every_length(bits: int) -> None:
    for length in range(131):  # where an element begins in a word comes round after 64 of them at most
        values = random_lanes(bits, length, seed=length)
        packed = pack(values, bits)
        assert packed == big_integer_reference(values, bits)
        assert len(packed) == packed_bytes(length, bits) == -(-length * bits // 8)
        back = unpack(packed, bits, length)
        assert back.dtype == values.dtype
        assert np.array_equal(back, values)


@pytest.mark.parametrize("bits", [1, 7, 8, 16, 23, 31, 32, 33, 47, 63, 64])
def test_packing_is_one_little_endian_integer_for_a_long_vector(bits: int) -> None:
    values = random_lanes(bits, 50_021, seed=bits)
    packed = pack(values, bits)
    assert packed == big_integer_reference(values, bits)
    assert np.array_equal(unpack(packed, bits, values.size), values)


@given(st.data(), modulus_bits)
def test_packing_undoes_unpacking_so_that_a_vector_has_one_encoding(data: st.DataObject, bits: int) -> None:
    length = data.draw(st.integers(0, 40))
    packed = data.draw(st.binary(min_size=packed_bytes(length, bits), max_size=packed_bytes(length, bits)))
    try:
        values = unpack(packed, bits, length)
    except EncodingError:
        assert int.from_bytes(packed, "little") >> (length * bits)  # only dirty padding is refused
    else:
        assert pack(values, bits) == packed
        assert all(int(value) < 1 << bits for value in values)


def test_bits_above_the_modulus_are_ignored_when_packing() -> None:
    for bits in range(1, 65):
        dirty = random_lanes(lane_dtype(bits).itemsize * 8, 77, seed=bits)
        clean = reduce_in_place(dirty.copy(), bits)
        assert pack(dirty, bits) == pack(clean, bits) == big_integer_reference(clean, bits), bits


@pytest.mark.parametrize("bits", [3, 32, 45, 64])
def test_strided_lanes_pack_as_their_copy_does(bits: int) -> None:
    values = random_lanes(bits, 60, seed=1)
    assert pack(values[::3], bits) == pack(values[::3].copy(), bits)


@pytest.mark.parametrize("bits", [5, 32, 64])
def test_unpacked_lanes_are_fresh_and_writable(bits: int) -> None:
    packed = pack(random_lanes(bits, 9, seed=3), bits)
    first, second = unpack(packed, bits, 9), unpack(memoryview(packed), bits, 9)
    first += 1
    assert np.array_equal(second, unpack(packed, bits, 9))


@pytest.mark.parametrize("bits", range(1, 65))
@pytest.mark.parametrize("picks", [True, False], ids=["with instructions that pick bytes", "without"])
def test_what_was_packed_is_added_on_top_stretch_by_stretch(
    monkeypatch: pytest.MonkeyPatch, bits: int, picks: bool
) -> None:
    """Unpacking, too, and every lane, wherever a stretch or the bytes begin; what leaves a lane wraps around."""
    monkeypatch.setattr(residues, "_STRETCH", 16)
    if not picks:
        monkeypatch.setattr(_bit_kernels, "picks_bytes", lambda: False)
    for length in (0, 1, 15, 16, 17, 48, 101, 600):
        values, before = random_lanes(bits, length, seed=length), random_lanes(bits, length, seed=1)
        before += lane_dtype(bits).type(2 ** (8 * before.itemsize) - 2**bits)
        total, packed = before.copy(), pack(values, bits)
        add_packed(total, memoryview(b"odd" + packed)[3:], bits)
        assert np.array_equal(total, before + values)
        assert np.array_equal(unpack(packed, bits, length), values)


@pytest.mark.parametrize("bits", [1, 26, 57, 58, 63])
def test_what_is_beside_the_lanes_is_left_alone(bits: int) -> None:
    for length in (0, 7, 8, 9, 64, 65, 300):
        room = np.full(length + 64, 7, dtype=lane_dtype(bits))
        values = random_lanes(bits, length, seed=length)
        add_packed(room[32 : 32 + length], pack(values, bits), bits)
        assert (room[:32] == 7).all()
        assert (room[32 + length :] == 7).all()
        assert np.array_equal(room[32 : 32 + length], values + lane_dtype(bits).type(7))


@pytest.mark.parametrize("bits", [1, 7, 26, 57])
def test_the_loop_of_eights_stops_before_it_would_read_behind_the_bytes(bits: int) -> None:
    if not _bit_kernels.picks_bytes():
        return
    for length in (0, 8, 64, 70, 600):
        packed = np.zeros(packed_bytes(length, bits), dtype=np.uint8)
        packed.flags.writeable = False
        total = np.zeros(length, dtype=lane_dtype(bits))
        done = _bit_kernels.add_eights(packed, np.uint64(bits), *_bit_kernels.places(bits), total)
        # Each register begins `bits` bytes further on.
        fitting = (packed.size - _bit_kernels.REGISTER_BYTES) // bits + 1
        assert done == 8 * max(0, min(fitting, length // 8))


@pytest.mark.parametrize("bits", [26, 40])
@pytest.mark.parametrize("stretch", [slice(0, 600, 2), slice(599, 299, -1)], ids=["every other", "backwards"])
def test_lanes_that_do_not_lie_side_by_side_are_added_to_where_they_lie(bits: int, stretch: slice) -> None:
    room, values = np.full(1000, 7, dtype=lane_dtype(bits)), random_lanes(bits, 300, seed=1)
    expected = room.copy()
    expected[stretch] += values
    add_packed(room[stretch], pack(values, bits), bits)
    assert np.array_equal(room, expected)


def test_what_cannot_be_written_stays_as_it_is() -> None:
    total = np.frombuffer(bytes(4096), dtype=np.uint32)
    with pytest.raises(EncodingError, match="read-only"):
        add_packed(total, pack(np.ones(1024, dtype=np.uint32), 26), 26)
    assert not total.any()


def test_nothing_is_added_of_what_is_refused() -> None:
    total = np.ones(9, dtype=np.uint32)
    for packed in (bytes(5), bytes(7), bytes(5) + b"\x80"):
        with pytest.raises(EncodingError):
            add_packed(total, packed, 5)
    with pytest.raises(EncodingError, match="lanes"):
        add_packed(total.astype(np.uint64), bytes(6), 5)
    assert (total == 1).all()


@pytest.mark.parametrize("change", [-1, 1, 8])
def test_a_wrong_number_of_bytes_is_refused(change: int) -> None:
    for bits in range(1, 65):
        size = packed_bytes(20, bits)
        with pytest.raises(EncodingError, match=f"expected {size} bytes"):
            unpack(bytes(size + change), bits, 20)


def test_a_negative_length_is_refused() -> None:
    for length in (-1, -8, -(2**40)):
        with pytest.raises(EncodingError):
            unpack(b"", 1, length)


@pytest.mark.parametrize("bits", range(1, 65))
def test_every_padding_bit_must_be_zero(bits: int) -> None:
    for length in range(1, 9):
        size = packed_bytes(length, bits)
        unpack(bytes(size), bits, length)
        for position in range(length * bits, size * 8):
            dirty = (1 << position).to_bytes(size, "little")
            with pytest.raises(EncodingError, match="padding"):
                unpack(dirty, bits, length)


def test_lanes_are_the_narrowest_of_32_and_64_bits() -> None:
    assert [lane_dtype(bits) for bits in range(1, 65)] == 32 * [np.uint32] + 32 * [np.uint64]


@pytest.mark.parametrize("bits", [0, -1, 65, 2.0, "8", None])
def test_a_modulus_out_of_range_is_refused_with_the_remedy(bits: object) -> None:
    with pytest.raises(ParameterError, match=r"from 1 to 64.*fewer"):
        lane_dtype(bits)
    with pytest.raises(ParameterError):
        pack(np.zeros(1, dtype=np.uint32), bits)
    with pytest.raises(ParameterError):
        unpack(b"", bits, 0)
    with pytest.raises(ParameterError):
        reduce_in_place(np.zeros(1, dtype=np.uint32), bits)


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        (np.zeros(3, dtype=np.uint64), 32),
        (np.zeros(3, dtype=np.uint32), 33),
        (np.zeros(3, dtype=np.int32), 32),
        (np.zeros(3, dtype=np.float64), 64),
        (np.zeros(3, dtype=">u4"), 32),
        (np.zeros((3, 1), dtype=np.uint32), 32),
        (np.zeros((), dtype=np.uint32), 32),
        (np.ma.masked_array(np.zeros(3, dtype=np.uint32), mask=[False, True, False]), 32),
    ],
)
def test_other_arrays_than_lanes_are_refused(values: np.ndarray, bits: int) -> None:
    for function in (pack, reduce_in_place):
        with pytest.raises(EncodingError, match="one-dimensional"):
            function(values, bits)


def test_looking_for_masked_arrays_does_not_load_them() -> None:
    """It takes longer than all else that a short process does with residues."""
    program = (
        "import sys\nimport numpy as np\nfrom secagg import field, residues\nloaded = set(sys.modules)\n"
        "residues.pack(np.zeros(9, dtype=np.uint32), 5)\nfield.elements(np.arange(3))\n"
        "print({'numpy.ma'} & set(sys.modules) - loaded)"
    )
    assert python("-c", program).strip() == "set()"


def test_looking_for_masked_arrays_does_not_mind_that_another_thread_is_loading_them(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy.ma", ModuleType("numpy.ma"))
    assert pack(np.zeros(8, dtype=np.uint32), 1) == bytes(1)


@given(st.data(), modulus_bits)
def test_reducing_is_the_remainder_and_happens_in_place(data: st.DataObject, bits: int) -> None:
    width = lane_dtype(bits).itemsize * 8
    values = data.draw(lanes(width))
    expected = [int(value) % (1 << bits) for value in values]
    reduced = reduce_in_place(values, bits)
    assert reduced is values
    assert reduced.tolist() == expected


@given(st.data(), modulus_bits)
def test_sums_may_run_unreduced_and_be_reduced_once(data: st.DataObject, bits: int) -> None:
    length = data.draw(st.integers(0, 8))
    vectors = [random_lanes(bits, length, seed) for seed in data.draw(st.lists(st.integers(0, 99), max_size=30))]
    running = np.zeros(length, dtype=lane_dtype(bits))
    for vector in vectors:
        running += vector
    exact = [sum(int(vector[i]) for vector in vectors) % (1 << bits) for i in range(length)]
    assert reduce_in_place(running, bits).tolist() == exact
