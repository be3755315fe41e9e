"""The model, each node's update of it, and what the server states: the same numbers wherever they are computed."""

import numpy as np

from protocols.flower import Privacy, SecAggSettings

LENGTH = 400
DELTA = 1e-5
DEMANDING = 1
"""This partition's node demands more noise than the server proposes, and so takes no part."""


def model() -> list[np.ndarray]:
    return [np.zeros((20, 10), dtype=np.float32), np.ones(LENGTH - 200)]


def update(partition: int) -> np.ndarray:
    """All move the same way; the third one much further than the clip."""
    drawn = np.random.default_rng(7).normal(size=LENGTH)
    return drawn / np.linalg.norm(drawn) * (40.0 if partition == 2 else 0.5)


def settings(ledger: str | None) -> SecAggSettings:
    paid = {"budget": ledger, "subject": "app"} if ledger else {}
    privacy = Privacy(l2_clip=1.0, epsilon=8.0, delta=DELTA, min_participants=3, **paid)
    return SecAggSettings(dropout_fraction=0.4, privacy=privacy)
