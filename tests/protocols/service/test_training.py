"""Training by functions that operators and members name on their own machines."""

import asyncio
import contextlib
import sys

import numpy as np
import pytest

from protocols.cli.app import app
from protocols.core.machine import Inputs
from protocols.core.participants import Participants
from protocols.inputs.vectors import FloatVector
from protocols.masking.policy import ClientPolicy
from protocols.service.client import take_part
from protocols.service.jobsteps import Ended
from protocols.service.members import Members
from protocols.service.parties import InputsError, inputs_for
from protocols.service.session_file import Asked, read_sessions
from protocols.service.sessions import MAX_PAYLOAD_BYTES, Kind
from protocols.service.store import Store
from protocols.service.training import load, proposing, train, training
from secagg.errors import ParameterError
from tests.command_line import separating_runner

from .places import certificates, connected, service_at

NAMES = Participants(f"site-{number}" for number in range(1, 6))
ASKED = Asked(
    title="a model", members=5, vectors=(FloatVector("step", 2, 8.0),), training="model:proposed", dropout=0.2
)
MODEL = """
from functools import partial
number = 7
text = "secret"
def proposed(before):
    return b"start" if before is None else None
def two(before, after):
    return None
def none():
    return None
def broken(before):
    raise ValueError("secret 4711")
async def slow(before):
    return None
class Trainer:
    def __call__(self, before):
        return b""
trainer = Trainer()
first = partial(two, after=1)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "needs.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "fails.py").write_text("x = 1\n1 / 0\n")
    (tmp_path / "slip.py").write_text("def f(:\n")
    yield tmp_path
    for name in ("model", "needs", "fails", "slip"):
        sys.modules.pop(name, None)


def test_functions_are_loaded_from_the_present_folder(folder):
    assert load("model:proposed")(None) == b"start"
    assert load("model:trainer")(None) == b""
    assert load("model:first")(None) is None
    assert load("builtins:bytes")(3) == bytes(3)


NOT_LOADED = {
    "model": "must be such as module:function",
    "model:": "must be such as",
    "model:a.b": "must be such as",
    "../model:proposed": "must be such as",
    "model;x:proposed": "must be such as",
    "nowhere:proposed": "there is no module nowhere",
    "model.inner:proposed": "no module model.inner",
    "needs:proposed": "needs nothing_of_this_name, which is not there",
    "fails:proposed": "ZeroDivisionError in fails.py, line 2",
    "slip:f": "SyntaxError",
    "model:nothing": "model has no nothing",
    "model:number": "is a int, but must be a function",
    "model:two": "must take one argument: missing a required argument: 'after'",
    "model:none": "must take one argument: too many positional arguments",
    "model:slow": "is a coroutine function",
}


@pytest.mark.parametrize("named", NOT_LOADED)
def test_what_cannot_be_loaded_is_named(folder, named):
    with pytest.raises(ParameterError) as refused:
        load(named)
    assert NOT_LOADED[named] in str(refused.value)


@pytest.mark.parametrize("command", ["serve", "join"])
def test_commands_say_so_before_they_begin(folder, command):
    arguments = {
        "serve": ["serve", "--floats", "step:2:8", "--members", "5", "--insecure-loopback"],
        "join": ["join", "http://127.0.0.1:1", "--insecure-loopback", "--name", "a", "--state", "state"],
    }[command]
    done = separating_runner().invoke(app, [*arguments, "--training", "model:two"])
    assert done.exit_code == 2
    assert "model:two must take one argument" in " ".join(done.stderr.split())
    assert not (folder / "state").exists()


def test_a_file_of_sessions_names_what_proposes(folder):
    text = '[[session]]\ntitle = "x"\nmembers = 5\nvectors.step = {length = 2, clip = 8.0}\n'
    (folder / "sessions.toml").write_text(text + 'training = "model:proposed"\n' + text)
    trains, sums = read_sessions(folder / "sessions.toml")
    assert (trains.training, sums.training) == ("model:proposed", None)
    assert trains.digest != sums.digest
    spec = trains.spec(NAMES, b"weights")
    assert (spec.kind, spec.payload) == (Kind.TRAINING, b"weights")
    for slip, said in (("1", "must be a text"), ('"x"\nquery = "q"', "cannot be read")):
        (folder / "sessions.toml").write_text(text + f"training = {slip}\n")
        with pytest.raises(ParameterError, match=said):
            read_sessions(folder / "sessions.toml")
    with pytest.raises(ParameterError, match="needs a query"):
        Asked(title="x", members=5, training="model:proposed")


def ended(number, payload, sums, names=NAMES.names):
    terms = ASKED.spec(Participants(names), payload).terms
    return Ended("ab" * 32, number, terms, {"sums": {"step": sums}, "survivors": list(names)})


def with_keys(names):
    return Participants({name: bytes([at]) * 32 for at, name in enumerate(names, 1)})


def test_each_round_follows_from_the_one_before_among_those_who_are_left():
    def proposed(before):
        if before is None:
            return bytes(16)
        assert before.result["sums"]["step"] == [1.0, 2.0]
        return None if before.number else bytearray(before.terms.payload) + b"!"

    there = [with_keys(NAMES)]
    job = proposing(ASKED, proposed, with_keys(NAMES), lambda: there[-1])
    assert job(None).payload == bytes(16)
    there.append(with_keys([*NAMES.names[:4], "late"]))
    following = job(ended(0, bytes(16), [1.0, 2.0]))
    assert (following.payload, tuple(following.names)) == (bytes(16) + b"!", NAMES.names[:4])
    assert job(ended(1, bytes(17), [1.0, 2.0])) is None
    there.append(Participants({"late": bytes(32)}))
    with pytest.raises(ParameterError, match="nobody is left"):
        job(ended(0, bytes(16), [1.0, 2.0]))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (np.zeros(2), "returned a ndarray, but must return the bytes"),
        ("text", "returned a str"),
        (bytes(MAX_PAYLOAD_BYTES + 1), "may take"),
    ],
    ids=["an array", "text", "too long"],
)
def test_what_is_no_payload_ends_the_training_by_a_sentence(returned, said):
    with pytest.raises(ParameterError, match=said):
        proposing(ASKED, lambda before: returned, with_keys(NAMES), lambda: with_keys(NAMES))(None)


RETURNED = {
    "a list": ([1], "returned a list, but must return name of a vector"),
    "another name": ({"steps": [1.0, 2.0]}, "returned steps, but step of 2 numbers are asked for"),
    "nothing": ({}, "returned nothing, but step"),
    "none": (None, "returned a NoneType"),
    "too many": ({"step": [1.0, 2.0, 4711.0]}, r"returned 'step' of shape (3,), but (2,) is asked for"),
    "a matrix": ({"step": np.zeros((1, 2))}, r"shape (1, 2)"),
    "ragged": ({"step": [[1.0], [1.0, 4711.0]]}, "shape ()"),
    "another weight": (Inputs({"step": np.zeros(3)}, 2), "shape (3,)"),
}


@pytest.mark.parametrize("name", RETURNED)
def test_what_a_members_function_returns_is_held_against_the_vectors(name):
    returned, said = RETURNED[name]
    told = []
    terms = ASKED.spec(NAMES, b"weights").terms
    answers = {"training": training(lambda terms: returned, "model:trained", told.append)}
    with pytest.raises(InputsError) as refused:
        inputs_for(answers, terms)()
    assert said in str(refused.value)
    assert told == [str(refused.value)]
    assert "4711" not in str(refused.value)


def test_a_function_that_exits_has_failed():
    """Else a member's process would end as if all was well, and its service would never hear why."""
    told = []
    terms = ASKED.spec(NAMES, b"weights").terms
    for answer in (sys.exit, training(sys.exit, "model:trained", told.append)):
        with pytest.raises(InputsError, match="SystemExit"):
            inputs_for({"training": answer}, terms)()
    assert told[0].startswith("model:trained has failed: SystemExit")


