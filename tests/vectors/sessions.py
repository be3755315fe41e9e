"""The vectors of whole sessions: the library's own roles, with what is random in use replaced by what stands here.

Every fork of a session that must fail differs in one thing from the session itself.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np

from protocols import client_steps, wire
from protocols import server as server_module
from protocols.client import Client
from protocols.configuration import RoundConfig
from protocols.graph import Graph
from protocols.messages import ToServer
from protocols.parameters import Adversary, ThreatModel
from protocols.server import Server
from protocols.transitions import ServerPhase
from protocols.vectors import FloatVector, IntegerVector
from secagg import aead, encoding, field, key_agreement, signatures
from secagg.encoding import Rounding
from secagg.errors import PeerError, SecAggError
from secagg.field import PRIME
from secagg.signatures import Identity

from .session_defects import SECOND, defects

Vector = dict[str, Any]
NUM_CLIENTS = 8
VECTORS = (
    FloatVector("model", 5, clip=2.5, value_bits=16, weighted=True, rounding=Rounding.STOCHASTIC),
    FloatVector("loss", 1, clip=4.0, value_bits=24, rounding=Rounding.NEAREST),
    IntegerVector("votes", 3, max_value=7),
)


def drawn(name: str, client: int, purpose: str, size: int) -> bytes:
    """What stands for the operating system's randomness: nothing up any sleeve."""
    return hashlib.shake_256(f"secagg vectors/{name}/{client}/{purpose}".encode()).digest(size)


def numbers(name: str, client: int, purpose: str, count: int, below: int) -> list[int]:
    data = drawn(name, client, purpose, 16 * count)
    return [int.from_bytes(data[16 * i : 16 * i + 16], "big") % below for i in range(count)]


def randomness(name: str, client: int, config: RoundConfig) -> Vector:
    """All that a client draws in a session, and its input."""
    rows, signs = config.topology.threshold - 1, config.threat_model.adversary
    given: Vector = {
        key: drawn(name, client, key, 32).hex() for key in ("cipher_private_key", "mask_private_key", "self_mask_seed")
    }
    if signs.may_equivocate:
        given["confirmation_private_key"] = drawn(name, client, "confirmation_private_key", 32).hex()
    if signs.needs_identities:
        given["identity_private_key"] = drawn(name, client, "identity_private_key", 32).hex()
    for key in ("seed_coefficients", "mask_key_coefficients"):
        flat = numbers(name, client, key, 9 * rows, PRIME)
        given[key] = [flat[9 * row : 9 * row + 9] for row in range(rows)]
    others = [peer for peer in range(1, NUM_CLIENTS + 1) if peer != client]
    given["nonces"] = {str(peer): drawn(name, client, f"nonce {peer}", 12).hex() for peer in others}
    values: Vector = {}
    seeds: Vector = {}
    for spec in config.vectors:
        if isinstance(spec, IntegerVector):
            values[spec.name] = numbers(name, client, spec.name, spec.length, spec.max_value + 1)
        else:
            raw = numbers(name, client, spec.name, spec.length, 2401)
            values[spec.name] = [((number - 1200) / 1000 * spec.clip).hex() for number in raw]
            seeds[spec.name] = drawn(name, client, f"rounding of {spec.name}", 32).hex()
    given |= {"values": values, "rounding_seeds": seeds}
    given["weight"] = numbers(name, client, "weight", 1, config.max_weight + 1)[0] if config.weighted else 1
    return given


