"""Signed requests: what is signed, which fields say so, and what is refused (SPEC section 54)."""

from __future__ import annotations

import base64
from typing import Any

from protocols.audit.replay.request_operations import OPERATIONS
from secagg.errors import AuthenticationFailed

Case = dict[str, Any]

ONE, TWO = bytes(range(1, 33)).hex(), bytes(range(2, 34)).hex()
NOW = 1_795_000_000
POST: Case = {
    "private": ONE,
    "new_private": "",
    "method": "POST",
    "authority": "sums.example:8443",
    "path": "/v1/sessions/00ff/letters",
    "query": "",
    "body": b"an answer".hex(),
    "created": NOW,
    "nonce": bytes(range(16)).hex(),
}
GET = POST | {
    "method": "GET",
    "authority": "sums.example",
    "path": "/v1/letters",
    "query": "after=7&wait=20.000",
    "body": "",
}
ROTATION = POST | {"method": "PUT", "path": "/v1/members/a%20b/key", "new_private": TWO}
RFC_9421: Case = {
    "private": "9f8362f87a484a954e6e740c5b4c0e84229139a20aa8ab56ff66586f6a7d29c5",
    "components": [
        ["date", "Tue, 20 Apr 2021 02:07:55 GMT"],
        ["@method", "POST"],
        ["@path", "/foo"],
        ["@authority", "example.com"],
        ["content-type", "application/json"],
        ["content-length", "18"],
    ],
    "parameters": '("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473'
    ';keyid="test-key-ed25519"',
}
PUBLISHED = base64.b64decode(
    "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
).hex()


def _good(name: str, operation: str, given: Case) -> Case:
    return {"name": name, "operation": operation, "input": given, "output": OPERATIONS[operation](given)}


def _refused(name: str, given: Case) -> Case:
    try:
        OPERATIONS["read_request"](given)
    except AuthenticationFailed:
        return {"name": name, "operation": "read_request", "input": given, "error": "AuthenticationFailed"}
    raise ValueError(f"{name} is not refused")


def _rfc_9421() -> Case:
    case = _good("the components of RFC 9421's example", "sign_components", RFC_9421)
    if case["output"] != PUBLISHED:
        raise ValueError("the example is not what RFC 9421 publishes")
    return case | {"published": "RFC 9421, B.2.6"}


def cases() -> list[Case]:
    fields = {name: OPERATIONS["sign_request"](given) for name, given in (("post", POST), ("put", ROTATION))}

    def read(given: Case, fields: Case, **changed: Any) -> Case:
        where = {name: given[name] for name in ("method", "authority", "path", "query")}
        return where | {"fields": fields, "now": NOW} | changed

    def bent(field: str, old: str, new: str) -> Case:
        post = fields["post"]
        if old not in post[field]:
            raise ValueError(f"{old} is not in {field}")
        return read(POST, post | {field: post[field].replace(old, new, 1)})

    refused = {
        "another method": read(POST, fields["post"], method="PUT"),
        "another authority": read(POST, fields["post"], authority="sums.example"),
        "another path": read(POST, fields["post"], path="/v1/sessions/00fe/letters"),
        "another query": read(POST, fields["post"], query="x"),
        "61 seconds late": read(POST, fields["post"], now=NOW + 61),
        "61 seconds early": read(POST, fields["post"], now=NOW - 61),
        "another nonce": bent("Signature-Input", 'nonce="00', 'nonce="01'),
        "another time": bent("Signature-Input", "created=1795000000", "created=1795000001"),
        "another key": bent("Signature-Input", 'keyid="79b5', 'keyid="79b6'),
        "another tag": bent("Signature-Input", "secagg-1", "secagg-2"),
        "components in another order": bent("Signature-Input", '"@path" "@query"', '"@query" "@path"'),
        "a component left out": bent("Signature-Input", ' "content-digest"', ""),
        "a time that begins with zero": bent("Signature-Input", "created=1", "created=01"),
        "a parameter more": bent("Signature-Input", ";nonce", ';alg="ed25519";nonce'),
        "a space more": bent("Signature-Input", ";nonce", "; nonce"),
        "another label": bent("Signature", "sig=", "sig1="),
        "another digest": bent("Content-Digest", "sha-256=:", "sha-512=:"),
        "no digest": read(POST, {name: value for name, value in fields["post"].items() if name != "Content-Digest"}),
        "two inputs of one signature": read(
            POST, fields["post"] | {"Signature-Input": fields["put"]["Signature-Input"]}
        ),
        "a new key that signed something else": read(
            ROTATION,
            fields["put"]
            | {"Signature": f"{fields['put']['Signature'].partition(', ')[0]}, new{fields['post']['Signature'][3:]}"},
        ),
    }
    return [
        _rfc_9421(),
        _good("an answer", "sign_request", POST),
        _good("a poll, without a body, at the scheme's own port", "sign_request", GET),
        _good("a change of keys", "sign_request", ROTATION),
        _good("an answer", "read_request", read(POST, fields["post"])),
        _good("60 seconds late", "read_request", read(POST, fields["post"], now=NOW + 60)),
        _good("60 seconds early", "read_request", read(POST, fields["post"], now=NOW - 60)),
        _good("a change of keys", "read_request", read(ROTATION, fields["put"])),
        *(_refused(name, given) for name, given in refused.items()),
    ]
