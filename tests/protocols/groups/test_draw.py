import itertools
from collections import Counter

import msgspec
import pytest
from msgspec.structs import replace

from protocols import Participants, Receipt
from protocols.groups import (
    DrawPhase,
    GroupClient,
    GroupPlan,
    GroupServer,
    PastDraws,
    Rule,
    ServerDrawPhase,
    Terms,
    deal,
)
from protocols.groups.drawing import coin_of, nonce_statement
from protocols.simulation.grouped import draw_locally
from secagg.derivation import Label, digest
from secagg.errors import (
    AuthenticationFailed,
    ContradictoryRequest,
    MalformedMessage,
    ParameterError,
    StateError,
    ThresholdError,
    UnexpectedMessage,
)
from secagg.signatures import Identity

from .draws import COUNT, IDENTITIES, NAMES, PLAN, TERMS, VICTIM, clients, encode, exchange, opened


def until(phase: ServerDrawPhase):
    """A server in this phase, and its clients."""
    server, everyone = GroupServer(TERMS), clients()
    while server.phase is not phase:
        exchange(server, everyone)
    return server, everyone


def refused(client, data, error, says):
    """The client refuses, and is out of the draw: not even the true message finds it again."""
    with pytest.raises(error, match=says):
        client.respond(data)
    assert client.phase is DrawPhase.ABORTED
    with pytest.raises((UnexpectedMessage, StateError)):
        client.respond(data)


def test_everyone_has_the_groups_that_the_server_has():
    server, everyone = GroupServer(TERMS), clients()
    groups = draw_locally(server, everyone)
    assert server.phase is ServerDrawPhase.COMPLETED
    assert [len(members) for members in groups.members] == [3, 3, 3]
    assert sorted(name for members in groups.members for name in members) == list(NAMES)
    assert all(client.groups == groups and client.ended for client in everyone.values())
    assert VICTIM in groups.members[groups.of(VICTIM)]
    assert groups.members[0].keys[groups.members[0].names[0]] in TERMS.participants.keys.values()
    with pytest.raises(ParameterError, match="in none of the 3 groups"):
        groups.of("somebody")


def test_the_coin_is_a_digest_of_all_that_was_said():
    server, everyone = until(ServerDrawPhase.NONCES)
    shown = opened(server.outgoing()[VICTIM])
    exchange(server, everyone)
    nonces = opened(server.outgoing()[VICTIM]).nonces
    of_all = digest(Label.GROUPS_COMMITMENTS, shown.run, TERMS.digest, b"".join(shown.commitments))
    assert server.result.coin == digest(Label.GROUPS_COIN, of_all, b"".join(nonces))
    table = b"".join(
        number.to_bytes(4, "big") + IDENTITIES[name].public_bytes for number, name in enumerate(NAMES, start=1)
    )
    assert TERMS.digest == digest(Label.GROUPS_TERMS, PLAN.written(), table)
    for number, (nonce, commitment) in enumerate(zip(nonces, shown.commitments, strict=True), start=1):
        own = digest(Label.GROUPS_COMMITMENT, shown.run, TERMS.digest, number.to_bytes(4, "big"), nonce)
        assert commitment == own


def test_a_deal_is_uniform():
    """Chi-squared with 5 degrees of freedom: wrong less than once in 10**6 if the right law; coins are fixed here."""
    plan = GroupPlan(4, 0, 0, honest_minimum=2, rule=Rule.SUM, groups=2, dropout_fraction=0)
    people = Participants.numbered(4)
    seen = Counter(deal(plan, people, number.to_bytes(32, "big")).members[0].names for number in range(6000))
    assert set(seen) == set(itertools.combinations(people.names, 2))
    assert sum((count - 1000) ** 2 / 1000 for count in seen.values()) < 35


def test_every_nonce_moves_the_coin():
    nonces = [bytes([number]) * 32 for number in range(COUNT)]
    coins = {coin_of(b"c", nonces)}
    for place in range(COUNT):
        other = [*nonces[:place], bytes(32 - 1) + b"\xff", *nonces[place + 1 :]]
        coins.add(coin_of(b"c", other))
    assert len(coins) == COUNT + 1


