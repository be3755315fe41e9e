"""The checker agrees with every committed vector, shares no code with the library, and can disagree."""

import ast
import copy
import json
import sys
from pathlib import Path

import pytest

from .findings import Disagreement
from .refusal import Refused
from .replay import check, check_file
from .topology import CYCLES, RING, derive

HERE = Path(__file__).parent
FOLDER = Path(__file__).parents[2] / "protocols/audit/vectors"
VECTORS = sorted(FOLDER.glob("*.json"))
ADVERSARIES = {"curious-server", "semi-malicious-server", "malicious-server"}


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_checker_agrees_with_every_vector(path):
    assert check_file(path) > 0


MODULES = sorted(path for path in HERE.glob("*.py") if not path.name.startswith("test_"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_checker_shares_no_code_with_the_library(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1
            modules = set() if node.level else {str(node.module).partition(".")[0]}
        else:
            continue
        assert modules <= set(sys.stdlib_module_names) | {"Crypto", "xxhash"}
        assert not modules & {"importlib", "runpy", "pickle"}


def test_there_is_a_whole_session_for_each_adversary_with_dropouts_in_several_rounds():
    found, released, private = {}, set(), set()
    for path in VECTORS:
        if path.name.startswith("session-"):
            vector = json.loads(path.read_text())
            adversary = vector["configuration"]["threat_model"]["adversary"]
            silent = [r["phase"] for r in vector["rounds"] if r["silent"]]
            silent += [phase for ending in vector["endings"] for phase in ending["silent"]]
            found.setdefault(adversary, set()).update(silent)
            assert len(vector["clients"]) == 8
            assert all("error" in case for case in vector["refused"])
            private.update(spec["type"] for spec in vector["configuration"]["vectors"] if "private" in path.name)
            released.update([adversary] if "released" in vector["output"] else [])
    assert found.keys() == released == ADVERSARIES
    assert all(len(phases) > 1 for phases in found.values())
    assert private == {"private-floats", "private-counts"}


def reference_rows():
    """The rows of SPEC section 2."""
    lines = (HERE.parent.parent / "docs/spec/masking.md").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| n | gamma"))
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return
        n, gamma, delta, adversary, *numbers = (cell.strip(" `") for cell in line.strip("|").split("|"))
        slow = [pytest.mark.long] if int(n) * float(gamma) > 300 else []
        yield pytest.param(
            int(n), float(gamma), float(delta), adversary, [int(number) for number in numbers], id=line, marks=slow
        )


@pytest.mark.parametrize(("n", "gamma", "delta", "adversary", "expected"), list(reference_rows()))
def test_exact_rationals_lead_to_the_reference_rows(n, gamma, delta, adversary, expected):
    found = [derive(n, gamma, delta, adversary, graph) for graph in (CYCLES, RING)]
    assert [number for topology in found for number in (topology.degree, topology.threshold)] == expected


@pytest.mark.parametrize(("adversary", "dropout"), [("curious-server", 0.9), ("malicious-server", 0.5)])
def test_impossible_parameters_are_refused(adversary, dropout):
    with pytest.raises(Refused, match="ParameterError"):
        derive(10, 0.1, dropout, adversary)


def nudge(value):
    """The same value with its last digit changed."""
    if isinstance(value, int):
        return value + 1
    return value[:-1] + ("0" if value[-1] != "0" else "1")


def alter(vector, *place):
    altered = copy.deepcopy(vector)
    part = altered
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = nudge(part[place[-1]])
    return altered


ALTERED = [
    ("aead", ("cases", 0, "output")),
    ("privacy", ("cases", 6, "output", 11)),
    ("privacy", ("cases", 35, "output", "max_level")),
    ("privacy", ("cases", 66, "output", 5)),
    ("privacy", ("cases", 82, "input", "summands")),
    ("privacy", ("cases", 96, "output", 2)),
    ("privacy", ("cases", 111, "input", "honest")),
    ("privacy", ("cases", 139, "input", "configuration", "min_survivors")),
    ("shamir", ("cases", 0, "output", 6)),
    ("encoding", ("cases", 0, "output", "residues", 3)),
    ("protocol", ("derivations", "roster_digest")),
    ("session-malicious", ("derived", "threshold")),
    ("session-malicious", ("rounds", 0, "to_server", "3")),
    ("session-malicious", ("rounds", 1, "to_clients", "8")),
    ("session-semi-malicious", ("rounds", 2, "to_server", "7")),
    ("session-curious-sparse", ("clients", "5", "weight")),
    ("session-curious-sparse", ("clients", "5", "rounding_seeds", "model")),
    ("session-curious-sparse", ("output", "levels", "votes", 2)),
    ("session-curious-sparse", ("refused", 0, "error")),
    ("session-curious-sparse", ("endings", 6, "culprits", 0)),
    ("session-curious-sparse", ("endings", 8, "phase")),
    ("session-malicious", ("endings", 11, "policy", "min_neighbours")),
    ("session-private-curious", ("clients", "2", "noise_seeds", "model")),
    ("session-private-curious", ("clients", "4", "rounding_seeds", "model")),
    ("session-private-curious", ("clients", "4", "values", "model", 7)),
    ("session-private-curious", ("configuration", "vectors", 0, "local_sigma")),
    ("session-private-curious", ("goal", "rounds")),
    ("session-private-curious", ("costs", 3, "rounds")),
    ("session-private-semi-malicious", ("output", "released", "votes", 0)),
    ("session-private-semi-malicious", ("proposals", 3, "policy", "privacy", "rounds")),
    ("session-private-semi-malicious", ("inputs", 1, "error")),
    ("session-private-malicious", ("output", "levels", "model", 63)),
    ("session-private-malicious", ("refused", 3, "error")),
    ("session-private-malicious", ("endings", 1, "error")),
    ("statistics", ("cases", 0, "output", "digest")),
    ("statistics", ("cases", 2, "output", 0)),
    ("statistics", ("cases", 7, "output", 5)),
    ("groups", ("cases", 2, "output", "max_spoilt")),
    ("groups", ("cases", 2, "output", "max_corrupt", 0)),
    ("groups", ("cases", 18, "output", "coin")),
    ("groups", ("cases", 18, "output", "groups", 1, 0)),
    ("hierarchy", ("cases", 0, "output", "terms")),
    ("hierarchy", ("cases", 0, "output", "sessions", 2, 0)),
    ("hierarchy", ("cases", 0, "output", "learned", 1, 1)),
    ("hierarchy", ("cases", 15, "output", "bound", 1)),
    ("requests", ("cases", 0, "output")),
    ("requests", ("cases", 1, "output", "Signature")),
    ("requests", ("cases", 3, "output", "Signature-Input")),
    ("requests", ("cases", 7, "output", "new_key")),
    ("requests", ("cases", 8, "error")),
    ("noisy_statistics", ("cases", 0, "output", "bytes")),
    ("noisy_statistics", ("cases", 2, "output", "0")),
    ("noisy_statistics", ("cases", -1, "output", "5")),
    ("ledger", ("tables", "records", 4, "hash")),
    ("ledger", ("heads", 0)),
    ("ledger", ("verified", "open_reservations")),
    ("ledger", ("refused", 30, "error")),
    ("ledger", ("refused", 60, "error")),
    ("ledger", ("accepted", 1, "verified", "open_reservations")),
    ("paillier-round", ("derived", "shares", 2)),
    ("paillier-round", ("rounds", 2, "answers", "3")),
    ("paillier-round", ("members", "3", "proof_nonce")),
    ("paillier-round", ("output", "total_weight")),
]


@pytest.mark.parametrize(
    ("name", "place"), ALTERED, ids=lambda part: part if isinstance(part, str) else "-".join(map(str, part))
)
def test_the_checker_disagrees_with_a_vector_that_is_off_by_a_digit(name, place):
    altered = alter(json.loads((FOLDER / f"{name}.json").read_text()), *place)
    if "cases" in altered:
        altered["cases"] = [altered["cases"][place[1]]]
    with pytest.raises(Disagreement):
        check(name, altered)
