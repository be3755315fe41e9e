"""A Paillier round's parameters as bytes: what a service keeps, and what a party compares with its own."""

from __future__ import annotations

import msgspec

from secagg.encoding import FixedPoint, Rounding
from secagg.errors import ParameterError
from secagg.paillier import PublicKey, ThresholdKey
from secagg.paillier.integers import to_bytes, width

from ..core.participants import Participants
from .parameters import RoundParameters

MAX_PARAMETERS_BYTES = 256 << 20


class _Written(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Every field; numbers mod n as so many bytes, big-endian, and parties in the order of their numbers."""

    n: bytes
    threshold: int
    generator: bytes
    member_keys: tuple[bytes, ...]
    one_session_without_proofs: bool
    clip: float
    value_bits: int
    num_summands: int
    max_weight: int
    rounding: Rounding
    length: int
    contributors: tuple[tuple[str, bytes], ...]
    members: tuple[tuple[str, bytes], ...]
    min_contributors: int
    nonce: bytes
    corrupt_members: int
    corrupt_contributors: int


def write_parameters(parameters: RoundParameters) -> bytes:
    """Return the parameters as MessagePack: equal ones in the same bytes."""
    key, codec = parameters.key, parameters.codec
    size = width(key.public_key.n)
    return msgspec.msgpack.encode(
        _Written(
            to_bytes(key.public_key.n, size),
            key.threshold,
            to_bytes(key.generator, size),
            tuple(to_bytes(each, size) for each in key.member_keys),
            key.one_session_without_proofs,
            float(codec.clip),
            codec.value_bits,
            codec.num_summands,
            codec.max_weight,
            codec.rounding,
            parameters.length,
            _roster(parameters.contributors),
            _roster(parameters.members),
            parameters.min_contributors,
            parameters.nonce,
            parameters.max_corrupt_members,
            parameters.max_corrupt_contributors,
        )
    )


def read_parameters(data: bytes) -> RoundParameters:
    """Return the parameters that were written as these bytes.

    Raises:
        ParameterError: too long, no parameters, impossible ones, or not written as they would be here.
    """
    if len(data) > MAX_PARAMETERS_BYTES:
        raise ParameterError(f"the parameters take {len(data)} bytes, but may take {MAX_PARAMETERS_BYTES}")
    try:
        found = msgspec.msgpack.decode(data, type=_Written)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError):
        raise ParameterError("these bytes are no parameters of a Paillier round") from None
    key = ThresholdKey(
        PublicKey(int.from_bytes(found.n, "big")),
        found.threshold,
        int.from_bytes(found.generator, "big"),
        tuple(int.from_bytes(each, "big") for each in found.member_keys),
        found.one_session_without_proofs,
    )
    parameters = RoundParameters(
        key,
        FixedPoint(found.clip, found.value_bits, found.num_summands, found.max_weight, found.rounding),
        found.length,
        Participants(dict(found.contributors)),
        Participants(dict(found.members)),
        found.min_contributors,
        found.nonce,
        found.corrupt_members,
        found.corrupt_contributors,
    )
    if write_parameters(parameters) != data:
        raise ParameterError("these bytes are parameters that are written in another way")
    return parameters


def _roster(parties: Participants) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, parties.keys[name]) for name in parties.names)
