"""A question whose answer may be noisy: a query, and what the answer may cost whom, named by one digest."""

from __future__ import annotations

from functools import cached_property

import msgspec

from dp.distributed import Goal
from dp.sensitivity import Adjacency, Unit, named
from secagg.derivation import Label, digest
from secagg.errors import ParameterError

from ...core.numbers import in_our_words
from ..kinds import BINNED, PAIRS, Kind
from ..query import Query, read_written

SUPPORTED = frozenset({Kind.COUNT, Kind.MISSING, Kind.MEAN, Kind.VARIANCE, Kind.DEVIATION, Kind.TABLE, *PAIRS, *BINNED})
"""What can be asked with noise."""


class PrivateQuestion(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, dict=True):
    """What is asked, and what one answer may cost.

    Attributes:
        query: of kinds in `SUPPORTED`. Where the unit is the client, `max_rows` is how many rows one may bring: the
            noise grows with it, and more rows are scaled down.
        epsilon, delta: of all that the answer tells, of one unit.
        unit: RECORD: one row of a table. CLIENT: all rows of one client, who may be a person.
        adjacency: ADD_REMOVE: a unit that is there or not; REPLACE_ONE: that could be any other, for twice the noise.

    Raises:
        ParameterError: a value is out of range, or a statistic has no noisy form.
    """

    query: Query
    epsilon: float
    delta: float
    unit: Unit = Unit.RECORD
    adjacency: Adjacency = Adjacency.ADD_REMOVE

    def __post_init__(self) -> None:
        """Check every field."""
        fix = msgspec.structs.force_setattr
        if not isinstance(self.query, Query):
            raise ParameterError(f"query is a {type(self.query).__name__}, but must be a Query")
        kinds = [one.kind for one in self.query.statistics]
        without = sorted({str(kind) for kind in kinds if kind not in SUPPORTED})
        if without:
            raise ParameterError(
                f"{without[0]} is not given with noise: there are {', '.join(sorted(SUPPORTED))}; and linear "
                "regression, from the correlations of all its columns"
            )
        if self.query.cells:
            raise ParameterError("all cells of group_by have noise: leave `cells` out")
        with in_our_words():
            goal = Goal(self.adjacency, self.delta, epsilon=self.epsilon)
            fix(self, "unit", named(Unit, self.unit))
        fix(self, "epsilon", goal.epsilon)
        fix(self, "delta", goal.delta)
        fix(self, "adjacency", goal.adjacency)

    @cached_property
    def encoded(self) -> bytes:
        """The question in MessagePack, as it can be written in one way."""
        return msgspec.msgpack.encode(self)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that name it: STATISTICS_QUERY of SPEC section 3, over bytes that are no query's."""
        return digest(Label.STATISTICS_QUERY, self.encoded)

    @property
    def name(self) -> str:
        """Of the vector: who answers another question, or at another price, answers in another vector."""
        return f"statistics/private/{self.digest.hex()}"


def read_question(data: bytes) -> PrivateQuestion:
    """Return the question that was written as these bytes.

    Raises:
        ParameterError: too long, no question, or not written as it would be written here.
    """
    return read_written(data, PrivateQuestion, "question")