def test_where_a_function_fails_is_told_here_and_nothing_that_its_error_says(folder):
    told = []
    terms = ASKED.spec(NAMES, b"weights").terms
    broken = load("model:broken")
    with pytest.raises(InputsError, match="ValueError"):
        inputs_for({"training": training(broken, "model:broken", told.append)}, terms)()
    with pytest.raises(ValueError, match="4711"):
        proposing(ASKED, broken, None, lambda: NAMES, told.append)(None)
    assert told[0] == "model:broken has failed: ValueError in model.py, line 12"
    assert told[1].startswith(f"{ASKED.training} has failed: ValueError")


def test_what_is_right_goes_through():
    terms = ASKED.spec(NAMES, b"weights").terms
    seen = []

    def trained(terms):
        seen.append(terms.payload)
        return {"step": [1.0, 2.0]}

    assert inputs_for({"training": training(trained, "x")}, terms)().values == {"step": [1.0, 2.0]}
    assert seen == [b"weights"]


def step(before):
    """Halves what is left, three rounds long."""
    if before is None:
        return np.array([8.0, -4.0]).tobytes()
    moved = np.frombuffer(before.terms.payload) + np.array(before.result["sums"]["step"]) / 5
    return None if before.number == 2 else moved.tobytes()


def test_training_goes_on_after_a_restart_and_is_told_whole_again(tmp_path):
    """The service ends after the first round, goes on on the same store, and later tells all again, asking nobody."""

    async def member(service, name):
        async with connected(service, certificates(), name, patience=60) as connection:
            answers = {"training": training(lambda terms: {"step": -np.frombuffer(terms.payload) / 2}, "trained")}
            options = {"state": tmp_path / name, "policy": ClientPolicy.permissive(), "warm": False}
            return await take_part(connection, name, answers, sessions=3, **options)

    async def rounds(service, most=None):
        views = []
        async for view in train(service, "job", ASKED, step):
            views.append(view)
            if len(views) == most:
                break
        return views

    async def play():
        async with asyncio.TaskGroup() as group:
            with service_at(tmp_path, certificates(), lease=0.5) as service:
                async with service.serving():
                    members = [group.create_task(member(service, name)) for name in NAMES]
                    (first,) = await rounds(service, most=1)
                    port = int(service.url.rpartition(":")[2])
            with service_at(tmp_path, certificates(), port=port, lease=0.5) as service:
                async with service.serving():
                    seen = await rounds(service)
                    assert [one[0].phase for one in [await each for each in members]] == ["completed"] * 5
        with contextlib.closing(Store(tmp_path / "service.db")) as store:
            seen_last = [member.seen for member in Members(store).views()]
        assert all(seen_last), seen_last
        with service_at(tmp_path, certificates()) as service:
            async with service.serving():
                again = await rounds(service)
            payloads = [await service.desk.terms(NAMES.names[0], view.session) for view in again]
        return first, seen, again, payloads

    from protocols.service.sessions import read_terms

    first, seen, again, payloads = asyncio.run(asyncio.wait_for(play(), 200))
    assert [view.session for view in seen] == [view.session for view in again]
    assert seen[0].session == first.session
    assert len(seen) == 3
    weights = [np.frombuffer(read_terms(one).payload) for one in payloads]
    np.testing.assert_allclose(weights, [[8, -4], [4, -2], [2, -1]], atol=0.01)


def test_an_error_of_the_function_ends_the_training_with_its_kind(tmp_path):
    async def play():
        with service_at(tmp_path, certificates()) as service:
            async with service.serving():
                for name in NAMES:
                    async with connected(service, certificates(), name) as connection:
                        await connection.next_letter(0, 0)  # by which it is seen to speak this wire version
                return [view async for view in train(service, "job", ASKED, lambda before: 1)]

    with pytest.raises(ParameterError, match=r"has ended the training: ParameterError: model:proposed returned a int"):
        asyncio.run(asyncio.wait_for(play(), 100))
