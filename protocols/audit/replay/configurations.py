"""Configurations and policies as vectors have them: by the names of SPEC, floats in hexadecimal."""

from __future__ import annotations

from typing import Any

from dp.sensitivity import Adjacency
from secagg.encoding import Rounding

from ...core.threat_model import Adversary, ThreatModel
from ...inputs.vectors import FloatVector, IntegerVector, PrivateCounts, PrivateVector
from ...masking.config import RoundConfig
from ...masking.policy import ClientPolicy, PrivacyDemand
from ...masking.topology import GraphKind

Vector = dict[str, Any]
KINDS: dict[str, Any] = {
    "floats": FloatVector,
    "integers": IntegerVector,
    "private-floats": PrivateVector,
    "private-counts": PrivateCounts,
}


def read_configuration(vector: Vector) -> RoundConfig:
    """The configuration that a vector has."""
    given = vector["configuration"]
    model = given["threat_model"]
    specs = []
    for spec in given["vectors"]:
        fields = {name: value for name, value in spec.items() if name != "type"}
        for name in ("clip", "l2_clip", "scale", "local_sigma"):
            if isinstance(fields.get(name), str):
                fields[name] = float.fromhex(fields[name])
        if "rounding" in fields:
            fields["rounding"] = Rounding(fields["rounding"])
        specs.append(KINDS[spec["type"]](**fields))
    return RoundConfig(
        ThreatModel(
            model["num_clients"],
            float.fromhex(model["corrupt_fraction"]),
            float.fromhex(model["dropout_fraction"]),
            Adversary(model["adversary"]),
        ),
        tuple(specs),
        given["max_weight"],
        given["min_survivors"],
        GraphKind(given["graph"]),
    )


def read_policy(vector: Vector) -> ClientPolicy | None:
    """The policy of a vector's clients, where it has one."""
    given = vector.get("policy")
    if given is None:
        return None
    privacy = given.get("privacy") and _read_demand(given["privacy"])
    plain = {name: given[name] for name in given if name.startswith("min_")}
    if "adversary" in given:
        plain["adversary"] = Adversary(given["adversary"])
    if "corrupt_fraction" in given:
        plain["corrupt_fraction"] = float.fromhex(given["corrupt_fraction"])
    return ClientPolicy(privacy=privacy, **plain)


def _read_demand(given: Vector) -> PrivacyDemand:
    fields: dict[str, Any] = {
        name: value if name in {"rounds", "adjacency"} else float.fromhex(value) for name, value in given.items()
    }
    if "adjacency" in fields:
        fields["adjacency"] = Adjacency(fields["adjacency"])
    return PrivacyDemand(**fields)
