"""SPEC section 8: what messages are as bytes, and what is no message."""

from typing import Any

from xxhash import xxh3_128_digest

from . import messagepack
from .refusal import require

MAGIC, VERSION, DIGEST_BYTES = b"SAGG", 1, 16
HEADER_BYTES = len(MAGIC) + 1 + DIGEST_BYTES
MAX_INVITATION_BYTES, MAX_CLIENTS = 65536, 10**6


def _is(kind: type, test: Any = lambda value: True) -> Any:
    def check(value: Any) -> None:
        require(type(value) is kind and test(value), "MalformedMessage")

    return check


def _optional(check: Any) -> Any:
    return lambda value: value is None or check(value)


def _each(check: Any, test: Any = lambda value: True) -> Any:
    def check_all(value: Any) -> None:
        require(type(value) is list and test(value), "MalformedMessage")
        for item in value:
            check(item)

    return check_all


def _by_id(check: Any) -> Any:
    def check_all(value: Any) -> None:
        require(type(value) is dict, "MalformedMessage")
        for key, item in value.items():
            _id(key)
            check(item)

    return check_all


def _bytes(length: int) -> Any:
    return _is(bytes, lambda value: len(value) == length)


def _message(value: Any) -> None:
    require(type(value) is list and value and value[0] == "advertise-keys", "MalformedMessage")
    check_fields(value)


_id = _is(int, lambda value: 1 <= value <= MAX_CLIENTS)
_count = _is(int, lambda value: 0 <= value <= MAX_CLIENTS)
_key, _signature, _records = _bytes(32), _bytes(64), _is(bytes)

TO_CLIENT = {
    "invitation": (("recipient", _id), ("config", _is(list)), ("nonce", _key)),
    "roster": (("session_id", _key), ("recipient", _id), ("everyone", _key), ("entries", _each(_message))),
    "share-delivery": (
        ("session_id", _key),
        ("recipient", _id),
        ("dealers", _each(_id)),
        ("sealed", _records),
        ("commitments", _records),
    ),
    "input-request": (("session_id", _key), ("recipient", _id), ("peers", _each(_id))),
    "survivor-list": (("session_id", _key), ("recipient", _id), ("shared", _each(_id)), ("survivors", _each(_id))),
    "unmasking-request": (
        ("session_id", _key),
        ("recipient", _id),
        ("num_survivors", _count),
        ("dropped", _each(_id)),
        ("confirmations", _by_id(_signature)),
    ),
}
TO_SERVER = {
    "advertise-keys": (
        ("session_id", _key),
        ("sender", _id),
        ("cipher_public_key", _key),
        ("mask_public_key", _key),
        ("self_mask_commitment", _key),
        ("confirmation_public_key", _optional(_key)),
        ("signature", _optional(_signature)),
    ),
    "share-keys": (
        ("session_id", _key),
        ("sender", _id),
        ("seen", _key),
        ("sealed", _records),
        ("commitments", _records),
    ),
    "share-receipt": (("session_id", _key), ("sender", _id), ("complaints", _each(_id))),
    "masked-input": (
        ("session_id", _key),
        ("sender", _id),
        ("vectors", _each(_is(bytes), lambda value: 1 <= len(value) <= 66)),
        ("complaints", _each(_id)),
    ),
    "confirmation": (("session_id", _key), ("sender", _id), ("signature", _signature)),
    "unmasking-shares": (("session_id", _key), ("sender", _id), ("shares", _records)),
}
MESSAGES = TO_CLIENT | TO_SERVER


def check_fields(message: list[Any]) -> None:
    fields = MESSAGES[message[0]]
    require(len(message) == 1 + len(fields), "MalformedMessage")
    for (_, check), value in zip(fields, message[1:], strict=True):
        check(value)


def records(together: bytes, size: int) -> list[bytes]:
    """What lies side by side, cut."""
    return [together[at : at + size] for at in range(0, len(together), size)]


def body(tag: str, **values: Any) -> bytes:
    return messagepack.encode([tag, *(values[name] for name, _ in MESSAGES[tag])])


def encode(tag: str, **values: Any) -> bytes:
    content = body(tag, **values)
    return MAGIC + bytes([VERSION]) + xxh3_128_digest(content) + content


def decode(data: bytes, among: dict[str, Any], max_bytes: int) -> tuple[str, dict[str, Any]]:
    require(HEADER_BYTES <= len(data) <= max_bytes, "MalformedMessage")
    require(data[:4] == MAGIC and data[4] == VERSION, "MalformedMessage")
    content = data[HEADER_BYTES:]
    require(data[5:HEADER_BYTES] == xxh3_128_digest(content), "MalformedMessage")
    message = messagepack.decode(content)
    require(type(message) is list and message, "MalformedMessage")
    require(type(message[0]) is str and message[0] in among, "MalformedMessage")
    check_fields(message)
    require(messagepack.encode(message) == content, "MalformedMessage")
    return message[0], dict(zip([name for name, _ in MESSAGES[message[0]]], message[1:], strict=True))
