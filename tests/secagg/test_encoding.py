from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st

from secagg import encoding
from secagg.encoding import FixedPoint, Integers, Rounding, check_weight, from_residues, sum_bits, to_residues
from secagg.errors import EncodingError, ParameterError
from secagg.randomness import RandomBytes
from secagg.residues import lane_dtype, reduce_in_place
from tests.strategies import fixed_points, float_vectors, integer_codecs

pytestmark = pytest.mark.usefixtures("either_way")

SEED = bytes(range(32))

CODEC = FixedPoint(clip=1.0, value_bits=8, num_summands=10, max_weight=5, rounding=Rounding.NEAREST)


def seeded(seed: bytes) -> RandomBytes:
    return lambda size: seed[:size]


def sum_lanes(vectors: list[np.ndarray], bits: int, length: int) -> np.ndarray:
    running = np.zeros(length, dtype=lane_dtype(bits))
    for vector in vectors:
        np.add(running, vector, out=running)
    return reduce_in_place(running, bits)


# Sums


@given(st.data(), fixed_points())
def test_a_decoded_sum_is_the_weighted_sum_of_the_quantised_values(data: st.DataObject, codec: FixedPoint) -> None:
    length = data.draw(st.integers(0, 4))
    count = data.draw(st.integers(0, min(codec.num_summands, 5)))
    encodings, exact = [], [0] * length
    for number in range(count):
        values = data.draw(float_vectors(length, reach=2 * codec.clip))
        weight = data.draw(st.one_of(st.integers(0, codec.max_weight), st.just(codec.max_weight)))
        seed = bytes([number]) * 32
        encoded = codec.encode(values, weight=weight, random=seeded(seed))
        levels, num_clipped = codec.quantise(values, random=seeded(seed))
        assert encoded.num_clipped == num_clipped
        assert encoded.residues.dtype == lane_dtype(codec.modulus_bits)
        encodings.append(encoded.residues)
        exact = [so_far + weight * int(level) for so_far, level in zip(exact, levels, strict=True)]
    residues = sum_lanes(encodings, codec.modulus_bits, length)
    before = residues.copy()
    assert codec.decode_levels(residues, num_summands=count).tolist() == exact
    sums = codec.decode_sum(residues, num_summands=count)
    assert sums.dtype == np.float64
    assert np.array_equal(sums, np.array(exact, dtype=np.int64) / codec.scale)
    assert np.array_equal(residues, before)  # decoding leaves its argument alone


@given(st.data(), fixed_points())
def test_a_decoded_sum_is_within_one_level_a_summand_of_the_sum_of_the_clipped_values(
    data: st.DataObject, codec: FixedPoint
) -> None:
    # The same with the real randomness of encode(), and the error that a user sees.
    count = data.draw(st.integers(1, min(codec.num_summands, 5)))
    vectors = [data.draw(float_vectors(3, reach=2 * codec.clip)) for _ in range(count)]
    residues = sum_lanes([codec.encode(values).residues for values in vectors], codec.modulus_bits, 3)
    levels = codec.decode_levels(residues, num_summands=count)
    per_level = Fraction(codec.max_level) / Fraction(codec.clip)
    for i in range(3):
        clipped = (max(-codec.clip, min(codec.clip, float(values[i]))) for values in vectors)
        exact = sum(Fraction(value) * per_level for value in clipped)
        # One level from rounding; scaling in float64 may cost a few units in the last place of a level beyond.
        assert abs(int(levels[i]) - exact) <= count * (1 + Fraction(codec.max_level, 2**50))