# A server that wants a victim among its own.


def test_a_server_that_names_other_participants_is_refused():
    strangers = {name: Identity(bytes([100 + place]) * 32).public_bytes for place, name in enumerate(NAMES)}
    sybils = Participants(strangers | {VICTIM: IDENTITIES[VICTIM].public_bytes})
    server = GroupServer(Terms(PLAN, sybils))
    refused(clients()[VICTIM], server.outgoing()[VICTIM], ContradictoryRequest, "with other participants")


def test_a_server_with_another_plan_is_refused():
    fewer = GroupPlan(COUNT, 0.0, 0.0, honest_minimum=2, rule=Rule.SUM, groups=3, dropout_fraction=0.0)
    server = GroupServer(Terms(fewer, TERMS.participants))
    refused(clients()[VICTIM], server.outgoing()[VICTIM], ContradictoryRequest, "by another plan")


def test_a_commitment_of_the_servers_own_in_a_clients_name_is_refused():
    server, everyone = until(ServerDrawPhase.NONCES)
    shown = opened(server.outgoing()[VICTIM])
    forged = replace(shown, commitments=(*shown.commitments[:-1], bytes(32)))
    refused(everyone[VICTIM], encode(forged), AuthenticationFailed, f"'{NAMES[-1]}' is not signed by it")


def test_another_commitment_as_the_victims_own_is_refused():
    server, everyone = until(ServerDrawPhase.NONCES)
    shown = opened(server.outgoing()[VICTIM])
    forged = replace(shown, commitments=(bytes(32), *shown.commitments[1:]))
    refused(everyone[VICTIM], encode(forged), ContradictoryRequest, "another commitment as this client's own")


def test_a_commitment_of_another_draw_is_refused():
    server, everyone = until(ServerDrawPhase.NONCES)
    earlier, _ = until(ServerDrawPhase.NONCES)
    old = opened(earlier.outgoing()[VICTIM])
    shown = opened(server.outgoing()[VICTIM])
    mixed = replace(
        shown,
        commitments=(*shown.commitments[:-1], old.commitments[-1]),
        signatures=(*shown.signatures[:-1], old.signatures[-1]),
    )
    refused(everyone[VICTIM], encode(mixed), AuthenticationFailed, "is not signed by it, in this draw")


def late(server, everyone):
    """A corrupt client of the server's commits anew when all nonces are known: to one that has the victim its way."""
    shown = opened(server.outgoing()[VICTIM])
    answers = {name: opened(client.respond(server.outgoing()[name])) for name, client in everyone.items()}
    corrupt, number = IDENTITIES[NAMES[-1]], COUNT
    nonce = b"what suits the server".ljust(32)
    commitment = TERMS.commitment(shown.run, number, nonce)
    signed = corrupt.sign(TERMS.commitment_statement(shown.run, number, commitment))
    relisted = replace(
        shown,
        commitments=(*shown.commitments[:-1], commitment),
        signatures=(*shown.signatures[:-1], signed),
    )
    of_all = TERMS.commitments(shown.run, relisted.commitments)
    in_order = [answers[name] for name in NAMES]
    nonces = (*(answer.nonce for answer in in_order[:-1]), nonce)
    last = corrupt.sign(nonce_statement(of_all, number, nonce))
    return relisted, nonces, (*(answer.signature for answer in in_order[:-1]), last)


def test_a_late_commitment_is_refused_by_who_saw_the_earlier_one():
    from protocols.groups.messages import Nonces

    server, everyone = until(ServerDrawPhase.NONCES)
    relisted, nonces, signatures = late(server, everyone)
    said = encode(Nonces(relisted.run, nonces, signatures))
    refused(everyone[VICTIM], said, AuthenticationFailed, f"'{NAMES[-1]}' is not what was committed to")
    # Nor is it shown anew: a client answers a list of commitments once.
    with pytest.raises(UnexpectedMessage):
        everyone[NAMES[1]].respond(encode(relisted))


