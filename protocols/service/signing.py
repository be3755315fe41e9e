"""Signed requests: HTTP Message Signatures (RFC 9421) in one fixed form, over Ed25519 identities.

A signature covers method, authority, path, query and the digest of the body (RFC 9530), when it was made and a nonce.
So no request can be sent by another, to another host, with another body, or a second time. Of the many ways in which
the RFC lets one be written, one is taken, byte for byte (SPEC section 54). A client that changes its key signs by both.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from secagg.errors import AuthenticationFailed
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import Identity, verify

WINDOW_SECONDS = 60
"""How far a signature's time may be from the server's clock."""
NONCE_BYTES = 16
SIGNED = ("@method", "@authority", "@path", "@query", "content-digest")
"""What every signature covers, in this order."""
REQUEST_TAG = "secagg-1"
NEW_KEY_TAG = "secagg-1-new-key"
"""What a signature is for: all requests; and besides, by the new key, the one that changes a member's key."""
_LABELS = {"sig": REQUEST_TAG, "new": NEW_KEY_TAG}
_ITEMS = " ".join(f'"{name}"' for name in SIGNED)
_PARAMETERS = rf'\({re.escape(_ITEMS)}\);created=([1-9][0-9]{{0,11}});nonce="([0-9a-f]{{32}})";keyid="([0-9a-f]{{64}})"'
_SIGNATURE = r":([A-Za-z0-9+/]{86}==):"
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True)
class Request:
    """What of a request is signed.

    Attributes:
        method: in capitals.
        authority: host, and port unless it is the scheme's own; in lower case.
        path: as on the request line, in percent-encoding.
        query: the same, without its question mark; empty if there is none.
        digest: SHA-256 of the body, which may be empty.
    """

    method: str
    authority: str
    path: str
    query: str
    digest: bytes


@dataclass(frozen=True)
class Signed:
    """Who says to have signed a request, and when: not yet verified.

    Attributes:
        request: what was signed.
        created: seconds since 1970.
        nonce: 16 bytes, new for each request.
        key: public key of the signer, 32 bytes.
        signature: 64 bytes.
        new_key, new_signature: of the key that is to follow, where the request brings one.
    """

    request: Request
    created: int
    nonce: bytes
    key: bytes
    signature: bytes = field(repr=False)
    new_key: bytes = b""
    new_signature: bytes = field(default=b"", repr=False)

    def verify(self) -> None:
        """Return if the request was signed by `key`, and by `new_key` if it brings one; raise AuthenticationFailed."""
        verify(self.key, self._base(self.key, REQUEST_TAG), self.signature)
        if self.new_key:
            verify(self.new_key, self._base(self.new_key, NEW_KEY_TAG), self.new_signature)

    def _base(self, key: bytes, tag: str) -> bytes:
        return _base(self.request, _parameters(self.created, self.nonce, key, tag))

    def check_time(self, now: float) -> None:
        """Raise AuthenticationFailed if it was signed too long ago, or is yet to be."""
        if abs(now - self.created) > WINDOW_SECONDS:
            raise AuthenticationFailed(
                f"the request was signed {abs(now - self.created):.0f} s {'before' if now > self.created else 'after'} "
                f"it came, by its sender's clock, but at most {WINDOW_SECONDS} s off are accepted: set the clock"
            )


def authority_of(scheme: str, host: str) -> str:
    """Return a host, with its port if it has one, as it is signed."""
    return host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, "\n"))


def content_digest(digest: bytes) -> str:
    """Return the value of the field Content-Digest for a SHA-256."""
    return f"sha-256=:{_base64(digest)}:"


def signature_base(components: Iterable[tuple[str, str]], parameters: str) -> bytes:
    """Return the bytes that are signed (RFC 9421, section 2.5).

    Args:
        components: name -> value, in order; the names without quotes.
        parameters: the value of `@signature-params`.
    """
    lines = [f'"{name}": {value}' for name, value in (*components, ("@signature-params", parameters))]
    return "\n".join(lines).encode()


