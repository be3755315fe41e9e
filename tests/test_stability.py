"""docs/stability.md is true: what guides import is public, and every version and every exit code stands there."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import ROOT, of_language

TEXT = (ROOT / "docs/stability.md").read_text()
PUBLIC = re.findall(r"`((?:secagg|dp|protocols)[\w.]*)`", TEXT[: TEXT.index("So are:")])
ERRORS = {"secagg.errors", "dp.errors"}
VERSIONS = {
    "dp/ledger/records.FORMAT": "a ledger",
    "protocols/core/dumps.DUMP_VERSION": "a dump",
    "protocols/core/identity_files.ROSTER_VERSION": "a roster, as `secagg keygen` writes it",
    "protocols/flower/envelope.ADAPTER_VERSION": "the record of a Flower message",
    "protocols/groups/messages.VERSION": "a message of a draw of groups",
    "protocols/masking/messages.VERSION": "a message of a masking session",
    "protocols/paillier/files.VERSION": "a dealt Paillier key, and a share of it",
    "protocols/paillier/key_use.VERSION": "what a Paillier share was used for",
    "protocols/paillier/messages.VERSION": "a message of a Paillier round",
    "protocols/service/jobs.RESULT_VERSION": "a service's result, as JSON",
    "protocols/service/sessions.TERMS_VERSION": "terms of a service's session",
    "protocols/service/tables.FORMAT": "a service's store",
}
"""Each constant in code, and the row of the table that is about it."""


def section(title: str) -> dict[str, str]:
    """The rows of the table under a title: first cell -> second."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \|", TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0], re.MULTILINE)
    return dict(rows[1:])


def imports(source: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.partition(".")[0] in (*("secagg", "dp", "protocols"),)
        ):
            yield from ((node.module, name.name) for name in node.names)


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in ("protocols.flower", "protocols.ray")])
def test_what_is_public_is_there(name: str) -> None:
    module = importlib.import_module(name)
    assert all(hasattr(module, each) for each in module.__all__)


def test_what_guides_import_is_public() -> None:
    hidden = {
        f"{place}: {module}.{name}"
        for place, block in of_language("python")
        for module, name in imports(block.text)
        if not (module in PUBLIC and name in importlib.import_module(module).__all__)
        and f"{module}.{name}" not in PUBLIC  # a module
        and not (module in ERRORS and isinstance(getattr(importlib.import_module(module), name), type))
    }
    assert not hidden


def test_every_version_stands_in_the_table() -> None:
    found = {}
    for path in (each for root in ("secagg", "dp", "protocols") for each in (ROOT / root).rglob("*.py")):
        for name, number in re.findall(r"^_?(\w*(?:VERSION|FORMAT)) = (\d+)$", path.read_text(), re.MULTILINE):
            found[f"{path.relative_to(ROOT).with_suffix('')}.{name}"] = number
    assert found.keys() == VERSIONS.keys()
    rows = section("How versions meet")
    for constant, number in found.items():
        said = rows[VERSIONS[constant]]
        if "the same byte" in said:
            assert number == found["protocols/masking/messages.VERSION"], constant
        else:
            assert re.search(rf"\b{number}\b", said), constant


def test_every_exit_code_stands_in_the_table() -> None:
    body = ast.parse(Path(ROOT / "protocols/cli/errors.py").read_text()).body
    codes = {}
    for node, after in itertools.pairwise(body):
        match node, after:
            case ast.Assign([ast.Name(name)], ast.Constant(code)), ast.Expr(ast.Constant(text)) if "EXIT" in name:
                codes[str(code)] = text
    told = section("How a command ends")
    assert told.pop("0")
    assert told.pop("1")
    assert told == codes
