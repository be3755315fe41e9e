"""The vectors of private sessions: all of a client's noise and rounding is made of words that stand in its vector."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import numpy as np

from dp.clipping import clip
from dp.sensitivity import Adjacency, Norm, Unit
from protocols.audit.replay.recorded_private import epsilon
from protocols.audit.replay.recorded_sessions import Run, array, unrounded
from protocols.core import framing
from protocols.core.machine import Inputs
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import PrivateCounts, PrivateSpec, PrivateVector
from protocols.masking import wire
from protocols.masking.config import RoundConfig
from protocols.masking.messages import ToServer
from protocols.masking.topology import GraphKind
from protocols.privacy.plans import PrivatePlan
from secagg.residues import pack, unpack

from .configurations import written
from .session_defects import Defect, change, frame_anew, read
from .sessions import NUM_CLIENTS, Silent, Vector, drawn, ending, laid_out, numbers, randomness, record

DELTA, DOUBTED = 1e-5, 0.125
COUNTS = PrivateCounts("votes", 36, max_total=5, scale=70, local_sigma=333.25, least_count=4)
FLOATS = PrivateVector("model", 36, l2_clip=1.5, scale=400.5, local_sigma=745.75)


def _floats(name: str, client: int, spec: PrivateVector) -> list[float]:
    """A vector of the clip's length, more or less: odd clients' is longer, and even ones' within it."""
    raw = np.array(numbers(name, client, spec.name, spec.length, 2001), dtype=np.float64) - 1000
    length = spec.l2_clip * (1.0 + client / 4 if client % 2 else 0.99 - client / 64)
    return [float(value) for value in raw * (length / float(np.sqrt((raw * raw).sum())))]


def _counts(name: str, client: int, spec: PrivateCounts) -> list[int]:
    """A histogram whose votes fall into few bins."""
    votes = [vote % 8 for vote in numbers(name, client, spec.name, spec.max_total, spec.length)]
    return [votes.count(index) for index in range(spec.length)]


def _records(name: str, client: int, spec: PrivateSpec) -> list[Any]:
    """Rows of as many records as the client's number: within the clip, since SPEC leaves open how others end up."""
    rows = []
    for number in range(client):
        raw = numbers(name, client, f"{spec.name} {number}", spec.length, 2001)
        if isinstance(spec, PrivateCounts):
            rows.append([int(value > 1900) for value in raw])
            continue
        row = np.array(raw, dtype=np.float64) - 1000
        rows.append(unrounded(row * (spec.l2_clip * 0.99 / float(np.sqrt((row * row).sum())))))
    return rows


def private_randomness(name: str, client: int, config: RoundConfig) -> Vector:
    """All that a client draws in a private session, its input, and that input clipped, where it is too long."""
    given = randomness(name, client, config)
    values: Vector = {}
    clipped: Vector = {}
    rounding: Vector = {}
    for spec in config.vectors:
        if config.unit is Unit.RECORD:
            values[spec.name] = _records(name, client, spec)
            if isinstance(spec, PrivateVector):
                rounding[spec.name] = drawn(name, client, f"{spec.name} rounded", 32).hex()
            continue
        if isinstance(spec, PrivateCounts):
            values[spec.name] = _counts(name, client, spec)
            continue
        floats = np.array(_floats(name, client, spec))
        values[spec.name], rounding[spec.name] = (
            unrounded(floats),
            drawn(name, client, f"{spec.name} rounded", 32).hex(),
        )
        within = clip(floats, spec.l2_clip, Norm.L2)
        if within is not floats:
            clipped[spec.name] = unrounded(within)
    noise = {spec.name: drawn(name, client, f"{spec.name} noise", 32).hex() for spec in config.vectors}
    return given | {"values": values, "clipped": clipped, "rounding_seeds": rounding, "noise_seeds": noise}


# What must be refused


