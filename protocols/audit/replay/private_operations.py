"""What a vector's operation is in `privacy`: what is deterministic in dp, private encodings, costs and demands."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from dp import clipping, rotation
from dp.accounting import epsilon_of
from dp.analytic import gaussian_delta, gaussian_noise_multiplier
from dp.arbiter import decide
from dp.clipping import rounded_l2_bound
from dp.discrete import discrete_gaussian_delta, summed_gaussians_ratio
from dp.events import Composed, Repeated
from dp.laws import gaussian_law, laplace_law
from dp.preparation import BETA
from dp.randomness import WordStream
from dp.sensitivity import Adjacency, Unit
from secagg.prg import keystream

from ...inputs.noisy_counts import NoisyCounts
from ...inputs.noisy_floats import NoisyFloats
from ...inputs.noisy_votes import NoisyVotes
from ...inputs.private_codecs import Noisy, private_codec_of
from ...inputs.vectors import PrivateCounts, PrivateVector, PrivateVotes
from .configurations import read_configuration, read_policy
from .recorded_randomness import OtherRandomness, Recorded
from .recorded_sessions import array

Case = dict[str, Any]
EXACT = {"rotate", "samples", "conditionally_round", "prepare", "decode_private", "released_counts", "check_policy"}
"""Operations without a number that formulas round differently: of all others, floats are met to nine digits."""


def near(ours: Any, theirs: Any) -> bool:
    """Return whether floats agree to nine digits, and all else exactly."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(near(ours[key], value) for key, value in theirs.items())
    if isinstance(ours, str) and isinstance(theirs, str):
        return math.isclose(float.fromhex(ours), float.fromhex(theirs), rel_tol=1e-9)
    return bool(ours == theirs)


def codec_of(vector: Case, clients: int) -> Noisy:
    """Return the library's encoding of a vector whose floats are hexadecimal; votes say what they are `on`."""
    fields = _fields(vector)
    if vector["type"] == "private-votes":
        on = PrivateVector(fields["of"], **_fields(fields.pop("on")))
        return private_codec_of(PrivateVotes("v", **fields), clients, (on,))
    kind = PrivateVector if vector["type"] == "private-floats" else PrivateCounts
    return private_codec_of(kind("v", **fields), clients)


def _fields(vector: Case) -> dict[str, Any]:
    return {
        name: float.fromhex(v) if isinstance(v, str) and name not in ("unit", "of") else v
        for name, v in vector.items()
        if name != "type"
    }


def _number(given: Case, name: str) -> float:
    return float.fromhex(given[name])


def _numbers(given: Case) -> list[float]:
    return [float.fromhex(value) for value in given["values"]]


def _rotate(given: Case) -> list[str]:
    return [value.hex() for value in rotation.rotate(_numbers(given), bytes.fromhex(given["seed"])).tolist()]


def _more_bits(count: int) -> int:
    raise OtherRandomness("these words do not settle every decision, as those of a vector do")


def _samples(given: Case) -> list[int]:
    law = {"discrete-gaussian": gaussian_law, "discrete-laplace": laplace_law}[given["law"]](
        Fraction(*given["parameter"])
    )
    stream = keystream(bytes.fromhex(given["seed"]), 8 * given["words"])
    words: Iterator[int] = iter(int.from_bytes(stream[at : at + 8], "little") for at in range(0, len(stream), 8))
    return [decide(law, words, _more_bits) for _ in range(given["count"])]


def _conditionally_round(given: Case) -> Case:
    values = np.array(_numbers(given))
    levels = clipping.conditionally_round(values, _number(given, "l2_norm"), BETA, random=Recorded(given["seed"]))
    words = WordStream(random=Recorded(given["seed"]))
    tries = next(number for number in itertools.count(1) if np.array_equal(clipping.round_with(values, words), levels))
    return {"levels": levels.tolist(), "tries": tries}


def _encoding(given: Case) -> Case:
    codec = codec_of(given["vector"], given["clients"])
    reach = given["summands"] * codec.max_level + codec.share.reach(given["summands"])
    return {
        "dimension": codec.length,
        "l2_bound": codec.share.l2_bound.hex(),
        "max_level": codec.max_level,
        "modulus_bits": codec.modulus_bits,
        "reach": reach,
    }


def _prepare(given: Case) -> list[int] | None:
    """Return levels; None if floats were clipped, since SPEC leaves the last digits of clipped values open."""
    codec = codec_of(given["vector"], given.get("clients", 2))
    floats = isinstance(codec, NoisyFloats)
    values = array(given["values"])
    if values.size == 0:
        length = codec.on.length if isinstance(codec, NoisyVotes) else codec.spec.length
        values = values.reshape(0, length).astype(np.int64 if isinstance(codec, NoisyCounts) else np.float64)
    rotation_seed, random = bytes.fromhex(given["rotation_seed"]), Recorded(given["rounding_seed"])
    levels, changed = codec.levels(values, rotation_seed, random=random)
    clipped = floats and changed > np.count_nonzero(~np.isfinite(np.atleast_2d(values)).all(axis=1))
    return None if clipped else [int(level) for level in levels]


def _decode(given: Case) -> list[int]:
    codec = codec_of(given["vector"], given["clients"])
    kind = np.uint32 if codec.modulus_bits <= 32 else np.uint64
    sums = np.array(given["residues"], dtype=kind)
    return [int(level) for level in codec.decode(sums, num_summands=given["summands"])]


def _released(given: Case) -> list[int]:
    codec = codec_of(given["vector"], given["clients"])
    return [int(count) for count in codec.release(np.array(given["levels"], dtype=np.int64), session_id=b"")]


def _epsilon(given: Case) -> str:
    codecs = [codec_of(vector, given["clients"]) for vector in given["vectors"]]
    relation, unit = Adjacency(given["adjacency"]), given.get("unit")
    events = tuple(codec.event(given["honest"], relation, Unit(unit or codec.spec.unit)) for codec in codecs)
    spent = epsilon_of(Repeated(Composed(events), given["rounds"]), _number(given, "delta"))
    return float(f"{spent:.12g}").hex()  # the last digits are those of a machine's logarithms


def _check_policy(given: Case) -> None:
    read_policy(given).check(read_configuration(given))


OPERATIONS: dict[str, Callable[[Case], Any]] = {
    "rotate": _rotate,
    "samples": _samples,
    "conditionally_round": _conditionally_round,
    "rounded_l2_bound": lambda g: rounded_l2_bound(_number(g, "l2_norm"), g["dimension"], _number(g, "beta")).hex(),
    "gaussian_delta": lambda g: gaussian_delta(_number(g, "noise_multiplier"), _number(g, "epsilon")).hex(),
    "gaussian_noise_multiplier": lambda g: gaussian_noise_multiplier(_number(g, "epsilon"), _number(g, "delta")).hex(),
    "discrete_gaussian_delta": lambda g: discrete_gaussian_delta(
        gaussian_law(Fraction(*g["sigma_squared"])), g["sensitivity"], _number(g, "epsilon")
    ).hex(),
    "summed_gaussians_ratio": lambda g: summed_gaussians_ratio(_number(g, "local_sigma"), g["clients"]).hex(),
    "private_encoding": _encoding,
    "prepare": _prepare,
    "decode_private": _decode,
    "released_counts": _released,
    "private_epsilon": _epsilon,
    "check_policy": _check_policy,
}
