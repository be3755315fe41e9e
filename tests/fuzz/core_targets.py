"""The decoders of `secagg`, and those of `protocols` but for files and Flower."""

from __future__ import annotations

import hashlib
import struct
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from protocols.core import dumps, framing
from protocols.masking import wire
from protocols.masking.client import Client
from protocols.masking.messages import VERSION, ToClient, ToServer
from protocols.masking.server import Server
from protocols.paillier.aggregator import Aggregator
from protocols.paillier.contributor import Contributor
from protocols.paillier.member import CommitteeMember
from protocols.paillier.messages import (
    Commitment,
    CommitmentList,
    Contribution,
    Endorsement,
    Invitation,
    Opening,
    OpenRequest,
    RevealRequest,
)
from protocols.paillier.messages import decode as decode_paillier
from secagg import aead, key_agreement, residues, shamir, signatures
from secagg.encoding import FixedPoint, Integers, Rounding
from secagg.errors import EncodingError, InconsistentShares, ParameterError, SecAggError
from secagg.paillier import (
    EncryptedVector,
    Lanes,
    NoisePool,
    PrivateKey,
    PublicKey,
    ShortExponents,
    check_knowledge,
    encrypt,
)
from secagg.paillier.vectors import checked_ciphertexts
from tests.secagg.paillier.fixed_keys import private_key

MAX_BYTES = 1 << 16


def framed(body: bytes) -> bytes:
    return framing.MAGIC + bytes([VERSION]) + framing.digest(body) + body


def dumped(body: bytes) -> bytes:
    return dumps.MAGIC + bytes([dumps.DUMP_VERSION]) + hashlib.sha256(body).digest() + body


def message_bytes(data: bytes) -> None:
    wire.decode(data, ToClient | ToServer, max_bytes=MAX_BYTES)


def message_body(data: bytes) -> None:
    message: Any = wire.decode(framed(data), ToClient | ToServer, max_bytes=MAX_BYTES)
    if wire.encode(message) != framed(data):
        raise ValueError("a message that can be written in two ways was accepted")


def masked_session() -> Any:
    """A session, with client 1's and the server's dump before each of its phases."""
    from tests.fuzz.seeds import masked_session

    return masked_session()


def client_answer(data: bytes) -> None:
    """The first byte chooses the phase in which the rest, framed, reaches client 1."""
    session, exchanges = masked_session()
    client = _load_client(exchanges[data[0] % len(exchanges) if data else 0].client)
    client.respond(framed(data[1:]), session.given[1])


def _load_client(dump: bytes) -> Client:
    return Client.load(dump, **masked_session()[0].credentials("client-1"))


def server_receive(data: bytes) -> None:
    """The first byte chooses the phase in which the rest, framed, reaches the server, from client 3."""
    _, exchanges = masked_session()
    server = Server.load(exchanges[data[0] % len(exchanges) if data else 0].server, threads=1)
    server.receive("client-3", framed(data[1:]))


def client_dump(data: bytes) -> None:
    _load_client(dumped(data))


def server_dump(data: bytes) -> None:
    Server.load(dumped(data), threads=1)


def dump_bytes(data: bytes) -> None:
    Client.load(data)


def unpack(data: bytes) -> None:
    bits, length, packed = _two(data)
    lanes = residues.unpack(packed, bits % 70, length % 4096)
    if residues.pack(lanes, bits % 70) != packed:
        raise ValueError("residues can be packed in two ways")


