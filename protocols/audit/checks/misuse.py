"""What callers do without thinking: several threads at one server, copies of a client."""

from __future__ import annotations

import copy
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Barrier

import numpy as np

from dp.errors import DpError
from secagg.errors import SecAggError

from ...core.machine import Receipt
from ...core.threat_model import Adversary
from ..outcome import Check, Found, Trials, demand, demand_refusal
from ..stage import Stage, configuration

REFUSALS = (SecAggError, DpError)
_THREADS = 8
_LONG = 1_000_000
"""So long that additions of two threads overlap, if nothing keeps them apart."""
_RACES = 3


@contextmanager
def _switching_often() -> Iterator[None]:
    """Let threads take turns a thousand times as often, so that what is left unguarded shows."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 1000)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _threads(trials: Trials) -> Found:
    """Hand in all masked inputs at once, and each of them twice."""
    config = configuration(_THREADS, Adversary.SEMI_MALICIOUS_SERVER, length=_LONG, complete_graph=True)
    for rng in trials.each(_RACES):
        stage = Stage(config, rng)
        stage.step()
        stage.step()
        answers = [(name, stage._answer("race", name, data)) for name, data in stage.server.outgoing().items()]
        start = Barrier(2 * _THREADS)

        def deliver(answer: tuple[str, bytes], stage: Stage = stage, start: Barrier = start) -> str:
            start.wait()
            try:
                return stage.server.receive(*answer)
            except SecAggError as error:
                return type(error).__name__

        with ThreadPoolExecutor(2 * _THREADS) as pool, _switching_often():
            came = Counter(pool.map(deliver, answers + answers))
        once = came == {Receipt.ACCEPTED: _THREADS, Receipt.DUPLICATE: _THREADS}
        told = ", ".join(f"{what} {count} times" for what, count in came.items())
        demand(once, f"{_THREADS} inputs that came twice at once were {told}")
        stage.server.close_phase()
        stage.run()
        result = stage.server.result
        demand(result.survivors == set(stage.everyone), "who was accepted is not in the sum")
        plain = sum(np.rint(np.clip(given.values["model"], -1, 1) * (2**15 - 1)) for given in stage.given.values())
        wrong = int(np.count_nonzero(result.levels["model"] != plain))
        demand(not wrong, f"{_THREADS} threads at one server: {wrong} of {_LONG} numbers of the sum are wrong")
    return Found({"races": _RACES, "threads": 2 * _THREADS, "numbers": _LONG})


def _pickled(client: object) -> object:
    """Do what pickling begins with."""
    return client.__reduce_ex__(4)


def _copies(trials: Trials) -> Found:
    """Copy a client in each of its phases: two that answer under one mask would give their difference away."""
    refused = 0
    for rng in trials.each(1):
        stage = Stage(configuration(5, Adversary.SEMI_MALICIOUS_SERVER, complete_graph=True), rng)
        while not stage.server.ended:
            stage.step()
            client = stage.participants["client-1"]
            for way in (copy.copy, copy.deepcopy, _pickled):
                demand_refusal(
                    partial(way, client), (*REFUSALS, TypeError), f"a copy of a client that is {client.phase}"
                )
                refused += 1
    return Found({"copies refused": refused})


CHECKS = (
    Check(
        "misuse",
        "threads",
        "a server that many threads call at once has the exact sum, and counts nothing twice",
        _threads,
        repeatable=False,
    ),
    Check("misuse", "copies", "a client cannot be copied, so that it answers once under its masks", _copies),
)
