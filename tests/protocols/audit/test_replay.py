"""Replayed sessions: whatever is broken in the library shows, and so does another file than was shipped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from protocols.audit import report
from protocols.audit.outcome import Refuted, Status
from protocols.audit.replay import recorded_sessions, replay, shipped
from protocols.audit.replay.manifest import FILES
from protocols.audit.replay.recorded_randomness import OtherRandomness, Recorded
from protocols.audit.runner import chosen, run
from protocols.masking.client import client, steps
from tests.test_architecture import MODULES, imports
from tests.vectors.generate import AUDIT, MANIFEST, NAMES, VECTORS, manifest

# The files


def test_the_manifest_pins_what_is_shipped() -> None:
    assert MANIFEST.read_text() == manifest(), "python -m tests.vectors.generate"
    assert FILES.keys() == set(NAMES)
    assert all(cases > 0 for _, cases in FILES.values())


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder of vectors, which the audit takes for its own."""
    folder = tmp_path / "vectors"
    shutil.copytree(VECTORS, folder)
    monkeypatch.setattr(shipped, "folder", lambda: folder)
    return folder


def emptied(data: bytes) -> bytes:
    vector = json.loads(data)
    for name in ("cases", "rounds", "refused", "endings"):
        if name in vector:
            vector[name] = []
    return json.dumps(vector).encode()


CHANGES = {
    "a digit": lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
    "a line end": lambda data: data + b"\n",
    "no cases": emptied,
    "no bytes": lambda data: b"",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("name", "key"),
    [("shamir", "vectors/shamir"), ("protocol", "vectors/messages"), ("session-malicious", "replay/malicious")],
)
def test_another_file_fails_its_own_check_and_that_of_all_files(name: str, key: str, change: str, copies: Path) -> None:
    path = copies / f"{name}.json"
    path.write_bytes(CHANGES[change](path.read_bytes()))
    for outcome in run(chosen(["vectors/files", key]), seed=1, examples=1).outcomes:
        assert outcome.status is Status.FAILED
        assert f"{name}.json is not the file of this version" in outcome.reason


def test_a_missing_file_and_a_foreign_one_fail(copies: Path) -> None:
    (copies / "more.json").write_text("{}")
    (outcome,) = run(chosen(["vectors/files"]), seed=1, examples=1).outcomes
    assert "more.json lies among the vectors" in outcome.reason
    (copies / "more.json").unlink()
    (copies / "prg.json").unlink()
    (outcome,) = run(chosen(["vectors/files"]), seed=1, examples=1).outcomes
    assert "prg.json is missing" in outcome.reason
    assert outcome.status is Status.FAILED


def test_fewer_cases_than_the_manifest_has_fail_even_with_the_right_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("shamir", "session-private-curious"):
        digest, cases = FILES[name]
        monkeypatch.setitem(FILES, name, (digest, cases + 1))
    for outcome in run(chosen(["vectors/shamir", "replay/private-curious"]), seed=1, examples=1).outcomes:
        assert outcome.status is Status.FAILED
        assert str(outcome.reason).count("cases") + str(outcome.reason).count("were compared") == 1


def test_the_report_has_the_digests() -> None:
    facts = run(chosen(["vectors/files"]), seed=1).facts()
    (check,) = facts["checks"]
    assert {name: check["figures"][name] for name in FILES} == {name: digest for name, (digest, _) in FILES.items()}


def test_the_page_has_them_short() -> None:
    page = report.html(run(chosen(["vectors/files"]), seed=1))
    for digest, _ in FILES.values():
        assert f"{digest[:12]}…" in page
        assert digest not in page


# Holding against a record


def recorded(name: str) -> Any:
    return shipped.vectors(name)


def nudge(value: Any) -> Any:
    """The same value with its last digit changed."""
    if isinstance(value, int):
        return value + 1
    return value[:-1] + ("0" if value[-1] != "0" else "1")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("session-private-curious", ("derived", "threshold")),
        ("session-private-curious", ("derived", "session_id")),
        ("session-private-curious", ("rounds", 1, "to_clients", "8")),
        ("session-private-curious", ("rounds", 2, "to_server", "7")),
        ("session-private-curious", ("clients", "2", "noise_seeds", "model")),
        ("session-private-curious", ("output", "levels", "model", 3)),
        ("session-private-curious", ("refused", 3, "error")),
        ("session-private-curious", ("endings", 1, "error")),
        ("session-private-curious", ("proposals", 3, "policy", "privacy", "rounds")),
        ("session-private-curious", ("inputs", 1, "error")),
        ("session-private-curious", ("costs", 3, "rounds")),
        ("session-private-curious", ("goal", "rounds")),
        ("paillier-round", ("derived", "shares", 2)),
        ("paillier-round", ("rounds", 2, "answers", "3")),
        ("paillier-round", ("members", "3", "proof_nonce")),
        ("paillier-round", ("refused", 5, "error")),
        ("paillier-round", ("output", "total_weight")),
        ("ledger", ("heads", 0)),
        ("ledger", ("verified", "open_reservations")),
        ("ledger", ("refused", 30, "error")),
    ],
    ids=lambda part: part if isinstance(part, str) else "-".join(map(str, part)),
)
def test_a_record_that_is_off_by_a_digit_disagrees(name: str, place: tuple[Any, ...]) -> None:
    vector = recorded(name)
    part = vector
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = nudge(part[place[-1]])
    with pytest.raises(Refuted):
        replay.replay(name, vector, lambda done: None)


def test_whoever_ends_a_session_otherwise_is_named_by_phase() -> None:
    vector = recorded("session-curious-complete")
    ending = next(each for each in vector["endings"] if "phase" in each)
    ending["phase"] = "unmasking"
    vector["endings"], vector["refused"] = [ending], []
    with pytest.raises(Refuted, match="not in unmasking"):
        recorded_sessions.check(vector, lambda done: None)


# Recorded randomness


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_another_length_than_was_recorded_is_told(size: int) -> None:
    with pytest.raises(OtherRandomness, match=f"draws {size} bytes, where 32"):
        Recorded("07" * 32)(size)


def test_strings_are_handed_out_in_order_and_no_more_of_them() -> None:
    source = Recorded("01", "0203")
    assert [source(1), source(2)] == [b"\x01", b"\x02\x03"]
    with pytest.raises(OtherRandomness, match="more often"):
        source(1)


@pytest.mark.parametrize("step", ["advertise", "share"])
@pytest.mark.parametrize("after", [False, True])
def test_one_draw_more_shows_wherever_it_is_made(step: str, after: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(party: Any, state: Any, message: Any) -> Any:
        if not after:
            party.random(32)
        made = getattr(steps, step)(party, state, message)
        party.random(32)
        return made

    key = next(key for key, of in client._STEPS.items() if of is getattr(steps, step))
    monkeypatch.setitem(client._STEPS, key, greedy)
    with pytest.raises(Refuted, match=r"the library draws|has other bytes"):
        replay.replay("session-curious-sparse", recorded("session-curious-sparse"), lambda done: None)


MODULE = "protocols.audit.replay.recorded_randomness"


def test_nothing_but_the_audit_uses_recorded_randomness() -> None:
    users = {module for module in MODULES if MODULE in imports(module, only_at_import=False)}
    assert users
    assert all(module.startswith("protocols.audit.") for module in users)
    found = [*AUDIT.parents[1].glob("bench/**/*.py"), *AUDIT.parents[1].glob("examples/**/*.py")]
    scripts = [path for path in found if "site-packages" not in path.parts]  # peers' own environments
    assert len(scripts) > 10
    assert not [path for path in scripts if "recorded_randomness" in path.read_text()]
