"""The vectors of the primitives: each operation of tests/vectors/README.md, replayed by the checker."""

import struct
from typing import Any

from . import edwards, lanes, primitives, sharing
from .refusal import require

Case = dict[str, Any]


def _codec(given: Case) -> lanes.Floats:
    return lanes.Floats(
        float.fromhex(given["clip"]), given["value_bits"], given["num_summands"], given["max_weight"], given["rounding"]
    )


def _encode(given: Case) -> Case:
    codec = _codec(given)
    form = {"float16": "e", "float32": "f", "float64": "d"}
    require(given["dtype"] in form, "EncodingError")
    values = [float.fromhex(value) for value in given["values"]]
    values = [struct.unpack(form[given["dtype"]], struct.pack(form[given["dtype"]], value))[0] for value in values]
    residues, clipped = codec.encode(values, given["weight"], bytes.fromhex(given["seed"]))
    return {"modulus_bits": codec.bits, "residues": residues, "num_clipped": clipped}


def _encode_integers(given: Case) -> Case:
    codec = _integers(given)
    return {"modulus_bits": codec.bits, "residues": codec.encode(given["values"])}


def _integers(given: Case) -> lanes.Integers:
    return lanes.Integers(given["max_value"], given["num_summands"], given["min_value"])


def _add_streams(given: Case) -> list[list[int]]:
    shapes = [(length, {"uint32": 4, "uint64": 8}.get(kind, 0)) for length, kind in given["targets"]]
    sums = [[0] * length for length, _ in shapes]
    for sign, seeds in ((1, given["add"]), (-1, given["subtract"])):
        for seed in seeds:
            for total, stream, (_, width) in zip(
                sums, primitives.stream_lanes(bytes.fromhex(seed), shapes), shapes, strict=True
            ):
                total[:] = [(a + sign * b) % 2 ** (8 * width) for a, b in zip(total, stream, strict=True)]
    return sums


def _shares(given: Case) -> dict[int, bytes]:
    return {index: bytes.fromhex(share) for index, share in given["shares"]}


def _robust(given: Case) -> Case:
    secret, wrong = sharing.reconstruct_robust(_shares(given), given["threshold"], given["num_bytes"])
    return {"secret": secret.hex(), "wrong": wrong}


def _hex(given: Case, *names: str) -> list[bytes]:
    return [bytes.fromhex(given[name]) for name in names]


def _context(given: Case) -> list[bytes]:
    return [bytes.fromhex(part) for part in given["context"]]


def _verify(given: Case) -> None:
    require(edwards.verifies(*_hex(given, "public", "message", "signature")), "AuthenticationFailed")


OPERATIONS = {
    "encode": _encode,
    "decode": lambda g: _codec(g).decode(g["residues"], g["present"]),
    "encode_integers": _encode_integers,
    "decode_integers": lambda g: _integers(g).decode(g["residues"], g["present"]),
    "pack": lambda g: lanes.pack(g["residues"], g["modulus_bits"]).hex(),
    "unpack": lambda g: lanes.unpack(bytes.fromhex(g["packed"]), g["modulus_bits"], g["length"]),
    "keystream": lambda g: primitives.keystream(bytes.fromhex(g["seed"]), g["num_bytes"], g["first_block"]).hex(),
    "add_streams": _add_streams,
    "split": lambda g: [s.hex() for s in sharing.split(bytes.fromhex(g["secret"]), g["coefficients"], g["indices"])],
    "reconstruct": lambda g: sharing.reconstruct(_shares(g), g["threshold"], g["num_bytes"]).hex(),
    "reconstruct_robust": _robust,
    "hkdf": lambda g: primitives.hkdf(*_hex(g, "secret", "salt", "info"), g["length"]).hex(),
    "derive": lambda g: primitives.derive(
        bytes.fromhex(g["secret"]), g["label"], *_context(g), length=g["length"]
    ).hex(),
    "digest": lambda g: primitives.digest(g["label"], *_context(g)).hex(),
    "seal": lambda g: primitives.seal(*_hex(g, "key", "plaintext", "associated_data", "nonce")).hex(),
    "open": lambda g: primitives.unseal(*_hex(g, "key", "sealed", "associated_data")).hex(),
    "public": lambda g: primitives.public_key(bytes.fromhex(g["private"])).hex(),
    "identity": lambda g: edwards.verification_key(*_hex(g, "private")).hex(),
    "sign": lambda g: edwards.sign(*_hex(g, "private", "message")).hex(),
    "verify": _verify,
    "agree": lambda g: primitives.agree(*_hex(g, "private", "peer_public")).hex(),
}
