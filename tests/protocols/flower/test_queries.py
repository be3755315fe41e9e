"""Queries over a grid in this process: what comes out, who may fail or refuse, and what the server gets to see."""

from contextlib import suppress

import msgspec
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import strategy as flower

from protocols import ClientPolicy, PrivacyDemand
from protocols.core.identity_files import read_identity, write_identity, write_participants
from protocols.core.participants import Participants
from protocols.flower import SecAgg, SecAggMod, SecAggSettings, SessionSettings, ask, asking, secagg_mod
from protocols.flower import announcement as announcement_module
from protocols.flower.announcement import Announcement, pack_node_ids
from protocols.flower.envelope import RECORD, STATISTICS
from protocols.flower.memory import AGREED, TOTALS
from protocols.flower.own_group import OwnGroup, remembered
from protocols.inputs.vectors import IntegerVector
from protocols.statistics import Plan, Query, ReleasePolicy, Site, SitePolicy, Where, asked
from secagg.errors import ParameterError, SecAggError, ThresholdError
from secagg.signatures import Identity

from .in_process import (
    METRICS,
    MODEL,
    NODE_IDS,
    RUN_ID,
    VanishedError,
    make_app,
    make_grid,
    of_another_version,
    usual_training,
)
from .query_run import asked_of, assert_pooled, federation, query_app
from .sites import AGE, DATASET, QUERY, ROWS, patients, write_site

EXCHANGES = ("query", "advertise-keys", "share-keys", "masked-input", "consistency-check", "unmasking")
VICTIM = NODE_IDS[2]
COUNT = Query(DATASET, (AGE,), (asked("count"),))


def test_the_answer_is_that_of_all_rows_together(tmp_path):
    grid = federation(tmp_path, 10)
    answer, report = asked_of(grid)
    assert_pooled(answer, report, range(10))
    assert report.failures == {}
    assert list(report.seconds) == [*EXCHANGES, "server"]
    assert report.bytes_sent > 10 * Plan(QUERY).lanes * 3


WAYS = ("silent", "error", "garbage", "another record")


@pytest.mark.parametrize(
    ("exchange", "how"), [*((1, how) for how in WAYS), *((exchange, WAYS[exchange % 4]) for exchange in range(2, 7))]
)
def test_a_node_that_fails_in_any_exchange_costs_itself_alone(tmp_path, exchange, how):
    def disturb(number, node_id, message, answer):
        if (number, node_id) != (exchange, VICTIM):
            return answer(message)
        if how == "silent":
            raise VanishedError
        if how == "error":
            return Message(Error(2, "out of memory"), reply_to=message)
        if how == "another record":
            return Message(RecordDict({"arrays": ArrayRecord(MODEL)}), reply_to=message)
        reply = answer(message)
        (field,) = set(reply.content[RECORD]) - {"version"}
        reply.content[RECORD][field] = reply.content[RECORD][field][:-1] + b"\x00\x01"
        return reply

    answer, report = asked_of(federation(tmp_path, disturb=disturb))
    assert set(report.failures) == {VICTIM}
    assert report.failures[VICTIM].startswith(EXCHANGES[exchange - 1]) or how in ("garbage", "another record")
    # Its answer is in the sum if it came, whatever becomes of the node after that.
    assert_pooled(answer, report, set(range(6)) - ({2} if exchange < 5 else set()))


def test_nodes_that_do_not_answer_the_question_use_up_no_dropouts(tmp_path):
    """Three of ten are silent when they are asked; of the other seven, two vanish, as many as may."""
    lost = {3: NODE_IDS[3], 6: NODE_IDS[4]}

    def disturb(number, node_id, message, answer):
        if lost.get(number) == node_id or (number == 1 and node_id in NODE_IDS[:3]):
            raise VanishedError
        return answer(message)

    answer, report = asked_of(federation(tmp_path, 10, disturb=disturb))
    assert set(report.failures) == set(NODE_IDS[:5])
    assert_pooled(answer, report, range(4, 10))  # the fifth vanished once its answer had come


