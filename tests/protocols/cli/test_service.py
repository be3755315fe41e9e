"""The commands serve, join and members: whole sessions over TLS, and what is said where something is wrong."""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from protocols.cli.app import app
from protocols.cli.join import _key_use, join, read_values
from protocols.cli.join import _print as shown
from protocols.cli.serve import _limits, serve
from protocols.core.identity_files import write_identity
from protocols.core.listener import SessionEnded
from protocols.service.client import Ended
from protocols.service.connection import Connection
from protocols.service.limits import Limits
from protocols.service.members import Members
from protocols.service.observing import Observer
from protocols.service.serving import Service
from protocols.service.session_file import read_sessions
from protocols.service.store import Store
from protocols.statistics import Query
from secagg.errors import ParameterError, StateError
from secagg.signatures import Identity
from tests.command_line import context_of, separating_runner
from tests.protocols.service.places import certificates, free_port

RUNNER = separating_runner()
NAMES = [f"site-{number}" for number in range(1, 6)]
QUERY = """
dataset = "admissions"
[columns]
age = {lo = 0, hi = 120}
[[statistics]]
kind = "count"
[[statistics]]
kind = "mean"
columns = ["age"]
"""
SESSIONS = """
[[session]]
title = "ages"
query = "query.toml"
members = 5
dropout = 0.2
[[session]]
title = "votes"
vectors.votes = {length = 3, max_value = 9}
vectors.share = {length = 2, clip = 4.0}
members = ["site-1", "site-2", "site-3", "site-4", "site-5"]
dropout = 0.2
results_to = "members"
"""


def ran(*arguments, code=0):
    done = RUNNER.invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
    return done.stdout if code == 0 else " ".join(done.stderr.split())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_hospital(folder, number):
    """A site's table and file, and its votes."""
    rng = np.random.default_rng([19, number])
    ages = rng.integers(20, 100, 40)
    (folder / f"{number}.csv").write_text("age\n" + "".join(f"{age}\n" for age in ages))
    (folder / f"{number}.toml").write_text(
        f'dataset = "admissions"\ntable = "none.csv"\njournal = "{number}.journal"\n'
        '[columns]\nage = "number"\n[policy]\nmin_sites = 4\n'
    )
    (folder / f"{number}.json").write_text(json.dumps({"votes": [number, 0, 1], "share": [0.5, -1.0]}))
    return ages


def test_sessions_of_a_file_among_members_with_tables_and_votes(folder, capsys):
    port = free_port()
    url, secure = f"https://localhost:{port}", certificates()
    ages = np.concatenate([write_hospital(folder, number) for number in range(1, 6)])
    (folder / "query.toml").write_text(QUERY)
    (folder / "sessions.toml").write_text(SESSIONS)
    ran("members", "invite", *NAMES, "--out", "invitations")

    def taking_part(number):
        join(
            context_of("join"),
            url,
            NAMES[number - 1],
            folder / f"state-{number}",
            invitation=folder / "invitations" / NAMES[number - 1],
            ca=secure.ca,
            site=folder / f"{number}.toml",
            data=folder / f"{number}.csv",
            values=folder / f"{number}.json",
            sessions=2,
            patience=60,
            as_json=True,
        )

    with ThreadPoolExecutor(6) as pool:
        secured = {"port": port, "certificate": secure.chain, "key": secure.key, "as_json": True}
        serving = pool.submit(serve, context_of("serve"), folder / "sessions.toml", side_by_side=True, **secured)
        err, until = "", time.monotonic() + 60
        while not ("votes: waits" in err and "ages: waits" in err):  # nobody comes before
            assert not serving.done()
            assert time.monotonic() < until
            time.sleep(0.05)
            err += capsys.readouterr().err
        for done in [pool.submit(taking_part, number) for number in range(1, 6)]:
            done.result()
        serving.result()
    told = capsys.readouterr()
    assert f"votes: waits, 0 of 5 members can take part; missing: {', '.join(NAMES)}" in err
    assert "ages: waits, 0 of 5 members can take part\n" in err
    assert "site-1 takes part at https://localhost" in told.err
    printed = [json.loads(line) for line in told.out.splitlines()]
    ended = {line["title"]: line for line in printed if "state" in line}
    assert [line["phase"] for line in printed if "phase" in line] == ["completed"] * 10
    assert ended["votes"]["result"]["sums"]["votes"] == [15, 0, 5]
    np.testing.assert_allclose(ended["votes"]["result"]["sums"]["share"], [2.5, -5], atol=0.01)
    count, mean = ended["ages"]["result"]["results"]
    assert count["value"] == len(ages)
    assert abs(mean["value"] - ages.mean()) <= mean["error"]
    # Asked once more of the same store, what has ended is printed again, and nobody is asked.
    serve(context_of("serve"), folder / "sessions.toml", **secured)
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["session"] for line in again] == [ended["ages"]["session"], ended["votes"]["session"]]


