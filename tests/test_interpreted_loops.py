"""Compiled loops do not notice when they leave their arrays. Interpreted, numpy does, on the same tests."""

import importlib
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


OF_FIELDS = "test_field"
OF_RESIDUES = "packing or packed"
OF_ENCODING = "levels or clipped or specified or (finite and nan)"


@pytest.mark.parametrize(
    "tests",
    [
        [
            *("secagg/test_field.py", "secagg/test_residues.py", "secagg/test_encoding.py"),
            *("-k", f"compiled and ({OF_FIELDS} or {OF_RESIDUES} or {OF_ENCODING})"),
            *("-W", "ignore:overflow:RuntimeWarning:secagg._bit_kernels"),
        ],
        ["dp/test_samplers.py", "-k", "kernel_stops or long_attempt or tie"],
    ],
    ids=["secagg", "dp"],
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


def use_loops(cache: str, script: str = USES, **settings: str) -> str:
    """Run loops of both packages in a process of their own, whose cache is a folder of ours; return what it prints."""
    environment = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(HERE.parent)} | settings
    command = [sys.executable, "-P", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


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


def install(folder: Path) -> Path:
    """Copy what has loops, without anything compiled."""
    for package in (dp, secagg):
        source = Path(package.__file__).parent
        shutil.copytree(source, folder / "site" / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "site"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages with their loops compiled beside them."""
    site = install(tmp_path_factory.mktemp("filled"))
    assert counts(site) == [0, 3]
    return site


@pytest.fixture
def installed(filled: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(filled, tmp_path / "site"))


def counts(installed: Path, cache: str = "", before: str = "", **settings: str) -> list[int]:
    """Return how many loops a process of its own takes from caches, and how many it compiles."""
    home = installed.parent / "home"
    home.mkdir(exist_ok=True)
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONPATH": str(installed)}
    return json.loads(use_loops(cache, before + USES + COUNTS, **places | settings))


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def held(writable: Path) -> dict[str, str]:
    return {"before": WRITES_NOWHERE_BUT_IN, "WRITABLE": str(writable)}


def unchanged(installed: Path, cache: str, writable: Path) -> None:
    """All loops are taken from where they are, with other times of files, as in an image."""
    for path in installed.rglob("*.py"):
        os.utime(path, (10**9, 10**9))
    kept = files(installed.parent)
    assert counts(installed, cache, **held(writable)) == [3, 0]
    assert files(installed.parent) == kept


def test_a_filled_cache_that_cannot_be_written_is_used_as_it_is(tmp_path: Path) -> None:
    """As in an image: filled as it is built, and read-only when it runs."""
    installed, cache = install(tmp_path), str(tmp_path / "cache")
    assert counts(installed, cache) == [0, 3]
    unchanged(installed, cache, tmp_path / "home")


@pytest.mark.parametrize("writable", ["home", "nowhere"])
def test_what_was_compiled_beside_the_modules_is_used_where_it_cannot_be_written(
    installed: Path, writable: str
) -> None:
    elsewhere = installed.parent / writable
    unchanged(installed, "", elsewhere)
    for path in installed.rglob("*.nbc"):
        path.write_bytes(b"no pickle")
    assert counts(installed, **held(elsewhere)) == [0, 3]
    if writable == "home":  # where they are kept now
        assert counts(installed, **held(elsewhere)) == [3, 0]


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_files_of_the_cache_that_cannot_be_read_are_compiled_anew(installed: Path, suffix: str) -> None:
    """An index, behind which nothing is read, and what was compiled: each is bent in another way."""
    bent = sorted(installed.rglob(f"*{suffix}"))
    ways = (b"", b"no pickle", bent[2].read_bytes()[:-9])
    for path, way in zip(bent, ways, strict=True):
        path.write_bytes(way)
    assert counts(installed) == [0, 3]
    assert all(path.stat().st_size > 100 for path in bent if path.exists())


def test_loops_are_compiled_anew_when_a_module_beside_them_has_changed(installed: Path) -> None:
    """They are compiled with its constants in them."""
    with (installed / "dp" / "tables.py").open("a") as tables:
        tables.write("# changed\n")
    assert counts(installed) == [2, 1]


def test_a_number_of_threads_that_numba_refuses_ends_no_session(tmp_path):
    for threads in ("0", "-1"):
        use_loops(str(tmp_path), NUMBA_NUM_THREADS=threads)


def test_both_packages_compile_their_loops_in_one_way():
    """Neither imports the other, so each has the file; whoever mends one mends both."""
    ours, theirs = (Path(package.__file__).with_name("_compiling.py").read_text() for package in (dp, secagg))
    assert ours == theirs
