"""Groups: who is in which follows from everyone's nonce, their sums add up, and a rule bears what was planned."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import numpy as np

from secagg.encoding import Rounding
from secagg.errors import AuthenticationFailed, ContradictoryRequest

from ...core.machine import Inputs
from ...core.participants import Participants
from ...groups.client import GroupClient
from ...groups.drawing import Terms, deal
from ...groups.messages import Commitments, Nonces, ToClient, decode, encode
from ...groups.past_draws import PastDraws
from ...groups.plan import GroupPlan
from ...groups.rounds import GroupedRounds
from ...groups.rules import Rule, combine
from ...groups.server import GroupServer
from ...inputs.vectors import FloatVector
from ...masking.client import Client
from ...masking.config import RoundConfig
from ...masking.policy import ClientPolicy
from ...masking.server import Server
from ...masking.transitions import ServerPhase
from ...simulation.driver import Session
from ..outcome import Check, Found, Trials, demand, demand_refusal
from ..stage import identity

_BEARING = (Rule.MEDIAN, Rule.TRIMMED_MEAN)
_FAR = 1e12


def _plan(rng: np.random.Generator) -> GroupPlan:
    return GroupPlan(
        int(rng.integers(12, 24)), 0.0, 0.0, honest_minimum=2, rule=Rule.SUM, groups=2, dropout_fraction=0.3
    )


def _draws(trials: Trials) -> Found:
    """Draw groups; then again, where a list to one client has an entry that another client did not say."""
    for rng in trials.each(trials.share(10)):
        plan = _plan(rng)
        names = Participants.numbered(plan.num_clients).names
        own = {name: identity(name) for name in names}
        terms = Terms(plan, Participants({name: each.public_bytes for name, each in own.items()}))
        past = {name: PastDraws() for name in names}

        def join(name: str, data: str) -> GroupClient:
            return GroupClient(terms, own[name], past[name], data, random=rng.bytes)  # noqa: B023

        server, clients = GroupServer(terms, random=rng.bytes), {name: join(name, "data") for name in names}
        while not server.ended:
            for name, data in server.outgoing().items():
                server.receive(name, clients[name].respond(data))
            server.close_phase()
        alike = all(client.groups == server.result for client in clients.values())
        demand(alike, "a client is in another group than the server says")
        again = partial(join, names[0], "data")
        demand_refusal(again, ContradictoryRequest, "a second draw over the same data")

        victim, liar = rng.choice(plan.num_clients, 2, replace=False)
        for bent in (Commitments, Nonces):
            server, clients = GroupServer(terms, random=rng.bytes), {name: join(name, bent.__name__) for name in names}
            while True:
                outgoing = server.outgoing()
                message: Any = decode(outgoing[names[victim]], ToClient, plan.num_clients)
                if isinstance(message, bent):
                    break
                for name, data in outgoing.items():
                    server.receive(name, clients[name].respond(data))
                server.close_phase()
            field = bent.__struct_fields__[1]
            entries = list(getattr(message, field))
            entries[liar] = rng.bytes(32)
            forged = encode(msgspec.structs.replace(message, **{field: tuple(entries)}))
            call = partial(clients[names[victim]].respond, forged)
            demand_refusal(call, AuthenticationFailed, f"one of the {field}, which is not its author's,")
    return Found({"draws": 3 * trials.share(10)})


def _sums(trials: Trials) -> Found:
    """Add up the sums of groups, with dropouts, and hold them against the plain sum, scaled and rounded."""
    summed = 0
    for rng in trials.each(trials.share(20) + 1):
        plan = _plan(rng)
        people = Participants.numbered(plan.num_clients)
        vector = FloatVector("model", 5, value_bits=12, rounding=Rounding.NEAREST)
        rounds = GroupedRounds(plan, deal(plan, people, rng.bytes(32)), lambda model: RoundConfig(model, (vector,)))  # noqa: B023
        given = {name: rng.normal(size=5) for name in people}
        gone = {str(rng.choice(members.names)) for members in rounds.groups.members if rng.random() < 0.5}
        results = {}
        for place, (members, config) in enumerate(zip(rounds.groups.members, rounds.configs, strict=True)):
            policy = rounds.policy(len(members), ClientPolicy.permissive())
            session = Session(
                Server(config, members, random=rng.bytes, threads=1),
                lambda name, policy=policy: Client(policy=policy, random=rng.bytes, threads=1),  # type: ignore[misc]  # noqa: B023
                lambda name: Inputs({"model": given[name]}),  # noqa: B023
            )
            results[place] = session.run({str(ServerPhase.MASKED_INPUT): gone})
        joint = rounds.finish(results).joint
        demand(joint.survivors == set(people) - gone, "a client that was there is in no sum, or one is in two")
        plain = sum(np.rint(np.clip(given[name], -1, 1) * ((1 << 11) - 1)) for name in joint.survivors)
        demand(np.array_equal(joint.levels["model"], plain), "the sum over the groups is not the sum")
        summed += len(joint.survivors)
    return Found({"rounds": trials.share(20) + 1, "clients summed": summed})


def _rules(trials: Trials) -> Found:
    """Spoil as many means as a rule bears: coordinate by coordinate, the outcome stays among the honest ones."""
    for rng in trials.each():
        groups = int(rng.integers(3, 20))
        for rule in _BEARING:
            bears, means = rule.bears(groups), rng.normal(size=(groups, 4))
            honest = means[bears:].copy()
            means[:bears] = rng.choice([-_FAR, _FAR], size=(bears, 4))
            value = combine(rule, rng.permutation(means), bears).value
            within = (value >= honest.min(axis=0) - 1e-9) & (value <= honest.max(axis=0) + 1e-9)
            demand(bool(within.all()), f"{rule} of {groups} groups, {bears} of them spoilt, is beyond all others")
    return Found({"means combined": len(_BEARING) * trials.examples})


CHECKS = (
    Check("groups", "draws", "all who settle have the same groups, once, and forged lists are refused", _draws),
    Check("groups", "sums", "sums of groups add up to one session's, whoever drops out", _sums),
    Check("groups", "rules", "as many spoilt groups as a rule bears move it not beyond the others", _rules),
)
