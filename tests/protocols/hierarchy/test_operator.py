import copy
import dataclasses
import pickle

import numpy as np
import pytest

from protocols import Client, Participants, Server
from protocols.core import dumps
from protocols.hierarchy import Consent, Operator, Total, Tree, policy_of
from protocols.masking.transitions import ClientPhase, ServerPhase
from protocols.simulation.driver import Session
from protocols.simulation.hierarchical import run_hierarchy
from secagg.errors import EncodingError, ParameterError, StateError, ThresholdError
from secagg.residues import pack

from .trees import ANY, assert_same, hierarchy_of, inputs

TERMS, TREE = hierarchy_of(3, 4), Tree.even((3, 4))


def new_operator(name="1", **given):
    return Operator(TERMS, 0, TREE.levels[0][name], **(ANY | given))


def run_group(operator, silent=None):
    def join(name):
        return Client(policy=policy_of(TERMS, 0, **ANY))

    def given(name):
        return TERMS.inputs(inputs(name).values, inputs(name).weight)

    return Session(operator.group, join, given).run(silent)


def run_above(operators):
    server = Server(TERMS.config(1, 4), TREE.levels[1]["all"])
    session = Session(server, operators.__getitem__, lambda name: {})
    return session, Total.of(TERMS, 1, session.run())


def test_an_operator_answers_above_before_its_group_has_ended_and_hands_up_once_it_has():
    operators = {name: new_operator(name) for name in TREE.levels[0]}
    server = Server(TERMS.config(1, 4), TREE.levels[1]["all"])
    session = Session(server, operators.__getitem__, lambda name: {})
    session.step()
    session.step()  # keys and shares: nobody's total is needed yet
    assert {each.phase for each in operators.values()} == {ClientPhase.SHARED}
    asked = server.outgoing()["1"]
    before = operators["1"].dump()
    with pytest.raises(StateError, match="there is no result"):
        operators["1"].respond(asked)
    assert operators["1"].dump() == before
    for operator in operators.values():
        run_group(operator)
    while not server.ended:
        session.step()
    assert all(operator.ended for operator in operators.values())
    assert_same(Total.of(TERMS, 1, server.result), sorted(TREE.clients))


def test_the_operator_of_a_group_without_a_sum_says_nothing_more():
    operators = {name: new_operator(name) for name in TREE.levels[0]}
    with pytest.raises(ThresholdError):
        run_group(operators["2"], {ServerPhase.MASKED_INPUT: TREE.levels[0]["2"].names[:2]})
    for name in ("1", "3", "4"):
        run_group(operators[name])
    server = Server(TERMS.config(1, 4), TREE.levels[1]["all"])
    with pytest.raises(StateError, match="left out above"):
        operators["2"].respond(server.outgoing()["2"])
    session, total = run_above(operators)
    assert total.survivors == {"1", "3", "4"}
    assert [refusal.name for refusal in session.refusals] == ["2"]
    with pytest.raises(StateError, match="there is no result"):
        _ = operators["2"].total


def test_what_an_operator_sends_up_is_masked():
    sent = []

    def prepare(name, session):
        if name == "all":
            session.wire = lambda crossing: sent.append(crossing) or crossing.data

    report = run_hierarchy(TERMS, TREE, inputs, prepare=prepare)
    masked = {each.name: each.data for each in sent if each.phase == "masked-input" and each.to_coordinator}
    config = TERMS.config(1, 4)
    assert len(masked) == 4
    for name, session in report.sessions[0].items():
        plain = Total.of(TERMS, 0, session.coordinator.result).handed_up()
        residues = config.encode(plain.values, session_id=bytes(32))[0].residues
        assert pack(residues, config.codecs[0].modulus_bits) not in masked[name]


def test_an_operator_goes_on_from_its_dump_in_the_middle_of_both_sessions():
    operators = {name: new_operator(name) for name in TREE.levels[0]}
    server = Server(TERMS.config(1, 4), TREE.levels[1]["all"])
    above = Session(server, operators.__getitem__, lambda name: {}, restart=lambda _, each: Operator.load(each.dump()))
    above.step()
    for name, participant in above.participants.items():
        operators[name] = Operator.load(participant.dump())
        assert operators[name].phase is ClientPhase.ADVERTISED
        assert operators[name].group.phase is ServerPhase.ADVERTISE_KEYS
        run_group(operators[name])
        again = Operator.load(operators[name].dump())
        assert again.total.levels["counts"].tolist() == operators[name].total.levels["counts"].tolist()
    above.participants.update(operators)
    while not server.ended:
        above.step()
    assert_same(Total.of(TERMS, 1, server.result), sorted(TREE.clients))


def test_a_dump_that_is_none_is_a_state_error():
    good = new_operator().dump()
    for bad in (b"", good[:-1], dumps.encode_state([1, 2, 3]), new_operator().group.dump()):
        with pytest.raises(StateError):
            Operator.load(bad)


def test_a_restored_operator_holds_the_session_above_against_the_terms():
    operator = Operator.load(new_operator().dump())
    other = Server(hierarchy_of(3, 4, max_weight=5).config(1, 4), TREE.levels[1]["all"])
    with pytest.raises(ParameterError, match="other levels, vectors or widths"):
        operator.respond(other.outgoing()["1"])


