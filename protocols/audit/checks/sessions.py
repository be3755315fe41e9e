"""Whole sessions: exact whoever drops out, and exact or refused whatever one message is turned into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec
import numpy as np

from secagg.encoding import Rounding
from secagg.errors import MalformedMessage, SecAggError, ThresholdError
from secagg.residues import pack

from ...core import framing
from ...core.machine import Inputs
from ...core.threat_model import Adversary
from ...hierarchy.levels import Hierarchy, Level
from ...hierarchy.tree import Tree
from ...inputs.vectors import FloatVector, IntegerVector
from ...masking import wire
from ...masking.client import Client
from ...masking.config import RoundConfig
from ...masking.graph import Graph
from ...masking.messages import ToClient, ToServer
from ...masking.server import Server
from ...masking.topology import GraphKind
from ...masking.transitions import ServerPhase
from ...simulation.driver import Crossing
from ...simulation.hierarchical import run_hierarchy
from ...simulation.masked import COLLECTED_PHASES, collected_phases
from ..outcome import Check, Found, Refuted, Trials, demand, demand_refusal
from ..stage import Stage, configuration, read
from .primitives import flipped

CLIENTS = (5, 25)
"""From how many to below how many: with fewer, some adversaries leave no threshold."""
_PARTIES, _ON_CYCLES = 7, 24
_UNSIGNED = (Adversary.CURIOUS_SERVER, Adversary.SEMI_MALICIOUS_SERVER)
_TWEAKS = ("drop", "flip", "flip and repair", "truncate", "garbage", "earlier message", "another's message")


def _adversary(rng: np.random.Generator) -> Adversary:
    return list(Adversary)[int(rng.integers(3))]


def _up_to_inputs(config: RoundConfig) -> Sequence[ServerPhase]:
    phases = collected_phases(config.threat_model.adversary)
    return phases[: phases.index(ServerPhase.MASKED_INPUT) + 1]


def _dropouts(trials: Trials) -> Found:
    dropped = 0
    for rng in trials.each(trials.share(2)):
        clients = int(rng.integers(*CLIENTS))
        config = configuration(
            clients,
            _adversary(rng),
            corrupt=0.05,
            max_weight=int(rng.integers(1, 50)),
            complete_graph=bool(rng.random() < 0.3),
        )
        vanishing = rng.permutation(clients)[: int(rng.integers(0, config.threat_model.max_dropouts + 1))] + 1
        phases = collected_phases(config.threat_model.adversary)
        gone_in = {number: int(rng.integers(len(phases))) for number in vanishing.tolist()}
        stage = Stage(config, rng, through_dumps=bool(rng.random() < 0.2))
        drops = {
            str(phase): stage.everyone.named(number for number, at in gone_in.items() if at == position)
            for position, phase in enumerate(phases)
        }
        stage.run(drops)
        stage.demand_exact()
        gone = {name for phase in _up_to_inputs(config) for name in drops[phase]}
        left = set(stage.everyone) - gone
        demand(stage.server.result.survivors == left, "someone who sent an input in time is not in the sum")
        dropped += len(vanishing)
    return Found({"sessions": trials.share(2), "dropouts": dropped})


def _cycles(trials: Trials) -> Found:
    """Sum on random cycles, as rounds of many do by default, in the smallest round that has them."""
    for rng in trials.each(trials.share(50) + 1):
        config = msgspec.structs.replace(
            configuration(_ON_CYCLES, Adversary.CURIOUS_SERVER, dropout=0.05), graph=GraphKind.RANDOM_CYCLES
        )
        topology, everyone = config.topology, range(1, _ON_CYCLES + 1)
        demand(topology.graph is GraphKind.RANDOM_CYCLES, f"rounds of {_ON_CYCLES} are on a {topology.graph} graph")
        one, other = (Graph(topology, _ON_CYCLES, rng.bytes(32)) for _ in range(2))
        around = {i: one.neighbours(i) for i in everyone}
        demand(all(i in around[j] - {j} for i in everyone for j in around[i]), "a client is no neighbour's neighbour")
        demand(any(around[i] != other.neighbours(i) for i in everyone), "two seeds lead to one graph")
        stage, phases = Stage(config, rng), collected_phases(Adversary.CURIOUS_SERVER)
        drops = {str(phases[int(rng.integers(len(phases)))]): stage.everyone.named([int(rng.integers(*CLIENTS))])}
        stage.run(drops)
        stage.demand_exact()
    return Found({"sessions": trials.share(50) + 1, "neighbours each, at most": topology.degree})


def _too_many_dropouts(trials: Trials) -> Found:
    for rng in trials.each(trials.share(4)):
        config = configuration(10, _adversary(rng), complete_graph=True)
        vanishing = rng.permutation(10)[: 10 - config.topology.threshold + 1] + 1
        phases = collected_phases(config.threat_model.adversary)
        phase = phases[int(rng.integers(len(phases)))]
        stage = Stage(config, rng)
        drops = {str(phase): stage.everyone.named(vanishing.tolist())}
        demand_refusal(partial(stage.run, drops), ThresholdError, "a sum of too few")
        demand(stage.server.phase is ServerPhase.ABORTED, "a session went on with too few")
    return Found({"sessions": trials.share(4)})


def _minimum(trials: Trials) -> Found:
    """Let one client more vanish than the threat model says, where the thresholds alone would still sum so few."""
    for rng in trials.each(trials.share(4)):
        clients = int(rng.integers(*CLIENTS))
        config = configuration(clients, _UNSIGNED[int(rng.integers(len(_UNSIGNED)))])
        vanishing = rng.permutation(clients)[: config.threat_model.max_dropouts + 1] + 1
        stage = Stage(config, rng)
        phases = _up_to_inputs(config)
        phase = phases[int(rng.integers(len(phases)))]
        drops = {str(phase): stage.everyone.named(vanishing.tolist())}
        least = config.threat_model.min_survivors
        what = f"a sum of {clients - len(vanishing)} of {clients} clients, at least {least} of which remain,"
        demand_refusal(partial(stage.run, drops), ThresholdError, what)
    return Found({"sessions": trials.share(4)})


def _dumps(trials: Trials) -> Found:
    """Restore server and clients after every phase, before anything is sent: they must send what they had to send."""
    restored = 0
    for rng in trials.each(trials.share(20) + 1):
        stage = Stage(configuration(6, _adversary(rng), complete_graph=True), rng)
        while not stage.server.ended:
            stage.step()
            again = Server.load(stage.server.dump(), threads=1)
            demand(again.phase is stage.server.phase, f"a server that was in {stage.server.phase} is in {again.phase}")
            same = dict(again.outgoing()) == dict(stage.server.outgoing())
            demand(same, f"a server that was restored in {again.phase} has something else to send")
            stage.coordinator = again
            for name, client in stage.participants.items():
                twin = Client.load(client.dump(), **stage.credentials(name))
                demand(
                    twin.outgoing == client.outgoing, f"a client that was restored, {twin.phase}, has another answer"
                )
                stage.participants[name] = twin
                restored += 1
        stage.demand_exact()
    return Found({"clients restored": restored})


@dataclass
class _Tweaker:
    """Turns one message of one client, in one phase and one direction, into something else."""

    tweak: str
    phase: ServerPhase
    victim: str
    to_server: bool
    rng: np.random.Generator
    seen: dict[str, list[bytes]] = field(default_factory=dict)

    def __call__(self, crossing: Crossing) -> bytes | None:
        history = self.seen.setdefault(crossing.name, [])
        history.append(crossing.data)
        if (crossing.phase, crossing.name, crossing.to_coordinator) != (self.phase, self.victim, self.to_server):
            return crossing.data
        others = [past[-1] for other, past in self.seen.items() if other != crossing.name]
        return self._tweaked(crossing.data, history, others)

    def _tweaked(self, data: bytes, own: list[bytes], others: list[bytes]) -> bytes | None:
        bit = int(self.rng.integers(8 * len(data)))
        tweaked: dict[str, bytes | None] = {
            "drop": None,
            "flip": flipped(data, bit),
            "flip and repair": repaired(flipped(data, bit)),
            "truncate": data[: bit // 8],
            "garbage": self.rng.bytes(len(data)),
            "earlier message": own[bit % len(own)],
            "another's message": others[bit % len(others)] if others else None,
        }
        return tweaked[self.tweak]


def repaired(data: bytes) -> bytes:
    """Return the same body behind a digest that fits: what a malicious peer would send."""
    body = data[framing.HEADER_BYTES :]
    return data[:5] + framing.digest(body) + body


def _tampering(trials: Trials) -> Found:
    ended = {"exact": 0, "ended without a sum": 0}
    for rng in trials.each():
        tweaker = _Tweaker(
            _TWEAKS[int(rng.integers(len(_TWEAKS)))],
            COLLECTED_PHASES[int(rng.integers(len(COLLECTED_PHASES)))],
            f"client-{rng.integers(1, _PARTIES + 1)}",
            bool(rng.random() < 0.5),
            rng,
        )
        stage = Stage(configuration(_PARTIES, _adversary(rng)), rng, tweaker)
        try:
            stage.run()
        except SecAggError:
            demand(stage.server.phase is ServerPhase.ABORTED, "a session that failed is not over")
            ended["ended without a sum"] += 1
            continue
        _demand_exact_but_for(stage, tweaker)
        ended["exact"] += 1
    return Found({"sessions": trials.examples} | ended)


def _demand_exact_but_for(stage: Stage, tweaker: _Tweaker) -> None:
    # An input that its own sender altered and sealed anew is that sender's input; no secure sum can tell it.
    forged = tweaker.tweak == "flip and repair" and tweaker.to_server and tweaker.phase is ServerPhase.MASKED_INPUT
    if forged and tweaker.victim in stage.server.result.survivors:
        return
    try:
        stage.demand_exact()
    except Refuted as refuted:
        way = "from" if tweaker.to_server else "to"
        raise Refuted(f"{tweaker.tweak!r} in {tweaker.phase}, {way} {tweaker.victim}: {refuted}") from None


def _wire(trials: Trials) -> Found:
    (rng,) = trials.each(1)
    messages = _recorded(rng)
    refused = 0
    for rng in trials.each(10 * trials.examples):
        data = messages[int(rng.integers(len(messages)))]
        message = read(data, ToClient | ToServer)
        demand(wire.encode(message) == data, f"a {type(message).__name__} is written in another way")
        bit = int(rng.integers(8 * len(data)))
        damaged = flipped(data, bit)
        demand_refusal(partial(read, damaged, ToClient | ToServer), MalformedMessage, "a damaged message")
        try:
            read(repaired(damaged), ToClient | ToServer)
        except MalformedMessage:
            refused += 1
    return Found({"examples": 10 * trials.examples, "refused even with a digest that fits": refused})


def _recorded(rng: np.random.Generator) -> list[bytes]:
    kept: list[bytes] = []

    def keep(crossing: Crossing) -> bytes:
        kept.append(crossing.data)
        return crossing.data

    Stage(configuration(5, Adversary.MALICIOUS_SERVER), rng, keep).run()
    return kept


def _input_is_hidden(trials: Trials) -> Found:
    """Search all that the server receives for a client's encoded input, as it lies in memory and as it would travel."""
    searched = 0
    for rng in trials.each(trials.share(4)):
        received: list[bytes] = []

        def keep(crossing: Crossing, at: list[bytes] = received) -> bytes:
            if crossing.to_coordinator:
                at.append(crossing.data)
            return crossing.data

        config = configuration(6, _adversary(rng), length=40)
        stage = Stage(config, rng, keep)
        stage.run()
        model = config.codecs[0]
        for given in stage.given.values():
            encoded = config.encode(given.values, given.weight, session_id=stage.server.session_id, random=stage.random)
            residues = encoded[0].residues
            for plain in (residues.tobytes(), pack(residues, model.modulus_bits), given.values["model"].tobytes()):
                demand(not any(plain[:32] in data for data in received), "the server received an input in clear")
                searched += len(received)
    return Found({"sessions": trials.share(4), "searches": searched})


