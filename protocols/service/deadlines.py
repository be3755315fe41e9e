"""How long a phase waits, and for whom."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from secagg.errors import ParameterError

from ..core.numbers import real, whole

MAX_SECONDS = 30 * 24 * 3600.0
"""A member that hears nothing of a session for three times as long forgets it."""


@dataclass(frozen=True)
class Deadlines:
    """When a phase is closed: once nobody is awaited any more; some time after a quorum; at its deadline at last.

    Args:
        seconds: the most that a phase is open, whoever is missing then.
        quorum: how many answers are enough: a fraction of those asked (a float above 0, up to 1), or a number (an int
            from 2). No phase is closed before its deadline with fewer than the protocol needs, whatever the quorum.
        grace: seconds for the others, from the moment when there are enough.
        phases: name of a phase -> what holds for it instead.

    Raises:
        ParameterError: a value is out of range; the text names it.
    """

    seconds: float = 60.0
    quorum: float | int = 1.0
    grace: float = 0.0
    phases: Mapping[str, Deadlines] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every field."""
        object.__setattr__(self, "seconds", real(self.seconds, "seconds", 0, MAX_SECONDS))
        object.__setattr__(self, "grace", real(self.grace, "grace", 0, MAX_SECONDS))
        if isinstance(self.quorum, float):
            if real(self.quorum, "quorum", 0, 1) == 0:
                raise ParameterError("quorum is 0.0, but must be above: write 1.0 for all who are asked")
        elif whole(self.quorum, "quorum", 0) < 2:  # 1 and 1.0 are easily mistaken for each other
            raise ParameterError(
                f"quorum is the number {self.quorum}, but must be from 2; write 1.0 for all who are asked"
            )
        else:
            object.__setattr__(self, "quorum", whole(self.quorum, "quorum", 2))
        for name, own in self.phases.items():
            if not isinstance(own, Deadlines) or own.phases:
                raise ParameterError(
                    f"the deadlines of phase {name!r:.60} must be Deadlines without phases of their own"
                )

    def of(self, phase: str) -> Deadlines:
        """Return what holds for a phase."""
        return self.phases.get(phase, self)

    def enough(self, asked: int) -> int:
        """Return how many answers of so many who were asked are a quorum: at most all of them."""
        if isinstance(self.quorum, float):
            return min(asked, math.ceil(self.quorum * asked - 1e-9))
        return min(asked, self.quorum)
