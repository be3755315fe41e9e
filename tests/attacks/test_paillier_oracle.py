"""A corrupt contributor and the aggregator want to read an honest update of an earlier session under the same key.

What they hold is the victim's ciphertexts. Raised to a power that moves its slots up to where nobody else's are, they
pass for an update of the thief's own in a later session, and the sum tells what is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from protocols.paillier.key_use import KeyUse
from protocols.paillier.member import CommitteeMember
from protocols.paillier.messages import CommitmentList, Contribution, OpenRequest
from protocols.paillier.parameters import RoundParameters
from protocols.paillier.state import EncryptedUpdate, Phase
from secagg.encoding import Floats, Levels
from secagg.errors import AuthenticationFailed, ParameterError, StateError
from secagg.paillier import Accumulator, EncryptedVector, combine, encrypt_and_prove, rerandomise
from secagg.paillier.integers import join, split
from tests.protocols.paillier.harness import Session, identity, make_parameters
from tests.secagg.paillier.fixed_keys import dealt, noise

LENGTH = 5
"""Slots that an update fills: fewer than half of those in a ciphertext."""

VICTIM, THIEF = 1, 5
LATER = bytes(31) + b"\1"


def updates(seed: int) -> dict[int, Floats]:
    rng = np.random.default_rng(seed)
    return {i: rng.uniform(-1.0, 1.0, LENGTH) for i in range(1, 6)}


def parameters(**changes: object) -> RoundParameters:
    return make_parameters(length=LENGTH, min_contributors=3, **changes)  # type: ignore[arg-type]


def shown_by_the_victim(given: RoundParameters, memory: Path | None = None) -> tuple[Contribution, Levels]:
    """What everyone on the way sees of the victim in a first session, and what is in it."""
    session = Session(given, memory=memory)
    values = updates(1)
    for i in values:
        session.aggregator.receive(i, session.contributors[i].commit(values[i], noise()))
    contribution = session.contributors[VICTIM].reveal(session.endorse(session.aggregator.close_round()))
    return contribution, given.codec.quantise(values[VICTIM])[0]


def moved_up(given: RoundParameters, stolen: EncryptedVector) -> EncryptedVector:
    """The stolen ciphertexts with their slots in the upper half, under fresh noise."""
    key = given.key.public_key
    power = 1 << _half(given)
    powers = [pow(c, power, key.n_squared) for c in split(stolen.data, key.ciphertext_bytes)]
    return rerandomise(replace(stolen, data=join(powers, key.ciphertext_bytes)), noise())


def _half(given: RoundParameters) -> int:
    return given.lanes.lane_bits * (given.lanes.per_plaintext // 2)


def with_the_thief(
    given: RoundParameters, update: EncryptedUpdate, memory: Path | None = None
) -> tuple[Session, Contribution]:
    """A later session up to where honest contributions are in; the thief's own is returned."""
    session = Session(given, memory=memory)
    for i, values in updates(2).items():
        contributor = session.contributors[i]
        if i == THIEF:
            session.aggregator.receive(i, contributor.commit_to(update))
        else:
            session.aggregator.receive(i, contributor.commit(values, noise()))
    request = session.endorse(session.aggregator.close_round())
    session.reveal(request, {1, 2, 3, 4})
    return session, session.contributors[THIEF].reveal(request)


