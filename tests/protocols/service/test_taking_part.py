"""Whole sessions over HTTPS: uvicorn under TLS on loopback, and members with the client's loop."""

import asyncio
import json

import numpy as np
import pytest

from protocols.core.participants import Participants
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking.policy import ClientPolicy
from protocols.service.client import take_part
from protocols.service.deadlines import Deadlines
from protocols.service.jobs import summing
from protocols.service.views import State

from .places import Certificates, connected, service_at

NAMES = [f"site-{number}" for number in range(1, 6)]
VALUES = {name: np.array([1 << (4 * at), at]) for at, name in enumerate(NAMES)}
POLICY = ClientPolicy.permissive()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


def a_sum(**more):
    more.setdefault("deadlines", Deadlines(30))
    model = ThreatModel(len(NAMES), 0.2, 0.2)
    return summing("a sum", (IntegerVector("v", 2, max_value=1 << 20),), model, Participants(NAMES), **more)


def total(names):
    return sum(VALUES[name] for name in names).tolist()


async def member(service, certificates, folder, name, *, answers=None, **options):
    options.setdefault("policy", POLICY)
    async with connected(service, certificates, name) as connection:
        given = answers or {"sum": lambda terms: {"v": VALUES[name]}}
        return await take_part(connection, name, given, state=folder / name, sessions=1, warm=False, **options)


def test_a_sum_over_https(tmp_path, certificates):
    async def play():
        with service_at(tmp_path, certificates) as service:
            async with service.serving(), asyncio.TaskGroup() as group:
                members = [group.create_task(member(service, certificates, tmp_path, name)) for name in NAMES]
                await service.enrolled(NAMES)
                (view,) = await service.sessions(a_sum())
                assert view.state is State.COMPLETED, view
                result = json.loads(await service.desk.result(None, view.session))
                ended = [await task for task in members]
            return result, ended

    result, ended = asyncio.run(play())
    assert result["sums"] == {"v": total(NAMES)}
    assert [each[0].phase for each in ended] == ["completed"] * 5
