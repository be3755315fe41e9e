"""What is packed, what is said about it, and whether its hints can be followed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("secagg", "dp", "protocols")
SOURCES = [
    path for name in (*PACKAGES, "bench") for path in sorted((ROOT / name).rglob("*.py")) if ".venvs" not in path.parts
]


def manifest() -> set[str]:
    """Return what MANIFEST.in includes, by name."""
    lines = [line.split() for line in (ROOT / "MANIFEST.in").read_text().splitlines()]
    return {name for words in lines if words and words[0] in ("include", "graft") for name in words[1:]}


def test_the_source_distribution_holds_what_a_checkout_does() -> None:
    documents = {path.name for path in ROOT.glob("*.md")} - {"README.md"}  # which is packed anyway
    assert {"SPEC.md", "CHANGELOG.md", "SECURITY.md"} <= documents
    assert documents | {"Makefile", "mkdocs.yml", "bench", "docs", "examples", "tests"} == manifest()
    assert all((ROOT / name).exists() for name in manifest())


def test_classifiers_begin_where_the_project_does_and_name_what_is_tried() -> None:
    classifiers = PROJECT["classifiers"]
    minors = [int(one.rpartition(".")[2]) for one in classifiers if re.fullmatch(r".*Python :: 3\.\d+", one)]
    assert minors == list(range(min(minors), max(minors) + 1))
    assert PROJECT["requires-python"] == f">=3.{min(minors)}"
    systems = [one for one in classifiers if one.startswith("Operating System")]
    assert systems == ["Operating System :: POSIX :: Linux"]  # nothing has been tried on others


def test_hints_name_extras_that_are_there_in_a_way_that_works() -> None:
    """The name is on no package index, so that only a checkout can be installed from."""
    for path in SOURCES:
        text = path.read_text()
        assert "secagg[" not in text, path
        for hint in re.findall(r"pip install [^\n\"]*\[[^\n\"]*", text):
            found = re.search(r"'\.\[([a-z,]+)\]'", hint)
            assert found, (path, hint)
            assert set(found[1].split(",")) <= set(PROJECT["optional-dependencies"])
