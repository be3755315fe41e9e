"""A real `secagg serve` whose operator's function hangs, beside another training that must go on."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protocols.masking.policy import ClientPolicy
from protocols.service.client import take_part
from protocols.service.connection import Connection
from protocols.service.members import Members
from protocols.service.store import Store
from protocols.service.training import training
from secagg.signatures import Identity

NAMES = [f"site-{number}" for number in range(1, 6)]
FUNCTIONS = """
import re, time
import numpy as np
def sleeps(before):
    time.sleep(1e6)
def holds(before):  # the interpreter, in C
    re.match("(a+)+$", "a" * 100 + "b")
def halves(before):
    print("{")
    if before is None:
        return np.array([8.0, -4.0]).tobytes()
    moved = np.frombuffer(before.terms.payload) + np.array(before.result["sums"]["step"]) / 5
    return None if before.number == 1 else moved.tobytes()
"""


ROUNDS = [("halves", 0, "completed"), ("halves", 1, "completed")]


def session(title, function):
    return (
        f'[[session]]\ntitle = "{title}"\nmembers = 5\ndropout = 0.2\n'
        f'vectors.step = {{length = 2, clip = 8.0}}\ntraining = "steps:{function}"\n'
    )


async def served(folder, *options, function, until=b""):
    """Serve two trainings side by side, of which one hangs, until the other has ended and `until` is printed.

    Returns the exit code, the results, and what was said.
    """
    (folder / "steps.py").write_text(FUNCTIONS)
    (folder / "sessions.toml").write_text(session("hangs", function) + session("halves", "halves"))
    store = Store(folder / "service.db", create=True)
    tokens = {name: Members(store).invite(name) for name in NAMES}
    store.close()
    arguments = ["serve", "sessions.toml", "--store", "service.db", "--port", "0", "--insecure-loopback", "--json"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from protocols.cli import main; main()", *arguments, "--side-by-side", *options),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        url = re.search(r"http://\S+", (await process.stderr.readline()).decode())[0]

        async def member(name):
            async with Connection(url, Identity.generate(), insecure_loopback=True, patience=60) as connection:
                await connection.enrol(name, tokens[name])
                answers = {"training": training(lambda terms: {"step": -np.frombuffer(terms.payload) / 2}, "halved")}
                options = {"state": folder / name, "policy": ClientPolicy.permissive(), "warm": False}
                return await take_part(connection, name, answers, sessions=2, **options)

        ended = await asyncio.gather(*(member(name) for name in NAMES))
        assert {each.phase for one in ended for each in one} == {"completed"}
        lines = []
        while sum(map(is_result, lines)) < 2 or not any(until in line for line in lines):
            lines.append(await process.stdout.readline())
        process.terminate()
        out, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    results = [json.loads(line) for line in (*lines, *out.splitlines())]
    said = said.decode()
    assert re.findall("halves: round .*", said) == ["halves: round 0 completed", "halves: round 1 completed"]
    return process.returncode, results, said


def is_result(line):
    return line.startswith(b'{"session"')


@pytest.mark.parametrize("function", ["sleeps", "holds"])
def test_a_function_that_hangs_keeps_neither_sessions_nor_sigterm_waiting(tmp_path, function):
    playing = served(tmp_path, function=function)
    code, results, said = asyncio.run(asyncio.wait_for(playing, 120))
    assert code == 0
    assert [(one["title"], one["round"], one["state"]) for one in results] == ROUNDS
    assert "hangs" not in re.sub("hangs: (its phases|waits)", "", said)  # nothing has become of it
    store = Store(tmp_path / "service.db")
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT name FROM service_jobs WHERE name LIKE 'serve/0/%'").all() == []
    store.close()


def test_a_function_that_does_not_return_in_time_ends_its_training_by_name(tmp_path):
    """And nothing else: the other training has its rounds, and the service goes on."""
    options = ("--training-seconds", "15", "--forever")
    playing = served(tmp_path, *options, function="sleeps", until=b"JobDeadlineError")
    code, results, said = asyncio.run(asyncio.wait_for(playing, 120))
    assert code == 0
    (failed,) = (one for one in results if "state" not in one)
    assert (failed["title"], "JobDeadlineError" in failed["reason"]) == ("hangs", True)
    assert [(one["title"], one["round"], one["state"]) for one in results if one is not failed] == ROUNDS
    assert said.count("steps:sleeps has failed: it has not returned within 15 s") == said.count("has failed") == 1
    assert "steps:sleeps has ended the training: JobDeadlineError: it has not returned within 15 s" in said
