"""Which totals a query needs, each once, and the one vector in which a site's totals travel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from secagg.errors import EncodingError, ParameterError

from ..inputs.vectors import IntegerVector
from ..masking.result import RoundResult
from .encoding import LIMB_BITS, join, limbs_of, split
from .query import BINNED, MOMENTS, PAIRS, Kind, Query

MAX_TOTALS = 1 << 20
PRODUCTS = ((1, 0), (0, 1), (2, 0), (0, 2), (1, 1))
"""Powers of the two columns of a pair whose products are summed, over rows where both are valid."""
STATUSES = ("valid", "below", "above")
"""Of a number in a row: within its bounds, below, above. What is left is missing."""

Key = tuple[str | int, ...]
"""What a total is of. `("rows", g)`, `(status, column, g)`, `("power", column, k, g)`, `("bin", column, bin, g)`,
`("both", a, b)`, `("product", a, b, i, j)`, `("cell", a, b, level of a, level of b)`; g is the group, 0 without."""


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

    @property
    def groups(self) -> int:
        """How many cells the rows are divided into; 1 without groups."""
        return 1 if self.query.group_by is None else self.query.levels(self.query.group_by).cells

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
        query, rows = self.query, self.query.max_rows
        for group in range(self.groups):
            yield ("rows", group), rows
        for one in query.statistics:
            if one.kind in (Kind.MISSING, *MOMENTS, *PAIRS):
                for name, group, status in product(one.columns, range(self.groups), STATUSES):
                    yield (status, name, group), rows
            if one.kind in MOMENTS:
                (name,) = one.columns
                for power, group in product(range(1, MOMENTS[one.kind] + 1), range(self.groups)):
                    yield ("power", name, power, group), rows * query.number(name).top ** power
            elif one.kind in BINNED:
                (name,) = one.columns
                for group, at in product(range(self.groups), range(len(query.number(name).edges) + 1)):
                    yield ("bin", name, at, group), rows
            elif one.kind in PAIRS:
                first, second = one.columns
                yield ("both", first, second), rows
                for i, j in PRODUCTS:
                    most = rows * query.number(first).top ** i * query.number(second).top ** j
                    yield ("product", first, second, i, j), most
            elif one.kind is Kind.TABLE:
                first, second = one.columns
                for i, j in product(range(query.levels(first).cells), range(query.levels(second).cells)):
                    yield ("cell", first, second, i, j), rows

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