@contextmanager
def replaced_randomness(given: Vector) -> Iterator[None]:
    """Let what a client draws in one step be what its vector says."""
    keys = iter([given["cipher_private_key"], given["mask_private_key"]])
    seeds = iter(given["rounding_seeds"].values())
    rows = iter([given["seed_coefficients"], given["mask_key_coefficients"]])

    def source(next_value: Callable[[], str]) -> SimpleNamespace:
        return SimpleNamespace(urandom=lambda size: bytes.fromhex(next_value())[:size])

    def seal(key: bytes, plaintext: bytes, *, associated_data: bytes) -> bytes:
        recipient = int.from_bytes(associated_data[-4:], "big")
        return aead._seal(key, plaintext, associated_data, bytes.fromhex(given["nonces"][str(recipient)]))

    def elements(count: int) -> Any:
        flat = np.array(next(rows), dtype=np.uint64).reshape(-1)
        if flat.size != count:
            raise ValueError(f"{count} field elements are drawn, but the vector has {flat.size}")
        return flat

    with ExitStack() as stack:
        for module, replacement in (
            (key_agreement, source(lambda: next(keys))),
            (signatures, source(lambda: given["confirmation_private_key"])),
            (client_steps, source(lambda: given["self_mask_seed"])),
            (encoding, source(lambda: next(seeds))),
        ):
            stack.enter_context(patch.object(module, "os", replacement))
        stack.enter_context(patch.object(client_steps.aead, "seal", seal))
        stack.enter_context(patch.object(field, "random_elements", elements))
        yield


class Run:
    """One session among the library's own roles; what is said is recorded."""

    def __init__(self, vector: Vector, config: RoundConfig) -> None:
        self.vector, self.config = vector, config
        seeds = {int(i): given.get("identity_private_key") for i, given in vector["clients"].items()}
        self.identities = {i: Identity(bytes.fromhex(seed)) for i, seed in seeds.items() if seed}
        self.known = {i: identity.public_bytes for i, identity in self.identities.items()}
        nonce = SimpleNamespace(urandom=lambda size: bytes.fromhex(vector["nonce"])[:size])
        with patch.object(server_module, "os", nonce):
            self.server = Server(config, known_identities=self.known, threads=1)
        self.clients = {
            i: Client(i, identity=self.identities.get(i), known_identities=self.known, threads=1)
            for i in range(1, NUM_CLIENTS + 1)
        }
        self.outgoing: Any = self.server.invitations()

    def fork(self) -> Run:
        other = copy.copy(self)
        other.server = Server.load(self.server.dump(), known_identities=self.known, threads=1)
        other.clients = {
            i: Client.load(client.dump(), identity=self.identities.get(i), known_identities=self.known, threads=1)
            for i, client in self.clients.items()
        }
        return other

    def answer(self, client: int, data: bytes) -> bytes:
        given = self.vector["clients"][str(client)]
        values = {
            spec.name: np.array(given["values"][spec.name])
            if isinstance(spec, IntegerVector)
            else np.array([float.fromhex(value) for value in given["values"][spec.name]])
            for spec in self.config.vectors
        }
        with replaced_randomness(given):
            return self.clients[client].respond_bytes(data, values, weight=given["weight"])

    def collect(self, silent: Any, replaced: Vector, until: int | None = None) -> dict[int, bytes]:
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
        while self.server.phase is not ServerPhase.COMPLETED:
            phase = str(self.server.phase)
            self.collect(silent.get(phase, []), replaced.get(phase, {}))
            self.outgoing = self.server.close_round()
        return self.output()

    def output(self) -> Vector:
        result = self.server.result
        return {
            "survivors": sorted(result.survivors),
            "total_weight": result.total_weight,
            "levels": {name: levels.tolist() for name, levels in result.levels.items()},
            "excluded": sorted(result.excluded),
            "liars": sorted(result.liars),
        }


def _written(config: RoundConfig) -> Vector:
    """The configuration by the names of SPEC section 8."""
    model = config.threat_model
    vectors = [msgspec.to_builtins(spec) for spec in config.vectors]
    return {
        "threat_model": {
            "num_clients": model.num_clients,
            "corrupt_fraction": model.corrupt_fraction.hex(),
            "dropout_fraction": model.dropout_fraction.hex(),
            "adversary": str(model.adversary),
        },
        "vectors": [spec | ({"clip": spec["clip"].hex()} if "clip" in spec else {}) for spec in vectors],
        "max_weight": config.max_weight,
        "minimum_survivors": config.minimum_survivors,
        "complete_graph": config.complete_graph,
    }


