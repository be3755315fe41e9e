"""The vectors are what the library does today: they are regenerated identically."""

import pytest

from . import ledger, paillier, privacy, private, sessions
from .generate import VECTORS, rendered

WHOLE = [*sessions.SESSIONS, *private.SESSIONS, *paillier.FILES, *privacy.FILES, *ledger.FILES]


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_session_is_regenerated_identically(name):
    assert (VECTORS / f"{name}.json").read_text() == rendered()[name]()


def test_every_file_of_vectors_is_generated():
    by_its_own_test = {"protocol"}
    assert {path.stem for path in VECTORS.glob("*.json")} == rendered().keys() | by_its_own_test
