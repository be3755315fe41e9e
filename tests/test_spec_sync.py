"""SPEC.md and its chapters are executable: their tables are parsed here and compared with the code."""

import dataclasses
import importlib
import itertools
import json
import re

import pytest

from dp import errors as dp_errors
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import VectorSpec
from protocols.masking.config import RoundConfig
from protocols.masking.messages import ToClient, ToServer
from protocols.masking.policy import ClientPolicy, EncodingDemand, PrivacyDemand
from protocols.masking.topology import GraphKind, derive_topology
from protocols.masking.transitions import CLIENT_TRANSITIONS, SERVER_TRANSITIONS
from protocols.statistics.kinds import SHAPES, Kind
from secagg import errors
from secagg.derivation import Label
from tests.documents import ROOT, specification

SPEC = specification()
DECISIONS = ROOT / "docs/decisions"
PROMISES = ("promise", "attack")
CONSTANTS = {
    "MIN_VALUE_BITS": "secagg.encoding:MIN_VALUE_BITS",
    "MAX_VALUE_BITS": "secagg.encoding:MAX_VALUE_BITS",
    "MAX_CLIP": "secagg.encoding:_MAX_CLIP",
    "MAX_MODULUS_BITS": "secagg.residues:MAX_MODULUS_BITS",
    "STREAM_SEED_BYTES": "secagg.prg:SEED_BYTES",
    "STREAM_BLOCK_BYTES": "secagg.prg:BLOCK_BYTES",
    "SEALING_NONCE_BYTES": "secagg.aead:NONCE_BYTES",
    "SEALING_TAG_BYTES": "secagg.aead:TAG_BYTES",
    "SHARING_PRIME": "secagg.field:PRIME",
    "SHARING_CHUNK_BITS": "secagg.shamir:CHUNK_BITS",
    "SHARING_ELEMENT_BYTES": "secagg.shamir:ELEMENT_BYTES",
    "SECURITY_BITS": "protocols.masking.topology:SECURITY_BITS",
    "CORRECTNESS_BITS": "protocols.masking.topology:CORRECTNESS_BITS",
    "MAX_CLIENTS": "protocols.core.threat_model:MAX_CLIENTS",
    "MAX_BAD_FRACTION": "protocols.core.threat_model:MAX_BAD_FRACTION",
    "MAX_VECTORS": "protocols.masking.config:MAX_VECTORS",
    "MAX_LENGTH": "protocols.masking.config:MAX_LENGTH",
    "MAX_CONFIG_BYTES": "protocols.masking.config:MAX_CONFIG_BYTES",
    "VERSION": "protocols.masking.messages:VERSION",
    "SHARE_BYTES": "protocols.masking.messages:SHARE_BYTES",
    "SEALED_SHARES_BYTES": "protocols.masking.messages:SEALED_SHARES_BYTES",
    "DIGEST_BYTES": "protocols.core.framing:DIGEST_BYTES",
    "HEADER_BYTES": "protocols.core.framing:HEADER_BYTES",
    "COMMITMENTS_BYTES": "protocols.masking.messages:COMMITMENTS_BYTES",
    "MAX_INVITATION_BYTES": "protocols.masking.wire:MAX_INVITATION_BYTES",
    "BYTES_PER_PEER": "protocols.masking.wire:BYTES_PER_PEER",
    "BYTES_PER_LISTED_CLIENT": "protocols.masking.wire:BYTES_PER_LISTED_CLIENT",
    "CUT_BITS": "dp.preparation:CUT_BITS",
    "MAX_NORM": "dp.preparation:_MAX_NORM",
    "WRAP_BITS": "dp.distributed:WRAP_BITS",
    "LEAST_LOCAL_SIGMA": "dp.distributed:LEAST_LOCAL_SIGMA",
    "ROTATION_SEED_BYTES": "dp.rotation:SEED_BYTES",
    "MIN_PARTICIPANTS": "protocols.privacy.plans:MIN_PARTICIPANTS",
    "MAX_STEPS": "protocols.inputs.noisy_codec:MAX_STEPS",
    "MIN_SCALE": "dp.samplers:MIN_SCALE",
    "MAX_SCALE": "dp.samplers:MAX_SCALE",
    "SMALL_DRAW": "dp.samplers:_SMALL_DRAW",
    "ROUNDING_TRIES": "dp.clipping:_TRIES",
    "DISCRETE_SLACK": "dp.discrete:SLACK",
    "LARGEST_SUM_SLACK": "dp.distributed:LARGEST_SUM_SLACK",
    "PLD_INTERVAL": "dp.pld:INTERVAL",
    "FOURIER_ERROR": "dp.pld:FOURIER_ERROR",
    "MAX_POINTS": "dp.pld:MAX_POINTS",
    "UNIT_BITS": "protocols.statistics.families.generalized:UNIT_BITS",
    "LIMB_BITS": "protocols.statistics.encoding:LIMB_BITS",
    "MAX_TOTALS": "protocols.statistics.plan:MAX_TOTALS",
    "MAX_QUERY_BYTES": "protocols.statistics.query:MAX_QUERY_BYTES",
    "MAX_PARTS": "protocols.statistics.query:MAX_PARTS",
    "MAX_PRIVATE_TOTALS": "protocols.statistics.private.features:MAX_PRIVATE_TOTALS",
    "LEAST_STEPS": "protocols.statistics.private.plan:LEAST_STEPS",
    "ROOM": "protocols.statistics.private.plan:ROOM",
    "ROUNDING_SHARE": "protocols.statistics.private.plan:ROUNDING_SHARE",
    "MAX_SETS": "protocols.statistics.combinations:MAX_SETS",
    "SPOILT_BITS": "protocols.groups.plan:SPOILT_BITS",
    "HONEST_BITS": "protocols.groups.plan:HONEST_BITS",
    "MAX_GROUPED_CLIENTS": "protocols.groups.plan:MAX_GROUPED_CLIENTS",
    "MAX_DRAWS": "protocols.groups.past_draws:MAX_DRAWS",
    "MAX_LEVELS": "protocols.hierarchy.levels:MAX_LEVELS",
    "MAX_MEMBERS": "protocols.hierarchy.levels:MAX_MEMBERS",
    "MAX_OBJECT_BYTES": "protocols.ray.steps:MAX_OBJECT_BYTES",
    "SESSIONS_A_WORKER": "protocols.ray.driver:SESSIONS_A_WORKER",
    "STEP_SECONDS": "protocols.ray.driver:STEP_SECONDS",
    "MAX_LOSSES": "protocols.ray.driver:MAX_LOSSES",
    "ADDENDS_A_TASK": "protocols.ray.paillier:ADDENDS_A_TASK",
    "CHECKS_A_TASK": "protocols.ray.paillier:CHECKS_A_TASK",
    "LEASE_SECONDS": "protocols.service.desk:LEASE_SECONDS",
    "JOB_SECONDS": "protocols.service.jobsteps:JOB_SECONDS",
    "NONCE_SECONDS": "protocols.service.store:NONCE_SECONDS",
    "MAX_ANSWERS": "protocols.service.deliveries:MAX_ANSWERS",
    "LETTERS_A_SECOND": "protocols.service.store:LETTERS_A_SECOND",
    "WINDOW_SECONDS": "protocols.service.signing:WINDOW_SECONDS",
    "REQUEST_NONCE_BYTES": "protocols.service.signing:NONCE_BYTES",
    "TOKEN_BYTES": "protocols.service.members:TOKEN_BYTES",
    "MAX_FORM_BYTES": "protocols.service.app:MAX_FORM_BYTES",
    "MAX_TITLE": "protocols.service.sessions:MAX_TITLE",
    "MAX_PAYLOAD_BYTES": "protocols.service.sessions:MAX_PAYLOAD_BYTES",
    "LONGEST_SECONDS": "protocols.service.forgetting:LONGEST_SECONDS",
    "MAX_PHASE_SECONDS": "protocols.service.deadlines:MAX_SECONDS",
}
"""A constant of a chapter's table -> where the code has it."""


