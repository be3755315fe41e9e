"""The doors by which callers' values come in: each value is taken for what it is, or refused by an error that names it.

What is taken for something else, or ends in an error of Python's, is a finding. Tables say what is tried; all that is
wrong with a table is told at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from dp import calibration, clipping, mechanisms
from dp.accounting import Method, epsilon_of
from dp.distributed import NoiseShare
from dp.errors import DpError
from dp.events import GaussianEvent, Repeated
from dp.ledger import Budget, Cost
from dp.quantile import AdaptiveClip
from dp.sensitivity import Adjacency, Norm, Sensitivity
from secagg import shamir
from secagg.encoding import FixedPoint, Rounding
from secagg.errors import SecAggError

from ...core.threat_model import Adversary, ThreatModel
from ...inputs.codec import VectorCodec
from ...inputs.models import ModelLayout
from ...inputs.noisy_counts import NoisyCounts
from ...inputs.noisy_floats import NoisyFloats
from ...inputs.plain_codecs import FloatCodec, IntegerCodec
from ...inputs.vectors import FloatVector, IntegerVector, PrivateCounts, PrivateVector
from ...masking.config import RoundConfig
from ...masking.policy import ClientPolicy, PrivacyDemand
from ...masking.server import Server
from ...privacy.plans import HistogramPlan, PrivatePlan
from ..outcome import Check, Found, Trials, demand

REFUSALS = (SecAggError, DpError)
"""Errors that say what is wrong with which value."""

Case = tuple[str, Callable[[], str]]
"""What is tried, and a call that returns what is wrong with it; nothing if all is well."""


def _all_well(cases: Iterable[Case], what: str) -> Found:
    tried, wrong = 0, []
    for case, call in cases:
        tried += 1
        if found := call():
            wrong.append(f"{case} {found}")
    demand(not wrong, f"{len(wrong)} of {tried} {what} are neither taken as they are nor refused: {'; '.join(wrong)}")
    return Found({what: tried})


def _taken(call: Callable[[], object]) -> str:
    """Return what is wrong with a call that must be refused."""
    try:
        call()
    except REFUSALS:
        return ""
    except Exception as error:
        return f"ends in {type(error).__name__}"
    return "is taken"


def _other(call: Callable[[], object], plain: object) -> str:
    """Return what is wrong with a call that must be refused, or come to what the plain value comes to."""
    try:
        found = call()
    except REFUSALS:
        return ""
    except Exception as error:
        return f"ends in {type(error).__name__}"
    return "" if found == plain else "comes to something else"


_GOOD: dict[str, Any] = {
    "floats": np.array([0.25, -0.5, 0.125, 0.0]),
    "counts": np.array([1, 0, 2, 0]),
}


def _unreadable(good: Any) -> dict[str, Any]:
    """Return arrays in which something would be lost if they were read as numbers."""
    structured = np.zeros(good.shape, dtype=[("value", good.dtype)])
    structured["value"] = good
    return {
        "a masked array": np.ma.masked_array(good, mask=[False, True, False, False]),
        "an array with something missing": np.array([*good[:3].tolist(), None], dtype=object),
        "an array of complex numbers": good + np.array([0, 1j, 0, 0]),
        "a structured array": structured,
        "an array of texts": good.astype(str),
    }


_MOVED = Sensitivity(1, Norm.L2, Adjacency.ADD_REMOVE)
_CODECS: tuple[tuple[str, str, VectorCodec], ...] = (
    ("a vector of floats", "floats", FloatCodec(FloatVector("v", 4), 3, 1)),
    ("a vector of integers", "counts", IntegerCodec(IntegerVector("v", 4, max_value=9), 3)),
    ("a private vector", "floats", NoisyFloats(PrivateVector("v", 4, 1.0, 9.0, 2.0), 3)),
    ("private counts", "counts", NoisyCounts(PrivateCounts("v", 4, 9, 1, 2.0), 3)),
)
_ARRAY_DOORS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    *((what, kind, partial(codec.encode, session_id=bytes(32))) for what, kind, codec in _CODECS),
    ("the encoding", "floats", FixedPoint(1.0, 16, 3).encode),
    ("a model's layout", "floats", lambda values: ModelLayout.of({"layer": values}).values({"layer": values})),
    *((f"dp.clip, {norm}", "floats", partial(clipping.clip, bound=1.0, norm=norm)) for norm in Norm),
    ("rounding", "floats", clipping.randomised_round),
    ("Gaussian noise", "floats", partial(mechanisms.gaussian, sensitivity=_MOVED, sigma=1.0)),
    ("noise on counts", "counts", partial(mechanisms.discrete_gaussian_mechanism, sensitivity=_MOVED, sigma=1.0)),
)
"""Whatever takes an array: what it is called, what it takes, and the call."""


def _arrays(trials: Trials) -> Found:
    (_,) = trials.each(1)
    for _, kind, call in _ARRAY_DOORS:
        call(_GOOD[kind])
    return _all_well(
        (
            (f"{what}, given to {door},", partial(_taken, partial(call, values)))
            for door, kind, call in _ARRAY_DOORS
            for what, values in _unreadable(_GOOD[kind]).items()
        ),
        "arrays that cannot be read",
    )


def _invited(*vectors: Any, model: ThreatModel | None = None, **more: Any) -> bytes:
    """Propose a round, and return what the clients would be sent."""
    config = RoundConfig(model or ThreatModel(30, 0.1, 0.2, Adversary.SEMI_MALICIOUS_SERVER), vectors, **more)
    return next(iter(Server(config, random=bytes, threads=1).outgoing().values()))


def _policed(**demanded: Any) -> None:
    stated: dict[str, Any] = {"adversary": Adversary.CURIOUS_SERVER} | demanded
    ClientPolicy(**stated).check(_planned())


def _planned(model: ThreatModel | None = None, **more: Any) -> RoundConfig:
    stated: dict[str, Any] = {"length": 4, "l2_clip": 1.0, "epsilon": 2.0, "delta": 1e-5} | more
    return PrivatePlan(threat_model=model or ThreatModel(30, 0.1, 0.2, Adversary.CURIOUS_SERVER), **stated).config


def _counted(**more: Any) -> RoundConfig:
    stated: dict[str, Any] = {"bins": 4, "epsilon": 2.0, "delta": 1e-5} | more
    return HistogramPlan(threat_model=ThreatModel(30, 0.1, 0.2, Adversary.CURIOUS_SERVER), **stated).config


def _floats(**more: Any) -> FloatVector:
    stated: dict[str, Any] = {"name": "v", "length": 4} | more
    return FloatVector(**stated)


def _account(multiplier: float, count: int = 1, adjacency: Any = Adjacency.ADD_REMOVE, delta: float = 1e-5) -> float:
    return epsilon_of(Repeated(GaussianEvent(multiplier, adjacency), count), delta)


_SHARE = NoiseShare(3.0, 4, 5.0, 9.0)

_WHOLE: tuple[tuple[str, Callable[[Any], object], int], ...] = (
    ("clients", lambda value: _invited(_floats(), model=ThreatModel(value, 0.1, 0.2)), 30),
    ("length", lambda value: _invited(_floats(length=value)), 4),
    ("value_bits", lambda value: _invited(_floats(value_bits=value)), 12),
    ("max_value", lambda value: _invited(IntegerVector("v", 4, max_value=value)), 9),
    ("min_value", lambda value: _invited(IntegerVector("v", 4, 9, min_value=value)), -3),
    ("max_weight", lambda value: _invited(_floats(weighted=True), max_weight=value), 7),
    ("min_survivors", lambda value: _invited(_floats(), min_survivors=value), 26),
    ("a private length", lambda value: _planned(length=value), 4),
    ("rounds of a plan", lambda value: _planned(rounds=value), 3),
    ("min_participants of a plan", lambda value: _planned(min_participants=value), 12),
    ("bins", lambda value: _counted(bins=value), 4),
    ("min_clients of a policy", lambda value: _policed(min_clients=value), 5),
    ("rounds of a demand", lambda value: PrivacyDemand(2.0, 1e-5, rounds=value).rounds, 3),
    ("a threshold", lambda value: shamir.reconstruct(_shares(value), threshold=value, num_bytes=8), 3),
    ("repetitions", lambda value: _account(2.0, value), 3),
    ("rounds of a calibration", lambda value: calibration.noise_multiplier(1.0, 1e-5, rounds=value), 3),
    ("clients of an event", lambda value: _SHARE.event(value, Adjacency.ADD_REMOVE), 20),
)
"""Whatever takes a whole number: what it is, what comes of it, and a number that is right."""

_REAL: tuple[tuple[str, Callable[[Any], object], float], ...] = (
    ("corrupt_fraction", lambda value: _invited(_floats(), model=ThreatModel(30, value, 0.25)), 0.125),
    ("dropout_fraction", lambda value: _invited(_floats(), model=ThreatModel(30, 0.125, value)), 0.25),
    ("clip", lambda value: _invited(_floats(clip=value)), 2.5),
    ("a clip in fixed point", lambda value: FixedPoint(value, 16, 3).scale, 2.5),
    ("l2_clip", lambda value: _planned(l2_clip=value), 2.5),
    ("epsilon", lambda value: _planned(epsilon=value), 2.0),
    ("delta", lambda value: _planned(delta=value), 2.0**-17),
    ("epsilon of a demand", lambda value: _policed(privacy=PrivacyDemand(value, 1e-5, trusts_server=True)), 64.0),
    ("epsilon of a calibration", lambda value: calibration.noise_multiplier(value, 1e-5, rounds=2), 1.5),
    ("delta of a calibration", lambda value: calibration.noise_multiplier(1.5, value, rounds=2), 2.0**-17),
    ("a multiplier", _account, 2.5),
    ("delta of an account", lambda value: _account(2.5, delta=value), 2.0**-17),
    ("a sensitivity", lambda value: Sensitivity(value, Norm.L2, Adjacency.ADD_REMOVE), 2.5),
    ("a bound of clipping", lambda value: clipping.clip([3.0, 4.0], value, Norm.L2).tolist(), 2.5),
)
"""Whatever takes a real number."""


def _shares(threshold: int) -> dict[int, bytes]:
    return shamir.split(b"a secret", threshold=threshold, indices=range(1, 6), random=bytes)


def _numbers(trials: Trials) -> Found:
    (_,) = trials.each(1)
    cases: list[Case] = []
    tables: tuple[tuple[Any, tuple[Any, ...], tuple[Any, ...]], ...] = (
        (_WHOLE, (np.int64, np.int32, np.array), (bool, lambda good: good + 0.5, str, lambda good: math.nan)),
        (_REAL, (np.float64, np.float32, np.array), (bool, str, lambda good: math.nan, lambda good: math.inf)),
    )
    for table, near, wrong in tables:
        for door, call, good in table:
            plain = call(good)
            for value in (kind(good) for kind in near):
                cases.append((f"{door} {value!r}", partial(_other, partial(call, value), plain)))
            for value in (kind(good) for kind in wrong):
                cases.append((f"{door} {value!r}", partial(_taken, partial(call, value))))
    return _all_well(cases, "numbers")


_REPLACE = Adjacency.REPLACE_ONE
_NAMES: tuple[tuple[str, Callable[[Any], object], str], ...] = (
    *(
        (f"a sensitivity in {norm}", lambda name: Sensitivity(2.0, name, _REPLACE).bound(Norm.L1, 9), norm)
        for norm in Norm
    ),
    ("the norm of a sum", lambda name: Sensitivity.of_sum(2.0, name, _REPLACE).bound(Norm.L1, 9), Norm.LINF),
    ("the norm asked for", lambda name: Sensitivity(2.0, Norm.LINF, _REPLACE).bound(name, 9), Norm.L1),
    ("the adjacency of a sum", lambda name: Sensitivity.of_sum(2.0, Norm.L2, name).value, _REPLACE),
    *((f"clipping in {norm}", lambda name: clipping.clip([3.0, 4.0], 1.0, name).tolist(), norm) for norm in Norm),
    ("the adjacency of a share", lambda name: _epsilon(_SHARE.event(20, name)), _REPLACE),
    ("the adjacency of an event", lambda name: _account(2.0, 1, name), _REPLACE),
    ("the adjacency of a plan", lambda name: _planned(adjacency=name), _REPLACE),
    ("the adjacency of a histogram", lambda name: _counted(adjacency=name), _REPLACE),
    ("the adjacency of a demand", lambda name: PrivacyDemand(2.0, 1e-5, adjacency=name).adjacency, _REPLACE),
    ("what a sum reveals", lambda name: _epsilon(_planned().event(20, name)), _REPLACE),
    ("the adjacency of a calibration", lambda name: _calibrated(adjacency=name), _REPLACE),
    ("the method of a calibration", lambda name: _calibrated(method=name), Method.RDP),
    ("the method of an account", lambda name: epsilon_of(_SHARE.event(9, _REPLACE), 1e-5, method=name), Method.RDP),
    ("adaptive clipping", lambda name: _epsilon(AdaptiveClip(1.0, 0.5, 3.0, adjacency=name).event), _REPLACE),
    ("a budget", lambda name: Budget("b", 1, 0, adjacency=name).adjacency, _REPLACE),
    ("a cost", lambda name: Cost(1, 0, adjacency=name).adjacency, _REPLACE),
    ("rounding", lambda name: _floats_of(FixedPoint(1.0, 16, 3, rounding=name)), Rounding.NEAREST),
    ("rounding of a vector", lambda name: _invited(_floats(rounding=name)), Rounding.NEAREST),
    ("the adversary", lambda name: _invited(_floats(), model=ThreatModel(30, 0.1, 0.2, name)), list(Adversary)[1]),
    ("the adversary of a policy", lambda name: _policed(adversary=name), Adversary.CURIOUS_SERVER),
)
"""Whatever takes a member of an enumeration: what it is, what comes of it, and a member."""


def _epsilon(event: Any) -> float:
    return epsilon_of(event, 1e-5)


def _calibrated(**more: Any) -> float:
    return calibration.noise_multiplier(1.0, 1e-5, rounds=2, **more)


def _floats_of(codec: FixedPoint) -> list[int]:
    return list(codec.encode(np.linspace(-1, 1, 64), random=bytes).residues.tolist())


def _names(trials: Trials) -> Found:
    (_,) = trials.each(1)
    cases: list[Case] = []
    for door, call, member in _NAMES:
        plain = call(member)
        spelt = "".join(member)  # equal, and another object
        cases.append((f"{door} as a text", partial(_other, partial(call, spelt), plain)))
        cases.append((f"{door} as a text of numpy's", partial(_other, partial(call, np.str_(spelt)), plain)))
        for wrong in (member.upper(), member.replace("-", "_") + " ", 1):
            cases.append((f"{door} as {wrong!r}", partial(_taken, partial(call, wrong))))
    return _all_well(cases, "names")


CHECKS = (
    Check(
        "misuse", "arrays", "arrays that cannot be read faithfully are refused at every door", _arrays, repeatable=False
    ),
    Check("misuse", "numbers", "numbers of numpy's are taken as Python's, and what is no number is refused", _numbers),
    Check("misuse", "names", "a name stands for its meaning at every door, or is refused", _names),
)
