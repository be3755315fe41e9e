from __future__ import annotations

import re
import tomllib
from pathlib import Path

TESTS = Path(__file__).parent

TESTED_EXTRAS = (
    *("cli", "demo", "dp", "flower", "paillier", "parquet", "plots", "postgres"),
    *("ray", "service", "statistics", "test"),
)


def requirements() -> list[str]:
    """The core's dependencies and those of the tested extras, without the extras' references to one another."""
    project = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    everything = [*project["dependencies"], *(line for extra in TESTED_EXTRAS for line in extras[extra])]
    return sorted({line for line in everything if not line.startswith("secagg[")})  # two extras may need one package


def pins() -> list[str]:
    lines = (TESTS / "constraints-lowest.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_dependency_states_its_lower_bound_and_nothing_else() -> None:
    for line in requirements():
        # A remark for the exceptional upper bound: give it here, with its reason, rather than loosen the pattern.
        assert re.fullmatch(r"[a-z0-9-]+(\[[a-z]+\])?>=[0-9]+(\.[0-9]+)*", line), line


def test_every_lower_bound_is_pinned_by_the_constraints_and_nothing_else_is() -> None:
    # Constraints name no extras: psycopg[binary] pins its binary part by itself.
    bounds = (re.sub(r"\[[a-z]+\]", "", line) for line in requirements())
    assert sorted(pins()) == sorted(line.replace(">=", "==") for line in bounds)


def test_no_package_is_pinned_twice() -> None:
    names = [line.split("==")[0] for line in pins()]
    assert names == sorted(set(names))
