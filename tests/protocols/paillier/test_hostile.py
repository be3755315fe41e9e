"""What hostile or careless hands put to the doors of a Paillier round: refused by name, and nothing else happens."""

from __future__ import annotations

import copy
import os
import pickle
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from protocols.core import dumps
from protocols.core.machine import Inputs
from protocols.paillier.aggregator import Aggregator
from protocols.paillier.contributor import Contributor
from protocols.paillier.key_use import KeyUse
from protocols.paillier.member import CommitteeMember
from protocols.paillier.messages import CommitmentList, OpenRequest, encode
from protocols.paillier.state import AggregatorState, EncryptedUpdate, Phase
from secagg.encoding import Rounding
from secagg.errors import (
    AuthenticationFailed,
    ContradictoryRequest,
    EncodingError,
    MalformedMessage,
    ParameterError,
    PeerError,
    StateError,
    UnexpectedMessage,
)
from secagg.paillier import encrypt_and_prove
from tests.secagg.paillier.fixed_keys import dealt, noise

from .harness import Session, identity, make_parameters, update

STRAYS: dict[str, Callable[[Any], Any]] = {
    "of another session": lambda request: msgspec.structs.replace(request, session=bytes(32)),
    "with a stranger": lambda request: msgspec.structs.replace(
        request, commitments=request.commitments | {77: bytes(32)}
    ),
    "with too few": lambda request: msgspec.structs.replace(request, commitments={1: request.commitments[1]}),
}


@pytest.mark.parametrize("how", STRAYS)
@pytest.mark.parametrize("in_bytes", [False, True])
def test_a_list_that_strays_changes_nothing(how: str, in_bytes: bool) -> None:
    session = Session(make_parameters(min_contributors=3))
    listed = session.commit()
    member = session.members[1]
    bad: Any = STRAYS[how](listed)
    with pytest.raises(UnexpectedMessage):
        member.respond(encode(bad)) if in_bytes else member.endorse(bad)
    assert member.phase is Phase.NEW
    request = session.endorse(listed)
    contributor = session.contributors[1]
    bad = STRAYS[how](request)
    with pytest.raises(UnexpectedMessage):
        contributor.respond(encode(bad)) if in_bytes else contributor.reveal(bad)
    assert contributor.phase is Phase.COMMITTED
    session.reveal(request)
    session.check(session.open(session.ask()), {1, 2, 3, 4, 5})


def test_contributors_are_asked_for_in_their_order() -> None:
    session = Session(make_parameters())
    session.reveal(session.endorse(session.commit()))
    request = session.ask()
    forged = session.forged(request.contributors[::-1])
    assert forged.sum_digest == request.sum_digest
    with pytest.raises(ContradictoryRequest, match="not exactly the"):
        session.members[1].open(forged)


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy, pickle.dumps])
def test_roles_are_not_copied(make_copy: Callable[[Any], Any]) -> None:
    session = Session(make_parameters())
    session.endorse(session.commit())
    for role in (session.members[1], session.contributors[1]):
        with pytest.raises(StateError, match="dump"):
            make_copy(role)


def test_a_forked_process_says_nothing() -> None:
    session = Session(make_parameters())
    listed = session.commit()
    member = session.members[1]
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            member.endorse(listed)
            os.write(writer, b"endorsed")
        except StateError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    said = os.read(reader, 1000).decode()
    os.close(reader)
    assert "uses a copy of it" in said
    member.endorse(listed)


INTEGERS = ("length", "min_contributors", "corrupt_members", "corrupt_contributors")


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        (name, bad)
        for name in INTEGERS
        for bad in (2.0, "2", True, None, np.float64(3), np.array([3]), [3])
        if not (name.startswith("corrupt_") and bad is None)  # which stands for as many as may be
    ],
)
def test_parameters_that_are_no_integers_are_refused_by_name(name: str, bad: object) -> None:
    parameters = make_parameters(min_contributors=3)
    with pytest.raises(ParameterError, match=name):
        replace(parameters, **{name: bad})


def test_integers_of_numpy_are_integers() -> None:
    plain = make_parameters(min_contributors=3)
    numpys = {name: np.int64(getattr(plain, name)) for name in INTEGERS}
    assert replace(plain, **numpys).session == plain.session  # type: ignore[arg-type]
    assert all(type(getattr(replace(plain, **numpys), name)) is int for name in INTEGERS)  # type: ignore[arg-type]
    session = Session(replace(plain, **numpys))  # type: ignore[arg-type]
    session.reveal(session.endorse(session.commit()))
    session.check(session.open(session.ask()), {1, 2, 3, 4, 5})


