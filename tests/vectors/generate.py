"""Regenerates the vectors, and pins them: python -m tests.vectors.generate (from the repository's root).

The inputs and the outputs marked as published stand here; the other outputs are computed by secagg. So a changed file
is a changed format: it takes a new version of the labels, not a new vector.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from protocols.audit.checks import known_answers
from protocols.audit.replay import replay
from protocols.audit.replay.operations import OPERATIONS, Case
from secagg.derivation import Label
from secagg.errors import SecAggError
from tests.checker.edwards import ORDER

from . import groups, hierarchy, noisy_statistics, requests, statistics
from .signatures import RFC_8032, SPECCHECK, off_the_subgroup

AUDIT = Path(__file__).parents[2] / "protocols" / "audit"
VECTORS, MANIFEST = AUDIT / "vectors", AUDIT / "replay" / "manifest.py"


# Cases


def _good(name: str, operation: str, given: Case, published: Any = None, source: str = "") -> Case:
    output = OPERATIONS[operation](given)
    case = {"name": name, "operation": operation, "input": given, "output": output}
    if source:
        if output != published:
            raise ValueError(f"{name} is not what {source} publishes")
        case["published"] = source
    return case


def _bad(name: str, operation: str, given: Case, error: str) -> Case:
    try:
        OPERATIONS[operation](given)
    except SecAggError as raised:
        if type(raised).__name__ != error:
            raise
        return {"name": name, "operation": operation, "input": given, "error": error}
    raise ValueError(f"{name} is not refused")


SEED = bytes(range(32)).hex()
OTHER = bytes(range(32, 64)).hex()


def _encoding_cases() -> list[Case]:
    base = {"clip": (1.0).hex(), "value_bits": 8, "num_summands": 10, "max_weight": 5, "rounding": "nearest"}
    values = [float(v).hex() for v in (0.0, 1.0, -1.0, 0.25, -0.7, 3.0, -1e30, 0.5 / 127)]
    one = base | {"seed": "", "dtype": "float64", "values": values, "weight": 1}
    fine = one | {"value_bits": 40, "num_summands": 1000, "max_weight": 1000, "weight": 997, "clip": (2.5).hex()}
    summed = base | {"present": 2, "residues": [0, 1270, 16384 - 1270, 5]}
    return [
        _good("nearest", "encode", one),
        _good(
            "nearest, ties to even",
            "encode",
            one | {"clip": (127.0).hex(), "values": ["0x1p-1", "0x1.8p+0", "-0x1.4p+1"]},
        ),
        _good("nearest, weighted", "encode", one | {"weight": 5}),
        _good("weight zero", "encode", one | {"weight": 0}),
        _good("stochastic", "encode", one | {"rounding": "stochastic", "seed": SEED}),
        _good("stochastic, 64-bit lanes, weighted", "encode", fine | {"rounding": "stochastic", "seed": SEED}),
        _good("float16", "encode", one | {"dtype": "float16", "values": ["0x1p-2", "-0x1p+1"]}),
        _good("no values", "encode", one | {"values": []}),
        _bad("NaN", "encode", one | {"values": ["0x0p+0", "nan"]}, "EncodingError"),
        _bad("infinity", "encode", one | {"values": ["-inf"]}, "EncodingError"),
        _bad("weight above the maximum", "encode", one | {"weight": 6}, "EncodingError"),
        _bad("negative weight", "encode", one | {"weight": -1}, "EncodingError"),
        _bad("not floats", "encode", one | {"dtype": "int64", "values": ["0x1p+0"]}, "EncodingError"),
        _bad("more than 64 bits", "encode", one | {"value_bits": 52, "num_summands": 2**13}, "ParameterError"),
        _bad("clip of zero", "encode", one | {"clip": (0.0).hex()}, "ParameterError"),
        _bad("one value bit", "encode", one | {"value_bits": 1}, "ParameterError"),
        _good("sums at both bounds", "decode", summed),
        _bad("sum just out of reach", "decode", summed | {"residues": [0, 1271]}, "EncodingError"),
        _bad("negative sum just out of reach", "decode", summed | {"residues": [16384 - 1271]}, "EncodingError"),
        _bad("more summands than room", "decode", summed | {"present": 11}, "EncodingError"),
        *_integer_cases(),
    ]


def _integer_cases() -> list[Case]:
    counts = {"min_value": 0, "max_value": 100, "num_summands": 3}
    signed = counts | {"min_value": -50}
    sums = {"present": 2, "residues": [0, 1, 100, 299, 300]}
    return [
        _good("integers", "encode_integers", counts | {"values": [0, 1, 100]}),
        _bad("integer too large", "encode_integers", counts | {"values": [101]}, "EncodingError"),
        _bad("negative integer", "encode_integers", counts | {"values": [-1]}, "EncodingError"),
        _good("signed integers", "encode_integers", signed | {"values": [-50, -1, 0, 100]}),
        _bad("signed integer too small", "encode_integers", signed | {"values": [-51]}, "EncodingError"),
        _bad("signed integer too large", "encode_integers", signed | {"values": [101]}, "EncodingError"),
        _good("integers of 63 bits", "encode_integers", signed | {"max_value": 2**61, "values": [2**61, -50]}),
        _bad("integers of no range", "encode_integers", counts | {"max_value": 0, "values": []}, "ParameterError"),
        _bad("integers from above zero", "encode_integers", counts | {"min_value": 1, "values": []}, "ParameterError"),
        _bad("sums beyond 2^63", "encode_integers", counts | {"max_value": 2**62, "values": []}, "ParameterError"),
        _bad(
            "sums of 64 bits",
            "encode_integers",
            signed | {"min_value": -(2**61), "max_value": 2**61, "values": []},
            "ParameterError",
        ),
        _good("sums of integers", "decode_integers", counts | {"present": 3, "residues": [0, 1, 300]}),
        _good("sums of signed integers", "decode_integers", signed | sums),
        _bad(
            "sum of integers just out of reach", "decode_integers", signed | sums | {"residues": [301]}, "EncodingError"
        ),
        _bad("more summands of integers than room", "decode_integers", signed | sums | {"present": 4}, "EncodingError"),
    ]


def _residues_cases() -> list[Case]:
    cases = []
    for bits in (1, 7, 8, 13, 24, 31, 32, 33, 50, 63, 64):
        top = (1 << bits) - 1
        values = [0, top, 1 % (top + 1), top // 3, top - top // 5, top, 0]
        cases.append(_good(f"{bits} bits", "pack", {"modulus_bits": bits, "residues": values}))
        cases.append(
            _good(f"{bits} bits", "unpack", {"modulus_bits": bits, "length": 7, "packed": cases[-1]["output"]})
        )
    packed = {"modulus_bits": 13, "length": 3, "packed": "ffffffff7f"}
    return [
        *cases,
        _good("all ones", "unpack", packed),
        _good("nothing", "unpack", packed | {"length": 0, "packed": ""}),
        _bad("lowest padding bit set", "unpack", packed | {"packed": "ffffffffff"}, "EncodingError"),
        _bad(
            "highest padding bit set", "unpack", packed | {"modulus_bits": 11, "packed": "0000000080"}, "EncodingError"
        ),
        _bad("a byte short", "unpack", packed | {"packed": "ffffffff"}, "EncodingError"),
        _bad("a byte long", "unpack", packed | {"packed": "ffffffff7f00"}, "EncodingError"),
        _bad("negative length", "unpack", packed | {"length": -1, "packed": ""}, "EncodingError"),
        _bad("modulus of no bits", "unpack", packed | {"modulus_bits": 0, "packed": ""}, "ParameterError"),
        _bad("modulus of 65 bits", "unpack", packed | {"modulus_bits": 65}, "ParameterError"),
    ]


def _prg_cases() -> list[Case]:
    whole = {"seed": SEED, "num_bytes": 40, "first_block": 0}
    zero = {"seed": bytes(32).hex(), "num_bytes": 48, "first_block": 0}
    published = "dc95c078a2408989ad48a21492842087530f8afbc74536b9a963b4f1c4cb738bcea7403d4d606b6e074ec5d3baf39d18"
    two = {
        "targets": [[5, "uint32"], [3, "uint64"], [1, "uint32"]],
        "add": [SEED, OTHER],
        "subtract": [bytes(32).hex()],
    }
    return [
        _good("zero seed", "keystream", zero, published, "The Galois/Counter Mode of Operation, test cases 13 and 14"),
        _good("from the start", "keystream", whole),
        _good("from block 1", "keystream", whole | {"first_block": 1, "num_bytes": 24}),
        _good("from block 2**32 - 1", "keystream", whole | {"first_block": 2**32 - 1, "num_bytes": 32}),
        _good("nothing", "keystream", whole | {"num_bytes": 0}),
        _bad("seed of 16 bytes", "keystream", whole | {"seed": SEED[:32]}, "ParameterError"),
        _bad("seed of 33 bytes", "keystream", whole | {"seed": SEED + "00"}, "ParameterError"),
        _bad("negative length", "keystream", whole | {"num_bytes": -1}, "ParameterError"),
        _bad("negative block", "keystream", whole | {"first_block": -1}, "ParameterError"),
        _good("several targets and seeds", "add_streams", two),
        _good("subtracted alone", "add_streams", two | {"add": []}),
        _bad("one short seed among good ones", "add_streams", two | {"subtract": [SEED[2:]]}, "ParameterError"),
        _bad("lanes of 16 bits", "add_streams", two | {"targets": [[4, "uint16"]]}, "ParameterError"),
    ]


def _shamir_cases() -> list[Case]:
    prime = 2**31 - 1
    secret = bytes(range(200, 210)).hex()  # three elements
    drawn = [[1, 2, 3], [prime - 1, 0, 77], [123456789, 987654321, 0]]
    given = {"secret": secret, "coefficients": drawn, "indices": [1, 2, 3, 5, 8, 1000, prime - 1]}
    shares = [[index, share] for index, share in zip(given["indices"], OPERATIONS["split"](given), strict=True)]
    base = {"threshold": 4, "num_bytes": 10, "shares": shares}

    def spoil(position: int, share: str) -> list[Any]:
        return [*shares[:position], [shares[position][0], share], *shares[position + 1 :]]

    def add_one(share: str) -> str:
        first = (int.from_bytes(bytes.fromhex(share)[:4], "little") + 1) % prime
        return first.to_bytes(4, "little").hex() + share[8:]

    twice = spoil(1, add_one(shares[1][1]))
    twice[4] = [shares[4][0], add_one(shares[4][1])]
    at_prime = prime.to_bytes(4, "little").hex() + shares[0][1][8:]
    too_large = [[1, (1 << 30).to_bytes(4, "little").hex()]]
    return [
        _good("threshold four of seven", "split", given),
        _good("threshold one gives everyone the secret", "split", given | {"coefficients": []}),
        _good("leading coefficients zero", "split", given | {"coefficients": [*drawn[:2], [0, 0, 0]]}),
        _bad("index zero", "split", given | {"indices": [1, 2, 3, 0]}, "ParameterError"),
        _bad("index p", "split", given | {"indices": [1, 2, 3, prime]}, "ParameterError"),
        _bad("index twice", "split", given | {"indices": [1, 2, 3, 1]}, "ParameterError"),
        _bad("index twice mod p", "split", given | {"indices": [1, 2, 3, prime + 1]}, "ParameterError"),
        _bad("threshold above the shares", "split", given | {"indices": [1, 2, 3]}, "ParameterError"),
        _good("all shares", "reconstruct", base),
        _good("the last four", "reconstruct", base | {"shares": shares[3:]}),
        _bad("three shares", "reconstruct", base | {"shares": shares[:3]}, "ThresholdError"),
        _bad("threshold zero", "reconstruct", base | {"threshold": 0}, "ParameterError"),
        _bad("share at zero", "reconstruct", base | {"shares": [[0, shares[0][1]], *shares[1:]]}, "ParameterError"),
        _bad(
            "one wrong share", "reconstruct", base | {"shares": spoil(2, add_one(shares[2][1]))}, "InconsistentShares"
        ),
        _bad("share too short", "reconstruct", base | {"shares": spoil(0, shares[0][1][2:])}, "EncodingError"),
        _bad("share with an element that is p", "reconstruct", base | {"shares": spoil(0, at_prime)}, "EncodingError"),
        _bad(
            "an element of 31 bits",
            "reconstruct",
            {"threshold": 1, "num_bytes": 3, "shares": too_large},
            "InconsistentShares",
        ),
        _bad("a secret longer than stated", "reconstruct", base | {"num_bytes": 9}, "InconsistentShares"),
        _good("nothing to correct", "reconstruct_robust", base),
        _good("one wrong share", "reconstruct_robust", base | {"shares": spoil(2, add_one(shares[2][1]))}),
        _good("one malformed share", "reconstruct_robust", base | {"shares": spoil(6, "")}),
        _bad("two wrong shares of seven", "reconstruct_robust", base | {"shares": twice}, "InconsistentShares"),
        _bad("three well-formed shares", "reconstruct_robust", base | {"shares": shares[:3]}, "ThresholdError"),
    ]


def _derivation_cases() -> list[Case]:
    rfc_1 = {"secret": "0b" * 22, "salt": bytes(range(13)).hex(), "info": bytes(range(0xF0, 0xFA)).hex(), "length": 42}
    okm_1 = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    rfc_3 = {"secret": "0b" * 22, "salt": "", "info": "", "length": 42}
    okm_3 = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    one = {"secret": SEED, "label": "PAIRWISE_MASK", "context": ["01", "0203"], "length": 32}
    return [
        _good("with salt and info", "hkdf", rfc_1, okm_1, "RFC 5869, A.1"),
        _good("without salt and info", "hkdf", rfc_3, okm_3, "RFC 5869, A.3"),
        _bad("nothing derived", "hkdf", rfc_1 | {"length": 0}, "ParameterError"),
        _bad("a byte too many", "hkdf", rfc_1 | {"length": 8161}, "ParameterError"),
        *(_good(f"label {label.name}", "derive", one | {"label": label.name}) for label in Label),
        _good("border between parts moved", "derive", one | {"context": ["0102", "03"]}),
        _good("empty part", "derive", one | {"context": [""]}),
        _good("no context", "derive", one | {"context": []}),
        _good("100 bytes", "derive", one | {"length": 100}),
        *(_good(f"label {label.name}", "digest", {"label": label.name, "context": ["01", ""]}) for label in Label),
    ]


def _flip(text: str, bit: int) -> str:
    data = bytearray.fromhex(text)
    data[bit // 8] ^= 1 << (bit % 8)
    return data.hex()


def _aead_cases() -> list[Case]:
    text = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    rfc = {
        "key": bytes(range(0x80, 0xA0)).hex(),
        "plaintext": (text + b"sunscreen would be it.").hex(),
        "associated_data": "50515253c0c1c2c3c4c5c6c7",
        "nonce": "070000004041424344454647",
    }
    sealed = (
        "070000004041424344454647"
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b"
        "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
        "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691"
    )
    box = {"key": rfc["key"], "sealed": sealed, "associated_data": rfc["associated_data"]}
    last = 4 * len(sealed) - 1
    failed = "AuthenticationFailed"
    return [
        _good("text of the RFC", "seal", rfc, sealed, "RFC 8439, 2.8.2"),
        _good("empty plaintext", "seal", rfc | {"plaintext": ""}),
        _bad("no associated data", "seal", rfc | {"associated_data": ""}, "ParameterError"),
        _bad("key of 16 bytes", "seal", rfc | {"key": rfc["key"][:32]}, "ParameterError"),
        _good("text of the RFC", "open", box, rfc["plaintext"], "RFC 8439, 2.8.2"),
        _bad("bit of the nonce flipped", "open", box | {"sealed": _flip(sealed, 0)}, failed),
        _bad("bit of the ciphertext flipped", "open", box | {"sealed": _flip(sealed, 12 * 8)}, failed),
        _bad("bit of the tag flipped", "open", box | {"sealed": _flip(sealed, last)}, failed),
        _bad("bit of the key flipped", "open", box | {"key": _flip(rfc["key"], 7)}, failed),
        _bad("bit of the data flipped", "open", box | {"associated_data": _flip(rfc["associated_data"], 95)}, failed),
        _bad("last byte missing", "open", box | {"sealed": sealed[:-2]}, failed),
        _bad("first byte missing", "open", box | {"sealed": sealed[2:]}, failed),
        _bad("shorter than nonce and tag", "open", box | {"sealed": sealed[:54]}, failed),
        _bad("empty", "open", box | {"sealed": ""}, failed),
        _bad("no associated data", "open", box | {"associated_data": ""}, "ParameterError"),
    ]


def _key_agreement_cases() -> list[Case]:
    alice = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
    bob = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
    alice_public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    bob_public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    field = 2**255 - 19
    eighth = ("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",)
    eighth += ("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",)
    named = {"0": 0, "1": 1, "-1": field - 1, "p": field, "p + 1": field + 1}
    named |= {f"order 8, {i}": int.from_bytes(bytes.fromhex(u), "little") for i, u in enumerate(eighth)}
    low = {
        f"low order: {name}{suffix}": (value + top).to_bytes(32, "little").hex()
        for name, value in named.items()
        for suffix, top in (("", 0), (", top bit set", 2**255))
    }
    one = {"private": alice, "peer_public": bob_public}
    return [
        _good("Alice", "public", {"private": alice}, alice_public, "RFC 7748, 6.1"),
        _good("Bob", "public", {"private": bob}, bob_public, "RFC 7748, 6.1"),
        _good("Alice with Bob", "agree", one, shared, "RFC 7748, 6.1"),
        _good("Bob with Alice", "agree", {"private": bob, "peer_public": alice_public}, shared, "RFC 7748, 6.1"),
        _good("coordinate 2", "agree", one | {"peer_public": (2).to_bytes(32, "little").hex()}),
        _good("coordinate p + 2", "agree", one | {"peer_public": (field + 2).to_bytes(32, "little").hex()}),
        *(_bad(name, "agree", one | {"peer_public": public}, "AuthenticationFailed") for name, public in low.items()),
        _bad("public key of 31 bytes", "agree", one | {"peer_public": bob_public[2:]}, "AuthenticationFailed"),
        _bad("public key of 33 bytes", "agree", one | {"peer_public": bob_public + "00"}, "AuthenticationFailed"),
        _bad("private key of 31 bytes", "public", {"private": alice[2:]}, "ParameterError"),
    ]


def _signature_cases() -> list[Case]:
    cases = []
    for number, (private, public, message, signature) in enumerate(RFC_8032, start=1):
        said, source = {"private": private, "message": message}, "RFC 8032, 7.1"
        cases += [
            _good(f"test {number}", "identity", {"private": private}, public, source),
            _good(f"test {number}", "sign", said, signature, source),
            _good(f"test {number}", "verify", {"public": public, "message": message, "signature": signature}),
        ]
    _, public, message, signature = RFC_8032[1]
    one = {"public": public, "message": message, "signature": signature}
    response = int.from_bytes(bytes.fromhex(signature[64:]), "little")
    others = {
        "another message": one | {"message": "73"},
        "S + L": one | {"signature": signature[:64] + (response + ORDER).to_bytes(32, "little").hex()},
        "bit 255 of S": one | {"signature": signature[:-2] + f"{int(signature[-2:], 16) ^ 0x80:02x}"},
        "bit 255 of R": one | {"signature": _negated(signature[:64]) + signature[64:]},
        "bit 255 of A": one | {"public": _negated(public)},
        "signature of 63 bytes": one | {"signature": signature[:-2]},
        "signature of 65 bytes": one | {"signature": signature + "00"},
        "public key of 31 bytes": one | {"public": public[:-2]},
        "public key that is no point": one | {"public": (2).to_bytes(32, "little").hex()},
        "R that is no point": one | {"signature": (2).to_bytes(32, "little").hex() + signature[64:]},
        **{name: dict(zip(one, texts, strict=True)) for name, *texts in off_the_subgroup()},
        **{name: dict(zip(one, texts, strict=True)) for name, *texts in SPECCHECK},
    }
    cases += [_bad(name, "verify", given, "AuthenticationFailed") for name, given in others.items()]
    return [*cases, _bad("private key of 31 bytes", "identity", {"private": SEED[2:]}, "ParameterError")]


def _negated(point: str) -> str:
    return point[:-2] + f"{int(point[-2:], 16) ^ 0x80:02x}"


PRIMITIVES: dict[str, Callable[[], list[Case]]] = {
    "encoding": _encoding_cases,
    "residues": _residues_cases,
    "prg": _prg_cases,
    "shamir": _shamir_cases,
    "derivation": _derivation_cases,
    "aead": _aead_cases,
    "key_agreement": _key_agreement_cases,
    "signatures": _signature_cases,
    "statistics": statistics.cases,
    "groups": groups.cases,
    "hierarchy": hierarchy.cases,
    "noisy_statistics": noisy_statistics.cases,
    "requests": requests.cases,
}


def render(primitive: str) -> str:
    """Return the contents of a primitive's file: one case a line, so that a difference shows as one."""
    lines = ",\n".join("    " + json.dumps(case) for case in PRIMITIVES[primitive]())
    return f'{{\n  "primitive": "{primitive}",\n  "cases": [\n{lines}\n  ]\n}}\n'


