"""A server that tells different clients different stories, for every class of adversary.

The prize is both secrets of one victim: its self-mask seed, from those who believe that it survived, and its mask key,
from those who believe that it dropped. With both, its input would be laid open.

A curious server does not do this by definition, and the reference's sparse parameters against it need not withstand
it; `Topology.resists_equivocation` says whether they do all the same. Against the other classes they always do.
"""

import itertools

import msgspec
import pytest

from protocols import unmasking
from protocols.messages import UnmaskingRequest
from protocols.parameters import Adversary
from protocols.transitions import ClientPhase
from secagg.errors import AuthenticationFailed, ContradictoryRequest, SecAggError, ThresholdError, UnexpectedMessage

from .harness import Session, random_inputs, small_config

replace = msgspec.structs.replace
VICTIM = 1


def ready_to_unmask(config) -> Session:
    session = Session(config, random_inputs(config))
    for _ in range(3):
        session.run_phase()
    return session


def request(session: Session, client_id: int, dropped: tuple[int, ...]) -> UnmaskingRequest:
    n = session.config.threat_model.num_clients
    return UnmaskingRequest(session.server.session_id, client_id, n - len(dropped), dropped, {})


def equivocate(session: Session, told_dropped: set[int]) -> tuple[int, int]:
    """Tell some neighbours that the victim dropped and the others that it survived: how many shares of each come?"""
    responses = []
    for client_id in session.clients:
        if client_id == VICTIM:
            continue
        knows_victim = VICTIM in session.clients[client_id]._state.peers
        dropped = (VICTIM,) if client_id in told_dropped and knows_victim else ()
        try:
            responses.append(session.clients[client_id].unmask(request(session, client_id, dropped)))
        except SecAggError:
            continue
    # The victim itself, told the truth, adds its own share where it holds one.
    responses.append(session.clients[VICTIM].unmask(request(session, VICTIM, ())))
    seeds, keys = unmasking.collect_shares(responses)
    return len(seeds.get(VICTIM, {})), len(keys.get(VICTIM, {}))


CASES = {
    "curious-complete": small_config(40, Adversary.CURIOUS_SERVER, corrupt=0.1, dropout=0.1, complete_graph=True),
    "curious-sparse": small_config(40, Adversary.CURIOUS_SERVER, corrupt=0.33, dropout=0.05),
    "semi-malicious-complete": small_config(
        40, Adversary.SEMI_MALICIOUS_SERVER, corrupt=0.1, dropout=0.1, complete_graph=True
    ),
    "semi-malicious-sparse": small_config(40, Adversary.SEMI_MALICIOUS_SERVER, corrupt=0.1, dropout=0.1),
}


@pytest.mark.parametrize("case", CASES)
def test_no_split_of_the_neighbours_yields_both_secrets(case):
    config = CASES[case]
    topology = config.topology
    assert topology.complete is ("complete" in case)
    # The sparse parameters against a curious server promise this only where no client helps the server.
    corrupt = 0 if case == "curious-sparse" else topology.max_corrupt_holders
    assert topology.resists_equivocation or case == "curious-sparse"
    for number in range(0, topology.degree + 1, 4):
        session = ready_to_unmask(config)
        neighbours = sorted(session.clients[VICTIM]._state.peers)
        seed_shares, key_shares = equivocate(session, set(neighbours[:number]))
        assert seed_shares + key_shares <= topology.num_holders
        # Corrupt holders give both kinds: not even together do they make the threshold twice.
        assert seed_shares + key_shares + corrupt < 2 * topology.threshold


@pytest.mark.parametrize("adversary", Adversary)
@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("n", [5, 12, 40, 100, 1000])
def test_only_parameters_against_a_curious_server_may_leave_room_for_two_stories(adversary, complete, n):
    topology = small_config(n, adversary, corrupt=0.05, dropout=0.1, complete_graph=complete).topology
    if adversary is not Adversary.CURIOUS_SERVER:
        assert topology.resists_equivocation
    assert topology.resists_equivocation == (
        2 * topology.threshold > topology.num_holders + topology.max_corrupt_holders
    )


def test_equivocation_in_one_session_leaves_the_server_without_a_sum():
    """The same attack through the real server: its two stories leave some secret short of shares."""
    config = small_config(12, Adversary.SEMI_MALICIOUS_SERVER, dropout=0.2, complete_graph=True)

    session = ready_to_unmask(config)
    half = set(range(2, 7))
    session.outgoing = {i: request(session, i, (VICTIM,) if i in half else ()) for i in session.clients}
    with pytest.raises(ThresholdError):
        session.run_phase()
    # Responses that speak of the victim as dropped are not what the server's own bookkeeping allows either.
    assert {kind for where, _, error in session.errors for kind in [type(error).__name__]} == {"MalformedMessage"}