def _hierarchies(trials: Trials) -> Found:
    """Sum sums through levels, with dropouts at each, and hold the total against the plain one, scaled and rounded."""
    summed = 0
    for rng in trials.each(trials.share(50) + 1):
        sizes = rng.integers(3, 5, size=int(rng.integers(2, 4))).tolist()
        weight, top = int(rng.integers(1, 20)), (1 << 11) - 1
        levels = [Level(f"level {at}", size, 0, 0.0, 0.34, _adversary(rng)) for at, size in enumerate(sizes)]
        vectors = (
            FloatVector("model", 5, value_bits=12, weighted=weight > 1, rounding=Rounding.NEAREST),
            IntegerVector("votes", 2, max_value=7, min_value=-2),
        )
        terms, tree = Hierarchy(tuple(levels), vectors, weight), Tree.even(sizes)
        given = {
            name: Inputs(
                {"model": rng.normal(size=5), "votes": rng.integers(-2, 8, size=2)}, int(rng.integers(1, weight + 1))
            )
            for name in tree.clients
        }
        everyone = [group for level in tree.levels for group in level.values()]
        gone = {rng.choice(group.names) for group in everyone if rng.random() < 0.5}
        drops = {ServerPhase.MASKED_INPUT: gone}
        total = run_hierarchy(terms, tree, given.__getitem__, drops, random=rng.bytes).total
        left = set(tree.levels[-1]["all"]) - gone
        for level in reversed(tree.levels[:-1]):
            left = {member for name in left for member in level[name]} - gone
        demand(total.num_clients == len(left), "a client that was there is not in the total, or one is twice")
        for name, plain in (
            ("model", [given[one].weight * np.rint(np.clip(given[one].values["model"], -1, 1) * top) for one in left]),
            ("votes", [given[one].values["votes"] for one in left]),
        ):
            demand(np.array_equal(total.levels[name], np.sum(plain, axis=0)), f"the total of {name} is not the sum")
        demand(total.total_weight == sum(given[one].weight for one in left), "the total weight is not the sum")
        summed += len(left)
    return Found({"hierarchies": trials.share(50) + 1, "clients summed": summed})


CHECKS = (
    Check("sessions", "dropouts", "sums are exact, whoever drops out in whichever round", _dropouts),
    Check("sessions", "cycles", "on random cycles neighbours follow from the seed, and sums are exact", _cycles),
    Check("sessions", "too-many-dropouts", "with a dropout too many there is no sum", _too_many_dropouts),
    Check("sessions", "dumps", "who is restored from a dump sends what was still to be sent", _dumps),
    Check("sessions", "minimum", "fewer clients than the threat model leaves are not summed", _minimum),
    Check(
        "sessions", "tampering", "whatever one message is turned into, the sum is exact or there is none", _tampering
    ),
    Check("sessions", "hierarchies", "sums of sums are exact, whoever drops out at whichever level", _hierarchies),
    Check("sessions", "wire", "messages are written in one way, and damaged ones are refused", _wire),
    Check("sessions", "no-plaintext", "nothing that the server receives holds a client's input", _input_is_hidden),
)
