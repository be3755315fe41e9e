"""The vectors of whole sessions: the library's own roles, with what is random in use replaced by what stands here.

Every fork of a session that must fail differs in one thing from the session itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from protocols.audit.replay.recorded_sessions import Run
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector, IntegerVector
from protocols.masking import wire
from protocols.masking.config import RoundConfig
from protocols.masking.messages import COMMITMENTS_BYTES, SEALED_SHARES_BYTES, SHARE_BYTES, ToServer, records
from protocols.masking.topology import GraphKind
from secagg.encoding import Rounding
from secagg.field import PRIME

from .configurations import written
from .session_defects import SECOND, Defect, change, defects

Vector = dict[str, Any]
Silent = dict[str, list[int]]
NUM_CLIENTS = 8
VECTORS = (
    FloatVector("model", 5, clip=2.5, value_bits=16, weighted=True, rounding=Rounding.STOCHASTIC),
    FloatVector("loss", 1, clip=4.0, value_bits=24, rounding=Rounding.NEAREST),
    IntegerVector("votes", 3, max_value=7, min_value=-2),
)


def drawn(name: str, client: int, purpose: str, size: int) -> bytes:
    """What stands for the operating system's randomness: nothing up any sleeve."""
    return hashlib.shake_256(f"secagg vectors/{name}/{client}/{purpose}".encode()).digest(size)


def numbers(name: str, client: int, purpose: str, count: int, below: int) -> list[int]:
    data = drawn(name, client, purpose, 16 * count)
    return [int.from_bytes(data[16 * i : 16 * i + 16], "big") % below for i in range(count)]


def randomness(name: str, client: int, config: RoundConfig) -> Vector:
    """All that a client draws in a session, and its input; those of private vectors are `private`'s."""
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
            reach = spec.max_value - spec.min_value
            values[spec.name] = [spec.min_value + n for n in numbers(name, client, spec.name, spec.length, reach + 1)]
        elif isinstance(spec, FloatVector):
            raw = numbers(name, client, spec.name, spec.length, 2401)
            values[spec.name] = [((number - 1200) / 1000 * spec.clip).hex() for number in raw]
            seeds[spec.name] = drawn(name, client, f"rounding of {spec.name}", 32).hex()
    given |= {"values": values, "rounding_seeds": seeds}
    given["weight"] = numbers(name, client, "weight", 1, config.max_weight + 1)[0] if config.weighted else 1
    return given


def session_vector(
    name: str,
    adversary: Adversary,
    *,
    corrupt: float,
    dropout: float,
    silent: Silent,
    weighted: bool = True,
    complete_graph: bool = False,
) -> Vector:
    """Run a session and its forks, and write all of it down."""
    specs = VECTORS if weighted else VECTORS[1:]
    model = ThreatModel(NUM_CLIENTS, corrupt, dropout, adversary)
    graph = GraphKind.COMPLETE if complete_graph else GraphKind.RING_FOR_RANDOM_DROPOUTS
    config = RoundConfig(model, specs, max_weight=10 if weighted else 1, graph=graph)
    vector: Vector = {
        "session": name,
        "configuration": written(config),
        "nonce": drawn(name, 0, "nonce", 32).hex(),
        "clients": {str(i): randomness(name, i, config) for i in range(1, NUM_CLIENTS + 1)},
    }
    record(vector, config, silent, defects)
    vector["endings"] = _endings(vector, config, silent)
    return vector


def record(vector: Vector, config: RoundConfig, silent: Silent, defects_of: Callable[..., Iterator[Defect]]) -> None:
    """Run the session, and add to the vector what follows, what is said, and what is refused in its rounds."""
    run = Run(vector, config)
    rounds: list[Vector] = []
    refused: list[Vector] = []
    while not run.server.ended:
        phase, before, to_clients = str(run.server.phase), run.fork(), run.outgoing
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
        refused += _refusals(before, phase, quiet, defects_of(before, phase, to_clients, answers))
        run.server.close_phase()
    vector |= {"derived": run.derived(), "rounds": rounds, "output": run.output(), "refused": refused}


def _refusals(before: Run, phase: str, silent: list[int], found: Iterator[Defect]) -> Iterator[Vector]:
    for name, to, sender, data in found:
        outcome = before.outcome_of(partial(_meet, before.fork(), silent, name, to, sender, data))
        if "error" not in outcome:
            raise ValueError(f"{name} is not refused")
        where = {"phase": phase, "to": to, "from": sender, "second": name == SECOND, "bytes": data.hex()}
        yield {"name": name} | where | outcome


def _meet(fork: Run, silent: list[int], name: str, to: Any, sender: int, data: bytes) -> Any:
    if to != "server":
        return fork.answer(to, data)
    fork.collect(silent, {}, until=None if name == SECOND else sender)
    return fork.server.receive(fork.participants.name(sender), data)


