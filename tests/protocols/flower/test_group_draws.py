"""What nodes refuse of a server that plans, draws or deals groups to its liking, and what they remember of draws."""

import dataclasses
import os

import msgspec
import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto

from protocols import ClientPolicy, PrivacyDemand, RoundConfig, ThreatModel
from protocols.core.participants import Participants
from protocols.flower import SecAggGrid, SecAggMod, SecAggSettings
from protocols.flower.announcement import node_name
from protocols.flower.draw_answers import DrawTerms
from protocols.flower.envelope import RECORD, STATISTICS, record_of
from protocols.flower.grouped import RunGroups
from protocols.flower.own_group import KEPT_GROUPS, Draws, OwnGroup, group_in, remembered
from protocols.flower.report import RoundReport
from protocols.flower.session import Session
from protocols.groups import GroupedRounds, Groups, deal
from protocols.groups import messages as wire
from secagg.errors import ParameterError, StateError, UnexpectedMessage
from secagg.signatures import Identity

from .grouped import (
    COMMITMENTS,
    MALICIOUS,
    MODEL,
    NONCES,
    RUN_ID,
    SETTLEMENT,
    WEIGHT,
    groups_of,
    identity_of,
    make_nodes,
    node_id,
    plan_of,
    roster,
    training,
)
from .in_process import train_messages

COUNT = 15
VICTIM = 2


def settings_of(folder, **changes):
    plan = changes.pop("plan", plan_of())
    options = {"metrics": ["loss"], "max_weight": WEIGHT, "value_bits": 28, "roster": roster(folder, COUNT)}
    return SecAggSettings(groups=plan, **(options | changes))


def run(grid, settings, partitions=range(COUNT)):
    secure = SecAggGrid(grid, settings)
    messages = train_messages(MODEL, [node_id(partition) for partition in partitions])
    return list(secure.send_and_receive(messages, timeout=30)), secure.reports[-1]


def answer_again(grid, before, message, answer):
    """Have a node answer from a state of before, as after a kill, and put the state of now back."""
    context = grid.nodes[message.metadata.dst_node_id]
    now, context.state = context.state, recorddict_from_proto(before)
    reply = answer(message)
    context.state = now
    return reply


def only_at(number, partition, do):
    def disturb(exchange, node, message, answer):
        if (exchange, node) != (number, node_id(partition)):
            return answer(message)
        return do(message, answer)

    return disturb


# --- consent --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["code", "operator"])
def test_a_node_joins_no_group_unless_its_code_or_operator_says_so(who, tmp_path):
    refusing = make_nodes(tmp_path, options=lambda _: {"min_group": None}, run_config={"secagg-min-group": 2})
    with pytest.raises(ParameterError, match=r"joins no group, in which it would be hidden among few"):
        run(refusing, settings_of(tmp_path))
    said = {"options": lambda _: {"min_group": 5}}
    if who == "operator":
        said = {"options": lambda _: {"min_group": None}, "node_config": lambda _: {"secagg-min-group": 5}}
    replies, report = run(make_nodes(tmp_path, **said), settings_of(tmp_path))
    assert report.failures == {}
    assert replies[0].has_content()


@pytest.mark.parametrize(
    "said",
    [
        {"options": lambda _: {"min_group": 6}},
        {"node_config": lambda _: {"secagg-min-group": 6}},
        {"run_config": {"secagg-min-group": 6}},
    ],
    ids=["code", "operator", "run"],
)
def test_the_largest_of_all_demands_on_a_groups_size_holds(said, tmp_path):
    with pytest.raises(ParameterError, match="plans groups of 5 nodes, but this node joins none of fewer than 6"):
        run(make_nodes(tmp_path, **said), settings_of(tmp_path))


@pytest.mark.parametrize("name", ["identity", "roster"])
def test_keys_are_keys_or_paths(name):
    with pytest.raises(ParameterError, match=f"{name} is a list, but must be .* or .* file's path"):
        SecAggMod(**{name: []})


@pytest.mark.parametrize("value", ["three", 1, True, 2.5])
def test_a_groups_size_is_a_number_from_2(value, tmp_path):
    with pytest.raises(ParameterError, match="min_group is"):
        SecAggMod(min_group=value)
    with pytest.raises(ParameterError, match="secagg-min-group is"):
        run(make_nodes(tmp_path, node_config=lambda _: {"secagg-min-group": value}), settings_of(tmp_path))