def read_from_the_sum(session: Session, request: OpenRequest) -> Levels:
    """What the upper half of the slots of the opened sum holds, as signed numbers."""
    given = session.parameters
    partials = {i: member.open(request).partial(i) for i, member in session.members.items()}
    with Accumulator(given.key.public_key, given.lanes, max_addends=50) as total:
        total.add_batch({i: contribution.vector() for i, contribution in session.contributions.items()})
        product = total.product()
    opened = combine(given.key, product, given.lanes, partials, context=request.sum_digest)
    n, bits, half = given.key.public_key.n, given.lanes.lane_bits, _half(given)
    plaintext = opened.plaintexts[0]
    rest = (plaintext - n if plaintext > n // 2 else plaintext) + (1 << half - 1) >> half
    slots = []
    for _ in range(LENGTH):
        slots.append((rest + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1))
        rest = rest - slots[-1] >> bits
    return np.array(slots, dtype=np.int64)


Forge = Callable[[RoundParameters, Contribution, EncryptedVector], bytes]


def _of_ones_own(given: RoundParameters, stolen: Contribution, moved: EncryptedVector) -> bytes:
    """A proof that holds, for another vector of the thief's."""
    residues = given.codec.encode(np.zeros(LENGTH)).residues
    context = given.knowledge_context(THIEF)
    return encrypt_and_prove(residues, given.lanes, noise(), context=context)[1]


def _moved_too(given: RoundParameters, stolen: Contribution, moved: EncryptedVector) -> bytes:
    """The victim's answers, raised to the same power as its ciphertexts."""
    n, size, power = given.key.public_key.n, 32, 1 << _half(given)
    plaintext, root = split(stolen.proof[32:], size)
    return stolen.proof[:32] + join([plaintext * power % n, pow(root, power, n)], size)


FORGERIES: dict[str, Forge] = {
    "none": lambda given, stolen, moved: b"",
    "the victim's": lambda given, stolen, moved: stolen.proof,
    "the victim's, moved too": _moved_too,
    "of another vector": _of_ones_own,
    "zeros": lambda given, stolen, moved: bytes(96),
    "ones": lambda given, stolen, moved: join([0, 1, 1], 32),
}


@pytest.mark.parametrize("how", FORGERIES)
def test_an_update_of_an_earlier_session_cannot_be_contributed_again(how: str) -> None:
    stolen, _ = shown_by_the_victim(parameters())
    later = parameters(nonce=LATER)
    moved = moved_up(later, stolen.vector())
    session, forged = with_the_thief(later, EncryptedUpdate(moved, FORGERIES[how](later, stolen, moved)))
    for member in session.members.values():  # should the aggregator pass it on
        with pytest.raises(AuthenticationFailed, match="knows") as caught:
            member.receive(THIEF, forged)
        assert caught.value.culprits == {THIEF}
    with pytest.raises(AuthenticationFailed, match="knows"):
        session.aggregator.receive(THIEF, forged)
    assert session.aggregator.rejected["contributors"] == {THIEF}
    request = session.ask()
    assert request.contributors == [1, 2, 3, 4]
    result = session.open(request)
    assert (result.levels == sum(later.codec.quantise(updates(2)[i])[0] for i in (1, 2, 3, 4))).all()


def test_a_plain_copy_is_nobody_elses_and_no_other_sessions() -> None:
    stolen, _ = shown_by_the_victim(parameters())
    copied = EncryptedUpdate(stolen.vector(), stolen.proof)
    for nonce in (LATER, bytes(32)):
        session, forged = with_the_thief(parameters(nonce=nonce), copied)
        with pytest.raises(AuthenticationFailed, match="knows"):
            session.members[2].receive(THIEF, forged)
    # the victim itself could not either: its proof is of one session
    session = Session(parameters(nonce=LATER))
    session.aggregator.receive(VICTIM, session.contributors[VICTIM].commit_to(copied))
    for i in (2, 3, 4):
        session.aggregator.receive(i, session.contributors[i].commit(updates(2)[i], noise()))
    request = session.endorse(session.aggregator.close_round())
    with pytest.raises(AuthenticationFailed, match="knows"):
        session.members[2].receive(VICTIM, session.contributors[VICTIM].reveal(request))


def test_without_proofs_the_attack_reads_the_update_unless_members_remember_the_key(tmp_path: Path) -> None:
    given = parameters(one_session_without_proofs=True)
    later = parameters(one_session_without_proofs=True, nonce=LATER)
    kept, lost = tmp_path / "kept", tmp_path / "lost"
    kept.mkdir()
    lost.mkdir()
    stolen, expected = shown_by_the_victim(given, kept)
    forged = EncryptedUpdate(moved_up(later, stolen.vector()), b"")
    with pytest.raises(StateError, match="another session") as caught:
        with_the_thief(later, forged, kept)
    assert "deal a new key" in str(caught.value)
    # members that have lost their memory let it happen: the attack is real, to the last digit
    session, contribution = with_the_thief(later, forged, lost)
    session.deliver(THIEF, contribution)
    assert (read_from_the_sum(session, session.ask()) == expected).all()


def test_without_proofs_a_member_needs_a_memory_that_lasts(tmp_path: Path) -> None:
    given = parameters(one_session_without_proofs=True)
    share = replace(dealt(4, 5)[1][0], key=given.key)
    with pytest.raises(ParameterError, match="key_use"):
        CommitteeMember(given, share, identity(1001))
    memory = KeyUse(tmp_path / "1.json")
    digest = given.key.digest()
    memory.claim(digest, 1, given.session)
    memory.claim(digest, 1, given.session)  # after a crash, for the same session
    for key, member, session in ((digest, 1, bytes(32)), (bytes(32), 1, given.session), (digest, 2, given.session)):
        with pytest.raises(StateError):
            KeyUse(memory.path).claim(key, member, session)
    said = memory.path.read_text()
    for damaged in ("", "{}", "[]", "nonsense", said[:-9], "[" * 100_000):
        memory.path.write_text(damaged)
        with pytest.raises(StateError):
            memory.claim(digest, 1, given.session)
    with pytest.raises(StateError):
        KeyUse(tmp_path / "no folder" / "1.json").claim(digest, 1, given.session)
    member = CommitteeMember(given, share, identity(1001), key_use=KeyUse(tmp_path / "other.json"))
    assert not (tmp_path / "other.json").exists()  # nothing is used up before the endorsement
    restored = CommitteeMember.load(
        member.dump(), given, share, identity(1001), key_use=KeyUse(tmp_path / "other.json")
    )
    listed = CommitmentList(given.session, {i: bytes(32) for i in (1, 2, 3)})
    KeyUse(tmp_path / "other.json").claim(digest, 1, bytes(32))
    with pytest.raises(StateError, match="another session"):
        restored.endorse(listed)
    assert restored.phase is Phase.ABORTED


def test_a_key_for_many_sessions_does_without_proofs_in_none(tmp_path: Path) -> None:
    """Else a session without proofs would open what was seen in one with them."""
    given = parameters()
    bent = replace(given, key=replace(given.key, one_session_without_proofs=True), nonce=LATER)
    with pytest.raises(ParameterError, match="key share"):
        CommitteeMember(bent, dealt(4, 5)[1][0], identity(1001), key_use=KeyUse(tmp_path / "1.json"))
    for look_alike in ("no", 0, 1, None, np.False_):
        with pytest.raises(ParameterError, match="one_session_without_proofs"):
            replace(given.key, one_session_without_proofs=look_alike)  # type: ignore[arg-type]


def test_without_proofs_none_is_taken(tmp_path: Path) -> None:
    given = parameters(one_session_without_proofs=True)
    session = Session(given, memory=tmp_path)
    for i, values in updates(1).items():
        session.aggregator.receive(i, session.contributors[i].commit(values, noise()))
    request = session.endorse(session.aggregator.close_round())
    shown = session.contributors[1].reveal(request)
    assert shown.proof == b""
    with pytest.raises(AuthenticationFailed, match="committed"):  # the commitment is to an empty one
        session.members[1].receive(1, msgspec.structs.replace(shown, proof=bytes(96)))
