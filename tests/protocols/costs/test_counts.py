"""What is counted is what happens: whole sessions whose primitives are counted as they are called."""

import re
from collections import Counter

import numpy as np
import pytest

from protocols import Adversary
from protocols.costs import Quantity, Work
from protocols.costs.estimate import session_bytes
from protocols.costs.measuring import Case, Updates
from protocols.masking import traffic
from protocols.masking.topology import GraphKind
from protocols.masking.transitions import ServerPhase
from protocols.simulation.masked import Simulation, choose_drops
from secagg import aead, key_agreement, masking, shamir, signatures
from tests.documents import specification

CURIOUS, SEMI, MALICIOUS = Adversary


@pytest.fixture
def done(monkeypatch):
    """How often primitives were called."""
    counted = Counter()

    def count(owner, name, what, how_many=lambda *_, **__: 1):
        original = getattr(owner, name)

        def call(*arguments, **named):
            counted[what] += how_many(*arguments, **named)
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, call)

    count(key_agreement.KeyPair, "agree", "agreements")
    count(aead, "seal", "sealed")
    count(aead, "open", "opened")
    count(signatures, "verify", "signatures")
    count(signatures.Identity, "sign", "signatures")
    count(shamir, "split", "split", lambda _, *, threshold, indices, **__: 9 * threshold * len(indices))

    def products(indices, shares, **_):
        return len(set(map(tuple, indices))) * shares.shape[1] ** 2 + 9 * shares.shape[0] * shares.shape[1]

    count(shamir, "reconstruct_many", "rebuilt", products)

    def stream_bytes(vectors, *, add, subtract, **_):
        return (len(add) + len(subtract)) * sum(vector.nbytes for vector in vectors)

    count(masking, "add_streams", "mask bytes", stream_bytes)
    return counted


@pytest.mark.parametrize("adversary", Adversary)
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_session_on_the_complete_graph_does_what_is_counted(done, adversary, dropout):
    case = Case(15, 40, dropout, adversary)
    session, report = simulated(case)
    n, s, u = session.clients, session.survivors, session.dropped
    client, server = session.client(), session.server()
    assert (u, session.degree) == (3 if dropout else 0, 14)
    made = n * (adversary is not CURIOUS)  # keys of Ed25519 count as signatures, and are made by no call of these
    assert done["agreements"] == s * (client[Work.AGREEMENT] - 2) + u * session.degree + server[Work.AGREEMENT] - u
    assert done["sealed"] == n * client[Work.NEIGHBOUR]
    assert done["opened"] == s * client[Work.NEIGHBOUR] + (u * session.degree if adversary is MALICIOUS else 0)
    assert done["split"] == n * client[Work.SPLIT]
    assert done["mask bytes"] == s * client[Work.MASK_BYTE] + server[Work.MASK_BYTE]
    assert done["rebuilt"] == server[Work.PRODUCT]
    of_the_dropped = u * (1 + session.degree) if adversary is MALICIOUS else 0  # they have shared keys
    expected = s * client[Work.SIGNATURE] + of_the_dropped + server[Work.SIGNATURE]
    assert done["signatures"] + made - u * (adversary is not CURIOUS) == expected
    assert client[Work.NUMBER] == sum(codec.length for codec in session.config.codecs)
    received = sum(cost.sent_bytes for cost in report.clients.values())
    sent = sum(cost.received_bytes for cost in report.clients.values())
    assert session_bytes(session) == (pytest.approx(received, rel=0.01), pytest.approx(sent, rel=0.01))


@pytest.mark.parametrize("graph", [GraphKind.RANDOM_CYCLES, GraphKind.RING_FOR_RANDOM_DROPOUTS])
def test_a_session_on_a_sparse_graph_does_so_on_average(done, graph):
    session, report = simulated(Case(120, 30, 0.1, CURIOUS, graph))
    n, s, u = session.clients, session.survivors, session.dropped
    assert not session.config.topology.complete
    client, server = session.client(), session.server()
    assert done["sealed"] == pytest.approx(n * session.degree, rel=0.03)
    agreed = s * (client[Work.AGREEMENT] - 2) + u * session.degree + server[Work.AGREEMENT] - u
    assert done["agreements"] == pytest.approx(agreed, rel=0.03)
    assert done["mask bytes"] == pytest.approx(s * client[Work.MASK_BYTE] + server[Work.MASK_BYTE], rel=0.03)
    assert done["rebuilt"] == pytest.approx(server[Work.PRODUCT], rel=0.1)  # some owners have their holders in common
    one = traffic.estimate(session.config, round(session.degree))
    mean = np.mean([report.clients[name].sent_bytes for name in report.result.survivors])
    assert one.sent_bytes == pytest.approx(mean, rel=0.03)


def simulated(case):
    session = case.session
    drops = choose_drops(case.clients, {ServerPhase.MASKED_INPUT: case.dropout}, np.random.default_rng(1))
    return session, Simulation(session.config, Updates(session.config, case.clients, 1), drops, threads=1).run()


def test_the_specification_lists_the_same_work():
    listed = {}
    for party in ("client", "server"):
        rows = re.search(rf"\| work of a {party} \*\(checked\)\*.*?\n\n", specification(), re.DOTALL)[0]
        listed[party] = re.findall(r"^\| `([\w-]+)` \|", rows, re.MULTILINE)
    session = Case(15, 40).session
    assert sorted(listed["client"]) == sorted(session.client())
    assert sorted(listed["server"]) == sorted(session.server())
    assert {*listed["client"], *listed["server"]} == set(Work)
    assert all(f"`{quantity}`" in specification() for quantity in Quantity)


def test_clients_of_one_process_look_at_the_graph_four_times_and_then_sort_it_once():
    session = Case(300, 1, adversary=CURIOUS, graph=GraphKind.RANDOM_CYCLES).session
    words = session.words
    found = [session.client(together) for together in (1, 4, 10)]
    assert words == 300 * session.config.topology.degree // 2
    assert [counts[Work.SCANNED] for counts in found] == [words, words, pytest.approx(4 * words / 10)]
    assert [counts[Work.SORTED] for counts in found] == [0, 0, pytest.approx(words / 10)]
