"""Any session ends in the exact sum of its survivors, or in a named error because too few were left."""

import re
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.listener import PhaseOpened
from protocols.core.machine import Inputs
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector, IntegerVector
from protocols.masking import wire
from protocols.masking.config import RoundConfig
from protocols.masking.policy import ClientPolicy
from protocols.masking.topology import GraphKind
from protocols.masking.transitions import ClientPhase, ServerPhase
from protocols.simulation.masked import COLLECTED_PHASES, collected_phases
from secagg.encoding import Rounding
from secagg.errors import EncodingError, MalformedMessage, ParameterError, ThresholdError, UnexpectedMessage

from .harness import Session, random_inputs, session_after, small_config


@st.composite
def configurations(draw: st.DrawFn) -> RoundConfig:
    """Any possible round of up to 14 clients: adversary, graph, lengths, bits and weights."""
    adversary = draw(st.sampled_from(Adversary))
    num_clients = draw(st.integers(2, 14))
    dropout = draw(st.sampled_from([0.0, 0.1, 0.2, 0.3]))
    corrupt = draw(st.sampled_from([0.0, 0.1]))
    max_weight = draw(st.sampled_from([1, 7, 1000]))
    spec = FloatVector(
        "model",
        draw(st.one_of(st.integers(0, 9), st.integers(1000, 3000))),
        clip=draw(st.sampled_from([1e-3, 1.0, 250.0])),
        value_bits=draw(st.integers(2, 40)),
        weighted=max_weight > 1,
        rounding=Rounding.NEAREST,
    )
    votes = IntegerVector("votes", draw(st.integers(0, 3)), max_value=draw(st.sampled_from([1, 5, 2**40])))
    try:
        model = ThreatModel(num_clients, corrupt, dropout, adversary)
        return RoundConfig(model, (spec, votes), max_weight=max_weight, graph=draw(st.sampled_from(GraphKind)))
    except ParameterError:
        # Impossible against this adversary: the same with nobody corrupt and nobody vanishing is possible.
        model = ThreatModel(max(num_clients, 3), 0.0, 0.0, adversary)
        return RoundConfig(model, (spec, votes), max_weight=max_weight)


