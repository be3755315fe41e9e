"""Importing the packages in a fresh interpreter, answering one message there, and what that must not load."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import protocols
import secagg
from bench.side_by_side import clocked, size, take_turns
from bench.suite.findings import Finding, Row
from protocols import Client, FloatVector, Participants, RoundConfig, Server, ThreatModel
from protocols.simulation.driver import Crossing, Session

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


ANSWERING = """
import sys
from pathlib import Path
import numpy as np
from protocols.core.machine import Inputs
from protocols.masking.client import Client

dump, message, inputs, answer = map(Path, sys.argv[1:])
client = Client.load(dump.read_bytes()) if dump.exists() else Client()
answer.write_bytes(client.respond(message.read_bytes(), lambda: Inputs({"update": np.load(inputs)})))
print("numba" in sys.modules)
"""


def test_a_process_that_answers_one_message(benchmark, report, tmp_path):
    """Of a client that lives in a process of its own for each message, as where a scheduler starts it."""
    clients, length = size(100, 20), size(100_000, 1_000)
    config = RoundConfig(ThreatModel(clients, 0.1, 0.1), (FloatVector("update", length),))
    names = Participants.numbered(clients)
    who, vector = names.names[clients // 2], np.random.default_rng(0).uniform(-1, 1, length)
    messages: dict[str, bytes] = {}
    dumps: dict[str, bytes] = {}

    def keep(crossing: Crossing) -> bytes:
        if crossing.name == who and not crossing.to_coordinator:
            messages[crossing.phase] = crossing.data
        return crossing.data

    def restart(name: str, client: Client) -> Client:
        if name == who:
            dumps[str(session.coordinator.phase)] = client.dump()
        return client

    session = Session(Server(config, names), lambda _: Client(), lambda _: {"update": vector}, keep, restart)
    session.run()
    files = [tmp_path / name for name in ("dump", "message", "inputs.npy", "answer")]
    np.save(files[2], vector)

    def answering(phase: str) -> float:
        files[0].unlink(missing_ok=True)
        if phase in dumps:
            files[0].write_bytes(dumps[phase])
        files[1].write_bytes(messages[phase])
        start = time.perf_counter()
        command = [sys.executable, "-c", ANSWERING, *map(str, files)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        assert done.stdout == "False\n", "numba was loaded"
        return seconds

    first, *others = messages
    timings = take_turns(
        benchmark,
        lambda: answering(first),
        {phase: functools.partial(answering, phase) for phase in others},
        turns=TURNS,
    )
    finding = Finding(f"A process that answers one message: {clients} clients, {length:,} numbers")
    for phase in messages:
        turns = timings.seconds["ours" if phase == first else phase]
        median = timings.median("ours" if phase == first else phase)
        finding.add(
            f"start to bytes, {phase}",
            median,
            "s",
            asked="at most 0.35 s",
            met=median <= 0.35,
            lowest=min(turns),
            highest=max(turns),
        )
    finding.notes.append(
        "dump, message and vector are read from files, and the answer is written to one; numba is not loaded"
    )
    report(finding)
