"""Configurations as vectors have them: by the names of SPEC section 8, floats in hexadecimal."""

from __future__ import annotations

from typing import Any

import msgspec

from dp.sensitivity import Neighbours
from protocols.configuration import RoundConfig
from protocols.parameters import Adversary, ThreatModel
from protocols.policy import ClientPolicy, PrivacyDemand
from protocols.vectors import FloatVector, IntegerVector, PrivateCounts, PrivateVector
from secagg.encoding import Rounding

Vector = dict[str, Any]
KINDS = {
    "floats": FloatVector,
    "integers": IntegerVector,
    "private-floats": PrivateVector,
    "private-counts": PrivateCounts,
}


def written(config: RoundConfig) -> Vector:
    """The configuration by the names of SPEC section 8."""
    model = config.threat_model
    return {
        "threat_model": {
            "num_clients": model.num_clients,
            "corrupt_fraction": model.corrupt_fraction.hex(),
            "dropout_fraction": model.dropout_fraction.hex(),
            "adversary": str(model.adversary),
        },
        "vectors": [
            {name: value.hex() if isinstance(value, float) else value for name, value in spec.items()}
            for spec in map(msgspec.to_builtins, config.vectors)
        ],
        "max_weight": config.max_weight,
        "minimum_survivors": config.minimum_survivors,
        "complete_graph": config.complete_graph,
    }


def read_configuration(vector: Vector) -> RoundConfig:
    """The configuration that a vector has."""
    given = vector["configuration"]
    model = given["threat_model"]
    fractions = [float.fromhex(model[name]) for name in ("corrupt_fraction", "dropout_fraction")]
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
        ThreatModel(model["num_clients"], *fractions, Adversary(model["adversary"])),
        tuple(specs),
        given["max_weight"],
        given["minimum_survivors"],
        given["complete_graph"],
    )


def read_policy(vector: Vector) -> ClientPolicy | None:
    """The policy of a vector's clients, where it has one."""
    given = vector.get("policy")
    if given is None:
        return None
    privacy = given.get("privacy") and _read_demand(given["privacy"])
    plain = {name: given[name] for name in given if name.startswith("minimum_")}
    if "adversary" in given:
        plain["adversary"] = Adversary(given["adversary"])
    if "corrupt_fraction" in given:
        plain["corrupt_fraction"] = float.fromhex(given["corrupt_fraction"])
    return ClientPolicy(privacy=privacy, **plain)


def _read_demand(given: Vector) -> PrivacyDemand:
    fields = {
        name: value if name in {"rounds", "neighbours"} else float.fromhex(value) for name, value in given.items()
    }
    if "neighbours" in fields:
        fields["neighbours"] = Neighbours(fields["neighbours"])
    return PrivacyDemand(**fields)
