"""Twelve hospitals, each a process, and a service under TLS. One is killed, one is late, one lies: the sum is exact.

Needs `trustme` for a certificate of this machine; yours comes from your authority. See the guide "A service".
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from msgspec import structs

from protocols import ClientPolicy, IntegerVector, Participants, ThreatModel
from protocols.masking import wire
from protocols.masking.messages import SHARE_BYTES, UnmaskingShares, records
from protocols.service import Connection, take_part
from secagg.errors import MalformedMessage
from secagg.signatures import Identity

NAMES = [f"hospital-{i:02}" for i in range(1, 13)]
LIAR, KILLED, LATE = "hospital-03", "hospital-05", "hospital-08"
WARDS = 4


def patients(name: str) -> np.ndarray:
    """How many patients each ward has: synthetic."""
    return np.array([100, 200, 300, 400]) + NAMES.index(name)


async def serve(folder: Path) -> None:
    """Run one session, and print what came of it."""
    from protocols.service import Deadlines, Service, summing  # here: hospitals load no server and no database

    service = Service(folder / "service.db", port=0, certificate=folder / "chain.pem", key=folder / "key.pem")
    async with service.serving():
        hospitals = {}
        for name in NAMES:
            arguments = [service.url, name, service.members.invite(name), str(folder)]
            hospitals[name] = subprocess.Popen([sys.executable, __file__, *arguments])  # noqa: S603
        await service.enrolled(NAMES)
        session = summing(
            "patients by ward",
            (IntegerVector("patients", WARDS, max_value=10_000),),
            ThreatModel(12, dropout_fraction=0.34),
            Participants(NAMES),
            deadlines=Deadlines(60, phases={"masked-input": Deadlines(30, quorum=10, grace=1.0)}),
        )
        (view,) = await service.sessions(session)
        for process in hospitals.values():
            await asyncio.to_thread(process.wait, 60)
        result = json.loads(await service.desk.result(None, view.session))
    service.close()
    print(f"in the sum of {view.title}: {', '.join(result['survivors'])}")
    print("sum:      ", result["sums"]["patients"])
    print("plain sum:", sum(patients(name) for name in result["survivors"]).tolist())
    for name in result["liars"]:
        print(f"its shares were not those that it was dealt: {name}")
    for phase in view.phases:
        for name in phase.awaited:
            print(f"no answer in time, {phase.name}: {name}")
    for name, why in view.excluded.items():
        print(f"excluded: {name}: {why}")


async def take_part_as(url: str, name: str, invitation: str, folder: Path) -> None:
    """Be one hospital: enrol, then answer until the session is over."""

    def values(terms):
        if name == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)  # the power fails where it costs most
        if name == LATE:
            time.sleep(8)
        return {"patients": patients(name)}

    made = Lying if name == LIAR else Connection
    async with made(url, Identity.generate(), ca=folder / "ca.pem", patience=30) as connection:
        await connection.enrol(name, invitation)
        policy = ClientPolicy(min_survivor_fraction=0.5)
        ended = await take_part(
            connection, name, {"sum": values}, state=folder / name, policy=policy, sessions=1, warm=False
        )
    if ended[0].phase != "completed":
        print(f"{name}: {ended[0].phase}, {ended[0].reason}", flush=True)


class Lying(Connection):
    """Hands out shares of others' secrets that are not those that it was dealt."""

    async def exchange(self, session, body, *asked):
        with suppress(MalformedMessage):  # of every message that is none of shares
            shares = wire.decode(body, UnmaskingShares, max_bytes=len(body))
            swapped = b"".join(reversed(records(shares.shares, SHARE_BYTES)))
            body = wire.encode(structs.replace(shares, shares=swapped))
        return await super().exchange(session, body, *asked)


def certify(folder: Path) -> None:
    """Make an authority of our own, and a certificate of this machine."""
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "chain.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))


if __name__ == "__main__":
    if len(sys.argv) == 5:
        asyncio.run(take_part_as(*sys.argv[1:4], Path(sys.argv[4])))
    else:
        with tempfile.TemporaryDirectory() as folder:
            certify(Path(folder))
            asyncio.run(serve(Path(folder)))