REFUSING = {
    "another-dataset": ({"dataset": "discharges"}, QUERY),
    "not-allowed": ({"policy": 'columns = ["ward"]\n'}, QUERY),
    "another-schema": ({}, Query(DATASET, (AGE,), (asked("count"), asked("mean", "age")))),
    "disclosure": ({"count": 7}, QUERY),
}


@pytest.mark.parametrize("word", REFUSING)
def test_a_site_that_refuses_says_one_word_and_the_others_go_on(tmp_path, word):
    changes, query = REFUSING[word]
    grid = federation(tmp_path, sites={2: changes})
    if word == "another-schema":  # it has answered with other bounds before
        earlier = replace_column(query, replace_bounds(AGE, 10, 110))
        table = {name: values[:ROWS] for name, values in patients(2).items()}
        ids = [f"2-{at}" for at in range(ROWS)]
        policy = SitePolicy(columns={"age", "ward"})
        Site(table, policy, DATASET, tmp_path / "hospital-2" / "journal", ids=ids).answer(earlier)
    answer, report = asked_of(grid, query)
    assert report.failures == {VICTIM: f"query: secagg: QueryRefused: {word}"}
    assert (answer.sites, answer.records) == (5, 5 * ROWS)
    assert report.survivors == {NODE_IDS[i] for i in range(6)} - {VICTIM}
    # Nothing of its data, its policy or its folders.
    said = [data for data in grid.from_nodes if word.encode() in data]
    assert len(said) == 1
    for hidden in (b"hospital", b"patients.csv", b"journal", b"rows", b"columns"):
        assert hidden not in said[0]


def replace_bounds(column, lo, hi):
    return type(column)(column.name, lo, hi)


def replace_column(query, column):
    return Query(query.dataset, (column,), (asked("mean", column.name),))


def test_an_unknown_dataset_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"no node can take part: query: secagg: QueryRefused: another-dataset$"):
        asked_of(federation(tmp_path), Query("nobodys", (AGE,), (asked("count"),)))


@pytest.mark.parametrize("refusing", [4, 5])
def test_too_few_sites_are_named_before_a_session(tmp_path, refusing):
    grid = federation(tmp_path, sites={partition: {"count": 3} for partition in range(refusing)})
    with pytest.raises(
        ThresholdError, match=rf"{6 - refusing} of 6 nodes answer the query, and 3 must; {refusing} of 6"
    ):
        asked_of(grid)
    assert grid.exchange == 1


@pytest.mark.parametrize("stated", [{}, {"min_survivors": 4}])
def test_sums_of_fewer_sites_than_are_shown_are_not_even_made(tmp_path, stated):
    def disturb(number, node_id, message, answer):
        if number == 4 and node_id == VICTIM:
            raise VanishedError
        return answer(message)

    grid = federation(tmp_path, disturb=disturb)
    with pytest.raises(ThresholdError, match=r"5 clients are left.*no answer within 5 s"):
        asked_of(grid, release=ReleasePolicy(min_sites=6), **stated)
    assert grid.exchange == 4


def test_a_site_sums_with_as_many_as_its_own_policy_says(tmp_path):
    demanding = {partition: {"policy": "min_sites = 7\n"} for partition in range(6)}
    with pytest.raises(ParameterError, match=r"no node can take part: .*7"):
        asked_of(federation(tmp_path, sites=demanding))


def test_a_node_demands_of_queries_what_it_demands_of_training(tmp_path):
    grid = federation(tmp_path, node_config=lambda p: {"secagg-min-clients": 7} if p == 2 else {})
    _, report = asked_of(grid)
    assert set(report.failures) == {VICTIM}
    assert "7" in report.failures[VICTIM]


