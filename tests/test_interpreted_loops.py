"""Compiled loops do not notice when they leave their arrays. Interpreted, numpy does, on the same tests."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "tests",
    [
        ["secagg/test_field.py"],
        ["secagg/test_residues.py", "-k", "packing or unpacking"],
        ["dp/test_samplers.py", "-k", "kernel_stops or long_attempt or tie"],
    ],
    ids=["field", "residues", "samplers"],
)
def test_loops_stay_within_their_arrays(tests):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(  # noqa: S603 - pytest, on our own files
        command, cwd=HERE, env=plain | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("module", ["secagg._compiling", "dp._kernels"])
def test_loops_that_can_be_kept_nowhere_are_compiled_all_the_same(module):
    """What stands in no file, numba has no place for."""
    namespace = {}
    exec("def more(value): return value + 1", namespace)  # noqa: S102 - our own text
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(namespace["more"])
    module = importlib.import_module(module)
    compiled = getattr(module, "compiled", None) or module._compiled
    assert compiled(namespace["more"])(2) == 3
