"""Signed requests, from SPEC section 54."""

import base64
import hashlib
from typing import Any

from . import edwards
from .refusal import require

Case = dict[str, Any]
COVERED = ["@method", "@authority", "@path", "@query", "content-digest"]
REFUSED = "AuthenticationFailed"


def _encoded(data: bytes) -> str:
    return ":" + base64.b64encode(data).decode() + ":"


def _decoded(text: str, size: int) -> bytes:
    """The bytes between two colons, in the one base64 for them."""
    require(len(text) > 1 and text[0] == text[-1] == ":", REFUSED)
    try:
        data = base64.b64decode(text[1:-1].encode("ascii"), validate=True)
    except ValueError:
        data = b""
    require(len(data) == size and _encoded(data) == text, REFUSED)
    return data


def _lines(components: list[list[str]], parameters: str) -> bytes:
    return "".join(f'"{name}": {value}\n' for name, value in components).encode() + (
        f'"@signature-params": {parameters}'.encode()
    )


def _parameters(created: int, nonce: str, key: str, tag: str) -> str:
    covered = " ".join(f'"{name}"' for name in COVERED)
    return f'({covered});created={created};nonce="{nonce}";keyid="{key}";tag="{tag}"'


def _base(given: Case, digest: str, parameters: str) -> bytes:
    values = [given["method"], given["authority"], given["path"], "?" + given["query"], digest]
    return _lines([list(pair) for pair in zip(COVERED, values, strict=True)], parameters)


def _sign(given: Case) -> Case:
    digest = "sha-256=" + _encoded(hashlib.sha256(bytes.fromhex(given["body"])).digest())
    inputs, signatures = [], []
    for label, tag, private in (("sig", "secagg-1", "private"), ("new", "secagg-1-new-key", "new_private")):
        if given[private]:
            seed = bytes.fromhex(given[private])
            parameters = _parameters(given["created"], given["nonce"], edwards.verification_key(seed).hex(), tag)
            inputs.append(f"{label}={parameters}")
            signatures.append(f"{label}=" + _encoded(edwards.sign(seed, _base(given, digest, parameters))))
    return {"Content-Digest": digest, "Signature-Input": ", ".join(inputs), "Signature": ", ".join(signatures)}


def _between(text: str, start: str, end: str) -> str:
    _, found, rest = text.partition(start)
    require(found, REFUSED)
    return rest.partition(end)[0]


def _hexadecimal(text: str, size: int) -> bool:
    return len(text) == 2 * size and all(digit in "0123456789abcdef" for digit in text)


def _read(given: Case) -> Case:
    fields = given["fields"]
    require(fields.keys() >= {"Content-Digest", "Signature-Input", "Signature"}, REFUSED)
    digest = fields["Content-Digest"]
    require(digest.startswith("sha-256="), REFUSED)
    hashed = _decoded(digest.removeprefix("sha-256="), 32)
    inputs, signatures = fields["Signature-Input"].split(", "), fields["Signature"].split(", ")
    require(len(inputs) == len(signatures) <= 2, REFUSED)
    created, nonce = _between(inputs[0], ";created=", ";"), _between(inputs[0], ';nonce="', '"')
    well = created.isascii() and created.isdigit() and 1 <= len(created) <= 12 and created[0] != "0"
    require(well and _hexadecimal(nonce, 16), REFUSED)
    keys = []
    for label, tag, stated, signature in zip(
        ("sig", "new"), ("secagg-1", "secagg-1-new-key"), inputs, signatures, strict=False
    ):
        keys.append(_between(stated, ';keyid="', '"'))
        require(_hexadecimal(keys[-1], 32), REFUSED)
        parameters = _parameters(int(created), nonce, keys[-1], tag)
        require(stated == f"{label}={parameters}", REFUSED)
        require(signature.startswith(f"{label}="), REFUSED)
        value = _decoded(signature.removeprefix(f"{label}="), 64)
        require(edwards.verifies(bytes.fromhex(keys[-1]), _base(given, digest, parameters), value), REFUSED)
    require(abs(given["now"] - int(created)) <= 60, REFUSED)
    return {
        "created": int(created),
        "nonce": nonce,
        "key": keys[0],
        "new_key": keys[1] if len(keys) == 2 else "",
        "digest": hashed.hex(),
    }


OPERATIONS = {
    "sign_request": _sign,
    "read_request": _read,
    "sign_components": lambda g: edwards.sign(
        bytes.fromhex(g["private"]), _lines(g["components"], g["parameters"])
    ).hex(),
}
