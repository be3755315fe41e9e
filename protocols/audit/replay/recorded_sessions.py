"""Whole sessions that were recorded: the library's own roles say it again, byte by byte, and refuse what they must."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from secagg.errors import PeerError, SecAggError
from secagg.signatures import Identity

from ...inputs.vectors import PrivateSpec
from ...masking import wire
from ...masking.client import Client
from ...masking.config import RoundConfig
from ...masking.server import Server
from ...masking.transitions import ServerPhase
from ..outcome import demand
from . import fixed_randomness
from .configurations import read_configuration, read_policy

Vector = dict[str, Any]


class Run:
    """One session among the library's own roles, in which everyone draws what was recorded.

    Args:
        vector: as tests/vectors/README.md has it; what is derived, said and refused in it is not read.
        config: the round's.
    """

    def __init__(self, vector: Vector, config: RoundConfig) -> None:
        self.vector, self.config, self.policy = vector, config, read_policy(vector)
        seeds = {int(i): given.get("identity_private_key") for i, given in vector["clients"].items()}
        self.identities = {i: Identity(bytes.fromhex(seed)) for i, seed in seeds.items() if seed}
        self.known = {i: identity.public_bytes for i, identity in self.identities.items()}
        with fixed_randomness.for_server(vector["nonce"]):
            self.server = Server(config, known_identities=self.known, threads=1)
        self.clients = {
            i: Client(i, policy=self.policy, identity=self.identities.get(i), known_identities=self.known, threads=1)
            for i in seeds
        }
        self.outgoing: Any = self.server.outgoing()

    def fork(self) -> Run:
        """Return a copy of the session, which goes its own way."""
        other = copy.copy(self)
        other.server = self.server_from(self.server.dump())
        other.clients = {i: self.client_from(i) for i in self.clients}
        return other

    def server_from(self, dump: bytes) -> Server:
        """Return another server in the state of a dump."""
        return Server.load(dump, known_identities=self.known, threads=1)

    def client_from(self, i: int) -> Client:
        """Return another client in the state that client `i` is in."""
        return Client.load(
            self.clients[i].dump(),
            policy=self.policy,
            identity=self.identities.get(i),
            known_identities=self.known,
            threads=1,
        )

    def answer(self, i: int, data: bytes) -> bytes:
        """Return what client `i` says to a message."""
        return self.said_by(self.clients[i], i, data)

    def said_by(self, client: Client, i: int, data: bytes) -> bytes:
        """Return what a client says to a message, drawing and putting in what is recorded of client `i`."""
        given = self.vector["clients"][str(i)]
        values = {name: array(given["values"][name]) for name in given["values"]}
        with fixed_randomness.for_client(given):
            return client.respond_bytes(data, values, weight=given["weight"])

    def collect(self, silent: Any, replaced: Vector, until: int | None = None) -> dict[int, bytes]:
        """Let everyone answer who is not silent, in order, up to a client if one is given; return the answers."""
        answers = {}
        for i, message in self.outgoing.items():
            if i == until:
                break
            if i in silent:
                continue
            answers[i] = self.answer(i, wire.encode(message))
            try:
                self.server.receive_bytes(i, bytes.fromhex(replaced[str(i)]) if str(i) in replaced else answers[i])
            except PeerError:
                if str(i) not in replaced:
                    raise
        return answers

    def finish(self, silent: Vector, replaced: Vector) -> Vector:
        """Run to the end with these silent, and these messages replaced, by phase; return the output."""
        while self.server.phase is not ServerPhase.COMPLETED:
            phase = str(self.server.phase)
            self.collect(silent.get(phase, []), replaced.get(phase, {}))
            self.outgoing = self.server.close_round()
        return self.output()

    def output(self) -> Vector:
        """Return the result as vectors have it."""
        result = self.server.result
        released = {
            spec.name: unrounded(result.sum(spec.name)) for spec in self.config.vectors if isinstance(spec, PrivateSpec)
        }
        return {
            "survivors": sorted(result.survivors),
            "total_weight": result.total_weight,
            "levels": {name: levels.tolist() for name, levels in result.levels.items()},
            "excluded": sorted(result.excluded),
            "liars": sorted(result.liars),
        } | ({"released": released} if released else {})

    def derived(self) -> Vector:
        """Return what follows from the configuration and the nonce, as vectors have it."""
        graph, topology = self.server._graph, self.config.topology
        return {
            "degree": topology.degree,
            "threshold": topology.threshold,
            "session_id": self.server.session_id.hex(),
            "neighbours": {str(i): sorted(graph.neighbours(i)) for i in self.clients},
        }


def unrounded(values: Any) -> list[Any]:
    """Numbers as vectors have them: integers, and floats in hexadecimal."""
    return [value.hex() if isinstance(value, float) else value for value in values.tolist()]


def array(given: list[Any]) -> Any:
    """The array of numbers that a vector has."""
    return np.array([float.fromhex(value) if isinstance(value, str) else value for value in given])


def outcome_of(act: Callable[[], Any]) -> Vector:
    """What comes of it: its output, or the error and whom it names."""
    try:
        return {"output": act()}
    except SecAggError as error:
        return {"error": type(error).__name__, "culprits": sorted(getattr(error, "culprits", ()))}


# Holding the library against a record


def size(vector: Vector) -> int:
    """Return how many messages and outcomes are compared in `check`."""
    messages = sum(len(each["to_clients"]) + len(each["to_server"]) for each in vector["rounds"])
    return messages + len(vector["refused"]) + len(vector["endings"])


def check(vector: Vector, on_progress: Callable[[float], None]) -> int:
    """Replay a session, what is refused in it and its other endings; return how much was compared.

    Raises:
        Refuted: the library says or does something else than was recorded.
    """
    config = read_configuration(vector)
    run = Run(vector, config)
    for name, value in run.derived().items():
        demand(value == vector["derived"][name], f"{name}: another one than was recorded")
    compared, total = 0, size(vector)
    for recorded in vector["rounds"]:
        phase = recorded["phase"]
        demand(str(run.server.phase) == phase, f"the server collects {run.server.phase}, where {phase} was recorded")
        compared += _same(phase, "to", {i: wire.encode(message) for i, message in run.outgoing.items()}, recorded)
        for case in (case for case in vector["refused"] if case["phase"] == phase):
            said = outcome_of(_standing_in(run, case, recorded))
            demand_same(f"{phase}: {case['name']}, to {case['to']}", said, case)
            compared += 1
            on_progress(compared / total)
        compared += _same(phase, "from", run.collect(recorded["silent"], {}), recorded)
        on_progress(compared / total)
        run.outgoing = run.server.close_round()
    demand(run.output() == vector["output"], "the output is another one than was recorded")
    for ending in vector["endings"]:
        ended = Run(vector | {key: ending[key] for key in ("policy",) if key in ending}, config)
        said = outcome_of(partial(ended.finish, ending["silent"], ending["replaced"]))
        demand_same(f"ending: {ending['name']}", said, ending)
        when = ending.get("phase", ended.server.phase)
        demand(when == ended.server.phase, f"ending: {ending['name']}: in {ended.server.phase}, not in {when}")
        compared += 1
        on_progress(compared / total)
    return compared


def _same(phase: str, way: str, messages: dict[int, bytes], recorded: Vector) -> int:
    expected = recorded["to_clients" if way == "to" else "to_server"]
    demand(messages.keys() == {int(i) for i in expected}, f"{phase}: messages {way} other clients than was recorded")
    other = [i for i, data in messages.items() if data.hex() != expected[str(i)]]
    demand(not other, f"{phase}: the message {way} client {other[:1]} has other bytes than was recorded")
    return len(messages)


def _standing_in(run: Run, case: Vector, recorded: Vector) -> Callable[[], Any]:
    """A message with a defect, in a copy of the session: delivered when the honest one would have been."""
    data = bytes.fromhex(case["bytes"])
    if case["to"] != "server":
        return partial(run.said_by, run.client_from(case["to"]), case["to"], data)
    server = run.server_from(run.server.dump())
    for i, message in recorded["to_server"].items():
        if case["second"] or int(i) < case["from"]:
            server.receive_bytes(int(i), bytes.fromhex(message))
    return partial(server.receive_bytes, case["from"], data)


def demand_same(what: str, said: Vector, recorded: Vector) -> None:
    """Raise Refuted unless an outcome is what was recorded."""
    ours, theirs = said.get("error", "no error"), recorded.get("error", "no error")
    demand(ours == theirs, f"{what}: {ours}, where {theirs} was recorded")
    culprits = said.get("culprits"), recorded.get("culprits")
    demand(culprits[0] == culprits[1], f"{what}: {ours} names {culprits[0]}, where {culprits[1]} was recorded")
    demand(said.get("output") == recorded.get("output"), f"{what}: the output is another one than was recorded")