def test_members_are_listed_revoked_and_get_new_keys(folder):
    port, secure = free_port(), certificates()
    url = f"https://localhost:{port}"
    own, new = Identity.generate(), Identity.generate()
    write_identity(folder / "own.pem", own)
    write_identity(folder / "new.pem", new)
    (token,) = json.loads(ran("members", "invite", "a", "--json"))["invitations"].values()
    listed = json.loads(ran("members", "list", "--json"))
    assert (listed["members"], list(listed["invited"])) == ([], ["a"])

    async def play():
        rotate = ["members", "rotate", url, "--name", "a", "--ca", secure.ca]
        with Service("secagg-service.db", port=port, certificate=secure.chain, key=secure.key) as service:
            async with service.serving():
                stranger = [*rotate, "--identity", "new.pem", "--new", "own.pem"]
                assert "no member has the key" in await asyncio.to_thread(ran, *stranger, code=3)
                async with Connection(url, own, ca=secure.ca) as connection:
                    await connection.enrol("a", token)
                for _ in range(2):  # the answer to the first may have been lost
                    told = await asyncio.to_thread(ran, *rotate, "--identity", "own.pem", "--new", "new.pem", "--json")
                    assert json.loads(told) == {"name": "a", "public_key": new.public_bytes.hex()}

    asyncio.run(play())
    assert "a" in ran("members", "list", "--roster", "roster.json")
    assert json.loads((folder / "roster.json").read_text())["identities"] == {"a": new.public_bytes.hex()}
    assert "nobody was revoked" in ran("members", "revoke", "a", "b", code=2)
    ran("members", "revoke", "a")
    assert json.loads(ran("members", "list", "--json"))["members"][0]["revoked"]


