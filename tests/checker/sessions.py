"""Replays a whole session of protocols/audit/vectors/session-*.json: every message, byte by byte, and every fork."""

import copy
from typing import Any

from . import private_rounds
from .client import Client
from .configuration import Session
from .edwards import verification_key
from .findings import agree
from .refusal import Refused
from .server import Server

Vector = dict[str, Any]


FLOATS = ("clip", "l2_clip", "scale", "local_sigma")


class Run:
    """A session in progress: a copy of it is a fork."""

    def __init__(self, vector: Vector) -> None:
        written = read_configuration(vector["configuration"])
        self.session = Session(written, bytes.fromhex(vector["nonce"]))
        identities = {int(i): given.get("identity_private_key") for i, given in vector["clients"].items()}
        known = {i: verification_key(bytes.fromhex(seed)) for i, seed in identities.items() if seed}
        self.server = Server(self.session, known)
        policy = vector.get("policy")
        self.clients = {int(i): Client(int(i), given, known, policy) for i, given in vector["clients"].items()}
        self.outgoing = self.server.invitations()

    def collect(self, silent: list[int], replaced: dict[str, str], until: int | None = None) -> dict[int, bytes]:
        """Let everyone answer, in the order of ids, up to a client if one is given; refusals cost their senders."""
        answers: dict[int, bytes] = {}
        for i, data in self.outgoing.items():
            if i == until:
                break
            if i in silent:
                continue
            answers[i] = self.clients[i].respond(data)
            try:
                self.server.receive(i, bytes.fromhex(replaced[str(i)]) if str(i) in replaced else answers[i])
            except Refused:
                if str(i) not in replaced:
                    raise
        return answers

    def finish(self, silent: dict[str, list[int]], replaced: dict[str, dict[str, str]]) -> dict[str, Any]:
        while self.server.phase != "completed":
            phase = self.server.phase
            self.collect(silent.get(phase, []), replaced.get(phase, {}))
            self.outgoing = self.server.close()
        return self.server.output()


def read_configuration(given: Vector) -> list[Any]:
    """The array of SPEC section 8 from the vector's names, with its floats as they are."""
    model = given["threat_model"]
    vectors = [
        vector | {name: float.fromhex(vector[name]) for name in FLOATS if isinstance(vector.get(name), str)}
        for vector in given["vectors"]
    ]
    fractions = [float.fromhex(model[name]) for name in ("corrupt_fraction", "dropout_fraction")]
    return [
        [model["num_clients"], *fractions, model["adversary"]],
        vectors,
        given["max_weight"],
        given["min_survivors"],
        given["complete_graph"],
    ]


def check(vector: Vector) -> int:
    """Replay a session and all its forks; return how many things were compared."""
    run = Run(vector)
    derived = vector["derived"]
    topology = run.session.topology
    agree("degree", topology.degree, derived["degree"])
    agree("threshold", topology.threshold, derived["threshold"])
    agree("session id", run.session.id.hex(), derived["session_id"])
    compared = 4
    for recorded in vector["rounds"]:
        phase = recorded["phase"]
        agree("phase", run.server.phase, phase)
        agree(f"{phase}, to clients", _hex(run.outgoing), recorded["to_clients"])
        for case in vector["refused"]:
            if case["phase"] == phase:
                agree(f"refused: {case['name']}", refusal(run, case, recorded), (case["error"], case["culprits"]))
                compared += 1
        answers = run.collect(recorded["silent"], {})
        agree(f"{phase}, to the server", _hex(answers), recorded["to_server"])
        compared += 2
        run.outgoing = run.server.close()
    agree("neighbours", {str(i): sorted(n) for i, n in run.session.neighbours.items()}, derived["neighbours"])
    agree("output", run.server.output(), vector["output"])
    for ending in vector["endings"]:
        ended = Run(vector | {key: ending[key] for key in ("policy",) if key in ending})
        try:
            outcome: Any = {"output": ended.finish(ending["silent"], ending["replaced"])}
        except Refused as refused:
            outcome = {"error": refused.error, "culprits": refused.culprits}
            outcome |= {"phase": ended.server.phase} if "phase" in ending else {}
        expected = {key: ending[key] for key in ("output", "error", "culprits", "phase") if key in ending}
        agree(f"ending: {ending['name']}", outcome, expected)
        compared += 1
    return compared + 1 + private_rounds.check(vector, run.session)


def refusal(run: Run, case: Vector, recorded: Vector) -> tuple[str, list[int]]:
    """What comes of a message that stands in for the honest one, delivered when that would have been."""
    shared = [run.session, *(client.given for client in run.clients.values())]  # nobody changes them
    fork = copy.deepcopy(run, {id(part): part for part in shared})
    data = bytes.fromhex(case["bytes"])
    try:
        if case["to"] == "server":
            fork.collect(recorded["silent"], {}, until=None if case["second"] else case["from"])
            fork.server.receive(case["from"], data)
        else:
            fork.clients[case["to"]].respond(data)
    except Refused as refused:
        return refused.error, refused.culprits
    return "accepted", []


def _hex(messages: dict[int, bytes]) -> dict[str, str]:
    return {str(i): data.hex() for i, data in messages.items()}
