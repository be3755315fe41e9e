"""The vectors of what clients demand (SPEC sections 9 and 28): defaults and edges, and whose colluders count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dp.accounting import epsilon_of
from dp.events import Repeated
from dp.sensitivity import Adjacency
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import IntegerVector, PrivateCounts
from protocols.masking.config import RoundConfig

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


def _demand(config: RoundConfig, less: float, corrupt: int, rounds: int = 1, /, **stated: Any) -> Case:
    """A demand a millionth above or below what the round costs with so many corrupt clients."""
    event = config.event(config.min_survivors - corrupt + config.threat_model.max_corrupt, Adjacency.ADD_REMOVE)
    spent = float(f"{epsilon_of(Repeated(event, rounds), DELTA):.9g}")
    return {"privacy": {"epsilon": (spent * (1 + less * 1e-6)).hex(), "delta": DELTA.hex()} | stated}


def cases() -> Iterator[tuple[str, str, Case]]:
    for name, config, policy in _cases():
        yield name, "check_policy", {"configuration": written(config), "policy": policy}


def _cases() -> Iterator[tuple[str, RoundConfig, Case]]:
    for survivors in (9, 10):
        yield f"{survivors} participants, no demand", _private(20, survivors), {}
    yield "nine participants of a round without noise", _plain(20, 9), {}
    yield "two clients, no demand", _plain(2, 2), {}
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
    loose = {"privacy": {"epsilon": (500.0).hex(), "delta": DELTA.hex()}}
    yield "a demand on a round without noise", _plain(20, 15), loose
    yield "a demand that is easily met", _private(20, 15), loose
    for fraction, name in ((0.7, "all but one survivor"), (0.75, "all survivors")):
        doubted = loose["privacy"] | {"corrupt_fraction": fraction.hex()}
        yield f"{name} doubted", _private(20, 15), {"privacy": doubted}
