"""Replayed sessions: whatever is broken in the library shows, and so does another file than was shipped."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from protocols.audit import report
from protocols.audit.outcome import Refuted, Status
from protocols.audit.replay import fixed_randomness, recorded_sessions, replay, shipped
from protocols.audit.replay.configurations import read_configuration
from protocols.audit.replay.fixed_randomness import AlreadyFixed, OtherRandomness
from protocols.audit.replay.manifest import FILES
from protocols.audit.runner import chosen, run
from protocols.masking.server import server as server_room
from secagg import aead, shamir
from secagg.key_agreement import KeyPair
from tests.test_architecture import MODULES, imports
from tests.vectors.generate import AUDIT, MANIFEST, NAMES, VECTORS, manifest

from .breaks import BREAKS

NONCE = "07" * 32


@pytest.mark.parametrize("broken", BREAKS)
def test_what_is_broken_shows(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key, breaks = BREAKS[broken]
    checks = chosen([key])
    breaks(monkeypatch)
    (outcome,) = run(checks, seed=3, examples=1).outcomes
    assert outcome.status is Status.FAILED
    # Found out by what it looks for, and not by stumbling.
    assert not outcome.reason.startswith("unexpected"), outcome.reason


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
        ("session-private-curious", ("proposals", 2, "policy", "privacy", "rounds")),
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


# Fixed randomness


def given() -> Any:
    return recorded("session-private-curious")["clients"]["1"]


def draw_two_keys_and_fail(one: Any) -> None:
    with fixed_randomness.for_client(one):
        assert KeyPair.generate().private_bytes.hex() == one["cipher_private_key"]
        assert KeyPair.generate().private_bytes.hex() == one["mask_private_key"]
        _ = 1 / 0


def test_randomness_is_fixed_for_the_time_of_a_context_and_put_back() -> None:
    seal, defaults = aead.seal, shamir.split.__kwdefaults__
    one = given()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            draw_two_keys_and_fail(one)
        assert aead.seal is seal
        assert shamir.split.__kwdefaults__ is defaults
        assert server_room.os is os
        assert KeyPair.generate().private_bytes != KeyPair.generate().private_bytes


def test_only_the_thread_that_fixes_randomness_meets_it() -> None:
    one = given()
    with ThreadPoolExecutor(1) as pool, fixed_randomness.for_client(one):
        elsewhere = {pool.submit(lambda: KeyPair.generate().private_bytes).result().hex() for _ in range(20)}
        assert len(elsewhere) == 20
        assert not elsewhere & {one["cipher_private_key"], one["mask_private_key"]}
        shares = pool.submit(shamir.split, b"x", threshold=2, indices=[1, 2]).result()
        sealed = {pool.submit(aead.seal, bytes(32), b"", associated_data=b"x").result() for _ in range(20)}
        assert len(shares) == 2
        assert len(sealed) == 20
        assert KeyPair.generate().private_bytes.hex() == one["cipher_private_key"]


def test_contexts_neither_nest_nor_overlap_and_a_refused_one_changes_nothing() -> None:
    with fixed_randomness.for_server(NONCE):
        inside = server_room.os
        with pytest.raises(AlreadyFixed), fixed_randomness.for_server(NONCE):
            raise NotImplementedError
        assert server_room.os is inside
        with ThreadPoolExecutor(1) as pool, pytest.raises(AlreadyFixed):
            pool.submit(fixed_randomness.for_server(NONCE).__enter__).result()
        assert server_room.os is inside
    assert server_room.os is os


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_another_length_than_was_recorded_is_told(size: int) -> None:
    other = pytest.raises(OtherRandomness, match=f"draws {size} bytes, where 32")
    with fixed_randomness.for_server(NONCE), other:
        server_room.os.urandom(size)


def test_more_draws_than_were_recorded_are_told() -> None:
    with fixed_randomness.for_server(NONCE):
        assert server_room.os.urandom(32).hex() == NONCE
        with pytest.raises(OtherRandomness, match="more often"):
            server_room.os.urandom(32)
    with fixed_randomness.for_client(given()), pytest.raises(OtherRandomness, match="draws 4 bytes, where"):
        shamir.split(b"x", threshold=2, indices=[1, 2])


def test_a_session_elsewhere_is_not_touched_by_a_replay() -> None:
    vector = recorded("session-private-curious")
    config = read_configuration(vector)
    assert recorded_sessions.Run(vector, config).server.session_id.hex() == vector["derived"]["session_id"]
    assert server_room.Server(config).session_id != server_room.Server(config).session_id


FIXING = {
    "protocols.audit.checks.known_answers",
    "protocols.audit.replay.private_operations",
    "protocols.audit.replay.recorded_paillier",
    "protocols.audit.replay.recorded_sessions",
    "protocols.audit.replay.replay",
}


@pytest.mark.parametrize("module", sorted(set(MODULES) - {fixed_randomness.__name__}))
def test_nobody_but_the_audit_s_replay_fixes_randomness(module: str) -> None:
    used = fixed_randomness.__name__ in imports(module, only_at_import=False)
    assert used == (module in FIXING)
    assert used or "fixed_randomness" not in MODULES[module].read_text()


def test_neither_benchmarks_nor_examples_fix_randomness() -> None:
    root = AUDIT.parent.parent
    scripts = [*root.glob("bench/*.py"), *root.glob("bench/peers/*.py"), *root.glob("examples/**/*.py")]
    assert len(scripts) > 10
    assert not [path for path in scripts if "fixed_randomness" in path.read_text()]
