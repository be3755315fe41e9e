"""Senders who are too large, too slow, too many, too fast, or send no HTTP: refused unread, while others are served."""

import asyncio
import contextlib
import json
import re
from functools import partial

import httpx
import pytest

from protocols.service.handshakes import Handshakes
from protocols.service.limits import Bodies, Limiter, Limits, Rate, Refusal, Refused, _Body, peer_of
from secagg.errors import ParameterError

from .places import certificates, connected, raw_member, service_at, signed_fields

SESSION = "/v1/sessions/" + "ab" * 16


def played(play, tmp_path, *, pace=0.05, **limits):
    """Run a test's coroutine against a service; an honest member is served all the while."""

    async def run():
        with service_at(tmp_path, certificates(), limits=Limits(**limits)) as service:
            async with service.serving(), connected(service, certificates(), "honest") as honest:
                playing = asyncio.create_task(play(service))
                served = 0
                while not playing.done():
                    assert await honest.next_letter(0, 0) is None
                    served += 1
                    await asyncio.wait({playing}, timeout=pace)
                assert served
                assert await honest.next_letter(0, 0) is None
                return await playing, dict(service.refused.counts)

    return asyncio.run(run())


async def dial(service):
    host, _, port = service.url.removeprefix("https://").rpartition(":")
    return await asyncio.open_connection(host, int(port), ssl=certificates().context, server_hostname=host)


async def said(reader):
    """What a service answers before it hangs up: status and kind."""
    async with asyncio.timeout(30):
        answer = (await reader.read()).removeprefix(b"Not Found")
    found = re.match(rb"HTTP/1.1 (\d+)", answer)
    kind = json.loads(answer.partition(b"\r\n\r\n")[2])["error"] if b"application/json" in answer else ""
    return int(found[1]) if found else 0, kind


async def shown(service, data, more=None):
    """Send bytes, then perhaps more of them one at a time; return the answer."""
    reader, writer = await dial(service)
    writer.write(data)
    dripping = None
    if more is not None:

        async def drip():
            while True:
                await asyncio.sleep(0.05)
                writer.write(more)

        dripping = asyncio.create_task(drip())
    try:
        return await said(reader)
    finally:
        if dripping is not None:
            dripping.cancel()
        writer.close()


HEAD = b"POST /v1/members HTTP/1.1\r\nHost: x\r\n"


def test_a_head_that_comes_in_one_piece_is_no_longer_than_others(tmp_path):
    async def play(service):
        return [
            await shown(service, HEAD + b"Connection: close\r\n" + more + b"\r\n")
            for more in (b"X-A: " + b"a" * 2000 + b"\r\n", b"X-A: b\r\n" * 400, b"")
        ]

    found, _ = played(play, tmp_path, max_header_bytes=1500)
    assert found == [(400, "bad-request"), (400, "bad-request"), (421, "misdirected")]


