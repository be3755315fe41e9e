"""A server that tells different clients different stories, for every class of adversary.

It wants a client's input alone. For that it needs the client's self-mask seed, which shares of those who believe that
the client survived give, and for each pairwise mask in the input one of two mask keys: the client's own, or the peer's,
which shares of those who believe that this one dropped give. Corrupt clients sign anything and give all their shares.

A curious server does not do this by definition, and the reference's sparse parameters against it need not withstand
it; `Topology.resists_equivocation` says whether two stories about one client pass. Against the other classes a
consistency check stands before every share.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.core.threat_model import Adversary
from protocols.masking import derivations
from protocols.masking.messages import SHARE_BYTES, SurvivorList, UnmaskingRequest
from protocols.masking.transitions import ClientPhase
from secagg.errors import AuthenticationFailed, ContradictoryRequest, SecAggError, ThresholdError, UnexpectedMessage
from secagg.key_agreement import KeyPair
from secagg.signatures import Identity

from .harness import Session, session_after, small_config, spoilt

replace = msgspec.structs.replace
VICTIM = 1
CURIOUS, SEMI, MALICIOUS = Adversary

Story = tuple[frozenset[int], frozenset[int]]
"""Who shared keys, and who survived."""


class Attack:
    """A server that has played along until inputs were masked, and from there tells each client what it likes."""

    def __init__(self, config, *, corrupt: Collection[int] = (), num_delivered: int | None = None):
        self.session = session_after(1, config)
        self.corrupt = frozenset(corrupt)
        self.everyone = frozenset(range(1, config.num_clients + 1))
        self.graph = self.session.server.graph
        self.session.step()
        receipts = config.threat_model.adversary.needs_identities
        if receipts:
            self.session.step()
        if num_delivered is not None:  # the victim is to mask with few peers only, the corrupt first
            due = self.session.message(VICTIM)
            peers = due.peers if receipts else due.dealers
            chosen = sorted(sorted(peers, key=lambda i: (i not in self.corrupt, i))[:num_delivered])
            tables = {} if receipts else {name: getattr(due, name) for name in ("sealed", "commitments")}
            fewer: dict[str, Any] = {
                name: spoilt(table, due.dealers, self.everyone - {*chosen}, lambda record: b"")
                for name, table in tables.items()
            }
            fewer["peers" if receipts else "dealers"] = tuple(chosen)
            self.session.bend(VICTIM, self.session.message(VICTIM, **fewer))
        self.session.step()
        # What the corrupt have seen before anything is asked of anyone.
        self.known_to_corrupt = {i: self.session.state(i) for i in self.corrupt}

    def tell(self, story_of: Callable[[int], Story]) -> None:
        """Tell each honest client its story, collect what they sign, show everyone what fits, and collect shares."""
        signatures: dict[Story, dict[int, bytes]] = {}
        session = self.session
        honest = [i for i in self.everyone - self.corrupt if session.client(i).phase is ClientPhase.MASKED]
        if session.config.threat_model.adversary.may_equivocate:
            for i in honest:
                shared, survivors = story_of(i)
                message = SurvivorList(session.server.session_id, i, tuple(shared), tuple(survivors))
                with suppress(SecAggError):
                    signatures.setdefault(story_of(i), {})[i] = session.say(i, message).signature
            for (shared, survivors), signed in signatures.items():
                for i, state in self.known_to_corrupt.items():
                    statement = derivations.survivors_statement(
                        session.server.session_id, state.everyone, shared, survivors
                    )
                    signed[i] = Identity(state.confirmation_private_key).sign(statement)
        self.seed_shares: dict[int, set[int]] = {i: set() for i in self.everyone}
        self.key_shares: dict[int, set[int]] = {i: set() for i in self.everyone}
        self.answered = set()
        for i in honest:
            state = session.state(i)
            peers = set(getattr(state, "masked", state).peers) if not hasattr(state, "reason") else set()
            _, survivors = story_of(i)
            fitting = signatures.get(story_of(i), {})
            shown = {j: signature for j, signature in fitting.items() if j in peers & survivors}
            dropped = tuple(sorted(peers - survivors))
            request = UnmaskingRequest(session.server.session_id, i, len(survivors), dropped, shown)
            with suppress(SecAggError):
                response = session.say(i, request)
                self.answered.add(i)
                held = getattr(state, "masked", state)
                owners = {*held.shares, *([i] if held.own_share else [])}
                assert len(response.shares) == len(owners) * SHARE_BYTES
                for owner in owners:
                    (self.key_shares if owner in dropped else self.seed_shares)[owner].add(i)
        for i, state in self.known_to_corrupt.items():
            for owner in {*state.shares, i}:
                self.seed_shares[owner].add(i)
                self.key_shares[owner].add(i)

    def knows_seed(self, owner: int) -> bool:
        return owner in self.corrupt or len(self.seed_shares[owner]) >= self.session.config.topology.threshold

    def knows_key(self, owner: int) -> bool:
        return owner in self.corrupt or len(self.key_shares[owner]) >= self.session.config.topology.threshold

    def masks(self, owner: int) -> set[int]:
        """Whose pairwise masks are in a client's input."""
        return self.peers[owner]

    def exposed(self) -> set[int]:
        """Honest clients whose input the server can strip of every mask."""
        return {
            i
            for i in self.everyone - self.corrupt
            if self.knows_seed(i) and all(self.knows_key(i) or self.knows_key(peer) for peer in self.masks(i))
        }

    def start(self, story_of: Callable[[int], Story]) -> Attack:
        # Noted while the states still tell.
        self.peers = {i: set(self.session.state(i).peers) for i in self.everyone}
        self.tell(story_of)
        return self


