"""What is deployed with: files parse, their commands exist with these options, and their paths agree."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from protocols.service.session_file import read_sessions
from tests.test_examples import EXTRAS, ROOT, check_command

FOLDER = ROOT / "examples/deployment"
UNITS = sorted(FOLDER.glob("*.service"))
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
CONTAINERFILE = (FOLDER / "Containerfile").read_text()


def unit_of(path: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None)  # some keys stand more than once
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text())
    return unit


def test_all_is_there():
    assert {path.name for path in FOLDER.iterdir()} == {
        "Containerfile",
        "compose.yaml",
        "secagg-join@.service",
        "secagg-serve.service",
        "sessions.toml",
    }


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_start_what_there_is_and_are_hardened(path, tmp_path):
    unit = unit_of(path)
    service = unit["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == "/opt/secagg/bin/secagg"
    check_command(["secagg", *words])
    state = f"/var/lib/{service['StateDirectory']}"
    assert service["WorkingDirectory"] == state
    for word in words:  # what is written is in the state's folder, what is secret is a credential
        if word.endswith((".pem", "/invitation")):
            assert word.startswith("${CREDENTIALS_DIRECTORY}/")
            name = word.rpartition("/")[2]
            assert re.search(rf"^LoadCredential={re.escape(name)}:/etc/secagg/", path.read_text(), flags=re.MULTILINE)
        elif word.startswith("/var/"):
            assert word.startswith(state)
    assert service["Environment"] == f"NUMBA_CACHE_DIR=/var/cache/{service['CacheDirectory']}"
    for wanted in (
        "NoNewPrivileges",
        "PrivateTmp",
        "PrivateDevices",
        "ProtectHome",
        "RestrictNamespaces",
        "DynamicUser",
    ):
        assert service[wanted] == "yes"
    assert (service["ProtectSystem"], service["CapabilityBoundingSet"]) == ("strict", "")
    assert (service["Restart"], service["UMask"]) == ("always", "0077")
    assert "MemoryDenyWriteExecute" not in service  # or no loop could be compiled
    assert ("StandardOutput" in service) is (words[0] == "serve")  # results are not for the journal
    if analyse := shutil.which("systemd-analyze"):
        copy = tmp_path / path.name.replace("@", "@x")
        copy.write_text(path.read_text().replace(program, "/bin/true"))
        found = subprocess.run([analyse, "verify", "--man=no", str(copy)], check=False, capture_output=True, text=True)  # noqa: S603
        assert (found.returncode, found.stderr) == (0, "")


def ran_by_shell(script, folder, *words):
    """Run an entrypoint with a `secagg` that notes how it was called; return code, standard output, and the note."""
    secret, note, program = folder / "secret", folder / "note", folder / "secagg"
    secret.write_text("s3cret\n")
    note.write_text("")
    program.write_text(f'#!/bin/sh\necho "$@ with $PGPASSWORD" >{note}\necho invited\n')
    program.chmod(0o755)
    own = script.replace("/run/secrets/database", str(secret))
    command = ["/bin/sh", *COMPOSE["services"]["service"]["entrypoint"][1:2], own, "secagg", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={"PATH": f"{folder}:/usr/bin:/bin"})  # noqa: S603
    return done.returncode, done.stdout.strip(), note.read_text().strip()


def test_the_composed_service_runs_what_there_is(tmp_path):
    service, database = COMPOSE["services"]["service"], COMPOSE["services"]["database"]
    check_command(["secagg", *service["command"]])
    options = dict(word.removeprefix("--").split("=", 1) for word in service["command"] if "=" in word)
    secrets = {f"/run/secrets/{name}" for name in service["secrets"]}
    assert {options["certificate"], options["key"]} < secrets
    told = service["entrypoint"][2].replace("$$", "$")
    assert "cat /run/secrets/database" in told
    assert ran_by_shell(told, tmp_path, "serve", "x") == (0, "", "serve x with s3cret")  # no result reaches a log
    assert ran_by_shell(told, tmp_path, "members", "x") == (0, "invited", "members x with s3cret")
    assert (
        ran_by_shell(told.replace("secrets/database", "none"), tmp_path, "serve")[0] != 0
    )  # and not without a password
    assert database["environment"]["POSTGRES_PASSWORD_FILE"] in secrets
    assert options["store"] == f"postgresql://{database['environment']['POSTGRES_USER']}@database/secagg"
    assert service["ports"] == [f"{options['port']}:{options['port']}"]
    assert f"https://127.0.0.1:{options['port']}/ready" in service["healthcheck"]["test"][-1]
    compile(service["healthcheck"]["test"][-1], "healthcheck", "exec")
    assert {mount.split(":")[0] for each in COMPOSE["services"].values() for mount in each["volumes"]} == set(
        COMPOSE["volumes"]
    )
    assert set(service["secrets"]) | set(database["secrets"]) == set(COMPOSE["secrets"])
    assert service["configs"][0]["target"] == service["command"][1]
    assert (FOLDER / COMPOSE["configs"]["sessions"]["file"]).is_file()
    (at,) = re.findall(r"^WORKDIR (/var\S+)$", CONTAINERFILE, flags=re.MULTILINE)
    assert service["volumes"] == [f"service:{at}"]
    assert options["operator-token"].startswith(f"{at}/")
    assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == FOLDER / "Containerfile"
    for hardened in ("read_only", "cap_drop", "security_opt"):
        assert service[hardened]


def test_the_image_is_built_of_what_there_is():
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, flags=re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())
    (extras,) = re.findall(r"'\.\[([a-z,]+)\]'", CONTAINERFILE)
    assert {"cli", "service", "postgres"} <= set(extras.split(",")) <= set(EXTRAS)
    check_command(["secagg", *re.findall(r"/bin/secagg (\S+)", CONTAINERFILE)])
    assert CONTAINERFILE.count("USER ") == 1
    lines = [line for line in CONTAINERFILE.splitlines() if line.startswith("ENV ")]
    assert all(
        "NUMBA_CACHE_DIR=/opt/secagg/compiled NUMBA_CPU_NAME=generic" in line for line in lines
    )  # or compile anew
    assert 'ENTRYPOINT ["secagg"]' in CONTAINERFILE


def test_the_sessions_can_be_read():
    (session,) = read_sessions(FOLDER / "sessions.toml")
    assert session.members == 12
