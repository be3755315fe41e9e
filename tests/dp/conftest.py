"""One PostgreSQL server for all tests of a process, and a schema of its own for each of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.dp.postgres_server import execute, running_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with running_server() as url:
        yield url


@pytest.fixture
def postgres_url(postgres: str) -> str:
    name = f"ledger_{next(_numbers)}"
    execute(postgres, f"CREATE SCHEMA {name}")
    return f"{postgres}&options=-csearch_path%3D{name}"
