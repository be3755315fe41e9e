"""Attacks on claimed epsilons: many releases of two neighbouring inputs, and how well these can be distinguished.

An audit refutes; it never proves. That it can refute is known by a control with half the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dp import mechanisms
from dp.audit import audit_epsilon
from dp.sensitivity import Adjacency, Norm, Sensitivity

from ..outcome import Check, Claims, Found, Trials, demand

_FALSE_ALARM = 1e-9
_DELTA = 1e-5
_MOVED = 8
"""How far one record moves the query."""

Released = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Claim:
    """One release is (epsilon, delta)-private with the noise that the library calibrates."""

    name: str
    epsilon: float
    delta: float
    calibrate: Callable[[float], float]
    release: Callable[[Released, float], Released]

    def lower_bound(self, runs: int, weaken: float = 1.0) -> float:
        """Return an epsilon below which the release certainly is not private, with a part of the noise.

        Each entry of a vector is one run, since the noise on each is drawn apart.
        """
        noise = weaken * self.calibrate(self.epsilon)
        return audit_epsilon(
            lambda n: self.release(np.zeros(n, dtype=np.int64), noise),
            lambda n: self.release(np.full(n, _MOVED, dtype=np.int64), noise),
            runs=runs,
            delta=self.delta,
            confidence=1 - _FALSE_ALARM / len(_CLAIMS),
        ).epsilon_lower


def _moved(norm: Norm) -> Sensitivity:
    return Sensitivity(_MOVED, norm, Adjacency.ADD_REMOVE)


def _gaussian(values: Released, sigma: float) -> Released:
    return mechanisms.discrete_gaussian_mechanism(values, _moved(Norm.LINF), sigma=sigma).value


def _laplace(values: Released, scale: float) -> Released:
    return mechanisms.discrete_laplace_mechanism(values, _moved(Norm.LINF), scale=scale).value


def _sigma(epsilon: float) -> float:
    return mechanisms.discrete_gaussian_mechanism([0], _moved(Norm.L2), epsilon=epsilon, delta=_DELTA).scale


def _scale(epsilon: float) -> float:
    return mechanisms.discrete_laplace_mechanism([0], _moved(Norm.L1), epsilon=epsilon).scale


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
    bounds = []
    for claim, _ in zip(_CLAIMS, trials.each(len(_CLAIMS)), strict=False):
        lower = claim.lower_bound(trials.samples, weaken=0.4)
        bounds.append((claim.name, claim.epsilon, lower))
        demand(lower > claim.epsilon, f"{claim.name}: two fifths of the noise are not found out ({lower:.4g})")
    plot = Claims("with two fifths of the noise", tuple(bounds))
    return Found({f"{name}: found to be above": round(lower, 4) for name, _, lower in bounds}, (plot,))


CHECKS = (
    Check(
        "epsilon", "claims", "no release gives away more than the epsilon it was calibrated to", _claims, _FALSE_ALARM
    ),
    Check("epsilon", "control", "releases with two fifths of the noise are found out", _control),
)
