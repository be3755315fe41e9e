"""Parties of a Paillier round that live in short processes: they go on after `dump` and `load`, or are refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from protocols.core import dumps
from protocols.paillier.aggregator import Aggregator
from protocols.paillier.contributions import check_all
from protocols.paillier.contributor import Contributor
from protocols.paillier.member import CommitteeMember
from protocols.paillier.messages import CommitmentList, encode
from protocols.paillier.parameters import RoundParameters
from protocols.paillier.state import MemberState, Phase
from protocols.simulation.driver import Session as Running
from secagg.encoding import FixedPoint, Rounding
from secagg.errors import ContradictoryRequest, ParameterError, PeerError, StateError, UnexpectedMessage
from secagg.paillier import Lanes, encrypt, sums
from tests.secagg.paillier.fixed_keys import dealt, noise

from .harness import LENGTH, ByNumber, Session, identity, make_parameters, update

LOADS: dict[str, Callable[[bytes, RoundParameters], object]] = {
    "contributor": lambda dumped, parameters: Contributor.load(dumped, parameters, identity(1)),
    "member": lambda dumped, parameters: CommitteeMember.load(dumped, parameters, dealt(4, 5)[1][0], identity(1001)),
    "aggregator": Aggregator.load,
}


def restart(session: Session) -> None:
    """Have each member start anew from what it dumped."""
    for i, share in enumerate(dealt(4, 5)[1], 1):
        dumped = session.members[i].dump()
        session.members[i].close()
        session.members[i] = CommitteeMember.load(dumped, session.parameters, share, identity(1000 + i))


def dumped_by(session: Session, role: str) -> bytes:
    parties = {"contributor": session.contributors[1], "member": session.members[1], "aggregator": session.aggregator}
    return parties[role].dump()


def test_whoever_was_refused_stays_out() -> None:
    session = Session(make_parameters())
    request = session.endorse(session.commit())
    bad = msgspec.structs.replace(session.contributors[3].reveal(request), signature=bytes(64))
    with pytest.raises(PeerError):
        session.aggregator.receive(3, bad)
    session.aggregator = ByNumber.load(session.aggregator.dump(), session.parameters)
    assert session.aggregator.rejected["contributors"] == {3}
    with pytest.raises(PeerError, match="out of the round"):
        session.aggregator.receive(3, bad)


def test_a_member_that_has_answered_answers_no_more_after_a_restart() -> None:
    session = Session(make_parameters())
    listed = session.commit()
    request = session.endorse(listed)
    restart(session)
    with pytest.raises(StateError, match="endorsed"):
        session.members[1].endorse(listed)
    session.reveal(request)
    to_open = session.ask()
    session.members[1].open(to_open)
    with pytest.raises(ContradictoryRequest):
        session.members[2].open(msgspec.structs.replace(to_open, contributors=to_open.contributors[1:]))
    restart(session)
    for member, phase in ((1, Phase.COMPLETED), (2, Phase.ABORTED)):
        assert session.members[member].phase is phase
        with pytest.raises(StateError, match=phase.value):
            session.members[member].open(to_open)
        assert session.members[member]._share is None


def test_a_contributor_that_has_shown_its_update_keeps_that_answer_alone() -> None:
    session = Session(make_parameters())
    contributor = session.contributors[1]
    request = session.endorse(session.commit())
    before = contributor.dump()
    contribution = contributor.reveal(request)
    assert contribution.ciphertexts in before
    restored = Contributor.load(contributor.dump(), session.parameters, identity(1))
    assert restored._update is None
    assert restored.outgoing == encode(contribution)


@pytest.mark.parametrize("role", LOADS)
def test_dumps_are_of_their_kind_and_round_and_whole(role: str) -> None:
    session = Session(make_parameters())
    session.reveal(session.endorse(session.commit()), {2, 3})
    dumped, load = dumped_by(session, role), LOADS[role]
    load(dumped, session.parameters)
    for other in LOADS.keys() - {role}:
        with pytest.raises(StateError, match="no dump of this kind"):
            load(dumped_by(session, other), session.parameters)
    with pytest.raises(StateError, match="another round"):
        load(dumped, make_parameters(nonce=b"\1" * 32))
    for nothing in (b"", b"not a dump", dumped[:20]):
        with pytest.raises(StateError):
            load(nothing, session.parameters)


def test_dumps_are_their_owners() -> None:
    session = Session(make_parameters())
    session.endorse(session.commit())
    parameters, shares = session.parameters, dealt(4, 5)[1]
    with pytest.raises(StateError, match="of member 1, not 2"):
        CommitteeMember.load(session.members[1].dump(), parameters, shares[1], identity(1002))
    with pytest.raises(ParameterError):
        CommitteeMember.load(session.members[1].dump(), parameters, shares[0], identity(1002))
    with pytest.raises(ParameterError):
        Contributor.load(session.contributors[1].dump(), parameters, identity(2))


@pytest.mark.parametrize("bend", ["too many", "none", "other lanes", "not invertible"])
def test_a_dump_whose_sum_does_not_fit_is_refused(bend: str) -> None:
    session = Session(make_parameters())
    session.reveal(session.endorse(session.commit()), {2, 3})
    parameters, share = session.parameters, dealt(4, 5)[1][0]
    state = dumps.decode_state(session.members[1].dump(), MemberState)
    product = state.product
    assert product is not None
    codec = FixedPoint(1.0, 16, 50, rounding=Rounding.NEAREST)
    longer = encrypt(codec.encode(update(1)).residues[:-1], Lanes(256, codec.modulus_bits, LENGTH - 1), noise())
    changes = {
        "too many": {"accepted": frozenset({2, 3, 4})},
        "none": {"product": None},
        "other lanes": {"product": longer, "accepted": frozenset({2})},
        "not invertible": {"product": replace(product, data=bytes(len(product.data)))},
    }
    bent = dumps.encode_state(msgspec.structs.replace(state, **changes[bend]))
    with pytest.raises(StateError, match="sum"):
        CommitteeMember.load(bent, parameters, share, identity(1001))


def test_no_dump_holds_a_share_or_an_update_in_clear() -> None:
    session = Session(make_parameters())
    session.reveal(session.endorse(session.commit()), {2, 3})
    secret = dealt(4, 5)[1][0].secret
    encoded = session.parameters.codec.encode(update(1)).residues.tobytes()
    for role in LOADS:
        dumped = dumped_by(session, role)
        assert secret.to_bytes(32, "big").lstrip(b"\0")[:16] not in dumped
        assert encoded[:16] not in dumped
        assert update(1).tobytes()[:16] not in dumped


def test_a_contribution_that_a_crash_kept_from_members_is_relayed_when_it_comes_again() -> None:
    """The aggregator dumped what it took in, and died before it relayed that."""
    session = Session(make_parameters(3))
    session.endorse(session.commit())
    machine, parameters = session.aggregator.machine, session.parameters
    names: dict[str, Any] = {parameters.contributors.name(i): each for i, each in session.contributors.items()}
    names |= {parameters.members.name(i): member for i, member in session.members.items()}
    for name, request in machine.outgoing().items():
        shown = names[name].respond(request)
        machine.receive(name, shown)
        for member in machine.relay_to if name != "contributor-3" else ():
            names[member].respond(shown)
    restored = Aggregator.load(machine.dump(), parameters)
    running = Running(restored, names.__getitem__, lambda name: {})
    session.check(running.run(), {1, 2, 3})
    assert running.refusals == []


def test_a_member_that_lacks_a_contribution_waits_for_it() -> None:
    session = Session(make_parameters(3))
    session.reveal(session.endorse(session.commit()), {1, 2})
    behind = session.members[1].dump()
    session.deliver(3, session.contributors[3].reveal(session.aggregator.outgoing()))
    session.members[1] = CommitteeMember.load(behind, session.parameters, dealt(4, 5)[1][0], identity(1001))
    to_open = session.ask()
    with pytest.raises(UnexpectedMessage, match="relay the others again"):
        session.members[1].respond(encode(to_open))
    session.members[1].respond(encode(session.contributions[3]))
    session.check(session.open(to_open), {1, 2, 3})


class Counted:
    """This machine, as if it were others."""

    def __init__(self) -> None:
        self.checked: list[int] = []

    def parts(self, parameters):
        return 1

    def part(self, public_key, count, max_addends):
        return sums._part(public_key, count, max_addends, alone=True)

    def check(self, parameters, commitments, contributions):
        self.checked += contributions
        return check_all(parameters, commitments, contributions)


def test_what_is_restored_goes_on_elsewhere() -> None:
    session, elsewhere = Session(make_parameters(3)), Counted()
    request = session.endorse(session.commit())
    session.reveal(request, {1})
    share = dealt(4, 5)[1][0]
    session.aggregator = ByNumber(Aggregator.load(session.aggregator.dump(), session.parameters, elsewhere=elsewhere))
    session.members[1] = CommitteeMember.load(
        session.members[1].dump(), session.parameters, share, identity(1001), elsewhere=elsewhere
    )
    session.reveal(request, {2, 3})
    assert elsewhere.checked == [2, 2, 3, 3]
    session.check(session.open(session.ask()), {1, 2, 3})


def test_two_threads_get_one_answer() -> None:
    session = Session(make_parameters())
    listed = session.commit()
    other = CommitmentList(listed.session, {i: c for i, c in listed.commitments.items() if i != 2})
    for _ in range(20):
        member = CommitteeMember(session.parameters, dealt(4, 5)[1][0], identity(1001))
        answers: list[object] = []
        start = threading.Barrier(2)

        def ask(request: CommitmentList, member=member, answers=answers, start=start) -> None:
            start.wait()
            with suppress(StateError):
                answers.append(member.endorse(request))

        threads = [threading.Thread(target=ask, args=(request,)) for request in (listed, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 1
    refused: list[str] = []

    def meet(step: Callable[[], object]) -> None:
        try:
            step()
        except StateError as error:
            refused.append(str(error))

    with member._alone():
        for step in (lambda: member.endorse(listed), lambda: member.receive_batch({})):
            thread = threading.Thread(target=meet, args=(step,))
            thread.start()
            thread.join()
    assert refused == ["another thread is taking a step of this round"] * 2
