"""Clients that lie, babble, come late or twice: it costs them the round, and nobody else; and a server that dies."""

import itertools
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from protocols.core.listener import SessionEnded
from protocols.core.machine import Inputs, Receipt
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector
from protocols.masking.client import Client
from protocols.masking.config import RoundConfig
from protocols.masking.messages import SEALED_SHARES_BYTES, SHARE_BYTES, MaskedInput, UnmaskingShares, records
from protocols.masking.server import Server
from protocols.masking.server import server as server_module
from protocols.masking.transitions import ServerPhase
from protocols.simulation.masked import collected_phases
from secagg.errors import EncodingError, InconsistentShares, MalformedMessage, StateError, UnexpectedMessage
from secagg.key_agreement import KeyPair
from tests.interrupts import interrupted

from .harness import Session, altering, number, random_inputs, session_after, small_config, spoilt

MODULES = ("masking/server/server.py", "masking/server/holding.py")

replace = msgspec.structs.replace
COMPLETE = {"complete_graph": True, "dropout": 0.34}


PHASES = collected_phases(Adversary.CURIOUS_SERVER)


@pytest.mark.parametrize("phase", PHASES)
def test_garbage_in_any_phase_costs_its_sender_only(phase):
    session = Session(small_config(9, **COMPLETE))
    session.wire = lambda crossing: (
        b"rubbish"
        if (crossing.phase, crossing.name, crossing.to_coordinator) == (phase, "client-4", True)
        else crossing.data
    )
    session.run().assert_exact()
    ((name, why),) = session.server.excluded.items()
    assert (name, why.partition(":")[0]) == ("client-4", "MalformedMessage")
    (refusal,) = (refusal for refusal in session.refusals if refusal.by_coordinator)
    assert (refusal.phase, refusal.name, type(refusal.error)) == (phase, "client-4", MalformedMessage)
    assert refusal.error.culprits == {"client-4"}
    assert (4 in session.survivors) is (phase is ServerPhase.UNMASKING)


@pytest.mark.parametrize(
    ("phase", "alter"),
    [
        (ServerPhase.ADVERTISE_KEYS, lambda m: replace(m, mask_public_key=m.cipher_public_key)),
        (ServerPhase.ADVERTISE_KEYS, lambda m: replace(m, mask_public_key=bytes(32))),
        (ServerPhase.SHARE_KEYS, lambda m: replace(m, sealed=b"")),
        (ServerPhase.SHARE_KEYS, lambda m: replace(m, sealed=m.sealed + m.sealed[:SEALED_SHARES_BYTES])),
        (ServerPhase.SHARE_KEYS, lambda m: replace(m, commitments=m.commitments[:-1])),
        (ServerPhase.MASKED_INPUT, lambda m: replace(m, vectors=m.vectors[:1])),
        (ServerPhase.MASKED_INPUT, lambda m: replace(m, vectors=(bytes(m.vectors[0]) + b"\0", *m.vectors[1:]))),
        (ServerPhase.MASKED_INPUT, lambda m: replace(m, vectors=(b"\xff" * len(m.vectors[0]), *m.vectors[1:]))),
        (ServerPhase.MASKED_INPUT, lambda m: replace(m, vectors=(*m.vectors[:-1], bytes(m.vectors[-1]) + b"\0"))),
        (ServerPhase.UNMASKING, lambda m: replace(m, shares=m.shares[SHARE_BYTES:])),
        (ServerPhase.UNMASKING, lambda m: replace(m, shares=2 * m.shares)),
    ],
)
def test_well_formed_nonsense_costs_its_sender_only(phase, alter):
    session = Session(small_config(9, **COMPLETE), wire=altering(phase, {4}, alter)).run()
    session.assert_exact()
    assert set(session.server.excluded) == {"client-4"}


def test_late_early_double_and_foreign_messages_change_nothing():
    session = Session(small_config(9, **COMPLETE))
    late, first = session.say(5), session.say(1)
    session.step(silent={5})
    assert session.take(5, late) is Receipt.LATE
    assert session.take(1, first) in (Receipt.DUPLICATE, Receipt.LATE)
    answer, ahead = session.say(1), MaskedInput(session.server.session_id, 1, (b"",), ())
    for sender, message, match in (
        (5, replace(answer, sender=5), "no part in share-keys"),
        (2, answer, "another session or sender"),
        (1, replace(answer, session_id=bytes(32)), "another session or sender"),
        (1, replace(late, session_id=bytes(32), sender=1), "another session or sender"),
        (1, ahead, "a masked-input during share-keys"),
    ):
        before = session.server.dump()
        with pytest.raises(UnexpectedMessage, match=match) as caught:
            session.take(sender, message)
        assert (caught.value.culprits, session.server.dump()) == ({f"client-{sender}"}, before)
    assert session.take(1, answer) is Receipt.ACCEPTED
    assert session.take(1, answer) is Receipt.DUPLICATE
    with pytest.raises(UnexpectedMessage, match="a second share-keys") as caught:
        session.take(1, replace(answer, sealed=b""))
    assert caught.value.culprits == {"client-1"}
    assert not session.server.excluded
    session.run().assert_exact()
    assert session.survivors == set(range(1, 10)) - {5}