def everybody(attack: Attack) -> Story:
    return attack.everyone, attack.everyone


CASES = {
    "sparse": small_config(24, SEMI, corrupt=0.05, dropout=0.2),
    "sparse, many dropouts": small_config(30, SEMI, corrupt=0.0, dropout=0.3),
    "complete": small_config(12, SEMI, corrupt=0.1, dropout=0.2, complete_graph=True),
    "malicious": small_config(10, MALICIOUS, corrupt=0.1, dropout=0.2),
}


def test_cases_are_what_they_are_called():
    assert not CASES["sparse"].topology.complete
    assert not CASES["sparse, many dropouts"].topology.complete
    assert CASES["complete"].topology.complete
    assert CASES["malicious"].topology.complete


@pytest.mark.parametrize("case", CASES)
def test_one_story_exposes_nobody(case):
    attack = Attack(CASES[case])
    attack.start(lambda i: everybody(attack))
    assert attack.answered == attack.everyone
    assert all(attack.knows_seed(i) for i in attack.everyone)
    assert not attack.exposed()


@pytest.mark.parametrize("case", CASES)
def test_isolating_a_victim_by_its_neighbours_exposes_nobody(case):
    """Everyone is told that the victim survived, and each of its neighbours is called dropped behind its back."""
    config = CASES[case]
    for corrupt in (set(), set(range(2, 2 + config.threat_model.max_corrupt))):
        for narrow in (False, True):
            attack = Attack(config)
            neighbours = sorted(attack.graph.neighbours(VICTIM))
            if narrow:  # the victim hears of as few peers as it accepts, the corrupt first
                least = config.topology.threshold - config.topology.complete
                attack = Attack(config, corrupt=corrupt, num_delivered=least)
                neighbours = sorted(attack.session.state(VICTIM).peers)

            def story(i, attack=attack, neighbours=tuple(neighbours)):
                shared = attack.everyone
                if i == VICTIM:
                    return everybody(attack)
                mine = attack.graph.neighbours(i) & set(neighbours)
                # as many of the victim's neighbours as this client may be told to have dropped
                room = len(attack.graph.neighbours(i)) - config.topology.threshold
                return shared, shared - set(sorted(mine - {i})[: max(room, 0)])

            attack.start(story)
            assert not attack.exposed()