def test_a_list_for_the_victim_alone_is_refused_by_the_others_signatures():
    from protocols.groups.messages import Nonces

    server, everyone = until(ServerDrawPhase.NONCES)
    others = {name: client for name, client in everyone.items() if name != VICTIM}
    victim, everyone = everyone[VICTIM], others | {VICTIM: clients()[VICTIM]}
    shown = opened(server.outgoing()[VICTIM])
    honest = {name: opened(client.respond(server.outgoing()[name])) for name, client in others.items()}
    nonce = b"what suits the server".ljust(32)
    corrupt = IDENTITIES[NAMES[-1]]
    commitment = TERMS.commitment(shown.run, COUNT, nonce)
    signed = corrupt.sign(TERMS.commitment_statement(shown.run, COUNT, commitment))
    other = replace(
        shown, commitments=(*shown.commitments[:-1], commitment), signatures=(*shown.signatures[:-1], signed)
    )
    own = opened(victim.respond(encode(other)))  # all is signed: it cannot know yet
    of_all = TERMS.commitments(shown.run, other.commitments)
    nonces = (own.nonce, *(honest[name].nonce for name in NAMES[1:-1]), nonce)
    last = corrupt.sign(nonce_statement(of_all, COUNT, nonce))
    signatures = (own.signature, *(honest[name].signature for name in NAMES[1:-1]), last)
    said = encode(Nonces(shown.run, nonces, signatures))
    refused(victim, said, AuthenticationFailed, f"'{NAMES[1]}' is not signed by it.* after these commitments")


@pytest.mark.parametrize(
    ("place", "error", "says"),
    [
        (0, ContradictoryRequest, "another nonce as this client's own"),
        (1, AuthenticationFailed, f"'{NAMES[1]}' is not what was committed to"),
    ],
)
def test_an_altered_nonce_is_refused(place, error, says):
    server, everyone = until(ServerDrawPhase.SETTLEMENT)
    shown = opened(server.outgoing()[VICTIM])
    nonces = (*shown.nonces[:place], bytes(32), *shown.nonces[place + 1 :])
    refused(everyone[VICTIM], encode(replace(shown, nonces=nonces)), error, says)


# Redraws, and nonces that are held back.


def test_no_second_draw_over_the_same_data_whatever_the_run():
    past = {name: PastDraws() for name in NAMES}
    groups = draw_locally(GroupServer(TERMS), clients(past=past))
    assert all(past[name].coin("d") == groups.coin for name in NAMES)
    with pytest.raises(ContradictoryRequest, match="again over 'd', which is in a group already"):
        clients(past=past)
    other = draw_locally(GroupServer(TERMS), clients(past=past, data="another"))
    assert other.coin != groups.coin


def test_no_second_draw_in_the_same_run():
    past = {name: PastDraws() for name in NAMES}
    run = bytes(range(32))
    draw_locally(GroupServer(TERMS, random=lambda count: run), clients(past=past))
    again = GroupServer(TERMS, random=lambda count: run)
    client = clients(past=past, data="other data")[VICTIM]
    refused(client, again.outgoing()[VICTIM], ContradictoryRequest, "again in a run that had its draw")


def test_two_draws_side_by_side_settle_once():
    past = {name: PastDraws() for name in NAMES}
    first, second = clients(past=past), clients(past=past)
    one, other = GroupServer(TERMS), GroupServer(TERMS)
    for _ in range(2):
        exchange(one, first)
        exchange(other, second)
    exchange(one, first)
    refused(second[VICTIM], other.outgoing()[VICTIM], ContradictoryRequest, "settle groups over 'd'")


def test_only_a_draw_that_was_counted_over_these_data_settles():
    past, run, coin = PastDraws(), bytes(range(32)), bytes(32)
    for data in ("d", "other data"):
        with pytest.raises(ContradictoryRequest, match="by a draw that was not counted"):
            past.settle(run, data, coin)
        if data == "d":
            past.show(run, data)
    past.settle(run, "d", coin)
    assert (past.coin("d"), past.coin("other data")) == (coin, None)


