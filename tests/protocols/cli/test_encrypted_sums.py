"""Encrypted sums by commands: a key, its shares and a round as files, then a service and its parties."""

import asyncio
import json
import os
import re
import stat
import subprocess
import sys

import numpy as np
import pytest

from protocols.cli import dealing
from protocols.cli.app import app
from protocols.cli.join import _encrypted
from protocols.core.identity_files import read_identity, read_participants
from protocols.core.participants import Participants
from protocols.paillier import Contributor, EncryptedUpdate
from protocols.paillier.files import read_key, read_round, read_share, write_key, write_share
from protocols.paillier.state import Phase
from protocols.service.client import take_part
from protocols.service.connection import Connection
from secagg.errors import AuthenticationFailed, ParameterError
from secagg.paillier import EncryptedVector
from tests.command_line import separating_runner
from tests.secagg.paillier.fixed_keys import dealt

HOSPITALS = ["hospital-1", "hospital-2", "hospital-3"]
COMMITTEE = ["agency", "ministry", "university"]
ROUND = ["--length", "4", "--clip", "1", "--min-contributors", "3", "--rounding", "nearest"]


def ran(*arguments, code=0):
    done = separating_runner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
    return done.stdout if code == 0 else " ".join(done.stderr.split())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """With keys of all, a key that was dealt, and a round."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dealing, "deal", lambda threshold, members, **_: dealt(threshold, members, 2048))
    ran("keygen", "--out", "keys", *HOSPITALS, *COMMITTEE)
    ran("paillier", "deal", *COMMITTEE, "--threshold", 3, "--out", "dealt")
    ran("paillier", "round", "dealt/committee.json", "keys/roster.json", *ROUND, "--out", "round.parameters")
    return tmp_path


def test_a_key_is_dealt_to_files_of_their_owners_alone(folder):
    key, names = read_key(folder / "dealt" / "committee.json")
    assert (names, key.threshold) == (("agency", "ministry", "university"), 3)
    assert stat.S_IMODE((folder / "dealt").stat().st_mode) == 0o700
    parameters = read_round(folder / "round.parameters")
    assert (parameters.key, parameters.members.names) == (key, names)
    assert parameters.contributors == Participants(
        {
            name: one
            for name, one in read_participants(folder / "keys" / "roster.json").keys.items()
            if name in HOSPITALS
        }
    )
    for number, name in enumerate(names, 1):
        path = folder / "dealt" / f"{name}.share"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        share, owner = read_share(path, parameters)
        assert (share.member, owner) == (number, name)
        assert f"{share.secret:x}" not in ran("paillier", "show", "round.parameters")


def test_two_rounds_under_one_key_have_numbers_of_their_own(folder):
    ran("paillier", "round", "dealt/committee.json", "keys/roster.json", *ROUND, "--out", "second.parameters")
    told = [json.loads(ran("paillier", "show", name, "--json")) for name in ("round.parameters", "second.parameters")]
    assert told[0]["round"] != told[1]["round"]
    assert told[0] | {"round": ""} == told[1] | {"round": ""}
    assert told[0]["contributors"] == HOSPITALS
    assert told[0]["committee"] == COMMITTEE
    assert told[0]["corrupt_members"] == 1  # a third


def test_that_no_member_is_corrupt_is_written_down(folder):
    trusting = ["--corrupt-members", 0]
    ran("paillier", "deal", *COMMITTEE, "--threshold", 2, *trusting, "--out", "two")
    made = ["paillier", "round", "two/committee.json", "keys/roster.json", *ROUND, "--out", "two.parameters"]
    assert "state fewer corrupt members" in ran(*made, code=2)
    ran(*made, *trusting)
    assert json.loads(ran("paillier", "show", "two.parameters", "--json"))["corrupt_members"] == 0


def test_each_party_may_make_its_own_key_and_hand_over_its_roster(folder):
    people = read_participants(folder / "keys" / "roster.json").keys
    for name in (*HOSPITALS, *COMMITTEE):
        roster = {"version": 1, "identities": {name: people[name].hex()}}
        (folder / f"{name}.json").write_text(json.dumps(roster))
    rosters = [f"{name}.json" for name in (*HOSPITALS, *COMMITTEE)]
    ran("paillier", "round", "dealt/committee.json", *rosters, *ROUND, "--out", "own.parameters")
    own, together = (read_round(folder / name) for name in ("own.parameters", "round.parameters"))
    assert (own.contributors, own.members) == (together.contributors, together.members)
    (folder / "agency.json").write_text(
        json.dumps({"version": 1, "identities": {"agency": people[HOSPITALS[0]].hex()}})
    )
    wrong = ["paillier", "round", "dealt/committee.json", "keys/roster.json", "agency.json", *ROUND, "--out", "x"]
    assert "'agency' has another key in agency.json" in ran(*wrong, code=2)


def test_nothing_is_overwritten_and_what_failed_leaves_nothing(folder, monkeypatch):
    before = (folder / "dealt" / "agency.share").read_bytes()
    assert "exists" in ran("paillier", "deal", *COMMITTEE, "--threshold", 3, "--out", "dealt", code=2)
    again = ["paillier", "round", "dealt/committee.json", "keys/roster.json", *ROUND, "--out", "round.parameters"]
    assert "exists" in ran(*again, code=2)
    assert (folder / "dealt" / "agency.share").read_bytes() == before

    def full(path, share, name):
        if name == "ministry":
            raise ParameterError("no space")
        write_share(path, share, name)

    monkeypatch.setattr(dealing, "write_share", full)
    ran("paillier", "deal", *COMMITTEE, "--threshold", 3, "--out", "other", code=2)
    assert list((folder / "other").iterdir()) == []


WRONG = {
    "a threshold": (["deal", *COMMITTEE, "--threshold", "1", "--out", "x"], "would open on their own"),
    "one that a third of the members defeats": (
        ["deal", *COMMITTEE, "--threshold", "2", "--out", "x"],
        "at least 3, or state fewer corrupt members",
    ),
    "more corrupt than the key bears": (
        ["round", "dealt/committee.json", "keys/roster.json", *ROUND, "--corrupt-members", "3", "--out", "x"],
        "3 corrupt members would open on their own",
    ),
    "too high a threshold": (["deal", *COMMITTEE, "--threshold", "4", "--out", "x"], "nobody could open"),
    "bits": (["deal", *COMMITTEE, "--threshold", "2", "--key-bits", "512", "--out", "x"], "--key-bits is 512"),
    "a name that is a path": (["deal", "../a", "b", "c", "--threshold", "2", "--out", "x"], "letters, digits"),
    "a name twice": (["deal", "a", "a", "b", "--threshold", "2", "--out", "x"], "named twice"),
    "no key": (["round", "none.json", "keys/roster.json", *ROUND, "--out", "x"], "none.json cannot be read"),
    "a key that is none": (
        ["round", "keys/roster.json", "keys/roster.json", *ROUND, "--out", "x"],
        "is not a dealt key",
    ),
    "who is in no roster": (
        ["round", "dealt/committee.json", "keys/roster.json", *ROUND, "--contributor", "x", "--out", "x"],
        "'x' is in no roster",
    ),
    "too few": (
        ["round", "dealt/committee.json", "keys/roster.json", *ROUND[:5], "1", "--out", "x"],
        "2 <= minimum <= contributors",
    ),
    "no round": (["show", "dealt/committee.json"], "no parameters of a Paillier round"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_sentence(folder, name):
    arguments, sentence = WRONG[name]
    assert sentence in ran("paillier", *arguments, code=2)
    assert not (folder / "x").exists()


JOIN = ["join", "http://127.0.0.1:1", "--insecure-loopback", "--patience", "0.1", "--state", "state"]
OF_HOSPITAL = ["--name", "hospital-1", "--identity", "keys/hospital-1.pem", "--parameters", "round.parameters"]
OF_MEMBER = ["--name", "agency", "--identity", "keys/agency.pem", "--parameters", "round.parameters"]
PARTIES = {
    "a hospital": ([*OF_HOSPITAL, "--values", "v.json"], "cannot answer"),  # nobody serves, but all else is well
    "a member": ([*OF_MEMBER, "--share", "dealt/agency.share"], "cannot answer"),
    "a member without its share": ([*OF_MEMBER, "--values", "v.json"], "is not a contributor in the round"),
    "a hospital without values": (OF_HOSPITAL, "there is nothing to give"),
    "a member with values": ([*OF_MEMBER, "--share", "dealt/agency.share", "--values", "v.json"], "a committee member"),
    "another's share": ([*OF_MEMBER, "--share", "dealt/ministry.share"], "is not of the committee"),
    "another's key": (["--name", "agency", *OF_HOSPITAL[2:], "--share", "dealt/agency.share"], "by its key"),
    "a share alone": (["--name", "agency", "--share", "dealt/agency.share"], "--parameters is one encrypted sum"),
    "demands": ([*OF_HOSPITAL, "--values", "v.json", "--min-clients", "9"], "--parameters is one encrypted sum"),
    "a share that others read": ([*OF_MEMBER, "--share", "open.share"], "chmod go-rw"),
    "parameters that others write": ([*OF_HOSPITAL[:5], "open.parameters", "--values", "v.json"], "chmod go-w"),
    "a share of another key": ([*OF_MEMBER, "--share", "other.share"], "a share of another key"),
    "a share that is none": ([*OF_MEMBER, "--share", "none.share"], "is not a share of a key"),
    "a share of a stranger": ([*OF_MEMBER, "--share", "stranger.share"], "not in the round's committee"),
}


@pytest.mark.parametrize("name", PARTIES)
def test_parties_of_a_round_are_checked_before_they_connect(folder, name):
    (folder / "v.json").write_text('{"update": [0.5, 0, 0, 0]}')
    shares = {
        "open": (folder / "dealt" / "agency.share").read_text(),
        "none": '{"version": 1}',
        "stranger": (folder / "dealt" / "agency.share").read_text().replace("agency", "nobody"),
    }
    for kind, text in shares.items():
        (folder / f"{kind}.share").write_text(text)
        (folder / f"{kind}.share").chmod(0o644 if kind == "open" else 0o600)
    key, (share, *_) = dealt(2, 4, 2048)
    write_key(folder / "other.json", key, Participants("abcd"))
    write_share(folder / "other.share", share, "agency")
    (folder / "open.parameters").write_bytes((folder / "round.parameters").read_bytes())
    (folder / "open.parameters").chmod(0o666)
    arguments, sentence = PARTIES[name]
    done = separating_runner().invoke(app, [*JOIN, *arguments])
    assert done.exit_code in (2, 3), (done.stdout, done.stderr, done.exception)
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_hospital_is_told_what_was_clipped(folder):
    said = []
    own = read_identity(folder / "keys" / "hospital-1.pem")
    party = _encrypted(folder / "round.parameters", None, "hospital-1", own, {"sum": None}, said.append)
    contributor = Contributor(party.parameters, "hospital-1", own)
    for num_clipped in (0, 2):
        contributor.phase = Phase.NEW
        vector = EncryptedVector(bytes(32), 20, 4, 1, b"")
        contributor.commit_to(EncryptedUpdate(vector, b"", num_clipped))
        party.count(contributor, "", None)
    assert said[1:] == ["2 of 4 numbers were beyond 1 and clipped: the sum has the clipped ones"]


def test_a_secret_that_does_not_fit_is_named(folder):
    path = folder / "dealt" / "agency.share"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"secret": "5"}))
    parameters = read_round(folder / "round.parameters")
    with pytest.raises(AuthenticationFailed, match="does not fit its verification key"):
        read_share(path, parameters)
    for bent in ("0x5", "-5", "zz", 5, None, "05"):
        path.write_text(json.dumps(facts | {"secret": bent}))
        with pytest.raises((ParameterError, AuthenticationFailed)) as refused:
            read_share(path, parameters)
        assert facts["secret"] not in str(refused.value)


def start(folder, *arguments):
    command = [sys.executable, "-c", "from protocols.cli import main; main()", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, **pipes)  # noqa: S603


async def joined(folder, url, name, given):
    """Do here what `secagg join` does in a process of its own; return how the session ended."""
    own, answers = read_identity(folder / "keys" / f"{name}.pem"), {"sum": lambda terms: given} if given else {}
    share = folder / "dealt" / f"{name}.share" if name in COMMITTEE else None
    party = _encrypted(folder / "round.parameters", share, name, own, answers, lambda said: None)
    async with Connection(url, own, insecure_loopback=True, patience=60) as connection:
        await connection.enrol(name, (folder / "invitations" / name).read_text().strip())
        (end,) = await take_part(connection, name, answers, state=folder / name, party=party, sessions=1, warm=False)
        return end.phase


async def all_joined(folder, url, given):
    return await asyncio.gather(*(joined(folder, url, name, values) for name, values in given.items()))


def test_hospitals_and_a_committee_sum_by_processes(folder):
    """A hospital and an agency are processes of their own, and have no more than their files; the others are here."""
    (folder / "sessions.toml").write_text('[[session]]\ntitle = "encrypted"\npaillier = "round.parameters"\n')
    ran("members", "invite", *HOSPITALS, *COMMITTEE, "--out", "invitations")
    service = start(folder, "serve", "sessions.toml", "--insecure-loopback", "--port", 0, "--json")
    (url,) = re.findall(r"http://[\w.:]+", service.stderr.readline())
    values = {name: {"update": [0.1 * number, -0.5, 0.25, 0.0]} for number, name in enumerate(HOSPITALS)}
    parties = []
    for name in (HOSPITALS[0], COMMITTEE[0]):
        gives = ["--share", f"dealt/{name}.share"] if name in COMMITTEE else ["--values", f"{name}.json"]
        (folder / f"{name}.json").write_text(json.dumps(values.get(name)))
        own = ["--name", name, "--state", name, "--identity", f"keys/{name}.pem", "--invitation", f"invitations/{name}"]
        known = ["--parameters", "round.parameters", "--insecure-loopback", "--sessions", 1, "--json"]
        parties.append(start(folder, "join", url, *own, *known, *gives))
    here = {name: {"update": np.array(values[name]["update"])} for name in HOSPITALS[1:]}
    here |= {name: {} for name in COMMITTEE[1:]}
    assert asyncio.run(asyncio.wait_for(all_joined(folder, url, here), 200)) == ["completed"] * 4
    printed, told = service.communicate(timeout=200)
    ended = [party.communicate(timeout=60) for party in parties]
    assert service.returncode == 0, (printed, told, ended)
    result = json.loads(printed)["result"]
    assert result["survivors"] == HOSPITALS
    np.testing.assert_allclose(result["sums"]["update"], [0.3, -1.5, 0.75, 0.0], atol=1e-3)
    assert [json.loads(out)["phase"] for out, _ in ended] == ["completed"] * 2
    assert all("3 at least of hospital-1, hospital-2, hospital-3; opened by 3" in err for _, err in ended)
