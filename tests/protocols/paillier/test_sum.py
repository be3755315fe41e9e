"""Whole rounds: exact sums, dropouts everywhere, refusals that cost only the guilty."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.participants import Participants
from protocols.paillier.aggregator import Aggregator
from protocols.paillier.contributor import Contributor
from protocols.paillier.member import CommitteeMember
from protocols.paillier.messages import Commitment, Contribution, Opening, encode
from protocols.paillier.state import AggregatorPhase, EncryptedUpdate, Phase
from secagg.encoding import to_residues
from secagg.errors import (
    AuthenticationFailed,
    EncodingError,
    InconsistentShares,
    MalformedMessage,
    ParameterError,
    PeerError,
    StateError,
    ThresholdError,
    UnexpectedMessage,
)
from secagg.paillier import encrypt, encrypt_and_prove
from tests.secagg.paillier.fixed_keys import dealt, noise, private_key

from .harness import LENGTH, Session, identity, make_parameters, people, update


@given(st.data())
@settings(max_examples=15)
def test_the_sum_is_exact_whoever_vanishes(data: st.DataObject) -> None:
    max_weight = data.draw(st.sampled_from([1, 7]))
    weights = {i: data.draw(st.integers(0, max_weight)) if max_weight > 1 else 1 for i in range(1, 6)}
    session = Session(make_parameters(max_weight=max_weight), weights=weights)
    committed = data.draw(st.sets(st.integers(1, 5), min_size=2))
    listed = session.commit(committed)
    endorsing = data.draw(st.sets(st.integers(1, 5), min_size=4))
    request = session.endorse(listed, endorsing)
    revealed = data.draw(st.sets(st.sampled_from(sorted(committed)), min_size=2))
    session.reveal(request, revealed)
    opening = data.draw(st.sets(st.sampled_from(sorted(endorsing)), min_size=4))
    result = session.open(session.ask(), opening)
    session.check(result, revealed)
    assert result.liars == frozenset()
    assert session.aggregator.phase is AggregatorPhase.COMPLETED
    assert all(session.members[i].phase is Phase.COMPLETED for i in opening)


def test_too_few_are_nobodys_fault_and_end_the_session() -> None:
    session = Session(make_parameters(min_contributors=3))
    with pytest.raises(ThresholdError) as few:
        session.commit({1, 2})
    assert (few.value.needed, few.value.have) == (3, 2)
    with pytest.raises(StateError, match="aborted"):
        session.aggregator.close_round()
    with pytest.raises(StateError, match="over"):
        session.aggregator.receive(1, Commitment(session.parameters.session, bytes(32)))

    session = Session(make_parameters())
    with pytest.raises(ThresholdError):
        session.endorse(session.commit(), {1, 2, 3})

    session = Session(make_parameters(min_contributors=3))
    session.reveal(session.endorse(session.commit()), {1, 2})
    with pytest.raises(ThresholdError):
        session.ask()

    session = Session(make_parameters())
    session.reveal(session.endorse(session.commit()))
    with pytest.raises(ThresholdError) as few:
        session.open(session.ask(), {1, 2, 5})
    assert (few.value.needed, few.value.have) == (4, 3)


N, SIZE = private_key().public_key.n, private_key().public_key.ciphertext_bytes
BENDS: dict[str, Callable[[Contribution], dict[str, Any]]] = {
    "another addend count": lambda said: {"num_addends": 2},
    "no addend": lambda said: {"num_addends": 0},
    "another key": lambda said: {"fingerprint": bytes(32)},
    "other lanes": lambda said: {"lane_bits": 40},
    "another length": lambda said: {"length": LENGTH + 1},
    "too short": lambda said: {"ciphertexts": said.ciphertexts[:-1]},
    "oversize": lambda said: {"ciphertexts": said.ciphertexts * 50},
    "a ciphertext of zero": lambda said: {"ciphertexts": bytes(SIZE) + said.ciphertexts[SIZE:]},
    "a ciphertext of n": lambda said: {"ciphertexts": N.to_bytes(SIZE, "big") + said.ciphertexts[SIZE:]},
    "a flipped bit": lambda said: {"ciphertexts": said.ciphertexts[:-1] + bytes([said.ciphertexts[-1] ^ 1])},
    "another session": lambda said: {"session": bytes(32)},
    "another list": lambda said: {"commitments_digest": bytes(32)},
    "another signature": lambda said: {"signature": bytes(64)},
    "another proof": lambda said: {"proof": said.proof[:-1] + bytes([said.proof[-1] ^ 1])},
    "no proof": lambda said: {"proof": b""},
    "a long proof": lambda said: {"proof": said.proof + b"\0"},
}


def bend(contribution: Contribution, how: str) -> Contribution:
    return msgspec.structs.replace(contribution, **BENDS[how](contribution))


@pytest.mark.parametrize("how", BENDS)
def test_a_bent_contribution_costs_its_sender_the_round_and_nobody_else(how: str) -> None:
    session = Session(make_parameters())
    request = session.endorse(session.commit())
    bad = bend(session.contributors[3].reveal(request), how)
    with pytest.raises(PeerError) as refusal:
        session.aggregator.receive(3, bad)
    assert refusal.value.culprits == {3}
    with pytest.raises(PeerError) as refusal:
        session.members[1].receive(3, bad)  # should the aggregator pass it on all the same
    assert refusal.value.culprits == frozenset()  # who may have bent it itself
    assert session.members[1].phase is Phase.ENDORSED
    blamed = not isinstance(refusal.value, UnexpectedMessage)  # what strays is nobody's fault
    with pytest.raises(PeerError, match="out of the round|bytes is longer" if blamed else "another"):
        session.aggregator.receive(3, bad)
    session.reveal(request, {1, 2, 4, 5})
    session.check(session.open(session.ask()), {1, 2, 4, 5})
    assert session.aggregator.rejected["contributors"] == ({3} if blamed else set())


@pytest.mark.parametrize("value", [0, 1, 2])
def test_invalid_ciphertexts_that_were_committed_to_and_signed(value: int) -> None:
    # the contributor itself is hostile: everything about the message is right but the ciphertext
    key = private_key().public_key
    hostile = [0, key.n, private_key().factors[0]][value]
    session = Session(make_parameters())
    parameters = session.parameters
    honest = encrypt(parameters.codec.encode(update(3)).residues, parameters.lanes, noise())
    size = key.ciphertext_bytes
    vector = replace(honest, data=hostile.to_bytes(size, "big") + honest.data[size:])
    for i in (1, 2, 4):
        session.aggregator.receive(i, session.contributors[i].commit(update(i), noise()))
    session.aggregator.receive(3, session.contributors[3].commit_to(EncryptedUpdate(vector, bytes(96))))
    request = session.endorse(session.aggregator.close_round())
    contributions = {i: session.contributors[i].reveal(request) for i in (1, 2, 3, 4)}
    rejected = session.aggregator.receive_batch(contributions)
    assert rejected.keys() == {3}
    assert isinstance(rejected[3], MalformedMessage)
    assert rejected[3].culprits == {3}
    for i in (1, 2, 4):
        session.relay(i, contributions[i])
    session.check(session.open(session.ask()), {1, 2, 4})


def test_lying_members_are_named_and_the_sum_is_exact() -> None:
    session = Session(make_parameters())
    session.reveal(session.endorse(session.commit()))
    request = session.ask()
    for i, member in session.members.items():
        opening = member.open(request)
        if i == 2:
            opening = msgspec.structs.replace(opening, roots=opening.roots[32:] + opening.roots[:32])
        session.aggregator.receive(i, opening)
    result = session.aggregator.close_round()
    session.check(result, {1, 2, 3, 4, 5})
    assert result.liars == {"member-2"}


def test_too_many_lying_members_open_nothing_and_are_named() -> None:
    session = Session(make_parameters())
    session.reveal(session.endorse(session.commit()))
    request = session.ask()
    for i, member in session.members.items():
        opening = member.open(request)
        wrong = msgspec.structs.replace(opening, roots=b"\1" * len(opening.roots))
        session.aggregator.receive(i, wrong if i in (1, 3) else opening)
    with pytest.raises(InconsistentShares) as failure:
        session.aggregator.close_round()
    assert failure.value.culprits == {1, 3}


def test_strangers_repeats_and_wrong_rounds_are_refused() -> None:
    session = Session(make_parameters())
    first = session.contributors[1].commit(update(1), noise())
    session.aggregator.receive(1, first)
    session.aggregator.receive(1, first)  # a retry
    for sender, message in (
        (1, msgspec.structs.replace(first, contribution_digest=bytes(32))),
        (99, first),
        (2, msgspec.structs.replace(first, session=bytes(32))),
        (3, Opening(session.parameters.session, bytes(32), b"", bytes(32), b"")),
    ):
        with pytest.raises(UnexpectedMessage) as refusal:
            session.aggregator.receive(sender, message)
        assert refusal.value.culprits == {sender}
    session.aggregator.receive(4, session.contributors[4].commit(update(4), noise()))
    listed = session.aggregator.close_round()
    assert listed.commitments.keys() == {1, 4}
    endorsement = session.members[1].endorse(listed)
    with pytest.raises(AuthenticationFailed) as forged:
        session.aggregator.receive(2, endorsement)  # member 1's signature in member 2's name
    assert forged.value.culprits == {2}
    with pytest.raises(UnexpectedMessage, match="another list"):
        session.aggregator.receive(3, msgspec.structs.replace(endorsement, commitments_digest=bytes(32)))


def test_an_update_out_of_its_lanes_is_an_error_and_not_a_wrong_sum() -> None:
    # a contributor can encrypt anything; a sum that honest encodings cannot reach is not passed off as one
    session = Session(make_parameters())
    parameters = session.parameters
    huge = np.full(LENGTH, (1 << (parameters.lanes.lane_bits - 1)) - 1, dtype=np.uint32)
    session.aggregator.receive(1, session.contributors[1].commit(update(1), noise()))
    proven = encrypt_and_prove(huge, parameters.lanes, noise(), context=parameters.knowledge_context(2))
    session.aggregator.receive(2, session.contributors[2].commit_to(EncryptedUpdate(*proven)))
    session.reveal(session.endorse(session.aggregator.close_round()))
    with pytest.raises(EncodingError):
        session.open(session.ask())


# Above all, weights of 5 and 5 whose sum a third contributor turns around, to nothing, or beyond reach
@pytest.mark.parametrize(("weight", "size"), [(-20, 0), (-10, 0), (18, 0), (-9, 0), (0, 11 * ((1 << 15) - 1))])
def test_a_weight_that_no_values_bear_is_an_error_and_not_a_wrong_mean(weight: int, size: int) -> None:
    session = Session(make_parameters(3, max_weight=9), weights={1: 5, 2: 5, 3: 5})
    parameters = session.parameters
    for i in (1, 2):
        values = np.full(LENGTH, 0.9)
        session.aggregator.receive(i, session.contributors[i].commit(values, noise(), weight=5))
    lied = np.full(LENGTH + 1, size, dtype=np.int64)
    lied[-1] = weight
    residues = to_residues(lied, parameters.codec.modulus_bits)
    proven = encrypt_and_prove(residues, parameters.lanes, noise(), context=parameters.knowledge_context(3))
    session.aggregator.receive(3, session.contributors[3].commit_to(EncryptedUpdate(*proven)))
    session.reveal(session.endorse(session.aggregator.close_round()))
    with pytest.raises(EncodingError, match="weight"):
        session.open(session.ask())


def test_weights_that_are_not_summed_are_refused() -> None:
    with pytest.raises(EncodingError, match="not weighted"):
        Session(make_parameters(3)).contributors[1].commit(update(1), noise(), weight=0)


def test_an_update_of_another_length_is_told_the_rounds() -> None:
    with pytest.raises(EncodingError, match=f"has {LENGTH - 1} numbers, but must have {LENGTH}"):
        Session(make_parameters(3, max_weight=9)).contributors[1].commit(update(1)[1:], noise())


def test_a_contributor_knows_how_much_was_clipped() -> None:
    for parameters in (make_parameters(), make_parameters(one_session_without_proofs=True)):
        contributor = Contributor(parameters, "contributor-1", identity(1))
        contributor.commit(np.array([500.0, -2.0] + [1.0] * (LENGTH - 2)), noise())
        assert contributor.num_clipped == 2
        assert Contributor.load(contributor.dump(), parameters, identity(1)).num_clipped == 2


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_workers_are_checked_at_the_door(workers: Any) -> None:
    parameters, share = make_parameters(), dealt(4, 5)[1][0]
    for make in (
        lambda: Aggregator(parameters, workers=workers),
        lambda: CommitteeMember(parameters, share, identity(1001), workers=workers),
    ):
        with pytest.raises(ParameterError, match="workers"):
            make()


def test_roles_are_their_owners() -> None:
    parameters = make_parameters()
    with pytest.raises(ParameterError):
        Contributor(parameters, "contributor-1", identity(2))
    with pytest.raises(ParameterError):
        Contributor(parameters, "contributor-77", identity(1))
    share = dealt(4, 5)[1][0]
    with pytest.raises(ParameterError):
        CommitteeMember(parameters, share, identity(1002))
    with pytest.raises(ParameterError):
        CommitteeMember(parameters, dealt(3, 5)[1][0], identity(1001))
    with pytest.raises(ParameterError, match="another key"):
        Contributor(parameters, "contributor-1", identity(1)).commit(update(1), noise(384))


def test_a_failed_step_aborts_for_good() -> None:
    parameters = make_parameters()
    contributor = Contributor(parameters, "contributor-1", identity(1))
    with pytest.raises(EncodingError):
        contributor.commit(np.full(LENGTH, np.nan), noise())
    assert contributor.phase is Phase.ABORTED
    with pytest.raises(StateError):
        contributor.commit(update(1), noise())


@pytest.mark.parametrize(
    "change",
    [
        {"min_contributors": 1},
        {"min_contributors": 6},
        {"contributors": 51},
        {"nonce": b"short"},
        {"threshold": 2, "members": 4},
        {"threshold": 2, "members": 5},
        {"threshold": 3, "members": 5, "corrupt_members": 1},
        {"threshold": 2, "members": 3, "corrupt_members": 2},
        {"threshold": 2, "members": 3, "corrupt_members": None},
        {"threshold": 3, "members": 5, "corrupt_members": None},
        {"corrupt_members": -1},
        {"corrupt_contributors": -1},
        {"corrupt_contributors": 1},
        {"corrupt_contributors": None},
        {"corrupt_contributors": 4, "min_contributors": 5},
        {"length": 0},
        {"length": 0, "max_weight": 9},
    ],
)
def test_unsafe_parameters_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ParameterError):
        make_parameters(**change)


@pytest.mark.parametrize(("threshold", "members", "corrupt"), [(2, 2, 0), (3, 3, 1), (3, 4, 1), (4, 5, 1), (5, 7, 2)])
def test_a_third_of_the_members_may_be_corrupt_unless_stated(threshold: int, members: int, corrupt: int) -> None:
    parameters = make_parameters(threshold=threshold, members=members, corrupt_members=None)
    assert parameters.max_corrupt_members == corrupt
    assert parameters.session == replace(parameters, corrupt_members=corrupt).session


def test_rosters_are_checked() -> None:
    parameters = make_parameters()
    for change in (
        {"contributors": Participants.numbered(5)},
        {"contributors": parameters.members},
        {"members": people("member", 1, 1000)},
        {"members": people("contributor", 5, 1000)},
    ):
        with pytest.raises(ParameterError):
            replace(parameters, **change)


def test_every_field_is_in_the_session() -> None:
    parameters = make_parameters()
    changed = [
        make_parameters(nonce=bytes(31) + b"\1"),
        make_parameters(contributors=6),
        make_parameters(min_contributors=3),
        make_parameters(max_weight=2),
        make_parameters(length=LENGTH + 1),
        make_parameters(corrupt_members=2),
        make_parameters(min_contributors=4, corrupt_contributors=1),
        make_parameters(min_contributors=4, corrupt_contributors=2),
        make_parameters(one_session_without_proofs=True),
        make_parameters(threshold=3),
        replace(parameters, codec=replace(parameters.codec, clip=2.0)),
        replace(parameters, codec=replace(parameters.codec, value_bits=15)),
        replace(parameters, codec=replace(parameters.codec, num_summands=49)),
        replace(parameters, members=people("member", 5, 2000)),
        replace(parameters, members=people("officer", 5, 1000)),
        replace(parameters, contributors=people("hospital", 5, 0)),
    ]
    sessions = {each.session for each in changed} | {parameters.session}
    assert len(sessions) == len(changed) + 1


def test_the_aggregator_ends_its_workers() -> None:
    with Aggregator(make_parameters(), workers=2) as aggregator:
        assert aggregator.phase is AggregatorPhase.COMMITMENTS


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_forged_contribution_relayed_beside_the_honest_one_does_not_displace_it(order: tuple[int, int]) -> None:
    session = Session(make_parameters())
    request = session.endorse(session.commit())
    honest = {i: contributor.reveal(request) for i, contributor in session.contributors.items()}
    both = [honest[3], bend(honest[3], "a flipped bit")]
    for i, contribution in honest.items():
        session.aggregator.receive(i, contribution)
        for member in session.members.values():
            member.respond_many([encode(both[at]) for at in order] if i == 3 else [encode(contribution)])
    session.check(session.open(session.ask()), set(honest))
