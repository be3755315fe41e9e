"""A session of many members over HTTPS, against the same session on the bare machine, and against its parts alone.

The service is this process. Members are asyncio tasks in a process a core, each with its own key, its own connection
under TLS and its own state folder. A tenth vanish before they send their masked input. The bare machine runs the same
session without transport, store or signatures. The parts are uvicorn and h11 under the same TLS, which read and answer
as many bytes in as many requests and do nothing with them; the same with each signature and digest checked; and SQLite,
which takes the answers one by one, each durable, gives them back and forgets them. They run at full speed, so that
caches are warm, as they are not between a session's requests. Seconds of the server are its processor time.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import trustme
import uvicorn

from bench.side_by_side import size
from bench.suite.findings import Finding
from protocols import IntegerVector, Participants, RoundConfig, ThreatModel
from protocols.core.machine import Receipt, Values
from protocols.masking.transitions import ServerPhase
from protocols.service import Connection, signing, take_part
from protocols.service.sessions import Terms
from protocols.service.views import Letter
from protocols.simulation.masked import Simulation
from protocols.simulation.workers import useful_workers
from secagg.prg import cpu_count
from secagg.signatures import Identity

MEMBERS = size(1000, 20)
LENGTH = size(100_000, 1000)
VANISH = MEMBERS // 10
MOST = (1 << 16) - 1
NAMES = Participants.numbered(MEMBERS, "member")
GONE = frozenset(NAMES.names[:: MEMBERS // VANISH][:VANISH])
CONFIG = RoundConfig(ThreatModel(MEMBERS, 0.1, 0.1), (IntegerVector("update", LENGTH, max_value=MOST),))


def values(name: str) -> Values:
    """Return a member's numbers."""
    return {"update": np.random.default_rng(NAMES.number(name)).integers(0, MOST, LENGTH, dtype=np.int64)}


Exchange = tuple[int, int]
"""Bytes of a request's body, and of its answer's."""
Allowed = Callable[[], Awaitable[None]] | None


class Counting(Connection):
    """A member's connection that notes what it sends and takes."""

    def __init__(self, *arguments, **values) -> None:
        super().__init__(*arguments, **values)
        self.exchanges: list[Exchange] = []

    async def next_letter(self, after: int, wait: float) -> Letter | None:
        letter = await super().next_letter(after, wait)
        self.exchanges.append((0, _size(letter)))
        return letter

    async def exchange(
        self, session: str, body: bytes, after: int | None = None, wait: float = 0.0, allowed: Allowed = None
    ) -> tuple[Receipt | None, Letter | None]:
        receipt, letter = await super().exchange(session, body, after, wait, allowed)
        self.exchanges.append((len(body), _size(letter)))
        return receipt, letter


class Vanishing(Counting):
    """A connection that breaks, with its member, at its third answer."""

    answers = 0

    async def exchange(
        self, session: str, body: bytes, after: int | None = None, wait: float = 0.0, allowed: Allowed = None
    ) -> tuple[Receipt | None, Letter | None]:
        self.answers += 1
        if self.answers == 3:
            raise asyncio.CancelledError
        return await super().exchange(session, body, after, wait, allowed)


def _size(letter: Letter | None) -> int:
    return 0 if letter is None else len(letter.terms) + len(letter.body)


def live(url: str, keys: dict[str, bytes], folder: Path) -> tuple[float, list[list[Exchange]]]:
    """Be some members until the session is over; return the processor seconds of all, and what each has exchanged."""

    async def one(name: str, key: bytes) -> list[Exchange]:
        def give(terms: Terms) -> Values:
            return values(name)

        kind = Vanishing if name in GONE else Counting
        async with kind(url, Identity(key), ca=folder / "ca.pem") as connection:
            with suppress(asyncio.CancelledError):
                await take_part(connection, name, {"sum": give}, state=folder / name, sessions=1)
            return connection.exchanges

    async def all_of_them() -> list[list[Exchange]]:
        return await asyncio.gather(*(one(name, key) for name, key in keys.items()))

    start = time.process_time()
    exchanges = asyncio.run(all_of_them())
    return time.process_time() - start, exchanges