@given(fixed_points(), st.sampled_from([1, -1]))
def test_overflow_is_impossible_at_the_extreme(codec: FixedPoint, sign: int) -> None:
    # Everyone at +-clip with full weight, and as many as the encoding has room for; they all send the same residue, so
    # that even 2**62 of them are summed by one multiplication.
    extreme = np.array([sign * codec.clip, sign * codec.clip * 2, 0.0])
    levels, num_clipped = codec.quantise(extreme)
    one = to_residues(levels * codec.max_weight, codec.modulus_bits)
    count = codec.num_summands
    total = (one.astype(np.uint64) * np.uint64(count)).astype(one.dtype)
    reach = sign * codec.max_level * codec.max_weight * count
    # With stochastic rounding +-clip may fall one level short, when the float64 product clip * scale is just below it.
    slack = codec.max_weight * count if codec.rounding is Rounding.STOCHASTIC else 0
    sums = codec.decode_levels(reduce_in_place(total, codec.modulus_bits), num_summands=count).tolist()
    assert all(0 <= abs(reach) - sign * total_level <= slack for total_level in sums[:2])
    assert sums[2] == 0
    assert num_clipped == 1


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("rounding", list(Rounding))
def test_overflow_is_impossible_when_a_thousand_vectors_are_really_summed(sign: int, rounding: Rounding) -> None:
    codec = FixedPoint(clip=0.75, value_bits=16, num_summands=1000, max_weight=100, rounding=rounding)
    vectors = [codec.encode(np.full(4, sign * 0.75), weight=100).residues for _ in range(1000)]
    total = sum_lanes(vectors, codec.modulus_bits, 4)
    assert codec.decode_levels(total, num_summands=1000).tolist() == [sign * codec.max_level * 100 * 1000] * 4
    means = codec.decode_sum(total, num_summands=1000) / 100_000
    assert means.tolist() == pytest.approx([sign * 0.75] * 4)


@given(st.integers(0, 2**70))
def test_the_modulus_is_the_least_that_tells_all_sums_apart(magnitude: int) -> None:
    bits = sum_bits(magnitude)
    assert 2 * magnitude + 1 <= 2**bits
    assert bits == 1 or 2 * magnitude + 1 > 2 ** (bits - 1)


@given(fixed_points())
def test_the_modulus_holds_the_largest_sum_and_fits_in_64_bits(codec: FixedPoint) -> None:
    assert codec.modulus_bits == sum_bits(codec.max_level * codec.num_summands * codec.max_weight) <= 64
    assert codec.max_level == 2 ** (codec.value_bits - 1) - 1


@given(st.integers(1, 64), st.data())
def test_signed_integers_survive_the_passage_through_residues(bits: int, data: st.DataObject) -> None:
    bound = (1 << (bits - 1)) - 1
    levels = data.draw(st.lists(st.integers(-bound, bound), max_size=8))
    residues = to_residues(np.array(levels, dtype=np.int64), bits)
    assert [int(residue) for residue in residues] == [level % (1 << bits) for level in levels]
    assert from_residues(residues, bits, bound).tolist() == levels


# Rounding


def slow_stochastic(codec: FixedPoint, values: np.ndarray, seed: bytes, start: int = 0) -> list[int]:
    """Round x up iff u_i < x - floor(x), u_i being the top 53 bits of lane i of the seed's AES-CTR stream."""
    stream = AES.new(seed, AES.MODE_CTR, nonce=b"").encrypt(bytes(8 * values.size))
    levels = []
    for i, value in enumerate(values[start:], start):
        scaled = Fraction(float(np.clip(np.float64(value), -codec.clip, codec.clip)) * codec.scale)
        uniform = Fraction(int.from_bytes(stream[8 * i : 8 * i + 8], "little") >> 11, 2**53)
        level = math.floor(scaled) + (uniform < scaled - math.floor(scaled))
        levels.append(max(-codec.max_level, min(codec.max_level, level)))
    return levels


@given(st.data(), fixed_points(rounding=Rounding.STOCHASTIC), st.binary(min_size=32, max_size=32))
def test_stochastic_rounding_is_the_specified_function_of_the_seed(
    data: st.DataObject, codec: FixedPoint, seed: bytes
) -> None:
    values = data.draw(float_vectors(data.draw(st.integers(0, 9)), reach=1.5 * codec.clip))
    assert codec.quantise(values, random=seeded(seed))[0].tolist() == slow_stochastic(codec, values, seed)


def test_stochastic_rounding_has_no_seam_between_chunks() -> None:
    codec = FixedPoint(clip=1.0, value_bits=10, num_summands=1)
    values = np.random.default_rng(4).uniform(-1.1, 1.1, size=2 * encoding._CHUNK + 3)
    levels, num_clipped = codec.quantise(values, random=seeded(SEED))
    for border in (encoding._CHUNK, 2 * encoding._CHUNK):
        around = slow_stochastic(codec, values[: border + 3], SEED, start=border - 50)
        assert levels[border - 50 : border + 3].tolist() == around
    assert num_clipped == int((np.abs(values) > 1.0).sum())


