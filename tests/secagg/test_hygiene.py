from __future__ import annotations

import base64
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from secagg import aead, derivation, errors, prg, shamir, signatures
from secagg.encoding import FixedPoint, Integers
from secagg.errors import (
    AuthenticationFailed,
    ContradictoryRequest,
    EncodingError,
    EstimateError,
    InconsistentShares,
    MalformedMessage,
    MissingDependencyError,
    ParameterError,
    PeerError,
    QueryRefused,
    SecAggError,
    StateError,
    ThresholdError,
    UnexpectedMessage,
)
from secagg.key_agreement import KeyPair
from secagg.signatures import Identity
from tests.processes import python

SECRET = bytes.fromhex("9be1f05ac74d3382e6b90a17d45fc82e7b10f9a36cde48513f8207bd96ea45c1")

HEAVY = ("numba", "Crypto.Cipher", "galois", "scipy", "phe", "flwr", "sklearn", "matplotlib")


def traces(secret: bytes) -> list[str]:
    """How eight bytes of a secret would look in a text, however they were printed."""
    found = []
    for start in range(0, len(secret) - 7, 8):
        piece = secret[start : start + 8]
        numbers = [int.from_bytes(piece, "little"), int.from_bytes(piece, "big")]
        numbers += [int.from_bytes(piece[at : at + 4], "little") for at in (0, 4)]
        found += [piece.hex(), repr(piece)[2:-1], ", ".join(map(str, piece)), *map(str, numbers)]
        found.append(base64.b64encode(secret[start - start % 3 : start + 9])[4:12].decode())
    return [*found, str(int.from_bytes(secret, "little")), str(int.from_bytes(secret, "big"))]


def assert_silent(secret: bytes, *texts: str) -> None:
    for text in texts:
        for trace in traces(secret):
            assert trace not in text
            assert trace not in text.lower()


def test_the_search_for_traces_finds_them() -> None:
    # The check can fail, whichever way a secret is printed.
    for text in (SECRET.hex(), repr(SECRET), str(list(SECRET)), str(int.from_bytes(SECRET, "little"))):
        with pytest.raises(AssertionError):
            assert_silent(SECRET, text)
    with pytest.raises(AssertionError):
        assert_silent(SECRET, base64.b64encode(SECRET).decode())
    with pytest.raises(AssertionError):
        assert_silent(SECRET, str(np.frombuffer(SECRET, dtype="<u4")))
    assert_silent(SECRET, "nothing", SECRET[::-1].hex())


@pytest.mark.parametrize("kind", [KeyPair, Identity])
def test_holders_of_secrets_show_their_public_half_only(kind: Callable[[bytes], KeyPair | Identity]) -> None:
    holder = kind(SECRET)
    assert_silent(SECRET, repr(holder), str(holder), f"{holder}", f"{[holder]}")
    assert holder.public_bytes.hex() in repr(holder)
    assert not hasattr(holder, "__dict__")  # slots: vars() and generic dumpers find nothing


def spoilt_shares() -> dict[int, bytes]:
    shares = shamir.split(SECRET, threshold=2, indices=[1, 2, 3, 4])
    return shares | {4: bytes(len(shares[4])), 3: bytes(len(shares[3]))}


LONG = SECRET + b"\1"
SEALED = aead.seal(SECRET, SECRET, associated_data=b"x", random=bytes)
CODEC = FixedPoint(clip=1.0, value_bits=8, num_summands=3)