DEMANDS = {
    "corrupt": (ClientPolicy(corrupt_fraction=0.2), r"a fraction of 0\.1, but this node demands 0, and 0\.2"),
    "corrupt by number": (ClientPolicy(corrupt_clients=2), r"plans for 1 corrupt nodes"),
    "clients": (ClientPolicy(min_clients=6), "demands sessions of 6 clients, but its group has 5"),
    "no more clients": (ClientPolicy(min_clients=2, max_clients=4), "at most 4 clients, but its group has 5"),
    "noise": (ClientPolicy(privacy=PrivacyDemand(8.0, 1e-5)), "the sums of groups would have no noise"),
}


@pytest.mark.parametrize("name", DEMANDS)
def test_a_plan_must_meet_what_a_node_demands_of_rounds(name, tmp_path):
    policy, text = DEMANDS[name]
    with pytest.raises(ParameterError, match=text):
        run(make_nodes(tmp_path, options=lambda _: {"policy": policy}), settings_of(tmp_path))


def test_the_sums_of_groups_are_held_to_the_nodes_own_demands(tmp_path):
    policy = ClientPolicy(min_survivors=5)
    with pytest.raises(ParameterError, match="may sum as few as 4 inputs, but this client demands 5"):
        run(make_nodes(tmp_path, options=lambda _: {"policy": policy}), settings_of(tmp_path))


# --- servers that choose --------------------------------------------------------------------------------------------


def test_a_server_that_deals_the_groups_itself_without_a_draw_is_refused(tmp_path, monkeypatch):
    def own(self, session):
        session.identities()
        keys = {node_name(node_id(p)): identity_of(p).public_bytes for p in range(COUNT)}
        return deal(self.plan, Participants(keys), bytes(32))

    monkeypatch.setattr(RunGroups, "of", own)
    trained = []
    grid = make_nodes(tmp_path, train=lambda arrays, p: trained.append(p) or training(arrays, p))
    with pytest.raises(ParameterError, match="session of a group, but this node is in none in this run"):
        run(grid, settings_of(tmp_path))
    assert trained == []


def test_a_server_that_deals_other_groups_than_were_drawn_gets_no_input(tmp_path, monkeypatch):
    honest = RunGroups.of

    def other(self, session):
        drawn = honest(self, session)
        members = [list(group.keys.items()) for group in drawn.members]
        mixed = (members[at][:3] + members[at - 1][3:] for at in range(3))
        return Groups(drawn.coin, tuple(Participants(dict(group)) for group in mixed))

    monkeypatch.setattr(RunGroups, "of", other)
    trained = []
    grid = make_nodes(tmp_path, train=lambda arrays, p: trained.append(p) or training(arrays, p))
    try:
        replies, report = run(grid, settings_of(tmp_path))
    except ParameterError as error:  # where no node's number in the other group happens to be its own
        assert "the server gives this node the number" in str(error)  # noqa: PT017
    else:
        assert all(reply.has_error() for reply in replies)
        assert "0 of 3 groups have a sum" in report.error
    assert trained == []
    assert len(groups_of(grid)) == 3


def test_after_a_draw_no_session_of_others_is_joined_in_that_run(tmp_path):
    """A victim among three of the server's own, or a subset of a group."""
    grid = make_nodes(tmp_path, options=lambda _: {"policy": ClientPolicy.permissive()})
    assert run(grid, settings_of(tmp_path))[0][0].has_content()
    plain = SecAggSettings(metrics=["loss"], adversary=MALICIOUS, roster=roster(tmp_path, COUNT), max_weight=WEIGHT)
    group = groups_of(grid)[0]
    for others in (range(6), group[:4], group):
        with pytest.raises(ParameterError, match="other nodes than its group's: this node is in one group in this run"):
            run(grid, plain, others)