JOIN = ["join", "https://localhost:1", "--name", "a", "--state", "state"]
SERVE = ["serve", "--integers", "v:3:1", "--members", "5"]
WRONG = {
    "nothing to give": (JOIN, "there is nothing to give: name a --site, --values, --training, or the --share"),
    "a table without a site": ([*JOIN, "--values", "v.json", "--data", "v.csv"], "--data is not read without --site"),
    "no values": ([*JOIN, "--values", "none.json"], "none.json cannot be read"),
    "no site": ([*JOIN, "--site", "none.toml"], "none.toml cannot be read"),
    "a demand that is none": ([*JOIN, "--values", "v.json", "--corrupt", "7"], "corrupt_fraction is 7.0"),
    "a weight below zero": ([*JOIN, "--values", "v.json", "--weight", "-1"], "-1 is not in the range"),
    "no sessions": ([*JOIN, "--values", "v.json", "--sessions", "0"], "0 is not in the range"),
    "no certificates": ([*JOIN, "--values", "v.json", "--ca", "none.pem"], "none.pem cannot be read"),
    "no address": (["join", "localhost", *JOIN[2:], "--values", "v.json"], "the service's address is 'localhost'"),
    "in clear": (["join", "http://localhost:1", *JOIN[2:], "--values", "v.json"], "must be such as https://"),
    "a key that others read": ([*JOIN, "--values", "v.json", "--identity", "open.pem"], "others than its owner may"),
    "a key that is none": ([*JOIN, "--values", "v.json", "--identity", "v.json"], "no private Ed25519 key"),
    "no invitation": ([*JOIN, "--values", "v.json", "--invitation", "none"], "--invitation is none"),
    "nothing to run": (["serve"], "there is nothing to run"),
    "twice": (["serve", "sessions.toml", "--integers", "v:1:1"], "and not both"),
    "nobody": (["serve", "--integers", "v:1:1"], "say who takes part"),
    "everybody": ([*SERVE, "--member", "a"], "say who takes part"),
    "a vector": (["serve", "--integers", "v:1", "--members", "5"], "a vector is 'v:1'"),
    "no certificate": (SERVE, "without a certificate the service is served on loopback alone"),
    "half a certificate": ([*SERVE, "--key", "v.json"], "a certificate and its private key go together"),
    "another certificate": ([*SERVE, "--key", "v.json", "--certificate", "v.json"], "cannot be used"),
    "in clear for all": ([*SERVE, "--insecure-loopback", "--host", "sums.example"], "on loopback alone"),
    "a port that is none": ([*SERVE, "--port", "99999"], "99999 is not in the range"),
    "a page's port that is none": ([*JOIN, "--values", "v.json", "--page", "84430"], "84430 is not in the range"),
    "no place for a token": ([*JOIN, "--values", "v.json", "--page", "1", "--page-token", "no/t"], "cannot be written"),
    "a page for nobody": ([*SERVE, "--private-page"], "give --operator-token as well"),
    "a limit of nothing": ([*SERVE, "--limit", "votes=3"], "a number for one of max_header_bytes, header_seconds"),
    "a limit that is no number": (
        [*SERVE, "--limit", "burst=many"],
        "'burst=many', but must be NAME=VALUE, a whole number",
    ),
    "a limit without a value": ([*SERVE, "--limit", "header_seconds"], "must be NAME=VALUE, a number for header_sec"),
    "a limit before functions": (
        ["serve", "--training", "none:f", "--floats", "v:1:1", "--members", "5", "--limit", "burst=1.5"],
        "a whole number for burst",
    ),
    "a limit below one": ([*SERVE, "--limit", "burst=0"], "burst is 0, but must be"),
    "a fraction": ([*SERVE, "--dropout", "0.9"], "dropout_fraction"),
    "no store": (["members", "list", "--store", "none.db"], "none.db"),
    "a name twice": (["members", "invite", "a", "a"], "a name stands twice"),
    "a name that is a path": (["members", "invite", "../a", "--out", "x"], "no name of a file"),
    "a name that is none": (["members", "invite", "a\nb"], "must be printable text"),
    "for no time": (["members", "invite", "a", "--hours", "0"], "seconds for which an invitation holds"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_sentence(folder, name):
    arguments, sentence = WRONG[name]
    (folder / "v.json").write_text('{"v": [1]}')
    (folder / "sessions.toml").write_text('[[session]]\ntitle = "x"\nmembers = 5\nvectors.v = {length = 1}\n')
    write_identity(folder / "open.pem", Identity.generate())
    (folder / "open.pem").chmod(0o644)
    (folder / "v.json").chmod(0o600)
    done = RUNNER.invoke(app, arguments)
    assert done.exit_code in (2, 3), (done.stdout, done.stderr, done.exception)
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def begun_and_told(folder, told, *options):
    """Start a service with two sessions that wait for members, end it by a signal; return its code and lines."""
    sessions = (f'[[session]]\ntitle = "{name}"\nmembers = 5\nvectors.v = {{length = 1}}\n' for name in "ab")
    (folder / "s.toml").write_text("".join(sessions))
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # who started us may ignore it
    run = f"{heard}; from protocols.cli import main; main()"
    command = [sys.executable, "-c", run, "serve", "s.toml", "--port", "0", "--insecure-loopback", *options]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        assert process.stderr is not None
        begun = [process.stderr.readline() for _ in range(3)]
        process.send_signal(told)
        rest = process.stderr.read()
    return process.returncode, begun, rest.strip()


@pytest.mark.parametrize(("told", "code", "said"), [("SIGTERM", 0, ""), ("SIGINT", 130, "secagg: interrupted")])
def test_a_service_that_is_told_to_end_says_nothing_else(folder, told, code, said):
    ended, begun, rest = begun_and_told(folder, signal.Signals[told])
    assert re.fullmatch(r"secagg: serving at (http://127.0.0.1:\d+) \(known as .*127.0.0.1:\d+.*\n", begun[0])
    assert (ended, rest) == (code, said)


HANGS = """
import asyncio, time
from protocols.cli import service_options
service_options.END_SECONDS = 0.5
async def hangs():
    print("begun", flush=True)
    await asyncio.to_thread(time.sleep, 1e6)
service_options.run_until_told(hangs())
"""


def test_whoever_is_told_to_end_does_so_whatever_a_thread_does():
    """Python itself would wait for it."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", HANGS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:  # noqa: S603
        process.stdout.readline()
        process.terminate()
        assert process.wait(60) == 0


def test_where_lines_of_json_are_asked_for_nothing_else_is_written(folder):
    _, begun, rest = begun_and_told(folder, signal.SIGTERM, "--log-json")
    lines = [json.loads(line) for line in (*begun, *rest.splitlines())]
    assert lines[2]["event"] == "a: waits, 0 of 5 members can take part"


TALKS = """
import os, subprocess
def talks():
    print("4711")
    os.write(1, b"4711")
    subprocess.run(["echo", "4711"])
talks()
def f(before):
    talks()
"""


def test_nor_what_an_operators_function_prints(folder):
    (folder / "talks.py").write_text(TALKS)
    command = [sys.executable, "-c", "from protocols.cli import main; main()", "serve", "--training", "talks:f"]
    command += ["--floats", "v:1:1", "--members", "5", "--port", "0", "--insecure-loopback", "--log-json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:  # noqa: S603
        begun = [process.stderr.readline() for _ in range(3)]
        process.terminate()
        printed, rest = process.communicate(timeout=60)
    assert "waits, 0 of 5" in json.loads(begun[2])["event"]
    assert all(json.loads(line)["event"] for line in (*begun, *rest.splitlines()))
    assert "4711" not in printed + "".join(begun) + rest


def test_a_session_that_fails_leaves_no_bare_words_on_standard_error(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as where nobody has set up logging
    Observer()("0" * 32, SessionEnded(0, "ThresholdError", "too few"))
    assert capsys.readouterr().err == ""


def test_a_session_without_a_result_says_who_knows_why(capsys):
    shown(Ended("ab" * 32, "votes", "aborted"), False)
    shown(Ended("ab" * 32, "votes", "completed"), False)
    assert capsys.readouterr().out.splitlines() == [
        "votes: aborted, there is no result: the operator's page says why",
        "votes: completed",
    ]


def test_why_a_member_refused_is_told_to_it_alone(capsys):
    shown(
        Ended("ab" * 32, "votes", "refused", "EncodingError: they do not fit", "vector 'v': value at index 1 is 7"),
        True,
    )
    told = capsys.readouterr()
    assert "votes: vector 'v': value at index 1 is 7 (the service was not told this)" in told.err
    assert json.loads(told.out)["reason"] == "EncodingError: they do not fit"
    assert "index" not in told.out


@pytest.mark.parametrize("log_json", [False, True])
def test_what_a_members_function_prints_is_no_result(folder, monkeypatch, capsys, log_json):
    monkeypatch.setattr("protocols.cli.join.saying", lambda log_json: print)  # not for all tests to come

    def runs(work):
        work.close()
        sys.stdout.write("4711")

    monkeypatch.setattr("protocols.cli.join.run_until_told", runs)
    (folder / "talks.py").write_text("print('4711')\ndef f(terms):\n    return {}\n")
    join(
        context_of("join"),
        "https://localhost:1",
        "a",
        folder / "state",
        training="talks:f",
        log_json=log_json,
        as_json=True,
    )
    shown(Ended("ab" * 32, "votes", "completed"), True, out=sys.stdout)
    told = capsys.readouterr()
    assert (json.loads(told.out)["title"], told.err.count("4711")) == ("votes", 0 if log_json else 2)
    assert not (log_json and told.err)


def test_limits_are_given_by_name():
    given = ["handshakes_a_second=200", "header_seconds=2.5", "connections_a_peer=1000"]
    assert _limits(given) == Limits(handshakes_a_second=200, header_seconds=2.5, connections_a_peer=1000)
    assert _limits([]) == Limits()


def test_help_names_every_command():
    assert {"serve", "join", "members"} <= set(re.findall(r"^│ ([a-z-]+) ", ran("--help"), re.MULTILINE))


VALUES = {
    "integers": ({"v": [1, 2]}, np.int64),
    "floats": ({"v": [1, 2.5]}, np.float64),
    "none": ({}, "holds no vectors"),
    "a number": ({"v": 1}, "no NPZ, and no JSON"),
    "texts": ({"v": ["1"]}, "no NPZ, and no JSON"),
    "booleans": ({"v": [True]}, "no NPZ, and no JSON"),
    "a matrix": ({"v": [[1]]}, "no NPZ, and no JSON"),
    "beyond 64 bits": ({"v": [1 << 63]}, "no NPZ, and no JSON"),
    "not finite": ({"v": [1e999]}, "no NPZ, and no JSON"),
    "a list": ([1], "no NPZ, and no JSON"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_are_named_vectors_of_numbers(tmp_path, name):
    given, found = VALUES[name]
    path = tmp_path / "v.json"
    path.write_text(json.dumps(given))
    if isinstance(found, str):
        with pytest.raises(ParameterError, match=found):
            read_values(path)
        return
    (array,) = read_values(path).values()
    assert array.dtype == found
    np.savez(tmp_path / "v.npz", v=array)
    np.testing.assert_array_equal(read_values(tmp_path / "v.npz")["v"], array)


def test_arrays_that_are_no_vectors_are_refused(tmp_path):
    np.savez(tmp_path / "v.npz", v=np.zeros((2, 2)))
    with pytest.raises(ParameterError, match="must be a list of numbers"):
        read_values(tmp_path / "v.npz")
    np.savez(tmp_path / "v.npz", v=np.array([{}], dtype=object))
    with pytest.raises(ParameterError, match="no NPZ"):
        read_values(tmp_path / "v.npz")


def session(text=""):
    return '[[session]]\ntitle = "x"\nmembers = 5\n' + (text or "vectors.v = {length = 1}") + "\n"


SLIPS = {
    "no TOML": ("[[", "is no TOML"),
    "nothing": ("", r"needs \[\[session\]\] tables"),
    "another key": ("store = 1\n" + session(), "has no key 'store'"),
    "another key of a session": (session() + "port = 1\n", "has no key 'port'"),
    "no title": (session().replace('title = "x"\n', ""), "needs a title"),
    "no members": (session().replace("members = 5\n", ""), "needs members"),
    "one member": (session().replace("= 5", "= 1"), "members of session"),
    "members that are numbers": (session().replace("= 5", "= [1, 2]"), "needs members"),
    "a member twice": (session().replace("= 5", '= ["a", "a", "b"]'), "named twice"),
    "nothing asked": (session("seconds = 1"), "needs a query or vectors"),
    "no query": (session('query = "none.toml"'), "cannot be read"),
    "a query that is none": (session('query = "sessions.toml"'), "the query has no key"),
    "a query that is a number": (session("query = 1"), "must be the name of a file"),
    "vectors that are none": (session("vectors = 1"), "must be a table"),
    "a vector that is none": (session("vectors.v = 1"), "must be a table"),
    "a vector without a length": (session("vectors.v = {}"), "length"),
    "a vector with another key": (session("vectors.v = {length = 1, size = 2}"), "size"),
    "an adversary": (session() + 'adversary = "nobody"\n', "adversary must be one of"),
    "an audience": (session() + 'results_to = "all"\n', "results_to must be one of"),
    "a release without a query": (session() + "min_cell = 5\n", "has no query"),
    "a deadline": (session() + "seconds = -1\n", "seconds is -1"),
    "a dropout": (session() + "dropout = 0.9\n", "dropout_fraction"),
    "parameters that are none": (session('paillier = "sessions.toml"'), "no parameters of a Paillier round"),
    "parameters without a name": (session('paillier = "a\\u0000b"'), "no name of a file"),
    "parameters that are a number": (session("paillier = 1"), "must be the name of a file"),
    "training that is a number": (session("vectors.v = {length = 1}\ntraining = 1"), "training must be a text"),
    "deadlines as a table": (session() + "deadlines = {}\n", "by themselves"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_slips_in_a_file_of_sessions_are_named(tmp_path, name):
    text, said = SLIPS[name]
    (tmp_path / "sessions.toml").write_text(text)
    with pytest.raises(ParameterError, match=said):
        read_sessions(tmp_path / "sessions.toml")


def test_invitations_that_cannot_be_had_or_written_void_none(folder, monkeypatch):
    (token,) = json.loads(ran("members", "invite", "a", "--json"))["invitations"].values()
    (folder / "file").touch()
    (folder / "out" / "a").mkdir(parents=True)
    for out, said in (("file", "cannot be written"), ("out", "is no name of a file")):
        assert said in ran("members", "invite", "a", "--out", out, code=2)

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("protocols.cli.members.tempfile.TemporaryFile", full)
    assert "No space left" in ran("members", "invite", "a", "--out", "full", code=2)
    with contextlib.closing(Store("secagg-service.db")) as store:
        members = Members(store)
        members.enrol("b", Identity.generate().public_bytes, members.invite("b"))
        assert "'b' is a member already" in ran("members", "invite", "a", "b", code=2)
        members.enrol("a", Identity.generate().public_bytes, token)


def test_sessions_differ_in_whatever_is_asked(tmp_path):
    path = tmp_path / "sessions.toml"
    (tmp_path / "query.toml").write_text(QUERY)
    path.write_text(SESSIONS + session() + session("vectors.v = {length = 2}") + session().replace('"x"', '"y"'))
    asked = read_sessions(path)
    assert len({one.digest for one in asked}) == 5
    assert isinstance(asked[0].query, Query)
    path.write_text(SESSIONS)
    assert [one.digest for one in read_sessions(path)] == [one.digest for one in asked[:2]]


def test_an_identity_is_made_once(tmp_path):
    from protocols.cli.join import _identity

    made = _identity(tmp_path / "own.pem")
    assert isinstance(made, Identity)
    assert _identity(tmp_path / "own.pem").public_bytes == made.public_bytes


def test_what_a_share_served_is_remembered_beside_it_whatever_it_is_called(tmp_path):
    share, other = tmp_path / "share.json", tmp_path / "other.json"
    share.touch()
    other.symlink_to(share)
    _key_use(share).claim(b"\1" * 32, 1, b"\2" * 32)
    with pytest.raises(StateError, match="was used in another session"):
        _key_use(other).claim(b"\1" * 32, 1, b"\3" * 32)
