"""Simulated inputs that follow from a seed, and what they come to in clear: what checked rounds are held against."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.machine import Inputs
from ..core.participants import Participants

_ADDING = threading.Lock()


class SimulatedInputs(ABC):
    """Inputs that are drawn from a seed when they are asked for, and their plain sum. Workers can be sent them.

    Attributes:
        plain_sum: of the inputs that this object has given, as `draw` has them.
        given_to: who was given inputs.
    """

    def __init__(self, num_clients: int, seed: int, plain_sum: npt.NDArray[Any]) -> None:
        self._participants = Participants.numbered(num_clients)
        self._seed = seed
        self.plain_sum = plain_sum
        self.given_to: set[str] = set()

    def __call__(self, name: str) -> Inputs:
        """Return a client's inputs. Whoever asks gets them through: who drops falls silent before."""
        inputs, plain = self.draw(np.random.default_rng((self._seed, self._participants.number(name))))
        with _ADDING:
            self.plain_sum += plain.astype(self.plain_sum.dtype)  # at once: numpy converts by small pieces
            self.given_to.add(name)
        return inputs

    def plain_sum_of(self, names: Iterable[str]) -> npt.NDArray[Any]:
        """Return what the inputs of these clients come to, drawn anew: nobody need have counted them."""
        total = np.zeros_like(self.plain_sum)
        for name in names:
            _, plain = self.draw(np.random.default_rng((self._seed, self._participants.number(name))))
            total += plain.astype(total.dtype)
        return total

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> tuple[Inputs, npt.NDArray[Any]]:
        """Return a client's inputs, and what they come to in the plain sum."""


def plain_sum(sources: Sequence[SimulatedInputs]) -> tuple[npt.NDArray[Any], set[str]]:
    """Return what the inputs that were given come to, and to whom they were, by whichever of the processes."""
    total = np.sum([source.plain_sum for source in sources], axis=0)
    return total, set[str]().union(*(source.given_to for source in sources))
