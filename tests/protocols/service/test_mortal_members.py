"""Processes of members are killed (SIGKILL) at random times and started again: all are in every sum, once.

As many kills as one likes: pytest -m long -s tests/protocols/service/test_mortal_members.py
"""

import asyncio
import contextlib
import json
import os
import random
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from protocols.core.identity_files import write_identity
from protocols.core.participants import Participants
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking.policy import ClientPolicy
from protocols.service.client import take_part
from protocols.service.deadlines import Deadlines
from protocols.service.jobs import summing
from secagg.signatures import Identity

from . import mortal
from .places import Certificates, connected, service_at

ROOT = Path(__file__).parents[3]
NAMES = [f"member-{number}" for number in range(1, 6)]


async def mortal_life(service, folder, name, kills, rng, killed):
    """Start a member's process and kill it, so many times; then let it live."""
    own = folder / name
    own.mkdir(mode=0o700)
    identity = Identity.generate()
    write_identity(own / "key.pem", identity)
    token = await asyncio.to_thread(service.members.invite, name)
    await asyncio.to_thread(service.members.enrol, name, identity.public_bytes, token)
    for kill in [*[True] * kills, False]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.protocols.service.mortal", service.url, name, str(own), "1000"),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert await process.stdout.readline() == b"alive\n"
            if kill:
                await asyncio.wait_for(process.wait(), rng.uniform(0.0, 1.0))
            else:
                await process.wait()
            assert process.returncode == 0
            return
        except TimeoutError:
            killed.append(1)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def other_life(service, certificates, folder, name):
    async with connected(service, certificates, name, patience=60) as connection:
        given = {"sum": lambda terms: {"v": np.array([1, 1])}}
        policy = ClientPolicy.permissive()
        await take_part(connection, name, given, state=folder / name, policy=policy, warm=False)


async def lives(folder, mortals, sessions, kills, seed):
    """Run sessions one after another while members are killed over and over; return sums, kills, answers."""
    rng, certificates, sums, views, killed = random.Random(seed), Certificates(folder), [], [], []
    with service_at(folder, certificates) as service:
        async with service.serving():
            tasks = [
                asyncio.create_task(mortal_life(service, folder, name, kills, random.Random(rng.random()), killed))
                for name in NAMES[:mortals]
            ]
            others = NAMES[mortals:]
            tasks += [asyncio.create_task(other_life(service, certificates, folder, name)) for name in others]
            await service.enrolled(NAMES)
            spec = {"vectors": (IntegerVector("v", 2, max_value=10),), "deadlines": Deadlines(120)}
            for number in range(sessions):
                asked = summing(f"sum {number}", model=ThreatModel(5), participants=Participants(NAMES), **spec)
                (view,) = await service.sessions(asked)
                views.append(view)
                sums.append(view.error or json.loads(await service.desk.result(None, view.session))["sums"]["v"])
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    written = [(folder / name / mortal.SENT).read_text() for name in NAMES[:mortals]]
    sent = [line.split() for text in written for line in text.splitlines()]
    return sums, views, sent, sum(killed)


def check(tmp_path, mortals, sessions, kills):
    sums, views, sent, killed = asyncio.run(asyncio.wait_for(lives(tmp_path, mortals, sessions, kills, 66), 3000))
    assert killed
    others = len(NAMES) - mortals
    assert sums == [[value * mortals + others for value in mortal.VALUES]] * sessions
    assert not any(view.excluded for view in views)
    distinct = Counter(session for session, _ in set(map(tuple, sent)))
    phases = {view.session: len(view.phases) for view in views}
    assert all(count <= mortals * phases[session] for session, count in distinct.items())
    sys.stdout.write(
        f"\n{sessions} sessions, {killed} kills, {len(sent) - sum(distinct.values())} answers sent again\n"
    )


def test_members_are_killed_and_their_values_are_in_the_sum_once(tmp_path):
    check(tmp_path, 1, 1, 2)


@pytest.mark.long
def test_members_are_killed_over_and_over(tmp_path):
    """As many kills as there is time for: some twenty in each session."""
    check(tmp_path, 2, 5, 1000)