def ask(url: str, exchanges: Sequence[Sequence[Exchange]], folder: Path) -> None:
    """Send requests of these sizes, signed, over a connection for each member, and take the answers."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    host, _, port = url.removeprefix("https://").rpartition(":")

    async def one(own: Sequence[Exchange]) -> None:
        identity = Identity.generate()
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=host)
        for sent, taken in own:
            body, method, path = bytes(sent), "POST" if sent else "GET", f"/v1/letters/{taken}"
            request = signing.Request(method, f"{host}:{port}", path, "", signing.sha256(body))
            fields = signing.sign(request, identity, created=int(time.time()))
            fields |= {"Host": f"{host}:{port}", "Accept": "*/*", "Accept-Encoding": "identity"}
            fields |= {"Connection": "keep-alive", "User-Agent": "python-httpx/0.28.1", "Secagg-Wire": "1"}
            fields |= {"Content-Length": str(sent)} if sent else {}
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(taken)
        writer.close()

    async def all_of_them() -> None:
        await asyncio.gather(*map(one, exchanges))

    asyncio.run(all_of_them())


async def transport(folder: Path, exchanges: Sequence[Sequence[Exchange]], *, checked: bool) -> float:
    """Serve such requests by uvicorn and h11 under TLS, and nothing else; return processor seconds."""
    from protocols.service.serving import tls_context

    async def app(scope, receive, send) -> None:
        chunks, more = [], True
        while more:
            message = await receive()
            chunks.append(message["body"])
            more = message["more_body"]
        if checked:
            fields = {name.decode(): value.decode() for name, value in scope["headers"]}
            path = scope["raw_path"].decode()
            signed = signing.read_signed(scope["method"], fields["host"], path, "", fields)
            signed.verify()
            assert signing.sha256(b"".join(chunks)) == signed.request.digest
        taken = int(scope["path"].rpartition("/")[2])
        headers = [(b"content-length", str(taken).encode()), (b"content-type", b"application/octet-stream")]
        headers += [(b"secagg-session", b"00" * 32), (b"secagg-sequence", b"12345"), (b"secagg-phase", b"share-keys")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(taken)})

    config = uvicorn.Config(
        app, port=0, http="h11", loop="asyncio", ws="none", lifespan="off", log_config=None, access_log=False
    )
    config.load()
    config.ssl = tls_context(folder / "chain.pem", folder / "key.pem")
    server, cores = uvicorn.Server(config), cpu_count()
    serving = asyncio.create_task(server.serve())
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as members:
        while not server.started:
            await asyncio.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        start, loop = time.process_time(), asyncio.get_running_loop()
        shares = [exchanges[at::cores] for at in range(cores)]
        await asyncio.gather(
            *(loop.run_in_executor(members, ask, f"https://{host}:{port}", share, folder) for share in shares)
        )
        taken = time.process_time() - start
    server.should_exit = True
    await serving
    return taken


def storage(path: Path, exchanges: Sequence[Sequence[Exchange]]) -> float:
    """Have SQLite take answers one by one, each durable, give them back and forget them; return processor seconds."""
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("page_size = 16384", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("CREATE TABLE answers (id INTEGER PRIMARY KEY, phase INTEGER, body BLOB)")
    start = time.process_time()
    for phase in range(max(map(len, exchanges))):
        for own in exchanges:
            if phase < len(own) and own[phase][0]:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO answers (phase, body) VALUES (?, ?)", (phase, bytes(own[phase][0])))
                connection.execute("COMMIT")
        for _ in connection.execute("SELECT body FROM answers WHERE phase = ?", (phase,)):
            pass
        connection.execute("DELETE FROM answers WHERE phase = ?", (phase,))
    taken = time.process_time() - start
    connection.close()
    return taken


def _peak(*, anew: bool = False) -> int:
    """Return the most bytes that this process has held at a time, since that was last asked `anew`."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


