"""What every protocol must keep, whatever it computes; subclass it, say how a session begins, and get its tests free.

Everything goes through the interfaces of `core.machine`, and through the one driver. Sessions end in the exact result
of whoever took part, or in a named error. Nothing else.
"""

from __future__ import annotations

import base64
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.core import dumps, framing
from protocols.core.listener import (
    Listener,
    MessageAccepted,
    ParticipantExcluded,
    PhaseClosed,
    PhaseOpened,
    SessionEnded,
    Transition,
    ignore,
)
from protocols.core.machine import Coordinator, GivenInputs, Participant, Receipt, take_inputs
from protocols.simulation.driver import Crossing, Session, faithful
from secagg.errors import PeerError, SecAggError, StateError, UnexpectedMessage

THREADS = 8
INHERITED = settings(suppress_health_check=[HealthCheck.differing_executors])
TWEAKS = (
    "drop", "duplicate", "replay", "another's", "another session's", "flip", "flip and frame", "truncate", "extend",
    "garbage", "empty",
)  # fmt: skip


@dataclass
class Trial:
    """The parties of one small session, and what it must give.

    Attributes:
        join, inputs: as the driver takes them; the same inputs each time, none for whoever contributes nothing.
        load, load_participant: restore a dump.
        check: raises AssertionError unless the result is exactly the one of those who took part.
        took_part: who did, from the result.
    """

    coordinator: Coordinator
    join: Callable[[str], Participant]
    inputs: Callable[[str], GivenInputs]
    load: Callable[[bytes], Coordinator]
    load_participant: Callable[[str, bytes], Participant]
    check: Callable[[Any], None]
    took_part: Callable[[Any], frozenset[str]]
    listener: Listener = ignore
    participants: dict[str, Participant] = field(default_factory=dict)

    def session(self, *, through_dumps: bool = False, **hooks: Any) -> Session[Any, Any]:
        if through_dumps:
            hooks["restart"] = lambda name, participant: self.load_participant(name, participant.dump())
            hooks["restart_coordinator"] = lambda coordinator: self.load(coordinator.dump())
        return Session(self.coordinator, self.join, self.inputs, participants=self.participants, **hooks)

    def participant(self, name: str) -> Participant:
        if name not in self.participants:
            self.participants[name] = self.join(name)
        return self.participants[name]

    def answer(self, name: str, data: bytes) -> bytes:
        return self.participant(name).respond(data, self.inputs(name))

    def answers(self) -> dict[str, bytes]:
        """Everyone's answer in this phase, not delivered yet."""
        return {name: self.answer(name, data) for name, data in self.coordinator.outgoing().items()}

    def relay(self, answers: Iterable[bytes]) -> None:
        for data in answers:
            for name in sorted(self.coordinator.relay_to):
                self.answer(name, data)

    def collect(self) -> dict[str, bytes]:
        """Deliver everyone's answer; return them."""
        answers = self.answers()
        for name, data in answers.items():
            assert self.coordinator.receive(name, data) is Receipt.ACCEPTED
        self.relay(answers.values())
        return answers

    def until(self, phase: str) -> Trial:
        while self.coordinator.phase != phase:
            self.collect()
            self.coordinator.close_phase()
        return self

    def finish(self) -> None:
        """Run to the end, and hold the result against what it must be."""
        self.check(self.session().run())


def race(actions: Iterable[Callable[[], Any]]) -> tuple[list[Any], list[SecAggError]]:
    """Do all actions on eight threads that begin together and switch often; return what came of them, and errors."""
    todo, results, errors = list(actions), [], []
    barrier, interval = threading.Barrier(THREADS), sys.getswitchinterval()

    def work(first: int) -> None:
        barrier.wait()
        for action in todo[first::THREADS]:
            try:
                results.append(action())
            except SecAggError as error:
                errors.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(THREADS)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    return results, errors