# The check of bias: the mean of N roundings of a value deviates from it by more than Z standard errors. N roundings of
# fraction f have the standard error sqrt(f * (1 - f) / N), and Z = 5.5 is exceeded with probability 4e-8 a check (a few
# times that at the outer fractions), below 2e-6 for all of them. That is the rate of choosing a seed: with the seed
# fixed, the tests give the same answer every time.
N = 1 << 17
Z = 5.5
FRACTIONS = [1 / 1024, 0.1, 0.25, 0.5, 0.75, 0.9, 1 - 1 / 1024]


def is_biased(rounded: np.ndarray, value: float) -> bool:
    fraction = value - math.floor(value)
    return abs(rounded.mean() - value) > Z * math.sqrt(fraction * (1 - fraction) / rounded.size)


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("base", [3, -4])
def test_stochastic_rounding_is_unbiased(fraction: float, base: int) -> None:
    codec = FixedPoint(clip=127.0, value_bits=8, num_summands=1)  # one level a unit
    levels, _ = codec.quantise(np.full(N, base + fraction), random=seeded(SEED))
    assert set(levels.tolist()) == {base, base + 1}
    assert not is_biased(levels, base + fraction)


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_the_check_of_bias_rejects_biased_rounders(fraction: float) -> None:
    value = 3 + fraction
    uniforms = np.random.default_rng(17).random(N)
    assert not is_biased(3 + (uniforms < fraction), value)  # and it accepts a good one
    # A bias of eleven standard errors is missed with probability below 4e-8. Where f * (1 - f) is largest that is 1.5 %
    # of a level.
    shift = 2 * Z * math.sqrt(fraction * (1 - fraction) / N)
    assert is_biased(3 + (uniforms < min(1, fraction + shift)), value)
    assert is_biased(3 + (uniforms < max(0, fraction - shift)), value)
    assert is_biased(np.full(N, float(np.rint(value))), value)
    assert is_biased(np.full(N, 3.0), value)


def test_an_exact_level_stays_whatever_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = FixedPoint(clip=7.0, value_bits=4, num_summands=1)  # one level a unit
    exact = np.arange(-7.0, 8.0)

    def draw(lane: int) -> None:
        monkeypatch.setattr(encoding, "_lanes", lambda seed, start, count: np.full(count, lane, dtype=np.uint64))

    for drawn in (0, 2**64 - 1):
        draw(drawn)
        assert codec.quantise(exact)[0].tolist() == exact.tolist()
    # and with nothing drawn everything else goes up, with all but one drawn down
    assert codec.quantise(np.array([-0.5, 0.25]))[0].tolist() == [-1, 0]
    draw(0)
    assert codec.quantise(np.array([-0.5, 0.25]))[0].tolist() == [0, 1]


def test_every_encoding_rounds_with_fresh_randomness() -> None:
    codec = FixedPoint(clip=127.0, value_bits=8, num_summands=1)
    values = np.full(256, 0.5)
    # Two fair coin sequences of 256 agree with probability 2**-256.
    assert not np.array_equal(codec.encode(values).residues, codec.encode(values).residues)


def test_rounding_to_nearest_sends_ties_to_even() -> None:
    codec = FixedPoint(clip=127.0, value_bits=8, num_summands=1, rounding=Rounding.NEAREST)
    values = np.array([-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 0.49, 0.51, -0.0])
    assert codec.quantise(values)[0].tolist() == [-4, -2, -2, 0, 0, 2, 2, 4, 0, 1, 0]


@given(st.data(), fixed_points(rounding=Rounding.NEAREST))
def test_rounding_to_nearest_is_pythons_round_of_the_scaled_value(data: st.DataObject, codec: FixedPoint) -> None:
    values = data.draw(float_vectors(5, reach=1.5 * codec.clip))
    scaled = [max(-codec.clip, min(codec.clip, float(value))) * codec.scale for value in values]
    expected = [max(-codec.max_level, min(codec.max_level, round(x))) for x in scaled]
    assert codec.quantise(values)[0].tolist() == expected


@given(st.data(), fixed_points())
def test_levels_never_leave_the_range_of_the_clip(data: st.DataObject, codec: FixedPoint) -> None:
    # clip * scale may round to just above max_level, and stochastic rounding must not take the step beyond.
    near = [codec.clip, math.nextafter(codec.clip, 0), math.nextafter(codec.clip, math.inf), 1e300]
    levels, _ = codec.quantise(np.array([*near, *(-value for value in near)] * 20))
    assert np.abs(levels).max() == codec.max_level


