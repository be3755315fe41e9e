"""An interrupt between any two lines ends the round, or the step can be taken again: no sum is silently wrong."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest

from protocols.core.listener import SessionEnded
from protocols.core.machine import Receipt
from protocols.paillier import Aggregator, CommitteeMember, Contributor, collecting
from protocols.paillier.parameters import RoundParameters
from protocols.paillier.state import AggregatorPhase, Phase
from secagg.errors import StateError
from tests.interrupts import interrupted
from tests.secagg.paillier.fixed_keys import dealt, noise

from .harness import identity, levels, make_parameters, update

CONCERNED = ("aggregator", "collecting", "contributions", "member", "role", "sums")
MODULES = tuple(f"paillier/{name}.py" for name in CONCERNED)


class Round:
    """Two contributors and three members, who speak to an aggregator in bytes."""

    def __init__(self) -> None:
        self.parameters = parameters = make_parameters(2, threshold=2, members=3)
        self.heard: list[Any] = []
        self.aggregator = Aggregator(parameters, listener=self.heard.append)
        self.contributors = {
            name: Contributor(parameters, name, identity(parameters.contributors.number(name)), noise=noise())
            for name in parameters.contributors.names
        }
        self.members = {
            parameters.members.name(share.member): CommitteeMember(*credentials(parameters, share.member))
            for share in dealt(2, 3)[1]
        }

    def answers(self) -> list[tuple[str, bytes]]:
        """What all say in this phase."""
        parties = self.contributors | self.members
        return [
            (name, parties[name].respond(data, {"update": update(self.parameters.contributors.number(name))})
             if name in self.contributors else parties[name].respond(data))
            for name, data in self.aggregator.outgoing().items()
        ]  # fmt: skip

    def step(self) -> None:
        for name, answer in self.answers():
            self.aggregator.receive(name, answer)
            for member in self.aggregator.relay_to:
                self.members[member].respond(answer)
        self.aggregator.close_phase()


def credentials(parameters: RoundParameters, member: int) -> tuple[Any, ...]:
    return parameters, dealt(2, 3)[1][member - 1], identity(1000 + member)


def test_an_interrupted_aggregator_is_at_its_end_or_takes_the_step_again() -> None:
    played = Round()
    aggregator, parameters = played.aggregator, played.parameters
    while not aggregator.ended:
        answers = played.answers()
        if aggregator.phase is AggregatorPhase.CONTRIBUTIONS:
            for member in played.members.values():
                assert not member.respond_many(dict(answers).values())
        for name, data in answers[:-1]:
            aggregator.receive(name, data)

        def answer(machine: Aggregator, last: tuple[str, bytes] = answers[-1]) -> Receipt:
            return machine.receive(*last)

        for step in (answer, Aggregator.close_phase):
            dumped, phase = aggregator.dump(), aggregator.phase
            step(aggregator)
            taken = aggregator.dump()
            for after in itertools.count():
                again = Aggregator.load(dumped, parameters)
                if not interrupted(partial(step, again), after, MODULES):
                    break
                if again.phase is AggregatorPhase.ABORTED:
                    with pytest.raises(StateError):
                        _ = again.result
                else:
                    if step is answer:
                        assert step(again) in (Receipt.ACCEPTED, Receipt.DUPLICATE)
                    elif again.phase is phase:
                        step(again)
                    assert again.dump() == taken
            assert after > 10
    assert (aggregator.result.levels == levels(parameters, {1: 1, 2: 1})).all()


@pytest.mark.parametrize("together", [False, True])
def test_an_interrupted_member_is_done_or_has_the_sum(together: bool) -> None:
    played = Round()
    played.step(), played.step()
    given = credentials(played.parameters, 1)
    member, (first, last) = played.members["member-1"], [data for _, data in played.answers()]
    member.respond(first)
    dumped = member.dump()

    def step(machine: CommitteeMember) -> None:
        if together:
            assert not machine.respond_many([last])
        else:
            machine.respond(last)

    step(member)
    taken = member.dump()
    for after in itertools.count():
        again = CommitteeMember.load(dumped, *given)
        if not interrupted(partial(step, again), after, MODULES):
            break
        if again.phase is Phase.ABORTED:
            with pytest.raises(StateError):
                again.receive_batch({})
        else:
            step(again)
            assert again.dump() == taken
    assert after > 10


def test_whoever_listens_hears_of_a_sum_that_was_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    played = Round()
    played.step(), played.step()
    (name, data), *_ = played.answers()

    def out_of_memory(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(collecting, "add_contributions", out_of_memory)
    with pytest.raises(MemoryError):
        played.aggregator.receive(name, data)
    assert played.heard[-1] == SessionEnded(0, "MemoryError")
    assert played.aggregator.receive(name, data) is Receipt.LATE
