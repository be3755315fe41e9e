"""A service in a process of its own for a crowd on loopback: python -m tests.protocols.service.crowded FOLDER.

It says where it is and whom it has invited, opens a session among the honest members and one for the prober that lasts,
and says what the first came to, how much was refused, and how many seconds of processor it took.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from protocols.core.participants import Participants
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.service.deadlines import Deadlines
from protocols.service.jobs import summing
from protocols.service.limits import Limits
from protocols.service.serving import Service

HONEST = [f"honest-{number}" for number in range(1, 6)]
PROBER = "prober"
VECTORS = (IntegerVector("v", 2, max_value=100),)


def say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def serve(folder: Path) -> None:
    limits = Limits(
        connections_a_peer=2000,
        handshakes_a_second=2000,
        burst_handshakes=4000,
        requests_a_second=2000,
        burst=4000,
        max_body_bytes=1 << 20,
        header_seconds=5,
        body_seconds=5,
        requests_a_second_a_member=500,
    )
    service = Service(
        folder / "service.db", port=0, certificate=folder / "chain.pem", key=folder / "key.pem", limits=limits
    )
    with service:
        names = [*HONEST, PROBER]
        async with service.serving():
            say(url=service.url, tokens={name: service.members.invite(name) for name in names})
            await service.enrolled(names)
            probed = [PROBER, *HONEST[:3]]
            lasting = summing("probed", VECTORS, ThreatModel(4), Participants(probed), deadlines=Deadlines(600))
            await service.desk.open(lasting)
            await asyncio.to_thread(sys.stdin.readline)  # the crowd is there
            (view,) = await service.sessions(
                summing("honest", VECTORS, ThreatModel(5), Participants(HONEST), deadlines=Deadlines(300))
            )
            result = json.loads(await service.desk.result(None, view.session)) if not view.error else {}
            await asyncio.to_thread(sys.stdin.readline)  # the prober is done
            say(
                error=view.error, sums=result.get("sums"), refused=dict(service.refused.counts), cpu=time.process_time()
            )


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
