"""SPEC.md is executable: its tables are parsed here and compared with the code."""

import dataclasses
import importlib
import re
from pathlib import Path

import pytest

from dp import errors as dp_errors
from protocols.configuration import RoundConfig
from protocols.messages import ToClient, ToServer
from protocols.parameters import Adversary, ThreatModel, derive_topology
from protocols.policy import ClientPolicy, PrivacyDemand
from protocols.transitions import CLIENT_TRANSITIONS, SERVER_TRANSITIONS
from protocols.vectors import VectorSpec
from secagg import errors
from secagg.derivation import Label

ROOT = Path(__file__).parent.parent
SPEC = (ROOT / "SPEC.md").read_text()
PROTOCOL_MODULES = {"parameters", "configuration", "messages", "wire", "private_round", "noisy"}
DP_MODULES = {"preparation", "distributed", "rotation", "samplers", "clipping", "discrete", "nearness", "pld"}
PROMISES = ("promise", "dp promise", "ciphertext promise", "attack", "private promise", "ledger promise")


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
        "tag *",
        "part of `config`",
        "demand",
        "privacy demand",
        "client phase",
        "server phase",
        "error",
        "dp promise",
        "ciphertext promise",
        "bits of n",
        "tag after",
        "attack",
        "ledger promise",
        "composition",
        "record kind",
        "cost",
        "table",
        "dp error",
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
    rows = {tag: (sender, fields.split(", ")) for tag, sender, fields in table("tag *")}
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


def test_what_a_configuration_is_written_as():
    rows = {part: (form, fields.split(", ")) for part, form, fields in table("part of `config`")}
    code = {
        name: ("array" if kind.__struct_config__.array_like else "map", list(kind.__struct_fields__))
        for name, kind in (("config", RoundConfig), ("threat_model", ThreatModel))
    }
    for kind in VectorSpec.__args__:
        form = "array" if kind.__struct_config__.array_like else "map"
        code[str(kind.__struct_config__.tag)] = (form, list(kind.__struct_fields__))
    assert rows == code


@pytest.mark.parametrize(("header", "kind"), [("demand", ClientPolicy), ("privacy demand", PrivacyDemand)])
def test_what_a_client_demands(header, kind):
    absent = {dataclasses.MISSING: "must be given", None: "none"}
    code = {field.name: absent.get(field.default, str(field.default)) for field in dataclasses.fields(kind)}
    assert {name: value if value in absent.values() else value.strip("`") for name, value in table(header)} == {
        name: value.removesuffix(".0") for name, value in code.items()
    }


def test_lanes_of_paillier():
    from secagg.encoding import FixedPoint
    from secagg.paillier.lanes import Lanes

    for key_bits, lane_bits, lanes, per_parameter in table("bits of n"):
        codec = FixedPoint(clip=1.0, value_bits=16, num_summands=1000)
        assert codec.modulus_bits == int(lane_bits)
        assert Lanes(int(key_bits), codec.modulus_bits, 1).per_plaintext == int(lanes)
        assert round(2 * int(key_bits) / 8 / int(lanes), 2) == float(per_parameter)


def test_paillier_messages():
    from protocols import paillier_messages

    code = {
        str(kind.__struct_config__.tag).removeprefix("paillier/v1/"): list(kind.__struct_fields__[1:])
        for kind in paillier_messages.Message.__subclasses__()
    }
    assert {tag: fields.split(", ") for tag, fields in table("tag after")} == code


@pytest.mark.parametrize(
    ("header", "module", "root"), [("error", errors, errors.SecAggError), ("dp error", dp_errors, dp_errors.DpError)]
)
def test_errors(header, module, root):
    rows = {name: base for name, base, _ in table(header)}
    code = {
        name: kind.__mro__[1].__name__
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, root) and kind is not root
    }
    assert rows == code


def test_the_tests_that_show_the_promises_exist():
    existing = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"(test_\w+\.py)", SPEC)) <= existing
    rows = [(row[0], row[-1]) for header in PROMISES for row in table(header)]
    assert len({row[0] for row in rows}) == len(rows)
    for promise, shown_by in rows:
        named = re.findall(r"([\w/]+\.py)::(test_\w+)", shown_by)
        assert named, f"nothing shows: {promise}"
        assert len(named) == shown_by.count(",") + 1
        for path, test in named:
            assert re.search(rf"^ *def {test}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE), f"{path}::{test}"


def test_ledger_records():
    from dp.ledger import records

    assert {row[0]: row[1] for row in table("record kind")} == {str(k): str(v) for k, v in records.PHASES.items()}
    for label in (records.CHAIN_LABEL, records.PARTICIPANTS_LABEL):
        assert f"`{label.decode()}`" in SPEC
    assert f"format {records.FORMAT}," in SPEC


def test_ledger_tables():
    from dp.ledger.store import TABLES

    code = {}
    for statement in TABLES:
        found = re.match(r"CREATE TABLE (\w+) \((.*)\)", statement)
        if found:
            names = [re.match(r"\w+", part.strip())[0] for part in re.sub(r"\([^()]*\)", "", found[2]).split(",")]
            code[found[1]] = [name for name in names if name.islower()]
    assert {name: columns.split(", ") for name, columns, _ in table("table")} == code


def test_ledger_compositions_costs_and_kinds():
    from dp.ledger import Composition, Cost, Kind
    from dp.ledger.costs import _KINDS, kept_as

    counted = {name: counts for name, counts, *_ in table("composition")}
    assert counted.keys() == set(Composition)
    assert all(counted[kind].startswith(", ".join(kind.counted)) for kind in Composition)
    kinds = {"Cost": Cost, **_KINDS}
    code = {name: [kept_as(field.name) for field in dataclasses.fields(kind)] for name, kind in kinds.items()}
    assert {name: parameters.split(", ") for name, parameters in table("cost")} == code
    assert all(f"`{kind}`" in SPEC for kind in Kind)


def test_the_checker_has_the_same_tables():
    """The second implementation was written from SPEC.md; what it repeats of its tables is what they say now."""
    from tests.checker.costs import DEMAND, POLICY
    from tests.checker.ledger import FIELDS, PHASES
    from tests.checker.primitives import LABELS
    from tests.checker.wire import MESSAGES

    assert {row[0]: row[1].encode() for row in table("name")} == LABELS
    assert {tag: fields.split(", ") for tag, _, fields in table("tag *")} == {
        tag: [name for name, _ in fields] for tag, fields in MESSAGES.items()
    }
    assert {row[0]: row[1] for row in table("record kind")} == PHASES
    assert {row[0]: [part.split()[0].strip("`") for part in row[2].split(", ")] for row in table("record kind")} == {
        kind: list(fields) for kind, fields in FIELDS.items()
    }
    assert [row[0] for row in table("demand")] == list(POLICY)
    stated = {name: default for name, default in table("privacy demand") if default != "must be given"}
    assert stated == {name: str(default) for name, default in DEMAND.items()}


def test_ledger_lock():
    from dp.ledger.postgres import _LOCK

    assert f"0x{_LOCK:016x}" in " ".join(SPEC.split())
