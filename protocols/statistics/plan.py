"""Which totals a query needs, each once, and the one vector in which a site's totals travel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from secagg.errors import EncodingError, ParameterError

from ..inputs.vectors import IntegerVector
from ..masking.result import RoundResult
from .encoding import LIMB_BITS, join, limbs_of, split
from .families.registry import FAMILIES, once
from .kinds import Key
from .query import Query

MAX_TOTALS = 1 << 20


@dataclass(frozen=True)
class Plan:
    """How a query becomes a vector of one session, and its sum becomes totals again.

    Raises:
        ParameterError: the query needs more than 2^20 totals.
    """

    query: Query

    def __post_init__(self) -> None:
        """Count before anything is made."""
        if len(self.totals) > MAX_TOTALS:
            raise ParameterError(f"the query needs more than {MAX_TOTALS} totals: ask for fewer bins or groups")

    @cached_property
    def totals(self) -> Mapping[Key, int]:
        """Key -> the most that one site's total may be, in the order in which they travel."""
        totals: dict[Key, int] = {}
        for key, most in self._needed():
            totals.setdefault(key, most)
            if len(totals) > MAX_TOTALS:
                break
        return totals

    def _needed(self) -> Iterator[tuple[Key, int]]:
        """Yield the totals of each statistic in turn; many are needed more than once."""
        for group in range(len(self.query.groups)):
            yield ("rows", group), self.query.max_rows
        for one in once(self.query.statistics):
            yield from FAMILIES[one.kind].totals(self.query, one)

    @property
    def name(self) -> str:
        """Of the vector: who answers another query answers in another vector, and the session ends in an error."""
        return f"statistics/{self.query.digest.hex()}"

    @cached_property
    def lanes(self) -> int:
        """Coordinates of the vector: the limbs of all totals, side by side."""
        return sum(map(limbs_of, self.totals.values()))

    @property
    def vectors(self) -> tuple[IntegerVector, ...]:
        """What the session sums."""
        return (IntegerVector(self.name, self.lanes, max_value=(1 << LIMB_BITS) - 1),)

    def encode(self, totals: Mapping[Key, int]) -> dict[str, npt.NDArray[np.int64]]:
        """Return one site's totals as the values of its input.

        Raises:
            EncodingError: not the totals of this plan, or one is out of its range.
        """
        if totals.keys() != self.totals.keys():
            raise EncodingError("these are not the totals of this query")
        limbs: list[int] = []
        for key, most in self.totals.items():
            if not 0 <= totals[key] <= most:
                raise EncodingError(f"the total of {key[0]} is beyond what max_rows admits")
            limbs += split(totals[key], limbs_of(most))
        return {self.name: np.array(limbs, dtype=np.int64)}

    def decode(self, result: RoundResult) -> dict[Key, int]:
        """Return the totals over all sites whose inputs are in the sum.

        Raises:
            ParameterError: the session was about another query.
            EncodingError: a total that so many sites cannot reach: some input was none.
        """
        return self.join(result.sum(self.name).tolist(), len(result.survivors))

    def join(self, limbs: Sequence[int], sites: int) -> dict[Key, int]:
        """Return the totals that sums of limbs over so many sites are of; raise EncodingError as `decode`."""
        totals: dict[Key, int] = {}
        at = 0
        for key, most in self.totals.items():
            count = limbs_of(most)
            totals[key] = join(limbs[at : at + count])
            at += count
            if totals[key] > sites * most:
                raise EncodingError(f"the total of {key[0]} is beyond what {sites} sites reach: some input was none")
        return totals
