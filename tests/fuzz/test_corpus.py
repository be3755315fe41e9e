"""The fuzzer's committed corpus is replayed: whatever it once found stays found."""

import sqlite3
from contextlib import suppress

import pytest

from dp.errors import LedgerError
from dp.ledger import Ledger

from . import ledger_targets, targets
from .__main__ import CORPUS, MAX_CORPUS_BYTES

INPUTS = sorted(CORPUS.glob("*/*"))
FLOWER = "flower_"
"""What the targets begin with whose corpus is replayed where Flower's tests run."""
NAMES = [name for name in targets.TARGETS if not name.startswith(FLOWER)]


def test_every_target_has_a_corpus_and_it_is_small():
    assert {path.parent.name for path in INPUTS if not path.parent.name.startswith(FLOWER)} == set(NAMES)
    assert sum(path.stat().st_size for path in INPUTS) <= MAX_CORPUS_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_every_input_of_the_corpus_is_a_value_or_a_named_error(name):
    inputs = [path for path in INPUTS if path.parent.name == name]
    assert inputs
    for path in inputs:
        targets.run(name, path.read_bytes())


def test_a_decoder_that_raises_anything_else_is_noticed(monkeypatch):
    def broken(data):
        return data[0]

    monkeypatch.setitem(targets.TARGETS, "broken", broken)
    with pytest.raises(IndexError):
        targets.run("broken", b"")


def test_an_error_that_brings_a_terminal_out_of_order_is_noticed(monkeypatch):
    def broken(data):
        raise targets.SecAggError(data.decode())

    monkeypatch.setitem(targets.TARGETS, "broken", broken)
    targets.run("broken", b"a field that is not known")
    for text in (b"a field \x1b[31m that is not known", b"x" * 3000):
        with pytest.raises(ValueError, match="not fit to be shown"):
            targets.run("broken", text)


REACHED = ["message_body", "client_answer", "server_receive", "paillier_message", "client_dump", "ledger_payload"]
REACHED += [
    "paillier_dump",
    "key_use",
    "identity_file",
    "roster_file",
    "dealt_key",
    "key_share",
    "participants_file",
    "plan_file",
    "command_options",
    "ledger_url",
    "ledger_head",
    "session_terms",
    "request_form",
    "request_signature",
    "service_answer",
    "invitation",
    "sessions_file",
    "values_file",
    "paillier_parameters",
    "statistics_query",
    "statistics_toml",
    "statistics_journal",
    "statistics_csv",
    "draw_client",
    "draw_server",
    "draw_memory",
    "operator_dump",
    "operator_answer",
    "draw_dump",
]


@pytest.mark.parametrize("name", REACHED)
def test_the_seeds_reach_beyond_the_door(name):
    """Some input of each is accepted, so that the fuzzer starts from what the decoder takes."""
    accepted = 0
    for path in sorted((CORPUS / name).iterdir()):
        try:
            targets.TARGETS[name](path.read_bytes())
        except (targets.SecAggError, targets.DpError):
            continue
        accepted += 1
    assert accepted


def test_the_audit_finds_most_edits_of_a_trail_and_none_in_what_was_not_edited():
    verdicts = []
    for data in (b"", *(path.read_bytes() for path in INPUTS if path.parent.name == "ledger_trail")):
        store = ledger_targets._Memory(ledger_targets.trail())
        if data:
            with suppress(sqlite3.Error):
                ledger_targets._tamper(store.connection, data)
        try:
            Ledger(store).verify()
            verdicts.append(True)
        except LedgerError:
            verdicts.append(False)
        store.close()
    assert verdicts[0]
    assert verdicts.count(False) > len(verdicts) / 2