def byte_strings(value: Any) -> Iterator[bytes]:
    """All long byte strings in nested lists and mappings."""
    match value:
        case bytes() if len(value) >= 16:
            yield value
        case Mapping():
            yield from byte_strings([*value.keys(), *value.values()])
        case list() | tuple():
            for each in value:
                yield from byte_strings(each)


class ProtocolContract:
    """Subclasses give `begin`, and the attributes."""

    phases: ClassVar[tuple[str, ...]]
    """In their order."""
    revealing: ClassVar[str]
    """The phase in which what opens the sum is asked for."""
    own_choice: ClassVar[frozenset[str]] = frozenset()
    """Phases in which what a participant bends and frames anew may be nothing but another input of its own."""
    trusted_coordinator: ClassVar[bool] = False
    """Whether participants rely on the coordinator not to bend messages to them."""

    def begin(self, listener: Listener = ignore) -> Trial:
        """Return a new session of at least five, of whom any one may vanish at any time."""
        raise NotImplementedError

    def framed(self, data: bytes) -> bytes:
        """Return a message that was bent as one that its sender sent so: with a digest that fits."""
        digest = framing.digest(data[framing.HEADER_BYTES :])
        return data[: framing.HEADER_BYTES - len(digest)] + digest + data[framing.HEADER_BYTES :]

    def names(self) -> list[str]:
        """Return everyone who is ever sent something."""
        return sorted({name for _, name, _ in self.recorded()[0]})

    def recorded(self) -> tuple[dict[tuple[str, str, bool], bytes], frozenset[str]]:
        """Return the messages of another session, and who took part in it: everyone whose input counts."""
        return _recorded(type(self))  # type: ignore[arg-type]

    def run(self, trial: Trial, silent: Mapping[str, Any], **hooks: Any) -> Session[Any, Any] | None:
        """Run a session; it is exact, or ended with an error and without a result."""
        session = trial.session(**hooks)
        try:
            result = session.run(silent)
        except SecAggError:
            assert session.coordinator.ended
            with pytest.raises(StateError):
                _ = session.coordinator.result
            return None
        if hooks.get("wire", faithful) is faithful:
            vanished = {name for names in silent.values() for name in names}
            assert {refusal.name for refusal in session.refusals} <= vanished
            trial.check(result)
        return session

    # Who vanishes

    @INHERITED
    @given(st.data())
    def test_whoever_falls_silent_the_result_is_exact_or_there_is_none(self, data: st.DataObject) -> None:
        trial = self.begin()
        silent = data.draw(st.dictionaries(st.sampled_from(self.names()), st.sampled_from(self.phases)))
        by_phase = {phase: [name for name, at in silent.items() if at == phase] for phase in self.phases}
        session = self.run(trial, by_phase, through_dumps=data.draw(st.booleans()))
        assert session is not None or len(silent) > 1

    def test_one_may_vanish_in_any_phase(self) -> None:
        for phase in self.phases:
            trial = self.begin().until(phase)
            (gone, *_) = trial.coordinator.outgoing()
            assert self.run(trial, {phase: [gone]}) is not None

    def test_a_session_of_which_all_vanish_is_over(self) -> None:
        for phase in self.phases:
            heard: list[Transition] = []
            trial = self.begin(heard.append).until(phase)
            coordinator, revealed = trial.coordinator, trial.coordinator.revealed
            answers = trial.answers()
            with pytest.raises(SecAggError) as caught:
                coordinator.close_phase()
            assert (coordinator.ended, coordinator.awaited, dict(coordinator.outgoing())) == (True, frozenset(), {})
            assert (coordinator.revealed, coordinator.relay_to) == (revealed, frozenset())
            assert heard[-1] == SessionEnded(0, type(caught.value).__name__, str(caught.value))
            for name, data in answers.items():
                assert coordinator.receive(name, data) is Receipt.LATE
            for over in (coordinator, trial.load(coordinator.dump())):
                with pytest.raises(StateError):
                    over.close_phase()
                with pytest.raises(StateError):
                    _ = over.result
                assert over.revealed is revealed

    # What arrives

    @INHERITED
    @given(st.data())
    def test_whatever_one_message_becomes_the_result_is_exact_or_there_is_none(self, data: st.DataObject) -> None:
        trial = self.begin()
        victim = data.draw(st.sampled_from(self.names()))
        phase, tweak = data.draw(st.sampled_from(self.phases)), data.draw(st.sampled_from(TWEAKS))
        self.tweak(trial, tweak, phase, victim, up=data.draw(st.booleans()), number=data.draw(st.integers(0, 1 << 16)))

    @pytest.mark.parametrize("up", [True, False], ids=["to the coordinator", "to a participant"])
    @pytest.mark.parametrize("tweak", TWEAKS)
    def test_a_message_that_is_tweaked_costs_its_victim_at_most(self, tweak: str, up: bool) -> None:
        for phase in self.phases:
            victim = [name for at, name, to in self.recorded()[0] if (at, to) == (phase, False)][2]
            session = self.tweak(trial := self.begin(), tweak, phase, victim, up=up, number=1)
            if tweak != "flip and frame":  # which may be a lie to others
                assert session is not None
                assert {refusal.name for refusal in session.refusals} <= {victim}
                assert trial.took_part(session.coordinator.result) >= self.recorded()[1] - {victim}

    def tweak(self, trial: Trial, tweak: str, phase: str, victim: str, *, up: bool, number: int) -> Any:
        """Run a session in which one party's messages of one phase, one way, become others."""
        if tweak == "flip and frame" and ((up and phase in self.own_choice) or (not up and self.trusted_coordinator)):
            return None
        seen: dict[tuple[str, bool], list[bytes]] = {}

        def wire(crossing: Crossing) -> bytes | None:  # noqa: PLR0911
            history = seen.setdefault((crossing.name, crossing.to_coordinator), [])
            history.append(data := crossing.data)
            assert session.coordinator.num_awaited == len(session.coordinator.awaited)
            if (crossing.phase, crossing.name, crossing.to_coordinator) != (phase, victim, up):
                return data
            others = [theirs[-1] for (name, to), theirs in seen.items() if to is up and name != victim]
            at = number % (8 * len(data))
            flipped = data[: at // 8] + bytes([data[at // 8] ^ 1 << at % 8]) + data[at // 8 + 1 :]
            match tweak:
                case "drop":
                    return None
                case "duplicate":
                    deliver = session.coordinator.receive if up else trial.answer
                    deliver(victim, data)
                case "replay":
                    return history[number % len(history)]
                case "another's":
                    return others[number % len(others)] if others else None
                case "another session's":
                    return self.recorded()[0].get((phase, victim, up), data)
                case "flip":
                    return flipped
                case "flip and frame":
                    return self.framed(flipped)
                case "truncate":
                    return data[: at // 8]
                case "extend":
                    return data + bytes(1 + number % 40)
                case "garbage":
                    return bytes(number % 256 for _ in data)
                case "empty":
                    return b""
            return data

        session = trial.session(wire=wire)
        try:
            result = session.run()
        except SecAggError:
            assert session.coordinator.ended
            return None
        trial.check(result)
        blamed = {who for each in session.refusals if each.by_coordinator for who in each.error.culprits}  # type: ignore[attr-defined]
        assert blamed <= {victim}
        assert session.coordinator.excluded.keys() <= ({victim} if up else set())
        return session

    def test_the_same_bytes_again_change_nothing_and_others_are_refused(self) -> None:
        trial = self.begin()
        coordinator = trial.coordinator
        everything: list[tuple[str, bytes]] = []
        while not coordinator.ended:
            outgoing = coordinator.outgoing()
            due = dict(outgoing)
            for name, request in due.items():
                twin = trial.load_participant(name, trial.participant(name).dump())
                answer, another = trial.answer(name, request), twin.respond(request, trial.inputs(name))
                assert trial.answer(name, request) == answer == trial.participant(name).outgoing
                assert coordinator.receive(name, answer) is Receipt.ACCEPTED
                assert coordinator.receive(name, answer) is Receipt.DUPLICATE
                if another != answer:
                    self.unexpected(coordinator, name, another)
                trial.relay([answer])
                trial.relay([answer])
                everything.append((name, answer))
                assert coordinator.num_awaited == len(coordinator.awaited)
                assert name not in coordinator.awaited
            assert dict(outgoing) == dict(coordinator.outgoing()) == due
            for name, answer in everything:
                assert coordinator.receive(name, answer) in (Receipt.DUPLICATE, Receipt.LATE)
            assert not coordinator.awaited
            coordinator.close_phase()
        trial.check(coordinator.result)
        assert not coordinator.excluded
        for name, answer in everything:
            assert coordinator.receive(name, answer) in (Receipt.DUPLICATE, Receipt.LATE)
        with pytest.raises(StateError):
            coordinator.close_phase()

    def unexpected(self, coordinator: Coordinator, name: str, data: bytes) -> None:
        """Its sender has a message refused, and nothing changes."""
        before = coordinator.dump()
        with pytest.raises(UnexpectedMessage) as caught:
            coordinator.receive(name, data)
        assert (set(caught.value.culprits), coordinator.dump()) == ({name}, before)

    def test_a_message_that_is_early_is_unexpected(self) -> None:
        trial = self.begin()
        coordinator, trial.coordinator = trial.coordinator, trial.load(trial.coordinator.dump())
        phases = []
        while not trial.coordinator.ended:  # a twin runs ahead
            phases.append(trial.collect())
            trial.coordinator.close_phase()
        for at, answers in enumerate(phases):
            for early in phases[at + 1 :]:
                for each in early.items():
                    self.unexpected(coordinator, *each)
            for name, data in answers.items():
                assert coordinator.receive(name, data) is Receipt.ACCEPTED
            coordinator.close_phase()
        trial.check(coordinator.result)

    def test_a_message_of_a_phase_that_was_closed_is_late_and_nobodys_fault(self) -> None:
        for phase in self.phases:
            trial = self.begin().until(phase)
            answers = trial.answers()
            (late, held), *others = answers.items()
            for name, data in others:
                trial.coordinator.receive(name, data)
            trial.relay(data for _, data in others)
            trial.coordinator.close_phase()
            before = trial.coordinator.dump()
            assert trial.coordinator.receive(late, held) is Receipt.LATE
            assert trial.coordinator.dump() == before
            assert not trial.coordinator.excluded
            trial.participants.pop(late, None)
            trial.session(wire=lambda c, late=late: None if c.name == late else c.data).run()
            trial.check(trial.coordinator.result)

    def test_a_strangers_message_is_unexpected(self) -> None:
        trial = self.begin()
        for phase in self.phases:
            (data, *_) = trial.until(phase).answers().values()
            self.unexpected(trial.coordinator, "nobody", data)
        trial.finish()

    def test_a_participant_answers_what_it_was_asked_until_it_is_told_that_the_answer_arrived(self) -> None:
        trial = self.begin()
        for phase in self.phases:
            trial.until(phase)
            requests = dict(trial.coordinator.outgoing())
            trial.collect()
            for name, request in requests.items():
                participant = trial.participant(name)
                assert participant.outgoing == participant.respond(request) != b""
                participant.delivered()
                assert participant.outgoing == b""
                after = participant.dump()
                with pytest.raises(UnexpectedMessage):
                    participant.respond(request, trial.inputs(name))
                assert participant.dump() == after
            trial.coordinator.close_phase()
        trial.check(trial.coordinator.result)

    # Inputs

    def test_inputs_that_fail_change_nothing_and_may_be_given_again(self) -> None:
        trial = self.begin()
        asked: set[str] = set()
        while not trial.coordinator.ended:
            for name, request in trial.coordinator.outgoing().items():
                participant = trial.participant(name)
                before, phase = participant.dump(), participant.phase

                def fail(name: str = name, participant: Participant = participant, before: bytes = before) -> Any:
                    asked.add(name)
                    assert participant.dump() == before  # in the midst of it, too
                    raise ZeroDivisionError

                bent = request[:-1] + bytes([request[-1] ^ 1])
                with pytest.raises(PeerError):
                    participant.respond(bent, fail)
                already = name in asked
                try:
                    participant.respond(request, fail)
                except ZeroDivisionError:
                    assert not already
                    assert (participant.dump(), participant.phase) == (before, phase)
            trial.collect()
            trial.coordinator.close_phase()
        assert asked >= trial.took_part(trial.coordinator.result)
        trial.check(trial.coordinator.result)

    # Threads, dumps and crashes

    def test_deliveries_that_race_count_once(self) -> None:
        trial = self.begin()
        for phase in self.phases:
            trial.until(phase)
            answers = trial.answers()
            receipts, errors = race([partial(trial.coordinator.receive, *each) for each in answers.items()] * 3)
            assert (errors, receipts.count(Receipt.ACCEPTED)) == ([], len(answers))
            assert receipts.count(Receipt.DUPLICATE) == 2 * len(answers)
            assert (trial.coordinator.num_awaited, trial.coordinator.excluded) == (0, {})
            trial.relay(answers.values())
            trial.coordinator.close_phase()
        trial.check(trial.coordinator.result)

    def test_every_party_lives_on_from_its_dump_alone(self) -> None:
        trial = self.begin()
        session = trial.session(through_dumps=True)
        trial.check(session.run())
        restored = trial.load(session.coordinator.dump())
        trial.check(restored.result)
        assert restored.dump() == session.coordinator.dump()

    def test_a_crash_between_closing_and_sending_loses_nothing_on_either_side(self) -> None:
        trial = self.begin()
        while not trial.coordinator.ended:
            due = dict(trial.coordinator.outgoing())
            trial.coordinator = trial.load(trial.coordinator.dump())
            for name, request in due.items():
                assert dict(trial.coordinator.outgoing()) == due  # whoever has answered
                answer = trial.answer(name, request)
                restored = trial.participants[name] = trial.load_participant(name, trial.participant(name).dump())
                assert restored.outgoing == answer == trial.answer(name, request)
                trial.coordinator.receive(name, answer)
                trial.coordinator = trial.load(trial.coordinator.dump())
                assert trial.coordinator.receive(name, answer) is Receipt.DUPLICATE
                trial.relay([answer])
            revealed = trial.coordinator.revealed
            assert revealed is (self.phases.index(trial.coordinator.phase) >= self.phases.index(self.revealing))
            trial.coordinator.close_phase()
        trial.check(trial.coordinator.result)
        assert trial.coordinator.revealed
        assert not dict(trial.coordinator.outgoing())

    def test_a_dump_that_was_damaged_or_is_anothers_is_refused(self) -> None:
        for phase in (self.phases[0], self.phases[-1]):
            trial = self.begin().until(phase)
            (name, *_) = trial.answers()
            coordinator, participant = trial.coordinator.dump(), trial.participant(name).dump()
            load = partial(trial.load_participant, name)
            for dumped, restore, foreign in ((coordinator, trial.load, participant), (participant, load, coordinator)):
                other_version = dumped[:8] + bytes([dumped[8] + 1]) + dumped[9:]
                bits = [dumped[:at] + bytes([dumped[at] ^ 1]) + dumped[at + 1 :] for at in range(0, len(dumped), 97)]
                for damaged in (b"", bytes(100), dumped[:-1], dumped + b"\0", foreign, other_version, *bits):
                    with pytest.raises(StateError):
                        restore(damaged)

    # What is seen

    def test_no_text_shows_a_secret(self) -> None:
        """Neither what dumps hold nor what participants contribute is in a repr, an event or the text of an error."""
        heard: list[Transition] = []
        trial = self.begin(heard.append)
        texts: list[str] = []
        secrets: set[bytes] = set()
        while not trial.coordinator.ended:
            for name, request in trial.coordinator.outgoing().items():
                answer = trial.answer(name, request)
                parties = (trial.coordinator, trial.participant(name))
                for bent, party, deliver in (
                    (self.framed(request[:-1]), parties[1], trial.participant(name).respond),
                    (self.framed(answer[:-1]), parties[0], partial(trial.coordinator.receive, "nobody")),
                ):
                    with pytest.raises(SecAggError) as caught:
                        deliver(bent)
                    texts += [str(caught.value), repr(caught.value), repr(party), str(party)]
                trial.coordinator.receive(name, answer)
                trial.relay([answer])
                for party in parties:
                    secrets.update(byte_strings(msgspec.msgpack.decode(party.dump()[dumps.HEADER_BYTES :])))
            trial.coordinator.close_phase()
        values: set[str] = set()
        for name in trial.participants:
            if name in trial.took_part(trial.coordinator.result):
                inputs = take_inputs(trial.inputs(name))
                values.update(repr(x) for vector in inputs.values.values() for x in np.asarray(vector).tolist())
                texts.append(repr(inputs))
        text = "\n".join([*texts, *map(repr, heard)])
        assert len(secrets) > 10
        for secret in secrets:
            assert not any(
                shown in text for shown in (repr(secret)[2:-1], secret.hex(), base64.b64encode(secret).decode())
            )
        assert not [value for value in values if len(value) > 5 and value in text]

    def test_listeners_hear_of_everything_in_order(self) -> None:
        heard: list[Transition] = []
        trial = self.begin(heard.append)
        expected: list[Any] = []
        for phase in self.phases:
            outgoing = trial.coordinator.outgoing()
            (gone, bad, *others) = outgoing
            if phase != self.phases[-1]:
                bad, others = "", [bad, *others]
            expected.append(PhaseOpened(phase, len(outgoing)))
            if bad:
                with pytest.raises(PeerError) as caught:
                    trial.coordinator.receive(bad, b"rubbish")
                expected.append(ParticipantExcluded(phase, bad, type(caught.value).__name__, caught.value.reason))
                assert set(trial.coordinator.excluded) == {bad}
            answered = others if bad else [gone, *others]
            for name in answered:
                data = trial.answer(name, outgoing[name])
                assert trial.coordinator.receive(name, data) is Receipt.ACCEPTED
                trial.relay([data])
                expected.append(MessageAccepted(phase, name, len(data)))
            missing = frozenset([gone] if bad else [])
            closed = len(heard)
            trial.coordinator.close_phase()
            event: Any = heard[closed]
            assert min(event.open_seconds, event.closing_seconds) >= 0
            expected.append(PhaseClosed(phase, len(answered), missing, event.open_seconds, event.closing_seconds))
        result = trial.coordinator.result
        assert heard == [*expected, SessionEnded(len(trial.took_part(result)))]
        trial.check(result)

    def test_a_listener_that_raises_leaves_the_session_whole(self) -> None:
        deaf = True

        def listener(transition: Transition) -> None:
            if not deaf:
                raise ZeroDivisionError

        trial = self.begin(listener)
        for phase in self.phases:
            assert trial.coordinator.phase == phase
            for name, data in trial.answers().items():
                deaf = False
                with pytest.raises(ZeroDivisionError):
                    trial.coordinator.receive(name, data)
                assert trial.coordinator.receive(name, data) is Receipt.DUPLICATE
                deaf = True
                trial.relay([data])
            deaf = False
            with pytest.raises(ZeroDivisionError):
                trial.coordinator.close_phase()
            deaf = True
        trial.check(trial.coordinator.result)


@cache
def _recorded(contract: type[ProtocolContract]) -> tuple[dict[tuple[str, str, bool], bytes], frozenset[str]]:
    record: dict[tuple[str, str, bool], bytes] = {}

    def wire(crossing: Crossing) -> bytes:
        record[crossing.phase, crossing.name, crossing.to_coordinator] = crossing.data
        return crossing.data

    trial = contract().begin()
    return record, trial.took_part(trial.session(wire=wire).run())