@given(st.data())
@settings(max_examples=20)
def test_no_stories_that_are_told_expose_anybody(data):
    """Any few stories, told to anyone, with any peers delivered to the victim and any corrupt clients."""
    config = CASES[data.draw(st.sampled_from(sorted(CASES)))]
    n = config.threat_model.num_clients
    corrupt = data.draw(
        st.sets(st.integers(2, n), max_size=config.threat_model.max_corrupt).map(frozenset), label="corrupt"
    )
    delivered = None
    if data.draw(st.booleans(), label="narrow delivery"):
        delivered = config.topology.threshold - config.topology.complete + data.draw(st.integers(0, 3))
    attack = Attack(config, corrupt=corrupt, num_delivered=delivered)
    hidden = data.draw(st.sets(st.integers(1, n), max_size=2))
    stories = [
        (attack.everyone - shared_less, attack.everyone - shared_less - dropped)
        for shared_less, dropped in (
            (data.draw(st.sampled_from([frozenset(), frozenset(hidden)])), frozenset(dropped))
            for dropped in data.draw(
                st.lists(st.sets(st.integers(1, n), max_size=n // 3), min_size=1, max_size=3), label="dropped"
            )
        )
    ]
    told = data.draw(st.lists(st.integers(0, len(stories) - 1), min_size=n, max_size=n), label="told")
    attack.start(lambda i: stories[told[i - 1]])
    assert not attack.exposed()
    # Both secrets of an honest client are never known.
    assert not any(
        attack.knows_seed(i) and attack.knows_key(i) and i in attack.answered for i in attack.everyone - corrupt
    )


def test_the_search_finds_what_a_curious_sessions_parameters_allow():
    """The search can fail: without the consistency check, half of the neighbours' word for each story is enough."""
    config = small_config(40, CURIOUS, corrupt=0.0, dropout=0.33)
    assert not config.topology.resists_equivocation
    attack = Attack(config)
    neighbours = sorted(attack.graph.neighbours(VICTIM))
    half = set(neighbours[: config.topology.threshold])
    attack.start(lambda i: (attack.everyone, attack.everyone - ({VICTIM} if i in half else set())))
    assert attack.exposed() == {VICTIM}


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "sparse"])
def test_a_curious_sessions_parameters_withstand_two_stories_where_they_say_so(complete):
    config = (
        small_config(16, CURIOUS, corrupt=0.1, dropout=0.1, complete_graph=True)
        if complete
        else small_config(10, CURIOUS, corrupt=0.33, dropout=0.05)
    )
    assert config.topology.complete is complete
    corrupt = 0 if not config.topology.resists_equivocation else config.topology.max_corrupt_holders
    for told_dropped in range(0, config.topology.degree + 1, 3):
        attack = Attack(config)
        neighbours = sorted(attack.graph.neighbours(VICTIM))
        half = set(neighbours[:told_dropped])
        everyone = attack.everyone

        def story(i, everyone=everyone, half=half):
            return everyone, everyone - ({VICTIM} if i in half else set())

        attack.start(story)
        assert (
            len(attack.seed_shares[VICTIM]) + len(attack.key_shares[VICTIM]) + corrupt < 2 * config.topology.threshold
        )


@pytest.mark.parametrize("adversary", Adversary)
@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("n", [5, 12, 40, 100, 1000])
def test_only_parameters_against_a_curious_server_may_leave_room_for_two_stories(adversary, complete, n):
    topology = small_config(n, adversary, corrupt=0.05, dropout=0.1, complete_graph=complete).topology
    if adversary.may_equivocate:
        assert topology.resists_equivocation
    assert topology.resists_equivocation == (
        2 * topology.threshold > topology.num_holders + topology.max_corrupt_holders
    )


# --- Through the real server and one client at a time


def at_phase(adversary, phases: int) -> Session:
    phases += phases > 2 and adversary is MALICIOUS  # receipts come in between
    return session_after(phases, small_config(12, adversary, dropout=0.2, complete_graph=True))


