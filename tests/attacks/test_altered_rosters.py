"""A roster that is altered on its way to one client, with a digest that fits, makes no wrong sum."""

import msgspec
import pytest

from protocols.audit.checks.sessions import CHECKS
from protocols.audit.outcome import Trials
from protocols.core.threat_model import Adversary
from protocols.masking.transitions import ClientPhase

from ..protocols.masking.harness import session_after, small_config


def flipped(key: bytes, bit: int) -> bytes:
    return (int.from_bytes(key) ^ 1 << bit).to_bytes(len(key))


@pytest.mark.parametrize("adversary", list(Adversary))
@pytest.mark.parametrize("field", ["cipher_public_key", "mask_public_key", "self_mask_commitment"])
@pytest.mark.parametrize("bit", [0, 77, 255])
def test_a_client_that_was_shown_another_key_of_a_neighbour_takes_no_part(adversary, field, bit):
    session = session_after(1, small_config(7, adversary, dropout=0.2))
    roster = session.message(3)
    entries = list(roster.entries)
    at = next(at for at, entry in enumerate(entries) if entry.sender != 3)
    entries[at] = msgspec.structs.replace(entries[at], **{field: flipped(getattr(entries[at], field), bit)})
    session.bend(3, msgspec.structs.replace(roster, entries=tuple(entries)))
    session.run()
    session.assert_exact()
    assert session.survivors == {1, 2, 4, 5, 6, 7}


def test_a_client_that_was_shown_another_graph_takes_no_part():
    session = session_after(1, small_config(9, Adversary.SEMI_MALICIOUS_SERVER, dropout=0.2))
    session.bend(3, session.message(3, everyone=bytes(32)))
    session.run()
    session.assert_exact()
    assert session.client(3).phase is ClientPhase.ABORTED or 3 not in session.survivors


@pytest.mark.long
@pytest.mark.parametrize("part", range(4))
def test_a_hundred_thousand_tampered_sessions_end_exactly_or_by_name(part):
    check = next(check for check in CHECKS if check.name == "tampering")
    found = check.run(Trials(seed=part, examples=25_000, samples=1, name="a hundred thousand"))
    assert sum(count for name, count in found.figures.items() if name != "sessions") == 25_000
