"""Nodes in this process note what they have answered in a home of the test's own."""

import pytest


@pytest.fixture(autouse=True)
def flower_home(tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp("flower-home")
    monkeypatch.setenv("FLWR_HOME", str(home))
    return home