def test_a_second_story_gets_no_answer():
    for adversary in (Adversary.CURIOUS_SERVER, Adversary.SEMI_MALICIOUS_SERVER):
        session = ready_to_unmask(small_config(12, adversary, dropout=0.2, complete_graph=True))
        session.clients[2].unmask(request(session, 2, ()))
        with pytest.raises(UnexpectedMessage):
            session.clients[2].unmask(request(session, 2, (VICTIM,)))


def test_a_second_survivor_list_gets_no_signature():
    session = ready_to_unmask(small_config(12, Adversary.MALICIOUS_SERVER, dropout=0.2))
    survivor_list = session.outgoing[2]
    session.clients[2].confirm_survivors(survivor_list)
    with pytest.raises(UnexpectedMessage):
        session.clients[2].confirm_survivors(replace(survivor_list, survivors=survivor_list.survivors[1:]))


def test_a_malicious_server_with_two_survivor_lists_finds_too_few_signatures_for_either():
    config = small_config(12, Adversary.MALICIOUS_SERVER, dropout=0.2)
    everyone = tuple(range(1, 13))
    without_victim = everyone[1:]
    for split in range(2, 13):
        session = ready_to_unmask(config)
        signatures = {everyone: {}, without_victim: {}}
        for i in session.clients:
            story = without_victim if i != VICTIM and i < split else everyone
            confirmation = session.clients[i].confirm_survivors(replace(session.outgoing[i], survivors=story))
            signatures[story][i] = confirmation.signature
        unmasked = {story: _unmask_with(session, story, confirmations) for story, confirmations in signatures.items()}
        assert not (unmasked[everyone] and unmasked[without_victim])


def _unmask_with(session: Session, story: tuple[int, ...], confirmations: dict[int, bytes]) -> bool:
    """Whether any client that signed this story gives its shares when shown these confirmations."""
    dropped = tuple(sorted(set(session.clients) - set(story)))
    answered = []
    for i in confirmations:
        message = UnmaskingRequest(session.server.session_id, i, len(story), dropped, confirmations)
        try:
            answered.append(session.clients[i].unmask(message))
        except ThresholdError:
            assert session.clients[i].phase is ClientPhase.ABORTED
    return bool(answered)


def test_mixing_signatures_of_two_stories_is_refused_with_the_other_signers_named():
    session = ready_to_unmask(small_config(12, Adversary.MALICIOUS_SERVER, dropout=0.2))
    everyone = tuple(range(1, 13))
    confirmations = {}
    for i in session.clients:
        story = everyone if i < 6 else everyone[1:]
        if i == 1:
            story = everyone
        confirmation = session.clients[i].confirm_survivors(replace(session.outgoing[i], survivors=story))
        confirmations[i] = confirmation.signature
    message = UnmaskingRequest(session.server.session_id, 2, 12, (), confirmations)
    with pytest.raises(AuthenticationFailed) as caught:
        session.clients[2].unmask(message)
    assert caught.value.culprits == {6}


def test_two_rosters_are_noticed_before_anything_is_unmasked():
    """A malicious server shows half of the clients another key for the victim: signed by nobody, it is refused."""
    config = small_config(12, Adversary.MALICIOUS_SERVER, dropout=0.2)
    session = Session(config, random_inputs(config))
    session.run_phase()
    from secagg.key_agreement import KeyPair

    forged = KeyPair.generate().public_bytes
    for i in range(2, 8):
        roster = session.outgoing[i]
        entries = tuple(
            replace(entry, mask_public_key=forged) if entry.sender == VICTIM else entry for entry in roster.entries
        )
        with pytest.raises(AuthenticationFailed) as caught:
            session.clients[i].share_keys(replace(roster, entries=entries))
        assert caught.value.culprits == {VICTIM}


@pytest.mark.parametrize("renamed", [False, True], ids=["as-it-was", "with-the-new-session"])
def test_a_replayed_signed_key_of_another_session_is_refused(renamed):
    config = small_config(12, Adversary.MALICIOUS_SERVER, dropout=0.2)
    old, new = Session(config, random_inputs(config)), Session(config, random_inputs(config))
    old.run_phase()
    new.run_phase()
    stale = next(entry for entry in old.outgoing[2].entries if entry.sender == VICTIM)
    if renamed:
        stale = replace(stale, session_id=new.server.session_id)
    entries = tuple(stale if entry.sender == VICTIM else entry for entry in new.outgoing[2].entries)
    with pytest.raises(AuthenticationFailed if renamed else ContradictoryRequest):
        new.clients[2].share_keys(replace(new.outgoing[2], entries=entries))


def test_the_victim_is_never_asked_to_help():
    """Whatever the class of adversary, a client that is told that it dropped itself refuses."""
    for adversary, others in itertools.product((Adversary.CURIOUS_SERVER, Adversary.SEMI_MALICIOUS_SERVER), ((), (2,))):
        session = ready_to_unmask(small_config(12, adversary, dropout=0.2, complete_graph=True))
        with pytest.raises(ContradictoryRequest):
            session.clients[VICTIM].unmask(request(session, VICTIM, (VICTIM, *others)))
