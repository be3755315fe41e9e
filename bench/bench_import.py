"""Importing the packages in a fresh interpreter, and what that must not load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import protocols
import secagg
from bench.side_by_side import clocked, size, take_turns
from bench.suite.findings import Finding, Row

TURNS = size(9, 2, quick=2)
HEAVY = ("numba", "galois", "scipy", "phe")
LEFT_OUT = ("secagg.paillier", "protocols.flower", "protocols.audit", "protocols.cli")
"""Extras, and commands with libraries of their own to draw tables and plots."""

SCRIPT = """
import json, sys, time
start = time.perf_counter()
for name in sys.argv[1:]:
    __import__(name)
print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))
"""


def import_in_fresh_interpreter(*names: str) -> float:
    """Return the seconds that the imports take; raise AssertionError if they load anything heavy."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *names], check=True, capture_output=True, text=True)
    seconds, loaded = json.loads(done.stdout)
    assert set(names) <= set(loaded)
    ours = [name for name in names if name.split(".")[0] in ("secagg", "protocols")]
    assert not ours or not set(HEAVY) & set(loaded), f"importing {names} loads {set(HEAVY) & set(loaded)}"
    return seconds


def modules(package) -> list[str]:
    """Return the public modules of a package: what its users come to import sooner or later."""
    root = Path(package.__file__).parent
    found = [
        f"{package.__name__}.{'.'.join(path.relative_to(root).with_suffix('').parts)}" for path in root.rglob("*.py")
    ]
    return sorted(name for name in found if "._" not in name and not name.startswith(LEFT_OUT))


def test_imports(benchmark, report):
    asked = {"secagg": 0.35, "protocols": 0.6}
    contenders = {
        "secagg": lambda: import_in_fresh_interpreter("secagg"),
        "secagg, every module": lambda: import_in_fresh_interpreter(*modules(secagg)),
        "protocols": lambda: import_in_fresh_interpreter("protocols"),
        "numpy": lambda: import_in_fresh_interpreter("numpy"),
        "galois": lambda: import_in_fresh_interpreter("galois"),
        "a bare interpreter, start to end": clocked(lambda: subprocess.run([sys.executable, "-c", ""], check=True)),
    }

    def every_module() -> float:
        return import_in_fresh_interpreter(*modules(protocols))

    first = {"protocols, every module": every_module()} | {name: contender() for name, contender in contenders.items()}
    timings = take_turns(benchmark, every_module, contenders, turns=TURNS)
    finding = Finding("Importing in a fresh interpreter")
    for name in ("secagg", "secagg, every module", "protocols", "protocols, every module"):
        key = "ours" if name == "protocols, every module" else name
        turns = timings.seconds[key]
        limit = asked[name.partition(",")[0]]
        finding.add(
            f"import {name}",
            timings.median(key),
            "s",
            asked=f"under {limit} s",
            met=timings.median(key) < limit,
            lowest=min(turns),
            highest=max(turns),
        )
    for name in ("numpy", "galois", "a bare interpreter, start to end"):
        finding.add(f"import {name}" if "bare" not in name else name, timings.median(name), "s")
    for name, seconds in first.items():
        finding.add(f"first in this session: {name}", seconds, "s")
    finding.add_ratio("protocols, every module / numpy alone", timings.ratio("ours", "numpy"))
    finding.add(f"loads none of {', '.join(HEAVY)}", True, asked="none of them", met=True)
    galois_row = timings.peer("galois", "import galois")
    numpy_row = timings.limit("import numpy", "numpy")
    finding.rows.append(Row("import protocols, every module of it", "s", timings.median("ours"), galois_row, numpy_row))
    finding.notes += [
        "the interpreter is fresh, the system's file cache is not: it cannot be emptied without privileges",
        "every module: all public modules; extras, the audit and the commands are left out",
    ]
    report(finding)