@pytest.mark.parametrize("whose", ["code", "node", "run"])
def test_a_node_that_demands_noise_answers_no_query_without(tmp_path, whose):
    demand = {"secagg-epsilon": 1.0, "secagg-delta": 1e-5}
    private = ClientPolicy(privacy=PrivacyDemand(1.0, 1e-5))
    app = query_app(SecAggMod(policy=private)) if whose == "code" else None
    node = demand if whose == "node" else {}
    grid = federation(tmp_path, app=app, node_config=lambda p: node, run_config=demand if whose == "run" else {})
    with pytest.raises(ParameterError, match="this node demands privacy"):
        asked_of(grid)
    assert not (tmp_path / "hospital-0" / "journal").exists()


def test_nothing_that_the_server_sees_holds_a_sites_totals(tmp_path):
    grid = federation(tmp_path)
    query = Query(DATASET, (AGE,), (asked("variance", "age"),))
    asked_of(grid, query)
    seen = b"".join(grid.from_nodes)
    plan = Plan(query)
    for partition in range(6):
        site = Site(patients(partition), SitePolicy(columns={"age"}), DATASET, None)
        for limb in site.answer(query).values[plan.name].tolist():
            if limb > 1 << 16:  # shorter ones are found in any random bytes
                assert not any(limb.to_bytes(size, order) in seen for size in (4, 8) for order in ("little", "big"))


# --- what the operator says, and nobody else ------------------------------------------------------------------------


def test_a_node_without_a_site_is_left_out(tmp_path):
    grid = federation(tmp_path, 7)
    del grid.nodes[VICTIM].node_config["secagg-site"]
    answer, report = asked_of(grid)
    assert "this node has no site: its operator names one in its configuration, secagg-site" in report.failures[VICTIM]
    assert_pooled(answer, report, {0, 1, 3, 4, 5, 6})


def test_a_run_names_no_site(tmp_path):
    path = write_site(tmp_path / "of-the-run", 0)
    grid = make_grid(query_app(), run_config={"secagg-site": str(path)})
    with pytest.raises(ParameterError, match="the run's configuration has"):
        asked_of(grid)
    assert not (path.parent / "journal").exists()


def test_an_app_finds_a_site_by_what_the_operator_says_and_the_operators_file_goes_before(tmp_path):
    given = []

    def site(node_config):
        given.append(dict(node_config))
        partition = node_config["partition-id"]
        return Site(patients(partition), SitePolicy(columns={"age"}), DATASET, tmp_path / str(partition))

    path = str(write_site(tmp_path / "of-the-operator", 2, dataset="another"))
    grid = make_grid(
        query_app(SecAggMod(site=site)),
        7,
        node_config=lambda p: {"secagg-site": path} if p == 2 else {},
        run_config={"dataset": "the run's"},
    )
    answer, report = asked_of(grid)
    assert report.failures == {VICTIM: "query: secagg: QueryRefused: another-dataset"}
    assert_pooled(answer, report, {0, 1, 3, 4, 5, 6})
    assert given == [{"partition-id": p} for p in sorted({0, 1, 3, 4, 5, 6}, key=lambda p: NODE_IDS[p])]


def test_the_nodes_log_is_told_why_its_site_refuses(tmp_path, caplog):
    path = str(write_site(tmp_path, 2, dataset="another"))
    grid = make_grid(query_app(), 7, node_config=lambda p: {"secagg-site": path} if p == 2 else {})
    with caplog.at_level("WARNING", logger="flwr"), suppress(SecAggError):
        ask(grid, QUERY)
    assert f"it asks of {DATASET!r}, not of 'another'" in caplog.text


def test_a_site_for_all_nodes_is_no_function_of_theirs(tmp_path):
    with pytest.raises(ParameterError, match="site is a Site, but must be a function"):
        SecAggMod(site=Site(patients(0), SitePolicy(columns={"age"}), DATASET, None))