def sign(
    request: Request,
    identity: Identity,
    *,
    created: int,
    new: Identity | None = None,
    random: RandomBytes = SYSTEM,
) -> dict[str, str]:
    """Return the fields that make a request a signed one.

    Args:
        request: to be signed.
        identity: whose.
        created: now, in seconds since 1970.
        new: the identity that is to follow `identity`.
        random: where the nonce comes from.
    """
    nonce = random(NONCE_BYTES)
    inputs, signatures = [], []
    for (label, tag), signer in zip(_LABELS.items(), (identity, new), strict=True):
        if signer is not None:
            parameters = _parameters(created, nonce, signer.public_bytes, tag)
            inputs.append(f"{label}={parameters}")
            signatures.append(f"{label}=:{_base64(signer.sign(_base(request, parameters)))}:")
    return {
        "Content-Digest": content_digest(request.digest),
        "Signature-Input": ", ".join(inputs),
        "Signature": ", ".join(signatures),
    }


def read_signed(method: str, authority: str, path: str, query: str, fields: Mapping[str, str]) -> Signed:
    """Return what a request's fields say of its signature; nothing is verified yet, nor the body looked at.

    Args:
        method: as `Request` has it.
        authority: the same.
        path: the same.
        query: the same.
        fields: Content-Digest, Signature-Input and Signature, by name in lower case.

    Raises:
        AuthenticationFailed: a field is missing, or not written in the one way that it can be.
    """
    try:
        digests, inputs, signatures = (fields[name] for name in ("content-digest", "signature-input", "signature"))
    except KeyError as missing:
        raise AuthenticationFailed(f"the request has no field {missing}: sign it") from None
    digest = _DIGEST.fullmatch(digests)
    both = ", " in inputs
    found = _INPUTS[both].fullmatch(inputs), _SIGNATURES[both].fullmatch(signatures)
    if digest is None or found[0] is None or found[1] is None:
        raise AuthenticationFailed("the request's signature is not written as this service reads it")
    created, nonce, key, *others = found[0].groups()
    first, *further = (_bytes(text) for text in found[1].groups())
    if others and others[:2] != [created, nonce]:
        raise AuthenticationFailed("the request's two signatures are not of one time and nonce")
    return Signed(
        Request(method, authority, path, query, _bytes(digest[1])),
        int(created),
        bytes.fromhex(nonce),
        bytes.fromhex(key),
        first,
        bytes.fromhex(others[2]) if others else b"",
        further[0] if further else b"",
    )


def _fields_pattern(ending: str, labels: Iterable[str], tagged: bool) -> re.Pattern[str]:
    tags = [f';tag="{_LABELS[label]}"' if tagged else "" for label in labels]
    return re.compile(", ".join(f"{label}={ending}{tag}" for label, tag in zip(labels, tags, strict=True)))


_INPUTS = [_fields_pattern(_PARAMETERS, labels, tagged=True) for labels in (("sig",), ("sig", "new"))]
_SIGNATURES = [_fields_pattern(_SIGNATURE, labels, tagged=False) for labels in (("sig",), ("sig", "new"))]


def _base(request: Request, parameters: str) -> bytes:
    values = (
        request.method,
        request.authority,
        request.path,
        f"?{request.query}",
        content_digest(request.digest),
    )
    return signature_base(zip(SIGNED, values, strict=True), parameters)


def _parameters(created: int, nonce: bytes, key: bytes, tag: str) -> str:
    return f'({_ITEMS});created={created};nonce="{nonce.hex()}";keyid="{key.hex()}";tag="{tag}"'


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    """Return the bytes of a text in base64, if it is the one text for them."""
    data = base64.b64decode(text, validate=True)
    if _base64(data) != text:
        raise AuthenticationFailed("the request's signature is not written as this service reads it")
    return data


def sha256(body: bytes) -> bytes:
    """Return the digest of a body."""
    return hashlib.sha256(body).digest()
