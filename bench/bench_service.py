"""A session of many members over HTTPS, against the same session on the bare machine.

The service is this process. Members are asyncio tasks in a process a core, each with its own key, its own connection
under TLS and its own state folder. A tenth vanish before they send their masked input. The bare machine runs the same
session without transport, store or signatures. Seconds of the server are its processor time.
"""

from __future__ import annotations

import asyncio
import json
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import trustme

from bench.side_by_side import size
from bench.suite.findings import Finding
from protocols import IntegerVector, Participants, RoundConfig, ThreatModel
from protocols.core.machine import Receipt, Values
from protocols.masking.transitions import ServerPhase
from protocols.service import Connection, take_part
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


class Vanishing(Connection):
    """A member's connection that breaks, with the member, at its third answer."""

    answers = 0

    async def exchange(
        self, session: str, body: bytes, after: int | None = None, wait: float = 0.0
    ) -> tuple[Receipt | None, Letter | None]:
        self.answers += 1
        if self.answers == 3:
            raise asyncio.CancelledError
        return await super().exchange(session, body, after, wait)


def live(url: str, keys: dict[str, bytes], folder: Path) -> float:
    """Be some members until the session is over; return the processor seconds of all of them."""

    async def one(name: str, key: bytes) -> None:
        def give(terms: Terms) -> Values:
            return values(name)

        kind = Vanishing if name in GONE else Connection
        async with kind(url, Identity(key), ca=folder / "ca.pem") as connection:
            with suppress(asyncio.CancelledError):
                await take_part(connection, name, {"sum": give}, state=folder / name, sessions=1)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(name, key) for name, key in keys.items()))

    start = time.process_time()
    asyncio.run(all_of_them())
    return time.process_time() - start


async def session(folder: Path) -> tuple[dict[str, list[int]], dict[str, float]]:
    """Run one session; return its result and what it cost."""
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
            start, began = time.process_time(), time.perf_counter()
            (view,) = await service.sessions(spec)
            cost = {"server": time.process_time() - start, "wall": time.perf_counter() - began}
            cost["members"] = sum(await asyncio.gather(*living))
            result = json.loads(await service.desk.result(None, view.session))
    cost["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return result, cost


def test_a_session_over_https(benchmark, report, tmp_path: Path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "chain.pem"), append=True)

    drops = {ServerPhase.MASKED_INPUT: GONE}
    bare = Simulation(CONFIG, values, drops, workers=useful_workers(MEMBERS), participants=NAMES).run()
    result, cost = benchmark.pedantic(lambda: asyncio.run(session(tmp_path)), rounds=1)
    assert set(result["survivors"]) == set(NAMES) - GONE
    plain = sum(values(name)["update"] for name in result["survivors"])
    assert np.array_equal(result["sums"]["update"], plain)

    finding = Finding(f"a service: {MEMBERS:,} members x {LENGTH:,} numbers over HTTPS, {VANISH} vanish")
    finding.add("exact", True, asked="exact", met=True)
    finding.add("the service, processor time", cost["server"], "s")
    finding.add("the server's part of the bare machine", bare.server_seconds, "s")
    ratio = cost["server"] / bare.server_seconds
    finding.add("the service / the bare machine", ratio, "x", asked="at most 1.5", met=ratio <= 1.5)
    finding.add("from the first invitation to the sum", cost["wall"], "s")
    finding.add("everyone on the bare machine", bare.wall_seconds, "s")
    finding.add("all members, processor time", cost["members"], "s")
    finding.add("peak memory of the service's process, bare session included", cost["memory"], "GiB")
    report(finding)
