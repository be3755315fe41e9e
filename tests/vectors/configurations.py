"""Configurations as vectors have them: by the names of SPEC section 8, floats in hexadecimal."""

from __future__ import annotations

from typing import Any

import msgspec

from protocols.audit.replay.configurations import read_configuration, read_policy
from protocols.masking.config import RoundConfig

__all__ = ["read_configuration", "read_policy", "written"]
Vector = dict[str, Any]


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
        "min_survivors": config.min_survivors,
        "graph": str(config.graph),
    }
