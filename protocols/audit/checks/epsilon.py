"""Attacks on claimed epsilons: many releases of two neighbouring inputs, and how well these can be distinguished.

An audit refutes; it never proves. That it can refute is known by a control with too little noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dp import mechanisms
from dp.audit import audit_epsilon
from dp.sensitivity import Adjacency, Norm, Sensitivity
from secagg.randomness import SYSTEM, RandomBytes

from ..outcome import Check, Claims, Found, Trials, demand

_FALSE_ALARM = 1e-9
_DELTA = 1e-5
_MOVED = 8
"""How far one record moves the query."""
_WEAKENED = 0.3
_CONTROL = 200_000
"""With three tenths of the noise and so many runs, what is shown is 15 standard deviations above what was claimed."""

_UNSEEN = np.random.default_rng(0).bytes
"""Of noise that nobody looks at, where only its calibration is asked for."""

Released = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Claim:
    """One release is (epsilon, delta)-private with the noise that the library calibrates."""

    name: str
    epsilon: float
    delta: float
    calibrate: Callable[[float], float]
    release: Callable[[Released, float, RandomBytes], Released]

    def lower_bound(self, runs: int, weaken: float = 1.0, random: RandomBytes = SYSTEM) -> float:
        """Return an epsilon below which the release certainly is not private, with a part of the noise.

        Each entry of a vector is one run, since the noise on each is drawn apart.
        """
        noise = weaken * self.calibrate(self.epsilon)
        return audit_epsilon(
            lambda n: self.release(np.zeros(n, dtype=np.int64), noise, random),
            lambda n: self.release(np.full(n, _MOVED, dtype=np.int64), noise, random),
            runs=runs,
            delta=self.delta,
            confidence=1 - _FALSE_ALARM / len(_CLAIMS),
        ).epsilon_lower


def _moved(norm: Norm) -> Sensitivity:
    return Sensitivity(_MOVED, norm, Adjacency.ADD_REMOVE)


def _gaussian(values: Released, sigma: float, random: RandomBytes) -> Released:
    return mechanisms.discrete_gaussian_mechanism(values, _moved(Norm.LINF), sigma=sigma, random=random).value


def _laplace(values: Released, scale: float, random: RandomBytes) -> Released:
    return mechanisms.discrete_laplace_mechanism(values, _moved(Norm.LINF), scale=scale, random=random).value


def _sigma(epsilon: float) -> float:
    moved = _moved(Norm.L2)
    return mechanisms.discrete_gaussian_mechanism([0], moved, epsilon=epsilon, delta=_DELTA, random=_UNSEEN).scale


def _scale(epsilon: float) -> float:
    return mechanisms.discrete_laplace_mechanism([0], _moved(Norm.L1), epsilon=epsilon, random=_UNSEEN).scale


_CLAIMS = (
    *(_Claim(f"Gaussian, epsilon {epsilon:g}", epsilon, _DELTA, _sigma, _gaussian) for epsilon in (1.0, 2.0, 4.0)),
    *(_Claim(f"Laplace, epsilon {epsilon:g}", epsilon, 0.0, _scale, _laplace) for epsilon in (0.5, 1.0, 2.0)),
)


def _claims(trials: Trials) -> Found:
    bounds = []
    for claim, _ in zip(_CLAIMS, trials.each(len(_CLAIMS)), strict=False):
        lower = claim.lower_bound(trials.samples)
        demand(
            lower <= claim.epsilon,
            f"{claim.name}: the releases show that epsilon is at least {lower:.4g}",
            claimed=claim.epsilon,
            lower_bound=lower,
        )
        bounds.append((claim.name, claim.epsilon, lower))
    figures = {f"{name}: certainly above": round(lower, 4) for name, _, lower in bounds}
    return Found(figures, (Claims("claimed epsilon, and what the releases prove", tuple(bounds)),))


def _control(trials: Trials) -> Found:
    bounds, runs = [], max(trials.samples, _CONTROL)
    for claim, rng in zip(_CLAIMS, trials.each(len(_CLAIMS)), strict=False):
        lower = claim.lower_bound(runs, _WEAKENED, rng.bytes)
        bounds.append((claim.name, claim.epsilon, lower))
        demand(lower > claim.epsilon, f"{claim.name}: three tenths of the noise are not found out ({lower:.4g})")
    plot = Claims("with three tenths of the noise", tuple(bounds))
    return Found({f"{name}: found to be above": round(lower, 4) for name, _, lower in bounds}, (plot,))


CHECKS = (
    Check(
        "epsilon",
        "claims",
        "no release gives away more than the epsilon it was calibrated to",
        _claims,
        _FALSE_ALARM,
        repeatable=False,
    ),
    Check("epsilon", "control", "releases with three tenths of the noise are found out", _control),
)
