"""Which family a kind of statistic belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from ..kinds import BINNED, PAIRS, Kind
from ..query import Statistic
from .bins import Bins
from .counts import Count, Missing
from .family import Family
from .generalized import Steps
from .means import Means
from .moments import POWERS, Powers
from .pairs import Pairs
from .regression import LeastSquares
from .survival import Discrimination, Survival
from .tables import Frequencies, Strata, Tables
from .votes import Approval, Borda, Consensus

FAMILIES: Mapping[Kind, Family] = {
    Kind.COUNT: Count(),
    Kind.MISSING: Missing(),
    **dict.fromkeys(POWERS, Powers()),
    **dict.fromkeys(PAIRS, Pairs()),
    **dict.fromkeys(BINNED, Bins()),
    **dict.fromkeys((Kind.FREQUENCIES, Kind.TOP), Frequencies()),
    **dict.fromkeys((Kind.TABLE, Kind.ASSOCIATION, Kind.WEIGHTED), Tables()),
    Kind.MANTEL_HAENSZEL: Strata(),
    **dict.fromkeys((Kind.T_TEST, Kind.ANOVA), Means()),
    **dict.fromkeys((Kind.LINEAR, Kind.RIDGE), LeastSquares()),
    **dict.fromkeys((Kind.LOGISTIC, Kind.POISSON), Steps()),
    Kind.SURVIVAL: Survival(),
    Kind.AUC: Discrimination(),
    Kind.APPROVAL: Approval(),
    Kind.BORDA: Borda(),
    Kind.CONSENSUS: Consensus(),
}


def once(statistics: Iterable[Statistic]) -> Iterator[Statistic]:
    """Yield statistics, of those that need the same totals the first one alone, and an approval column by column."""
    seen = set[tuple[Family, tuple[str, ...], int]]()
    for one in chain.from_iterable(map(_apart, statistics)):
        totals = FAMILIES[one.kind], one.columns, POWERS.get(one.kind, 0)
        if totals not in seen:
            seen.add(totals)
            yield one


def _apart(one: Statistic) -> Iterable[Statistic]:
    return (Statistic(one.kind, (name,)) for name in one.columns) if one.kind is Kind.APPROVAL else (one,)
