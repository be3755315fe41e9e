import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols import Client, Participants, Server
from protocols.core import framing
from protocols.hierarchy import Hierarchy, Level, Operator, Tree
from protocols.masking.messages import VERSION
from protocols.masking.transitions import ServerPhase
from protocols.simulation.hierarchical import run_hierarchy
from protocols.simulation.masked import COLLECTED_PHASES
from secagg.errors import EncodingError, InconsistentShares, ParameterError, ThresholdError

from .trees import VECTORS, assert_same, hierarchy_of, inputs

PHASES = [phase for phase in COLLECTED_PHASES if phase is not ServerPhase.ACCEPT_SHARES]
BEFORE_INPUTS = PHASES[: PHASES.index(ServerPhase.MASKED_INPUT) + 1]


def left(tree, gone):
    """The clients that are in the total, if no more vanish than each level bears."""
    lost = set(gone)
    for level in reversed(tree.levels):
        lost |= {member for name, members in level.items() if name in lost for member in members}
    return sorted(set(tree.clients) - lost)


def test_the_total_is_that_of_one_session_bit_by_bit_whoever_vanishes_at_each_level():
    terms, tree = hierarchy_of(4, 4, 5), Tree.even((4, 4, 5))
    gone = {
        ServerPhase.MASKED_INPUT: ["client-01", "2.3", "4"],
        ServerPhase.ADVERTISE_KEYS: ["client-21", "1.2"],
        ServerPhase.SHARE_KEYS: ["client-50"],
    }
    report = run_hierarchy(terms, tree, inputs, gone)
    names = left(tree, {name for group in gone.values() for name in group})
    assert report.failures == {}
    assert report.total.survivors == {"1", "2", "3", "5"}
    assert report.total.groups == (4 * 4 - 2, 4, 1)
    assert_same(report.total, names)


def test_after_the_inputs_nobody_is_lost():
    terms, tree = hierarchy_of(4, 4), Tree.even((4, 4))
    report = run_hierarchy(terms, tree, inputs, {ServerPhase.UNMASKING: ["client-03", "3"]})
    assert_same(report.total, sorted(tree.clients))


@pytest.mark.parametrize("adversary", ["curious-server", "semi-malicious-server", "malicious-server"])
def test_each_level_has_its_own_threat_model(adversary):
    levels = (
        Level("team", 4, dropout_fraction=0.25, adversary=adversary),
        Level("whole", 4, adversary="malicious-server"),
    )
    terms, tree = Hierarchy(levels, VECTORS, 6), Tree.even((4, 4))
    report = run_hierarchy(terms, tree, inputs, {ServerPhase.MASKED_INPUT: ["client-02"]})
    assert_same(report.total, left(tree, {"client-02"}))
    below, above = (next(iter(sessions.values())).coordinator for sessions in report.sessions)
    assert bool(below.participants.keys) == (adversary == "malicious-server")
    assert above.participants.keys
    assert terms.config(0, 4).threat_model.adversary == adversary


def test_a_group_below_its_threshold_is_left_out_or_the_level_above_refused():
    terms, tree = hierarchy_of(4, 4), Tree.even((4, 4))
    two_of_a_team = {ServerPhase.MASKED_INPUT: ["client-01", "client-02"]}
    report = run_hierarchy(terms, tree, inputs, two_of_a_team)
    assert list(report.failures) == ["1"]
    assert isinstance(report.failures["1"], ThresholdError)
    assert report.total.groups == (3, 1)
    assert_same(report.total, left(tree, {"1"}))
    two_teams = {ServerPhase.MASKED_INPUT: ["client-01", "client-02", "client-05", "client-06"]}
    with pytest.raises(ThresholdError) as caught:
        run_hierarchy(terms, tree, inputs, two_teams)
    assert caught.value.needed == 3
    assert isinstance(caught.value.__cause__, ThresholdError)


@st.composite
def forests(draw):
    """Terms, a tree with groups of unequal sizes, and who vanishes when."""
    bounds = draw(st.lists(st.sampled_from([(2, 3), (3, 3), (3, 4)]), min_size=1, max_size=3))
    numbers, levels, names = itertools.count(1), [], ["top"]
    for place, (least, most) in reversed(list(enumerate(bounds))):
        made = {}
        for name in names:
            size = draw(st.integers(least, most))
            made[name] = Participants([f"{'gc'[place == 0]}{next(numbers):03}" for _ in range(size)])
        levels.insert(0, made)
        names = [member for members in made.values() for member in members]
    tree = Tree(tuple(levels))
    everyone = sorted({member for level in levels for members in level.values() for member in members})
    gone = draw(st.dictionaries(st.sampled_from(everyone), st.sampled_from(PHASES), max_size=3))
    drops = {phase: [name for name, when in gone.items() if when is phase] for phase in PHASES}
    terms = hierarchy_of(*bounds, dropout_fraction=draw(st.sampled_from([0.0, 0.34])))
    return terms, tree, drops


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
@given(forests(), st.booleans())
def test_random_trees_give_the_exact_total_of_all_that_are_left_or_a_named_error(forest, through_dumps):
    terms, tree, drops = forest

    def restore(name, party):
        kind = Operator if isinstance(party, Operator) else Client
        return kind.load(party.dump())

    def prepare(name, session):
        if through_dumps:
            session.restart = restore
            if name == "top":  # the others are in their operators' dumps
                session.restart_coordinator = lambda server: Server.load(server.dump())

    gone = {name for phase in BEFORE_INPUTS for name in drops[phase]}
    try:
        report = run_hierarchy(terms, tree, inputs, drops, prepare=prepare)
    except ThresholdError:
        assert any(drops.values())
        return
    assert_same(report.total, left(tree, gone | report.failures.keys()))


