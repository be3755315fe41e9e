"""Transports deliver on many threads: every message counts once, or is refused by name."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest

from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking import wire
from protocols.masking.config import RoundConfig
from protocols.masking.transitions import ServerPhase
from protocols.paillier.state import AggregatorPhase
from secagg.errors import SecAggError, UnexpectedMessage

from ..paillier.harness import Session as PaillierSession
from ..paillier.harness import make_parameters
from .harness import Session, small_config

THREADS = 8


@pytest.fixture(autouse=True)
def _switch_often():
    """Lets threads meet in the middle of what is not locked."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def race(actions: Sequence[Callable[[], object]]) -> list[SecAggError]:
    """Run all actions at once, a thread each; return the errors that were raised."""
    barrier, errors = threading.Barrier(len(actions)), []

    def run(action: Callable[[], object]) -> None:
        barrier.wait()
        try:
            action()
        except SecAggError as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def masked_inputs(config: RoundConfig) -> tuple[Session, dict[int, bytes]]:
    """A session in which all masked inputs are ready to be delivered."""
    rng = np.random.default_rng(1)
    lengths = {spec.name: spec.length for spec in config.vectors}
    inputs = {
        i: ({name: rng.integers(0, 8, length) for name, length in lengths.items()}, 1)
        for i in range(1, config.threat_model.num_clients + 1)
    }
    session = Session(config, inputs)
    while session.server.phase is not ServerPhase.MASKED_INPUT:
        session.run_phase()
    return session, {i: session.answer(i, wire.encode(message)) for i, message in session.outgoing.items()}


def finish(session: Session) -> None:
    session.outgoing = session.server.close_round()
    session.run()
    result = session.server.result
    assert result.survivors == set(session.inputs)
    for name, levels in result.levels.items():
        expected = sum(values[name] for values, _ in session.inputs.values())
        assert (levels == expected).all(), f"{int((levels != expected).sum())} coordinates of {name} are wrong"


def test_masked_inputs_from_many_threads_are_summed_exactly():
    config = RoundConfig(ThreatModel(THREADS, 0.0, 0.1), (IntegerVector("votes", 2_000_000, max_value=7),))
    session, answers = masked_inputs(config)
    errors = race([lambda i=i: session.server.receive_bytes(i, answers[i]) for i in answers])
    assert not errors
    finish(session)


def test_one_masked_input_delivered_many_times_at_once_counts_once():
    config = RoundConfig(ThreatModel(4, 0.0, 0.1), (IntegerVector("votes", 300_000, max_value=7),))
    session, answers = masked_inputs(config)
    errors = race([lambda: session.server.receive_bytes(1, answers[1])] * THREADS)
    assert [type(error) for error in errors] == [UnexpectedMessage] * (THREADS - 1)
    for i in set(answers) - {1}:
        session.server.receive_bytes(i, answers[i])
    finish(session)


def test_every_phase_bears_threads():
    config = small_config(THREADS, dropout=0.1)
    session = Session(config, {})
    for phase in (ServerPhase.ADVERTISE_KEYS, ServerPhase.SHARE_KEYS):
        assert session.server.phase is phase
        answers = {i: session.clients[i].respond_bytes(wire.encode(m)) for i, m in session.outgoing.items()}
        deliveries = [partial(session.server.receive_bytes, i, answer) for i, answer in answers.items()]
        assert len(race(deliveries * 2)) == THREADS  # the second delivery of each is refused
        assert not session.server.awaited
        assert not session.server.excluded
        session.outgoing = session.server.close_round()
        assert set(session.outgoing) == set(answers)


def test_closing_while_others_deliver_gives_one_answer():
    config = RoundConfig(ThreatModel(THREADS, 0.0, 0.4), (IntegerVector("votes", 300_000, max_value=7),))
    session, answers = masked_inputs(config)
    late = set(list(answers)[:2])
    for i in answers.keys() - late:
        session.server.receive_bytes(i, answers[i])
    closed: list[object] = []
    deliveries: list[Callable[[], object]] = [lambda i=i: session.server.receive_bytes(i, answers[i]) for i in late]
    errors = race([lambda: closed.append(session.server.close_round()), *deliveries])
    assert all(isinstance(error, UnexpectedMessage) for error in errors)
    session.outgoing = closed[0]
    session.run()
    expected = sum(session.inputs[i][0]["votes"] for i in session.server.result.survivors)
    assert (session.server.result.levels["votes"] == expected).all()


def test_a_paillier_aggregator_bears_threads():
    session = PaillierSession(make_parameters(THREADS))
    listed = session.commit()
    request = session.endorse(listed)
    contributions = {i: contributor.reveal(request) for i, contributor in session.contributors.items()}
    deliveries = [lambda i=i: session.aggregator.receive(i, contributions[i]) for i in contributions]
    errors = race(deliveries * 2)
    assert [type(error) for error in errors] == [UnexpectedMessage] * THREADS
    for i, contribution in contributions.items():
        session.relay(i, contribution)
    assert session.aggregator.phase is AggregatorPhase.CONTRIBUTIONS
    session.check(session.open(session.ask()), set(contributions))
