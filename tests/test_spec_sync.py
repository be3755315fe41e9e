"""SPEC.md is executable: its tables are parsed here and compared with the code."""

import importlib
import re
from pathlib import Path

import pytest

from protocols.messages import ToClient, ToServer
from protocols.parameters import Adversary, ThreatModel, derive_topology
from protocols.transitions import CLIENT_TRANSITIONS, SERVER_TRANSITIONS
from secagg import errors
from secagg.derivation import Label

ROOT = Path(__file__).parent.parent
SPEC = (ROOT / "SPEC.md").read_text()
PROTOCOL_MODULES = {"parameters", "configuration", "messages", "wire", "private_round"}
DP_MODULES = {"preparation", "distributed", "rotation"}


def table(first_header: str) -> list[list[str]]:
    """The rows of the checked table whose first column has this header, without backticks."""
    lines = SPEC.splitlines()
    (start,) = [i for i, line in enumerate(lines) if line.startswith(f"| {first_header}") and "(checked)" in line]
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split(" | ")])
    return rows


def test_every_checked_table_is_checked():
    headers = [
        "adversary",
        "promise",
        "n ",
        "name",
        "constant",
        "private constant",
        "private promise",
        "tag",
        "client phase",
        "server phase",
        "error",
        "record kind",
    ]
    for header in headers:
        assert table(header)
    assert SPEC.count("*(checked)*") == len(headers) + 1  # and the sentence that explains the mark


def test_adversaries():
    assert [row[0] for row in table("adversary")] == list(Adversary)


def test_reference_parameters():
    for n, gamma, delta, adversary, degree, threshold in table("n "):
        topology = derive_topology(ThreatModel(int(n), float(gamma), float(delta), Adversary(adversary)))
        assert (topology.degree, topology.threshold) == (int(degree), int(threshold))


def test_labels():
    assert {row[0]: row[1].encode() for row in table("name")} == {label.name: label.value for label in Label}


@pytest.mark.parametrize(("name", "value"), [row[:2] for row in table("constant") + table("private constant")])
def test_constants(name, value):
    module, constant = name.split(".")
    package = "protocols" if module in PROTOCOL_MODULES else "dp" if module in DP_MODULES else "secagg"
    assert getattr(importlib.import_module(f"{package}.{module}"), constant) == float(value)


def test_messages():
    rows = {tag: (sender, fields.split(", ")) for tag, sender, fields in table("tag")}
    code = {
        str(kind.__struct_config__.tag): (sender, list(kind.__struct_fields__))
        for sender, union in (("server", ToClient), ("client", ToServer))
        for kind in union.__args__
    }
    assert rows == code


def test_transitions():
    client = {(phase, message): following for phase, message, following in table("client phase")}
    assert client == {(str(phase), tag): str(after) for (phase, tag), after in CLIENT_TRANSITIONS.items()}
    server = {(phase, message): following for phase, message, following in table("server phase")}
    assert server == {(str(phase), tag): str(after) for (phase, tag), after in SERVER_TRANSITIONS.items()}


def test_errors():
    rows = {name: base for name, base, _ in table("error")}
    code = {
        name: kind.__mro__[1].__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.SecAggError) and kind is not errors.SecAggError
    }
    assert rows == code


def test_the_tests_that_show_the_promises_exist():
    existing = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"(test_\w+\.py)", SPEC)) <= existing
    rows = table("promise") + table("private promise")
    assert len({row[0] for row in rows}) == len(rows)
    for promise, shown_by in rows:
        named = re.findall(r"([\w/]+\.py)::(test_\w+)", shown_by)
        assert named, f"nothing shows: {promise}"
        assert len(named) == shown_by.count(",") + 1
        for path, test in named:
            assert re.search(rf"^def {test}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE), f"{path}::{test}"


def test_ledger_records():
    from dp.ledger import records

    assert {row[0]: row[1] for row in table("record kind")} == {str(k): str(v) for k, v in records.PHASES.items()}
    for label in (records.CHAIN_LABEL, records.PARTICIPANTS_LABEL):
        assert f"`{label.decode()}`" in SPEC
    assert f"format {records.FORMAT}," in SPEC


def test_ledger_lock():
    from dp.ledger.postgres import _LOCK

    assert f"0x{_LOCK:016x}" in " ".join(SPEC.split())
