"""What a hostile aggregator, alone or with others, tries, and why it learns nothing but the one agreed sum."""

import msgspec
import pytest

from protocols.paillier.messages import Contribution, OpenRequest, RevealRequest
from protocols.paillier.state import Phase
from secagg.errors import (
    AuthenticationFailed,
    ParameterError,
    PeerError,
    StateError,
    ThresholdError,
    UnexpectedMessage,
)
from secagg.paillier import Accumulator, combine, open_partially
from tests.secagg.paillier.fixed_keys import dealt

from .harness import Session, identity, levels, make_parameters


def until_opening() -> tuple[Session, OpenRequest]:
    session = Session(make_parameters(min_contributors=3))
    session.reveal(session.endorse(session.commit()))
    return session, session.ask()


def refused(session: Session, request: OpenRequest, why: str) -> None:
    """Every member refuses the request, for good."""
    for member in session.members.values():
        with pytest.raises(PeerError, match=why):
            member.open(request)
        assert member.phase is Phase.ABORTED
        with pytest.raises(StateError):
            member.open(request)


def test_one_clients_ciphertext_is_not_opened_alone() -> None:
    session, honest = until_opening()
    parameters, lone = session.parameters, session.contributions[2].vector()
    digest = parameters.sum_digest(session.contributions[2].commitments_digest, [2], lone)
    refused(session, OpenRequest(parameters.session, [2], digest), "not exactly the")
    # nor in the name of everyone
    session, honest = until_opening()
    lone = session.contributions[2].vector()
    digest = session.parameters.sum_digest(session.contributions[2].commitments_digest, honest.contributors, lone)
    refused(session, OpenRequest(session.parameters.session, honest.contributors, digest), "another sum than that")


def test_a_sum_without_some_is_not_opened() -> None:
    for contributors in ([2, 3, 4, 5], [1, 2, 3, 4, 5, 77], [1, 2, 3, 4, 1], []):
        session, honest = until_opening()
        assert session.forged(honest.contributors) == honest
        refused(session, session.forged(contributors), "not exactly the")


def test_the_committee_enforces_the_minimum() -> None:
    session = Session(make_parameters(min_contributors=3))
    request = session.endorse(session.commit())
    for i in (1, 2):
        session.relay(i, session.contributors[i].reveal(request))
    parameters = session.parameters
    accumulator = Accumulator(parameters.key.public_key, parameters.lanes, max_addends=50)
    for i in (1, 2):
        accumulator.add(session.contributions[i].vector(), sender=i)
    listed = session.contributions[1].commitments_digest
    digest = parameters.sum_digest(listed, [1, 2], accumulator.product())
    refused(session, OpenRequest(parameters.session, [1, 2], digest), "none of fewer than 3")
    fresh = Session(make_parameters(min_contributors=3))
    listing = fresh.commit()
    few = {i: listing.commitments[i] for i in (1, 2)}
    with pytest.raises(UnexpectedMessage, match="fewer than 3"):
        fresh.members[1].endorse(msgspec.structs.replace(listing, commitments=few))


def test_a_member_opens_once() -> None:
    session = Session(make_parameters(min_contributors=3))
    listed = session.commit()
    session.reveal(session.endorse(listed))
    request = session.ask()
    session.open(request)
    for member in session.members.values():
        with pytest.raises(StateError, match="completed"):
            member.open(request)
        with pytest.raises(StateError, match="completed"):
            member.endorse(listed)


def test_another_session_is_not_opened_with_this_ones_messages() -> None:
    session, request = until_opening()
    other = Session(make_parameters(min_contributors=3, nonce=b"\1" * 32))
    reveal = other.endorse(other.commit())
    for contribution in session.contributions.values():
        with pytest.raises(PeerError):
            other.members[1].receive(1, contribution)  # replayed from the first session
    other.reveal(reveal)
    for member in other.members.values():
        with pytest.raises(UnexpectedMessage, match="another session"):
            member.open(request)
        assert member.phase is Phase.ENDORSED


def test_replayed_partial_openings_are_worth_nothing_in_another_session() -> None:
    session, request = until_opening()
    openings = {i: member.open(request) for i, member in session.members.items()}
    other = Session(make_parameters(min_contributors=3, nonce=b"\1" * 32))
    other.reveal(other.endorse(other.commit()))
    other.ask()
    for i, opening in openings.items():
        with pytest.raises(UnexpectedMessage):
            other.aggregator.receive(i, opening)