def test_who_holds_a_nonce_back_ends_the_draw_and_has_four_tries_in_all():
    past = {name: PastDraws() for name in NAMES}
    for _ in range(4):
        server, everyone = GroupServer(TERMS), clients(past=past)
        exchange(server, everyone)
        assert server.shown
        with pytest.raises(ThresholdError, match=f"1 of 9 .* in nonces, '{NAMES[-1]}': leave") as caught:
            exchange(server, everyone, but=(NAMES[-1],))
        assert (caught.value.needed, caught.value.have, caught.value.missing) == (9, 8, {NAMES[-1]})
        assert server.phase is ServerDrawPhase.ABORTED
        with pytest.raises(StateError, match="no groups"):
            _ = server.result
    with pytest.raises(ContradictoryRequest, match="4 draws over 'd' were broken off"):
        clients(past=past)
    assert GroupClient(TERMS, IDENTITIES[NAMES[-1]], past[NAMES[-1]], "d").phase is DrawPhase.NEW  # it showed nothing


def test_who_does_not_commit_costs_no_try():
    past = {name: PastDraws() for name in NAMES}
    for _ in range(9):
        server, everyone = GroupServer(TERMS), clients(past=past)
        with pytest.raises(ThresholdError, match=r"in commitments, ('[^']*', ){5}\.\.\.: leave them out") as caught:
            exchange(server, everyone, but=NAMES[:6])
        assert caught.value.missing == set(NAMES[:6])
        assert not server.shown
    draw_locally(GroupServer(TERMS), clients(past=past))


def test_who_is_asked_again_answers_in_the_same_bytes_and_spends_no_try():
    """A network that loses every answer once, in a client's memory of one try; the client is restored in between."""
    past = {name: PastDraws(max_draws=1) for name in NAMES}
    server, everyone = GroupServer(TERMS), clients(past=past)
    while not server.ended:
        for name, data in server.outgoing().items():
            lost = everyone[name].respond(data)
            assert everyone[name].respond(data) == lost
            dumped = everyone[name].dump()
            everyone[name] = GroupClient.load(TERMS, IDENTITIES[name], past[name], dumped)
            assert everyone[name].respond(data) == lost
            assert everyone[name].dump() == dumped
            server.receive(name, lost)
        server.close_phase()
    assert all(client.groups == server.result for client in everyone.values())


def test_who_has_refused_repeats_nothing():
    server, everyone = until(ServerDrawPhase.NONCES)
    invitation = GroupServer(TERMS, random=lambda count: opened(server.outgoing()[VICTIM]).run).outgoing()[VICTIM]
    client = everyone[VICTIM]
    assert opened(client.respond(invitation)).run
    shown = opened(server.outgoing()[VICTIM])
    refused(
        client, encode(replace(shown, commitments=(bytes(32), *shown.commitments[1:]))), ContradictoryRequest, "own"
    )
    with pytest.raises(UnexpectedMessage):
        client.respond(invitation)


def test_the_memory_outlives_the_process():
    past = {name: PastDraws() for name in NAMES}
    groups = draw_locally(GroupServer(TERMS), clients(past=past))
    loaded = PastDraws.load(past[VICTIM].dump())
    assert loaded.coin("d") == groups.coin
    assert loaded.coin("e") is None
    with pytest.raises(ContradictoryRequest):
        loaded.check("d")
    broken = PastDraws()
    broken.show(bytes(32), "d")
    strict = PastDraws.load(broken.dump(), max_draws=1)
    with pytest.raises(ContradictoryRequest, match="1 draws over 'd'"):
        strict.check("d")
    with pytest.raises(StateError, match="damaged"):
        PastDraws.load(broken.dump()[:-1] + b"\x00")


# Bytes from peers.