async def session(folder: Path) -> tuple[dict[str, list[int]], dict[str, float], list[list[Exchange]]]:
    """Run one session; return its result, what it cost, and what members have exchanged."""
    from protocols.service import Deadlines, Service, summing
    from protocols.service.limits import Limits

    identities = {name: Identity.generate() for name in NAMES}
    plenty = 10 * MEMBERS
    rates = {"requests_a_second": plenty, "burst": plenty, "handshakes_a_second": plenty, "burst_handshakes": plenty}
    limits = Limits(connections_a_peer=plenty, connections=plenty, **rates)
    loop, cores = asyncio.get_running_loop(), cpu_count()
    certificate, key = folder / "chain.pem", folder / "key.pem"
    service = Service(folder / "service.db", port=0, certificate=certificate, key=key, limits=limits)
    members = ProcessPoolExecutor(cores, mp_context=get_context("spawn"))
    with service, members:
        async with service.serving():
            for name, identity in identities.items():
                service.members.enrol(name, identity.public_bytes, service.members.invite(name))
            roster = Participants({name: identity.public_bytes for name, identity in identities.items()})
            shares = [{name: identities[name].private_bytes for name in NAMES.names[at::cores]} for at in range(cores)]
            living = [loop.run_in_executor(members, live, service.url, share, folder) for share in shares]
            spec = summing(
                "update",
                CONFIG.vectors,
                CONFIG.threat_model,
                roster,
                deadlines=Deadlines(600, quorum=MEMBERS - VANISH, grace=5.0),
            )
            before = _peak(anew=True)
            start, began = time.process_time(), time.perf_counter()
            (view,) = await service.sessions(spec)
            cost = {"server": time.process_time() - start, "wall": time.perf_counter() - began}
            lived = await asyncio.gather(*living)
            cost["members"] = sum(seconds for seconds, _ in lived)
            result = json.loads(await service.desk.result(None, view.session))
    cost["memory"] = _peak() / 2**30
    cost["more"] = cost["memory"] - before / 2**30
    return result, cost, [own for _, exchanges in lived for own in exchanges]


def test_a_session_over_https(benchmark, report, tmp_path: Path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "chain.pem"), append=True)

    drops = {ServerPhase.MASKED_INPUT: GONE}
    bare = Simulation(CONFIG, values, drops, workers=useful_workers(MEMBERS), participants=NAMES).run()
    result, cost, exchanges = benchmark.pedantic(lambda: asyncio.run(session(tmp_path)), rounds=1)
    assert set(result["survivors"]) == set(NAMES) - GONE
    plain = sum(values(name)["update"] for name in result["survivors"])
    assert np.array_equal(result["sums"]["update"], plain)

    requests = sum(map(len, exchanges))
    alone = asyncio.run(transport(tmp_path, exchanges, checked=False))
    checked = asyncio.run(transport(tmp_path, exchanges, checked=True))
    kept = storage(tmp_path / "floor.db", exchanges)

    finding = Finding(f"a service: {MEMBERS:,} members x {LENGTH:,} numbers over HTTPS, {VANISH} vanish")
    finding.add("exact", True, asked="exact", met=True)
    finding.add("the service, processor time", cost["server"], "s")
    finding.add("the server's part of the bare machine", bare.server_seconds, "s")
    ratio = cost["server"] / bare.server_seconds
    finding.add("the service / the bare machine", ratio, "x", asked="at most 1.5", met=ratio <= 1.5)
    finding.add("requests", requests)
    finding.add("uvicorn and h11 under TLS that only read and answer these", alone, "s")
    finding.add("the same, with every signature and digest checked", checked, "s")
    finding.add("SQLite that takes, gives back and forgets the answers", kept, "s")
    floor = bare.server_seconds + checked + kept
    finding.add("the service / these and the bare machine together", cost["server"] / floor, "x")
    finding.add("from the first invitation to the sum", cost["wall"], "s")
    finding.add("everyone on the bare machine", bare.wall_seconds, "s")
    finding.add("all members, processor time", cost["members"], "s")
    finding.add("peak memory of the service's process", cost["memory"], "GiB")
    finding.add("of which it had before the session", cost["memory"] - cost["more"], "GiB")
    report(finding)
