"""One defect each: the messages of a session's rounds that must be refused, and by whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from protocols.core import framing
from protocols.masking import wire
from protocols.masking.messages import (
    COMMITMENTS_BYTES,
    SEALED_SHARES_BYTES,
    SHARE_BYTES,
    AdvertiseKeys,
    MaskedInput,
    ShareKeys,
    ShareReceipt,
    SurvivorList,
    ToClient,
    ToServer,
    UnmaskingRequest,
    UnmaskingShares,
)

if TYPE_CHECKING:
    from protocols.audit.replay.recorded_sessions import Run

Defect = tuple[str, Any, int, bytes]
"""What is wrong, to whom it goes ("server" or a client's id), from which client (0: the server), the bytes.

It stands in for the honest message of that client, but for a second message, which follows it.
"""
SECOND = "a second message"


def change(data: bytes, **fields: Any) -> bytes:
    """The same message with other fields, framed anew."""
    message = wire.decode(data, ToClient | ToServer, max_bytes=1 << 20)
    return wire.encode(msgspec.structs.replace(message, **fields))


def read(data: bytes) -> Any:
    return wire.decode(data, ToClient | ToServer, max_bytes=1 << 20)


def frame_anew(body: bytes) -> bytes:
    return framing.MAGIC + b"\x01" + framing.digest(body) + body


def flip(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def defects(before: Run, phase: str, to_clients: dict[int, bytes], answers: dict[int, bytes]) -> Iterator[Defect]:
    """All defects of one round: of one message to a client, and of the last message to the server."""
    to, sender = next(iter(answers)), max(answers)
    down, up = to_clients[to], answers[sender]
    yield from _bytes_of(up, "server", sender)
    if phase != "advertise-keys":
        yield "of another session", to, 0, change(down, session_id=bytes(32))
        yield "of another session", "server", sender, change(up, session_id=bytes(32))
    if phase != "advertise-keys":
        yield "for another recipient", to, 0, change(down, recipient=to + 1)
    elif before.identities:  # an invitation gives a client its number
        yield "with another participant's number", to, 0, change(down, recipient=to + 1)
    else:
        yield "with a number that is nobody's", to, 0, change(down, recipient=before.config.num_clients + 1)
    if phase in ("advertise-keys", "share-keys", "masked-input"):
        early = UnmaskingRequest(before.server.session_id, to, 1, (), {})
        yield "at another time", to, 0, wire.encode(early)
    yield "in another's name", "server", sender, change(up, sender=to)
    yield SECOND, "server", to, _another(answers[to])
    of_phase: dict[str, Callable[..., Iterator[Defect]]] = {
        "advertise-keys": _keys,
        "share-keys": _shares,
        "accept-shares": _delivered,
        "masked-input": _inputs,
        "consistency-check": _confirmations,
        "unmasking": _unmasking,
    }
    yield from of_phase[phase](before, to, sender, down, up)


def _another(data: bytes) -> bytes:
    """A message that is as well-formed, and another one: the same again would be no offence."""
    message = read(data)
    match message:
        case AdvertiseKeys():
            return change(data, self_mask_commitment=bytes(32))
        case ShareKeys():
            return change(data, sealed=flip(message.sealed, 0))
        case UnmaskingShares():
            return change(data, shares=flip(message.shares, 0))
        case ShareReceipt(sender=sender):
            return change(data, complaints=(sender % 2 + 1,))
        case MaskedInput(vectors=vectors):
            return change(data, vectors=(flip(vectors[0], 0), *vectors[1:]))
        case _:
            return change(data, signature=flip(message.signature, 0))


def _bytes_of(data: bytes, to: Any, sender: int) -> Iterator[Defect]:
    body = data[framing.HEADER_BYTES :]
    yield "empty", to, sender, b""
    yield "another magic", to, sender, b"X" + data[1:]
    yield "another version", to, sender, data[:4] + b"\x02" + data[5:]
    yield "another digest", to, sender, flip(data, 5)
    yield "a bit of the body flipped", to, sender, flip(data)
    yield "the last byte missing", to, sender, frame_anew(body[:-1])
    yield "a byte too many", to, sender, frame_anew(body + b"\0")
    yield "the last field missing", to, sender, frame_anew(msgspec.msgpack.encode(msgspec.msgpack.decode(body)[:-1]))
    yield "a field too many", to, sender, frame_anew(msgspec.msgpack.encode([*msgspec.msgpack.decode(body), None]))
    tag = body[1] & 31
    at = 2 + tag + 34  # array head, string head, tag, head and bytes of the session: where the sender stands
    long_form = body[:at] + b"\xcc" + body[at:]
    yield "a number in more bytes than it needs", to, sender, frame_anew(long_form)
    yield "sender zero", to, sender, frame_anew(body[:at] + b"\0" + body[at + 1 :])


def _keys(before: Run, to: int, sender: int, down: bytes, up: bytes) -> Iterator[Defect]:
    if before.config.weighted and not before.config.threat_model.adversary.may_equivocate:  # in one file
        for name, data in _configurations(down):
            yield name, to, 0, data
    keys = read(up)
    low_order = (1).to_bytes(32, "little")
    yield "a cipher key of low order", "server", sender, change(up, cipher_public_key=low_order)
    yield "a mask key of low order", "server", sender, change(up, mask_public_key=bytes(32))
    yield "one key for both purposes", "server", sender, change(up, cipher_public_key=keys.mask_public_key)
    if keys.confirmation_public_key is None:
        yield "a superfluous confirmation key", "server", sender, change(up, confirmation_public_key=low_order)
    else:
        yield "no confirmation key", "server", sender, change(up, confirmation_public_key=None)
        yield "a confirmation key of low order", "server", sender, change(up, confirmation_public_key=low_order)
    if keys.signature is None:
        yield "a superfluous signature", "server", sender, change(up, signature=bytes(64))
    else:
        yield "no signature", "server", sender, change(up, signature=None)
        yield "another commitment than was signed", "server", sender, change(up, self_mask_commitment=bytes(32))


def _configurations(invitation: bytes) -> Iterator[tuple[str, bytes]]:
    """Invitations to rounds whose vectors are impossible."""
    tag, recipient, (model, vectors, *rest), nonce = msgspec.msgpack.decode(invitation[framing.HEADER_BYTES :])

    def altered(at: int, **fields: Any) -> bytes:
        changed = [*vectors[:at], vectors[at] | fields, *vectors[at + 1 :]]
        return frame_anew(msgspec.msgpack.encode([tag, recipient, [model, changed, *rest], nonce]))

    integers = next(at for at, vector in enumerate(vectors) if vector["type"] == "integers")
    yield "a vector without a name", altered(integers, name="")
    yield "two vectors of one name", altered(integers, name=vectors[integers - 1]["name"])
    for name in ("weight", "clipped"):
        yield f"a vector with the name {name}", altered(integers, name=name)
    yield "integers of no range", altered(integers, max_value=0, min_value=0)
    yield "integers from above zero", altered(integers, min_value=1)
    yield "integers whose sums do not fit", altered(integers, min_value=-(2**60))


def _shares(before: Run, to: int, sender: int, down: bytes, up: bytes) -> Iterator[Defect]:
    roster = read(down)
    own = next(entry for entry in roster.entries if entry.sender == to)
    others = [entry for entry in roster.entries if entry.sender != to]
    altered = [msgspec.structs.replace(own, mask_public_key=others[0].mask_public_key[::-1]), *others]
    yield "own keys changed", to, 0, change(down, entries=tuple(altered))
    yield "own keys missing", to, 0, change(down, entries=tuple(others))
    yield "a client twice", to, 0, change(down, entries=(*roster.entries, others[0]))
    yield "too few neighbours", to, 0, change(down, entries=(own,))
    first = others[0]
    same = msgspec.structs.replace(first, cipher_public_key=others[1].cipher_public_key)
    yield "two neighbours with one key", to, 0, change(down, entries=(own, same, *others[1:]))
    foreign = msgspec.structs.replace(first, session_id=bytes(32))
    yield "keys of another session", to, 0, change(down, entries=(own, foreign, *others[1:]))
    low = msgspec.structs.replace(first, cipher_public_key=bytes(32))
    yield "a neighbour's cipher key of low order", to, 0, change(down, entries=(own, low, *others[1:]))
    key, signature = first.confirmation_public_key, first.signature
    other = None if key else first.mask_public_key[::-1]
    changed = msgspec.structs.replace(first, confirmation_public_key=other)
    yield "a neighbour's confirmation key too many or too few", to, 0, change(down, entries=(own, changed, *others[1:]))
    changed = msgspec.structs.replace(first, signature=None if signature else bytes(64))
    yield "a neighbour's signature too many or too few", to, 0, change(down, entries=(own, changed, *others[1:]))
    if key is not None:
        changed = msgspec.structs.replace(first, confirmation_public_key=(1).to_bytes(32, "little"))
        yield "a neighbour's confirmation key of low order", to, 0, change(down, entries=(own, changed, *others[1:]))
    if first.signature is not None:
        swapped = msgspec.structs.replace(first, mask_public_key=first.mask_public_key[::-1])
        yield "a neighbour's key that it did not sign", to, 0, change(down, entries=(own, swapped, *others[1:]))
    if before.config.topology.complete:
        yield "a digest of other keys", to, 0, change(down, everyone=flip(roster.everyone))
    neighbours = before.server.graph.neighbours(to)
    far = [i for i in before.server._state.advertised if i != to and i not in neighbours]
    if far:
        stranger = before.server._state.advertised[far[0]]
        yield "a client that is no neighbour", to, 0, change(down, entries=(*roster.entries, stranger))
    sealed, commitments = read(up).sealed, read(up).commitments
    yield "another roster seen than was sent", "server", sender, change(up, seen=flip(read(up).seen))
    yield "no shares for a neighbour", "server", sender, change(up, sealed=sealed[SEALED_SHARES_BYTES:])
    yield "shares for one more", "server", sender, change(up, sealed=sealed + sealed[:SEALED_SHARES_BYTES])
    yield "shares a byte short", "server", sender, change(up, sealed=sealed[:-1])
    yield "no commitments for a neighbour", "server", sender, change(up, commitments=commitments[COMMITMENTS_BYTES:])
    more = commitments + commitments[:COMMITMENTS_BYTES]
    yield "commitments for one more", "server", sender, change(up, commitments=more)


def _delivered(before: Run, to: int, sender: int, down: bytes, up: bytes) -> Iterator[Defect]:
    """Of a share-delivery, and of the complaints that answer it."""
    given = read(down)
    absent = max(set(range(1, 9)) - set(given.dealers) - {to}, default=9)
    stranger = 9 if absent > 8 else to
    sealed, commitments = given.sealed[:SEALED_SHARES_BYTES], given.commitments[:COMMITMENTS_BYTES]

    def with_one_more(dealer: int) -> bytes:
        dealers = (*given.dealers, dealer)
        return change(down, dealers=dealers, sealed=given.sealed + sealed, commitments=given.commitments + commitments)

    yield "shares from a stranger", to, 0, with_one_more(stranger)
    yield "shares from one dealer twice", to, 0, with_one_more(given.dealers[0])
    if before.config.topology.threshold > 2:
        few = change(down, dealers=given.dealers[:1], sealed=sealed, commitments=commitments)
    else:
        few = change(down, dealers=(), sealed=b"", commitments=b"")
    yield "shares from too few", to, 0, few
    uncommitted = change(down, commitments=given.commitments[COMMITMENTS_BYTES:])
    yield "no commitments to a neighbour's shares", to, 0, uncommitted
    yield "a neighbour's shares a byte short", to, 0, change(down, sealed=given.sealed[:-1])
    dealer = next(iter(_peers(before, sender)))
    yield "a complaint twice", "server", sender, change(up, complaints=(dealer, dealer))
    yield "a complaint of itself", "server", sender, change(up, complaints=(sender,))


def _inputs(before: Run, to: int, sender: int, down: bytes, up: bytes) -> Iterator[Defect]:
    if before.config.threat_model.adversary.needs_identities:
        peers = read(down).peers
        yield "a peer twice", to, 0, change(down, peers=(*peers, peers[0]))
        yield "a peer whose shares did not come", to, 0, change(down, peers=(*peers, 9))
        yield "too few peers", to, 0, change(down, peers=peers[:1])
        yield "a complaint after the receipt", "server", sender, change(up, complaints=(to,))
    else:
        yield from _delivered(before, to, sender, down, up)
    vectors = tuple(map(bytes, read(up).vectors))
    yield "a vector missing", "server", sender, change(up, vectors=vectors[:-1])
    yield "a vector too many", "server", sender, change(up, vectors=(*vectors, b""))
    yield "a vector a byte short", "server", sender, change(up, vectors=(vectors[0][:-1], *vectors[1:]))
    codec = before.config.codecs[-1]
    if codec.length * codec.modulus_bits % 8:
        padded = vectors[-1][:-1] + bytes([vectors[-1][-1] | 0x80])
        yield "a padding bit set", "server", sender, change(up, vectors=(*vectors[:-1], padded))


def _peers(before: Run, client: int) -> list[int]:
    """Neighbours whose shares a client was sent."""
    graph = before.server.graph
    return sorted(graph.neighbours(client) & before.server._state.shared)


def _confirmations(before: Run, to: int, sender: int, down: bytes, up: bytes) -> Iterator[Defect]:
    listed = read(down)
    survivors, shared = listed.survivors, listed.shared
    rest = tuple(i for i in survivors if i != to)
    yield "itself no survivor", to, 0, change(down, survivors=rest)
    yield "a survivor twice", to, 0, change(down, survivors=(*survivors, rest[0]))
    yield "a survivor that shared no keys", to, 0, change(down, shared=tuple(i for i in shared if i != rest[0]))
    dropped = next(i for i in _peers(before, to) if i in survivors)
    hidden = tuple(i for i in shared if i != dropped), tuple(i for i in survivors if i != dropped)
    yield "a neighbour whose shares came left out", to, 0, change(down, shared=hidden[0], survivors=hidden[1])
    yield "too few survivors", to, 0, change(down, survivors=(to,))
    yield "a client that was not invited", to, 0, change(down, shared=(*shared, 9))
    request = UnmaskingRequest(before.server.session_id, to, len(survivors), (), {})
    yield "a request before the list", to, 0, wire.encode(request)
    yield "a signature of something else", "server", sender, change(up, signature=flip(read(up).signature, 0))


def _unmasking(before: Run, to: int, sender: int, down: bytes, up: bytes) -> Iterator[Defect]:
    request = read(down)
    surviving = [i for i in _peers(before, to) if i not in request.dropped]
    if not request.confirmations:
        listed = SurvivorList(
            before.server.session_id, to, tuple(sorted({to, *surviving})), tuple(sorted({to, *surviving}))
        )
        yield "a survivor list in a curious session", to, 0, wire.encode(listed)
    yield "itself dropped", to, 0, change(down, dropped=(*request.dropped, to))
    counted = before.config.topology.complete or bool(request.confirmations)  # a client can tell who must be there
    if counted:
        yield "a survivor dropped", to, 0, change(down, dropped=(*request.dropped, surviving[0]))
    yield "more survivors than there can be", to, 0, change(down, num_survivors=9)
    yield "no survivors", to, 0, change(down, num_survivors=0)
    yield "a dropped client that is no neighbour", to, 0, change(down, dropped=(*request.dropped, 9))
    if request.dropped:
        yield "a dropped client twice", to, 0, change(down, dropped=(*request.dropped, request.dropped[0]))
        if counted:
            yield "a dropped client kept", to, 0, change(down, dropped=request.dropped[1:])
    if request.confirmations:
        signer = max(request.confirmations)
        spoilt = request.confirmations | {signer: flip(request.confirmations[signer], 0)}
        yield "a confirmation of something else", to, 0, change(down, confirmations=spoilt)
        yield "too few confirmations", to, 0, change(down, confirmations={signer: request.confirmations[signer]})
        stranger = request.confirmations | {9: request.confirmations[signer]}
        yield "a stranger's confirmation", to, 0, change(down, confirmations=stranger)
        body = down[framing.HEADER_BYTES :]
        head = len(msgspec.msgpack.encode(msgspec.msgpack.decode(body)[:-1]))
        first_pair = body[head + 1 : head + 1 + 1 + 2 + 64]
        twice = body[:head] + bytes([body[head] + 1]) + first_pair + body[head + 1 :]
        yield "a confirmation twice", to, 0, frame_anew(twice)
    shares = read(up).shares
    yield "a share too many", "server", sender, change(up, shares=shares + shares[:SHARE_BYTES])
    yield "a share missing", "server", sender, change(up, shares=shares[SHARE_BYTES:])
    yield "a share a byte short", "server", sender, change(up, shares=shares[:-1])