@pytest.mark.parametrize("what", ["table", "journal", "file", "no function's site", "a broken function"])
def test_what_is_wrong_with_a_site_stays_in_its_nodes_log(tmp_path, what):
    def site(node_config):
        if node_config["partition-id"] != 2:
            return Site(patients(node_config["partition-id"]), SitePolicy(columns={"age"}), DATASET, None)
        if what == "a broken function":
            raise RuntimeError("patient 4711 is ill")
        return None

    if "function" in what:
        grid = make_grid(query_app(SecAggMod(site=site)))
    else:
        grid = federation(tmp_path)
        folder = tmp_path / "hospital-2"
        if what == "journal":
            (folder / "journal").write_text("not a journal\n")
        else:
            (folder / ("patients.csv" if what == "table" else "site.toml")).unlink()
    _, report = asked_of(grid)
    assert set(report.failures) == {VICTIM}
    words = {"no function's site": "this node has no site", "a broken function": "RuntimeError, which is unforeseen"}
    assert words.get(what, "this node's site cannot answer: its log tells why") in report.failures[VICTIM]
    for hidden in (b"4711", b"hospital-2", b"patients.csv"):
        assert hidden not in b"".join(grid.from_nodes)


# --- memory ---------------------------------------------------------------------------------------------------------


def test_an_answer_is_in_the_journal_before_the_server_hears_of_it(tmp_path):
    journals = []

    def disturb(number, node_id, message, answer):
        reply = answer(message)
        if number == 1:
            partition = grid.nodes[node_id].node_config["partition-id"]
            journals.append((tmp_path / f"hospital-{partition}" / "journal").read_bytes().count(b"\n"))
        return reply

    grid = federation(tmp_path, disturb=disturb)
    asked_of(grid)
    assert journals == [1] * 6
    assert (tmp_path / "hospital-0" / "journal").read_bytes().count(b"\n") == 1


def test_a_journal_outlives_runs_and_nodes(tmp_path):
    oldest = float(max(patients(2)["age"]))
    asked_of(federation(tmp_path))
    again = federation(tmp_path)  # new states, as each run of Flower's gives them
    assert_pooled(*asked_of(again), range(6))
    all_but_few = Query(DATASET, (AGE,), QUERY.statistics, (Where("age", "lt", oldest),))
    _, report = asked_of(federation(tmp_path, 8), all_but_few, release=ReleasePolicy(min_sites=2), dropout_fraction=0.0)
    assert report.failures[VICTIM] == "query: secagg: QueryRefused: disclosure"


@pytest.mark.parametrize("exchange", range(3, 7), ids=EXCHANGES[2:])
def test_a_node_that_lost_the_state_of_its_answer_gives_no_second_one(tmp_path, exchange):
    """Flower sends an answer before it keeps the state that came of it, and an app may be killed in between."""
    second = []

    def disturb(number, node_id, message, answer):
        before = RecordDict(dict(grid.nodes[node_id].state))
        reply = answer(message)
        if (number, node_id) == (exchange, VICTIM):
            after = grid.nodes[node_id].state
            grid.nodes[node_id].state = before
            second.append(answer(message))
            grid.nodes[node_id].state = after
        return reply

    grid = federation(tmp_path, disturb=disturb)
    assert_pooled(*asked_of(grid), range(6))
    (again,) = second
    assert "gives no second answer" in again.error.reason


@pytest.mark.parametrize(("exchange", "text"), [(2, "has agreed to no query"), (4, "this node is in no session")])
def test_a_node_that_starts_anew_within_a_session_drops_out(tmp_path, exchange, text):
    def disturb(number, node_id, message, answer):
        if (number, node_id) == (exchange, VICTIM):
            grid.nodes[node_id].state = RecordDict()
        return answer(message)

    grid = federation(tmp_path, disturb=disturb)
    _, report = asked_of(grid)
    assert set(report.failures) == {VICTIM}
    assert text in report.failures[VICTIM]


