"""What the server's operator can know of a round: who took part, who failed and why, what it took."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class RoundReport:
    """One round of training under secure aggregation; nodes are named by Flower's ids.

    Attributes:
        invited: how many nodes were asked to train.
        survivors: those whose updates are in the mean; empty if there is none.
        failures: node -> what went wrong with it first.
        error: why there is no mean, or None.
        total_weight: sum of the survivors' num-examples.
        num_clipped: how many coordinates of all survivors' updates were clipped together; 0 in private rounds.
        epsilon: what this round, by itself, has cost each node at the delta of the settings; None if not private.
        seconds: exchange -> wall seconds, what the nodes do in it included; "server" is the server's own part.
        bytes_sent: by the nodes, all together, in the protocol's messages.
        bytes_received: by the nodes, likewise; the model that they train is not counted.
    """

    invited: int
    survivors: frozenset[int] = frozenset()
    failures: dict[int, str] = field(default_factory=dict)
    error: str | None = None
    total_weight: int = 0
    num_clipped: int = 0
    epsilon: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_sent: int = 0
    bytes_received: int = 0
