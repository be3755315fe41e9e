"""Private sums by commands: real processes of `secagg serve` and `secagg join`, with noise that a budget pays."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

from dp.ledger import Ledger
from dp.sensitivity import Unit
from protocols.cli.app import app
from protocols.cli.join import _inputs, _noise, read_values
from protocols.core.threat_model import ThreatModel
from protocols.masking.policy import ClientPolicy, PrivacyDemand
from protocols.privacy.joint import JointPlan
from protocols.privacy.plans import HistogramPlan, PrivatePlan
from protocols.service.client import take_part
from protocols.service.connection import Connection
from protocols.service.jobs import _sums
from protocols.service.noise import Private
from protocols.service.session_file import Asked, _vectors, read_sessions
from protocols.simulation.masked import Simulation
from secagg.errors import ParameterError
from secagg.signatures import Identity
from tests.command_line import separating_runner

NAMES = [f"site-{number}" for number in range(1, 6)]
GOAL = ["--epsilon", "8", "--delta", "1e-5", "--min-participants", "4"]
VOTES = {"epsilon": 8.0, "delta": 1e-5, "budget": "votes", "min_participants": 4}


def start(folder, *arguments):
    command = [sys.executable, "-c", "from protocols.cli import main; main()", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen(  # noqa: S603
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process):
    out, said = process.communicate(timeout=200)
    return process.returncode, out, said


async def joined(folder, url, name):
    """Do here what `secagg join` does in a process of its own; return how the session ended."""
    async with Connection(url, Identity.generate(), insecure_loopback=True, patience=60) as connection:
        await connection.enrol(name, (folder / "invitations" / name).read_text().strip())
        votes = {"sum": lambda terms: {"votes": np.array([0, 1, 0])}}
        policy = ClientPolicy(min_participants=4, privacy=PrivacyDemand(8.0, 1e-5))
        options = {"state": folder / name, "policy": policy, "warm": False}
        (end,) = await take_part(connection, name, votes, sessions=1, **options)
        return end.phase


async def all_joined(folder, url, names):
    return await asyncio.gather(*(joined(folder, url, name) for name in names))


def test_votes_with_noise_that_a_budget_pays_until_it_is_spent(tmp_path):
    """One member demands more noise than there is: it refuses, says so, and the others are summed."""
    with Ledger.open(str(tmp_path / "ledger.db"), create=True) as ledger:
        plan = Private(**VOTES).plan(ThreatModel(5, 0.1, 0.2), Asked(**asked()).vectors)
        ledger.create(plan.budget("votes"))
    assert ended(start(tmp_path, "members", "invite", *NAMES, "--out", "invitations"))[0] == 0
    serving = ["serve", "--integers", "votes:3:1", "--members", 5, "--dropout", 0.2, *GOAL, "--budget", "votes"]
    serving += ["--ledger", "ledger.db", "--insecure-loopback", "--port", 0, "--json", "--title"]
    service = start(tmp_path, *serving, "votes", "--forever")
    url = re.search(r"http://\S+", service.stderr.readline())[0]
    members = []
    for number, name in enumerate(NAMES[:2]):
        (tmp_path / f"{name}.json").write_text('{"votes": [0, 1, 0]}')
        demand = ["--epsilon", "1", *GOAL[2:]] if number == 0 else GOAL
        joining = ["join", url, "--insecure-loopback", "--name", name, "--state", name, "--values", f"{name}.json"]
        members.append(start(tmp_path, *joining, "--invitation", f"invitations/{name}", "--sessions", 1, *demand))
    assert asyncio.run(asyncio.wait_for(all_joined(tmp_path, url, NAMES[2:]), 200)) == ["completed"] * 3
    outcomes = [ended(member) for member in members]
    assert [code for code, _, _ in outcomes] == [3, 0]
    assert "but this client demands at most 1: raise local_sigma" in outcomes[0][1]
    result = json.loads(service.stdout.readline())
    page = httpx.get(url).text
    service.terminate()
    assert ended(service)[0] == 0
    assert (result["state"], result["result"]["survivors"]) == ("completed", NAMES[1:])
    assert "this client demands at most 1" in result["refused"]["site-1"]
    assert result["result"]["noise_deviation"]["votes"] > 0.3
    assert re.search(r"<h3>votes</h3>.*of epsilon 8 spent", page, re.DOTALL)
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        before = ledger.status("votes")
        assert before.epsilon > 4
        assert not ledger.open_reservations("votes")
    # The same store knows who can take part; the budget is for one such sum, and nobody is asked for a second.
    code, out, _ = ended(start(tmp_path, *serving, "again"))
    assert (code, json.loads(out)["error"]) == (3, "BudgetExceededError")
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        assert ledger.status("votes").epsilon == before.epsilon


def asked(vectors="votes = {bins = 3, max_total = 1}", **more):
    return {
        "title": "x",
        "members": 5,
        "dropout": 0.2,
        "vectors": vectors_of(vectors),
        "private": Private(**VOTES),
    } | more


def vectors_of(text):
    return _vectors(tomllib.loads(text), "x")


FILE = """
[[session]]
title = "x"
members = 20
private = {epsilon = 4.0, delta = 1e-6, budget = "study", rounds = 3, unit = "record", adjacency = "replace-one"}
vectors.update = {length = 4, l2_clip = 1.0, max_records = 100, share = 2.0}
vectors.counts = {bins = 3, max_total = 50, least_count = 5}
"""


def test_a_file_says_what_a_plan_takes(tmp_path):
    (tmp_path / "sessions.toml").write_text(FILE)
    (one,) = read_sessions(tmp_path / "sessions.toml")
    spec = one.spec(one.trial)
    assert spec.config.private
    assert (spec.payment.budget, spec.payment.adjacency) == ("study", "replace-one")
    assert [(vector.name, vector.unit) for vector in spec.config.vectors] == [
        ("update", "record"),
        ("counts", "record"),
    ]
    plan = one.private.plan(ThreatModel(20, 0.1, 0.1), one.vectors)
    assert isinstance(plan, JointPlan)
    assert plan.config == spec.config
    assert plan.rounds == 3
    assert plan.epsilon_total <= 4.0
    (tmp_path / "sessions.toml").write_text(FILE.replace("rounds = 3", "rounds = 4"))
    assert read_sessions(tmp_path / "sessions.toml")[0].digest != one.digest


@pytest.mark.parametrize(
    ("vectors", "plan"),
    [
        ("v = {length = 4, l2_clip = 2.0}", partial(PrivatePlan, length=4, l2_clip=2.0)),
        ("v = {bins = 3}", partial(HistogramPlan, bins=3)),
    ],
)
def test_one_vector_has_the_plan_that_params_shows(vectors, plan):
    private, model = Private(epsilon=1.0, delta=1e-6, budget="b"), ThreatModel(20)
    planned = plan(threat_model=model, name="v", epsilon=1.0, delta=1e-6)
    assert private.plan(model, vectors_of(vectors)).config == planned.config


SLIPS = {
    "no epsilon": ("epsilon = 4.0, ", "", "missing required field `epsilon`"),
    "no budget": (', budget = "study"', "", "missing required field `budget`"),
    "another key": ("rounds = 3", "round = 3", "has no key 'round'"),
    "coins that no member throws": ("rounds = 3", "sampling_rate = 0.01", "has no key 'sampling_rate'"),
    "rounds without end": ("rounds = 3", f"rounds = {10**400}", "rounds is 1000"),
    "a total that is no float": ("max_total = 50", f"max_total = {10**400}", "max_total of vector 'counts' is 1000"),
    "a count beyond 64 bits": ("least_count = 5", f"least_count = {2**70}", "least_count of vector 'counts' is 1180"),
    "records without end": ("max_records = 100", f"max_records = {10**400}", "max_records of vector 'update' is 1000"),
    "another unit": ('"record"', '"person"', "unit"),
    "a delta": ("1e-6", "2.0", "delta"),
    "no table": ("private = {", "private = 1 # {", "must be a table"),
    "a plain vector": (
        "bins = 3, max_total = 50, least_count = 5",
        "length = 3",
        "give length and l2_clip, for floats",
    ),
    "a bound that is none": ("max_total = 50", "total = 50", "has no key 'total'"),
    "a clip that follows": ("share = 2.0", "follows = 0.5", "has no key 'follows'"),
    "no noise": ("private = {", "# private = {", "has a bound for noise, but there is none: give private"),
    "too few": ("members = 20", "members = 5", "invite more, or lower min_participants"),
    "no room for records": ("max_records = 100, ", "", "has room for 1 record of each member: give max_records"),
    "with keys": ('title = "x"', 'title = "x"\nadversary = "malicious-server"\ndropout = 0.6', "dropout_fraction"),
    "too few with keys": ("members = 20", 'members = 5\nadversary = "malicious-server"', "lower min_participants"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_slips_are_named(tmp_path, name):
    old, new, said = SLIPS[name]
    assert old in FILE
    (tmp_path / "sessions.toml").write_text(FILE.replace(old, new))
    with pytest.raises(ParameterError, match=said):
        read_sessions(tmp_path / "sessions.toml")


def test_a_query_has_no_noise_here(tmp_path):
    (tmp_path / "query.toml").write_text(
        'dataset = "d"\n[columns]\nx = {lo = 0, hi = 1}\n[[statistics]]\nkind = "count"\n'
    )
    text = '[[session]]\ntitle = "x"\nmembers = 20\nquery = "query.toml"\n'
    (tmp_path / "sessions.toml").write_text(text + 'private = {epsilon = 1.0, delta = 1e-6, budget = "b"}\n')
    with pytest.raises(ParameterError, match="is a query, which is answered without noise here"):
        read_sessions(tmp_path / "sessions.toml")


def test_an_only_vector_shares_with_nobody():
    with pytest.raises(ParameterError, match="is alone: leave share out"):
        Private(epsilon=1.0, delta=1e-6, budget="b").plan(ThreatModel(20), vectors_of("v = {bins = 3, share = 2.0}"))


SERVE = ["serve", "--insecure-loopback", "--port", "0", "--integers", "v:3:1", "--members", "20"]
JOIN = ["join", "https://localhost:1", "--name", "a", "--state", "state", "--values", "v.json"]
WRONG = {
    "half a goal": ([*SERVE, "--epsilon", "1"], 2, "noise needs --epsilon, --delta and --budget"),
    "a unit of nothing": ([*SERVE, "--unit", "record"], 2, "--unit is not read without --epsilon"),
    "no ledger": ([*SERVE, *GOAL, "--budget", "b"], 2, "is paid from the budget 'b': name its --ledger"),
    "no such ledger": ([*SERVE, *GOAL, "--budget", "b", "--ledger", "none.db"], 2, "none.db"),
    "no such budget": ([*SERVE, *GOAL, "--budget", "b", "--ledger", "ledger.db"], 2, "no budget 'b'"),
    "a file": (["serve", "s.toml", *GOAL, "--budget", "b"], 2, "are not read with a file of sessions"),
    "records without room": (
        ["serve", "--floats", "v:3:1", "--members", "20", *GOAL, "--budget", "b", "--unit", "record"],
        2,
        "give max_records",
    ),
    "half a demand": ([*JOIN, "--epsilon", "1"], 2, "needs both --epsilon and --delta"),
    "rounds of nothing": ([*JOIN, "--rounds", "2"], 2, "--rounds is not read without --epsilon"),
    "a demand that is none": ([*JOIN, "--epsilon", "-1", "--delta", "1e-5"], 2, "epsilon"),
    "no rows": ([*JOIN, "--epsilon", "1", "--delta", "1e-5", "--unit", "record"], 2, "no NPZ, and no JSON"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_sentence(tmp_path, monkeypatch, name):
    arguments, code, said = WRONG[name]
    monkeypatch.chdir(tmp_path)
    Ledger.open("ledger.db", create=True).close()
    (tmp_path / "v.json").write_text('{"v": [1, 0, 0]}')
    (tmp_path / "s.toml").write_text('[[session]]\ntitle = "x"\nmembers = 5\nvectors.v = {length = 1}\n')
    done = separating_runner().invoke(app, arguments)
    assert said in " ".join(done.stderr.split()), done.stderr
    assert done.exit_code == code
    assert not (tmp_path / "state").exists()


def test_a_demand_is_what_options_say():
    said = PrivacyDemand(2.0, 1e-6, rounds=3, corrupt_fraction=0.4, unit="record")
    assert _noise(2.0, 1e-6, Unit.RECORD, 3, 0.4) == said
    assert _noise(2.0, 1e-6, Unit.CLIENT, 1, None) == PrivacyDemand(2.0, 1e-6)
    assert _noise(None, None, Unit.CLIENT, 1, None) is None


def test_records_are_rows_of_values(tmp_path):
    terms = Asked(
        title="x",
        members=20,
        vectors=vectors_of("f = {length = 2, l2_clip = 1.0, max_records = 9}\nc = {bins = 3, max_total = 9}"),
        private=Private(epsilon=4.0, delta=1e-6, budget="b", unit="record"),
    )
    spec = terms.spec(terms.trial)
    terms = spec.terms
    path = tmp_path / "v.json"
    path.write_text('{"f": [[1, 2], [3, 4]], "c": [[0, 1, 0]]}')
    given = _inputs(read_values(path, rows=True), 1, terms).values
    assert (given["f"].dtype, given["f"].tolist()) == (np.float64, [[1.0, 2.0], [3.0, 4.0]])
    assert (given["c"].dtype, given["c"].tolist()) == (np.int64, [[0, 1, 0]])
    summed = Simulation(spec.config, lambda name: given, threads=1).run().result
    facts = _sums(summed, spec.config)
    each = 1 / np.sqrt(5) + 3 / 5  # of rows that are clipped by themselves
    assert abs(facts["sums"]["f"][0] - 20 * each) < 6 * facts["noise_deviation"]["f"]  # once in 500 million runs not
    path.write_text('{"f": [], "c": []}')  # who has none adds noise all the same
    given = _inputs(read_values(path, rows=True), 1, terms).values
    assert (given["f"].shape, given["c"].shape, given["c"].dtype) == ((0, 2), (0, 3), np.int64)
    for text in ('{"f": [1, 2]}', '{"f": [[1], [2, 3]]}', '{"f": [["1"]]}', '{"f": 1}'):
        path.write_text(text)
        with pytest.raises(ParameterError, match="no NPZ, and no JSON"):
            read_values(path, rows=True)
    np.savez(tmp_path / "v.npz", f=np.zeros(3))
    with pytest.raises(ParameterError, match="a list of rows of numbers, one for each record"):
        read_values(tmp_path / "v.npz", rows=True)