def test_messages_at_another_time_change_nothing():
    server, everyone = GroupServer(TERMS), clients()
    client = everyone[VICTIM]
    invitation = server.outgoing()[VICTIM]
    exchange(server, everyone)
    commitments = server.outgoing()[VICTIM]
    another = encode(replace(opened(invitation), terms=bytes(32)))
    with pytest.raises(UnexpectedMessage, match="is committed and expects no Invitation"):
        client.respond(another)
    with pytest.raises(UnexpectedMessage, match="of another draw"):
        client.respond(encode(replace(opened(commitments), run=bytes(32))))
    with pytest.raises(UnexpectedMessage, match="is new and expects no Commitments"):
        clients()[VICTIM].respond(commitments)
    for cut in ({"commitments": ()}, {"signatures": ()}):
        with pytest.raises(MalformedMessage, match="for 9 participants"):
            client.respond(encode(replace(opened(commitments), **cut)))
    with pytest.raises(MalformedMessage):
        client.respond(commitments[:-1])
    with pytest.raises(MalformedMessage, match="longer than"):
        client.respond(commitments + bytes(1 << 20))
    exchange(server, everyone)
    exchange(server, everyone)
    assert client.groups == server.result


def test_what_a_server_does_not_take():
    server, everyone = GroupServer(TERMS), clients()
    invitation = server.outgoing()[VICTIM]
    answer = everyone[VICTIM].respond(invitation)
    for sender, data, error in [
        ("somebody", answer, UnexpectedMessage),
        (NAMES[1], answer, UnexpectedMessage),
        (VICTIM, encode(replace(opened(answer), run=bytes(32))), UnexpectedMessage),
        (VICTIM, invitation, MalformedMessage),
    ]:
        with pytest.raises(error) as caught:
            server.receive(sender, data)
        assert caught.value.culprits == {sender}
    assert server.excluded.keys() == {VICTIM}  # for the last one alone
    server = GroupServer(TERMS)
    everyone = clients()
    answers = {name: client.respond(server.outgoing()[name]) for name, client in everyone.items()}
    assert server.receive(VICTIM, answers[VICTIM]) is Receipt.ACCEPTED
    assert server.receive(VICTIM, answers[VICTIM]) is Receipt.DUPLICATE
    assert server.awaited == set(NAMES[1:])
    with pytest.raises(UnexpectedMessage, match="second message that differs"):
        server.receive(VICTIM, encode(replace(opened(answers[VICTIM]), commitment=bytes(32))))
    with pytest.raises(AuthenticationFailed, match="not signed by it"):
        server.receive(NAMES[1], encode(replace(opened(answers[NAMES[1]]), commitment=bytes(32))))
    assert list(server.excluded) == [NAMES[1]]
    with pytest.raises(UnexpectedMessage, match="were refused before"):
        server.receive(NAMES[1], answers[NAMES[1]])


def test_a_server_takes_the_nonce_that_was_committed_to_and_no_other():
    server, everyone = until(ServerDrawPhase.NONCES)
    answers = {name: everyone[name].respond(server.outgoing()[name]) for name in NAMES}
    forged = replace(opened(answers[VICTIM]), nonce=bytes(32))
    with pytest.raises(AuthenticationFailed, match="not what was committed to"):
        server.receive(VICTIM, encode(forged))
    unsigned = replace(opened(answers[NAMES[1]]), signature=bytes(64))
    with pytest.raises(AuthenticationFailed, match="not signed"):
        server.receive(NAMES[1], encode(unsigned))
    with pytest.raises(ThresholdError):
        server.close_phase()
    with pytest.raises(StateError, match="the draw is aborted"):
        server.close_phase()
    assert server.outgoing() == {}
    assert server.awaited == frozenset()
    assert server.receive(NAMES[2], answers[NAMES[2]]) is Receipt.LATE


def test_a_client_that_settled_by_another_coin_is_named():
    server, everyone = until(ServerDrawPhase.SETTLEMENT)
    answer = opened(everyone[VICTIM].respond(server.outgoing()[VICTIM]))
    with pytest.raises(MalformedMessage, match="another coin"):
        server.receive(VICTIM, encode(replace(answer, coin=bytes(32))))
    server.close_phase()  # who has not settled is not waited for
    assert server.phase is ServerDrawPhase.COMPLETED
    assert server.result.members