@st.composite
def dropout_patterns(draw: st.DrawFn, num_clients: int) -> dict[ServerPhase, frozenset[int]]:
    """Anyone may vanish in any round: mostly a few, sometimes too many."""
    most = draw(st.sampled_from([0, 1, 1, 2, num_clients // 3, num_clients]))
    vanishing = draw(st.lists(st.integers(1, num_clients), unique=True, max_size=most))
    pattern: dict[ServerPhase, set[int]] = {phase: set() for phase in COLLECTED_PHASES}
    for client_id in vanishing:
        pattern[draw(st.sampled_from(COLLECTED_PHASES))].add(client_id)
    return {phase: frozenset(clients) for phase, clients in pattern.items()}


@given(st.data())
@settings(max_examples=50)
def test_any_session_is_exact_or_ends_for_want_of_clients(data):
    config = data.draw(configurations())
    drops = data.draw(dropout_patterns(config.threat_model.num_clients))
    given = random_inputs(config, data.draw(st.integers(0, 99)))
    session = Session(config, given, through_dumps=data.draw(st.booleans()))
    try:
        session.run(drops)
    except ThresholdError:
        assert session.server.phase is ServerPhase.ABORTED
        return
    session.assert_exact()
    gone_before_input = (
        drops[ServerPhase.ADVERTISE_KEYS] | drops[ServerPhase.SHARE_KEYS] | drops[ServerPhase.MASKED_INPUT]
    )
    if config.threat_model.adversary.needs_identities:
        gone_before_input |= drops[ServerPhase.ACCEPT_SHARES]
    assert not session.survivors & gone_before_input
    # Who vanishes after its input is in the sum all the same.
    assert drops[ServerPhase.UNMASKING] <= session.survivors | gone_before_input
    assert not session.server.excluded


PHASES_OF_EACH = [(adversary, phase) for adversary in Adversary for phase in collected_phases(adversary)]


@pytest.mark.parametrize(("adversary", "phase"), PHASES_OF_EACH)
def test_tolerated_dropouts_in_each_phase_leave_the_sum_exact(adversary, phase):
    config = small_config(13, adversary, dropout=0.25, max_weight=50)
    vanishing = set(range(2, 2 + config.threat_model.max_dropouts))
    session = Session(config).run({phase: vanishing})
    session.assert_exact()
    late = {ServerPhase.CONSISTENCY_CHECK, ServerPhase.UNMASKING}
    assert session.survivors == set(range(1, 14)) - (set() if phase in late else vanishing)


@pytest.mark.parametrize(("adversary", "phase"), PHASES_OF_EACH)
def test_too_many_dropouts_in_each_phase_end_it(adversary, phase):
    config = small_config(13, adversary, dropout=0.25)
    heard = []
    session = Session(config, listener=heard.append)
    with pytest.raises(ThresholdError):
        session.run({phase: set(range(1, 13))})
    assert session.server.phase is ServerPhase.ABORTED
    # It ends where the clients vanish: before anyone is asked for shares, unless that is where they vanish.
    assert [event for event in heard if isinstance(event, PhaseOpened)][-1].phase == phase
    assert session.server.revealed is (phase is ServerPhase.UNMASKING)


@pytest.mark.parametrize("rubbish", [False, True])
def test_listeners_hear_when_the_lock_is_free(rubbish):
    """A listener that waits for a thread which asks the server would wait for ever."""
    free = []

    def hear(_):
        if made:
            asking = Thread(target=lambda: free.append(made[0].server.num_awaited >= 0), daemon=True)
            asking.start()
            asking.join(10)
            assert not asking.is_alive()

    made: list[Session] = []
    made.append(Session(small_config(5), listener=hear))
    if rubbish:
        with pytest.raises(MalformedMessage):
            made[0].server.receive("client-1", b"rubbish")
    else:
        made[0].run().assert_exact()
    assert len(free) > 0


def test_a_minimum_above_the_threshold_is_kept_in_every_phase():
    config = small_config(9, complete_graph=True, dropout=0.34, min_survivors=8)
    assert config.min_survivors > config.topology.threshold
    for phase in (ServerPhase.ADVERTISE_KEYS, ServerPhase.SHARE_KEYS, ServerPhase.MASKED_INPUT):
        Session(config).run({phase: {1}}).assert_exact()
        session = Session(config)
        with pytest.raises(ThresholdError) as caught:
            session.run({phase: {1, 2}})
        assert (caught.value.needed, caught.value.have) == (8, 7)
        assert session.server.phase is ServerPhase.ABORTED
    # Who vanishes after its input is in the sum.
    Session(config).run({ServerPhase.UNMASKING: {1, 2}}).assert_exact()


@pytest.mark.parametrize("clip", [1, 2.5])
def test_integers_where_floats_are_meant_are_hashed_alike_on_both_sides(clip):
    model = ThreatModel(6, 0, 0.34)
    config = RoundConfig(model, (FloatVector("model", 3, clip=clip, rounding=Rounding.NEAREST),))
    Session(config).run().assert_exact()


def test_the_smallest_models_survive_what_they_promise():
    # floor(gamma n) = 0: the threshold must still be within reach of whoever is left (docs/decisions/0008).
    for n, dropout in ((10, 0.1), (13, 0.25), (12, 0.3), (20, 0.05)):
        config = small_config(n, corrupt=0.0, dropout=dropout, length=1)
        for start in range(1, n + 1, 4):
            vanishing = {1 + (start + i) % n for i in range(config.threat_model.max_dropouts)}
            Session(config).run({ServerPhase.MASKED_INPUT: vanishing}).assert_exact()


def test_threshold_is_exact_in_the_complete_graph():
    config = small_config(9, complete_graph=True, dropout=0.34)
    spare = 9 - config.topology.threshold
    Session(config).run({ServerPhase.UNMASKING: range(1, 1 + spare)}).assert_exact()
    with pytest.raises(ThresholdError) as caught:
        Session(config).run({ServerPhase.UNMASKING: range(1, 2 + spare)})
    assert (caught.value.needed, caught.value.have) == (config.topology.threshold, config.topology.threshold - 1)


def test_a_hundred_clients_on_a_sparse_graph_with_dropouts_everywhere():
    config = small_config(100, corrupt=0.1, dropout=0.2, max_weight=10_000)
    assert not config.topology.complete
    drops = {
        ServerPhase.ADVERTISE_KEYS: range(1, 6),
        ServerPhase.SHARE_KEYS: range(6, 11),
        ServerPhase.MASKED_INPUT: range(11, 16),
        ServerPhase.UNMASKING: range(16, 21),
    }
    session = Session(config).run(drops)
    session.assert_exact()
    assert session.survivors == set(range(16, 101))


def test_means_and_sums_are_those_of_the_survivors():
    config = small_config(6, max_weight=9)
    inputs = random_inputs(config, seed=5)
    session = Session(config, inputs).run({ServerPhase.MASKED_INPUT: {3}})
    result, weights = session.server.result, {i: inputs[i].weight for i in session.survivors}
    expected = sum(weights[i] * np.clip(inputs[i].values["model"], -1, 1) for i in weights) / sum(weights.values())
    assert np.abs(result.mean("model") - expected).max() <= 0.5 / 32767
    assert result.sum("votes").tolist() == sum(inputs[i].values["votes"] for i in weights).tolist()
    assert result.mean("votes").tolist() == (result.sum("votes") / 5).tolist()


def test_clients_report_what_was_clipped():
    session = Session(small_config())
    session.given[1] = Inputs({"model": np.array([2.0, -2, 0, 0, 0]), "votes": np.zeros(2, dtype=int)})
    session.run()
    assert session.client(1).num_clipped == {"model": 2, "votes": 0}


def test_inputs_are_values_or_inputs_or_a_function_that_makes_them():
    values = random_inputs(small_config())[1].values
    for made in (values, Inputs(values), lambda: values, lambda: Inputs(values)):
        session = session_after(2, small_config())
        assert session.client(1).respond(session.server.outgoing()["client-1"], made)  # weight 1: others are refused
    assert repr(Inputs(values)) == "Inputs(model, votes)"


def test_a_result_shows_no_sums():
    result = Session(small_config(5)).run().server.result
    assert repr(result).startswith("RoundResult(survivors=frozenset({")
    assert not {"levels", "array", "session_id"} & set(re.findall(r"\w+", repr(result)))


@pytest.mark.parametrize("given", [None, Inputs({"model": np.full(5, np.nan), "votes": np.zeros(2, dtype=int)})])
def test_a_bad_input_changes_nothing_and_can_be_corrected(given):
    session = session_after(2, small_config())
    good, session.given[1] = session.given[1], given
    before = session.client(1).dump()
    with pytest.raises(EncodingError, match="index 0" if given else "the round sums"):
        session.say(1)
    assert session.client(1).dump() == before
    session.given[1] = good
    session.run().assert_exact()
    assert session.survivors == set(range(1, 7))


def test_inputs_are_asked_for_when_enough_others_take_part_and_not_before():
    session = session_after(2, small_config())
    asked = []

    def given():
        asked.append(1)
        return session.given[1]

    client = session.client(1)
    for message, error in (
        (session.message(1, session_id=bytes(32)), UnexpectedMessage),
        (session.message(1, recipient=2), UnexpectedMessage),
        (session.message(1, dealers=(), sealed=b"", commitments=b""), ThresholdError),
    ):
        with pytest.raises(error):
            client.respond(wire.encode(message), given)
    assert client.phase is ClientPhase.ABORTED
    assert not asked


def test_a_policy_of_the_client_is_its_own():
    session = Session(small_config(), policy=ClientPolicy(corrupt_fraction=0.3))
    with pytest.raises(ThresholdError):
        session.run()
    assert {type(refusal.error) for refusal in session.refusals} == {ParameterError}
    assert {client.phase for client in session.participants.values()} == {ClientPhase.ABORTED}
