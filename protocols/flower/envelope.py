"""How the protocol's bytes travel in Flower's messages: in one ConfigRecord named `secagg` of each."""

from __future__ import annotations

from flwr.app import ConfigRecord, Error, Message, RecordDict

from secagg.errors import MalformedMessage, ParameterError

ADAPTER_VERSION = 1
RECORD = "secagg"
"""Name of our record in a message, and in a node's state."""
STATISTICS = "query.statistics"
"""Type of the messages of a query's session: a node's app has a handler for it."""
REFUSED = 1001
"""Code of the errors with which a node refuses; Flower's own are below 100."""


def record_of(**fields: bytes) -> ConfigRecord:
    """Return our record with these fields and the adapter's version."""
    return ConfigRecord({"version": ADAPTER_VERSION, **fields})


def field(content: RecordDict, name: str) -> bytes:
    """Return a field of our record.

    Raises:
        ParameterError: the other side has another version of the adapter.
        MalformedMessage: the record or the field is missing.
    """
    record = content.get(RECORD)
    if not isinstance(record, ConfigRecord):
        raise MalformedMessage(f"the message has no record {RECORD!r}")
    if record.get("version") != ADAPTER_VERSION:
        raise ParameterError(
            f"the other side speaks version {record.get('version')!r} of secagg's Flower adapter, this one "
            f"{ADAPTER_VERSION}: install the same version of secagg on both"
        )
    value = record.get(name)
    if not isinstance(value, bytes):
        raise MalformedMessage(f"the record {RECORD!r} has no {name!r}")
    return value


def refusal(message: Message, reason: str) -> Message:
    """Return the error with which a node answers; its text goes to the server in clear."""
    return Message(Error(REFUSED, f"secagg: {reason}"), reply_to=message)