def test_slow_heads_are_cut_off_however_they_drip(tmp_path):
    async def play(service):
        return await asyncio.gather(
            shown(service, b""),
            shown(service, b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "),
            shown(service, b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n"),
        )

    found, counts = played(play, tmp_path, header_seconds=0.4)
    assert found == [(408, "too-slow")] * 3
    assert counts == {"too-slow": 3}


def test_a_second_head_is_cut_off_too(tmp_path):
    async def play(service):
        reader, writer = await dial(service)
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(30):
            first = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"GET /nothing HTT")
        return first[:12], await said(reader)

    found, _ = played(play, tmp_path, header_seconds=0.4)
    assert found == (b"HTTP/1.1 404", (408, "too-slow"))


def letter_head(mallory, length):
    """The head of a member's request whose body is to have so many bytes."""
    target = f"{SESSION}/letters"
    fields = signed_fields(mallory.identity, "POST", target, b"x" * length, authority=mallory.authority)
    lines = [
        f"POST {target} HTTP/1.1",
        f"Content-Length: {length}",
        *(f"{name}: {text}" for name, text in fields.items()),
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def test_slow_bodies_are_cut_off_whoever_sends_them(tmp_path):
    async def play(service):
        async with raw_member(service, certificates(), "mallory") as mallory:
            return await asyncio.gather(
                shown(service, letter_head(mallory, 999)),
                shown(service, letter_head(mallory, 999), b"x"),
                shown(service, HEAD + b"Content-Length: 999\r\n\r\n", b"x"),  # refused before it is read
            )

    found, counts = played(play, tmp_path, body_seconds=0.3)
    assert found == [(408, "too-slow"), (408, "too-slow"), (421, "misdirected")]
    assert counts == {"too-slow": 2, "misdirected": 1}


def test_what_is_too_large_is_refused_unread(tmp_path):
    async def play(service):
        long_head = b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 70_000
        return await asyncio.gather(
            shown(service, HEAD + b"Content-Length: 100001\r\n\r\n" + b"x" * 100_001),
            shown(service, HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"),
            shown(service, HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"),
            shown(service, HEAD + b"Content-Length: 99999999999999999999\r\n\r\n"),
            shown(service, long_head),
        )

    found, _ = played(play, tmp_path, max_body_bytes=100_000)
    assert found == [(413, "too-large"), (413, "too-large"), (413, "too-large"), (400, "bad-request"), (400, "")]


GARBAGE = [b"\0" * 100, b"\xff\xfe" * 10_000, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n", b"A" * 40_000]


def test_garbage_is_refused_and_counted(tmp_path):
    async def play(service):
        return await asyncio.gather(*(shown(service, data) for data in GARBAGE))

    found, counts = played(play, tmp_path, header_seconds=2)
    assert found == [(400, "")] * len(GARBAGE)
    assert counts == {"bad-request": len(GARBAGE)}


def test_garbage_instead_of_a_handshake_hurts_nobody(tmp_path):
    async def play(service):
        host, _, port = service.url.removeprefix("https://").rpartition(":")
        for data in GARBAGE:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(data)
            writer.close()

    played(play, tmp_path)


def test_too_many_connections_are_turned_away(tmp_path):
    async def play(service):
        opened = [await dial(service) for _ in range(12)]
        answers = await asyncio.gather(*(said(reader) for reader, _ in opened[-4:]))
        for _, writer in opened:
            writer.close()
        return answers

    found, counts = played(play, tmp_path, connections_a_peer=9, header_seconds=30)  # the honest member has one
    assert found == [(503, "too-many")] * 4
    assert counts == {"too-many": 4}


def test_half_open_handshakes_are_counted_and_more_are_closed_at_once(tmp_path):
    """Whoever begins handshakes and leaves them holds as many as it may hold connections, and keeps out nobody else."""

    async def play(service):
        host, _, port = service.url.removeprefix("https://").rpartition(":")
        begun = [await asyncio.open_connection(host, int(port)) for _ in range(20)]
        reading = [asyncio.create_task(reader.read()) for reader, _ in begun]
        held = set(reading)
        while len(held) > 9:
            done, held = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                assert task.exception() is not None or task.result() == b""
        with pytest.raises(OSError):  # noqa: PT011 - whichever of a connection's ends it is
            await dial(service)
        for _, writer in begun:
            writer.close()
        left = len(held)
        await asyncio.wait(held)
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await dial(service)
                    writer.close()
                    break
        return left

    left, counts = played(play, tmp_path, connections_a_peer=9)
    assert left == 9
    assert counts["too-many"] >= 20 - 9 + 1


def test_handshakes_are_counted_of_an_address_of_a_network_and_in_all():
    turned_away = []
    handshakes = Handshakes(Limits(connections=4, connections_a_peer=2), turned_away.append)
    begun = [("10.0.0.1", 1), ("10.0.0.1", 2), ("2001:db8::1", 1, 0, 0), ("2001:db8::2", 1, 0, 0)]
    assert all(handshakes.begun(address) for address in begun[:3])
    assert not handshakes.begun(("10.0.0.1", 3))
    assert handshakes.begun(begun[3])
    handshakes.done(begun[0])
    handshakes.done(begun[0])
    assert not handshakes.begun(("2001:db8::3", 1, 0, 0))  # of one network
    assert handshakes.begun(("10.0.0.1", 4))
    assert not handshakes.begun(("10.0.0.2", 1))  # in all
    assert turned_away == ["too-many"] * 3
    for address in (*begun, ("10.0.0.1", 4)):
        handshakes.done(address)
    assert handshakes.begun(("10.0.0.2", 1))


def test_handshakes_that_come_too_fast_are_closed_before_a_byte_is_read(tmp_path):
    """Whoever makes connections without end is served no more of them than its rate, and keeps out nobody else."""

    async def play(service):
        made = 0
        for _ in range(20):
            with contextlib.suppress(OSError):
                _, writer = await dial(service)
                writer.close()
                made += 1
        return made

    made, counts = played(play, tmp_path, handshakes_a_second=0.001, burst_handshakes=8)
    assert made == 7  # the honest member has made one, and keeps it
    assert counts["too-fast"] >= 13


def test_the_rate_of_handshakes_is_of_each_address_or_network_and_comes_back():
    turned_away, now = [], [0.0]
    handshakes = Handshakes(Limits(handshakes_a_second=2.0, burst_handshakes=3), turned_away.append, lambda: now[0])

    def begun(address, port):
        fine = handshakes.begun((address, port))
        handshakes.done((address, port))
        return fine

    assert [begun("192.0.2.1", port) for port in range(5)] == [True] * 3 + [False] * 2
    assert [begun(f"2001:db8::{port}", port) for port in range(4)] == [True] * 3 + [False]
    assert turned_away == ["too-fast"] * 3
    now[0] = 0.5
    assert [begun("192.0.2.1", port) for port in range(2)] == [True, False]


def test_too_many_bytes_at_once_are_told_to_wait(tmp_path):
    async def play(service):
        async with raw_member(service, certificates(), "mallory") as mallory:
            _, writer = await dial(service)
            writer.write(letter_head(mallory, 90_000) + b"x" * 89_000)
            while (await mallory.send("POST", f"{SESSION}/letters", b"x" * 20_000)).status_code == 404:
                await asyncio.sleep(0.01)  # the first was not read yet
            answer = await mallory.send("POST", f"{SESSION}/letters", b"x" * 20_000)
            small = await mallory.send("POST", f"{SESSION}/letters", b"x" * 1_000)
            writer.close()
            return answer.status_code, answer.json()["error"], answer.headers["retry-after"], small.status_code

    found, _ = played(play, tmp_path, max_bodies_bytes=100_000)
    assert found == (503, "too-many", "1", 404)


def test_a_body_beyond_what_is_taken_at_once_is_taken_alone(tmp_path):
    """Though members poll, whose requests have no bodies; it could not be sent at all otherwise."""

    async def play(service):
        async with (
            raw_member(service, certificates(), "mallory") as mallory,
            raw_member(service, certificates(), "other") as other,
        ):
            polling = asyncio.create_task(other.send("GET", "/v1/letters?after=0&wait=30"))
            while "other" not in service.requests.polls:
                await asyncio.sleep(0.01)
            answer = await mallory.send("POST", f"{SESSION}/letters", b"x" * 20_000)
            polling.cancel()
            return answer.status_code

    found, _ = played(play, tmp_path, max_bodies_bytes=1000)
    assert found == 404


def test_what_strangers_state_keeps_no_member_waiting(tmp_path):
    """Eight lengths that nobody has signed once shut every answer out."""

    async def play(service):
        async with raw_member(service, certificates(), "mallory") as mallory:
            writers = []
            for path in ("/sign-in", f"{SESSION}/letters"):
                for _ in range(4):
                    _, writer = await dial(service)
                    host = service.url.partition("//")[2]
                    writer.write(f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 90000\r\n\r\nx".encode())
                    writers.append(writer)
            await asyncio.sleep(0.1)
            answer = await mallory.send("POST", f"{SESSION}/letters", b"x" * 20_000)
            for writer in writers:
                writer.close()
            return answer.status_code

    found, _ = played(play, tmp_path, max_bodies_bytes=100_000)
    assert found == 404


def test_a_member_sends_one_large_body_at_a_time(tmp_path):
    async def play(service):
        async with (
            raw_member(service, certificates(), "mallory") as mallory,
            raw_member(service, certificates(), "other") as other,
        ):
            _, writer = await dial(service)
            writer.write(letter_head(mallory, 90_000) + b"x" * 89_000)
            while (await mallory.send("POST", f"{SESSION}/letters", b"x" * 20_000)).status_code == 404:
                await asyncio.sleep(0.01)  # the first was not read yet
            answers = [await each.send("POST", f"{SESSION}/letters", b"x" * 20_000) for each in (mallory, other)]
            small = await mallory.send("POST", f"{SESSION}/refusal", b'{"kind": "a", "reason": ""}')
            writer.close()
            return [answer.status_code for answer in (*answers, small)]

    found, _ = played(play, tmp_path, max_body_bytes=100_000)
    assert found == [503, 404, 404]


def test_too_fast_is_told_to_wait(tmp_path):
    async def play(service):
        async with raw_member(service, certificates(), "mallory") as mallory:
            return [
                (answer.status_code, answer.headers.get("retry-after"))
                for answer in [await mallory.send("GET", "/v1/letters?after=0&wait=0") for _ in range(8)]
            ]

    found, counts = played(play, tmp_path, pace=10, requests_a_second_a_member=0.01, burst_a_member=5, burst=1000)
    assert found == [(204, None)] * 5 + [(429, "1")] * 3
    assert counts["too-fast"] >= 3


def test_rates_are_of_each_key_and_come_back_with_time():
    now = [0.0]
    rate = Rate(2.0, 3, lambda: now[0])
    assert [rate.allows("a") for _ in range(5)] == [True] * 3 + [False] * 2
    assert rate.allows("b")
    now[0] = 0.5
    assert [rate.allows("a") for _ in range(2)] == [True, False]
    now[0] = 100
    assert [rate.allows("a") for _ in range(4)] == [True] * 3 + [False]


def test_many_addresses_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("protocols.service.limits._MOST_KEYS", 100)
    now = [0.0]
    rate = Rate(1.0, 1, lambda: now[0])
    for number in range(1000):
        rate.allows(str(number))
        now[0] += 0.001
    assert len(rate._left) <= 100


def test_a_peer_is_an_address_or_a_network_of_ipv6():
    assert peer_of("192.0.2.1") == "192.0.2.1"
    assert peer_of("2001:db8:1:2:3::4") == peer_of("2001:db8:1:2::9") != peer_of("2001:db8:1:3::4")
    assert peer_of("fe80::1%eth0") == "fe80::/64"
    assert peer_of("::ffff:192.0.2.1") != peer_of("::ffff:192.0.2.2")
    assert peer_of("unix") == "unix"


@pytest.mark.parametrize("bad", [{"burst": 0}, {"header_seconds": 0}, {"max_body_bytes": 1.5}, {"connections": True}])
def test_limits_are_checked(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        Limits(**bad)


def test_who_was_revoked_while_its_body_came_is_refused(tmp_path):
    async def play(service):
        async with raw_member(service, certificates(), "mallory") as mallory:
            reader, writer = await dial(service)
            writer.write(letter_head(mallory, 10) + b"x" * 9)
            while mallory_is_unread(service):
                await asyncio.sleep(0.01)
            await asyncio.to_thread(service.members.revoke, "mallory")
            writer.write(b"x")
            answer = await reader.readuntil(b"}")
            writer.close()
            return answer

    def mallory_is_unread(service):
        return not any(each.name == "mallory" and each.size for each in service.requests._bodies._coming)

    found, _ = played(play, tmp_path)
    assert found.startswith(b"HTTP/1.1 403")
    assert b'"error":"revoked"' in found


def test_answers_that_wait_to_be_looked_at_are_counted(tmp_path):
    async def play(service):
        looked_at, waiting, deliver = asyncio.Event(), asyncio.Event(), service.desk.deliver

        async def slow(*arguments, **more):
            waiting.set()
            await looked_at.wait()
            return await deliver(*arguments, **more)

        service.desk.deliver = slow
        target = "/v1/sessions/" + "ab" * 32 + "/letters"
        async with raw_member(service, certificates(), "a") as one, raw_member(service, certificates(), "b") as other:
            first = asyncio.create_task(one.send("POST", target, bytes(1000)))
            await waiting.wait()
            refused = await other.send("POST", target, bytes(1000))
            looked_at.set()
            later = [await first, await other.send("POST", target, bytes(1000))]
        return [answer.json()["error"] for answer in (refused, *later)]

    found, _ = played(play, tmp_path, max_bodies_bytes=1500)
    assert found == ["too-many", "unknown-session", "unknown-session"]


def test_what_is_stated_and_does_not_come_keeps_nobody_waiting():
    bodies = Bodies(Limits(max_body_bytes=100, max_bodies_bytes=150))
    with contextlib.ExitStack() as held:
        silent = [held.enter_context(bodies.receiving(f"{number}", 100, never)) for number in range(8)]
        with bodies.receiving("honest", 100, never) as came:
            came(100)
            silent[0](50)
            with pytest.raises(Refusal, match="too much"):
                silent[1](1)
            with pytest.raises(Refusal, match="too much"), bodies.receiving("late", 10, never):
                pass
        silent[0](50)
        with pytest.raises(Refusal, match="another answer"):
            silent[0](1)
    assert not bodies._coming


def test_a_body_alone_may_have_more_than_all_together():
    """It is refused for ever otherwise, since each try of its ends where the one before did."""
    bodies = Bodies(Limits(max_bodies_bytes=50))
    with bodies.receiving("one", 60, never) as came:
        for _ in range(6):
            came(10)
        with pytest.raises(Refusal, match="too much"), bodies.receiving("other", 10, never):
            pass


def test_where_there_is_no_room_the_body_gives_way_of_which_least_has_come():
    bodies = Bodies(Limits(max_bodies_bytes=160))
    cut = []
    with contextlib.ExitStack() as held:
        one, two, late, whole = (
            held.enter_context(bodies.receiving(name, length, partial(cut.append, name)))
            for name, length in (("one", 100), ("two", 100), ("late", 100), ("whole", 10))
        )
        whole(10)
        one(70)
        two(60)
        late(20)
        two(10)  # which would be too much
        assert cut == ["late"]
        with pytest.raises(Refusal, match="too much"):
            late(1)
        with pytest.raises(Refusal, match="too much"):
            two(20)
        assert cut == ["late"]
    assert not bodies._coming


def test_a_body_that_gives_way_to_another_is_refused_at_once(tmp_path):
    async def play(service):
        async with (
            raw_member(service, certificates(), "late") as late,
            raw_member(service, certificates(), "early") as early,
        ):
            bodies = service.requests._bodies
            _, first = await dial(service)
            first.write(letter_head(early, 90_000) + b"x" * 60_000)
            while bodies._total < 60_000:
                await asyncio.sleep(0.01)
            reader, second = await dial(service)
            second.write(letter_head(late, 40_000) + b"x" * 39_000)
            while bodies._total < 99_000:
                await asyncio.sleep(0.01)
            first.write(b"x" * 20_000)
            answer = await said(reader)
            assert bodies._total == 80_000
            first.close()
            second.close()
            return answer

    found, _ = played(play, tmp_path, max_bodies_bytes=100_000)
    assert found == (503, "too-many")


def never():
    raise AssertionError("it is cut off")


@pytest.mark.parametrize(("came", "most"), [(0, 540.0), (100, 540.0), (1 << 30, 0.1)])
def test_a_body_has_the_time_that_what_has_come_of_it_takes(monkeypatch, came, most):
    """However long it is said to be; and in the end no more than for which its nonce is known."""
    monkeypatch.setattr("protocols.service.limits.MAX_BODY_SECONDS", most)

    async def play():
        async def receive():
            await asyncio.Event().wait()

        body = _Body(receive, Limits(body_seconds=0.01, least_bytes_a_second=1000), 64 << 20)
        body._came = came
        await asyncio.wait_for(body.receive(), 10)

    with pytest.raises(Refusal, match=f"{came:,} bytes of the body came") as caught:
        asyncio.run(play())
    assert caught.value.kind == "too-slow"


def test_a_fault_of_the_services_own_is_counted_and_told_by_its_class():
    async def broken(scope, receive, send):
        raise KeyError("a secret")

    told = []
    refused = Refused(failed=told.append)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(Limiter(broken, Limits(), refused)), base_url="http://x")
    answer = asyncio.run(client.get("/"))
    assert (answer.status_code, answer.json()) == (
        500,
        {"error": "internal", "reason": "an internal error: KeyError"},
    )
    assert (refused.counts, told) == ({"internal": 1}, ["an internal error: KeyError"])


@pytest.mark.parametrize(("name", "path"), [("terms", SESSION), ("next_letter", "/v1/letters?after=0&wait=1")])
def test_a_fault_is_told_in_the_same_way_whatever_the_route(tmp_path, monkeypatch, name, path):
    """Also where nobody is left to read of it: what tells the operator fails, too."""

    def broken(*arguments, **more):
        raise KeyError("a secret")

    async def play(service):
        async with raw_member(service, certificates(), "member") as member:
            monkeypatch.setattr(service.desk, name, broken)
            monkeypatch.setattr(service.refused, "failed", broken)
            return await member.send("GET", path)

    async def run():
        with service_at(tmp_path, certificates()) as service:
            async with service.serving():
                return await play(service), dict(service.refused.counts)

    answer, counts = asyncio.run(run())
    assert (answer.status_code, answer.json()) == (500, {"error": "internal", "reason": "an internal error: KeyError"})
    assert counts == {"internal": 1}


def test_a_port_that_reaches_two_addresses_of_the_host_leaves_nothing_counted():
    handshakes = Handshakes(Limits(connections_a_peer=1), print)
    for _ in range(2):
        assert handshakes.begun(("192.0.2.1", 5))
    for _ in range(2):
        handshakes.done(("192.0.2.1", 5))
    assert handshakes.begun(("192.0.2.1", 6))
