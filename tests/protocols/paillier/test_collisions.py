"""Frames that differ under one digest: of two contributions one is added, by the aggregator and by members alike."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.core.machine import Receipt
from protocols.paillier.aggregator import Aggregator
from protocols.paillier.messages import encode
from secagg.errors import AuthenticationFailed, MalformedMessage, UnexpectedMessage
from tests.collisions import twin_frame
from tests.secagg.paillier.fixed_keys import noise

from .harness import ByNumber, Session, make_parameters

LENGTH, CONTRIBUTORS = 200, 40
"""So many that contributions, and lists of commitments, are long enough to have twins."""


@pytest.mark.parametrize("twin_first", [False, True])
def test_a_twin_of_a_contribution_is_added_by_nobody(twin_first):
    values = {i: np.full(LENGTH, i / 8) for i in (1, 2, 3)}
    session = Session(make_parameters(3, length=LENGTH))
    names = session.parameters.contributors
    for i, contributor in session.contributors.items():
        session.aggregator.receive(i, contributor.commit(values[i], noise()))
    request = session.endorse(session.aggregator.close_round())
    for i, contributor in session.contributors.items():
        true = encode(contributor.reveal(request))
        twin = twin_frame(true)
        aggregator = session.aggregator.machine
        assert aggregator.receive(names.name(i), true) is Receipt.ACCEPTED
        before = aggregator.dump()
        assert aggregator.receive(names.name(i), twin) is Receipt.DUPLICATE
        assert aggregator.dump() == before
        session.aggregator = ByNumber(Aggregator.load(before, session.parameters))
        assert session.aggregator.machine.receive(names.name(i), twin) is Receipt.DUPLICATE
        for member in session.members.values():
            if twin_first:
                with pytest.raises(AuthenticationFailed, match="committed"):
                    member.respond(twin)
                assert list(member.respond_many([twin, true])) == [i]
            assert member.respond(true) == member.respond(twin) == b""
    result = session.open(session.ask())
    expected = sum(session.parameters.codec.quantise(each)[0] for each in values.values())
    assert (result.levels == expected).all()


def test_who_sends_the_twin_first_has_not_sent_what_it_committed_to():
    session = Session(make_parameters(3, length=LENGTH))
    names = session.parameters.contributors
    for i, contributor in session.contributors.items():
        session.aggregator.receive(i, contributor.commit(np.zeros(LENGTH), noise()))
    request = session.endorse(session.aggregator.close_round())
    true = encode(session.contributors[1].reveal(request))
    aggregator = session.aggregator.machine
    with pytest.raises(AuthenticationFailed):
        aggregator.receive(names.name(1), twin_frame(true))
    assert aggregator.excluded.keys() == {names.name(1)}


def test_a_twin_of_a_request_gets_the_answer_to_that_request():
    session = Session(make_parameters(CONTRIBUTORS))
    listed = encode(session.commit())
    member = session.members[1]
    endorsed = member.respond(listed)
    before = member.dump()
    assert member.respond(twin_frame(listed)) == endorsed
    assert member.dump() == before
    member.delivered()
    with pytest.raises(UnexpectedMessage):
        member.respond(twin_frame(listed))


def test_nothing_is_no_repetition_of_a_request_that_did_not_come_as_bytes():
    session = Session(make_parameters())
    listed = session.commit()
    session.members[1].endorse(listed)
    for party in (session.contributors[1], session.members[1]):
        assert party.outgoing
        with pytest.raises(MalformedMessage):
            party.respond(b"")