def test_totals_are_gone_when_they_are_given_and_no_function_of_the_app_sees_them(tmp_path):
    seen = []
    app = query_app(SecAggMod(in_clear=["evaluate"]))

    @app.evaluate()
    def _spying(message, context):
        seen.append([name for name in context.state if name.startswith(RECORD)])
        context.state.clear()
        return Message(RecordDict(), reply_to=message)

    kept = []

    def disturb(number, node_id, message, answer):
        answer(Message(RecordDict(), node_id, "evaluate"))
        kept.append({name for name in (AGREED, TOTALS) if name in grid.nodes[node_id].state})
        return answer(message)

    grid = federation(tmp_path, app=app, disturb=disturb)
    assert_pooled(*asked_of(grid), range(6))
    assert seen == [[]] * 36
    assert kept == [set()] * 6 + [{AGREED, TOTALS}] * 18 + [set()] * 12
    assert not any(name.startswith(RECORD) for context in grid.nodes.values() for name in context.state)


# --- beside training, and against a malicious server ----------------------------------------------------------------


def test_an_app_trains_and_answers_in_one_run(tmp_path):
    app = make_app(usual_training)
    app.query("statistics")(secagg_mod.query)
    grid = federation(tmp_path, app=app)
    assert_pooled(*asked_of(grid), range(6))
    strategy = SecAgg(flower.FedAvg(fraction_evaluate=0.0), metrics=METRICS)
    strategy.start(grid, ArrayRecord(MODEL), num_rounds=1, timeout=5)
    assert len(strategy.reports[0].survivors) == 6
    assert_pooled(*asked_of(grid), range(6))


def test_an_app_without_mods_answers_by_its_handler_alone(tmp_path):
    app = ClientApp()
    app.query("statistics")(secagg_mod.query)
    assert_pooled(*asked_of(federation(tmp_path, app=app)), range(6))


def test_a_session_against_a_malicious_server(tmp_path):
    for i in range(7):
        write_identity(tmp_path / f"node-{i}.pem", Identity.generate())
    keys = {f"node-{i}": read_identity(tmp_path / f"node-{i}.pem").public_bytes for i in range(6)}
    write_participants(tmp_path / "roster.json", Participants(keys))
    roster = str(tmp_path / "roster.json")
    grid = federation(
        tmp_path,
        7,
        node_config=lambda p: {
            "secagg-identity": str(tmp_path / f"node-{p}.pem"),
            "secagg-roster": roster,
            "secagg-adversary": "malicious-server",
        },
    )
    answer, report = asked_of(grid, adversary="malicious-server", roster=roster, dropout_fraction=0.2)
    assert report.failures == {NODE_IDS[6]: "its identity is not in the server's roster"}
    assert_pooled(answer, report, range(6))
    for stated in ({"release": ReleasePolicy(min_sites=7)}, {"min_survivors": 7}):
        with pytest.raises(ThresholdError, match=r"6 of 7 nodes said who they are, and 7 must; 1 of 7 nodes failed"):
            asked_of(grid, adversary="malicious-server", roster=roster, dropout_fraction=0.2, **stated)
    for i in range(6):  # a node that is in a group, of itself alone, answers as before: groups are training's
        identity = read_identity(tmp_path / f"node-{i}.pem")
        with remembered(grid.nodes[NODE_IDS[i]].node_config, identity) as draws:
            draws.settle(OwnGroup(RUN_ID, pack_node_ids([NODE_IDS[i]]), (identity.public_bytes,), 0, 2))
            draws.save()
    assert_pooled(*asked_of(grid, adversary="malicious-server", roster=roster, dropout_fraction=0.2), range(6))
    with pytest.raises(ParameterError, match="no node can take part"):
        asked_of(grid)


# --- words for what is wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["node", "server"])
def test_versions_that_differ_are_named(tmp_path, side):
    with pytest.raises(ParameterError, match="install the same version of secagg on both"):
        asked_of(federation(tmp_path, disturb=of_another_version(side)))


