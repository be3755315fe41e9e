"""Signed requests: RFC 9421's own example, and one way to write them."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.service import signing
from protocols.service.signing import Request, authority_of, read_signed, sha256, sign, signature_base
from secagg.errors import AuthenticationFailed
from secagg.signatures import Identity

OWN, NEW = Identity(b"\1" * 32), Identity(b"\2" * 32)
REQUEST = Request("POST", "sums.example:8443", "/v1/members/a%20b/key", "x=%C3%A9&y", sha256(b"body"))


def fields_of(request=REQUEST, **more):
    return {name.lower(): value for name, value in sign(request, OWN, created=1_800_000_000, **more).items()}


def read(fields, request=REQUEST):
    return read_signed(request.method, request.authority, request.path, request.query, fields)


def test_the_example_of_rfc_9421_for_ed25519():
    """RFC 9421, B.1.4 and B.2.6."""
    private = base64.urlsafe_b64decode("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU=")
    identity = Identity(private)
    assert base64.urlsafe_b64encode(identity.public_bytes) == b"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs="
    base = signature_base(
        [
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("@method", "POST"),
            ("@path", "/foo"),
            ("@authority", "example.com"),
            ("content-type", "application/json"),
            ("content-length", "18"),
        ],
        '("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473'
        ';keyid="test-key-ed25519"',
    )
    published = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    assert base64.b64encode(identity.sign(base)).decode() == published


def test_the_digest_of_rfc_9530():
    """RFC 9530, appendix B.1, of {"hello": "world"} and a line feed."""
    assert signing.content_digest(sha256(b'{"hello": "world"}\n')) == (
        "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    )


@pytest.mark.parametrize("new", [None, NEW])
def test_what_was_signed_verifies(new):
    signed = read(fields_of(new=new))
    signed.verify()
    assert (signed.key, signed.new_key) == (OWN.public_bytes, b"" if new is None else NEW.public_bytes)
    assert signed.request == REQUEST
    signed.check_time(1_800_000_060)
    signed.check_time(1_799_999_940)
    for now in (1_800_000_061, 1_799_999_939):
        with pytest.raises(AuthenticationFailed, match="set the clock"):
            signed.check_time(now)


@pytest.mark.parametrize("part", ["method", "authority", "path", "query"])
def test_another_request_does_not_verify(part):
    from dataclasses import replace

    other = replace(REQUEST, **{part: getattr(REQUEST, part) + "x"})
    with pytest.raises(AuthenticationFailed, match="does not verify"):
        read(fields_of(), other).verify()


CHANGES = {
    "digest": ("content-digest", "sha-256=:", "sha-256=:A"),
    "algorithm": ("content-digest", "sha-256", "sha-512"),
    "two digests": ("content-digest", "sha-256", "sha-256=:AA==:, sha-256"),
    "components": ("signature-input", '"@path" "@query"', '"@query" "@path"'),
    "a component left out": ("signature-input", ' "content-digest"', ""),
    "a component more": ("signature-input", '"@method"', '"@method" "date"'),
    "a label": ("signature-input", "sig=", "sig1="),
    "a tag": ("signature-input", "secagg-1", "secagg-2"),
    "a parameter more": ("signature-input", ";nonce", ";expires=9999999999;nonce"),
    "spaces": ("signature-input", ";nonce", "; nonce"),
    "a long nonce": ("signature-input", 'nonce="', 'nonce="00'),
    "capitals": ("signature-input", 'keyid="8a', 'keyid="8A'),
    "a time with a zero": ("signature-input", "created=1", "created=01"),
    "two signatures, one of them": ("signature", "sig=:", "sig=:AA==:, sig=:"),
    "no base64": ("signature", "sig=:", "sig=:!"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_there_is_one_way_to_write_it(name):
    field, old, new = CHANGES[name]
    fields = fields_of()
    assert old in fields[field]
    fields[field] = fields[field].replace(old, new, 1)
    with pytest.raises(AuthenticationFailed, match="not written as"):
        read(fields)


def test_bits_that_base64_ignores_are_refused():
    fields = fields_of()
    last = re.search(r"(.)==:$", fields["signature"])[1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    fields["signature"] = fields["signature"].replace(f"{last}==:", f"{alphabet[alphabet.index(last) | 1]}==:")
    with pytest.raises(AuthenticationFailed):
        read(fields)


@pytest.mark.parametrize("field", ["content-digest", "signature-input", "signature"])
def test_a_field_that_is_missing_is_named(field):
    fields = fields_of()
    del fields[field]
    with pytest.raises(AuthenticationFailed, match=f"no field '{field}'"):
        read(fields)


def test_a_new_key_signs_as_one_and_at_the_same_time():
    fields = fields_of(new=NEW)
    assert signing.NEW_KEY_TAG in fields["signature-input"]
    for old, new in (("created=1800000000", "created=1800000001"), (signing.NEW_KEY_TAG, signing.REQUEST_TAG)):
        head, _, tail = fields["signature-input"].partition(", new=")
        bent = fields | {"signature-input": f"{head}, new={tail.replace(old, new)}"}
        with pytest.raises(AuthenticationFailed):
            read(bent).verify()
    alone = read(fields_of())
    other = base64.b64encode(alone.signature).decode()
    stolen = fields | {"signature": re.sub(r"new=:.*", f"new=:{other}:", fields["signature"])}
    with pytest.raises(AuthenticationFailed, match="does not verify"):
        read(stolen).verify()


def test_authorities_are_written_as_they_are_signed():
    assert authority_of("https", "Sums.Example:443") == "sums.example"
    assert authority_of("http", "Sums.Example:443") == "sums.example:443"
    assert authority_of("http", "x:80") == "x"


@given(st.dictionaries(st.sampled_from(["content-digest", "signature-input", "signature"]), st.text()))
def test_any_fields_are_a_signature_or_a_named_error(fields):
    with pytest.raises(AuthenticationFailed):
        read(fields).verify()