@pytest.mark.parametrize("settled", [True, False])
def test_a_session_that_began_before_the_draw_does_not_go_on_after_it(settled, tmp_path):
    """The server, which knows the groups by now, would have a group and one node more survive, and subtract."""
    trained = []

    def hold_back(number, node, message, answer):
        return answer(message) if "draw" not in message.content[RECORD] or number < hold_back.until else None

    def draw_in_between(number, node, message, answer):
        if number == 3:  # who they are and advertise-keys are over
            hold_back.until = number + SETTLEMENT
            grid.disturb = None if settled else hold_back
            messages = {each: Message(RecordDict(), each, "train") for each in grid.nodes}
            session = Session(grid, settings_of(tmp_path), messages, RoundReport(COUNT), run_id=RUN_ID)
            session.settle(session.draw(plan_of()))
            grid.disturb = None
        return answer(message)

    grid = make_nodes(
        tmp_path,
        train=lambda arrays, p: trained.append(p) or training(arrays, p),
        options=lambda _: {"policy": ClientPolicy.permissive()},
        disturb=draw_in_between,
    )
    plain = SecAggSettings(metrics=["loss"], adversary=MALICIOUS, roster=roster(tmp_path, COUNT), max_weight=WEIGHT)
    replies, report = run(grid, plain)
    assert all(reply.has_error() for reply in replies)
    assert "a session of other nodes than its group's: this node" in report.failures[node_id(VICTIM)]
    assert trained == []
    assert len(groups_of(grid)) == (3 if settled else 0)
    assert all(RECORD not in context.state for context in grid.nodes.values())


def test_who_has_shown_its_nonce_joins_no_session_of_others_before_it_is_in_a_group(tmp_path):
    """Who has all nonces knows the groups. It would sum a group and one node more, and have them settle afterwards."""
    trained, texts = [], []
    plain = SecAggSettings(metrics=["loss"], adversary=MALICIOUS, roster=roster(tmp_path, COUNT), max_weight=WEIGHT)

    def sum_in_between(number, node, message, answer):
        if number == SETTLEMENT:
            grid.disturb = None
            with pytest.raises(ParameterError) as refused:
                run(grid, plain, range(6))
            texts.append(str(refused.value))
        return answer(message)

    grid = make_nodes(
        tmp_path,
        train=lambda arrays, p: trained.append(p) or training(arrays, p),
        options=lambda _: {"policy": ClientPolicy.permissive()},
        disturb=sum_in_between,
    )
    replies, report = run(grid, settings_of(tmp_path))
    assert "this node has shown its nonce in this run" in texts[0]
    assert report.failures == {}
    assert replies[0].has_content()
    assert sorted(trained) == list(range(COUNT))  # each in its group, once


def test_a_second_draw_in_a_run_is_refused(tmp_path):
    grid = make_nodes(tmp_path)
    assert run(grid, settings_of(tmp_path))[0][0].has_content()
    before = groups_of(grid)
    with pytest.raises(ParameterError, match="asked to draw groups again in a run in which this node is in a group"):
        run(grid, settings_of(tmp_path))
    assert groups_of(grid) == before


def test_a_second_draw_is_refused_by_a_node_that_was_started_anew(tmp_path):
    """Its state of Flower's is gone, or comes back as it was before the first draw."""
    grid = make_nodes(tmp_path)
    assert run(grid, settings_of(tmp_path))[0][0].has_content()
    for context in grid.nodes.values():
        context.state = RecordDict()
    with pytest.raises(ParameterError, match="asked to draw groups again in a run"):
        run(grid, settings_of(tmp_path))


def test_a_node_that_gets_another_id_in_mid_run_draws_no_second_time(tmp_path):
    """Ids are the SuperLink's to give; the memory goes by the node's own identity."""
    grid = make_nodes(tmp_path)
    assert run(grid, settings_of(tmp_path))[0][0].has_content()
    for context in grid.nodes.values():
        context.node_id += 10_000
    grid.nodes = {context.node_id: context for context in grid.nodes.values()}
    secure = SecAggGrid(grid, settings_of(tmp_path))
    with pytest.raises(ParameterError, match="asked to draw groups again in a run"):
        secure.send_and_receive(train_messages(MODEL, list(grid.nodes)), timeout=30)