def decode_sums(data: bytes) -> None:
    bits, summands, raw = _two(data)
    codec: Any = Integers(1 + bits % 1000, 1 + summands % 1000)
    if bits & 0x8000:
        codec = FixedPoint(1.0, 2 + bits % 51, 1 + summands % 1000, rounding=Rounding.NEAREST)
    lane = residues.lane_dtype(codec.modulus_bits)
    codec.decode_sum(np.frombuffer(raw[: len(raw) // 8 * 8], dtype=lane), num_summands=summands % 1001)


def shares(data: bytes) -> None:
    """A byte of threshold, one of the secret's length, then shares: an index of four bytes and what is left."""
    threshold, num_bytes, rest = _two(data)
    size = shamir.share_bytes(num_bytes % 33)
    table = {}
    for at in range(0, min(len(rest), 64 * (size + 4)), size + 4):
        part = rest[at : at + size + 4]
        table[int.from_bytes(part[:4], "little")] = part[4:]
    for reconstruct in (shamir.reconstruct, shamir.reconstruct_robust):
        try:
            reconstruct(table, threshold=threshold % 16, num_bytes=num_bytes % 33)
        except SecAggError:
            continue
    held = [share for share in table.values() if len(share) == size]
    shares = np.frombuffer(b"".join(held), np.uint8).reshape(1, len(held), size)
    some = dict(zip(table, held, strict=False))
    with suppress(ParameterError):
        (secret,) = shamir.reconstruct_many([list(some)], shares, num_bytes=num_bytes % 33)
        with suppress(EncodingError, InconsistentShares):
            assert secret == shamir.reconstruct(some, threshold=len(some), num_bytes=num_bytes % 33)
            return
        assert secret is None


def sealed(data: bytes) -> None:
    aead.open(bytes(32), data, associated_data=b"fuzz")


def signature(data: bytes) -> None:
    signatures.verify(data[:32], b"fuzz", data[32:])


def public_key(data: bytes) -> None:
    key_agreement.KeyPair(bytes([7]) * 32).agree(data)


PAILLIER_KINDS = (
    Commitment,
    CommitmentList,
    Contribution,
    Endorsement,
    Invitation,
    Opening,
    OpenRequest,
    RevealRequest,
)


def paillier_message(data: bytes) -> None:
    decode_paillier(framed(data[1:]), PAILLIER_KINDS[data[0] % len(PAILLIER_KINDS) if data else 0], max_bytes=MAX_BYTES)


def paillier_ciphertexts(data: bytes) -> None:
    key = private_key().public_key
    bits, length, raw = _two(data)
    lanes = Lanes(key.key_bits, 2 + bits % 63, 1 + length % 64)
    vector = EncryptedVector(key.fingerprint, 2 + bits % 63, 1 + length % 64, 1, raw)
    checked_ciphertexts(vector, key, lanes)


@cache
def known_vector() -> tuple[EncryptedVector, Lanes]:
    key = private_key().public_key
    lanes = Lanes(key.key_bits, 20, 3)
    return encrypt(np.arange(3, dtype=np.uint32), lanes, NoisePool(ShortExponents(key))), lanes


def paillier_proof(data: bytes) -> None:
    vector, lanes = known_vector()
    check_knowledge(vector, private_key().public_key, lanes, data, context=b"fuzz")


def paillier_plaintexts(data: bytes) -> None:
    bits, length, raw = _two(data)
    key = private_key().public_key
    lanes = Lanes(key.key_bits, 2 + bits % 63, 1 + length % 64)
    lanes.unpack([int.from_bytes(raw[at : at + 32], "big") % key.n for at in range(0, len(raw), 32)], key.n)


@cache
def paillier_run() -> Any:
    from tests.fuzz.seeds import vector
    from tests.vectors.paillier import Run

    return Run(vector("paillier-round"))


def paillier_dump(data: bytes) -> None:
    """The first byte chooses the role."""
    run, dump = paillier_run(), dumped(data[1:])
    match data[0] % 3 if data else 0:
        case 0:
            Contributor.load(dump, run.parameters, run.contributors[1]._identity)
        case 1:
            CommitteeMember.load(dump, run.parameters, run.shares[0], run.members[1]._identity)
        case _:
            Aggregator.load(dump, run.parameters)


def public_key_json(data: bytes) -> None:
    PublicKey.from_jwk(data.decode("utf-8", "replace"), _min_bits=256)


def private_key_json(data: bytes) -> None:
    PrivateKey.from_jwk(data.decode("utf-8", "replace"), _min_bits=256)


def _two(data: bytes) -> tuple[int, int, bytes]:
    first, second = struct.unpack("<HH", data[:4].ljust(4, b"\0"))
    return first, second, data[4:]


TARGETS = (
    message_bytes,
    message_body,
    client_answer,
    server_receive,
    client_dump,
    server_dump,
    dump_bytes,
    unpack,
    decode_sums,
    shares,
    sealed,
    signature,
    public_key,
    paillier_message,
    paillier_dump,
    paillier_ciphertexts,
    paillier_plaintexts,
    paillier_proof,
    public_key_json,
    private_key_json,
)
WEIGHTS = {"client_answer": 0.15, "server_receive": 0.15, "client_dump": 0.5, "server_dump": 0.2, "public_key": 0.5}
WEIGHTS |= {"signature": 0.5, "shares": 0.3, "public_key_json": 0.3, "private_key_json": 0.3}
