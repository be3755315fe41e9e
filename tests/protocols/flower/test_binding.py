"""What sessions are bound to, byte by byte as SPEC section 37 has it. Who changes it, changes ADAPTER_VERSION."""

import hashlib

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from protocols.flower.announcement import Announcement, pack_node_ids, query_announcement, query_vectors
from protocols.flower.content import content_digest
from protocols.flower.envelope import ADAPTER_VERSION
from protocols.inputs.vectors import IntegerVector
from protocols.statistics import Number, Plan, Query, asked


def hashed(label: str, *parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(len(p).to_bytes(4, "big") + p for p in (label.encode(), *parts))).digest()


def test_the_announcement_is_hashed_as_specified():
    content = bytes(range(32))
    announcement = Announcement(
        7, "train", pack_node_ids([5, 2**64 - 3]), (), content, "num-examples", (("loss", 0),), 0.5
    )
    written = bytes.fromhex(
        "98" "07" "a5747261696e" "c410" "0000000000000005" "fffffffffffffffd" "90" f"c420{content.hex()}"
        "ac6e756d2d6578616d706c6573" "91" "92" "a46c6f7373" "00" "cb3fe0000000000000"
    )  # fmt: skip
    assert msgspec.msgpack.encode(announcement) == written
    assert announcement.context == hashed("secagg/v1/flower-context", b"\x01", written)
    assert ADAPTER_VERSION == 1


def test_the_content_is_hashed_as_specified():
    array = Array(np.arange(2, dtype=np.float32))
    content = RecordDict({"config": ConfigRecord({"lr": 0.5}), "arrays": ArrayRecord({"w": array})})
    described = bytes.fromhex("93a7666c6f617433329102ad6e756d70792e6e646172726179")
    parts = [b"ArrayRecord", b"arrays", b"\0\0\0\1", b"w", described, array.data]
    parts += [b"ConfigRecord", b"config", b"\0\0\0\1", b"lr", bytes.fromhex("cb3fe0000000000000")]
    assert content_digest(content) == hashed("secagg/v1/flower-content", *parts)


def test_a_querys_session_is_bound_as_specified():
    query = Query("d", (Number("x", 0, 1),), (asked("count"),))
    announcement = query_announcement(7, [5, 2**64 - 3], (), query)
    written = bytes.fromhex(
        "98" "07" "b071756572792e73746174697374696373" "c410" "0000000000000005" "fffffffffffffffd" "90"
        f"c420{query.digest.hex()}" "a0" "90" "cb0000000000000000"
    )  # fmt: skip
    assert msgspec.msgpack.encode(announcement) == written
    first, *others = query_vectors(announcement, Plan(query))
    context = hashed("secagg/v1/flower-context", b"\x01", written)
    assert first == IntegerVector(f"query of {context.hex()}", 0, max_value=1)
    assert tuple(others) == Plan(query).vectors
