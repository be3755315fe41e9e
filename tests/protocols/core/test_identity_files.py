"""Key files, rosters, and the command that makes them."""

import errno
import json
import os
import stat

import pytest
from Crypto.PublicKey import ECC

from protocols.cli.app import app
from protocols.core.identity_files import read_identity, read_participants, write_identity, write_participants
from protocols.core.participants import Participants
from secagg.errors import ParameterError
from secagg.signatures import Identity
from tests.command_line import separating_runner


def keygen(*arguments):
    return separating_runner().invoke(app, ["keygen", *map(str, arguments)])


def test_keygen_makes_keys_for_their_owners_alone_and_a_roster_of_all(tmp_path):
    outcome = keygen("--out", tmp_path / "keys", "--count", 3, "--json")
    assert outcome.exit_code == 0
    made = json.loads(outcome.stdout)
    assert len(made["private_keys"]) == 3
    participants = read_participants(tmp_path / "keys" / "roster.json")
    assert participants.names == ("node-1", "node-2", "node-3")
    for name, public_bytes in participants.keys.items():
        path = tmp_path / "keys" / f"{name}.pem"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        identity = read_identity(path)
        assert identity.public_bytes == public_bytes
        assert ECC.import_key(path.read_text()).public_key().export_key(format="raw") == public_bytes
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_keygen_overwrites_nothing_and_prints_no_key(tmp_path):
    first = keygen("--out", tmp_path, "--count", 2)
    before = (tmp_path / "node-2.pem").read_bytes()
    assert read_identity(tmp_path / "node-1.pem").private_bytes.hex() not in first.stdout + first.stderr
    for arguments in (("--count", 1), ("--name", "node"), ("--name", "../x"), ("--name", "")):
        outcome = keygen("--out", tmp_path, *arguments)
        assert outcome.exit_code == 2
    assert (tmp_path / "node-2.pem").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node-1.pem", "node-2.pem", "roster.json"]


def test_keygen_makes_keys_for_those_who_are_named(tmp_path):
    made = json.loads(keygen("--out", tmp_path, "rome", "oslo", "--json").stdout)
    assert [read_identity(tmp_path / f"{name}.pem").public_bytes for name in ("oslo", "rome")] == list(
        read_participants(tmp_path / "roster.json").keys.values()
    )
    assert made["private_keys"] == [str(tmp_path / "oslo.pem"), str(tmp_path / "rome.pem")]
    assert keygen("--out", tmp_path / "twice", "rome", "rome").exit_code == 2


@pytest.mark.parametrize("room", range(6))
def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, room):
    """Two keys and a roster are to be written, and the folder synced after each; the disk takes fewer."""
    taken = []

    def fsync(descriptor):
        taken.append(descriptor)
        if len(taken) > room:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    outcome = keygen("--out", tmp_path, "--count", 2)
    assert (outcome.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "No space left on device" in outcome.stderr
    monkeypatch.undo()
    assert keygen("--out", tmp_path, "--count", 2).exit_code == 0


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_keys_that_others_may_read_are_refused(tmp_path, mode):
    write_identity(tmp_path / "key.pem", Identity.generate())
    (tmp_path / "key.pem").chmod(mode)
    with pytest.raises(ParameterError, match="chmod 600"):
        read_identity(tmp_path / "key.pem")


def test_what_is_no_private_key_is_refused(tmp_path):
    write_identity(tmp_path / "written", Identity.generate())
    written = (tmp_path / "written").read_text()
    texts = {
        "garbage": "hello",
        "public": ECC.generate(curve="Ed25519").public_key().export_key(format="PEM"),
        "other curve": ECC.generate(curve="P-256").export_key(format="PEM"),
        "short": written.replace("\n-----END", "A\n-----END"),
        "of another kind": written.replace("PRIVATE", "PUBLIC"),
        "not base64": written.replace("\n-----END", "*\n-----END"),
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        with pytest.raises(ParameterError, match="secagg keygen"):
            read_identity(path)
    with pytest.raises(ParameterError, match="cannot be read"):
        read_identity(tmp_path / "nowhere")


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_rosters_that_others_may_write_are_refused(tmp_path, mode):
    """Whoever writes it decides who takes part."""
    write_participants(tmp_path / "roster.json", Participants({"a": Identity.generate().public_bytes}))
    read_participants(tmp_path / "roster.json")
    (tmp_path / "roster.json").chmod(mode)
    with pytest.raises(ParameterError, match="chmod go-w"):
        read_participants(tmp_path / "roster.json")


ROSTERS = {
    "no JSON": "{",
    "a list": "[]",
    "no version": '{"identities": {}}',
    "another version": '{"version": 2, "identities": {}}',
    "no key": '{"version": 1, "identities": {"a": "xyz"}}',
    "short key": '{"version": 1, "identities": {"a": "00"}}',
    "no name": json.dumps({"version": 1, "identities": {"": "00" * 32}}),
    "small order": json.dumps({"version": 1, "identities": {"a": bytes(32).hex()}}),
    "number": '{"version": 1, "identities": {"a": 5}}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("name", ROSTERS)
def test_bad_rosters_are_refused(tmp_path, name):
    (tmp_path / "roster.json").write_text(ROSTERS[name])
    (tmp_path / "roster.json").chmod(0o644)
    with pytest.raises(ParameterError):
        read_participants(tmp_path / "roster.json")


def test_a_key_under_two_names_is_refused(tmp_path):
    key = Identity.generate().public_bytes
    (tmp_path / "roster.json").write_text(json.dumps({"version": 1, "identities": {"a": key.hex(), "b": key.hex()}}))
    (tmp_path / "roster.json").chmod(0o644)
    with pytest.raises(ParameterError, match="the same public key"):
        read_participants(tmp_path / "roster.json")
    with pytest.raises(ParameterError, match="exists"):
        write_participants(tmp_path / "roster.json", Participants({"a": key}))


def test_a_name_that_stands_twice_is_refused(tmp_path):
    key = Identity.generate().public_bytes.hex()
    (tmp_path / "roster.json").write_text(f'{{"version": 1, "identities": {{"a": "{key}", "a": "{"00" * 32}"}}}}')
    (tmp_path / "roster.json").chmod(0o644)
    with pytest.raises(ParameterError, match="no roster"):
        read_participants(tmp_path / "roster.json")


def test_a_roster_without_keys_is_not_written(tmp_path):
    with pytest.raises(ParameterError, match="no public keys"):
        write_participants(tmp_path / "roster.json", Participants(["rome", "oslo"]))
    assert not list(tmp_path.iterdir())