def test_an_excluded_client_is_not_heard_again():
    session = Session(small_config(9, **COMPLETE))
    message = session.say(3)
    with pytest.raises(MalformedMessage):
        session.server.receive("client-3", b"?")
    for sent in (message, replace(message, self_mask_commitment=bytes(32))):
        with pytest.raises(UnexpectedMessage, match="excluded"):
            session.take(3, sent)
    session.step()
    assert session.take(3, message) is Receipt.LATE
    assert session.server.num_awaited == len(session.server.awaited) == 8


# --- Wrong shares


def lie(message: UnmaskingShares) -> UnmaskingShares:
    """Give other shares than one was given, of everyone."""
    wrong = [bytes([7]) + share[1:-1] + b"\0" for share in records(message.shares, SHARE_BYTES)]
    return replace(message, shares=b"".join(wrong))


@pytest.mark.parametrize("liars", [{1}, {1, 5, 9}, {4, 5, 11, 13}])
def test_as_many_liars_as_shares_to_spare_are_found(liars):
    config = small_config(13, complete_graph=True, dropout=0.4)  # threshold 8; 12 answer
    session = Session(config, wire=altering(ServerPhase.UNMASKING, liars, lie))
    session.run({ServerPhase.MASKED_INPUT: {2}}).assert_exact()
    assert set(map(number, session.server.result.liars)) == liars


def test_liars_about_different_owners_are_all_named():
    config = small_config(13, complete_graph=True, dropout=0.4)

    def lie_about_one(message):
        owner = 6 if message.sender == 5 else 7
        wrong = spoilt(message.shares, range(1, 14), {owner}, lambda share: bytes([share[0] ^ 1]) + share[1:])
        return replace(message, shares=wrong)

    # Only shares that are used are looked at: the lowest eight holders'.
    session = Session(config, wire=altering(ServerPhase.UNMASKING, {5, 3}, lie_about_one))
    session.run().assert_exact()
    assert session.server.result.liars == {"client-03", "client-05"}


def test_one_lie_at_the_bare_threshold_is_never_a_wrong_sum():
    config = small_config(13, complete_graph=True, dropout=0.4)
    session = Session(config, wire=altering(ServerPhase.UNMASKING, {1}, lie))
    with pytest.raises(InconsistentShares) as caught:
        session.run({ServerPhase.UNMASKING: {9, 10, 11, 12, 13}})
    assert caught.value.culprits == {"client-01"}


def test_a_mask_key_that_is_not_the_advertised_one_is_caught():
    """Client 2 deals shares of another key than it advertised, then vanishes: its masks could not be removed."""
    config = small_config(9, **COMPLETE)
    session = session_after(1, config)
    session.state(2, mask_private_key=KeyPair.generate().private_bytes)
    with pytest.raises(InconsistentShares, match="another secret than advertised") as caught:
        session.run({ServerPhase.MASKED_INPUT: {2}})
    assert caught.value.culprits == {"client-2"}


def test_an_input_beyond_reach_is_noticed_in_the_sum():
    """A client that adds a huge number is not stopped by masks; what no summands can reach is refused all the same."""
    config = RoundConfig(ThreatModel(6, 0.0, 0.34), (FloatVector("model", 1, value_bits=2),))
    bits = (2 * 1 * 6).bit_length()
    session = Session(config, {i: Inputs({"model": np.zeros(1)}) for i in range(1, 7)})

    def overflow(message: MaskedInput) -> MaskedInput:
        (value,) = message.vectors[0]
        return replace(message, vectors=(bytes([(value + (1 << bits - 1)) % (1 << bits)]), *message.vectors[1:]))

    session.wire = altering(ServerPhase.MASKED_INPUT, {1}, overflow)
    with pytest.raises(EncodingError, match="cannot reach"):
        session.run()
    assert session.server.phase is ServerPhase.ABORTED


# --- The server itself