def test_a_groups_session_withstands_what_the_plan_says(tmp_path, monkeypatch):
    """One of five may be corrupt by the plan; a node alone would ask for a tenth of five, which is nobody."""

    def weaker(self):
        vectors = honest(self)[0].vectors
        return (RoundConfig(ThreatModel(5, 0.1, 0.2, MALICIOUS), vectors),) * 3

    honest = GroupedRounds.configs.func
    monkeypatch.setattr(GroupedRounds, "configs", property(weaker))
    with pytest.raises(ParameterError, match=r"a fraction of 0\.1 corrupt clients, but this client demands 0\.2"):
        run(make_nodes(tmp_path), settings_of(tmp_path))


def test_no_more_than_four_draws_are_broken_off(tmp_path):
    """Whoever holds its nonce back has seen the groups that would come of it."""
    grid = make_nodes(tmp_path)

    def hold_back(number, node, message, answer):
        if "draw" in message.content.get(RECORD, {}) and "terms" not in message.content[RECORD]:
            shown = wire.decode(message.content[RECORD]["draw"], wire.ToClient, COUNT)
            reply = answer(message)
            return None if isinstance(shown, wire.Commitments) and node == node_id(VICTIM) else reply
        return answer(message)

    grid.disturb = hold_back
    for _ in range(4):
        replies, report = run(grid, settings_of(tmp_path))
        assert all(reply.has_error() for reply in replies)
        assert "nonces" in report.error
    with pytest.raises(ParameterError, match="4 draws over 'updates of run 7' were broken off after a nonce was shown"):
        run(grid, settings_of(tmp_path))


def altered(number, name, change):
    """What the victim gets in an exchange, with one field of its message altered."""

    def do(message, answer):
        record = dict(message.content[RECORD].items())
        record[name] = change(record[name])
        return answer(Message(RecordDict({RECORD: ConfigRecord(record)}), message.metadata.dst_node_id, "train"))

    return only_at(number, VICTIM, do)


def drawn(change):
    def do(data):
        message = wire.decode(data, wire.ToClient, COUNT)
        return wire.encode(change(message))

    return do


def stated(**changes):
    def do(data):
        terms = msgspec.msgpack.decode(data, type=DrawTerms)
        return msgspec.msgpack.encode(msgspec.structs.replace(terms, **{n: f(terms) for n, f in changes.items()}))

    return do


def swapped(items, one, other):
    items = list(items)
    items[one], items[other] = items[other], items[one]
    return tuple(items)


