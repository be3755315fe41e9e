"""What both demonstrations share: the digits, their split among clients, and a place for the picture.

The data are the UCI handwritten digits that ship inside scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.errors import ParameterError

from ...core.participants import Participants

Array = npt.NDArray[np.float64]
CLASSES = 10
TEST_FRACTION = 0.25


@dataclass(frozen=True)
class Examples:
    """Images (n, 64) from 0 to 1, and labels (n,)."""

    images: Array
    labels: npt.NDArray[np.intp]

    def take(self, indices: npt.NDArray[Any]) -> Examples:
        """Return some of the examples."""
        return Examples(self.images[indices], self.labels[indices])


def load_digits(rng: np.random.Generator) -> tuple[Examples, Examples]:
    """Return the digits, shuffled, as training and test examples."""
    from sklearn.datasets import load_digits as load

    images, labels = load(return_X_y=True)
    everything = Examples(np.asarray(images, dtype=np.float64) / 16.0, np.asarray(labels, dtype=np.intp))
    order = rng.permutation(labels.size)
    num_test = int(labels.size * TEST_FRACTION)
    return everything.take(order[num_test:]), everything.take(order[:num_test])


def split_unequally(examples: Examples, num_clients: int, rng: np.random.Generator) -> dict[str, Examples]:
    """Give each client, by name, at least two examples, and some many times more than others.

    Raises:
        ParameterError: the examples are too few.
    """
    spare = examples.labels.size - 2 * num_clients
    if spare < 0:
        raise ParameterError(
            f"{num_clients} clients are too many: {examples.labels.size} examples, at least two each, serve at most "
            f"{examples.labels.size // 2}"
        )
    sizes = 2 + rng.multinomial(spare, rng.dirichlet(np.ones(num_clients)))
    ends = np.cumsum(sizes)
    shares = (examples.take(np.arange(end - size, end)) for size, end in zip(sizes, ends, strict=True))
    return dict(zip(Participants.numbered(num_clients), shares, strict=True))
