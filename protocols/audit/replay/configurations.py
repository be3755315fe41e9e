"""Configurations and policies as vectors have them: by the names of SPEC, floats in hexadecimal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dp.sensitivity import Unit
from secagg.encoding import Rounding

from ...core.threat_model import Adversary, ThreatModel
from ...inputs.vectors import FloatVector, IntegerVector, PrivateCounts, PrivateVector, PrivateVotes
from ...masking.config import RoundConfig
from ...masking.policy import ClientPolicy, EncodingDemand, PrivacyDemand
from ...masking.topology import GraphKind

Vector = dict[str, Any]
KINDS: dict[str, Any] = {
    "floats": FloatVector,
    "integers": IntegerVector,
    "private-floats": PrivateVector,
    "private-counts": PrivateCounts,
    "private-votes": PrivateVotes,
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
        if "unit" in fields:
            fields["unit"] = Unit(fields["unit"])
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


def read_policy(vector: Vector) -> ClientPolicy:
    """The policy of a vector's clients: the defaults, or the permissive one, and what is stated instead."""
    given = dict(vector.get("policy", {}))
    base = ClientPolicy() if given.pop("defaults", False) else ClientPolicy.permissive()
    if "privacy" in given:
        given["privacy"] = _read_demand(given["privacy"])
    if "encoding" in given:
        given["encoding"] = EncodingDemand(**_with_floats(given["encoding"]))
    return replace(base, **_with_floats(given))


def _with_floats(given: Vector) -> Vector:
    named = {"corrupt_fraction", "min_survivor_fraction", "min_clip", "max_clip"}
    return {name: float.fromhex(value) if name in named else value for name, value in given.items()}


def _read_demand(given: Vector) -> PrivacyDemand:
    fields: dict[str, Any] = {
        name: float.fromhex(value) if isinstance(value, str) and name not in ("adjacency", "unit") else value
        for name, value in given.items()
    }
    return PrivacyDemand(**fields)