@pytest.mark.parametrize(("value_bits", "clip"), [(52, 0.9000854644726045), (51, 0.6226148935285906)])
def test_a_clip_whose_level_rounds_up_gives_its_largest_level(value_bits: int, clip: float) -> None:
    codec = FixedPoint(clip, value_bits, 1)
    beyond = clip * codec.scale - codec.max_level
    assert 0 < beyond < 1  # by so much a value would be rounded up once too often in as many cases
    levels, _ = codec.quantise(np.full(400, clip))
    assert set(levels.tolist()) == {codec.max_level}


@given(st.data(), fixed_points())
def test_clipped_coordinates_are_counted(data: st.DataObject, codec: FixedPoint) -> None:
    values = data.draw(float_vectors(6, reach=3 * codec.clip))
    expected = sum(abs(float(value)) > codec.clip for value in values)
    assert codec.encode(values).num_clipped == expected
    assert codec.quantise(values)[1] == expected
    exactly_clip = np.array([codec.clip, -codec.clip])
    assert codec.encode(exactly_clip).num_clipped == 0


# Refusals


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("at", [0, 1, encoding._CHUNK - 1, encoding._CHUNK, encoding._CHUNK + 2])
@pytest.mark.parametrize("rounding", list(Rounding))
def test_values_that_are_not_finite_are_refused_with_their_index(
    bad: float, dtype: str, at: int, rounding: Rounding
) -> None:
    codec = FixedPoint(clip=1.0, value_bits=8, num_summands=1, rounding=rounding)
    values = np.zeros(encoding._CHUNK + 4, dtype=dtype)
    values[at] = bad
    values[-1] = math.nan  # the first one is named
    with pytest.raises(EncodingError, match=f"index {at} ") as caught:
        codec.encode(values)
    assert caught.value.index == (at,)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(3, dtype=np.int32),
        np.zeros(3, dtype=np.bool_),
        np.zeros((3, 1)),
        np.zeros(()),
    ],
)
def test_other_arrays_than_float_vectors_are_refused(values: np.ndarray) -> None:
    for call in (CODEC.encode, CODEC.quantise):
        with pytest.raises(EncodingError, match="one-dimensional float16, float32 or float64") as caught:
            call(values)
        assert str(values.dtype) in str(caught.value)
        assert str(values.shape) in str(caught.value)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.zeros(3, dtype=np.complex128), "not of complex128"),
        (np.zeros(3, dtype=np.longdouble), "not of (float|longdouble)"),
        (np.zeros(3, dtype=object), "not of object"),
        (np.zeros(3, dtype=[("a", "f4")]), "not of .*'a'"),
        (np.ma.masked_array([0, 7000], mask=[0, 1]), "a masked array hides values"),
    ],
)
def test_arrays_that_cannot_be_read_faithfully_are_refused(values: np.ndarray, match: str) -> None:
    for call in (CODEC.encode, CODEC.quantise, Integers(10_000, 2).encode):
        with pytest.raises(EncodingError, match=match):
            call(values)


@pytest.mark.parametrize("values", [[0.0, 1.0], 0.0, None, "text"], ids=str)
def test_what_is_no_array_is_refused_by_its_kind(values: object) -> None:
    for call in (CODEC.encode, CODEC.quantise, Integers(3, 2).encode):
        with pytest.raises(EncodingError, match=f"not {type(values).__name__}"):
            call(values)  # type: ignore[operator]


def test_empty_and_byte_swapped_and_strided_vectors_are_fine() -> None:
    assert CODEC.encode(np.empty(0)).residues.shape == (0,)
    values = np.array([0.25, -1.0, 0.5, 3.0])
    plain = CODEC.encode(values[::2]).residues
    assert np.array_equal(CODEC.encode(values[::2].astype(">f4")).residues, plain)
    assert np.array_equal(values, [0.25, -1.0, 0.5, 3.0])  # the caller's values are not clipped in place


@pytest.mark.parametrize("weight", [-1, 6, 2**70, 1.0, True, "1", None, np.float64(1)])
def test_weights_out_of_range_are_refused_with_the_remedy(weight: object) -> None:
    with pytest.raises(EncodingError, match="from 0 to 5: raise max_weight"):
        CODEC.encode(np.zeros(2), weight=weight)
    with pytest.raises(EncodingError):
        check_weight(weight, 5)


@pytest.mark.parametrize("weight", [0, 5, np.int64(5), np.int8(3), np.uint8(4)])
def test_integer_weights_of_any_kind_are_taken(weight: object) -> None:
    expected = [127 * int(weight), -127 * int(weight)]
    encoded = CODEC.encode(np.array([1.0, -1.0]), weight=weight)
    assert CODEC.decode_levels(encoded.residues, num_summands=1).tolist() == expected


