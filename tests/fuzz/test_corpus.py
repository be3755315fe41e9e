"""The fuzzer's committed corpus is replayed: whatever it once found stays found."""

import pytest

from . import targets
from .__main__ import CORPUS, MAX_CORPUS_BYTES

INPUTS = sorted(CORPUS.glob("*/*"))


def test_every_target_has_a_corpus_and_it_is_small():
    assert {path.parent.name for path in INPUTS} == set(targets.TARGETS)
    assert sum(path.stat().st_size for path in INPUTS) <= MAX_CORPUS_BYTES


@pytest.mark.parametrize("name", targets.TARGETS)
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


@pytest.mark.parametrize("name", ["message_body", "client_answer", "server_receive", "paillier_message", "client_dump"])
def test_the_seeds_reach_beyond_the_door(name):
    """Some input of each is accepted, so that the fuzzer starts from what the decoder takes."""
    accepted = 0
    for path in sorted((CORPUS / name).iterdir()):
        try:
            targets.TARGETS[name](path.read_bytes())
        except targets.SecAggError:
            continue
        accepted += 1
    assert accepted
