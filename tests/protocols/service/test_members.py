"""Enrolment by invitation, revocation, rotation: in the store, and over HTTPS."""

import asyncio
import datetime
import pickle
import time

import pytest
import trustme

from protocols.service.connection import Connection, RequestRefusedError
from protocols.service.errors import ReplayedRequestError
from protocols.service.members import (
    EnrolmentError,
    Members,
    RevokedMemberError,
    UnknownMemberError,
    fingerprint,
)
from protocols.service.store import Store
from secagg.errors import ParameterError
from secagg.signatures import Identity

from .places import Certificates, certificates, connected, service_at

KEYS = [Identity(bytes([number]) * 32).public_bytes for number in range(1, 9)]


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def members(tmp_path, clock):
    store = Store(tmp_path / "service.db", create=True)
    yield Members(store, clock=clock)
    store.close()


def test_an_invitation_enrols_once(members):
    token = members.invite("a")
    members.enrol("a", KEYS[0], token)
    assert members.by_key(KEYS[0]).name == "a"
    members.enrol("a", KEYS[0], token)  # whose answer was lost on its way
    with pytest.raises(EnrolmentError, match="was used, or never made"):
        members.enrol("a", KEYS[1], token)
    with pytest.raises(UnknownMemberError, match="enrol first"):
        members.by_key(KEYS[1])


@pytest.mark.parametrize("token", ["", "x", "00" * 32, "00", "é" * 64], ids=lambda token: token[:2] or "nothing")
def test_a_token_that_was_never_made_enrols_nobody(members, token):
    members.invite("a")
    with pytest.raises(EnrolmentError):
        members.enrol("a", KEYS[0], token)
    assert members.views() == ()


def test_an_invitation_is_for_one_name(members):
    token = members.invite("a")
    with pytest.raises(EnrolmentError, match="no such invitation for this name"):
        members.enrol("b", KEYS[0], token)
    members.enrol("a", KEYS[0], token)


def test_an_invitation_expires(members, clock):
    token = members.invite("a", seconds=60)
    clock.now += 60
    assert members.invited() == {"a": clock.now}
    clock.now += 0.1
    assert members.invited() == {}
    with pytest.raises(EnrolmentError, match="expired"):
        members.enrol("a", KEYS[0], token)


def test_a_later_invitation_voids_an_earlier_one(members):
    first, second = members.invite("a"), members.invite("a")
    with pytest.raises(EnrolmentError):
        members.enrol("a", KEYS[0], first)
    members.enrol("a", KEYS[0], second)


def test_who_is_a_member_is_not_invited_again_unless_revoked(members):
    members.enrol("a", KEYS[0], members.invite("a"))
    with pytest.raises(ParameterError, match="is a member already"):
        members.invite("a")
    members.revoke("a")
    with pytest.raises(RevokedMemberError, match="revoked"):
        members.by_key(KEYS[0])
    token = members.invite("a")
    with pytest.raises(EnrolmentError, match="is or was a member's"):
        members.enrol("a", KEYS[0], token)
    members.enrol("a", KEYS[1], token)
    with pytest.raises(RevokedMemberError, match="replaced"):
        members.by_key(KEYS[0])
    assert members.by_key(KEYS[1]).name == "a"


def test_many_are_invited_or_nobody(members):
    token = members.invite("a")
    members.enrol("b", KEYS[1], members.invite("b"))
    with pytest.raises(ParameterError, match="'b' is a member already"):
        members.invite_all(["a", "b"])
    members.enrol("a", KEYS[0], token)  # the invitation that was delivered holds
    assert list(members.invite_all(["d", "c"])) == ["d", "c"]
    assert list(members.invited()) == ["c", "d"]


def test_who_asks_is_noted_though_the_clock_is_set_back(members, clock, monkeypatch):
    assert members.saw("a", 1)
    members.write_seen()
    clock.now -= 86400
    assert not members.saw("a", 1)
    at = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: at + 11)
    assert members.saw("a", 1)


def test_revoking_takes_an_invitation_back(members):
    members.enrol("a", KEYS[0], members.invite("a"))
    members.revoke("a")
    token = members.invite("a")
    members.revoke("a")
    with pytest.raises(EnrolmentError):
        members.enrol("a", KEYS[1], token)
    with pytest.raises(UnknownMemberError, match="no member"):
        members.revoke("b")


def test_a_key_is_one_members_for_ever(members):
    members.enrol("a", KEYS[0], members.invite("a"))
    members.enrol("b", KEYS[1], members.invite("b"))
    with pytest.raises(EnrolmentError, match="is or was a member's"):
        members.enrol("c", KEYS[0], members.invite("c"))
    members.rotate(members.by_key(KEYS[0]), KEYS[2])
    with pytest.raises(EnrolmentError):
        members.rotate(members.by_key(KEYS[1]), KEYS[0])
    with pytest.raises(EnrolmentError):
        members.rotate(members.by_key(KEYS[1]), KEYS[2])


def test_a_rotation_that_comes_too_late_changes_nothing(members):
    members.enrol("a", KEYS[0], members.invite("a"))
    before = members.by_key(KEYS[0])
    members.revoke("a")
    with pytest.raises(RevokedMemberError, match="in the meantime"):
        members.rotate(before, KEYS[1])


@pytest.mark.parametrize("key", [b"", b"\0" * 32, KEYS[0][:31], b"\1" + b"\0" * 31])
def test_keys_under_which_nothing_verifies_are_refused(members, key):
    with pytest.raises(EnrolmentError):
        members.enrol("a", key, members.invite("a"))


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201])
def test_names_that_are_none_are_not_invited(members, name):
    with pytest.raises(ParameterError):
        members.invite(name)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 1e12])
