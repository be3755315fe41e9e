"""Compiled loops do not notice when they leave their arrays. Interpreted, numpy does, on the same tests."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import dp
import secagg

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


@pytest.mark.parametrize("module", ["secagg._compiling", "dp._compiling"])
def test_loops_that_can_be_kept_nowhere_are_compiled_all_the_same(module):
    """What stands in no file, numba has no place for."""
    namespace = {}
    exec("def more(value): return value + 1", namespace)  # noqa: S102 - our own text
    with pytest.raises(RuntimeError, match="cannot cache"):
        numba.njit(cache=True)(namespace["more"])
    assert importlib.import_module(module).compiled(namespace["more"])(2) == 3


USES = """
import numpy as np
from dp.samplers import discrete_gaussian
from secagg import field, residues
assert discrete_gaussian(3.0, 100).shape == (100,)
lanes = np.arange(9, dtype=np.uint32)
assert (residues.unpack(residues.pack(lanes, 5), 5, 9) == lanes).all()
"""


def use_loops(cache: Path, **settings: str) -> None:
    """Run loops of both packages in a process of their own, whose cache is a folder of ours."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(HERE.parent)} | settings
    command = [sys.executable, "-c", USES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stderr[-2000:]


def test_files_of_the_cache_that_cannot_be_read_are_compiled_anew(tmp_path):
    use_loops(tmp_path)
    kept = sorted(path for path in tmp_path.rglob("*.nb?"))
    assert {path.suffix for path in kept} == {".nbi", ".nbc"}
    for bad in (b"", b"no pickle", None):
        for path in kept:
            path.write_bytes(path.read_bytes()[:-9] if bad is None else bad)
        use_loops(tmp_path)
        assert all(path.stat().st_size > 100 for path in kept if path.exists())


@pytest.mark.parametrize("threads", ["0", "-1"])
def test_a_number_of_threads_that_numba_refuses_ends_no_session(tmp_path, threads):
    use_loops(tmp_path, NUMBA_NUM_THREADS=threads)


def test_both_packages_compile_their_loops_in_one_way():
    """Neither imports the other, so each has the file; whoever mends one mends both."""
    ours, theirs = (Path(package.__file__).with_name("_compiling.py").read_text() for package in (dp, secagg))
    assert ours == theirs