def test_an_app_without_the_handler_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r'app\.query\("statistics"\)\(secagg_mod\.query\)'):
        asked_of(federation(tmp_path, app=ClientApp(mods=[secagg_mod])))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"query": "how old are they?"}, "query is a str"),
        ({"release": 10}, "release is a int"),
        ({"settings": SessionSettings(), "dropout_fraction": 0.1}, "but not both"),
        ({"dropout_fraction": 2}, "dropout_fraction"),
        ({"stage_timeout": 0}, "stage_timeout"),
        ({"adversary": "malicious-server"}, "roster"),
    ],
)
def test_arguments_that_cannot_be_are_refused_before_anybody_is_asked(tmp_path, arguments, text):
    grid = federation(tmp_path)
    with pytest.raises(ParameterError, match=text):
        ask(grid, **{"query": QUERY} | arguments)
    assert grid.exchange == 0


def test_nodes_that_do_not_come_are_waited_for_as_long_as_is_said(tmp_path):
    grid = federation(tmp_path)
    with pytest.raises(ThresholdError, match=r"6 nodes are connected after 0.01 s, but min_available_nodes is 7"):
        ask(grid, QUERY, min_available_nodes=7, stage_timeout=0.01)
    assert grid.exchange == 0


@pytest.mark.parametrize("least", [True, 0, -3, 2.5, "5"])
def test_numbers_of_nodes_are_whole(tmp_path, least):
    with pytest.raises(ParameterError, match="min_available_nodes is"):
        ask(federation(tmp_path), QUERY, min_available_nodes=least)


def test_nodes_that_come_later_are_asked(tmp_path, monkeypatch):
    grid = federation(tmp_path)
    late = {NODE_IDS[5]: grid.nodes.pop(NODE_IDS[5])}
    monkeypatch.setattr("time.sleep", lambda seconds: grid.nodes.update(late))
    reports = []
    assert_pooled(ask(grid, QUERY, min_available_nodes=6, reports=reports), reports[0], range(6))


# --- servers that cheat ---------------------------------------------------------------------------------------------


def to_one(grid, node, message_type=STATISTICS, **fields):
    record = ConfigRecord({"version": 1, **fields})
    (reply,) = grid.send_and_receive([Message(RecordDict({RECORD: record}), node, message_type)])
    return reply


