"""What the service and its members read over HTTP and from files."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path

from protocols.cli.join import read_values
from protocols.service import signing
from protocols.service.connection import letter_of
from protocols.service.forms import read_form
from protocols.service.kept import Folder
from protocols.service.limits import Refusal
from protocols.service.members import read_token
from protocols.service.session_file import read_sessions
from secagg.errors import ParameterError
from secagg.signatures import Identity

FIELDS = ("content-digest", "signature-input", "signature")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-service-")


def _file(name: str, data: bytes) -> Path:
    path = Path(_folder().name) / name
    path.write_bytes(data)
    return path


def request_signature(data: bytes) -> None:
    """Three fields, a line each, of a request whose path is the fourth."""
    lines = data.decode("latin-1").split("\n", 3)
    fields = dict(zip(FIELDS, lines, strict=False))
    signed = signing.read_signed("POST", "sums.example", lines[3] if len(lines) > 3 else "/", "", fields)
    if signed.new_key:
        return
    again = signing.sign(signed.request, Identity(bytes(32)), created=signed.created, random=lambda size: signed.nonce)
    own = Identity(bytes(32)).public_bytes.hex()
    if again["Signature-Input"].replace(own, signed.key.hex()) != fields["signature-input"]:
        raise ValueError("a signature that can be written in two ways")
    signed.verify()


def request_form(data: bytes) -> None:
    try:
        given = read_form(data, "kind", "reason")
    except Refusal:
        return
    if not all(isinstance(text, str) for text in given.values()) or len(given) != 2:
        raise ValueError("a form that is none")


def service_answer(data: bytes) -> None:
    """Fields of a letter as JSON, then its body."""
    head, _, body = data.partition(b"\n")
    try:
        fields = {str(name): str(value) for name, value in json.loads(head).items()}
    except (ValueError, AttributeError, RecursionError):
        return
    letter = letter_of(fields, body, 3)
    if letter.sequence <= 3 or not letter.session.isalnum():
        raise ValueError("a letter that is none")


def invitation(data: bytes) -> None:
    read_token(data.decode("latin-1"))


def sessions_file(data: bytes) -> None:
    _file("query.toml", b'dataset = "d"\n[columns]\nx = {lo = 0, hi = 1}\n[[statistics]]\nkind = "count"\n')
    try:
        asked = read_sessions(_file("sessions.toml", data))
    except ParameterError as error:
        raise ParameterError(str(error).replace(_folder().name, "")) from None
    for one in asked:
        if not one.adversary.needs_identities:
            one.spec(one.trial)


def values_file(data: bytes) -> None:
    """The first byte says whether the rest is NPZ or JSON."""
    try:
        found = read_values(_file("v.npz" if data[:1] == b"\1" else "v.json", data[1:]))
    except ParameterError as error:
        raise ParameterError(str(error).replace(_folder().name, "")) from None
    if any(array.ndim != 1 for array in found.values()):
        raise ValueError("values that are no vectors")


@cache
def _own() -> Folder:
    path = Path(_folder().name) / "own"
    path.mkdir(mode=0o700)
    return Folder(path)


def kept_session(data: bytes) -> None:
    """What a member kept of a session, and up to which letter."""
    own = _own()
    (own.path / "ab.state").write_bytes(data)
    (own.path / "sequence").write_bytes(data[:20])
    try:
        own.session("ab")
    finally:
        _ = own.sequence


TARGETS = (request_signature, request_form, service_answer, invitation, sessions_file, values_file, kept_session)
WEIGHTS = {"sessions_file": 0.2, "values_file": 0.2, "kept_session": 0.3}


def seeds() -> dict[str, list[bytes]]:
    """Where a fuzzer begins."""
    from io import BytesIO

    import numpy as np

    from protocols.core.dumps import encode_state
    from protocols.service.kept import Kept

    request = signing.Request("POST", "sums.example", "/", "", bytes(32))
    signed = [
        signing.sign(request, Identity(b"\1" * 32), created=1_795_000_000, new=new, random=bytes)
        for new in (None, Identity(b"\2" * 32))
    ]
    arrays = BytesIO()
    np.savez(arrays, v=np.arange(3))
    fields = {"secagg-session": "ab", "secagg-sequence": "7", "secagg-phase": "share-keys"}
    return {
        "request_signature": ["\n".join([*each.values(), "/"]).encode() for each in signed],
        "request_form": [b'{"kind": "policy", "reason": "too few"}'],
        "service_answer": [json.dumps(fields).encode() + b"\nbody"],
        "invitation": [b"ab" * 32],
        "sessions_file": [
            b'[[session]]\ntitle = "x"\nmembers = 5\nquery = "query.toml"\nmin_cell = 5\n',
            b'[[session]]\ntitle = "y"\nmembers = ["a", "b", "c", "d"]\nvectors.v = {length = 2, clip = 1.0}',
            b'[[session]]\ntitle = "z"\nmembers = 20\nvectors.a = {length = 2, l2_clip = 1.0}\nvectors.b = {bins = 3}\n'
            b'private = {epsilon = 1.0, delta = 1e-6, budget = "b", unit = "client", rounds = 2}',
        ],
        "values_file": [b'\0{"v": [1, 2.5]}', b"\1" + arrays.getvalue()],
        "kept_session": [encode_state(Kept(3, False, b"dump")), b"17"],
    }
