"""Noise that many clients share, so that no one need be trusted with the sum: each adds a little discrete Gaussian.

Source: Kairouz, Liu, Steinke (2021). What is promised must hold when the noise of dropouts is missing and that of
colluders is known, so a share is calibrated to the fewest honest clients that a sum may have; more of them bring more
noise, never less. (Dividing by the number of invited clients, as others do, promises too much as soon as one drops.)
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .accounting import epsilon_of
from .analytic import gaussian_noise_multiplier
from .calibration import least_parameter
from .discrete import SLACK, gaussian_equivalent, smoothing_variance, summed_gaussians_ratio
from .errors import PrivacyParameterError
from .events import Event, PoissonSampled, Repeated, SummedDiscreteGaussianEvent
from .nearness import MU_OF_SLACK
from .randomness import RandomBytes
from .rational import number
from .samplers import MAX_SCALE, discrete_gaussian
from .sensitivity import Adjacency, Unit, check_count, check_delta, check_epsilon, named, round_up

Int64s = npt.NDArray[np.int64]

LEAST_LOCAL_SIGMA = 0.5
"""Below, nothing is known of the sum of discrete Gaussians."""
LARGEST_SUM_SLACK = 1e-9
"""A plan takes noise whose nearness to one discrete Gaussian costs no more, unless the modulus forces coarser noise."""
WRAP_BITS = 40
"""The noise of a sum goes beyond `NoiseShare.reach` with a probability below 2**-WRAP_BITS."""
_FINE = 2.0**40  # a sensitivity of so many steps, at which no account can tell discrete noise from continuous


@dataclass(frozen=True)
class NoiseShare:
    """One client's share of the noise on a vector of integers.

    Args:
        local_sigma: parameter of the client's discrete Gaussian noise, from 1/2 to 2**50.
        dimension: entries of the vector.
        l2_bound: the L2 norm that no contribution exceeds.
        l1_bound: the L1 norm that no contribution exceeds.
        nonnegative: whether no contribution has an entry below 0, as counts have none.
        unit: whose contribution the bounds are of: all of a client's, or one record's.
    """

    local_sigma: float
    dimension: int
    l2_bound: float
    l1_bound: float
    nonnegative: bool = False
    unit: Unit = Unit.CLIENT

    def __post_init__(self) -> None:
        for name, towards in (("local_sigma", 0.0), ("l2_bound", math.inf), ("l1_bound", math.inf)):
            object.__setattr__(self, name, number(getattr(self, name), name, towards))
        object.__setattr__(self, "dimension", check_count(self.dimension, "dimension"))
        object.__setattr__(self, "unit", named(Unit, self.unit))
        if self.local_sigma < LEAST_LOCAL_SIGMA:
            raise PrivacyParameterError(
                f"local_sigma = {self.local_sigma} is below 1/2, where no bound is known; use a finer scale"
            )
        if self.local_sigma > MAX_SCALE:
            raise PrivacyParameterError(
                f"local_sigma = {self.local_sigma} is above 2**50, where nothing is drawn; use a coarser scale"
            )

    def draw(self, *, random: RandomBytes = os.urandom) -> Int64s:
        """Return fresh noise, int64 (dimension,).

        Args:
            random: where random bytes come from; other than os.urandom only to replay what was recorded.

        Security: drawn once for one vector; whoever knows it can take it off the sum.
        """
        return discrete_gaussian(self.local_sigma, (self.dimension,), random=random)

    def reach(self, clients: int) -> int:
        """Return the magnitude that no entry of the noise of `clients` exceeds, but with probability 2**-WRAP_BITS.

        A discrete Gaussian is subgaussian with its parameter (Canonne, Kamath, Steinke 2020, corollary 17), and so is
        the sum of independent ones with the root of the sum of squares.
        """
        tail = math.sqrt(2 * math.log(2 * self.dimension * 2.0**WRAP_BITS))
        return math.ceil(self.local_sigma * math.sqrt(max(0, clients)) * tail * (1 + 1e-12))

    def event(self, honest: int, adjacency: Adjacency) -> SummedDiscreteGaussianEvent:
        """Return what a sum reveals that has the noise of `honest` clients.

        With ADD_REMOVE, one client's contribution is there or is zero (that it took part is no secret); with
        REPLACE_ONE it is another one.
        """
        return SummedDiscreteGaussianEvent(
            self.local_sigma, honest, *self.sensitivities(adjacency), self.dimension, adjacency, self.unit
        )

    def sensitivities(self, adjacency: Adjacency) -> tuple[float, float]:
        """Return by how much one client moves the sum at most, in L2 and in L1, rounded up.

        By its bounds for ADD_REMOVE, and by twice as much for REPLACE_ONE. But if x and y have no entries below 0, then
        |x - y|**2 = |x|**2 + |y|**2 - 2 <x, y> is at most twice the square of the bound; and a single entry moves
        within [0, bound].
        """
        if named(Adjacency, adjacency) is Adjacency.ADD_REMOVE or (self.nonnegative and self.dimension == 1):
            return self.l2_bound, self.l1_bound
        if self.nonnegative:
            return round_up(math.sqrt(2) * self.l2_bound), 2 * self.l1_bound
        return 2 * self.l2_bound, 2 * self.l1_bound


@dataclass(frozen=True)
class Goal:
    """What a series of sums may cost a client: (epsilon, delta) for `rounds` of them together, or a given noise.

    Args:
        adjacency: never implicit.
        delta: in (0, 1).
        epsilon: the goal, or None where the noise is given.
        noise_multiplier: sigma / sensitivity of the noise that all honest clients of a sum bring together, or None
            where the goal is given.
        rounds: how many sums a client may be part of. All count in full: that not all clients are in all of them
            amplifies nothing, since a client that is left out takes its noise along.
        sampling_rate: probability, in (0, 1], with which each record takes part in a sum, by a coin that its client
            alone sees; below 1 only for shares whose unit is a record.

    Raises:
        PrivacyParameterError: not exactly one of epsilon and noise_multiplier, or a value out of range.
    """

    adjacency: Adjacency
    delta: float
    epsilon: float | None = None
    noise_multiplier: float | None = None
    rounds: int = 1
    sampling_rate: float = 1.0

    def __post_init__(self) -> None:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise PrivacyParameterError("give either epsilon or noise_multiplier")
        object.__setattr__(self, "adjacency", named(Adjacency, self.adjacency))
        object.__setattr__(self, "delta", check_delta(self.delta))
        object.__setattr__(self, "rounds", check_count(self.rounds, "rounds"))
        for name, towards in (("epsilon", 0.0), ("noise_multiplier", math.inf), ("sampling_rate", math.inf)):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, number(value, name, towards))
        if not 1e-100 <= self.sampling_rate <= 1:
            raise PrivacyParameterError(
                f"sampling_rate = {self.sampling_rate:g} is a probability; give one from 1e-100 to 1"
            )

    def sampled(self, event: Event) -> Event:
        """Return what one sum reveals, given what it would reveal of all records, in every round.

        Raises:
            PrivacyParameterError: samples whose unit is no record.
        """
        return event if self.sampling_rate == 1 else PoissonSampled(self.sampling_rate, event)

    def series(self, event: Event) -> Event:
        """Return what all rounds together reveal, as `sampled` has one of them."""
        return Repeated(self.sampled(event), self.rounds)

    def gaussian_multiplier(self) -> float:
        """Return the least noise multiplier of continuous Gaussian noise that serves the goal."""
        if self.noise_multiplier is not None:
            return self.noise_multiplier
        epsilon = check_epsilon(self.epsilon or 0)
        price = MU_OF_SLACK * (LARGEST_SUM_SLACK + SLACK)  # of discrete noise, in each round
        mu = 1 / self._continuous_multiplier(epsilon)
        if price >= mu / 2:
            rounds = math.floor(self.rounds * (mu / (2 * price)) ** 2)
            least = epsilon_of(self._continuous((1 - 1e-9) / (2 * price)), self.delta)
            raise PrivacyParameterError(
                f"epsilon = {epsilon} is too little for {self.rounds} rounds at sampling_rate {self.sampling_rate:g}: "
                f"raise epsilon to {least:.3g}" + (f", or lower rounds to about {rounds}" if rounds else "")
            )
        return 1 / (mu - price)

    def _continuous_multiplier(self, epsilon: float) -> float:
        """Return the least noise multiplier of noise that is continuous for all that accounts can tell."""
        if self.sampling_rate == 1:
            return gaussian_noise_multiplier(epsilon, self.delta) * math.sqrt(self.rounds)
        return least_parameter(self._continuous, epsilon, self.delta)

    def _continuous(self, multiplier: float) -> Event:
        """Return the series in such noise: that of a record that moves a sum by very many steps."""
        sigma = max(LEAST_LOCAL_SIGMA, multiplier * _FINE)
        return self.series(SummedDiscreteGaussianEvent(sigma, 1, _FINE, _FINE, 1, self.adjacency, Unit.RECORD))


def is_fine(local_sigma: float, clients: int, dimension: int) -> bool:
    """Tell whether the sum of so many shares is accounted as one discrete Gaussian, at next to no price."""
    if local_sigma < LEAST_LOCAL_SIGMA:
        return False
    if 2 * dimension * summed_gaussians_ratio(local_sigma, clients) > LARGEST_SUM_SLACK:
        return False
    return gaussian_equivalent(clients * local_sigma**2, dimension) is not None


def least_fine_sigma(clients: int, dimension: int) -> float:
    """Return about the least local_sigma that `is_fine`."""
    sigma = LEAST_LOCAL_SIGMA
    while not is_fine(sigma, clients, dimension):
        sigma *= 1.02
    return sigma


def local_sigma_for(goal: Goal, multiplier: float, share: NoiseShare, honest: int) -> float:
    """Return the least local_sigma with which `honest` clients' noise meets the goal; `share.local_sigma` is ignored.

    Args:
        goal: what to meet.
        multiplier: `goal.gaussian_multiplier()`, computed once for many tries.
        share: the bounds on contributions.
        honest: the fewest honest clients of a sum.

    Raises:
        PrivacyParameterError: the noise would be too coarse for what is known of sums: use a finer scale.
    """
    check_count(honest, "honest")
    goal.series(share.event(honest, goal.adjacency))  # refuses samples of clients
    sensitivity = share.event(honest, goal.adjacency).l2_sensitivity
    # As if the sum were one discrete Gaussian, whose equivalent is narrower by a constant variance.
    variance = (multiplier * sensitivity) ** 2 + smoothing_variance(share.dimension)
    sigma = math.sqrt(variance / honest) * (1 + 1e-12)
    if is_fine(sigma, honest, share.dimension):
        return sigma if goal.epsilon is None else _settle(goal, share, honest, sigma)
    if goal.epsilon is None:
        return max(LEAST_LOCAL_SIGMA, multiplier * sensitivity / math.sqrt(honest))

    def event(x: float) -> Event:
        return goal.series(_with_sigma(share, LEAST_LOCAL_SIGMA + x).event(honest, goal.adjacency))

    if epsilon_of(event(0.0), goal.delta) <= goal.epsilon:
        return LEAST_LOCAL_SIGMA
    try:
        return LEAST_LOCAL_SIGMA + least_parameter(event, goal.epsilon, goal.delta)
    except PrivacyParameterError:
        raise PrivacyParameterError(
            f"noise of {sigma:.3g} steps a client is too coarse to be accounted for at this goal; {_FINER}"
        ) from None


_FINER = "use a finer scale (more modulus_bits), fewer clients, or more noise"


def _settle(goal: Goal, share: NoiseShare, honest: int, sigma: float) -> float:
    """Raise sigma until the accountant itself agrees, which it does at once but for rounding."""
    step = 1e-12
    epsilon = check_epsilon(goal.epsilon or 0)
    while epsilon_of(goal.series(_with_sigma(share, sigma).event(honest, goal.adjacency)), goal.delta) > epsilon:
        sigma, step = sigma * (1 + step), 2 * step
    return sigma


def _with_sigma(share: NoiseShare, sigma: float) -> NoiseShare:
    return replace(share, local_sigma=sigma)
