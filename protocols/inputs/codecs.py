"""Which codec serves which vector, and what travels behind the named vectors.

A new kind of vector is a specification in `vectors.py`, a codec, and a line in `codec_of`.
"""

from __future__ import annotations

from .codec import VectorCodec
from .plain_codecs import FloatCodec, IntegerCodec
from .private_codecs import private_codec_of
from .vectors import FloatVector, IntegerVector, VectorSpec

WEIGHT = "weight"
"""The vector in which the weights travel, one more behind the named ones."""
CLIPPED = "clipped"
"""The vector of counts of clipped coordinates, one for each vector of floats, behind the weights."""


def codec_of(spec: VectorSpec, num_clients: int, max_weight: int, others: tuple[VectorSpec, ...] = ()) -> VectorCodec:
    """Return the codec of a named vector; raise ParameterError where no encoding serves it.

    `others` are the round's vectors, among which votes find the one that they are on.
    """
    match spec:
        case FloatVector():
            return FloatCodec(spec, num_clients, max_weight)
        case IntegerVector():
            return IntegerCodec(spec, num_clients)
        case _:
            return private_codec_of(spec, num_clients, others)


def extra_codecs(specs: tuple[VectorSpec, ...], num_clients: int, max_weight: int) -> list[VectorCodec]:
    """Return the codecs of what travels behind plain vectors: the weights where there are any, and clipped counts."""
    floats = [spec for spec in specs if isinstance(spec, FloatVector)]
    extra: list[VectorCodec] = []
    if any(spec.weighted for spec in floats):
        extra.append(IntegerCodec(IntegerVector(WEIGHT, 1, max_value=max_weight), num_clients))
    if floats:
        most = max(1, *(spec.length for spec in floats))
        extra.append(IntegerCodec(IntegerVector(CLIPPED, len(floats), max_value=most), num_clients))
    return extra
