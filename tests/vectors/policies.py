"""The vectors of what clients demand (SPEC sections 9 and 28): defaults and edges, and whose colluders count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dp.accounting import epsilon_of
from dp.events import Repeated
from dp.sensitivity import Adjacency
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector, IntegerVector, PrivateCounts
from protocols.masking.config import RoundConfig
from protocols.masking.topology import GraphKind
from secagg.encoding import Rounding

from .configurations import written

Case = dict[str, Any]
DELTA = 1e-5


def _private(clients: int, survivors: int, corrupt: float = 0.0, scale: int = 3) -> RoundConfig:
    spec = PrivateCounts("votes", 8, max_total=1, scale=scale, local_sigma=6.25)
    model = ThreatModel(clients, corrupt, 0.125, Adversary.CURIOUS_SERVER)
    return RoundConfig(model, (spec,), min_survivors=survivors)


def _plain(clients: int, survivors: int) -> RoundConfig:
    model = ThreatModel(clients, 0.0, 0.25, Adversary.CURIOUS_SERVER)
    return RoundConfig(model, (IntegerVector("votes", 4, max_value=1),), min_survivors=survivors)


def _defaults() -> Iterator[tuple[str, RoundConfig, Case]]:
    """The default policy, at its edges: each case but the first and the last misses one demand."""
    model = ThreatModel(20, 0.125, 0.125)
    floats = (FloatVector("model", 4, value_bits=8),)
    default = {"defaults": True}

    def round_of(clients: int, corrupt: float = 0.125, dropout: float = 0.125, **changes: Any) -> RoundConfig:
        adversary = changes.pop("adversary", Adversary.SEMI_MALICIOUS_SERVER)
        model = ThreatModel(clients, corrupt, dropout, adversary)
        return RoundConfig(model, floats, graph=GraphKind.COMPLETE, **changes)

    yield "a round as the default policy wants it", RoundConfig(model, floats), default
    yield "the default policy, a curious server", round_of(20, adversary=Adversary.CURIOUS_SERVER), default
    yield "the default policy, one in sixteen corrupt", round_of(20, 0.0625), default
    yield "the default policy, four clients", round_of(4, dropout=0.0), default
    yield "the default policy, five clients", round_of(5, dropout=0.25), default
    yield "the default policy, a thousand neighbours and one", round_of(1002), default
    yield "the default policy, a thousand neighbours", round_of(1001), default
    few = {"adversary": "curious-server"} | default
    curious = {"adversary": Adversary.CURIOUS_SERVER}
    yield "the default policy, three survivors", round_of(5, 0.125, 0.5, **curious, min_survivors=3), few
    yield "the default policy, less than half survivors", round_of(20, 0.125, 0.5, **curious, min_survivors=9), few
    yield "the default policy, half survivors", round_of(20, 0.125, 0.5, **curious, min_survivors=10), few
    ring = RoundConfig(ThreatModel(300, 0.125, 0.125), floats, graph=GraphKind.RING_FOR_RANDOM_DROPOUTS)
    yield "the default policy, the ring", ring, default
    yield "a policy that takes the ring", ring, {"takes_ring": True} | default
    yield "as many corrupt clients as there are", RoundConfig(model, floats), {"corrupt_clients": 2} | default
    yield "more corrupt clients than there are", RoundConfig(model, floats), {"corrupt_clients": 3} | default
    yield "fewer clients than there are", RoundConfig(model, floats), {"max_clients": 19} | default


def _encodings() -> Iterator[tuple[str, RoundConfig, Case]]:
    """What clients demand of encodings, each at its edge."""

    def of(**changes: Any) -> RoundConfig:
        spec = FloatVector("model", 4, **({"clip": 1.5, "value_bits": 8, "weighted": True} | changes))
        return RoundConfig(ThreatModel(20, 0.125, 0.125), (spec,), max_weight=10)

    default = {"defaults": True}
    yield "the default encoding, seven bits", of(value_bits=7), default
    yield "the default encoding, rounded to nearest", of(rounding=Rounding.NEAREST), default
    yield "any rounding", of(rounding=Rounding.NEAREST), {"encoding": {"rounding": None}} | default
    for name, least, less in (("min_clip", 1.5, 1.75), ("max_clip", 1.5, 1.25)):
        yield f"{name} as it is", of(), {"encoding": {name: least.hex()}} | default
        yield f"{name} not as it is", of(), {"encoding": {name: less.hex()}} | default
    yield "a weight as it is", of(), {"encoding": {"max_weight": 10}} | default
    yield "a weight above what is demanded", of(), {"encoding": {"max_weight": 9}} | default


def _demand(config: RoundConfig, less: float, corrupt: int, rounds: int = 1, /, **stated: Any) -> Case:
    """A demand a millionth above or below what the round costs with so many corrupt clients."""
    event = config.event(config.min_survivors - corrupt + config.threat_model.max_corrupt, Adjacency.ADD_REMOVE)
    spent = float(f"{epsilon_of(Repeated(event, rounds), DELTA):.9g}")
    demand = {"epsilon": (spent * (1 + less * 1e-6)).hex(), "delta": DELTA.hex(), "trusts_server": True}
    return {"privacy": demand | stated}


def cases() -> Iterator[tuple[str, str, Case]]:
    for name, config, policy in _cases():
        yield name, "check_policy", {"configuration": written(config), "policy": policy}


def _cases() -> Iterator[tuple[str, RoundConfig, Case]]:
    for survivors in (9, 10):
        yield f"{survivors} participants where ten are demanded", _private(20, survivors), {"min_participants": 10}
    yield "nine participants of a round without noise", _plain(20, 9), {"min_participants": 10}
    yield "two clients, no demand", _plain(2, 2), {}
    yield from _defaults()
    yield from _encodings()
    yield "two survivors where three are demanded", _plain(20, 2), {"min_survivors": 3}
    yield "two clients where three are demanded", _plain(2, 2), {"min_clients": 3}
    for less, what in ((1, "hardly more"), (-1, "hardly less")):
        twenty, tight = _private(20, 15), _private(20, 15, corrupt=0.25)
        yield f"{what} than one round costs, a tenth doubted", twenty, _demand(twenty, less, 2)
        none = {"corrupt_fraction": (0.0).hex()}
        yield f"{what} than it costs, nobody doubted", twenty, _demand(twenty, less, 0, **none)
        yield f"{what} than it costs, the round doubts a quarter", tight, _demand(tight, less, 5)
        yield f"{what} than it costs, the client doubts less than the round", tight, _demand(tight, less, 5, **none)
        more = {"corrupt_fraction": (0.4).hex()}
        yield f"{what} than it costs, the client doubts more than the round", tight, _demand(tight, less, 8, **more)
        seven = {"rounds": 7}
        yield f"{what} than seven rounds cost", twenty, _demand(twenty, less, 2, 7, **seven)
        hundred, odd = _private(100, 70), {"corrupt_fraction": (0.29).hex()}
        yield f"{what} than it costs, 29 of 100 doubted", hundred, _demand(hundred, less, 29, **odd)
        coarse = _private(20, 15, scale=40)
        yield f"{what} than it costs with a large scale", coarse, _demand(coarse, less, 2)
    loose = {"privacy": {"epsilon": (500.0).hex(), "delta": DELTA.hex(), "trusts_server": True}}
    yield "a demand on a round without noise", _plain(20, 15), loose
    yield "a demand that is easily met", _private(20, 15), loose
    distrustful = {"privacy": loose["privacy"] | {"trusts_server": False}}
    yield "a demand on a round that a lie undoes", _private(20, 15), distrustful
    for fraction, name in ((0.7, "all but one survivor"), (0.75, "all survivors")):
        doubted = loose["privacy"] | {"corrupt_fraction": fraction.hex()}
        yield f"{name} doubted", _private(20, 15), {"privacy": doubted}