def rendered() -> dict[str, Callable[[], str]]:
    """Every file that is generated here, without its suffix, and what writes it."""
    from . import ledger, paillier, privacy, private, sessions

    primitives = {name: partial(render, name) for name in PRIMITIVES}
    return (
        primitives
        | {name: partial(sessions.render, name) for name in sessions.SESSIONS}
        | {name: partial(private.render, name) for name in private.SESSIONS}
        | paillier.FILES
        | privacy.FILES
        | ledger.FILES
    )


NAMES = (*known_answers.PRIMITIVES, "protocol", *replay.FILES)
_HEAD = '''"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.generate`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
'''


def manifest() -> str:
    """Return the module that pins the files: a wheel has no tests, so the audit holds them against it."""
    rows = []
    for name in NAMES:
        data = (VECTORS / f"{name}.json").read_bytes()
        vector = json.loads(data)
        cases = replay.size(name, vector) if name in replay.FILES else known_answers.size(vector)
        rows.append(f'    "{name}": ("{hashlib.sha256(data).hexdigest()}", {cases}),\n')
    return f"{_HEAD}{''.join(rows)}}}\n"


if __name__ == "__main__":
    for name, contents in rendered().items():
        (VECTORS / f"{name}.json").write_text(contents())
    MANIFEST.write_text(manifest())
