"""Clients that lie, babble, come late or twice: it costs them the round, and nobody else; and a server that dies."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector
from protocols.masking import wire
from protocols.masking.config import RoundConfig
from protocols.masking.messages import MaskedInput, UnmaskingShares
from protocols.masking.server import Server
from protocols.masking.transitions import ServerPhase
from secagg.errors import (
    EncodingError,
    InconsistentShares,
    MalformedMessage,
    PeerError,
    StateError,
    ThresholdError,
    UnexpectedMessage,
)
from secagg.key_agreement import KeyPair

from .harness import Session, decode_to_server, known_identities, random_inputs, small_config

replace = msgspec.structs.replace
COMPLETE = {"complete_graph": True, "dropout": 0.34}


def altering(phase, culprits, alter):
    """A hook that lets some clients send something else in a round."""

    def hook(at, client_id, data):
        if at is phase and client_id in culprits:
            return wire.encode(alter(decode_to_server(data)))
        return data

    return hook


def test_garbage_in_each_round_costs_its_sender_only():
    for phase in (
        ServerPhase.ADVERTISE_KEYS,
        ServerPhase.SHARE_KEYS,
        ServerPhase.MASKED_INPUT,
        ServerPhase.UNMASKING,
    ):
        config = small_config(9, **COMPLETE)
        session = Session(
            config,
            random_inputs(config),
            to_server=lambda at, i, data, phase=phase: b"rubbish" if at is phase and i == 4 else data,
        ).run()
        session.assert_exact()
        assert set(session.server.excluded) == {4}
        assert "MalformedMessage" in session.server.excluded[4]
        ((where, culprit, error),) = [entry for entry in session.errors if entry[0] == "server"]
        assert (where, culprit, type(error), error.culprits) == ("server", 4, MalformedMessage, {4})
        in_the_sum = phase is ServerPhase.UNMASKING
        assert (4 in session.server.result.survivors) is in_the_sum


@pytest.mark.parametrize(
    ("phase", "alter"),
    [
        (ServerPhase.ADVERTISE_KEYS, lambda m: replace(m, mask_public_key=m.cipher_public_key)),
        (ServerPhase.ADVERTISE_KEYS, lambda m: replace(m, mask_public_key=bytes(32))),
        (ServerPhase.SHARE_KEYS, lambda m: replace(m, sealed={})),
        (ServerPhase.SHARE_KEYS, lambda m: replace(m, sealed={**m.sealed, m.sender: next(iter(m.sealed.values()))})),
        (ServerPhase.MASKED_INPUT, lambda m: replace(m, vectors=m.vectors[:1])),
        (ServerPhase.MASKED_INPUT, lambda m: replace(m, vectors=(m.vectors[0] + b"\0", *m.vectors[1:]))),
        (ServerPhase.MASKED_INPUT, lambda m: replace(m, vectors=(b"\xff" * len(m.vectors[0]), *m.vectors[1:]))),
        (ServerPhase.UNMASKING, lambda m: replace(m, mask_key_shares=m.self_mask_shares, self_mask_shares={})),
        (ServerPhase.UNMASKING, lambda m: replace(m, mask_key_shares=m.self_mask_shares)),
    ],
)
def test_well_formed_nonsense_costs_its_sender_only(phase, alter):
    config = small_config(9, **COMPLETE)
    session = Session(config, random_inputs(config), to_server=altering(phase, {4}, alter)).run()
    session.assert_exact()
    assert set(session.server.excluded) == {4}


def test_who_copies_anothers_keys_is_refused():
    config = small_config(9, **COMPLETE)
    stolen = {}

    def steal(message):
        return replace(message, cipher_public_key=stolen["key"])

    def hook(phase, client_id, data):
        if phase is ServerPhase.ADVERTISE_KEYS and client_id == 1:
            stolen["key"] = decode_to_server(data).mask_public_key
        return altering(ServerPhase.ADVERTISE_KEYS, {2}, steal)(phase, client_id, data)

    session = Session(config, random_inputs(config), to_server=hook).run()
    session.assert_exact()
    assert set(session.server.excluded) == {2}


def test_late_early_double_and_foreign_messages_are_ignored():
    config = small_config(9, **COMPLETE)
    session = Session(config, random_inputs(config))
    record = {}

    def keep(phase, client_id, data):
        record[phase, client_id] = data
        return data

    session.to_server = keep
    late = session.clients[5].advertise_keys(session.outgoing[5])
    session.run_phase(silent={5})
    server = session.server
    for client_id, message, match in (
        (5, late, "during share-keys"),
        (1, decode_to_server(record[ServerPhase.ADVERTISE_KEYS, 1]), "during share-keys"),
    ):
        with pytest.raises(UnexpectedMessage, match=match):
            server.receive(client_id, message)
    answer = decode_to_server(session.answer(1, wire.encode(session.outgoing[1])))
    for client_id, message, match in (
        (5, replace(answer, sender=5), "no part in"),
        (77, replace(answer, sender=77), "no part in"),
        (2, answer, "another session or sender"),
        (1, replace(answer, session_id=bytes(32)), "another session or sender"),
    ):
        with pytest.raises(UnexpectedMessage, match=match) as caught:
            server.receive(client_id, message)
        assert caught.value.culprits == {client_id}
    server.receive(1, answer)
    with pytest.raises(UnexpectedMessage, match="a second share-keys"):
        server.receive(1, answer)
    assert not server.excluded
    session.outgoing = {i: message for i, message in session.outgoing.items() if i != 1}
    session.run_phase()
    session.run().assert_exact()
    assert server.result.survivors == set(range(1, 10)) - {5}


def test_an_excluded_client_is_not_heard_again():
    config = small_config(9, **COMPLETE)
    session = Session(config, random_inputs(config))
    with pytest.raises(MalformedMessage):
        session.server.receive_bytes(3, b"?")
    message = session.clients[3].advertise_keys(session.outgoing[3])
    with pytest.raises(UnexpectedMessage, match="excluded"):
        session.server.receive(3, message)


# --- Wrong shares


def lie(message: UnmaskingShares) -> UnmaskingShares:
    """Give other shares than one was given, of everyone."""
    wrong = {owner: bytes([7]) + share[1:-1] + b"\0" for owner, share in message.self_mask_shares.items()}
    keys = {owner: bytes([9]) + share[1:-1] + b"\0" for owner, share in message.mask_key_shares.items()}
    return replace(message, self_mask_shares=wrong, mask_key_shares=keys)


def test_liars_are_corrected_and_named_as_long_as_enough_tell_the_truth():
    config = small_config(13, complete_graph=True, dropout=0.4)  # threshold 8 of 13
    dropped = {2}
    liars = {5, 9}  # (12 - 8) // 2
    session = Session(config, random_inputs(config), to_server=altering(ServerPhase.UNMASKING, liars, lie))
    session.run({ServerPhase.MASKED_INPUT: dropped}).assert_exact()
    assert session.server.result.liars == liars


def test_more_liars_than_can_be_told_apart_end_the_round_with_an_error():
    config = small_config(13, complete_graph=True, dropout=0.4)
    liars = {1, 5, 6, 8, 9}  # 12 answer and 8 must be right
    session = Session(config, random_inputs(config), to_server=altering(ServerPhase.UNMASKING, liars, lie))
    with pytest.raises(InconsistentShares) as caught:
        session.run({ServerPhase.MASKED_INPUT: {2}})
    assert caught.value.culprits
    assert session.server.phase is ServerPhase.ABORTED


@pytest.mark.parametrize("liars", [{1}, {1, 5, 9}, {4, 5, 11, 13}])
def test_as_many_liars_as_shares_to_spare_are_found_by_trial(liars):
    config = small_config(13, complete_graph=True, dropout=0.4)  # threshold 8; the code alone corrects 2 of 12
    session = Session(config, random_inputs(config), to_server=altering(ServerPhase.UNMASKING, liars, lie))
    session.run({ServerPhase.MASKED_INPUT: {2}}).assert_exact()
    assert session.server.result.liars == liars


def test_liars_about_different_owners_are_all_named():
    config = small_config(13, complete_graph=True, dropout=0.4)

    def lie_about_one(message):
        owner = 6 if message.sender == 5 else 7
        share = message.self_mask_shares[owner]
        wrong = bytes([share[0] ^ 1]) + share[1:]
        return replace(message, self_mask_shares={**message.self_mask_shares, owner: wrong})

    # Only shares that are used are looked at: the lowest eight holders'.
    session = Session(config, random_inputs(config), to_server=altering(ServerPhase.UNMASKING, {5, 3}, lie_about_one))
    session.run().assert_exact()
    assert session.server.result.liars == {3, 5}


def test_a_dealer_of_rubbish_is_named():
    config = small_config(9, **COMPLETE)

    def rubbish(message):
        return replace(message, sealed={peer: bytes(len(sealed)) for peer, sealed in message.sealed.items()})

    session = Session(config, random_inputs(config), to_server=altering(ServerPhase.SHARE_KEYS, {4}, rubbish))
    with pytest.raises(InconsistentShares) as caught:
        session.run()
    assert caught.value.culprits == {4}


def test_one_lie_at_the_bare_threshold_is_never_a_wrong_sum():
    config = small_config(13, complete_graph=True, dropout=0.4)
    session = Session(config, random_inputs(config), to_server=altering(ServerPhase.UNMASKING, {1}, lie))
    with pytest.raises(InconsistentShares):
        session.run({ServerPhase.UNMASKING: {9, 10, 11, 12, 13}})


def test_a_mask_key_that_is_not_the_advertised_one_is_caught():
    """Client 2 deals shares of another key than it advertised, then vanishes: its masks could not be removed."""
    config = small_config(9, **COMPLETE)
    session = Session(config, random_inputs(config))
    session.run_phase()
    state = session.clients[2]._state
    session.clients[2]._state = replace(state, mask_private_key=KeyPair.generate().private_bytes)
    with pytest.raises(InconsistentShares, match="another secret than advertised") as caught:
        session.run({ServerPhase.MASKED_INPUT: {2}})
    assert caught.value.culprits == {2}


def test_a_self_mask_seed_that_is_not_the_committed_one_is_caught():
    config = small_config(9, **COMPLETE)
    session = Session(config, random_inputs(config))
    session.run_phase()
    session.clients[2]._state = replace(session.clients[2]._state, self_mask_seed=bytes(32))
    with pytest.raises(InconsistentShares, match="another secret than advertised") as caught:
        session.run()
    assert caught.value.culprits == {2}


def test_an_input_beyond_reach_is_noticed_in_the_sum():
    """A client that adds a huge number is not stopped by masks; what no summands can reach is refused all the same."""
    config = RoundConfig(ThreatModel(6, 0.0, 0.34), (FloatVector("model", 1, value_bits=2),))
    lane = config.lanes[0]
    inputs = {i: ({"model": np.zeros(1)}, 1) for i in range(1, 7)}
    session = Session(config, inputs)
    session.run_phase()
    session.run_phase()

    def overflow(message: MaskedInput) -> MaskedInput:
        top = 1 << (lane.modulus_bits - 1)
        (value,) = message.vectors[0]
        return replace(message, vectors=(bytes([(value + top) % (1 << lane.modulus_bits)]),))

    session.to_server = altering(ServerPhase.MASKED_INPUT, {1}, overflow)
    with pytest.raises(EncodingError, match="cannot reach"):
        session.run()
    assert session.server.phase is ServerPhase.ABORTED


# --- The server itself


def test_a_finished_or_aborted_session_says_so():
    config = small_config()
    session = Session(config, random_inputs(config))
    with pytest.raises(StateError, match="no result"):
        _ = session.server.result
    session.run()
    with pytest.raises(StateError, match="completed"):
        session.server.close_round()
    aborted = Session(config, random_inputs(config))
    invitation = wire.encode(aborted.outgoing[1])
    with pytest.raises(ThresholdError):
        aborted.run({ServerPhase.ADVERTISE_KEYS: range(1, 7)})
    with pytest.raises(StateError, match="aborted"):
        aborted.server.close_round()
    assert aborted.server.awaited == frozenset()
    with pytest.raises(PeerError):
        aborted.server.receive_bytes(1, invitation)


def test_a_completed_server_keeps_its_result_through_dump_and_load():
    config = small_config(max_weight=5)
    session = Session(config, random_inputs(config)).run()
    restored = Server.load(session.server.dump())
    assert restored.result.survivors == session.server.result.survivors
    assert restored.result.total_weight == session.server.result.total_weight
    for name, levels in session.server.result.levels.items():
        assert np.array_equal(restored.result.levels[name], levels)


def test_awaited_shrinks_as_clients_answer():
    config = small_config(4, dropout=0.2)
    session = Session(config, random_inputs(config))
    assert session.server.awaited == {1, 2, 3, 4}
    session.deliver(2, session.answer(2, wire.encode(session.outgoing[2])))
    assert session.server.awaited == {1, 3, 4}


def test_the_server_holds_one_sum_however_many_inputs_arrive():
    config = small_config(9, length=1000, **COMPLETE)
    session = Session(config, random_inputs(config))
    session.run_phase()
    session.run_phase()
    sizes = []
    session.before_close = lambda server: None

    def measure(phase, client_id, data):
        sizes.append(len(session.server.dump()))
        return data

    session.to_server = measure
    session.run_phase()
    # nine inputs later the memory has grown by nine ids, not by nine vectors
    assert max(sizes) - min(sizes) < 50


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.protocols.masking.harness import Session, random_inputs, small_config
from protocols.masking import wire
from protocols.core.threat_model import Adversary
from protocols.masking.transitions import ServerPhase

folder, phase, after = Path(sys.argv[1]), ServerPhase(sys.argv[2]), int(sys.argv[3])
config = small_config(9, Adversary(sys.argv[4]), dropout=0.34, complete_graph=True, max_weight=20)
session = Session(config, random_inputs(config, 3))
while session.server.phase is not phase:
    session.run_phase()
for number, (client_id, message) in enumerate(session.outgoing.items()):
    if number == after:
        # Everything that lives on is on disk: the server's dump and the clients'. One answer was not sent.
        lost = session.answer(client_id, wire.encode(message))
        (folder / "lost").write_bytes(lost)
        (folder / "server").write_bytes(session.server.dump())
        for i, client in session.clients.items():
            (folder / f"client-{i}").write_bytes(client.dump())
        os.kill(os.getpid(), signal.SIGKILL)
    session.deliver(client_id, session.answer(client_id, wire.encode(message)))
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
    from protocols.masking.client import Client

    session.known = known_identities(9) if adversary is Adversary.MALICIOUS_SERVER else {}
    session.server = Server.load((tmp_path / "server").read_bytes(), known_identities=session.known)
    for i in session.clients:
        data = (tmp_path / f"client-{i}").read_bytes()
        session.clients[i] = Client.load(data, **session._credentials(i))
    lost = (tmp_path / "lost").read_bytes()
    assert [i for i, client in session.clients.items() if client.outgoing == lost] == [5]
    # Everyone is asked again: the first four had answered, and the fifth says again what was lost.
    for client_id, message in session.server.outgoing().items():
        answer = session.answer(client_id, wire.encode(message))
        assert (answer == lost) is (client_id == 5)
        if client_id > 4:
            session.deliver(client_id, answer)
    assert session.server.awaited == frozenset()
    session.outgoing = session.server.close_round()
    session.run().assert_exact()
    assert session.server.result.survivors == set(range(1, 10))


@pytest.mark.parametrize("adversary", list(Adversary))
def test_a_crash_between_closing_and_sending_loses_nothing(adversary):
    """Both sides: after each step a party lives on from its dump alone, and says again what it had said."""
    config = small_config(9, adversary, dropout=0.34, complete_graph=True, max_weight=20)
    session = Session(config, random_inputs(config, 3))
    while session.server.phase is not ServerPhase.COMPLETED:
        before = {i: wire.encode(message) for i, message in session.server.outgoing().items()}
        session.server = Server.load(session.server.dump(), known_identities=session.known)
        assert {i: wire.encode(message) for i, message in session.server.outgoing().items()} == before
        for i, data in before.items():
            answer = session.answer(i, data)
            session.clients[i] = type(session.clients[i]).load(session.clients[i].dump(), **session._credentials(i))
            assert session.clients[i].outgoing == answer == session.answer(i, data)
            session.deliver(i, answer)
        session.server.close_round()
    session.assert_exact()
    assert session.server.outgoing() == {}