# Every way to raise that has a secret in its hands.
PROVOCATIONS: dict[str, Callable[[], object]] = {
    "stream of a wrong seed": lambda: prg.keystream(LONG, 16),
    "wrong seed added": lambda: prg.add_streams([np.zeros(4, dtype="<u4")], add=[SECRET, LONG]),
    "seal with a wrong key": lambda: aead.seal(LONG, SECRET, associated_data=b"x"),
    "seal bound to nothing": lambda: aead.seal(SECRET, SECRET, associated_data=b""),
    "open with a wrong key": lambda: aead.open(LONG, SEALED, associated_data=b"x"),
    "open what was altered": lambda: aead.open(SECRET, SEALED[:-1] + b"\0", associated_data=b"x"),
    "open what is too short": lambda: aead.open(SECRET, b"", associated_data=b"x"),
    "derive too much": lambda: derivation.derive(SECRET, derivation.Label.SESSION, length=10**6),
    "wrong X25519 key": lambda: KeyPair(LONG),
    "agree on zeros": lambda: KeyPair(SECRET).agree(bytes(32)),
    "agree with a malformed key": lambda: KeyPair(SECRET).agree(b""),
    "wrong Ed25519 key": lambda: Identity(LONG),
    "wrong signature": lambda: signatures.verify(Identity(SECRET).public_bytes, SECRET, bytes(64)),
    "split at zero": lambda: shamir.split(SECRET, threshold=1, indices=[0]),
    "split for too few": lambda: shamir.split(SECRET, threshold=3, indices=[1, 2]),
    "split no field elements": lambda: shamir.split_elements(
        np.frombuffer(SECRET, dtype="<u4"), threshold=1, indices=[1]
    ),
    "malformed share": lambda: shamir.reconstruct({1: SECRET}, threshold=1, num_bytes=32),
    "too few shares": lambda: shamir.reconstruct(dict([*spoilt_shares().items()][:1]), threshold=2, num_bytes=32),
    "inconsistent shares": lambda: shamir.reconstruct(spoilt_shares(), threshold=2, num_bytes=32),
    "too many wrong shares": lambda: shamir.reconstruct_robust(spoilt_shares(), threshold=3, num_bytes=32),
    "secret too long": lambda: shamir.reconstruct(
        shamir.split(SECRET, threshold=1, indices=[1]), threshold=1, num_bytes=31
    ),
    "values not finite": lambda: CODEC.encode(np.array([0.918273645546, np.nan])),
    "integers out of range": lambda: Integers(5, 2).encode(np.array([918273645546])),
}


@pytest.mark.parametrize("provocation", PROVOCATIONS.values(), ids=PROVOCATIONS.keys())
def test_no_error_shows_a_secret(provocation: Callable[[], object]) -> None:
    with pytest.raises(SecAggError) as caught:
        provocation()
    error: BaseException | None = caught.value
    while error is not None:  # and neither does what it was raised from
        assert_silent(SECRET, str(error), repr(error), repr(error.args), repr(vars(error)))
        assert "918273645546" not in repr(error)
        error = error.__cause__


def all_errors() -> set[type[SecAggError]]:
    return {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SecAggError)}


def test_the_error_tree_is_the_documented_one() -> None:
    assert {error: error.__bases__ for error in all_errors()} == {
        SecAggError: (Exception,),
        ParameterError: (SecAggError, ValueError),
        MissingDependencyError: (SecAggError, ImportError),
        EncodingError: (SecAggError, ValueError),
        StateError: (SecAggError, RuntimeError),
        EstimateError: (SecAggError, ValueError),
        QueryRefused: (SecAggError,),
        ThresholdError: (SecAggError,),
        PeerError: (SecAggError,),
        MalformedMessage: (PeerError,),
        UnexpectedMessage: (PeerError,),
        AuthenticationFailed: (PeerError,),
        ContradictoryRequest: (PeerError,),
        InconsistentShares: (PeerError,),
    }


def test_errors_carry_facts_as_attributes() -> None:
    assert EncodingError("text", index=(3, 4)).index == (3, 4)
    assert EncodingError("text").index is None
    short = ThresholdError("text", needed=3, have=2, missing=["a"])
    for each in (short, pickle.loads(pickle.dumps(short))):  # noqa: S301
        assert (each.needed, each.have, each.missing, str(each)) == (3, 2, {"a"}, "text")
    for kind in all_errors():
        if issubclass(kind, PeerError):
            guilty = kind("wrong", culprits=iter([7, 2, 7]))
            assert guilty.culprits == frozenset({2, 7})
            assert (guilty.reason, str(guilty)) == ("wrong", "wrong (culprits: 2, 7)")
            assert str(kind("wrong")) == "wrong"


@pytest.mark.parametrize("package", ["secagg", "protocols"])
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    program = f"import sys, {package}; print(*sorted(name for name in {HEAVY!r} if name in sys.modules))"
    assert python("-c", program).strip() == ""


def test_importing_every_primitive_loads_nothing_heavy() -> None:
    modules = "aead derivation encoding errors field key_agreement masking prg randomness residues shamir signatures"
    imports = "; ".join(f"import secagg.{module}" for module in modules.split())
    program = f"import sys; {imports}; print(*sorted(name for name in {HEAVY!r} if name in sys.modules))"
    assert python("-c", program).strip() == ""