@pytest.mark.parametrize("nonce", ["x" * 32, None, 32, [0] * 32])
def test_nonces_are_bytes(nonce: object) -> None:
    with pytest.raises(ParameterError, match="nonce"):
        replace(make_parameters(), nonce=nonce)  # type: ignore[arg-type]


def test_a_nonce_that_can_still_change_is_copied() -> None:
    nonce = bytearray(32)
    parameters = replace(make_parameters(), nonce=nonce)  # type: ignore[arg-type]
    assert type(parameters.nonce) is bytes
    nonce[0] = 1
    assert parameters.session == make_parameters().session


@pytest.mark.parametrize("field", ["key", "codec", "contributors", "members"])
def test_parts_of_another_kind_are_refused_by_name(field: str) -> None:
    with pytest.raises(ParameterError, match=field):
        replace(make_parameters(), **{field: "something else"})  # type: ignore[arg-type]


def test_how_updates_are_rounded_is_agreed_on() -> None:
    parameters = make_parameters()
    other = replace(parameters, codec=replace(parameters.codec, rounding=Rounding.STOCHASTIC))
    assert other.session != parameters.session


NO_BYTES: list[Any] = ["text", None, 5, ["list"], np.zeros(40)]


@pytest.mark.parametrize("data", NO_BYTES, ids=lambda data: type(data).__name__)
def test_what_are_no_bytes_is_malformed(data: Any) -> None:
    session = Session(make_parameters())
    session.endorse(session.commit())
    with pytest.raises(MalformedMessage):
        session.contributors[1].respond(data)
    with pytest.raises(MalformedMessage):
        session.members[1].respond(data)
    assert {0} == session.members[1].respond_many([data]).keys()
    outcome = session.aggregator.machine.receive_many({"contributor-1": data})["contributor-1"]
    assert isinstance(outcome, MalformedMessage)
    for load in (
        lambda: Aggregator.load(data, session.parameters),
        lambda: Contributor.load(data, session.parameters, identity(1)),
        lambda: CommitteeMember.load(data, session.parameters, dealt(4, 5)[1][0], identity(1001)),
    ):
        with pytest.raises(StateError):
            load()


@pytest.mark.parametrize("view", [bytearray, memoryview, lambda data: memoryview(np.frombuffer(data, np.uint8))])
def test_views_are_bytes(view: Callable[[bytes], Any]) -> None:
    session = Session(make_parameters())
    listed = session.commit()
    assert session.members[1].respond(view(encode(listed))) == session.members[1].outgoing
    request = session.endorse(listed, {2, 3, 4, 5})
    answer = session.contributors[1].respond(view(encode(request)))
    session.aggregator.machine.receive("contributor-1", view(answer))
    assert session.members[2].respond_many([view(answer)]) == {}
    Aggregator.load(view(session.aggregator.dump()), session.parameters).close()
    CommitteeMember.load(view(session.members[2].dump()), session.parameters, dealt(4, 5)[1][1], identity(1002)).close()


def test_inputs_of_other_names_are_refused_by_name() -> None:
    session = Session(make_parameters())
    invitation = next(iter(session.aggregator.machine.outgoing().values()))
    for inputs in ({"other": update(1)}, {"update": update(1), 5: update(1)}, {}):
        with pytest.raises(EncodingError, match="update"):
            session.contributors[1].respond(invitation, inputs)  # type: ignore[arg-type]
    assert session.contributors[1].phase is Phase.NEW


@pytest.mark.parametrize("weight", [2.0, True, "2", None, -1, 10, np.float64(2)])
def test_weights_are_whole_numbers(weight: Any) -> None:
    session = Session(make_parameters(max_weight=9))
    invitation = next(iter(session.aggregator.machine.outgoing().values()))
    with pytest.raises(EncodingError, match="weight"):
        session.contributors[1].respond(invitation, Inputs({"update": update(1)}, weight))
    session.contributors[1].respond(invitation, Inputs({"update": update(1)}, np.int64(2)))  # type: ignore[arg-type]


def test_hidden_values_are_not_encrypted() -> None:
    session = Session(make_parameters())
    invitation = next(iter(session.aggregator.machine.outgoing().values()))
    masked = np.ma.masked_array(update(1), mask=[True] + [False] * (len(update(1)) - 1))
    for values in (masked, update(1).astype(object), [float(value) for value in update(1)], update(1)[None]):
        with pytest.raises(EncodingError):
            session.contributors[1].respond(invitation, {"update": values})  # type: ignore[dict-item]


@pytest.mark.parametrize("outcome", [(b"123", 5, ()), (bytes(8), 5, ()), (bytes(8 * 13), 5, ("a stranger",))])
def test_results_that_do_not_fit_are_no_dump(outcome: Any) -> None:
    session = Session(make_parameters())
    session.reveal(session.endorse(session.commit()))
    session.open(session.ask())
    state = dumps.decode_state(session.aggregator.dump(), AggregatorState)
    bent = dumps.encode_state(msgspec.structs.replace(state, outcome=outcome))
    with pytest.raises(StateError):
        Aggregator.load(bent, session.parameters)


