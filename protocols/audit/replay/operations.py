"""What a vector's operation is: from a case's input, as it stands in JSON, to its output; it states what is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from secagg import aead, derivation, prg, residues, shamir, signatures
from secagg.derivation import Label
from secagg.encoding import FixedPoint, Rounding
from secagg.key_agreement import KeyPair
from secagg.signatures import Identity

from ...inputs.plain_codecs import IntegerCodec
from ...inputs.vectors import IntegerVector

Case = dict[str, Any]


def _codec(given: Case) -> FixedPoint:
    return FixedPoint(
        float.fromhex(given["clip"]),
        given["value_bits"],
        given["num_summands"],
        given["max_weight"],
        Rounding(given["rounding"]),
    )


def _lanes(given: Case, bits: int) -> Any:
    return np.array(given["residues"], dtype=residues.lane_dtype(bits))


def _encode(given: Case) -> Case:
    codec = _codec(given)
    values = np.array([float.fromhex(value) for value in given["values"]], dtype=given["dtype"])
    encoded = codec.encode(values, weight=given["weight"], random=lambda size: bytes.fromhex(given["seed"]))
    return {
        "modulus_bits": codec.modulus_bits,
        "residues": encoded.residues.tolist(),
        "num_clipped": encoded.num_clipped,
    }


def _decode(given: Case) -> list[int]:
    codec = _codec(given)
    levels = codec.decode_levels(_lanes(given, codec.modulus_bits), num_summands=given["present"])
    return [int(level) for level in levels]


def _integers(given: Case, length: int) -> IntegerCodec:
    return IntegerCodec(IntegerVector("v", length, given["max_value"], given["min_value"]), given["num_summands"])


def _encode_integers(given: Case) -> Case:
    codec = _integers(given, len(given["values"]))
    encoded = codec.encode(np.array(given["values"], dtype=np.int64), session_id=b"")
    return {"modulus_bits": codec.modulus_bits, "residues": encoded.residues.tolist()}


def _decode_integers(given: Case) -> list[int]:
    codec = _integers(given, len(given["residues"]))
    sums = codec.decode(_lanes(given, codec.modulus_bits), num_summands=given["present"])
    return [int(value) for value in sums]


def _pack(given: Case) -> str:
    return residues.pack(_lanes(given, given["modulus_bits"]), given["modulus_bits"]).hex()


def _unpack(given: Case) -> list[int]:
    lanes = residues.unpack(bytes.fromhex(given["packed"]), given["modulus_bits"], given["length"])
    return [int(lane) for lane in lanes]


def _keystream(given: Case) -> str:
    return prg.keystream(bytes.fromhex(given["seed"]), given["num_bytes"], first_block=given["first_block"]).hex()


def _streams(given: Case) -> list[list[int]]:
    targets = [np.zeros(length, dtype=dtype) for length, dtype in given["targets"]]
    add, subtract = ([bytes.fromhex(seed) for seed in given[sign]] for sign in ("add", "subtract"))
    prg.add_streams(targets, add=add, subtract=subtract)
    return [target.tolist() for target in targets]


def _split(given: Case) -> list[str]:
    secret, rows = bytes.fromhex(given["secret"]), np.array(given["coefficients"], dtype="<u4")
    threshold = len(rows) + 1
    shares = shamir.split(secret, threshold=threshold, indices=given["indices"], random=lambda size: rows.tobytes())
    return [shares[index].hex() for index in given["indices"]]


def _shares(given: Case) -> dict[int, bytes]:
    return {index: bytes.fromhex(share) for index, share in given["shares"]}


def _reconstruct(given: Case) -> str:
    return shamir.reconstruct(_shares(given), threshold=given["threshold"], num_bytes=given["num_bytes"]).hex()


def _reconstruct_robust(given: Case) -> Case:
    shares, threshold = _shares(given), given["threshold"]
    secret, wrong = shamir.reconstruct_robust(shares, threshold=threshold, num_bytes=given["num_bytes"])
    return {"secret": secret.hex(), "wrong": sorted(wrong)}


def _hkdf(given: Case) -> str:
    secret, salt, info = (bytes.fromhex(given[key]) for key in ("secret", "salt", "info"))
    return derivation.hkdf(secret, salt=salt, info=info, length=given["length"]).hex()


def _derive(given: Case) -> str:
    context = [bytes.fromhex(part) for part in given["context"]]
    secret, label = bytes.fromhex(given["secret"]), Label[given["label"]]
    return derivation.derive(secret, label, *context, length=given["length"]).hex()


def _digest(given: Case) -> str:
    return derivation.digest(Label[given["label"]], *(bytes.fromhex(part) for part in given["context"])).hex()


def _seal(given: Case) -> str:
    key, text, data, nonce = (bytes.fromhex(given[k]) for k in ("key", "plaintext", "associated_data", "nonce"))
    return aead.seal(key, text, associated_data=data, random=lambda size: nonce).hex()


def _open(given: Case) -> str:
    key, sealed, data = (bytes.fromhex(given[k]) for k in ("key", "sealed", "associated_data"))
    return aead.open(key, sealed, associated_data=data).hex()


def _public(given: Case) -> str:
    return KeyPair(bytes.fromhex(given["private"])).public_bytes.hex()


def _agree(given: Case) -> str:
    return KeyPair(bytes.fromhex(given["private"])).agree(bytes.fromhex(given["peer_public"])).hex()


def _identity(given: Case) -> str:
    return Identity(bytes.fromhex(given["private"])).public_bytes.hex()


def _sign(given: Case) -> str:
    return Identity(bytes.fromhex(given["private"])).sign(bytes.fromhex(given["message"])).hex()


def _verify(given: Case) -> None:
    public, message, signature = (bytes.fromhex(given[k]) for k in ("public", "message", "signature"))
    signatures.verify(public, message, signature)


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "encode": _encode,
    "decode": _decode,
    "encode_integers": _encode_integers,
    "decode_integers": _decode_integers,
    "pack": _pack,
    "unpack": _unpack,
    "keystream": _keystream,
    "add_streams": _streams,
    "split": _split,
    "reconstruct": _reconstruct,
    "reconstruct_robust": _reconstruct_robust,
    "hkdf": _hkdf,
    "derive": _derive,
    "digest": _digest,
    "seal": _seal,
    "open": _open,
    "public": _public,
    "agree": _agree,
    "identity": _identity,
    "sign": _sign,
    "verify": _verify,
}