def tables(first_header: str) -> list[list[list[str]]]:
    """The rows of every checked table whose first column has this header, without backticks."""
    lines = SPEC.splitlines()
    found = []
    for start, line in enumerate(lines):
        if re.match(rf"\| {re.escape(first_header)}(, shown by)?( \*\(checked\)\*)? \|", line) and "(checked)" in line:
            body = itertools.takewhile(lambda row: row.startswith("|"), lines[start + 2 :])
            found.append([[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in body])
    return found


def table(first_header: str) -> list[list[str]]:
    """The rows of the only checked table whose first column has this header."""
    (rows,) = tables(first_header)
    return rows


def test_every_checked_table_is_checked():
    headers = {
        "adversary": 1,
        "promise": 16,  # of the first page and seven chapters, and of the tests that show them
        "attack": 2,
        "n": 1,
        "name": 1,
        "constant": 9,
        "tag": 1,
        "part of `config`": 1,
        "demand": 1,
        "encoding demand": 1,
        "privacy demand": 1,
        "client phase": 1,
        "server phase": 1,
        "check": 2,
        "error": 1,
        "bits of N": 1,
        "tag after `paillier/v1/`": 1,
        "tag after `groups/v1/`": 1,
        "composition": 1,
        "record kind": 1,
        "cost": 1,
        "table": 1,
        "dp error": 1,
        "audit's group": 1,
        "work of a client": 1,
        "work of a server": 1,
        "kind": 1,
        "kind of refusal": 1,
    }
    for header, count in headers.items():
        found = tables(header)
        assert len(found) == count, header
        assert all(found)
    assert SPEC.count("*(checked)*") == sum(headers.values()) + 1  # and the sentence that explains the mark


def test_kinds_of_refusal_have_their_status():
    from protocols.service.errors import STATUSES

    assert {kind: int(status) for kind, status, _ in table("kind of refusal")} == STATUSES


def test_adversaries():
    assert [row[0] for row in table("adversary")] == list(Adversary)


def test_reference_parameters():
    for n, gamma, delta, adversary, *numbers in table("n"):
        model = ThreatModel(int(n), float(gamma), float(delta), Adversary(adversary))
        graphs = (GraphKind.RANDOM_CYCLES, GraphKind.RING_FOR_RANDOM_DROPOUTS)
        found = [derive_topology(model, graph) for graph in graphs]
        assert [(a.degree, a.threshold) for a in found] == list(zip(*[map(int, numbers)] * 2, strict=True))


def test_labels():
    assert {row[0]: row[1].encode() for row in table("name")} == {label.name: label.value for label in Label}


def test_constants():
    rows = [row for found in tables("constant") for row in found]
    assert sorted(name for name, *_ in rows) == sorted(CONSTANTS)
    for name, value, _ in rows:
        module, _, attribute = CONSTANTS[name].partition(":")
        assert getattr(importlib.import_module(module), attribute) == float(value), name


def test_messages():
    rows = {tag: (sender, fields.split(", ")) for tag, sender, fields in table("tag")}
    code = {
        str(kind.__struct_config__.tag): (sender, list(kind.__struct_fields__))
        for sender, union in (("server", ToClient), ("client", ToServer))
        for kind in union.__args__
    }
    assert rows == code


def test_transitions():
    client = {(str(phase), tag, str(after)) for (phase, tag), nexts in CLIENT_TRANSITIONS.items() for after in nexts}
    assert set(map(tuple, table("client phase"))) == client
    server = {(phase, message): following for phase, message, following in table("server phase")}
    assert server == {(str(phase), tag): str(after) for (phase, tag), after in SERVER_TRANSITIONS.items()}


def test_what_a_statistic_is_asked_of():
    rows = {
        name: (columns, further, parameters, grouped) for name, columns, further, parameters, grouped in table("kind")
    }
    assert rows == {
        str(kind): (
            ", ".join(shape.columns) or "none",
            f"{shape.more}, {shape.at_least} to {shape.at_most}" if shape.more else "none",
            shape.parameters,
            "yes" if shape.grouped else "no",
        )
        for kind, shape in SHAPES.items()
    }
    assert list(rows) == list(Kind)


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


@pytest.mark.parametrize(
    ("header", "kind"),
    [("demand", ClientPolicy), ("encoding demand", EncodingDemand), ("privacy demand", PrivacyDemand)],
)
def test_what_a_client_demands(header, kind):
    absent = {dataclasses.MISSING: "must be given", None: "none"}
    code = {field.name: absent.get(field.default, str(field.default)) for field in dataclasses.fields(kind)}
    if kind is ClientPolicy:
        code["encoding"] = "the encoding demand"
    rows = {name: value if value in absent.values() else value.strip("`") for name, value, *_ in table(header)}
    assert rows == {name: value.removesuffix(".0") for name, value in code.items()}


def test_what_the_permissive_policy_demands():
    permissive = ClientPolicy.permissive()
    rows = {name: value.strip("`") for name, _, value in table("demand")}
    assert rows == {
        name: "none" if value is None else str(value).removesuffix(".0") for name, value in vars(permissive).items()
    }


def test_lanes_of_paillier():
    from secagg.encoding import FixedPoint
    from secagg.paillier.lanes import Lanes

    for key_bits, lane_bits, lanes, per_parameter in table("bits of N"):
        codec = FixedPoint(clip=1.0, value_bits=16, num_summands=1000)
        assert codec.modulus_bits == int(lane_bits)
        assert Lanes(int(key_bits), codec.modulus_bits, 1).per_plaintext == int(lanes)
        assert round(2 * int(key_bits) / 8 / int(lanes), 2) == float(per_parameter)


def test_paillier_messages():
    from protocols.paillier import messages as paillier_messages

    code = {
        str(kind.__struct_config__.tag).removeprefix("paillier/v1/"): list(kind.__struct_fields__[1:])
        for kind in paillier_messages.Message.__subclasses__()
    }
    assert {tag: fields.split(", ") if fields else [] for tag, fields in table("tag after `paillier/v1/`")} == code


def test_messages_of_a_draw():
    from protocols.groups.messages import ToClient, ToServer

    code = {
        str(kind.__struct_config__.tag).removeprefix("groups/v1/"): (sender, list(kind.__struct_fields__[1:]))
        for sender, union in (("server", ToClient), ("client", ToServer))
        for kind in union.__args__
    }
    rows = {tag: (sender, fields.split(", ")) for tag, sender, fields in table("tag after `groups/v1/`")}
    assert rows == code


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


def test_every_promise_is_shown_by_tests_that_exist():
    existing = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"(test_\w+\.py)", SPEC)) <= existing
    promised, shown = [], {}
    for rows in (found for header in PROMISES for found in tables(header)):
        if "::" in rows[0][-1]:
            shown |= {row[0]: row[1] for row in rows}
        else:
            promised += [row[0] for row in rows]
    assert len(set(promised)) == len(promised)
    assert set(promised) == shown.keys()
    for promise, shown_by in shown.items():
        named = re.findall(r"([\w/]+\.py)::(test_\w+)", shown_by)
        assert named, f"nothing shows: {promise}"
        assert len(named) == shown_by.count(",") + 1
        for path, test in named:
            assert re.search(rf"^ *def {test}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE), f"{path}::{test}"


def test_every_refused_message_of_the_vectors_has_its_check():
    """Each refused message is named by one check, with the error that it raises, and each name is that of one."""
    stated: dict[tuple[str, str], tuple[str, str]] = {}
    for rows in tables("check"):
        for check, _, _, error, *_, names in rows:
            party = "client" if check.startswith("C") else "server"
            for name in () if names == "(none)" else names.split("; "):
                assert stated.setdefault((party, name), (check, error)) == (check, error), f"{name}: two checks"
    recorded: dict[tuple[str, str], set[str]] = {}
    for path in (ROOT / "protocols/audit/vectors").glob("session-*.json"):
        for case in json.loads(path.read_text())["refused"]:
            party = "server" if case["to"] == "server" else "client"
            recorded.setdefault((party, case["name"]), set()).add(case["error"])
    assert stated.keys() == recorded.keys()
    for case, errors_raised in recorded.items():
        check, error = stated[case]
        assert errors_raised == set(re.findall(r"[A-Z]\w+(?=;|$| where| in )", error)), (check, case)


def test_checks_are_numbered():
    for rows, letter in zip(tables("check"), "CS", strict=True):
        assert [row[0] for row in rows] == [f"{letter}{number + 1}" for number in range(len(rows))]


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
    from tests.checker.costs import DEMAND, ENCODING, PERMISSIVE, POLICY
    from tests.checker.ledger import FIELDS, PHASES
    from tests.checker.primitives import LABELS
    from tests.checker.wire import MESSAGES

    assert {row[0]: row[1].encode() for row in table("name")} == LABELS
    assert {tag: fields.split(", ") for tag, _, fields in table("tag")} == {
        tag: [name for name, _ in fields] for tag, fields in MESSAGES.items()
    }
    assert {row[0]: row[1] for row in table("record kind")} == PHASES
    assert {row[0]: [part.split()[0].strip("`") for part in row[2].split(", ")] for row in table("record kind")} == {
        kind: list(fields) for kind, fields in FIELDS.items()
    }
    assert [row[0] for row in table("demand")] == list(POLICY) == list(PERMISSIVE)
    for rows, ours in (
        (table("privacy demand"), DEMAND),
        (table("encoding demand"), ENCODING),
        ([(name, default) for name, default, _ in table("demand") if name != "encoding"], POLICY),
        ([(name, default) for name, _, default in table("demand")], PERMISSIVE),
    ):
        stated = {name: default.strip("`") for name, default in rows if default != "must be given"}
        assert stated == {
            name: "none" if default is None else str(default).removesuffix(".0")
            for name, default in ours.items()
            if name in stated
        }


def test_rates_of_false_alarms():
    from protocols.audit.runner import all_checks

    by_chance = [check for check in all_checks() if check.false_alarm]
    groups = dict.fromkeys(check.group for check in by_chance)
    rows = {group: [check.false_alarm for check in by_chance if check.group == group] for group in groups}
    rows["all"] = [check.false_alarm for check in by_chance]
    assert table("audit's group") == [[group, str(len(of)), f"{sum(of):.2g}"] for group, of in rows.items()]


def test_ledger_lock():
    from dp.ledger.postgres import _LOCK

    assert f"0x{_LOCK:016x}" in " ".join(SPEC.split())


def test_decisions_are_listed_with_their_titles_and_status():
    listed = re.findall(
        r"^\| \[(\d{4})\]\((\S+)\) \| (.*) \| (.*) \|$", (DECISIONS / "README.md").read_text(), re.MULTILINE
    )
    notes = []
    for path in sorted(DECISIONS.glob("0*.md")):
        title, status = re.match(r"# (\d{4}: .*)\n\nStatus: (.*)\.\n\nContext: ", path.read_text()).groups()
        assert re.fullmatch(r"(accepted|superseded by \d{4}), \d{4}-\d\d-\d\d", status)
        notes.append((path.name[:4], path.name, title.removeprefix(f"{path.name[:4]}: "), status))
    assert listed == notes
