"""An operator's function in a process of its own: what comes of it when it fails, hangs, exits or is killed."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path

import msgspec
import numpy as np
import pytest

from protocols.core.participants import Participants
from protocols.inputs.vectors import FloatVector
from protocols.service import apart
from protocols.service.apart import Apart
from protocols.service.errors import JobDeadlineError, JobError
from protocols.service.jobsteps import Ended
from protocols.service.session_file import Asked
from secagg.errors import ParameterError

NAMES = Participants(f"site-{number}" for number in range(1, 6))
ASKED = Asked(title="a model", members=5, vectors=(FloatVector("step", 2, 8.0),), training="steps:moved", dropout=0.2)
STEPS = """
import os, re, signal, subprocess, sys, time
from pathlib import Path
import numpy as np
calls = 0
def moved(before):
    global calls
    calls += 1
    if before is None:
        return f"{os.getpid()} {calls}".encode()
    told = (before.session, before.number, before.terms.title, before.result["survivors"])
    assert told == ("ab" * 32, 3, "a model", ["site-1", "site-2"]), told
    return memoryview(np.frombuffer(before.terms.payload) + np.array(before.result["sums"]["step"]))
def ends(before):
    return None
def raises(before):
    raise ValueError("4711")
def exits(before):
    sys.exit("4711")
def dies(before):
    with open("deaths", "a") as noted:
        noted.write("x")
    os._exit(7)
