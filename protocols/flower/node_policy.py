"""What a node demands of a round, from the code of its app, from its operator and from the run: the strictest wins.

A node's operator sets node_config; whoever starts a run sets run_config, and that may be the server. So no source can
lower what another demands, and files are named by the first two alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from dp.sensitivity import Unit
from secagg.errors import ParameterError

from ..core.numbers import real, whole
from ..core.threat_model import Adversary
from ..masking.policy import ClientPolicy, EncodingDemand, PrivacyDemand
from .durable import ANSWERED
from .identities import IDENTITY, ROSTER

PREFIX = "secagg-"
IN_CLEAR = "secagg-in-clear"
"""Key of the types of messages, with commas between them, that may be answered in clear."""
SITE = "secagg-site"
"""Key of a node's configuration: the file of its site."""
MIN_GROUP = "secagg-min-group"
"""Key of how small a group this node joins; it joins none where neither its code nor its operator says so."""
TRAIN = "train"
_FILES = (IDENTITY, ROSTER, ANSWERED, SITE)
_GREATER = ("corrupt_clients", "min_clients", "min_neighbours", "min_survivors", "min_participants")
_SMALLER = ("max_clients", "max_neighbours")
_FRACTIONS = ("corrupt_fraction", "min_survivor_fraction")
_BITS = "min_value_bits"
_PRIVACY = ("epsilon", "delta", "rounds", "unit", "sampling_rate")
DEMANDS = ("adversary", *_FRACTIONS, *_GREATER, *_SMALLER, _BITS, *_PRIVACY)
"""What any source may demand; a key is the prefix and one of these, with hyphens."""


def strictest_policy(code: ClientPolicy, node: Mapping[str, Any], run: Mapping[str, Any]) -> ClientPolicy:
    """Return a policy that demands whatever any of the three demands.

    Args:
        code: from the app's own code.
        node: the node's configuration, keys such as `secagg-min-clients`.
        run: the run's, the same keys.

    Raises:
        ParameterError: a value is impossible, or a key with our prefix is unknown or not the run's to set.
    """
    known = {PREFIX + name.replace("_", "-") for name in DEMANDS}
    for whose, source, files in (("node", node, _FILES), ("run", run, ())):
        allowed = known.union(files, [IN_CLEAR, MIN_GROUP])
        strange = {key for key in source if key.startswith(PREFIX)} - allowed
        if strange:
            names = ", ".join(sorted(key.removeprefix(PREFIX) for key in allowed))
            raise ParameterError(
                f"the {whose}'s configuration has {sorted(strange)}, but known are {PREFIX} and {names}"
            )
    policy = code
    for source in (node, run):
        policy = _raised(policy, {key: value for key, value in source.items() if key in known})
    return policy


def message_types(given: Iterable[str], where: str) -> frozenset[str]:
    """Return types of messages that are not training's; raise ParameterError where they are something else."""
    types = (given,) if isinstance(given, str) else tuple(given)
    if isinstance(given, str) or not all(isinstance(kind, str) and kind and kind != TRAIN for kind in types):
        raise ParameterError(
            f'{where} is {given!r}, but must list types of messages beside train, such as ["evaluate"]'
        )
    return frozenset(types)


def admitted_in_clear(code: frozenset[str] | None, node: Mapping[str, Any], run: Mapping[str, Any]) -> frozenset[str]:
    """Return the types that code and operator admit, as far as they say anything; a run can only forbid.

    Raises:
        ParameterError: a configuration's value is no list of types.
    """
    said = [] if code is None else [code]
    said += [_listed(source[IN_CLEAR]) for source in (node, run) if IN_CLEAR in source]
    if code is None and IN_CLEAR not in node:
        return frozenset()
    return frozenset.intersection(*said)


def least_group(code: int | None, node: Mapping[str, Any], run: Mapping[str, Any]) -> int | None:
    """Return how small a group a node joins, None for none: the greatest that is said. A run alone admits none.

    Raises:
        ParameterError: a configuration's value is no number from 2.
    """
    said = [] if code is None else [code]
    said += [whole(source[MIN_GROUP], MIN_GROUP, 2) for source in (node, run) if MIN_GROUP in source]
    if code is None and MIN_GROUP not in node:
        return None
    return max(said)


def _listed(value: Any) -> frozenset[str]:
    return message_types([kind.strip() for kind in str(value).split(",") if kind.strip()], IN_CLEAR)


def _raised(policy: ClientPolicy, demands: Mapping[str, Any]) -> ClientPolicy:
    policy = replace(policy, privacy=_stricter_privacy(policy.privacy, demands))
    for key, value in demands.items():
        name = key.removeprefix(PREFIX).replace("-", "_")
        if name in _PRIVACY:
            continue
        if name == "adversary":
            if value not in tuple(Adversary):
                raise ParameterError(f"{key} is {value!r}, but must be one of {', '.join(Adversary)}")
            if Adversary(value).strength > policy.adversary.strength:
                policy = replace(policy, adversary=Adversary(value))
            continue
        if name in _FRACTIONS:
            policy = replace(policy, **{name: max(getattr(policy, name), real(value, key, 0, 1))})
            continue
        count = whole(value, key, 0)
        if name == _BITS:
            encoding = policy.encoding or EncodingDemand(rounding=None, min_value_bits=0)
            encoding = replace(encoding, min_value_bits=max(encoding.min_value_bits, count))
            policy = replace(policy, encoding=encoding)
            continue
        stricter = min if name in _SMALLER else max
        policy = replace(policy, **{name: stricter(getattr(policy, name), count)})
    return policy


def _stricter_privacy(demand: PrivacyDemand | None, demands: Mapping[str, Any]) -> PrivacyDemand | None:
    """Return what meets both: the smaller epsilon and delta, for the greater number of rounds, with nothing counted on.

    Who states no unit means all that the node hands in, without samples: a demand for records in the app's code does
    not make less of it.
    """
    keys = {name: PREFIX + name.replace("_", "-") for name in _PRIVACY}
    given = {name: demands[key] for name, key in keys.items() if key in demands}
    if not given:
        return demand
    if not {"epsilon", "delta"} <= given.keys():
        raise ParameterError(
            f"{PREFIX}epsilon and {PREFIX}delta go together: give both, and {PREFIX}rounds if you like"
        )
    epsilon, delta = (real(given[name], PREFIX + name, 0) for name in ("epsilon", "delta"))
    asked = PrivacyDemand(
        float(epsilon),
        float(delta),
        whole(given.get("rounds", 1), keys["rounds"], 1),
        unit=given.get("unit", Unit.CLIENT),
        sampling_rate=given.get("sampling_rate", 1.0),
    )
    if demand is None:
        return asked
    units = {demand.unit, asked.unit}
    unit = Unit.RECORD if units == {Unit.RECORD} else Unit.CLIENT
    return replace(
        demand,
        epsilon=min(demand.epsilon, asked.epsilon),
        delta=min(demand.delta, asked.delta),
        rounds=max(demand.rounds, asked.rounds),
        trusts_server=False,  # whoever says epsilon here does not say that
        unit=unit,
        sampling_rate=max(demand.sampling_rate, asked.sampling_rate) if unit is Unit.RECORD else 1.0,
    )