def test_a_draw_needs_identities_and_the_right_number():
    with pytest.raises(ParameterError, match="know each other's identities"):
        Terms(PLAN, Participants.numbered(COUNT))
    with pytest.raises(ParameterError, match="for 9 clients, but there are 8"):
        Terms(PLAN, Participants(dict(list(TERMS.participants.keys.items())[:8])))
    with pytest.raises(ParameterError, match="none of the participants has"):
        GroupClient(TERMS, Identity(bytes([77]) * 32), PastDraws(), "d")
    with pytest.raises(StateError, match="not settled"):
        _ = clients()[VICTIM].groups
    with pytest.raises(StateError, match="copied"):
        __import__("copy").copy(clients()[VICTIM])


def test_messages_hide_nonces_in_their_repr():
    server, everyone = until(ServerDrawPhase.NONCES)
    answer = opened(everyone[VICTIM].respond(server.outgoing()[VICTIM]))
    assert repr(answer) == "Nonce(...)"
    assert msgspec.to_builtins(answer)


@pytest.mark.parametrize("again", range(4))
def test_a_draw_goes_on_from_its_dumps(again):
    """Everyone is restored before each phase; what was said before is sent again as it was."""
    server, everyone, past = GroupServer(TERMS), clients(), {name: PastDraws() for name in NAMES}
    everyone = clients(past=past)
    for _ in range(again):
        exchange(server, everyone)
    sent, answers = dict(server.outgoing()), {name: client.answer for name, client in everyone.items()}
    server = GroupServer.load(TERMS, server.dump())
    past = {name: PastDraws.load(memory.dump()) for name, memory in past.items()}
    everyone = {
        name: GroupClient.load(TERMS, IDENTITIES[name], past[name], client.dump()) for name, client in everyone.items()
    }
    assert dict(server.outgoing()) == sent
    assert {name: client.answer for name, client in everyone.items()} == answers
    assert all(answers.values()) == bool(again)
    groups = draw_locally(server, everyone) if not server.ended else server.result
    assert server.phase is ServerDrawPhase.COMPLETED
    assert all(client.groups == groups for client in everyone.values())


def test_a_server_that_was_restored_in_mid_phase_knows_who_has_spoken():
    server, everyone = GroupServer(TERMS), clients()
    said = {name: everyone[name].respond(data) for name, data in server.outgoing().items()}
    server.receive(NAMES[0], said[NAMES[0]])
    with pytest.raises(MalformedMessage):
        server.receive(NAMES[1], b"nothing")
    restored = GroupServer.load(TERMS, server.dump())
    assert restored.receive(NAMES[0], said[NAMES[0]]) is Receipt.DUPLICATE
    assert restored.awaited == set(NAMES[2:])
    assert restored.excluded == server.excluded


def test_an_older_dump_of_a_client_shows_no_nonce_twice():
    server, past = GroupServer(TERMS), PastDraws()
    everyone = clients(past={VICTIM: past})
    exchange(server, everyone)
    dumped = everyone[VICTIM].dump()
    asked = server.outgoing()[VICTIM]
    everyone[VICTIM].respond(asked)
    older = GroupClient.load(TERMS, IDENTITIES[VICTIM], PastDraws.load(past.dump()), dumped)
    refused(older, asked, ContradictoryRequest, "a run that had its draw")


def test_dumps_of_others_are_refused():
    server, everyone = GroupServer(TERMS), clients()
    exchange(server, everyone)
    others = Terms(PLAN, Participants({**TERMS.participants.keys, VICTIM: bytes(31) + b"\1"}))
    with pytest.raises(StateError, match="another plan, or of other participants"):
        GroupServer.load(others, server.dump())
    with pytest.raises(StateError, match="of another client"):
        GroupClient.load(TERMS, IDENTITIES[NAMES[1]], PastDraws(), everyone[VICTIM].dump())
    with pytest.raises(StateError):
        GroupServer.load(TERMS, everyone[VICTIM].dump())
    assert bytes(everyone[VICTIM]._nonce).hex() not in repr(everyone[VICTIM])


def test_data_without_a_name_are_refused_before_anything_is_remembered():
    past = PastDraws()
    for name in (7, None, b"rows", ""):
        with pytest.raises(ParameterError, match="must be by text"):
            past.check(name)
    assert PastDraws.load(past.dump())
