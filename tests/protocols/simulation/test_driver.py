"""The one loop: who is asked, what is relayed, what is refused, what it costs; with parties that do next to nothing."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pytest

from protocols.core.machine import Inputs, Receipt, take_inputs
from protocols.core.participants import Participants
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking.config import RoundConfig
from protocols.masking.server import Server
from protocols.masking.transitions import ServerPhase
from protocols.simulation.driver import Cost, Crossing, Session
from protocols.simulation.masked import COLLECTED_PHASES, Simulation, choose_drops, collected_phases, run_locally
from secagg.errors import MalformedMessage, ParameterError, StateError, UnexpectedMessage


class Phase(StrEnum):
    GIVE = "give"
    WATCH = "watch"
    OVER = "over"


NAMES = [f"giver-{i:02}" for i in range(20)]
WATCHERS = frozenset({"watcher-1", "watcher-2"})


class Adder:
    """Adds numbers that givers send, which watchers see too, and then asks watchers what they have seen."""

    def __init__(self) -> None:
        self.phase, self.given, self.watched = Phase.GIVE, {}, {}

    @property
    def ended(self):
        return self.phase is Phase.OVER

    @property
    def relay_to(self):
        return WATCHERS if self.phase is Phase.GIVE else frozenset()

    @property
    def result(self):
        if not self.ended:
            raise StateError("it goes on")
        return sum(map(int, self.given.values())), {name: int(data) for name, data in self.watched.items()}

    def outgoing(self):
        return {
            name: self.phase.encode() for name in {Phase.GIVE: NAMES, Phase.WATCH: sorted(WATCHERS)}.get(self.phase, ())
        }

    def receive(self, sender, data):
        if not data.isdigit():
            raise MalformedMessage("no number", culprits={sender})
        heard = self.given if self.phase is Phase.GIVE else self.watched
        receipt = Receipt.DUPLICATE if sender in heard else Receipt.ACCEPTED
        heard[sender] = data
        return receipt

    def close_phase(self):
        self.phase = {Phase.GIVE: Phase.WATCH, Phase.WATCH: Phase.OVER}[self.phase]


class Party:
    def __init__(self, name):
        self.name, self.seen, self.restarts = name, 0, 0

    def respond(self, data, inputs=None):
        if data == b"give":
            return str(take_inputs(inputs).weight).encode()
        if data == b"watch":
            return str(self.seen).encode()
        if not data.isdigit():
            raise UnexpectedMessage("no number")
        self.seen += int(data)
        return b""

    def delivered(self):
        pass


def session(**hooks) -> Session:
    return Session(Adder(), Party, lambda name: Inputs({}, int(name[-2:])), **hooks)


TOTAL = sum(range(20))


@pytest.mark.parametrize("threads", [1, 3])
def test_everyone_is_asked_and_what_is_accepted_is_relayed(threads):
    progress = []
    running = session(threads=threads, on_progress=lambda *each: progress.append(each))
    assert running.run() == (TOTAL, dict.fromkeys(WATCHERS, TOTAL))
    assert progress == [("give", 16, 20), ("give", 20, 20), ("watch", 2, 2)]
    assert running.participants.keys() == {*NAMES, *WATCHERS}
    assert not running.refusals
    assert running.costs["giver-03"].sent_bytes == 1
    assert running.costs["giver-03"].received_bytes == len(b"give")
    assert min(cost.seconds for cost in running.costs.values()) >= 0
    assert running.phase_seconds.keys() == {"give", "watch"}
    assert min(running.coordinator_seconds, *running.phase_seconds.values()) >= 0


def test_the_silent_are_asked_nothing_and_relayed_nothing():
    running = session()
    total, seen = running.run({"give": {"giver-19", "watcher-1"}, "watch": {"watcher-2"}})
    assert (total, seen) == (TOTAL - 19, {"watcher-1": 0})
    assert "giver-19" not in running.participants


def test_what_is_lost_on_the_wire_is_lost():
    crossings = []

    def wire(crossing: Crossing):
        crossings.append(crossing)
        to_watcher = crossing.name == "watcher-2" and not crossing.to_coordinator
        return None if crossing.name == "giver-10" or (to_watcher and crossing.data == b"9") else crossing.data

    assert session(wire=wire).run() == (TOTAL - 10, {"watcher-1": TOTAL - 10, "watcher-2": TOTAL - 10 - 9})
    assert Crossing("give", "giver-10", False, b"give") in crossings
    assert not [each for each in crossings if each.name == "giver-10" and each.to_coordinator]
    assert Crossing("watch", "watcher-1", True, str(TOTAL - 10).encode()) in crossings


def test_refusals_of_single_parties_end_nothing_and_are_kept():
    def wire(crossing: Crossing):
        return {
            ("giver-05", True): b"rubbish",
            ("giver-06", False): b"rubbish",
        }.get((crossing.name, crossing.to_coordinator), crossing.data)

    running = session(wire=wire)
    assert running.run() == (TOTAL - 11, dict.fromkeys(WATCHERS, TOTAL - 11))
    refused = [(each.phase, each.name, each.by_coordinator, type(each.error)) for each in running.refusals]
    assert sorted(refused, key=str) == [
        ("give", "giver-05", True, MalformedMessage),
        ("give", "giver-06", False, UnexpectedMessage),
    ]


def test_what_is_delivered_twice_is_relayed_twice():
    """The coordinator may have been restored in between, from a dump that does not say what was relayed."""
    running = session()
    running.collect()
    assert running.deliver("giver-07", b"7") is Receipt.DUPLICATE
    assert running.deliver("giver-07", b"?") is None
    running.coordinator.close_phase()
    assert running.run() == (TOTAL, dict.fromkeys(WATCHERS, TOTAL + 7))


def test_parties_are_restarted_before_each_message_but_the_first():
    coordinators = []

    def restart(name, party):
        party.restarts += 1
        return party

    def restart_coordinator(coordinator):
        coordinators.append(coordinator)
        return coordinator

    running = session(restart=restart, restart_coordinator=restart_coordinator)
    running.run()
    assert len(coordinators) == 22
    assert {running.participants[name].restarts for name in NAMES} == {0}
    assert {running.participants[name].restarts for name in WATCHERS} == {20}


def test_costs_add_up():
    assert Cost(1, 2, 0.5).plus(3, 4, 0.25) == Cost(4, 6, 0.75)


def config(num_clients: int) -> RoundConfig:
    return RoundConfig(ThreatModel(num_clients, 0.0, 0.25), (IntegerVector("votes", 2, max_value=9),))


def test_a_round_in_this_process_sums_what_is_given_by_name():
    inputs = {name: {"votes": np.array([at, 1])} for at, name in enumerate(["bob", "ann", "émile"])}
    given = {**inputs, "zoe": lambda: Inputs({"votes": np.array([9, 9])})}
    result = run_locally(config(4), given)
    assert result.sum("votes").tolist() == [12, 12]
    assert result.survivors == given.keys()
    with pytest.raises(ParameterError, match="of 4 clients, but 3 take part"):
        run_locally(config(4), inputs)


def test_a_simulation_uses_the_server_that_it_is_given_and_tells_what_clients_cost():
    heard = []

    def make_server(config: RoundConfig, participants: Participants) -> Server:
        return Server(config, participants, listener=heard.append, threads=1)

    drops = {ServerPhase.MASKED_INPUT: {"client-2"}}
    values = {"votes": np.array([1, 2])}
    simulation = Simulation(config(8), lambda name: values, drops, threads=2, make_server=make_server)
    report = simulation.run()
    assert report.result.survivors == set(report.participants) - {"client-2"}
    assert report.result.sum("votes").tolist() == [7, 14]
    assert heard[-1].survivors == 7
    assert report.clients["client-1"].sent_bytes > report.clients["client-2"].sent_bytes > 0
    assert report.phase_seconds.keys() == set(collected_phases(config(8).threat_model.adversary))


def test_nobody_is_chosen_to_drop_twice():
    fractions = {ServerPhase.SHARE_KEYS: 0.25, ServerPhase.MASKED_INPUT: 0.1, ServerPhase.UNMASKING: 0.65}
    drops = choose_drops(40, fractions, np.random.default_rng(1))
    assert [len(drops[phase]) for phase in COLLECTED_PHASES] == [0, 10, 0, 4, 0, 26]
    assert frozenset().union(*drops.values()) == set(Participants.numbered(40))
