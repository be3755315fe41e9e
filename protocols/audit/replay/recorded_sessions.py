"""Replays recorded sessions with the library's own roles, and compares every message and every refusal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import numpy as np

from secagg.errors import SecAggError
from secagg.signatures import Identity

from ...core.machine import Inputs
from ...core.participants import Participants
from ...inputs.vectors import PrivateSpec
from ...masking.client import Client
from ...masking.config import RoundConfig
from ...masking.server import Server
from ...simulation.driver import Crossing, Session
from ..outcome import demand
from .configurations import read_configuration, read_policy
from .recorded_randomness import Recorded, drawn_for

Vector = dict[str, Any]
EMPTY: Mapping[str, bytes] = {}


class Run:
    """One session among the library's own roles, in which everyone draws what was recorded.

    Args:
        vector: as tests/vectors/README.md has it; what is derived, said and refused in it is not read.
        config: the round's.
        server: where it goes on from; a new one if None.
        dumps: of the clients that have answered, by name.
    """

    def __init__(
        self, vector: Vector, config: RoundConfig, server: Server | None = None, dumps: Mapping[str, bytes] = EMPTY
    ) -> None:
        self.vector, self.config, self.policy = vector, config, read_policy(vector)
        seeds = {int(i): given.get("identity_private_key") for i, given in vector["clients"].items()}
        self.identities = {i: Identity(bytes.fromhex(seed)) for i, seed in seeds.items() if seed}
        numbered = Participants.numbered(len(seeds))
        keys = {numbered.name(i): identity.public_bytes for i, identity in self.identities.items()}
        self.participants = Participants(keys) if keys else numbered
        self._sources = {name: Recorded() for name in self.participants}
        self._dumps = dumps
        self._answers: dict[int, bytes] = {}
        self._replaced: Vector = {}
        if server is None:
            server = Server(config, self.participants, random=Recorded(vector["nonce"]), threads=1)
        self.session: Session[Server, Client] = Session(server, self._join, self._inputs, self._carry)

    @property
    def server(self) -> Server:
        """The server."""
        return self.session.coordinator

    @property
    def outgoing(self) -> dict[int, bytes]:
        """What the server sends in this phase, by number."""
        return {self.participants.number(name): data for name, data in self.server.outgoing().items()}

    def fork(self) -> Run:
        """Return a copy of the session, which goes its own way."""
        dumps = {name: client.dump() for name, client in self.session.participants.items()}
        return Run(self.vector, self.config, Server.load(self.server.dump(), threads=1), {**self._dumps, **dumps})

    def answer(self, i: int, data: bytes, inputs: Inputs | None = None) -> bytes:
        """Return what client `i` answers to a message, with the recorded inputs or others."""
        name = self.participants.name(i)
        if name not in self.session.participants:
            self.session.participants[name] = self._join(name)
        self._carry(Crossing(str(self.server.phase), name, False, data))
        return self.session.participants[name].respond(data, inputs or self._inputs(name))

    def collect(self, silent: Collection[int], replaced: Vector, until: int | None = None) -> dict[int, bytes]:
        """Let everyone answer who is not silent, in order, up to a client if one is given; return the answers.

        Raises:
            SecAggError: the first refusal that is not the server's of a replaced message.
        """
        later = range(until, len(self.participants) + 1) if until else ()
        self._answers, self._replaced, self.session.refusals = {}, replaced, []
        self.session.collect(self.participants.named({*silent, *later}))
        for refusal in self.session.refusals:
            if not refusal.by_coordinator or str(self.participants.number(refusal.name)) not in replaced:
                raise refusal.error
        return self._answers

    def finish(self, silent: Vector, replaced: Vector) -> Vector:
        """Run to the end with these silent, and these messages replaced, by phase; return the output."""
        while not self.server.ended:
            phase = str(self.server.phase)
            self.collect(silent.get(phase, []), replaced.get(phase, {}))
            self.server.close_phase()
        return self.output()

    def output(self) -> Vector:
        """Return the result as vectors have it."""
        result, number = self.server.result, self.participants.number
        released = {
            spec.name: unrounded(result.sum(spec.name)) for spec in self.config.vectors if isinstance(spec, PrivateSpec)
        }
        clipped = list(result.num_clipped.values())
        output = {
            "survivors": sorted(map(number, result.survivors)),
            "total_weight": result.total_weight,
            "levels": {name: levels.tolist() for name, levels in result.levels.items()},
            "excluded": sorted(map(number, result.excluded)),
            "liars": sorted(map(number, result.liars)),
        }
        return output | ({"num_clipped": clipped} if clipped else {}) | ({"released": released} if released else {})

    def derived(self) -> Vector:
        """Return what follows from the configuration and the nonce, as vectors have it."""
        graph, topology = self.server.graph, self.config.topology
        return {
            "degree": topology.degree,
            "threshold": topology.threshold,
            "session_id": self.server.session_id.hex(),
            "neighbours": {i: sorted(graph.neighbours(int(i))) for i in self.vector["clients"]},
        }

    def outcome_of(self, act: Callable[[], Any]) -> Vector:
        """Return what comes of it; see the function of that name."""
        return outcome_of(act, self.participants.number)

    def _given(self, name: str) -> Vector:
        given: Vector = self.vector["clients"][str(self.participants.number(name))]
        return given

    def _inputs(self, name: str) -> Inputs:
        given = self._given(name)
        return Inputs({vector: array(values) for vector, values in given["values"].items()}, given["weight"])

    def _join(self, name: str) -> Client:
        credentials: Vector = {
            "policy": self.policy,
            "identity": self.identities.get(self.participants.number(name)),
            "participants": self.participants if self.identities else None,
            "random": self._sources[name],
            "threads": 1,
        }
        return Client.load(self._dumps[name], **credentials) if name in self._dumps else Client(**credentials)

    def _carry(self, crossing: Crossing) -> bytes:
        """Keep what clients say, put what replaces it in its place, and lay out what a client will draw."""
        if not crossing.to_coordinator:
            self._sources[crossing.name].expect(drawn_for(self._given(crossing.name), self.config, crossing.data))
            return crossing.data
        i = self.participants.number(crossing.name)
        self._answers[i] = crossing.data
        return bytes.fromhex(self._replaced[str(i)]) if str(i) in self._replaced else crossing.data


def unrounded(values: Any) -> list[Any]:
    """Numbers as vectors have them: integers, and floats in hexadecimal; in rows where there are."""
    if values.ndim == 2:
        return [unrounded(row) for row in values]
    return [value.hex() if isinstance(value, float) else value for value in values.tolist()]


def array(given: list[Any]) -> Any:
    """The array of numbers that a vector has, of one or two dimensions."""
    if given and isinstance(given[0], list):
        return np.array([array(row) for row in given])
    return np.array([float.fromhex(value) if isinstance(value, str) else value for value in given])


def outcome_of(act: Callable[[], Any], number: Callable[[str], int] = int) -> Vector:
    """Return what comes of it: its output, or the error and whom it names, by number.

    Args:
        act: what is done.
        number: a coordinator's errors name participants: returns the number for a name.
    """
    try:
        return {"output": act()}
    except SecAggError as error:
        culprits = (number(who) if isinstance(who, str) else who for who in getattr(error, "culprits", ()))
        return {"error": type(error).__name__, "culprits": sorted(culprits)}


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
    compared, total = 0, size(vector)
    for recorded in vector["rounds"]:
        phase = recorded["phase"]
        demand(str(run.server.phase) == phase, f"the server collects {run.server.phase}, where {phase} was recorded")
        compared += _same(phase, "to", run.outgoing, recorded)
        for case in (case for case in vector["refused"] if case["phase"] == phase):
            said = run.outcome_of(partial(_stand_in, run.fork(), case, recorded))
            demand_same(f"{phase}: {case['name']}, to {case['to']}", said, case)
            compared += 1
            on_progress(compared / total)
        compared += _same(phase, "from", run.collect(recorded["silent"], {}), recorded)
        on_progress(compared / total)
        run.server.close_phase()
    for name, value in run.derived().items():
        demand(value == vector["derived"][name], f"{name}: another one than was recorded")
    demand(run.output() == vector["output"], "the output is another one than was recorded")
    for ending in vector["endings"]:
        ended = Run(vector | {key: ending[key] for key in ("policy",) if key in ending}, config)
        said = ended.outcome_of(partial(ended.finish, ending["silent"], ending["replaced"]))
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


def _stand_in(fork: Run, case: Vector, recorded: Vector) -> Any:
    """Deliver a message with a defect, in a copy of the session, when the honest one would have been."""
    data = bytes.fromhex(case["bytes"])
    if case["to"] != "server":
        return fork.answer(case["to"], data)
    for i, message in recorded["to_server"].items():
        if case["second"] or int(i) < case["from"]:
            fork.server.receive(fork.participants.name(int(i)), bytes.fromhex(message))
    return fork.server.receive(fork.participants.name(case["from"]), data)


def demand_same(what: str, said: Vector, recorded: Vector) -> None:
    """Raise Refuted unless an outcome is what was recorded."""
    ours, theirs = said.get("error", "no error"), recorded.get("error", "no error")
    demand(ours == theirs, f"{what}: {ours}, where {theirs} was recorded")
    culprits = said.get("culprits"), recorded.get("culprits")
    demand(culprits[0] == culprits[1], f"{what}: {ours} names {culprits[0]}, where {culprits[1]} was recorded")
    demand(said.get("output") == recorded.get("output"), f"{what}: the output is another one than was recorded")