HOSTILE = {
    "nothing": (b"", "no query"),
    "no MessagePack": (b"\xc1", "no query"),
    "written in another way": (QUERY.encoded.replace(b"\xa9histogram", b"\xd9\x09histogram"), "in another way"),
    "too long": (bytes((1 << 20) + 1), "may take 1048576"),
    "deep": (b"\x91" * 100_000, "no query"),
    "min": (QUERY.encoded.replace(b"\xa4mean", b"\xa3min"), "no query"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_bytes_that_are_no_query_are_refused_by_name(tmp_path, name):
    data, text = HOSTILE[name]
    grid = federation(tmp_path)
    reply = to_one(grid, VICTIM, query=data)
    assert reply.error.reason.startswith("secagg: ParameterError: ")
    assert text in reply.error.reason
    assert not (tmp_path / "hospital-2" / "journal").exists()


def test_another_question_replaces_an_answer_that_nobody_has_asked_for(tmp_path):
    grid = federation(tmp_path)
    for query, kept in ((QUERY.encoded, {AGREED, TOTALS}), (b"", set()), (COUNT.encoded, {AGREED, TOTALS})):
        to_one(grid, VICTIM, query=query)
        assert {name for name in grid.nodes[VICTIM].state if name.startswith(RECORD)} == kept


def test_a_query_is_no_training_and_training_no_query(tmp_path):
    app = make_app(usual_training)
    app.query("statistics")(secagg_mod.query)
    grid = federation(tmp_path, app=app)
    assert "in a message of another type" in to_one(grid, VICTIM, "train", query=QUERY.encoded).error.reason
    reply = to_one(grid, VICTIM, "query", query=QUERY.encoded)
    assert "No query function" in reply.error.reason
    assert not (tmp_path / "hospital-2" / "journal").exists()
    (reply,) = grid.send_and_receive([Message(RecordDict(), VICTIM, STATISTICS)])
    assert "has no record" in reply.error.reason


def announce(**changes):
    def change(message):
        announcement = msgspec.msgpack.decode(message.content[RECORD]["announcement"], type=Announcement)
        changed = msgspec.structs.replace(announcement, **changes)
        message.content[RECORD]["announcement"] = msgspec.msgpack.encode(changed)

    return change


CHEATS = {
    "another query": (announce(content=COUNT.digest), "announces another query than this node has agreed to answer"),
    "another type": (announce(message_type="train"), "of another type of message"),
    "other nodes": (announce(node_ids=pack_node_ids(sorted([*NODE_IDS[:5], 999]))), "is not bound to it"),
    "more of them": (announce(node_ids=pack_node_ids(sorted(NODE_IDS))), "lists 10 nodes, but proposes a round of 6"),
    "a weight": (announce(weighted_by="age"), "is not bound to it"),
    "an identity": (announce(identities=(bytes(32),)), "is not bound to it"),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_node_that_is_told_another_story_takes_no_part(tmp_path, name):
    change, text = CHEATS[name]

    def disturb(number, node_id, message, answer):
        if (number, node_id) == (2, VICTIM):
            change(message)
        return answer(message)

    answer, report = asked_of(federation(tmp_path, disturb=disturb))
    assert text in report.failures[VICTIM]
    assert_pooled(answer, report, {0, 1, 3, 4, 5})


def test_a_node_sums_what_it_has_agreed_to_and_nothing_else(tmp_path):
    def disturb(number, node_id, message, answer):
        if (number, node_id) == (1, VICTIM):
            message.content[RECORD]["query"] = COUNT.encoded
        return answer(message)

    answer, report = asked_of(federation(tmp_path, disturb=disturb))
    assert report.failures == {VICTIM: "query: it answers another query: install the same versions"}
    assert_pooled(answer, report, {0, 1, 3, 4, 5})

    honest = to_one(federation(tmp_path / "more"), VICTIM, query=COUNT.encoded).content

    def lying(number, node_id, message, answer):
        """The server takes it for an answer to the query all the same."""
        reply = disturb(number, node_id, message, answer)
        if (number, node_id) == (1, VICTIM):
            assert reply.content[RECORD]["digest"] == honest[RECORD]["digest"]
            reply.content[RECORD]["digest"] = QUERY.digest
        return reply

    _, report = asked_of(federation(tmp_path / "lying", disturb=lying))
    assert "announces another query than this node has agreed to answer" in report.failures[VICTIM]


@pytest.mark.parametrize("name", ["more", "less", "unbound", "of another query", "of training"])
def test_nodes_refuse_a_session_over_other_vectors(tmp_path, name, monkeypatch):
    honest = announcement_module.query_vectors

    def vectors(announcement, plan):
        bound, own = honest(announcement, plan)
        return {
            "more": (bound, own, IntegerVector("more", 1)),
            "less": (bound, IntegerVector(own.name, own.length - 1, max_value=own.max_value)),
            "unbound": (own,),
            "of another query": (bound, *Plan(COUNT).vectors),
            "of training": SecAggSettings()._vectors(3, 0, announcement.context.hex()),
        }[name]

    monkeypatch.setattr(asking, "query_vectors", vectors)
    with pytest.raises(ParameterError, match="the session sums other vectors than the query's, or is not bound to it"):
        asked_of(federation(tmp_path))


def test_an_invitation_to_nobody_who_has_agreed_is_refused(tmp_path):
    def disturb(number, node_id, message, answer):
        if (number, node_id) == (2, VICTIM):
            grid.nodes[node_id].run_id = 8
            announce(run_id=8)(message)
        return answer(message)

    grid = federation(tmp_path, disturb=disturb)
    _, report = asked_of(grid)
    assert "has agreed to no query" in report.failures[VICTIM]