def test_dumps_that_name_strangers_are_no_dump() -> None:
    session = Session(make_parameters())
    session.reveal(session.endorse(session.commit()), {2, 3})
    state = dumps.decode_state(session.aggregator.dump(), AggregatorState)
    for change in (
        {"accepted": frozenset({2, 77})},
        {"endorsements": {77: bytes(64)}},
        {"commitments": {77: bytes(32)}},
    ):
        with pytest.raises(StateError):
            Aggregator.load(dumps.encode_state(msgspec.structs.replace(state, **change)), session.parameters)


def test_messages_in_the_wrong_direction_change_nothing() -> None:
    session = Session(make_parameters())
    listed = session.commit()
    request = session.endorse(listed)
    shown = session.contributors[2].reveal(request)
    contributor, member = session.contributors[1], session.members[1]
    to_open = OpenRequest(session.parameters.session, [1, 2], bytes(32))
    strays: list[tuple[Any, Any]] = [(contributor, listed), (contributor, to_open), (member, request), (member, listed)]
    for party, message in strays:
        before = party.phase
        with pytest.raises(UnexpectedMessage):
            party.respond(encode(message))
        assert party.phase is before
    assert isinstance(session.members[1].respond(encode(shown)), bytes)
    with pytest.raises(UnexpectedMessage):
        session.contributors[1].respond(encode(shown))


@pytest.mark.parametrize("workers", [1, 3])
def test_a_batch_names_every_liar_and_keeps_the_rest(workers: int) -> None:
    session = Session(make_parameters())
    request = session.endorse(session.commit())
    shown = {i: contributor.reveal(request) for i, contributor in session.contributors.items()}
    bent = {i: msgspec.structs.replace(shown[i], signature=bytes(64)) for i in (2, 4)}
    share = dealt(4, 5)[1][0]
    listed = CommitmentList(request.session, request.commitments)
    member = CommitteeMember(session.parameters, share, identity(1001), workers=workers)
    member.endorse(listed)
    refused = member.receive_batch(shown | bent)
    assert refused.keys() == {2, 4}
    assert all(not error.culprits for error in refused.values())  # nobody has signed that
    assert member.receive_batch({i: shown[i] for i in (2, 4)}) == {}
    assert member.receive_batch(shown).keys() == set(shown)  # second ones, all of them
    for i, contribution in shown.items():
        session.deliver(i, contribution)
    to_open = session.ask()
    opened = member.open(to_open)
    assert (opened.sum_digest, opened.roots) == (to_open.sum_digest, session.members[1].open(to_open).roots)
    member.close()


def test_a_claim_is_durable_whoever_made_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who made it may have died before the folder's entry was on the disk."""
    memory, folders = KeyUse(tmp_path / "1.json"), list[bool]()
    memory.claim(bytes(32), 1, bytes(32))
    monkeypatch.setattr(os, "fsync", lambda descriptor: folders.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    memory.claim(bytes(32), 1, bytes(32))
    assert folders == [False, True]


def test_members_blame_an_author_only_for_what_it_has_signed() -> None:
    """The aggregator relays: what it may have bent itself is not its author's fault."""
    session = Session(make_parameters())
    parameters = session.parameters
    proven = encrypt_and_prove(
        parameters.codec.encode(np.zeros(parameters.length)).residues, parameters.lanes, noise(), context=b"another"
    )
    for i in (1, 3, 4):
        session.aggregator.receive(i, session.contributors[i].commit(update(i), noise()))
    session.aggregator.receive(2, session.contributors[2].commit_to(EncryptedUpdate(*proven)))
    request = session.endorse(session.aggregator.close_round())
    guilty, innocent = session.contributors[2].reveal(request), session.contributors[1].reveal(request)
    for bent in (
        msgspec.structs.replace(innocent, proof=bytes(96)),
        msgspec.structs.replace(innocent, num_addends=2),
        msgspec.structs.replace(innocent, ciphertexts=guilty.ciphertexts, proof=guilty.proof),
        msgspec.structs.replace(innocent, signature=guilty.signature),
    ):
        with pytest.raises(PeerError) as caught:
            session.members[1].receive(1, bent)
        assert not caught.value.culprits
        assert session.members[1].respond_many([encode(bent)])[1].culprits == frozenset()
    with pytest.raises(AuthenticationFailed) as caught:
        session.members[1].receive(2, guilty)
    assert caught.value.culprits == {2}
    session.members[1].receive(1, innocent)
