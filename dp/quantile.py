"""Adaptive clipping: the norm follows a quantile of the clients' update norms, learned from noisy counts.

Source: Andrew, Thakkar, McMahan, Ramaswamy (2021), algorithm 1. Each client reports whether its norm is at most the
current clip C; with the noisy fraction b of those within, C <- C * exp(-rate * (b - target)). If more clients than
wanted are within the clip it shrinks; a plus sign there would run away.

What is reported is centred: a vote of 1 or -1, in halves of a client. Taking a client's vote away then moves the sum of
votes by 1, half of what it would move a count of ones and zeros by, so that half the noise protects it.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from fractions import Fraction

from .errors import PrivacyParameterError
from .events import DiscreteGaussianEvent, GaussianEvent
from .randomness import RandomBytes
from .rational import exact, number
from .samplers import discrete_gaussian
from .sensitivity import Adjacency, check_count, named, round_up


@dataclass(frozen=True)
class AdaptiveClip:
    """The state of adaptive clipping: immutable, `update` returns the next one.

    clip: current norm, > 0. target: wanted fraction of clients within it, in (0, 1). rate: step, > 0 (0.2 is usual).
    count_sigma: noise on the number of clients within the clip, half of that on the sum of votes; a twentieth of the
    clients is usual. adjacency: a vote that could be none moves the sum by 1, one that could be the other by 2.
    """

    clip: float
    target: float
    count_sigma: float
    rate: float = 0.2
    adjacency: Adjacency = Adjacency.ADD_REMOVE

    def __post_init__(self) -> None:
        object.__setattr__(self, "adjacency", named(Adjacency, self.adjacency))
        for name in ("clip", "rate", "count_sigma"):
            object.__setattr__(self, name, number(getattr(self, name), name))
        object.__setattr__(self, "target", number(self.target, "target"))
        if not self.target < 1:
            raise PrivacyParameterError(
                f"target = {self.target} is a quantile; it must lie in (0, 1), 0.5 for the median"
            )

    def vote(self, norm: float) -> int:
        """Return a client's bit, centred: 1 if its norm is at most the clip, else -1. Secret: for the secure sum."""
        return 1 if norm <= self.clip else -1

    @property
    def event(self) -> DiscreteGaussianEvent:
        """What one update's private sum of votes costs; compose it beside the update's own event."""
        moved = 2 if self.adjacency is Adjacency.REPLACE_ONE else 1
        return DiscreteGaussianEvent(2 * self.count_sigma, moved, 1, self.adjacency)

    def noise_multiplier_beside(self, noise_multiplier: float) -> float:
        """Return the values' own multiplier with which values and votes together cost what `noise_multiplier` does.

        (z**-2 - (2 count_sigma)**-2)**-1/2, rounded up (Andrew et al. 2021, theorem 1). For REPLACE_ONE, where a vote
        moves by 2, count_sigma stands for 2 count_sigma.

        Raises:
            PrivacyParameterError: the votes alone cost as much: raise count_sigma; or a multiplier that no event has.
        """
        own = 2 * self.count_sigma / self.event.sensitivity
        left = GaussianEvent(noise_multiplier, self.adjacency).noise_multiplier ** -2 - own**-2
        if not left > 0:
            raise PrivacyParameterError(
                f"count_sigma = {self.count_sigma} leaves nothing of noise_multiplier = {noise_multiplier} to the "
                f"values; raise it above {noise_multiplier * self.event.sensitivity / 2:g}, a twentieth of the clients "
                "is usual"
            )
        return round_up(left**-0.5)

    def update(self, count_within: int, clients: int, *, random: RandomBytes = os.urandom) -> AdaptiveClip:
        """Return the next state from the true count; noise is added here. Run by whoever may see the true count.

        Args:
            count_within: how many clients were within the clip, 0 to `clients`.
            clients: how many reported, public.
            random: where random bytes come from; other than os.urandom only to replay what was recorded.
        """
        clients = check_count(clients, "clients")
        within = 0 if exact(count_within, "count_within") == 0 else check_count(count_within, "count_within")
        if within > clients:
            raise PrivacyParameterError(f"count_within = {within} must lie between 0 and clients = {clients}")
        noise = int(discrete_gaussian(2 * self.count_sigma, 1, random=random)[0])
        return self.update_from_noisy(2 * within - clients + noise, clients)

    def update_from_noisy(self, noisy_votes: float, clients: int) -> AdaptiveClip:
        """Return the next state from a sum of votes that already carries its noise: post-processing, no further cost.

        Raises PrivacyParameterError where the sum is NaN, infinite or no number: no clip follows from it.
        """
        clients = check_count(clients, "clients")
        share = (1 + exact(noisy_votes, "noisy_votes") / clients) / 2
        fraction = float(min(Fraction(1), max(Fraction(0), share)))
        return replace(self, clip=self.clip * math.exp(-self.rate * (fraction - self.target)))