def _configuration_defects(invitation: bytes, config: RoundConfig) -> Iterator[tuple[str, bytes]]:
    """Invitations to sessions that no client may take part in."""
    tag, recipient, proposed, nonce = msgspec.msgpack.decode(invitation[framing.HEADER_BYTES :])
    model, (first, *others), max_weight, minimum, graph = proposed

    def to(
        *, of: list[Any] = model, vectors: tuple[Any, ...] = (), at_least: int = minimum, drawn: str = graph
    ) -> bytes:
        return _framed([tag, recipient, [of, [*(vectors or (first, *others))], max_weight, at_least, drawn], nonce])

    def altered(**fields: Any) -> bytes:
        return to(vectors=(first | fields, *others))

    plain = {"type": "integers", "name": "plain", "length": 1, "max_value": 1, "min_value": 0}
    yield "a plain vector beside private ones", to(vectors=(first, *others, plain))
    yield "a private vector of length zero", altered(length=0)
    yield "a unit that there is none of", altered(unit="site")
    yield (
        "room for records, or counts of one, where the unit is the client",
        altered(unit="client", **{"max_records" if first["type"] == "private-floats" else "max_per_record": 2}),
    )
    if others:
        yield "noise for clients beside noise for records", to(vectors=(_of_other_unit(first), *others))
    yield "noise of a parameter below one half", altered(local_sigma=0.49)
    yield "noise of a parameter above 2^50", altered(local_sigma=2.0**50 * 1.5)
    # The ranges stand in one file for each kind of vector.
    if first["type"] == "private-floats" and others:
        yield "a clip of less than half a step", altered(scale=0.49 / first["l2_clip"])
        yield "a clip of more than 2^29 steps", altered(scale=2.0**30 / first["l2_clip"])
    elif first["type"] == "private-counts":
        yield "counts of zero in all", altered(max_total=0)
        yield "counts in no steps", altered(scale=0)
        yield "more than 2^40 steps", altered(max_total=2**40)
        yield "a negative least count", altered(least_count=-1)
    corrupt = config.threat_model.max_corrupt
    if corrupt:
        yield "survivors of whom all may be corrupt", to(at_least=corrupt)
    if config.threat_model.adversary is Adversary.SEMI_MALICIOUS_SERVER:
        sparse = [*model[:1], 0.125, 0.125, model[3]]
        yield "a sparse graph where stories may differ", to(of=sparse, drawn=GraphKind.RING_FOR_RANDOM_DROPOUTS)
    yield "fewer survivors than the client demands participants", to(at_least=config.min_survivors - 1)
    yield "a tenth less noise than the client demands", altered(local_sigma=first["local_sigma"] * 0.9)


def _of_other_unit(vector: Vector) -> Vector:
    bound = "max_records" if vector["type"] == "private-floats" else "max_per_record"
    return vector | {"unit": "record" if vector["unit"] == "client" else "client", bound: 1}


def _framed(fields: list[Any]) -> bytes:
    return frame_anew(msgspec.msgpack.encode(fields))


def private_defects(
    before: Run, phase: str, to_clients: dict[int, bytes], answers: dict[int, bytes]
) -> Iterator[Defect]:
    """What only private sessions refuse; the rest is in the vectors of the others."""
    to, minimum = next(iter(answers)), before.config.min_survivors
    if phase == "advertise-keys":
        for name, data in _configuration_defects(to_clients[to], before.config):
            yield name, to, 0, data
    elif phase == "consistency-check":
        survivors = read(to_clients[to]).survivors
        fewer = (to, *[i for i in survivors if i != to][: minimum - 2])
        yield (
            "fewer survivors than the noise is made for",
            to,
            0,
            change(to_clients[to], survivors=tuple(sorted(fewer))),
        )
    elif phase == "unmasking" and not read(to_clients[to]).confirmations:
        yield "fewer survivors than the noise is made for", to, 0, change(to_clients[to], num_survivors=minimum - 1)


def _inputs(vector: Vector, config: RoundConfig, silent: Silent) -> list[Vector]:
    """Inputs of one client that cannot be encoded, for their length: nothing is said, and nothing changes."""
    run = Run(vector, config)
    while (phase := str(run.server.phase)) != "masked-input":
        run.collect(silent.get(phase, []), {})
        run.server.close_phase()
    client = min(run.outgoing)
    own = vector["clients"][str(client)]["values"]
    cases = []
    for spec in config.vectors:
        zero: Any = 0 if isinstance(spec, PrivateCounts) else "0x0p+0"
        bad: dict[str, Any] = {
            "one value too few": [zero] * (spec.length - 1),
            "one value too many": [zero] * (spec.length + 1),
        }
        if config.unit is Unit.RECORD:
            bad = {f"{name} in each record": [values, values] for name, values in bad.items()}
            bad |= {"one vector where records are summed": [zero] * spec.length}
        for name, values in bad.items():
            given = Inputs({key: array(value) for key, value in (own | {spec.name: values}).items()})
            outcome = run.outcome_of(partial(run.answer, client, run.outgoing[client], given))
            if "error" not in outcome:
                raise ValueError(f"{name} is not refused")
            case = {"name": name, "client": client, "vector": spec.name, "values": values}
            cases.append(case | {"error": outcome["error"]})
    run.finish({phase: silent.get(phase, []) for phase in silent}, {})  # nothing has changed
    return cases


