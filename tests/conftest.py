"""Hypothesis profiles: "ci" (the default) tries the same examples on every run, "deep" many fresh ones.

"mutation" is "ci" without the search for the smallest failure: where a mutant fails, it is enough that it does.

Choose with the environment variable HYPOTHESIS_PROFILE.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import Phase, settings

# No deadlines anywhere: the first call of a kernel compiles it, and no test asserts on time.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=40, print_blob=True)
settings.register_profile("deep", deadline=None, max_examples=2000, print_blob=True)
settings.register_profile("mutation", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


LONGEST = (
    *("flower/test_example.py", "flower/test_simulation.py", "flower/test_state_dicts.py"),
    *("cli/test_private_sessions.py", "test_interpreted_loops.py", "tests/test_typing.py"),
)
"""Files whose tests begin first: one that begins late is waited for by idle processors."""
MOST_CHARACTERS = 60
"""Of a parameter in a test's name."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long texts by their length: workers spend their time on sending long names."""
    return f"{argname}-{len(val)}" if isinstance(val, str | bytes) and len(val) > MOST_CHARACTERS else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are processors: tests of servers and frameworks wait most of their time."""
    return (os.cpu_count() or 1) + 1