def test_an_update_cannot_be_made_from_another_clients() -> None:
    # a contributor that colludes with the aggregator waits for client 1's ciphertexts and answers with them, bent
    session = Session(make_parameters())
    request = session.endorse(session.commit())
    seen = session.contributors[1].reveal(request)
    session.deliver(1, seen)
    parameters = session.parameters
    copied = seen.vector()
    text = parameters.contribution_text(
        2, seen.commitments_digest, parameters.contribution_digest(2, copied, seen.proof)
    )
    forged = Contribution(
        parameters.session,
        2,
        seen.commitments_digest,
        copied.fingerprint,
        copied.lane_bits,
        copied.length,
        1,
        copied.data,
        seen.proof,
        identity(2).sign(text),
    )
    for refuse in (lambda: session.aggregator.receive(2, forged), lambda: session.members[1].receive(2, forged)):
        with pytest.raises(AuthenticationFailed, match="committed") as caught:
            refuse()
        assert caught.value.culprits == {2}


def test_quorums_that_meet_in_a_corrupt_member_read_one_update() -> None:
    """Two of three, one of them corrupt: each honest one opens the sum that it has, and the third opens both with it.

    Who states that no member is corrupt takes that upon itself; unless stated, one of three may be.
    """
    with pytest.raises(ParameterError, match="at least 3, or state fewer"):
        make_parameters(threshold=2, members=3, corrupt_members=None)
    session = Session(make_parameters(threshold=2, members=3, corrupt_members=0))
    parameters, key = session.parameters, session.parameters.key
    request = session.endorse(session.commit(), {1, 2})
    shown = {i: contributor.reveal(request) for i, contributor in session.contributors.items()}
    summed = []
    for member, ids in ((1, [1, 2, 3, 4, 5]), (2, [1, 2, 3, 4])):
        total = Accumulator(key.public_key, parameters.lanes, max_addends=5)
        for i in ids:
            session.members[member].receive(i, shown[i])
            total.add(shown[i].vector(), sender=i)
        product = total.product()
        context = parameters.sum_digest(shown[1].commitments_digest, ids, product)
        said = session.members[member].open(OpenRequest(parameters.session, ids, context)).partial(member)
        own = open_partially(dealt(2, 3)[1][2], product, parameters.lanes, context=context)
        opened = combine(key, product, parameters.lanes, {member: said, 3: own}, context=context)
        residues = parameters.lanes.unpack(opened.plaintexts, key.public_key.n)
        summed.append(parameters.codec.decode_levels(residues, num_summands=len(ids)))
    assert (summed[0] - summed[1] == levels(parameters, {5: 1})).all()


def test_two_lists_of_commitments_find_no_two_quorums() -> None:
    session = Session(make_parameters(corrupt_members=2))
    listed = session.commit()
    other = msgspec.structs.replace(listed, commitments=listed.commitments | {2: bytes(32)})
    endorsements = {i: session.members[i].endorse(listed if i <= 3 else other) for i in session.members}
    for i in (1, 2, 3):
        with pytest.raises(StateError):
            session.members[i].endorse(other)
    half = {i: endorsements[i].signature for i in (1, 2, 3)}
    with pytest.raises(ThresholdError):
        session.contributors[1].reveal(RevealRequest(session.parameters.session, listed.commitments, half))
    assert session.contributors[1].phase is Phase.ABORTED
    mixed = {i: endorsement.signature for i, endorsement in endorsements.items()}
    with pytest.raises(AuthenticationFailed) as caught:
        session.contributors[3].reveal(RevealRequest(session.parameters.session, listed.commitments, mixed))
    assert caught.value.culprits <= {4, 5}


def test_an_invented_contributor_is_refused_by_members() -> None:
    session = Session(make_parameters())
    request = session.endorse(session.commit({1, 2, 3}))
    contribution = session.contributors[1].reveal(request)
    for author in (2, 4, 77):
        with pytest.raises(PeerError) as caught:
            session.members[1].receive(author, contribution)
        assert caught.value.culprits == frozenset()  # somebody claims that it is theirs
    session.members[1].receive(1, contribution)
    with pytest.raises(UnexpectedMessage, match="second"):
        session.members[1].receive(1, contribution)


def test_contributions_before_the_endorsement_are_out_of_order() -> None:
    session = Session(make_parameters())
    request = session.endorse(session.commit(), {1, 2, 3, 4})
    contribution = session.contributors[1].reveal(request)
    with pytest.raises(StateError):
        session.members[5].receive(1, contribution)


def test_a_member_that_gives_up_opens_nothing() -> None:
    session, request = until_opening()
    session.members[1].close()
    with pytest.raises(StateError, match="aborted"):
        session.members[1].open(request)
    session.check(session.open(request, {2, 3, 4, 5}), {1, 2, 3, 4, 5})
    session.members[2].close()
    assert session.members[2].phase is Phase.COMPLETED