def _beyond_reach(vector: Vector, config: RoundConfig, owner: int) -> Vector:
    """A client's masked input, shifted by half the modulus: what no noise reaches."""
    honest = next(r for r in vector["rounds"] if r["phase"] == "masked-input")["to_server"][str(owner)]
    message = wire.decode(bytes.fromhex(honest), ToServer, max_bytes=1 << 20)
    codec = config.codecs[0]
    residues = unpack(message.vectors[0], codec.modulus_bits, codec.length)
    residues[0] = (int(residues[0]) + 2 ** (codec.modulus_bits - 1)) % 2**codec.modulus_bits
    packed = (bytes(pack(residues, codec.modulus_bits)), *message.vectors[1:])
    return {"masked-input": {str(owner): wire.encode(msgspec.structs.replace(message, vectors=packed)).hex()}}


def _proposals(vector: Vector, config: RoundConfig) -> list[Vector]:
    """The session's own invitation, and what clients of other policies say to it."""
    own, (client, *_) = vector["policy"], range(1, NUM_CLIENTS + 1)
    demand = own["privacy"]
    spent = _spent(config, demand["rounds"])
    least = own["min_participants"]
    policies = {
        "no demand but as many participants": {"min_participants": least},
        "ten participants": {"min_participants": 10},
        "the default policy": {"defaults": True},
        "hardly more epsilon than it costs": own | {"privacy": demand | {"epsilon": (spent * (1 + 1e-6)).hex()}},
        "hardly less epsilon than it costs": own | {"privacy": demand | {"epsilon": (spent * (1 - 1e-6)).hex()}},
        "one round more": own | {"privacy": demand | {"epsilon": spent.hex(), "rounds": demand["rounds"] + 1}},
        "another adjacency": own | {"privacy": demand | {"epsilon": spent.hex(), "adjacency": "replace-one"}},
        "more colluders": own | {"privacy": demand | {"epsilon": spent.hex(), "corrupt_fraction": (0.25).hex()}},
        "more colluders than survivors": own | {"privacy": demand | {"corrupt_fraction": (0.85).hex()}},
    }
    model, topology = config.threat_model, config.topology
    least_of = {
        "adversary": str(model.adversary),
        "corrupt_fraction": model.corrupt_fraction.hex(),
        "min_clients": model.num_clients,
        "min_neighbours": topology.degree,
        "min_survivors": config.min_survivors,
    }
    policies["all that there is"] = own | least_of
    policies["more corrupt clients"] = own | {"corrupt_fraction": (model.corrupt_fraction + 0.0625).hex()}
    for what in ("clients", "neighbours", "survivors"):
        policies[f"more {what}"] = own | {f"min_{what}": least_of[f"min_{what}"] + 1}
    if not model.adversary.needs_identities:
        policies["a stronger adversary"] = own | {"adversary": str(Adversary.MALICIOUS_SERVER)}
    cases = []
    for name, policy in policies.items():
        run = Run(vector | {"policy": policy}, config)
        said = run.outcome_of(partial(run.answer, client, run.outgoing[client]))
        cases.append({"name": name, "policy": policy, "error": said.get("error")})
    return cases


# What it costs


def _spent(config: RoundConfig, rounds: int) -> float:
    """What a client that doubts one in eight clients takes some rounds to cost."""
    doubted = max(0, int(DOUBTED * NUM_CLIENTS) - config.threat_model.max_corrupt)
    return epsilon(config, config.min_survivors - doubted, DELTA, rounds)


def _costs(config: RoundConfig) -> list[Vector]:
    cases = []
    for survivors in range(config.min_survivors, NUM_CLIENTS + 1):
        for adjacency in Adjacency:
            for rounds in (1, 10):
                case = {"survivors": survivors, "adjacency": str(adjacency), "delta": DELTA.hex(), "rounds": rounds}
                cases.append(case | {"epsilon": epsilon(config, survivors, DELTA, rounds, adjacency).hex()})
                if config.unit is Unit.RECORD and rounds == 1:
                    spent = epsilon(config, survivors, DELTA, 1, adjacency, Unit.CLIENT)
                    cases.append(case | {"unit": "client", "epsilon": spent.hex()})
    return cases