@pytest.mark.parametrize("adversary", [Adversary.CURIOUS_SERVER, Adversary.MALICIOUS_SERVER])
def test_an_interrupt_between_any_two_lines_ends_the_session_or_the_step_can_be_taken_again(adversary):
    session = Session(small_config(3, adversary, dropout=0.0, complete_graph=True))
    while not session.server.ended:
        *others, last = [(name, session.participants[name].respond(data, session.given[number(name)]))
                         for name, data in session.server.outgoing().items()]  # fmt: skip
        for name, data in others:
            session.server.receive(name, data)

        def answer(server, last=last):
            return server.receive(*last)

        for step in (answer, Server.close_phase):
            dumped, phase = session.server.dump(), session.server.phase
            step(session.server)
            taken = session.server.dump()
            for after in itertools.count():
                again = Server.load(dumped, threads=1)
                if not interrupted(partial(step, again), after, MODULES):
                    break
                if again.phase is ServerPhase.ABORTED:
                    with pytest.raises(StateError):
                        _ = again.result
                elif step is answer or again.phase is phase:
                    step(again)
                    assert again.dump() == taken
                else:
                    assert again.dump() == taken
            assert after > 10
    session.assert_exact()


def test_whoever_listens_hears_of_a_sum_that_was_interrupted(monkeypatch):
    heard = []
    session = Session(small_config(3, dropout=0.0, complete_graph=True), listener=heard.append)
    session.step(), session.step()
    answer = session.say(1)

    def out_of_memory(*_):
        raise MemoryError

    monkeypatch.setattr(server_module, "add_packed", out_of_memory)
    with pytest.raises(MemoryError):
        session.take(1, answer)
    assert heard[-1] == SessionEnded(0, "MemoryError")
    assert session.take(1, answer) is Receipt.LATE


def test_the_server_holds_one_sum_however_many_inputs_arrive():
    session = session_after(2, small_config(9, length=1000, **COMPLETE))
    sizes = []

    def measure(crossing):
        sizes.append(len(session.server.dump()))
        return crossing.data

    session.wire = measure
    session.step()
    # Nine inputs later the memory has grown by nine numbers and fingerprints, not by nine vectors.
    assert max(sizes) - min(sizes) < 9 * 50


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.protocols.masking.harness import Session, random_inputs, small_config
from protocols.core.machine import Inputs, Receipt
from protocols.core.threat_model import Adversary

folder, phase, after = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
config = small_config(9, Adversary(sys.argv[4]), dropout=0.34, complete_graph=True, max_weight=20)
session = Session(config, random_inputs(config, 3))
while session.server.phase != phase:
    session.step()
for number, (name, data) in enumerate(session.server.outgoing().items()):
    answer = session.participants[name].respond(data, session.given[number + 1])
    if number == after:
        # Everything that lives on is on disk: the server's dump and the clients'. One answer was not sent.
        (folder / "lost").write_bytes(answer)
        (folder / "server").write_bytes(session.server.dump())
        for each, client in session.participants.items():
            (folder / each).write_bytes(client.dump())
        os.kill(os.getpid(), signal.SIGKILL)
    session.server.receive(name, answer)
"""


@pytest.mark.parametrize(
    ("phase", "adversary"),
    [
        ("share-keys", Adversary.CURIOUS_SERVER),
        ("masked-input", Adversary.SEMI_MALICIOUS_SERVER),
        ("consistency-check", Adversary.MALICIOUS_SERVER),
        ("unmasking", Adversary.MALICIOUS_SERVER),
    ],
)
def test_a_server_killed_in_mid_round_finishes_it_in_another_process(tmp_path, phase, adversary):
    root = Path(__file__).parents[3]
    killed = subprocess.run(  # noqa: S603
        [sys.executable, "-c", KILLED, str(tmp_path), phase, "4", adversary], cwd=root, check=False, capture_output=True
    )
    assert killed.returncode == -9, killed.stderr.decode()
    config = small_config(9, adversary, dropout=0.34, complete_graph=True, max_weight=20)
    session = Session(config, random_inputs(config, 3))
    session.coordinator = server = Server.load((tmp_path / "server").read_bytes(), threads=1)
    for name in session.everyone:
        session.participants[name] = Client.load((tmp_path / name).read_bytes(), **session.credentials(name))
    lost = (tmp_path / "lost").read_bytes()
    assert [name for name, client in session.participants.items() if client.outgoing == lost] == ["client-5"]
    # Everyone is asked again: the first four had answered, and the fifth says again what was lost.
    for name, data in server.outgoing().items():
        answer = session.participants[name].respond(data, session.given[number(name)])
        assert (answer == lost) is (name == "client-5")
        assert server.receive(name, answer) is (Receipt.ACCEPTED if name > "client-4" else Receipt.DUPLICATE)
    assert server.num_awaited == 0
    server.close_phase()
    session.run().assert_exact()
    assert session.survivors == set(range(1, 10))