def test_invitations_last_for_some_time(members, seconds):
    with pytest.raises(ParameterError, match="seconds for which"):
        members.invite("a", seconds=seconds)


def test_who_can_take_part_is_who_is_there_and_speaks_our_version(members, clock):
    for name, key in zip("abc", KEYS, strict=False):
        members.enrol(name, key, members.invite(name))
    assert members.saw("a", 1)
    members.write_seen()
    clock.now += 1
    assert not members.saw("a", 1)
    assert members.saw("b", 2)  # another version is written down at once
    members.write_seen()
    members.revoke("c")
    assert members.participants().keys == {"a": KEYS[0]}
    for name, words in (("b", "upgrade first"), ("c", "is no member"), ("d", "is no member")):
        with pytest.raises(UnknownMemberError, match=words):
            members.participants(["a", name])
    assert members.saw("b", 1)
    members.write_seen()
    assert set(members.participants(["b", "a"])) == {"a", "b"}
    (first, *_) = members.views()
    assert (first.name, first.fingerprint, first.seen, first.wire) == ("a", fingerprint(KEYS[0]), clock.now, 1)


def test_a_nonce_serves_once_for_each_signer(members):
    members.use_nonce("a", b"1")
    members.use_nonce("b", b"1")
    with pytest.raises(ReplayedRequestError):
        members.use_nonce("a", b"1")


def test_neither_token_nor_key_of_it_is_in_the_store(tmp_path, members):
    token = members.invite("a")
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert bytes.fromhex(token) not in kept
    assert token.encode() not in kept


def test_over_https(tmp_path):
    async def play():
        refused = []
        with service_at(tmp_path, certificates()) as service:
            token, late = service.members.invite("a"), service.members.invite("late", seconds=1)
            service.members._clock = lambda: time.time() + 3600
            async with service.serving(), connected(service, certificates(), "honest") as honest:

                async def enrols(name, token):
                    async with Connection(service.url, Identity.generate(), ca=certificates().ca, patience=5) as other:
                        try:
                            await other.enrol(name, token)
                        except RequestRefusedError as error:
                            refused.append((error.status, error.kind))

                await enrols("b", token)
                await enrols("a", token)
                await enrols("a", token)
                await enrols("late", late)
                old, new = honest.identity, Identity.generate()
                await honest.rotate("honest", new)
                assert await honest.next_letter(0, 0) is None
                honest._identity = old
                try:
                    await honest.next_letter(0, 0)
                except RequestRefusedError as error:
                    refused.append((error.status, error.kind))
                await honest.rotate("honest", new)  # whose answer was lost on its way
                assert await honest.next_letter(0, 0) is None
            return refused, {view.name for view in service.members.views()}, dict(service.refused.counts)

    refused, names, counts = asyncio.run(play())
    assert refused == [(403, "not-enrolled")] * 3 + [(403, "revoked")]
    assert names == {"a", "honest"}
    assert counts == {"not-enrolled": 3, "revoked": 2}


def test_a_member_learns_whether_its_key_is_its_own(tmp_path):
    async def play():
        with service_at(tmp_path, certificates()) as service:
            async with service.serving(), connected(service, certificates(), "site-1") as connection:
                await connection.confirm("site-1")
                with pytest.raises(RequestRefusedError, match="not this member's but site-1's") as refused:
                    await connection.confirm("site-2")
                assert refused.value.kind == "not-invited"

    asyncio.run(play())


UNTRUSTED = {
    "another authority": ("127.0.0.1", 0, 9, "unable to get local issuer certificate.*--ca"),
    "another name": ("elsewhere.example", 0, 9, "not valid for '127.0.0.1'.*name that its operator gave"),
    "an old one": ("127.0.0.1", -9, -1, "certificate has expired.*renew it, unless this machine's clock is wrong"),
    "one that is yet to be": ("127.0.0.1", 1, 9, "not yet valid.*unless this machine's clock is wrong"),
}


@pytest.mark.parametrize("name", UNTRUSTED)
def test_a_certificate_that_is_not_trusted_says_what_to_do(tmp_path, name):
    host, first, last, said = UNTRUSTED[name]
    now, authority = datetime.datetime.now(datetime.UTC), trustme.CA()
    day = datetime.timedelta(days=1)
    issued = authority.issue_cert(host, not_before=now + first * day, not_after=now + last * day)
    own = Certificates(tmp_path)  # whose authority has not issued it
    issued.private_key_pem.write_to_path(str(own.key))
    issued.cert_chain_pems[0].write_to_path(str(own.chain))
    ca = own.ca if name == "another authority" else tmp_path / "other.pem"
    if ca != own.ca:
        authority.cert_pem.write_to_path(str(ca))

    async def play():
        with service_at(tmp_path, own) as service:
            async with service.serving(), Connection(service.url, Identity.generate(), ca=ca) as connection:
                await connection.confirm("a")

    with pytest.raises(RequestRefusedError, match=said) as refused:
        asyncio.run(play())
    assert (refused.value.status, refused.value.kind) == (0, "certificate")
    assert "refuses" not in str(refused.value)  # the service has not heard of it
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)  # noqa: S301


def test_who_waits_for_a_service_hears_when_it_answers_again(tmp_path):
    told = []

    async def play():
        with service_at(tmp_path, certificates()) as service:
            async with service.serving():
                url = service.url
            connection = Connection(url, Identity.generate(), ca=certificates().ca, patience=20, told=told.append)
            async with connection:
                asking = asyncio.create_task(connection.enrol("a", service.members.invite("a")))
                while not told:
                    await asyncio.sleep(0.01)
                async with service.serving():
                    await asking

    asyncio.run(play())
    assert [text.partition(" ")[2][:12] for text in told] == ["does not ans", "answers agai"]
