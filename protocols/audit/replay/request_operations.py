"""What an operation of the vectors of signed requests is: from a case's input, as it stands in JSON, to its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from secagg.signatures import Identity

Case = dict[str, Any]


def _sign(given: Case) -> Case:
    from ...service import signing

    request = signing.Request(
        given["method"],
        given["authority"],
        given["path"],
        given["query"],
        signing.sha256(bytes.fromhex(given["body"])),
    )
    new = given["new_private"]
    return signing.sign(
        request,
        Identity(bytes.fromhex(given["private"])),
        created=given["created"],
        new=Identity(bytes.fromhex(new)) if new else None,
        random=lambda size: bytes.fromhex(given["nonce"]),
    )


def _read(given: Case) -> Case:
    from ...service import signing

    fields = {name.lower(): value for name, value in given["fields"].items()}
    signed = signing.read_signed(given["method"], given["authority"], given["path"], given["query"], fields)
    signed.verify()
    signed.check_time(given["now"])
    return {
        "created": signed.created,
        "nonce": signed.nonce.hex(),
        "key": signed.key.hex(),
        "new_key": signed.new_key.hex(),
        "digest": signed.request.digest.hex(),
    }


def _base(given: Case) -> str:
    from ...service import signing

    base = signing.signature_base(map(tuple, given["components"]), given["parameters"])
    return Identity(bytes.fromhex(given["private"])).sign(base).hex()


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "sign_request": _sign,
    "read_request": _read,
    "sign_components": _base,
}