def _endings(vector: Vector, config: RoundConfig, silent: Silent) -> list[Vector]:
    """Sessions in which more vanish, or holders lie: the same randomness, another end."""
    responses = next(r for r in vector["rounds"] if r["phase"] == "unmasking")["to_server"]
    shares_keys = next(r for r in vector["rounds"] if r["phase"] == "share-keys")["to_server"]

    def lying(holders: list[int]) -> Vector:
        out = {}
        for holder in holders:
            message = wire.decode(bytes.fromhex(responses[str(holder)]), ToServer, max_bytes=1 << 20)
            wrong = b"".join(map(_flip_low, records(message.shares, SHARE_BYTES)))
            out[str(holder)] = wire.encode(msgspec.structs.replace(message, shares=wrong)).hex()
        return {"unmasking": out}

    answering = [int(i) for i in responses]
    late = ((i, ending(vector, config, "", silent | {"unmasking": [i]}, {})) for i in reversed(answering))
    spared = next((i for i, outcome in late if "output" in outcome), answering[-1])  # others may hold too much
    torn = {str(next(iter(shares_keys))): shares_keys[str(next(iter(shares_keys)))][:-2]}
    dealer = answering[0]
    dealt = bytes.fromhex(shares_keys[str(dealer)])
    message = wire.decode(dealt, ToServer, max_bytes=1 << 20)

    def dealing(what: str, size: int, spoil: Callable[[bytes], bytes], count: int | None = None) -> Vector:
        """The dealer's message with what is for the first holders spoilt, or for all."""
        cut = records(getattr(message, what), size)
        changed = b"".join([*map(spoil, cut[:count]), *cut[len(cut) if count is None else count :]])
        return {"share-keys": {str(dealer): change(dealt, **{what: changed}).hex()}}

    def other(pair: bytes) -> bytes:
        return pair[:32] + _flip_low(pair[32:])

    before_inputs = "accept-shares" if config.threat_model.adversary.needs_identities else "masked-input"
    cases: list[tuple[str, Vector, Vector]] = [
        ("nobody vanishes", {}, {}),
        ("one more vanishes before unmasking", silent | {"unmasking": [spared]}, {}),
        ("everyone but one vanishes with the inputs", {"masked-input": answering[1:]}, {}),
        ("everyone but two vanishes before unmasking", silent | {"unmasking": answering[2:]}, {}),
        ("everyone vanishes with the keys", {"advertise-keys": list(range(1, NUM_CLIENTS + 1))}, {}),
        ("a holder lies", silent, lying(answering[:1])),
        ("every holder lies", silent, lying(answering)),
        ("shares are damaged on their way, and cost their sender the session", {}, {"share-keys": torn}),
    ]
    told = {"advertise-keys": silent.get("advertise-keys", [])}  # the dealer's message is for those who were there
    dealt_wrongly: list[tuple[str, Vector, Vector]] = [
        ("a dealer's shares open for nobody", told, dealing("sealed", SEALED_SHARES_BYTES, _flip_low)),
        ("a dealer's shares open for all but one", told, dealing("sealed", SEALED_SHARES_BYTES, _flip_low, 1)),
        ("a dealer commits to other shares", told, dealing("commitments", COMMITMENTS_BYTES, other)),
        ("one more vanishes before it says whose shares fit", {before_inputs: [dealer]}, {}),
    ]
    endings = [ending(vector, config, *case) for case in cases]
    endings += _demanding(vector, config)
    return endings + [ending(vector, config, *case) for case in dealt_wrongly]


def _demanding(vector: Vector, config: RoundConfig) -> Iterator[Vector]:
    """Clients who demand all neighbours, or all but one, where one vanishes."""
    everyone, phases = config.topology.degree, ("advertise-keys", "share-keys", "masked-input")
    for phase in phases:
        policy = {"min_neighbours": everyone}
        yield ending(vector, config, f"every neighbour demanded, one vanishes in {phase}", {phase: [4]}, {}, policy)
    for phase in phases:
        policy = {"min_neighbours": everyone - 1}
        found = ending(vector, config, f"all neighbours but one demanded, as in {phase}", {phase: [4]}, {}, policy)
        if "output" not in found:
            raise ValueError(f"{found['name']}: {found['error']}")
        yield found


def ending(
    vector: Vector, config: RoundConfig, name: str, quiet: Silent, replaced: Vector, policy: Vector | None = None
) -> Vector:
    """What comes of the session with other people silent, and other messages; clients may have another policy."""
    given = {} if policy is None else {"policy": policy}
    run = Run(vector | given, config)
    outcome = run.outcome_of(partial(run.finish, quiet, replaced))
    where = {"phase": str(run.server.phase)} if given and "error" in outcome else {}
    return {"name": name, "silent": quiet, "replaced": replaced} | given | outcome | where


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
        silent={"masked-input": [5]},
    ),
    "session-malicious": lambda: session_vector(
        "malicious server, complete graph",
        Adversary.MALICIOUS_SERVER,
        corrupt=0.0,
        dropout=0.375,
        silent={"advertise-keys": [7], "masked-input": [2], "consistency-check": [5]},
    ),
}


LISTED = ("rounds", "refused", "endings", "proposals", "inputs", "costs")


def render(name: str) -> str:
    """Return the contents of a session's file."""
    return laid_out(SESSIONS[name]())


def laid_out(vector: Vector) -> str:
    """Return the contents of a file: one client, round, message or case a line."""
    clients = ",\n".join(f'    "{i}": {json.dumps(given)}' for i, given in vector.pop("clients").items())
    listed = {key: vector.pop(key) for key in LISTED if key in vector}
    parts = [f'  "{key}": {json.dumps(value)}' for key, value in vector.items()]
    parts.append(f'  "clients": {{\n{clients}\n  }}')
    for key, items in listed.items():
        lines = ",\n".join("    " + json.dumps(item) for item in items)
        parts.append(f'  "{key}": [\n{lines}\n  ]')
    return "{\n" + ",\n".join(parts) + "\n}\n"