TWEAKS = ("flip", "flip and repair", "truncate", "drop", "another's")


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors])
@given(st.data())
def test_a_tampered_message_at_any_level_costs_who_sent_it_or_ends_the_round(data):
    terms, tree = hierarchy_of(4, 4), Tree.even((4, 4))
    where = data.draw(st.sampled_from(["all", "2"]))
    phase = data.draw(st.sampled_from(PHASES))
    tweak, upwards = data.draw(st.sampled_from(TWEAKS)), data.draw(st.booleans())
    victim = tree.levels[0]["2"].names[1] if where == "2" else "3"
    seen = [b"nothing yet"]

    def wire(crossing):
        if (crossing.phase, crossing.name, crossing.to_coordinator) != (phase, victim, upwards):
            seen.append(crossing.data)
            return crossing.data
        body = bytearray(crossing.data[framing.HEADER_BYTES :])
        body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        return {
            "flip": crossing.data[: framing.HEADER_BYTES] + bytes(body),
            "flip and repair": framing.MAGIC + bytes([VERSION]) + framing.digest(body) + bytes(body),
            "truncate": crossing.data[:-1],
            "drop": None,
            "another's": seen[-1],
        }[tweak]

    def prepare(name, session):
        if name == where:
            session.wire = wire

    try:
        report = run_hierarchy(terms, tree, inputs, prepare=prepare)
    except (ThresholdError, EncodingError, InconsistentShares):
        return
    whole, without = sorted(tree.clients), left(tree, {victim} | report.failures.keys())
    if tweak == "flip and repair" and upwards and phase is ServerPhase.MASKED_INPUT:
        return  # a sender may hand in whatever it likes
    assert report.total.num_clients in {len(whole), len(without), len(left(tree, {"2"}))}
    names = next(each for each in (whole, without, left(tree, {"2"})) if len(each) == report.total.num_clients)
    assert_same(report.total, names)


def test_a_tree_of_other_levels_or_sizes_is_refused():
    terms = hierarchy_of(4, 4)
    with pytest.raises(ParameterError, match="the tree has 1 levels, but the hierarchy 2"):
        run_hierarchy(terms, Tree.even((4,)), inputs)
    with pytest.raises(ParameterError, match="the number of members of a level-0 is 5"):
        run_hierarchy(terms, Tree.even((5, 4)), inputs)


def test_a_source_of_randomness_makes_the_same_messages_again():
    levels = (
        Level("team", 3, dropout_fraction=0.0),
        Level("whole", 3, dropout_fraction=0.0, adversary="malicious-server"),
    )
    said = []
    for seed in (1, 1, 2):
        messages = []

        def prepare(name, session, messages=messages):
            session.wire = lambda crossing: messages.append(crossing) or crossing.data

        source = np.random.default_rng(seed).bytes
        run_hierarchy(Hierarchy(levels, VECTORS, 6), Tree.even((3, 3)), inputs, prepare=prepare, random=source)
        said.append(messages)
    assert said[0] == said[1]
    assert not {each.data for each in said[0]} & {each.data for each in said[2]}


def test_progress_is_told_by_level():
    told = []
    run_hierarchy(hierarchy_of(3, 3), Tree.even((3, 3)), inputs, on_progress=lambda *each: told.append(each))
    assert told == [("level-0", 1, 3), ("level-0", 2, 3), ("level-0", 3, 3), ("level-1", 1, 1)]


def test_a_tree_puts_everyone_in_one_place():
    tree = Tree.even((3, 2, 2))
    assert [len(level) for level in tree.levels] == [4, 2, 1]
    assert tree.levels[2]["all"].names == ("1", "2")
    assert tree.levels[1]["2"].names == ("2.1", "2.2")
    assert tree.levels[0]["2.2"].names == ("client-10", "client-11", "client-12")
    assert tree.clients == Participants.numbered(12).names
    team, other = Participants(["a", "b"]), Participants(["b", "c"])
    with pytest.raises(ParameterError, match="'b' is in two places"):
        Tree(({"x": team, "y": other}, {"top": Participants(["x", "y"])}))
    with pytest.raises(ParameterError, match="'a' is in two places"):
        Tree(({"a": team, "y": Participants(["c", "d"])}, {"top": Participants(["a", "y"])}))
    with pytest.raises(ParameterError, match="'y' is not in both a level and the one above"):
        Tree(({"x": team, "z": Participants(["c", "d"])}, {"top": Participants(["x", "y"])}))
    with pytest.raises(ParameterError, match="has one group"):
        Tree(({"x": team, "y": Participants(["c", "d"])},))
    with pytest.raises(ParameterError, match="at least one level"):
        Tree.even(())


def test_ten_thousand_summed_through_four_levels_fit_what_the_widths_have_room_for():
    terms = hierarchy_of(10, 10, 10, 10)
    loudest = terms.range_of(VECTORS[0])[1]
    bits = [terms.config(level, 10).modulus_bits for level in range(4)]
    assert bits == sorted(bits)
    for level in range(1, 4):
        spec = terms.config(level, 10).vectors[0]
        assert spec.max_value == loudest * 10**level == -spec.min_value
        assert np.iinfo(np.int64).max > spec.max_value * 10