ALTERED = {
    "another plan for one node": (
        COMMITMENTS,
        "terms",
        stated(plan=lambda _: plan_of(15, "median", honest_minimum=3).written()),
        "by another plan, or with other participants",
    ),
    "a plan for others": (
        COMMITMENTS,
        "terms",
        stated(plan=lambda _: plan_of(20).written()),
        "the plan is for 20 clients, but there are 15",
    ),
    "no plan": (COMMITMENTS, "terms", stated(plan=lambda _: b"\x90"), "cannot be decoded"),
    "a plan against a weaker server": (
        COMMITMENTS,
        "terms",
        stated(plan=lambda _: dataclasses.replace(plan_of(), adversary="curious-server").written()),
        "the round withstands a curious-server, but this client demands",
    ),
    "another run": (COMMITMENTS, "terms", stated(run_id=lambda _: RUN_ID + 1), "a draw for another run"),
    "another's place": (
        COMMITMENTS,
        "terms",
        stated(identities=lambda terms: swapped(terms.identities, VICTIM, VICTIM + 1)),
        "another identity in this node's place",
    ),
    "a stranger": (
        COMMITMENTS,
        "terms",
        stated(identities=lambda terms: (*terms.identities[:-1], Identity(bytes([99]) * 32).public_bytes)),
        "1 identities that are not in this node's roster",
    ),
    "a node twice": (
        COMMITMENTS,
        "terms",
        stated(node_ids=lambda terms: terms.node_ids[:8] + terms.node_ids[:-8]),
        "lists a node twice",
    ),
    "another's nonce": (
        SETTLEMENT,
        "draw",
        drawn(lambda m: msgspec.structs.replace(m, nonces=swapped(m.nonces, 0, 1))),
        "is not what was committed to",
    ),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_draw_that_is_altered_for_one_node_is_refused_by_it(name, tmp_path):
    number, field, change, text = ALTERED[name]
    grid = make_nodes(tmp_path, disturb=altered(number, field, change))
    _, report = run(grid, settings_of(tmp_path))
    assert set(report.failures) == {node_id(VICTIM)}
    assert text in report.failures[node_id(VICTIM)]
    assert group_in(grid.nodes[node_id(VICTIM)].node_config, identity_of(VICTIM), RUN_ID) is None
    assert f"{RECORD}-draw" not in grid.nodes[node_id(VICTIM)].state


def test_who_did_not_settle_takes_no_part_in_its_groups_session(tmp_path):
    number, field, change, _ = ALTERED["another's nonce"]
    grid = make_nodes(tmp_path, disturb=altered(number, field, change))
    replies, report = run(grid, settings_of(tmp_path))
    assert replies[0].has_content()
    assert report.survivors == {node_id(p) for p in range(COUNT) if p != VICTIM}


def test_groups_are_drawn_in_train_messages_alone(tmp_path):
    seen = []

    def do(message, answer):
        reply = answer(Message(message.content, message.metadata.dst_node_id, STATISTICS))
        seen.append(reply.error.reason)
        return answer(message)

    grid = make_nodes(tmp_path, disturb=only_at(COMMITMENTS, VICTIM, do))
    grid.app.query("statistics")(SecAggMod().query)
    assert run(grid, settings_of(tmp_path))[0][0].has_content()
    assert "groups are drawn in train messages alone" in seen[0]


# --- what a node remembers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "again"), [(NONCES, False), (SETTLEMENT, True)], ids=["nonce", "settlement"])
def test_a_state_that_comes_back_shows_no_nonce_again(number, again, tmp_path):
    """As when the app's process is killed after its answer left, before Flower kept its state.

    What it has settled by gets the same answer again, which tells nothing new.
    """
    first, second = [], []

    def do(message, answer):
        before = recorddict_to_proto(grid.nodes[node_id(VICTIM)].state)
        first.append(answer(message))
        second.append(answer_again(grid, before, message, answer))
        return first[0]

    grid = make_nodes(tmp_path, disturb=only_at(number, VICTIM, do))
    replies, report = run(grid, settings_of(tmp_path))
    assert replies[0].has_content()
    assert report.failures == {}
    if again:
        assert second[0].content == first[0].content
    else:
        assert "draw groups again in a run that had its draw" in second[0].error.reason


def test_no_function_of_the_app_sees_the_nonce(tmp_path):
    seen = []
    grid = make_nodes(tmp_path, options=lambda _: {"in_clear": ["evaluate"]})

    def spying(message, context):
        seen.append([name for name in context.state if name.startswith(RECORD)])
        context.state.clear()
        return Message(RecordDict({"metrics": MetricRecord({"num-examples": 1})}), reply_to=message)

    grid.app._registered_funcs["evaluate.default"] = lambda message, context: grid.app._mods[0](
        message, context, spying
    )

    def disturb(number, node, message, answer):
        if number in (NONCES, SETTLEMENT):
            assert f"{RECORD}-draw" in grid.nodes[node].state
            answer(Message(RecordDict({"arrays": ArrayRecord(MODEL)}), node, "evaluate"))
        return answer(message)

    grid.disturb = disturb
    assert run(grid, settings_of(tmp_path))[0][0].has_content()
    assert seen == [[]] * (2 * COUNT)
    assert all(f"{RECORD}-draw" not in context.state for context in grid.nodes.values())


def test_what_is_remembered_is_the_owners_alone_and_survives(flower_home, tmp_path):
    grid = make_nodes(tmp_path)
    run(grid, settings_of(tmp_path))
    folder = flower_home / "secagg-answered" / "draws"
    files = {path.name for path in folder.iterdir()} - {"lock"}
    assert files == {identity_of(p).public_bytes.hex() for p in range(COUNT)}
    if os.name == "posix":
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_memory_that_is_damaged_or_cannot_be_written_is_a_refusal(flower_home, tmp_path):
    folder = flower_home / "secagg-answered" / "draws"
    folder.mkdir(parents=True)
    (folder / identity_of(VICTIM).public_bytes.hex()).write_bytes(b"SAGGDUMP" + bytes(60))
    (tmp_path / "file").write_text("")
    grid = make_nodes(
        tmp_path, node_config=lambda p: {"secagg-answered": str(tmp_path / "file" / "x")} if p == 5 else {}
    )
    _, report = run(grid, settings_of(tmp_path))
    assert set(report.failures) == {node_id(VICTIM), node_id(5)}
    assert "StateError: the dump has version 0" in report.failures[node_id(VICTIM)]
    assert "cannot note what it has answered" in report.failures[node_id(5)]


def test_a_run_whose_group_is_forgotten_is_over_for_the_node(tmp_path):
    node, identity = {"secagg-answered": str(tmp_path)}, identity_of(0)
    for run_id in range(1, KEPT_GROUPS + 2):
        with remembered(node, identity) as draws:
            assert draws.group(run_id) is None
            draws.past.show(bytes([run_id]) * 32, f"updates of run {run_id}")
            draws.past.settle(bytes([run_id]) * 32, f"updates of run {run_id}", bytes(32))
            draws.settle(OwnGroup(run_id, bytes(8), (identity.public_bytes,), 0, 2))
            draws.save()
    assert group_in(node, identity, KEPT_GROUPS + 1).run_id == KEPT_GROUPS + 1
    assert group_in(node, identity, 2).run_id == 2
    with pytest.raises(UnexpectedMessage, match="has forgotten it"):
        group_in(node, identity, 1)
    assert group_in(node, identity, KEPT_GROUPS + 2) is None
    assert group_in(node, identity_of(1), 1) is None
    assert group_in(node, None, 1) is None


def test_a_node_without_a_draw_is_told_so(tmp_path):
    grid = make_nodes(tmp_path)
    reply = grid.answer(Message(RecordDict({RECORD: record_of(draw=b"x")}), node_id(0), "train"))
    assert "this node is in no draw: it was not invited, refused, or was started anew" in reply.error.reason
    grid.nodes[node_id(0)].state[f"{RECORD}-draw"] = ConfigRecord({"terms": 5})
    reply = grid.answer(Message(RecordDict({RECORD: record_of(draw=b"x")}), node_id(0), "train"))
    assert "what this node has kept of a draw is damaged" in reply.error.reason


def test_a_memory_of_another_kind_is_none(tmp_path):
    path = tmp_path / "memory"
    path.write_bytes(b"nothing")
    with pytest.raises(StateError):
        Draws(path)


# --- settings -------------------------------------------------------------------------------------------------------

CONTRADICTIONS = {
    "another adversary": ({"plan": plan_of(), "adversary": "curious-server"}, "adversary is curious-server, but the"),
    "other dropouts": ({"dropout_fraction": 0.25}, r"dropout_fraction is 0\.25, but the plan of groups says 0\.2"),
    "other corrupt": ({"corrupt_fraction": 0.2}, r"corrupt_fraction is 0\.2, but the plan of groups says 0\.1"),
    "survivors": ({"min_survivors": 3}, "follows from the plan of groups"),
    "no plan": ({"plan": 3}, r"groups is a int, but must be a GroupPlan"),
    "no roster": ({"roster": None}, "a roster of public keys goes with malicious-server"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_contradicts_the_plan_is_refused(name, tmp_path):
    changes, text = CONTRADICTIONS[name]
    with pytest.raises(ParameterError, match=text):
        settings_of(tmp_path, **changes)


def test_groups_have_no_noise(tmp_path):
    from protocols.flower import Privacy

    with pytest.raises(ParameterError, match="groups and privacy do not go together"):
        settings_of(tmp_path, metrics=(), privacy=Privacy(l2_clip=1.0, epsilon=8.0, delta=1e-5))


def test_a_plan_against_a_weaker_server_has_no_identities_to_draw_by(tmp_path):
    from protocols.groups import GroupPlan

    weaker = GroupPlan(15, 0.07, 0.1, honest_minimum=2, dropout_fraction=0.2)
    with pytest.raises(ParameterError, match=r"against a semi-malicious-server, but nodes draw groups by identities"):
        settings_of(tmp_path, plan=weaker)


def test_settings_take_from_the_plan_what_it_says(tmp_path):
    settings = settings_of(tmp_path)
    assert (settings.corrupt_fraction, settings.dropout_fraction, settings.adversary) == (0.1, 0.2, MALICIOUS)
    assert isinstance(np.float64(settings.dropout_fraction), float)
