"""A crowd of slow, oversized and garbage senders: honest members finish, and answers are taken all the while.

With the latency of an answer: pytest -m long -s tests/protocols/service/test_crowd.py
"""

import asyncio
import contextlib
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from protocols.core.machine import Receipt
from protocols.masking.policy import ClientPolicy
from protocols.service.client import take_part
from protocols.service.connection import Connection
from secagg.signatures import Identity

from .crowded import HONEST, PROBER
from .places import Certificates


async def dial(url, context):
    host, _, port = url.removeprefix("https://").rpartition(":")
    return await asyncio.open_connection(host, int(port), ssl=context, server_hostname=host)


async def hostile(kind, url, context, there, pause):
    """One hostile sender, which comes back whenever it is cut off."""
    large = b"POST /v1/members HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 100_000
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await dial(url, context)
            there.release()
            try:
                if kind == 0:
                    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
                    while not reader.at_eof():
                        writer.write(b"X-A: b\r\n")
                        await writer.drain()
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(reader.read(1000), 1)
                else:
                    writer.write(large if kind == 1 else b"\0\xff garbage\r\n\r\n" * 100)
                    await reader.read()
            finally:
                writer.close()
        await asyncio.sleep(pause)


async def honest(name, url, token, certificates, folder):
    async with Connection(url, Identity.generate(), ca=certificates.ca) as connection:
        await connection.enrol(name, token)
        given = {"sum": lambda terms: {"v": np.array([1, 2])}}
        policy = ClientPolicy.permissive()
        return await take_part(connection, name, given, state=folder / name, policy=policy, sessions=1, warm=False)


async def probe(url, token, certificates, there, finished, probes):
    """Send the same answer over and over, each time as a request of its own; return seconds."""
    from protocols.masking.client import Client

    async with Connection(url, Identity.generate(), ca=certificates.ca) as connection:
        await connection.enrol(PROBER, token)
        letter = await connection.next_letter(0, 20)
        while letter is None:
            letter = await connection.next_letter(0, 20)
        answer = Client(policy=ClientPolicy.permissive()).respond(letter.body)
        await connection.deliver(letter.session, answer)
        await there.wait()
        seconds = []
        for _ in range(probes):
            start = time.perf_counter()
            assert await connection.deliver(letter.session, answer) is Receipt.DUPLICATE
            seconds.append(time.perf_counter() - start)
        finished.set()
        return seconds


async def crowded(folder, senders, probes):
    certificates = Certificates(folder)
    root = Path(__file__).parents[3]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.protocols.service.crowded", str(folder)),
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        facts = json.loads(await process.stdout.readline())
        url, tokens = facts["url"], facts["tokens"]
        context, arrived, there, finished = certificates.context, asyncio.Semaphore(0), asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            members = [group.create_task(honest(name, url, tokens[name], certificates, folder)) for name in HONEST]
            probing = group.create_task(probe(url, tokens[PROBER], certificates, there, finished, probes))
            crowd = []
            for number in range(senders):
                crowd.append(group.create_task(hostile(number % 3, url, context, arrived, max(1, senders / 50))))
                if number % 20 == 19:
                    await asyncio.sleep(0.05)
            for _ in range(senders):
                await arrived.acquire()
            there.set()
            process.stdin.write(b"go\n")
            ended = [await task for task in members]
            await finished.wait()
            process.stdin.write(b"done\n")
            last = json.loads(await process.stdout.readline())
            for task in crowd:
                task.cancel()
        return ended, await probing, last
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def check(tmp_path, senders, probes):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * senders + 200)), hard))
    ended, seconds, last = asyncio.run(asyncio.wait_for(crowded(tmp_path, senders, probes), 500))
    assert last["error"] == ""
    assert last["sums"] == {"v": [5, 10]}
    assert [each[0].phase for each in ended] == ["completed"] * 5
    assert last["refused"]["too-large"] > 0
    assert last["refused"]["bad-request"] > 0
    assert len(seconds) == probes
    median, worst = statistics.median(seconds), sorted(seconds)[-2]
    sys.stdout.write(
        f"\n{senders} hostile connections: an answer takes {1000 * median:.0f} ms (median), {1000 * worst:.0f} ms "
        f"(second longest of {probes}); {last['cpu']:.1f} s of processor time; refused {last['refused']}\n"
    )


def test_honest_members_finish_in_a_crowd(tmp_path):
    check(tmp_path, 30, 10)


@pytest.mark.long
def test_honest_members_finish_among_a_thousand(tmp_path):
    check(tmp_path, 1000, 100)