def test_an_operator_is_neither_copied_nor_pickled():
    operator = new_operator()
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(StateError):
            attempt(operator)
    assert repr(operator) == "Operator(group=advertise-keys, above=invited)"


def test_nothing_is_above_the_highest_level():
    with pytest.raises(ParameterError, match="nothing is above level 1"):
        Operator(TERMS, 1, Participants(["1", "2", "3", "4"]), **ANY)
    with pytest.raises(ParameterError, match="level is -1"):
        Operator(TERMS, -1, TREE.levels[0]["1"], **ANY)
    with pytest.raises(ParameterError, match="the number of members of a level-0 is 4"):
        Operator(TERMS, 0, Participants(["1", "2", "3", "4"]), **ANY)


def lying(monkeypatch, name, change):
    """Let one operator hand up something else than its total."""
    true = Total.handed_up

    def handed_up(self):
        given = true(self)
        if self.survivors <= set(TREE.levels[0][name]):
            change(given.values)
        return given

    monkeypatch.setattr(Total, "handed_up", handed_up)


@pytest.mark.parametrize(
    ("at", "value", "match"),
    [(0, 0, "4 sums of a level-0 were said to have 9 members"), (1, 3, "totals of 6: one says"), (1, 0, "totals of 3")],
)
def test_counts_that_groups_cannot_have_end_the_level_above(at, value, match, monkeypatch):
    lying(monkeypatch, "3", lambda values: values[TERMS.bound].__setitem__(at, value))
    with pytest.raises(EncodingError, match=match):
        run_hierarchy(TERMS, TREE, inputs)


def result_above():
    return run_hierarchy(TERMS, TREE, inputs).sessions[1]["all"].coordinator.result


@pytest.mark.parametrize(
    ("name", "at", "value", "match"),
    [
        ("hierarchy weight", 0, 12 * 6 + 1, "to have a weight of 73"),
        ("hierarchy clipped", 0, 12 * 7 + 1, "85 coordinates of 'update' were said to be clipped"),
        ("hierarchy clipped", 1, 12 * 2 + 1, "25 coordinates of 'metrics'"),
        ("update", 3, None, "the sum of 'update' is beyond what 12 clients can reach"),
        ("metrics", 1, -12 * 127 - 1, "the sum of 'metrics'"),
        ("counts", 2, 12 * 9 + 1, "the sum of 'counts'"),
        ("counts", 2, -12 * 3 - 1, "the sum of 'counts'"),
    ],
)
def test_a_total_that_its_clients_cannot_reach_is_refused(name, at, value, match):
    result = result_above()
    Total.of(TERMS, 1, result)
    if value is None:  # exactly: more than all weight at the largest level
        value = int(result.levels["hierarchy weight"][0]) * 2047 + 1
    changed = np.array(result.levels[name])
    changed[at] = value
    with pytest.raises(EncodingError, match=match):
        Total.of(TERMS, 1, dataclasses.replace(result, levels={**result.levels, name: changed}))


def test_a_result_of_another_session_is_no_total():
    result = result_above()
    with pytest.raises(ParameterError, match="not of a session of this hierarchy at level 0"):
        Total.of(TERMS, 0, result)
    with pytest.raises(ParameterError, match="at level 1"):
        Total.of(hierarchy_of(3, 4, max_weight=5), 1, result)
    total = Total.of(TERMS, 1, result)
    with pytest.raises(ParameterError, match="has no vector 'weights'"):
        total.sum("weights")
    nobody = dataclasses.replace(total, total_weight=0)
    with pytest.raises(StateError, match="total weight is zero"):
        nobody.mean("update")
    assert nobody.mean("counts").shape == (3,)


def test_a_lying_operator_moves_the_total_to_its_groups_bound_and_not_beyond(monkeypatch):
    """What is promised of clients holds of operators: one of them lies within what all of its group could say."""
    honest = run_hierarchy(TERMS, TREE, inputs).total
    lying(monkeypatch, "3", lambda values: values["counts"].__setitem__(0, 27))
    moved = run_hierarchy(TERMS, TREE, inputs).total
    own = sum(int(inputs(name).values["counts"][0]) for name in TREE.levels[0]["3"])
    assert moved.levels["counts"][0] - honest.levels["counts"][0] == 27 - own
    monkeypatch.undo()
    lying(monkeypatch, "3", lambda values: values["counts"].__setitem__(0, 28))
    left_out = run_hierarchy(TERMS, TREE, inputs).total  # what cannot be encoded does not leave
    assert left_out.survivors == {"1", "2", "4"}


def test_an_operator_refuses_a_hierarchy_that_it_does_not_consent_to():
    with pytest.raises(ParameterError, match="consents to 1, up to the level-0"):
        new_operator(consent=Consent(max_levels=1, min_honest=0))
    with pytest.raises(ParameterError, match="a sum of 3 inputs that are not corrupt, but this client demands 4"):
        new_operator(consent=Consent())
    bare = Operator(TERMS, 0, TREE.levels[0]["1"], consent=Consent(min_honest=0))
    server = Server(TERMS.config(1, 4), TREE.levels[1]["all"])
    with pytest.raises(ParameterError, match="the round invites 4 clients, but this client demands 5"):
        bare.respond(server.outgoing()["1"])
