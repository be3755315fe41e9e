"""The fuzzer's corpus for Flower's adapter, replayed; the rest of it is in tests/fuzz."""

import io
import zipfile

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord

from protocols.flower.content import Model
from secagg.errors import EncodingError, SecAggError
from tests.fuzz import flower_group_targets, flower_query_targets, flower_session, flower_targets, targets
from tests.fuzz.__main__ import CORPUS

MODULES = (flower_targets, flower_query_targets, flower_group_targets)
NAMES = [target.__name__ for module in MODULES for target in module.TARGETS]


def inputs(name):
    found = sorted((CORPUS / name).iterdir())
    assert found
    return [path.read_bytes() for path in found]


def test_every_target_has_a_corpus():
    assert {path.name for path in CORPUS.glob("flower_*")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_input_of_the_corpus_is_a_value_or_a_named_error(name):
    for data in inputs(name):
        targets.run(name, data)


@pytest.mark.parametrize("name", ["flower_announcement", "flower_arrays", "flower_envelope"])
def test_the_seeds_reach_beyond_the_door(name):
    accepted = 0
    for data in inputs(name):
        try:
            targets.TARGETS[name](data)
        except SecAggError:
            continue
        accepted += 1
    assert accepted


@pytest.mark.parametrize("exchange", range(flower_session.EXCHANGES))
def test_the_recorded_node_and_server_answer_what_the_corpus_holds(exchange, monkeypatch):
    """The session is the same in every run, so that the corpus is of it."""
    asked = flower_session.to_bytes(flower_session.session().asked[exchange])
    answered = flower_session.to_bytes(flower_session.session().answered[exchange])
    assert bytes([exchange, 3]) + asked in inputs("flower_node")
    assert bytes([exchange, 1]) + answered in inputs("flower_replies")
    replies = []
    monkeypatch.setattr(flower_targets, "_check_answer", replies.append)
    targets.run("flower_node", bytes([exchange, 3]) + asked)
    announced = flower_session.fields_of(flower_session.session().asked[1])["announcement"]
    targets.run("flower_node", bytes([1, 1]) + announced)
    assert [reply.error.reason for reply in replies if reply.has_error()] == []
    assert len(replies) == 2


def test_the_seeds_of_queries_reach_beyond_the_door(monkeypatch):
    """The query is answered and the invitation accepted; a site's file and table are read."""
    replies, read = [], []
    honest = flower_query_targets.read_site
    monkeypatch.setattr(flower_query_targets, "_check_answer", replies.append)
    monkeypatch.setattr(flower_query_targets, "read_site", lambda path: read.append(honest(path)) or read[-1])
    for name in ("flower_query", "flower_site_file"):
        for data in inputs(name):
            targets.run(name, data)
    assert sum(not reply.has_error() for reply in replies) >= 4
    assert len(read) >= 2


@pytest.mark.parametrize("exchange", range(flower_group_targets.EXCHANGES))
def test_the_seeds_of_draws_are_answered(exchange, monkeypatch):
    """The draw is the same in every run, so that the corpus is of it."""
    asked = flower_session.to_bytes(flower_group_targets.recorded().asked[exchange])
    assert bytes([exchange, 2]) + asked in inputs("flower_draw")
    replies = []
    monkeypatch.setattr(flower_group_targets, "_check_answer", replies.append)
    targets.run("flower_draw", bytes([exchange, 2]) + asked)
    assert not replies[0].has_error()


def zipped(name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"x")
    return file.getvalue()


def header(text):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


HOSTILE_ARRAYS = {
    "half a zip file": b"PK\x03\x04" + bytes(40),
    "a zip file": zipped("a.npy"),
    "half a header": header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,"),
    "more than there is memory": header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,)}"),
    "more than can be counted": header(
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999999,)}"
    ),
    "deep": header(b"(" * 9000),
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE_ARRAYS)
def test_arrays_that_numpy_cannot_read_are_refused_by_name(name):
    array = Array("float32", (2,), "numpy.ndarray", HOSTILE_ARRAYS[name])
    with pytest.raises(EncodingError, match="array 'a'"):
        Model.of(ArrayRecord({"a": array}))
    good = Array(np.ones(2, dtype=np.float32))
    assert Model.of(ArrayRecord({"a": good})).length("floats") == 2
