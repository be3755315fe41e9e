"""Transports deliver on many threads: every message counts once, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pytest

from protocols.core.machine import Inputs, Receipt
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking import wire
from protocols.masking.config import RoundConfig
from protocols.masking.messages import MaskedInput
from protocols.masking.transitions import ServerPhase
from protocols.paillier.state import AggregatorPhase
from secagg.errors import MalformedMessage
from tests.contracts.protocol_contract import THREADS, race

from ..paillier.harness import Session as PaillierSession
from ..paillier.harness import make_parameters
from .harness import Session, number, session_after, small_config


def masked_inputs(config: RoundConfig) -> tuple[Session, dict[str, bytes]]:
    """A session in which all masked inputs are ready to be delivered."""
    rng = np.random.default_rng(1)
    (spec,) = config.vectors
    given = {i: Inputs({spec.name: rng.integers(0, 8, spec.length)}) for i in range(1, config.num_clients + 1)}
    session = session_after(2, config, given=given)
    due = session.server.outgoing().items()
    return session, {name: session.participants[name].respond(data, given[number(name)]) for name, data in due}


def deliveries(session: Session, answers: Mapping[str, bytes]) -> list[Callable[[], Receipt]]:
    return [partial(session.server.receive, name, data) for name, data in answers.items()]


def finish(session: Session) -> None:
    session.server.close_phase()
    expected = sum(session.given[i].values["votes"] for i in session.run().survivors)
    wrong = session.server.result.levels["votes"] != expected
    assert not wrong.any(), f"{int(wrong.sum())} coordinates are wrong"


def test_masked_inputs_from_many_threads_are_summed_exactly():
    config = RoundConfig(ThreatModel(THREADS, 0.0, 0.1), (IntegerVector("votes", 2_000_000, max_value=7),))
    session, answers = masked_inputs(config)
    assert race(deliveries(session, answers)) == ([Receipt.ACCEPTED] * THREADS, [])
    finish(session)
    assert len(session.survivors) == THREADS


def test_one_masked_input_delivered_many_times_at_once_counts_once():
    config = RoundConfig(ThreatModel(4, 0.0, 0.1), (IntegerVector("votes", 300_000, max_value=7),))
    session, answers = masked_inputs(config)
    first, *others = deliveries(session, answers)
    receipts, errors = race([first] * THREADS)
    assert (errors, sorted(receipts)) == ([], [Receipt.ACCEPTED, *[Receipt.DUPLICATE] * (THREADS - 1)])
    for deliver in others:
        deliver()
    finish(session)


def test_closing_while_others_deliver_gives_one_answer():
    config = RoundConfig(ThreatModel(THREADS, 0.0, 0.4), (IntegerVector("votes", 300_000, max_value=7),))
    session, answers = masked_inputs(config)
    *early, one, other = deliveries(session, answers)
    for deliver in early:
        deliver()
    receipts, errors = race([session.server.close_phase, one, other])
    assert not errors
    assert set(receipts) <= {None, Receipt.ACCEPTED, Receipt.LATE}
    session.run()
    expected = sum(session.given[i].values["votes"] for i in session.survivors)
    assert len(session.survivors) == len(early) + receipts.count(Receipt.ACCEPTED)
    assert (session.server.result.levels["votes"] == expected).all()


def test_a_phase_that_begins_while_a_message_is_read_takes_it(monkeypatch):
    """Masked inputs are unpacked before the server's lock is taken, if their phase has begun by then."""
    session = session_after(1, small_config(4, dropout=0.2))
    for i in range(1, 5):
        session.take(i, session.say(i))
    ahead = MaskedInput(session.server.session_id, 1, (b"",), ())
    fingerprint = wire.fingerprint

    def begin(data: bytes) -> bytes:
        if session.server.phase is ServerPhase.SHARE_KEYS:
            session.server.close_phase()
        return fingerprint(data)

    monkeypatch.setattr(wire, "fingerprint", begin)
    with pytest.raises(MalformedMessage, match="has 1 vectors"):
        session.take(1, ahead)
    assert session.server.excluded.keys() == {"client-1"}


def test_a_paillier_aggregator_bears_threads():
    session = PaillierSession(make_parameters(THREADS))
    listed = session.commit()
    request = session.endorse(listed)
    contributions = {i: contributor.reveal(request) for i, contributor in session.contributors.items()}
    actions = [partial(session.aggregator.receive, *each) for each in contributions.items()]
    _, errors = race(actions * 2)
    assert not errors  # the second of each is a duplicate
    for i, contribution in contributions.items():
        session.relay(i, contribution)
    assert session.aggregator.phase is AggregatorPhase.CONTRIBUTIONS
    session.check(session.open(session.ask()), set(contributions))
