"""A clinic lies: groups that nobody chose, a masked sum in each, and the median of their means, which bears it.

Messages go from hand to hand here. In a service they go over your transport, with a server for each group.
"""

import numpy as np

from protocols import Client, ClientPolicy, FloatVector, Participants, RoundConfig, RoundResult, Server
from protocols.groups import GroupClient, GroupedRounds, GroupPlan, Groups, GroupServer, PastDraws, Rule, Terms
from secagg.signatures import Identity

PLAN = GroupPlan(24, bad_fraction=0.05, corrupt_fraction=0.05, honest_minimum=3, rule=Rule.MEDIAN)
LIAR = "clinic-07"
identities = {f"clinic-{number:02}": Identity.generate() for number in range(1, 25)}  # each makes and keeps its own
clinics = Participants({name: identity.public_bytes for name, identity in identities.items()})
terms = Terms(PLAN, clinics)  # everyone knows them beforehand


def draw() -> Groups:
    """Toss the joint coin: each clinic commits to a nonce, then shows it. Each keeps its `PastDraws` on disk."""
    server = GroupServer(terms)
    clients = {name: GroupClient(terms, identities[name], PastDraws(), data="update 1") for name in clinics}
    while not server.ended:
        for name, message in server.outgoing().items():
            server.receive(name, clients[name].respond(message))
        server.close_phase()
    return server.result  # which is `groups` of every client, computed by itself


def summed(members: Participants, config: RoundConfig, policy: ClientPolicy) -> RoundResult:
    """Run one group's session."""
    server, clients = Server(config, members), {name: Client(policy=policy) for name in members}
    while not server.ended:
        for name, message in server.outgoing().items():
            update = np.full(4, -1000.0 if name == LIAR else 1.0)
            server.receive(name, clients[name].respond(message, {"update": update}))
        server.close_phase()
    return server.result


rounds = GroupedRounds(PLAN, draw(), lambda model: RoundConfig(model, (FloatVector("update", 4, clip=1000.0),)))
sessions = zip(rounds.groups.members, rounds.configs, strict=True)
results = {place: summed(*one, rounds.policy(len(one[0]))) for place, one in enumerate(sessions)}
made = rounds.finish(results).combined("update")

print(f"{made.groups} groups of {', '.join(map(str, PLAN.sizes))} clinics, of which {made.bears} may be spoilt")
print("mean of all:", np.mean([result.mean("update") for result in results.values()], axis=0).round(1))
print("median of the groups' means:", made.value.round(1))
print("how far away they are:", np.sort(made.distances).round())