def dies_once(before):
    if not Path("deaths").exists():
        Path("deaths").write_text("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return b"later"
def number(before):
    return 4711
def large(before):
    return bytes((64 << 20) + 1)
def sleeps(before):
    Path("begun").write_text(str(os.getpid()))
    time.sleep(1e6)
def holds(before):  # the interpreter, in C
    Path("begun").write_text(str(os.getpid()))
    re.match("(a+)+$", "a" * 100 + "b")
def writes_everywhere(what):
    for number in range(3, 64):
        try:
            os.write(number, what)
        except OSError:
            pass
    return b""
def scribbles(before):
    return writes_everywhere(b"\\0\\0\\0\\1\\xc1")
def starts(before):
    Path("begun").write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    time.sleep(1e6)
def detaches(before):
    Path("begun").write_text(str(subprocess.Popen(["sleep", "600"], start_new_session=True).pid))
    time.sleep(1e6)
def changes_its_environment(before):
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    os.environ.clear()
    Path("begun").write_text(str(child.pid))
    time.sleep(1e6)
def lacks_pidfds(before):
    del os.pidfd_open
    sleeps(before)
def overstates(before):  # the length of what it sends
    return writes_everywhere(b"\\x7f\\xff\\xff\\xff")
def forks(before):
    pid = os.fork()
    if pid:
        Path("forked").write_text(str(pid))
        return b"parent"
    return b"forked"
def dies_with_a_child(before):
    if os.fork() == 0 or subprocess.Popen(["sleep", "600"], close_fds=False) is None:
        time.sleep(600)
    os._exit(7)
def has_no_output(before):
    sys.stdout = None
    return b"goes on"
def is_told_to_end(before):
    os.kill(os.getpid(), signal.SIGTERM)
    return b"goes on"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steps.py").write_text(STEPS)
    (tmp_path / "leaves.py").write_text("import os\nos._exit(3)\n")
    (tmp_path / "waits.py").write_text("import time\ntime.sleep(1e6)\n")
    return tmp_path


def runs(pid):
    """Whether a process runs, and has not merely not been waited for."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def is_gone(pid):
    until = time.monotonic() + 30
    while runs(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not runs(pid)


def test_one_process_answers_all_calls_and_gets_the_round_before(folder):
    terms = ASKED.spec(NAMES, np.array([1.0, 2.0]).tobytes()).terms
    before = Ended("ab" * 32, 3, terms, {"sums": {"step": [0.5, -4.0]}, "survivors": ["site-1", "site-2"]})
    with Apart("steps:moved", 60, print) as function:
        first, second = function(None).split(), function(None).split()
        assert (first[0], first[1], second[1]) == (second[0], b"1", b"2")
        assert np.frombuffer(function(before)).tolist() == [1.5, -2.0]
    assert is_gone(int(first[0]))


FAILS = {
    "raises": ("its function has raised ValueError", "steps:raises has failed: ValueError in steps.py, line 17"),
    "exits": ("its function has raised SystemExit", "steps:exits has failed: SystemExit in steps.py, line 19"),
    "number": ("steps:number returned a int, but must return the bytes", None),
    "large": ("steps:large returned a payload that takes 67,108,865 bytes, but may take 67,108,864", None),
    "dies": (r"its process has ended \(code 7\), 3 times", "the process of steps:dies has ended (code 7)"),
    "overstates": (
        "its process has ended",
        "the process of steps:overstates has ended (signal 9), and is started again",
    ),
    "scribbles": ("its process has ended", "the process of steps:scribbles has ended (signal 9), and is started again"),
}


@pytest.mark.parametrize("name", FAILS)
def test_what_fails_is_named_without_what_its_error_says(folder, name):
    raised, said = FAILS[name]
    told = []
    with Apart(f"steps:{name}", 60, told.append) as function, pytest.raises(JobError, match=raised) as refused:
        function(None)
    assert told[0].startswith(said or str(refused.value))
    assert "4711" not in f"{told} {refused.value}"
    if name == "dies":
        assert (folder / "deaths").read_text() == "x" * apart.TRIES


def test_a_process_that_is_killed_is_started_again(folder):
    told = []
    with Apart("steps:dies_once", 60, told.append) as function:
        assert function(None) == b"later"
    assert told == ["the process of steps:dies_once has ended (signal 9), and is started again"]


@pytest.mark.parametrize("name", ["sleeps", "holds", "starts", "detaches"])
def test_one_that_is_too_late_is_killed(folder, name):
    told = []
    with Apart(f"steps:{name}", 60, told.append) as function:
        function._seconds = 0.5  # since loading takes some seconds
        with pytest.raises(JobDeadlineError, match=r"has not returned within 0\.5 s"):
            function(None)
        assert is_gone(int((folder / "begun").read_text()))
    assert told == [f"steps:{name} has failed: it has not returned within 0.5 s"]


def test_one_that_was_closed_is_not_started_again(folder):
    with Apart("steps:moved", 60, print) as function:
        process = int(function(None).split()[0])
    with pytest.raises(JobError, match=r"its process has ended \(not started\), 1 times"):
        function(None)
    assert is_gone(process)
    assert function._process is None


def test_what_a_function_has_forked_answers_nothing(folder):
    with Apart("steps:forks", 60, print) as function:
        for _ in range(3):
            assert function(None) == b"parent"
            assert is_gone(int((folder / "forked").read_text()))


def test_a_process_is_seen_to_end_whatever_it_has_started(folder):
    """Else its training would stand still until its deadline."""
    told = []
    begun = time.monotonic()
    with Apart("steps:dies_with_a_child", 120, told.append) as function, pytest.raises(JobError, match="3 times"):
        function(None)
    assert len(told) == apart.TRIES - 1
    assert time.monotonic() - begun < 120


NOT_LOADED = {
    "steps:nothing": "steps has no nothing",
    "nowhere:moved": "there is no module nowhere",
    "leaves:f": r"its process has ended \(code 3\), 3 times",
    "waits:f": "it has not returned within 2 s",
}


@pytest.mark.parametrize("named", NOT_LOADED)
def test_what_cannot_be_loaded_is_named_at_once(folder, named, capfd):
    with pytest.raises(ParameterError, match=NOT_LOADED[named]), Apart(named, 2 if "waits" in named else 60, print):
        pass
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("bad", [0, -1, float("nan"), 1e9])
def test_seconds_are_checked(bad):
    with pytest.raises(ParameterError, match="training_seconds"):
        Apart("steps:moved", bad, print)


@pytest.mark.parametrize("name", ["is_told_to_end", "has_no_output"])
def test_a_process_goes_on_that_is_told_to_end_or_has_no_output(folder, name):
    """The first as by systemd, which tells all processes of a unit, and leaves that to the service."""
    with Apart(f"steps:{name}", 60, print) as function:
        assert function(None) == b"goes on"


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("how", ["print('4711')", "os.write(1, b'4711')", "subprocess.run(['echo', '4711'])"])
def test_what_a_function_prints_is_no_part_of_the_commands_output(folder, capfd, how, silent):
    (folder / "talks.py").write_text(f"import os, subprocess\n{how}\ndef f(before):\n    {how}\n    return b''\n")
    with Apart("talks:f", 60, print, silent=silent) as function:
        assert function(None) == b""
    told = capfd.readouterr()
    assert ("4711" in told.out, told.err.count("4711")) == (False, 0 if silent else 2)


OWNER = """
import os, sys, threading
from protocols.service.apart import Apart
with Apart(f"steps:{sys.argv[1]}", 600, print) as function:
    threading.Thread(target=function, args=(None,), daemon=True).start()
    input()
    os._exit(0)
"""


@pytest.fixture
def marked():
    """A process with a mark, and that mark."""
    mark = f"{apart.MARK}={os.urandom(8).hex()}"
    with subprocess.Popen(["sleep", "600"], env=dict([mark.split("=")])) as process:  # noqa: S607
        yield process, mark
        process.kill()


def test_what_another_user_runs_is_left_alone(marked, monkeypatch):
    process, mark = marked
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        apart.kill_marked(mark)
    assert runs(process.pid)
    apart.kill_marked(mark)
    assert process.wait(30) == -signal.SIGKILL


@pytest.mark.parametrize(("module", "name"), [(os, "pidfd_open"), (signal, "pidfd_send_signal")])
def test_without_pidfds_nothing_is_looked_for(marked, monkeypatch, module, name):
    process, mark = marked
    monkeypatch.delattr(module, name)
    apart.kill_marked(mark)
    assert runs(process.pid)


@pytest.mark.parametrize("name", ["sleeps", "detaches", "changes_its_environment", "lacks_pidfds"])
def test_a_process_whose_service_was_killed_ends(folder, name):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", OWNER, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as owner:  # noqa: S603
        until = time.monotonic() + 60
        while not (folder / "begun").exists() and time.monotonic() < until:
            time.sleep(0.01)
        owner.send_signal(signal.SIGKILL)
    assert is_gone(int((folder / "begun").read_text()))


def test_a_process_that_holds_the_interpreter_ends_itself_when_nobody_else_does(folder):
    ours, theirs = Pipe()
    command = [sys.executable, "-P", "-m", apart.__name__, "steps:holds", str(theirs.fileno()), "0.5"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment) as process:  # noqa: S603
        theirs.close()
        ours.recv_bytes()
        ours.send_bytes(msgspec.msgpack.encode(None))
        try:
            assert process.wait(60) == 1
        finally:
            process.kill()
    ours.close()
