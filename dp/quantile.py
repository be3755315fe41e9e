"""Adaptive clipping: the norm follows a quantile of the clients' update norms, learned from noisy counts.

Source: Andrew, Thakkar, McMahan, Ramaswamy (2021), algorithm 1. Each client reports one bit, whether its norm is at
most the current clip C; with the noisy fraction b of ones, C <- C * exp(-rate * (b - target)). If more clients than
wanted are within the clip it shrinks; a plus sign there would run away.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace

from .errors import PrivacyParameterError
from .events import DiscreteGaussianEvent
from .randomness import RandomBytes
from .rational import exact, number
from .samplers import discrete_gaussian
from .sensitivity import Adjacency, check_count, named


@dataclass(frozen=True)
class AdaptiveClip:
    """The state of adaptive clipping: immutable, `update` returns the next one.

    clip: current norm, > 0. target: wanted fraction of clients within it, in (0, 1). rate: step, > 0 (0.2 is usual).
    count_sigma: noise on the count of clients within the clip. adjacency: replacing a client moves the count by 1,
    as does adding one.
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

    def within(self, norm: float) -> int:
        """Return a client's bit: 1 if its norm is at most the clip. Secret: it goes into the secure sum."""
        return int(norm <= self.clip)

    @property
    def event(self) -> DiscreteGaussianEvent:
        """What one update's private count costs; compose it beside the update's own event."""
        return DiscreteGaussianEvent(self.count_sigma, 1.0, 1, self.adjacency)

    def update(self, count_within: int, clients: int, *, random: RandomBytes = os.urandom) -> AdaptiveClip:
        """Return the next state from the true count; noise is added here. Run by whoever may see the true count.

        Args:
            count_within: how many clients were within the clip, 0 to `clients`.
            clients: how many reported, public.
            random: where random bytes come from; other than os.urandom only to replay what was recorded.
        """
        check_count(clients, "clients")
        if not 0 <= count_within <= clients:
            raise PrivacyParameterError(f"count_within = {count_within} must lie between 0 and clients = {clients}")
        noise = int(discrete_gaussian(self.count_sigma, 1, random=random)[0])
        return self.update_from_noisy(count_within + noise, clients)

    def update_from_noisy(self, noisy_count: float, clients: int) -> AdaptiveClip:
        """Return the next state from a count that already carries its noise: post-processing, no further cost.

        Raises PrivacyParameterError where the count is NaN, infinite or no number: no clip follows from it.
        """
        clients = check_count(clients, "clients")
        share = float(exact(noisy_count, "noisy_count") / clients)
        fraction = min(1.0, max(0.0, share))
        return replace(self, clip=self.clip * math.exp(-self.rate * (fraction - self.target)))
