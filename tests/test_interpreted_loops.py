"""Compiled loops do not notice when they leave their arrays. Interpreted, numpy does, on the same tests."""

import importlib
import itertools
import json
import os
import shutil
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
        ["secagg/test_field.py", "-k", "compiled"],
        ["secagg/test_residues.py", "-k", "compiled and (packing or packed)", "-W", "ignore:overflow"],
        ["secagg/test_encoding.py", "-k", "compiled and (levels or clipped or finite or specified)"],
        ["dp/test_samplers.py", "-k", "kernel_stops or long_attempt or tie"],
    ],
    ids=["field", "residues", "encoding", "samplers"],
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
from secagg import field, loops, residues
loops.prefer_compiled()
assert discrete_gaussian(3.0, 100).shape == (100,)
lanes = np.arange(9, dtype=np.uint64)  # of so many bits that all processors use the same loops
assert (residues.unpack(residues.pack(lanes, 60), 60, 9) == lanes).all()
"""


def use_loops(cache: Path, script: str = USES, **settings: str) -> str:
    """Run loops of both packages in a process of their own, whose cache is a folder of ours; return what it prints."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(HERE.parent)} | settings
    command = [sys.executable, "-P", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_files_of_the_cache_that_cannot_be_read_are_compiled_anew(tmp_path):
    use_loops(tmp_path)
    kept = sorted(path for path in tmp_path.rglob("*.nb?"))
    assert {path.suffix for path in kept} == {".nbi", ".nbc"}
    # An index first, behind which nothing is read, and then what was compiled: each is bent in another way.
    for suffix in (".nbi", ".nbc"):
        bent = [path for path in kept if path.suffix == suffix]
        for path, way in zip(bent, itertools.cycle((b"", b"no pickle", None))):
            path.write_bytes(path.read_bytes()[:-9] if way is None else way)
        use_loops(tmp_path)
        assert all(path.stat().st_size > 100 for path in kept if path.exists())


COUNTS = """
import json
from dp import _kernels
from secagg import _bit_kernels
loops = [loop for module in (_kernels, _bit_kernels) for loop in vars(module).values() if hasattr(loop, "stats")]
counts = [(loop.stats.cache_hits, loop.stats.cache_misses) for loop in loops]
print(json.dumps([sum(sum(count.values()) for count in kind) for kind in zip(*counts)]))
"""
# Permissions do not bind root, so what cannot be written is held by the interpreter.
WRITES_NOWHERE_BUT_IN = """
import os, sys

def hold(event, arguments):
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in ("os.mkdir", "os.rename", "os.remove"):
        if not str(arguments[0]).startswith(os.environ["WRITABLE"]):
            raise PermissionError(13, "held", arguments[0])

sys.addaudithook(hold)
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of what has loops, without anything compiled."""
    for package in (dp, secagg):
        source = Path(package.__file__).parent
        shutil.copytree(source, tmp_path / "site" / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "site"


def counts(installed: Path, cache: str, before: str = "", **settings: str) -> list[int]:
    """Return how many loops a process of its own takes from caches, and how many it compiles."""
    home = installed.parent / "home"
    home.mkdir(exist_ok=True)
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONPATH": str(installed), "NUMBA_CACHE_DIR": cache}
    return json.loads(use_loops(Path(), before + USES + COUNTS, **places | settings))


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("where", "writable"),
    [("NUMBA_CACHE_DIR", "home"), ("beside the modules", "home"), ("beside the modules", "nowhere")],
)
def test_a_filled_cache_that_cannot_be_written_is_used_as_it_is(installed: Path, where: str, writable: str) -> None:
    """As in an image: filled as it is built, with other times of files and read-only when it runs."""
    cache = str(installed.parent / "cache") if where == "NUMBA_CACHE_DIR" else ""
    assert counts(installed, cache) == [0, 3]
    for path in installed.rglob("*.py"):
        os.utime(path, (10**9, 10**9))
    kept = files(installed.parent)
    held = {"before": WRITES_NOWHERE_BUT_IN, "WRITABLE": str(installed.parent / writable)}
    assert counts(installed, cache, **held) == [3, 0]
    assert files(installed.parent) == kept
    if where == "NUMBA_CACHE_DIR":
        return  # what cannot be read is the same wherever it lies
    for path in kept:
        if path.suffix == ".nbc":
            path.write_bytes(b"no pickle")
    assert counts(installed, cache, **held) == [0, 3]
    if writable == "home":  # where they are kept now
        assert counts(installed, cache, **held) == [3, 0]


def test_loops_are_compiled_anew_when_a_module_beside_them_has_changed(installed: Path) -> None:
    """They are compiled with its constants in them."""
    cache = str(installed.parent / "cache")
    assert counts(installed, cache) == [0, 3]
    assert counts(installed, cache) == [3, 0]
    with (installed / "dp" / "tables.py").open("a") as tables:
        tables.write("# changed\n")
    assert counts(installed, cache) == [2, 1]


def test_a_number_of_threads_that_numba_refuses_ends_no_session(tmp_path):
    for threads in ("0", "-1"):
        use_loops(tmp_path, NUMBA_NUM_THREADS=threads)


def test_both_packages_compile_their_loops_in_one_way():
    """Neither imports the other, so each has the file; whoever mends one mends both."""
    ours, theirs = (Path(package.__file__).with_name("_compiling.py").read_text() for package in (dp, secagg))
    assert ours == theirs