@given(st.integers(2, 52), st.integers(1, 2**50), st.integers(1, 2**40))
def test_sums_beyond_64_bits_are_refused_with_a_remedy_that_works(
    value_bits: int, num_summands: int, max_weight: int
) -> None:
    bits = sum_bits(((1 << (value_bits - 1)) - 1) * num_summands * max_weight)
    if bits <= 64:
        assert FixedPoint(1.0, value_bits, num_summands, max_weight).modulus_bits == bits
        return
    with pytest.raises(ParameterError, match=f"{bits} bits, but at most 64") as caught:
        FixedPoint(1.0, value_bits, num_summands, max_weight)
    text = str(caught.value)
    if "value_bits of at most" in text:
        remedy = int(text.rsplit(" ", 1)[1])
        assert FixedPoint(1.0, remedy, num_summands, max_weight).modulus_bits <= 64
    else:
        # Not even two bits are sure to fit: the product of the other two has to shrink.
        assert "fewer summands or a smaller max_weight" in text
        shrunk = max(1, (1 << (64 - value_bits)) // max_weight)
        assert FixedPoint(1.0, value_bits, shrunk, min(max_weight, 1 << (64 - value_bits))).modulus_bits <= 64


def test_flowers_silent_overflow_at_1025_summands_cannot_be_built() -> None:
    # 22-bit values and a 32-bit modulus wrap from 1025 summands on; here the modulus grows with the summands.
    assert FixedPoint(3.0, 22, 1024).modulus_bits == 32
    assert FixedPoint(3.0, 22, 1025).modulus_bits == 33


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"clip": 0.0}, "clip"),
        ({"clip": -1.0}, "clip"),
        ({"clip": math.nan}, "clip"),
        ({"clip": math.inf}, "clip"),
        ({"clip": 5e-324}, "clip"),
        ({"value_bits": 1}, "value_bits"),
        ({"value_bits": 53}, "value_bits"),
        ({"value_bits": 8.0}, "value_bits"),
        ({"num_summands": 0}, "num_summands"),
        ({"num_summands": -3}, "num_summands"),
        ({"num_summands": 2.0}, "num_summands"),
        ({"num_summands": True}, "num_summands"),
        ({"max_weight": 0}, "max_weight"),
        ({"max_weight": 1.5}, "max_weight"),
        ({"max_weight": True}, "max_weight"),
    ],
)
def test_impossible_parameters_are_refused_by_name(change: dict[str, object], named: str) -> None:
    with pytest.raises(ParameterError, match=f"^{named} is"):
        FixedPoint(**({"clip": 1.0, "value_bits": 8, "num_summands": 10} | change))


@pytest.mark.parametrize("num_summands", [-1, 11])
def test_more_summands_than_there_is_room_for_are_refused(num_summands: int) -> None:
    residues = np.zeros(2, dtype=np.uint32)
    for call in (CODEC.decode_levels, CODEC.decode_sum):
        with pytest.raises(EncodingError, match="room for 10"):
            call(residues, num_summands=num_summands)


@given(st.data(), fixed_points())
def test_sums_that_the_summands_cannot_reach_are_refused_with_their_index(
    data: st.DataObject, codec: FixedPoint
) -> None:
    count = data.draw(st.integers(0, min(codec.num_summands, 2**20)))
    bound = codec.max_level * codec.max_weight * count
    size = 1 << codec.modulus_bits
    inside = [0, bound, -bound]
    residues = np.array([value % size for value in inside], dtype=lane_dtype(codec.modulus_bits))
    assert codec.decode_levels(residues, num_summands=count).tolist() == inside
    beyond = data.draw(
        st.sampled_from([value for value in (bound + 1, size - bound - 1) if bound < value < size - bound])
    )
    at = data.draw(st.integers(0, 3))
    residues = np.insert(residues, at, np.array(beyond, dtype=residues.dtype))
    with pytest.raises(EncodingError, match=f"index {at} is beyond") as caught:
        codec.decode_levels(residues, num_summands=count)
    assert caught.value.index == (at,)


def test_residues_of_another_modulus_are_refused() -> None:
    with pytest.raises(EncodingError, match="lanes"):
        CODEC.decode_sum(np.zeros(2, dtype=np.uint64), num_summands=1)


# Integers


