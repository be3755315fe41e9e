"""A sum without masks: five hospitals encrypt, an aggregator adds what it cannot read, three of four members open it.

One hospital vanishes after it has committed, one member before it opens. The dealer of the key is trusted, once.
"""

import os

import numpy as np

from protocols import Inputs, Participants
from protocols.paillier import Aggregator, CommitteeMember, Contributor, RoundParameters
from secagg.encoding import FixedPoint, Rounding
from secagg.paillier import deal
from secagg.signatures import Identity

hospitals = [f"hospital-{i}" for i in range(1, 6)]
committee = ["agency", "court", "ministry", "university"]
identities = {name: Identity.generate() for name in hospitals + committee}  # each makes and keeps its own
public = {name: identity.public_bytes for name, identity in identities.items()}

key, shares = deal(threshold=3, num_members=4, key_bits=2048)  # the dealer sends each share to its member, and forgets
members = Participants({name: public[name] for name in committee})  # a share's number is that of its member's name
parameters = RoundParameters(
    key,
    FixedPoint(clip=1.0, value_bits=16, num_summands=5, rounding=Rounding.NEAREST),
    length=4,
    contributors=Participants({name: public[name] for name in hospitals}),
    members=members,
    min_contributors=3,
    nonce=os.urandom(32),
)

updates = {name: np.linspace(-1, 1, 4) * i / 10 for i, name in enumerate(hospitals, start=1)}
parties = {name: Contributor(parameters, name, identities[name]) for name in hospitals}
parties |= {members.name(s.member): CommitteeMember(parameters, s, identities[members.name(s.member)]) for s in shares}

with Aggregator(parameters) as aggregator:
    while not aggregator.ended:
        for name, message in aggregator.outgoing().items():
            if (name, aggregator.phase) in (("hospital-4", "contributions"), ("ministry", "openings")):
                continue  # it vanishes here
            answer = parties[name].respond(message, Inputs({"update": updates[name]}) if name in updates else None)
            aggregator.receive(name, answer)
            for member in aggregator.relay_to:  # members add contributions for themselves
                parties[member].respond(answer)
        aggregator.close_phase()

result = aggregator.result
print("in the sum:", ", ".join(sorted(result.survivors)))
print("sum:      ", result.sums.round(3))
print("plain sum:", sum(updates[name] for name in result.survivors).round(3))
