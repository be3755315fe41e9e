"""Known answers: the committed vectors, which other implementations must meet as well, and published values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from dp.analytic import gaussian_delta, gaussian_noise_multiplier
from dp.audit import epsilon_lower_bound
from dp.partition_selection import PartitionSelection
from dp.zcdp import zcdp_delta, zcdp_epsilon, zcdp_rho
from secagg import errors
from secagg.errors import SecAggError

from ...core.threat_model import Adversary, ThreatModel
from ...masking import wire
from ...masking.messages import Confirmation, ToClient, ToServer
from ...masking.topology import GraphKind, derive_topology
from ..outcome import Check, Found, Refuted, Trials, demand
from ..replay import (
    derived,
    group_operations,
    hierarchy_operations,
    noisy_statistics,
    private_operations,
    request_operations,
    shipped,
    statistics_operations,
)
from ..replay.operations import OPERATIONS
from ..replay.recorded_randomness import OtherRandomness

PRIMITIVES = (
    *("encoding", "residues", "prg", "shamir", "derivation", "aead", "key_agreement", "signatures"),
    *("privacy", "statistics", "noisy_statistics", "groups", "hierarchy", "requests"),
)
_OPERATIONS = (
    OPERATIONS
    | private_operations.OPERATIONS
    | statistics_operations.OPERATIONS
    | noisy_statistics.OPERATIONS
    | group_operations.OPERATIONS
    | hierarchy_operations.OPERATIONS
    | request_operations.OPERATIONS
)
_MAX_BYTES = 1 << 16


def size(vector: dict[str, Any]) -> int:
    """Return how many cases a file of a primitive has, or that of single messages, in all its parts."""
    return len(vector["cases"]) if "cases" in vector else sum(map(len, vector.values()))


def _vectors(name: str) -> Any:
    vector = shipped.vectors(name)
    demand(size(vector) == shipped.cases(name) > 0, f"{name} has {size(vector)} cases, not {shipped.cases(name)}")
    return vector


def _primitive(name: str, trials: Trials) -> Found:
    cases = _vectors(name)["cases"]
    wrong = [f"{case['operation']}: {case['name']}" for case in cases if not _is_met(case)]
    negative = sum("error" in case for case in cases)
    demand(not wrong, f"{len(wrong)} vectors are not met, first {wrong[:1]}", vectors=len(cases))
    published = sum("published" in case for case in cases)
    return Found({"vectors": len(cases), "of them refused": negative, "of them published elsewhere": published})


def _is_met(case: dict[str, Any]) -> bool:
    name = case["operation"]
    try:
        output = _OPERATIONS[name](case["input"])
    except SecAggError as raised:
        return type(raised).__name__ == case.get("error")
    except OtherRandomness:
        return False
    close = name in private_operations.OPERATIONS.keys() - private_operations.EXACT
    return "output" in case and (private_operations.near(output, case["output"]) if close else output == case["output"])


def _messages(trials: Trials) -> Found:
    known = _vectors("protocol")
    for name, text in known["messages"].items():
        data = bytes.fromhex(text)
        message: Any = wire.decode(data, ToClient | ToServer, max_bytes=_MAX_BYTES)
        demand(type(message).__name__ == name, f"the bytes of {name} are read as {type(message).__name__}")
        demand(wire.encode(message) == data, f"{name} is not written as it was read")
    for name, vector in known["broken_messages"].items():
        try:
            wire.decode(bytes.fromhex(vector["bytes"]), Confirmation, max_bytes=_MAX_BYTES)
        except SecAggError as raised:
            expected = getattr(errors, vector["error"])
            demand(type(raised) is expected, f"the broken message {name} raises {type(raised).__name__}")
        else:
            raise Refuted(f"the broken message {name} was accepted")
    return Found({"messages": len(known["messages"]), "broken messages refused": len(known["broken_messages"])})


def _derivations(trials: Trials) -> Found:
    known = _vectors("protocol")
    invitation, keys = (
        wire.decode(bytes.fromhex(known["messages"][name]), ToClient | ToServer, max_bytes=_MAX_BYTES)
        for name in ("Invitation", "AdvertiseKeys")
    )
    ours, recorded = derived.derive(invitation, keys), known["derivations"]
    wrong = sorted(name for name in ours.keys() | recorded if ours.get(name) != recorded.get(name))
    demand(not wrong, f"{len(wrong)} derivations are others than was committed, first {wrong[:1]}")
    return Found({"derivations": len(ours), "of them neighbourhoods": sum(name.startswith("neigh") for name in ours)})


# What others have published, and how far from it we may be: one unit in the last digit that is given.
PUBLISHED: tuple[tuple[str, Callable[[], float], float, float], ...] = (
    ("Gaussian delta at multiplier 1, epsilon 1", lambda: gaussian_delta(1, 1), 0.12693674, 1e-8),
    ("Gaussian delta at multiplier 1/3, epsilon 1", lambda: gaussian_delta(1 / 3, 1), 0.78760074, 1e-8),
    ("Gaussian delta at multiplier 1, epsilon 2", lambda: gaussian_delta(1, 2), 0.02092364, 1e-8),
    ("Gaussian multiplier for (1, 1e-5)", lambda: gaussian_noise_multiplier(1, 1e-5), 3.7306316348, 1e-9),
    ("Gaussian multiplier for (0.1, 1e-6)", lambda: gaussian_noise_multiplier(0.1, 1e-6), 36.304690426, 1e-8),
    ("Gaussian multiplier for (10, 1e-5)", lambda: gaussian_noise_multiplier(10, 1e-5), 0.4998886197, 1e-9),
    ("zCDP delta of rho 0.025 at epsilon 1", lambda: zcdp_delta(0.025, 1), 1.33613190640e-6, 1e-16),
    ("zCDP epsilon of rho 0.025 at delta 1e-6", lambda: zcdp_epsilon(0.025, 1e-6), 1.01407425473, 1e-9),
    ("zCDP rho for (1, 1e-6)", lambda: zcdp_rho(1, 1e-6), 0.0243559703595, 1e-11),
    (
        "naming a group of 12 at (1, 1e-5)",
        lambda: float(PartitionSelection(1, 1e-5).keep_probability(12)),
        0.760311,
        1e-6,
    ),
    ("Clopper-Pearson audit of 500 and 0 of 500", lambda: epsilon_lower_bound(500, 0, 500, 0.01), 4.54, 1e-2),
)

# As google-parfait/federated-compute derives them: n, corrupt, dropout, adversary, degree, threshold.
_TOPOLOGIES = (
    (1000, 0.05, 0.05, Adversary.CURIOUS_SERVER, 30, 17),
    (1000, 0.05, 0.05, Adversary.SEMI_MALICIOUS_SERVER, 52, 37),
    (1000, 0.1, 0.1, Adversary.CURIOUS_SERVER, 48, 27),
    (1000, 0.1, 0.1, Adversary.SEMI_MALICIOUS_SERVER, 96, 67),
    (1000, 0.33, 0.33, Adversary.CURIOUS_SERVER, 286, 150),
    (10_000, 0.05, 0.05, Adversary.CURIOUS_SERVER, 34, 20),
    (10_000, 0.05, 0.05, Adversary.SEMI_MALICIOUS_SERVER, 62, 44),
    (10_000, 0.1, 0.1, Adversary.CURIOUS_SERVER, 54, 31),
    (10_000, 0.1, 0.1, Adversary.SEMI_MALICIOUS_SERVER, 122, 85),
)


def _published(trials: Trials) -> Found:
    for name, compute, value, tolerance in PUBLISHED:
        ours = compute()
        demand(abs(ours - value) <= tolerance, f"{name} is {ours!r}, published is {value!r}")
    return Found({"values": len(PUBLISHED)})


def _topologies(trials: Trials) -> Found:
    for n, corrupt, dropout, adversary, degree, threshold in _TOPOLOGIES:
        ours = derive_topology(ThreatModel(n, corrupt, dropout, adversary), GraphKind.RING_FOR_RANDOM_DROPOUTS)
        demand(
            (ours.degree, ours.threshold) == (degree, threshold),
            f"{n} clients against a {adversary} get degree {ours.degree} and threshold {ours.threshold}, "
            f"published are {degree} and {threshold}",
        )
    return Found({"threat models": len(_TOPOLOGIES)})


CHECKS = (
    *(
        Check(
            "vectors",
            name,
            f"every committed vector of {name.replace('_', ' ')} is met, and what must be refused is refused",
            partial(_primitive, name),
        )
        for name in PRIMITIVES
    ),
    Check(
        "vectors",
        "derivations",
        "keys, commitments, digests, and neighbours on the ring and in random cycles follow as committed",
        _derivations,
    ),
    Check("vectors", "messages", "messages have the committed bytes, and broken ones are refused", _messages),
    Check("vectors", "accounting", "calibration and accounting give the values that others have published", _published),
    Check(
        "vectors", "topology", "degree and threshold of the ring are those of the reference implementation", _topologies
    ),
)