def read_configuration(vector: Vector) -> RoundConfig:
    """The configuration that a vector has."""
    given = vector["configuration"]
    model = given["threat_model"]
    fractions = [float.fromhex(model[name]) for name in ("corrupt_fraction", "dropout_fraction")]
    kinds = {"floats": FloatVector, "integers": IntegerVector}
    specs = []
    for spec in given["vectors"]:
        fields = {name: value for name, value in spec.items() if name != "type"}
        if "clip" in fields:
            fields |= {"clip": float.fromhex(fields["clip"]), "rounding": Rounding(fields["rounding"])}
        specs.append(kinds[spec["type"]](**fields))
    return RoundConfig(
        ThreatModel(model["num_clients"], *fractions, Adversary(model["adversary"])),
        tuple(specs),
        given["max_weight"],
        given["minimum_survivors"],
        given["complete_graph"],
    )


def _outcome(run: Run, act: Callable[[Run], Any]) -> Vector:
    try:
        return {"output": act(run)}
    except SecAggError as error:
        return {"error": type(error).__name__, "culprits": sorted(getattr(error, "culprits", ()))}


def session_vector(
    name: str,
    adversary: Adversary,
    *,
    corrupt: float,
    dropout: float,
    silent: dict[str, list[int]],
    weighted: bool = True,
    complete_graph: bool = False,
) -> Vector:
    """Run a session and its forks, and write all of it down."""
    specs = VECTORS if weighted else VECTORS[1:]
    model = ThreatModel(NUM_CLIENTS, corrupt, dropout, adversary)
    config = RoundConfig(model, specs, max_weight=10 if weighted else 1, complete_graph=complete_graph)
    vector: Vector = {
        "session": name,
        "configuration": _written(config),
        "nonce": drawn(name, 0, "nonce", 32).hex(),
        "clients": {str(i): randomness(name, i, config) for i in range(1, NUM_CLIENTS + 1)},
    }
    run = Run(vector, config)
    graph: Graph = run.server._graph
    vector["derived"] = {
        "degree": config.topology.degree,
        "threshold": config.topology.threshold,
        "session_id": run.server.session_id.hex(),
        "neighbours": {str(i): sorted(graph.neighbours(i)) for i in range(1, NUM_CLIENTS + 1)},
    }
    rounds: list[Vector] = []
    refused: list[Vector] = []
    while run.server.phase is not ServerPhase.COMPLETED:
        phase = str(run.server.phase)
        before = run.fork()
        to_clients = {i: wire.encode(message) for i, message in run.outgoing.items()}
        quiet = silent.get(phase, [])
        answers = run.collect(quiet, {})
        rounds.append(
            {
                "phase": phase,
                "silent": quiet,
                "to_clients": {str(i): data.hex() for i, data in to_clients.items()},
                "to_server": {str(i): data.hex() for i, data in answers.items()},
            }
        )
        refused += _refusals(before, phase, quiet, to_clients, answers)
        run.outgoing = run.server.close_round()
    vector |= {"rounds": rounds, "output": run.output(), "refused": refused}
    vector["endings"] = _endings(vector, config, silent)
    return vector


def _refusals(
    before: Run, phase: str, silent: list[int], to_clients: dict[int, bytes], answers: dict[int, bytes]
) -> list[Vector]:
    cases = []
    for name, to, sender, data in defects(before, phase, to_clients, answers):
        fork = before.fork()

        def act(fork: Run, name: str = name, to: Any = to, sender: int = sender, data: bytes = data) -> Any:
            if to != "server":
                return fork.answer(to, data)
            fork.collect(silent, {}, until=None if name == SECOND else sender)
            return fork.server.receive_bytes(sender, data)

        outcome = _outcome(fork, act)
        if "error" not in outcome:
            raise ValueError(f"{name} is not refused")
        where = {"phase": phase, "to": to, "from": sender, "second": name == SECOND, "bytes": data.hex()}
        cases.append({"name": name} | where | outcome)
    return cases