# The sessions


def private_vector(name: str, config: RoundConfig, *, silent: Silent, goal: Vector | None = None) -> Vector:
    """Run a private session and its forks, and write all of it down."""
    rounds = goal["rounds"] if goal else 2
    least = math.ceil(100 * _spent(config, rounds)) / 100
    demand = {"epsilon": least.hex(), "delta": DELTA.hex(), "rounds": rounds, "adjacency": "add-remove"}
    if config.unit is Unit.RECORD:
        demand["unit"] = "record"
    demand["trusts_server"] = not config.threat_model.adversary.may_equivocate
    vector: Vector = {
        "session": name,
        "configuration": written(config),
        "policy": {"min_participants": config.min_survivors, "privacy": demand | {"corrupt_fraction": DOUBTED.hex()}},
        "nonce": drawn(name, 0, "nonce", 32).hex(),
        "clients": {str(i): private_randomness(name, i, config) for i in range(1, NUM_CLIENTS + 1)},
    }
    if goal is not None:
        vector["goal"] = goal
    record(vector, config, silent, private_defects)
    answering = [int(i) for i in vector["rounds"][-1]["to_server"]]
    vanished = list(range(config.min_survivors, NUM_CLIENTS + 1))
    vector["endings"] = [
        ending(vector, config, *case)
        for case in (
            ("one survivor too few for the noise", {"masked-input": vanished}, {}),
            ("an input beyond what noise reaches", silent, _beyond_reach(vector, config, answering[0])),
        )
    ]
    vector["proposals"] = _proposals(vector, config)
    vector["inputs"] = _inputs(vector, config, silent)
    vector["costs"] = _costs(config)
    return vector


def _sparse() -> Vector:
    """The noise is what the plan of a private round asks for."""
    model = ThreatModel(NUM_CLIENTS, 0.125, 0.25, Adversary.CURIOUS_SERVER)
    goal = {"epsilon": (6.0).hex(), "delta": DELTA.hex(), "rounds": 4, "adjacency": "add-remove"}
    plan = PrivatePlan(
        threat_model=model,
        length=36,
        l2_clip=1.5,
        name="model",
        epsilon=6.0,
        delta=DELTA,
        rounds=4,
        min_participants=6,
        graph=GraphKind.RING_FOR_RANDOM_DROPOUTS,
    )
    (planned,) = plan.config.vectors
    rounded = msgspec.structs.replace(planned, local_sigma=math.ceil(planned.local_sigma * 2**20) / 2**20)
    return private_vector(
        "private, curious server, sparse graph",
        msgspec.structs.replace(plan.config, vectors=(rounded,)),
        silent={"share-keys": [3], "masked-input": [6]},
        goal=goal,
    )


def _of(adversary: Adversary, corrupt: float, dropout: float, minimum: int, *specs: PrivateSpec) -> RoundConfig:
    model = ThreatModel(NUM_CLIENTS, corrupt, dropout, adversary)
    return RoundConfig(model, specs, min_survivors=minimum, graph=GraphKind.COMPLETE)


SESSIONS: dict[str, Callable[[], Vector]] = {
    "session-private-curious": _sparse,
    "session-private-semi-malicious": lambda: private_vector(
        "private counts, semi-malicious server",
        _of(Adversary.SEMI_MALICIOUS_SERVER, 0.125, 0.25, 6, COUNTS),
        silent={"advertise-keys": [7], "masked-input": [4]},
    ),
    "session-private-malicious": lambda: private_vector(
        "private floats and counts, malicious server",
        _of(Adversary.MALICIOUS_SERVER, 0.0, 0.375, 5, FLOATS, COUNTS),
        silent={"advertise-keys": [7], "masked-input": [2], "consistency-check": [5]},
    ),
    "session-private-records": lambda: private_vector(
        "private floats and counts of records, semi-malicious server",
        _of(
            Adversary.SEMI_MALICIOUS_SERVER,
            0.125,
            0.25,
            6,
            msgspec.structs.replace(FLOATS, unit=Unit.RECORD, max_records=2),
            msgspec.structs.replace(COUNTS, unit=Unit.RECORD, max_per_record=2),
        ),
        silent={"share-keys": [8]},
    ),
}


def render(name: str) -> str:
    """Return the contents of a private session's file."""
    return laid_out(SESSIONS[name]())
