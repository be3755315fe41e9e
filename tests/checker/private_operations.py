"""The vectors of SPEC sections 27 and 29 that stand alone: encodings at their edges, and what rounds cost."""

from typing import Any

from .client import numbers
from .configuration import Session
from .costs import check_policy, epsilon
from .private import Drawn, Private, PrivateCounts, PrivateFloats, PrivateVotes
from .sessions import read_configuration

Case = dict[str, Any]
KINDS = {"private-floats": PrivateFloats, "private-counts": PrivateCounts}
FLOATS = ("l2_clip", "scale", "local_sigma")


def read(written: Case, clients: int) -> Private:
    """The encoding of a vector whose floats are hexadecimal."""
    fields = {
        name: float.fromhex(value) if name in FLOATS and isinstance(value, str) else value
        for name, value in written.items()
    }
    if written["type"] == "private-votes":
        on = written["on"] | {"l2_clip": float.fromhex(written["on"]["l2_clip"]), "name": fields["of"]}
        return PrivateVotes(fields, clients, [on])
    return KINDS[written["type"]](fields, clients)


def _codec(given: Case) -> Private:
    return read(given["vector"], given.get("clients", 2))


def _encoding(given: Case) -> Case:
    codec = _codec(given)
    return {
        "dimension": codec.dimension,
        "l2_bound": codec.bound.hex(),
        "max_level": codec.largest,
        "modulus_bits": codec.bits,
        "reach": codec.reach(given["summands"]),
    }


def _prepare(given: Case) -> list[int]:
    values = numbers(given["values"])
    drawn = Drawn(b"", bytes.fromhex(given["rounding_seed"]), None)
    return _codec(given).prepare(values, bytes.fromhex(given["rotation_seed"]), drawn)


def _epsilon(given: Case) -> str:
    codecs = [read(vector, given["clients"]) for vector in given["vectors"]]
    terms = given["adjacency"], float.fromhex(given["delta"]), given["rounds"], given.get("unit", "")
    return epsilon(codecs, given["honest"], *terms).hex()


def _check_policy(given: Case) -> None:
    check_policy(given["policy"], Session(read_configuration(given["configuration"]), bytes(32)))


OPERATIONS = {
    "check_policy": _check_policy,
    "private_epsilon": _epsilon,
    "private_encoding": _encoding,
    "prepare": _prepare,
    "decode_private": lambda g: _codec(g).decode(g["residues"], g["summands"]),
    "released_counts": lambda g: _codec(g).restore(g["levels"], b""),
}
CLOSE = {"private_encoding", "private_epsilon"}
"""Whose real numbers are met to nine digits, and everything else in them exactly."""