@given(st.data(), integer_codecs())
def test_integers_are_summed_exactly(data: st.DataObject, codec: Integers) -> None:
    count = data.draw(st.integers(0, min(codec.num_summands, 5)))
    value = st.one_of(st.integers(0, codec.max_value), st.just(codec.max_value))
    vectors = [data.draw(st.lists(value, min_size=3, max_size=3)) for _ in range(count)]
    encodings = [codec.encode(np.array(vector, dtype=np.int64)) for vector in vectors]
    assert all(encoded.num_clipped == 0 for encoded in encodings)
    total = sum_lanes([encoded.residues for encoded in encodings], codec.modulus_bits, 3)
    expected = [sum(vector[i] for vector in vectors) for i in range(3)]
    sums = codec.decode_sum(total, num_summands=count)
    assert sums.tolist() == expected
    assert sums.dtype == np.int64


@given(integer_codecs())
def test_integers_cannot_overflow_at_the_extreme(codec: Integers) -> None:
    one = codec.encode(np.array([codec.max_value], dtype=np.int64)).residues
    total = (one.astype(np.uint64) * np.uint64(codec.num_summands)).astype(one.dtype)
    sums = codec.decode_sum(total, num_summands=codec.num_summands)
    assert sums.tolist() == [codec.max_value * codec.num_summands]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint32", "int64", "uint64", ">i4"])
def test_integers_of_any_width_are_encoded(dtype: str) -> None:
    for max_value in (1, 100, 10**6, 2**40):
        codec = Integers(max_value=max_value, num_summands=3)
        assert codec.encode(np.array([1, 0], dtype=dtype)).residues.tolist() == [1, 0]


@pytest.mark.parametrize(
    "values",
    [
        np.array([0, 101]),
        np.array([0, -1]),
        np.array([0, 101, -1], dtype=np.int8),
        np.array([0, 2**64 - 1], dtype=np.uint64),
        np.array([0, -(2**63)]),
    ],
)
def test_integers_out_of_range_are_refused_with_their_index_and_not_clipped(values: np.ndarray) -> None:
    with pytest.raises(EncodingError, match="index 1 is not from 0 to max_value 100") as caught:
        Integers(max_value=100, num_summands=3).encode(values)
    assert caught.value.index == (1,)


@pytest.mark.parametrize("values", [np.zeros(2), np.zeros((2, 1), dtype=int), np.zeros((), dtype=int)])
def test_integers_are_encoded_from_integer_vectors_only(values: np.ndarray) -> None:
    with pytest.raises(EncodingError, match="one-dimensional integer arrays"):
        Integers(max_value=100, num_summands=3).encode(values)


@given(st.data(), integer_codecs())
def test_sums_of_integers_out_of_reach_are_refused_with_their_index(data: st.DataObject, codec: Integers) -> None:
    count = data.draw(st.integers(0, min(codec.num_summands, 2**20)))
    bound = codec.max_value * count
    if bound + 1 >= 1 << codec.modulus_bits:
        return  # every residue is within reach
    residues = np.array([bound, bound + 1], dtype=lane_dtype(codec.modulus_bits))
    with pytest.raises(EncodingError, match="index 1 is beyond") as caught:
        codec.decode_sum(residues, num_summands=count)
    assert caught.value.index == (1,)
    with pytest.raises(EncodingError, match="room for"):
        codec.decode_sum(residues, num_summands=codec.num_summands + 1)


@given(st.integers(1, 2**70), st.integers(1, 2**62))
def test_integers_whose_sums_take_64_bits_are_refused_with_a_remedy_that_works(
    max_value: int, num_summands: int
) -> None:
    bits = (max_value * num_summands).bit_length()
    if bits < 64:
        assert Integers(max_value, num_summands).modulus_bits == bits
        return
    with pytest.raises(ParameterError, match=f"{bits} bits, but at most 63") as caught:
        Integers(max_value, num_summands)
    remedy = int(str(caught.value).split("max_value of at most ")[1].split(" ")[0])
    assert Integers(remedy, num_summands).modulus_bits <= 63


@pytest.mark.parametrize(
    "arguments", [(0, 1), (-1, 1), (1.0, 1), (1, 0), (1, -1), (1, 1.0), (1, True), ("1", 1), (None, 1)]
)
def test_impossible_integers_are_refused(arguments: tuple[object, object]) -> None:
    with pytest.raises(ParameterError, match="must be a positive integer"):
        Integers(*arguments)