@pytest.mark.parametrize("adversary", [SEMI, MALICIOUS])
def test_two_survivor_lists_in_one_session_leave_the_server_without_a_sum(adversary):
    session = at_phase(adversary, 3)
    for i in range(2, 7):
        bent = session.message(i)
        session.bend(i, replace(bent, survivors=bent.survivors[1:]))
    with pytest.raises(ThresholdError):
        session.run()
    # The server's own bookkeeping knows one story; the others' signatures are of something else.
    assert {type(refusal.error) for refusal in session.refusals if refusal.by_coordinator} == {AuthenticationFailed}


@pytest.mark.parametrize("adversary", [SEMI, MALICIOUS])
def test_a_second_survivor_list_gets_no_signature(adversary):
    session = at_phase(adversary, 3)
    survivor_list = session.message(2)
    session.say(2, survivor_list)
    with pytest.raises(UnexpectedMessage):
        session.say(2, replace(survivor_list, survivors=survivor_list.survivors[1:]))


@pytest.mark.parametrize("adversary", [SEMI, MALICIOUS])
def test_mixing_signatures_of_two_stories_is_refused_with_the_other_signers_named(adversary):
    session = at_phase(adversary, 3)
    confirmations = {}
    for i in range(1, 13):
        message = session.message(i)
        if i >= 6:
            message = replace(message, survivors=message.survivors[1:])
        confirmations[i] = session.say(i, message).signature
    request = UnmaskingRequest(session.server.session_id, 2, 12, (), confirmations)
    with pytest.raises(AuthenticationFailed) as caught:
        session.say(2, request)
    assert caught.value.culprits == {6}


@pytest.mark.parametrize("adversary", [SEMI, MALICIOUS])
def test_one_confirmation_fewer_than_the_threshold_is_too_few(adversary):
    for missing, error in ((0, None), (1, ThresholdError)):
        session = at_phase(adversary, 4)
        request = session.message(2)
        own = 1  # in the complete graph a client's own signature counts
        needed = session.config.topology.threshold - own
        shown = dict(list(request.confirmations.items())[: needed - missing])
        if error is None:
            session.say(2, replace(request, confirmations=shown))
            continue
        with pytest.raises(error):
            session.say(2, replace(request, confirmations=shown))


def test_another_key_for_a_client_is_refused_where_identities_are_known():
    session = at_phase(MALICIOUS, 1)
    forged = KeyPair.generate().public_bytes
    for i in range(2, 8):
        roster = session.message(i)
        entries = tuple(
            replace(entry, mask_public_key=forged) if entry.sender == VICTIM else entry for entry in roster.entries
        )
        with pytest.raises(AuthenticationFailed) as caught:
            session.say(i, replace(roster, entries=entries))
        assert caught.value.culprits == {VICTIM}


@pytest.mark.parametrize("renamed", [False, True], ids=["as-it-was", "with-the-new-session"])
def test_a_replayed_signed_key_of_another_session_is_refused(renamed):
    old, new = at_phase(MALICIOUS, 1), at_phase(MALICIOUS, 1)
    stale = next(entry for entry in old.message(2).entries if entry.sender == VICTIM)
    if renamed:
        stale = replace(stale, session_id=new.server.session_id)
    entries = tuple(stale if entry.sender == VICTIM else entry for entry in new.message(2).entries)
    with pytest.raises(AuthenticationFailed if renamed else ContradictoryRequest):
        new.say(2, new.message(2, entries=entries))


@pytest.mark.parametrize("adversary", Adversary)
def test_the_victim_is_never_made_to_help(adversary):
    """Whatever the class of adversary, a client that is told that it dropped itself refuses."""
    session = at_phase(adversary, 3)
    message = session.message(VICTIM)
    if adversary is CURIOUS:
        message = replace(message, dropped=(VICTIM,), num_survivors=11)
    else:
        message = replace(message, survivors=message.survivors[1:])
    with pytest.raises(ContradictoryRequest):
        session.say(VICTIM, message)
    assert session.client(VICTIM).phase is ClientPhase.ABORTED