def _endings(vector: Vector, config: RoundConfig, silent: dict[str, list[int]]) -> list[Vector]:
    """Sessions in which more vanish, or holders lie: the same randomness, another end."""
    responses = next(r for r in vector["rounds"] if r["phase"] == "unmasking")["to_server"]
    shares_keys = next(r for r in vector["rounds"] if r["phase"] == "share-keys")["to_server"]

    def lying(holders: list[int]) -> Vector:
        out = {}
        for holder in holders:
            message = wire.decode(bytes.fromhex(responses[str(holder)]), ToServer, max_bytes=1 << 20)
            seeds = {owner: _flip_low(share) for owner, share in message.self_mask_shares.items()}
            out[str(holder)] = wire.encode(msgspec.structs.replace(message, self_mask_shares=seeds)).hex()
        return {"unmasking": out}

    answering = [int(i) for i in responses]
    torn = {str(next(iter(shares_keys))): shares_keys[str(next(iter(shares_keys)))][:-2]}
    cases: list[tuple[str, Vector, Vector]] = [
        ("nobody vanishes", {}, {}),
        ("one more vanishes before unmasking", silent | {"unmasking": [answering[-1]]}, {}),
        ("everyone but one vanishes with the inputs", {"masked-input": answering[1:]}, {}),
        ("everyone but two vanishes before unmasking", silent | {"unmasking": answering[2:]}, {}),
        ("everyone vanishes with the keys", {"advertise-keys": list(range(1, NUM_CLIENTS + 1))}, {}),
        ("a holder lies", silent, lying(answering[:1])),
        ("every holder lies", silent, lying(answering)),
        ("shares are damaged on their way, and cost their sender the session", {}, {"share-keys": torn}),
    ]
    endings = []
    for name, quiet, replaced in cases:

        def act(run: Run, quiet: Vector = quiet, replaced: Vector = replaced) -> Vector:
            return run.finish(quiet, replaced)

        outcome = _outcome(Run(vector, config), act)
        endings.append({"name": name, "silent": quiet, "replaced": replaced} | outcome)
    return endings


def _flip_low(share: bytes) -> bytes:
    """Another share that is well-formed: its first element has another lowest bit."""
    return bytes([share[0] ^ 1]) + share[1:]


SESSIONS: dict[str, Callable[[], Vector]] = {
    "session-curious-sparse": lambda: session_vector(
        "curious server, sparse graph",
        Adversary.CURIOUS_SERVER,
        corrupt=0.125,
        dropout=0.25,
        silent={"share-keys": [3], "masked-input": [6]},
    ),
    "session-curious-complete": lambda: session_vector(
        "curious server, complete graph",
        Adversary.CURIOUS_SERVER,
        corrupt=0.25,
        dropout=0.5,
        silent={"advertise-keys": [8], "share-keys": [2], "masked-input": [5], "unmasking": [1]},
        weighted=False,
        complete_graph=True,
    ),
    "session-semi-malicious": lambda: session_vector(
        "semi-malicious server, sparse graph",
        Adversary.SEMI_MALICIOUS_SERVER,
        corrupt=0.125,
        dropout=0.125,
        silent={"masked-input": [4]},
    ),
    "session-malicious": lambda: session_vector(
        "malicious server, complete graph",
        Adversary.MALICIOUS_SERVER,
        corrupt=0.0,
        dropout=0.375,
        silent={"advertise-keys": [7], "masked-input": [2], "consistency-check": [5]},
    ),
}


def render(name: str) -> str:
    """Return the contents of a session's file: one client, round, message or case a line."""
    vector = SESSIONS[name]()
    clients = ",\n".join(f'    "{i}": {json.dumps(given)}' for i, given in vector.pop("clients").items())
    listed = {key: vector.pop(key) for key in ("rounds", "refused", "endings")}
    parts = [f'  "{key}": {json.dumps(value)}' for key, value in vector.items()]
    parts.append(f'  "clients": {{\n{clients}\n  }}')
    for key, items in listed.items():
        lines = ",\n".join("    " + json.dumps(item) for item in items)
        parts.append(f'  "{key}": [\n{lines}\n  ]')
    return "{\n" + ",\n".join(parts) + "\n}\n"
