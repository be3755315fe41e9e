"""Levels that nobody has listed: which of them may be named, and how they are found.

Under masks nobody knows exact counts: the server learns a sum that has its noise already. So there are two ways.

- *From beginnings, under masks* (`LevelSearch`). Texts are found letter by letter. Each round counts rows by their
  first letters, over all that beginnings that passed can go on with. These cells are public, empty ones have noise as
  all have, and so what passes is post-processing: nothing is paid beyond the noise. The threshold is there for truth
  alone, so that hardly a name is found that nobody has.
- *At each site* (`named_levels`). A site knows its own counts exactly, and each record is at one site. So a site may
  name its own levels by the optimal rule (`dp.partition_selection`), trusting nobody: the price is that of a single
  release, and names show which site they come from. A level with few rows at every site is not found.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Self

import numpy as np

from dp.analytic import gaussian_epsilon, gaussian_noise_multiplier
from dp.partition_selection import PartitionSelection
from dp.randomness import RandomBytes
from dp.sensitivity import Adjacency, Unit
from secagg.errors import ParameterError, QueryRefused

from ...core.numbers import in_our_words, real, whole
from ..beginnings import beginning
from ..columns import MAX_NAME, Levels, text
from ..kinds import Kind
from ..query import Query, Statistic
from ..site import NOT_ALLOWED
from .answer import PrivateAnswer
from .intervals import Noisy
from .question import PrivateQuestion
from .site import PrivateSite

_CELLS = 1000
"""Levels of a column."""


@dataclass(frozen=True, kw_only=True)
class LevelSearch:
    """One state of a search; `question` is the next round's, and `after` the state that follows from its answer.

    Args:
        dataset, column: whose texts.
        alphabet: the letters of which they are made, public; a text goes on to its first other letter only.
        longest: letters of the longest text that is told whole. There is one round more, which tells such a text from
            those that go on.
        epsilon, delta: of one row, of all rounds together.
        max_rows: as of `Query`.
        mistaken: the probability, over all rounds, that anything passes which no row has.

    Attributes:
        found: text -> how many rows have it.
        open: beginnings that have passed and may go on; "" before the first round. After the last round, those of texts
            that are longer than `longest`.
        left_out: beginnings that passed and are not followed, since a column has 1000 levels at most.
        rounds: how many have been answered.

    Raises:
        ParameterError: a value is out of range.
    """

    dataset: str
    column: str
    alphabet: str
    longest: int
    epsilon: float
    delta: float
    max_rows: int = (1 << 20) - 1
    mistaken: float = 0.05
    found: Mapping[str, Noisy] = field(default_factory=dict)
    open: tuple[str, ...] = ("",)
    left_out: tuple[str, ...] = ()
    rounds: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        text(self.alphabet, "alphabet")
        if len(set(self.alphabet)) != len(self.alphabet):
            raise ParameterError("a letter is twice in the alphabet: once is enough")
        object.__setattr__(self, "longest", whole(self.longest, "longest", 1, MAX_NAME - 1))
        object.__setattr__(self, "mistaken", real(self.mistaken, "mistaken", 2.0**-100, 0.5))
        _ = self.epsilon_a_round

    @property
    def ended(self) -> bool:
        """Whether nothing is left to ask."""
        return not self.open or self.rounds == self._most_rounds

    @property
    def _most_rounds(self) -> int:
        return self.longest + 1

    @property
    def epsilon_a_round(self) -> float:
        """What one round costs at delta, where all of them together cost epsilon, in Gaussian noise."""
        with in_our_words():
            multiplier = gaussian_noise_multiplier(self.epsilon, self.delta) * self._most_rounds**0.5
            return gaussian_epsilon(multiplier, self.delta)

    @property
    def question(self) -> PrivateQuestion:
        """The next round's. Raises ParameterError where there is none."""
        if self.ended:
            raise ParameterError("the search has ended: read what it found")
        name = beginning(self.column, self.rounds + 1)
        column = Levels(name, self._candidates)
        query = Query(self.dataset, (column,), (Statistic(Kind.COUNT),), group_by=name, max_rows=self.max_rows)
        return PrivateQuestion(query, self.epsilon_a_round, self.delta, Unit.RECORD)

    @property
    def _candidates(self) -> tuple[str, ...]:
        """What beginnings may go on with, and those that may have been the whole text."""
        longer = [start + letter for start in self.open for letter in self.alphabet]
        return (*(start for start in self.open if start), *longer)

    def after(self, answer: PrivateAnswer) -> Self:
        """Return the state that follows from the answer to `question`.

        Raises:
            ParameterError: it is the answer to another one.
        """
        if answer.digest != self.question.digest:
            raise ParameterError("this is the answer to another question than the search's next one")
        counts = {str(one.group): one.value for one in answer.findings}
        cells = len(self._candidates)
        deviation = float(answer.totals.deviations[0])
        least = deviation * -NormalDist().inv_cdf(self.mistaken / self._most_rounds / cells)
        passed = {name: counts[name] for name in self._candidates if counts[name].value >= least}
        found = {name: count for name, count in passed.items() if name in self.open}
        longer = sorted((name for name in passed if name not in self.open), key=lambda name: -passed[name].value)
        room = _CELLS // (len(self.alphabet) + 1)
        return replace(
            self,
            found={**self.found, **found},
            open=tuple(longer[:room]),
            left_out=(*self.left_out, *longer[room:]),
            rounds=self.rounds + 1,
        )


def named_levels(
    site: PrivateSite, column: str, selection: PartitionSelection, *, random: RandomBytes = os.urandom
) -> tuple[str, ...]:
    """Return which of a site's levels it names, sorted, once its ledger has paid for them. Run by the site.

    Args:
        site: its policy must name the column. Its budget must count (epsilon, delta), as composition `sum` does.
        column: of texts.
        selection: the rule, and what it costs.
        random: of the draws; other than os.urandom only to replay what was recorded.

    Raises:
        QueryRefused: the column is not one that the site gives, it answers for another unit than the record or by
            another adjacency than ADD_REMOVE, as the rule does, or the rule costs more than one answer may.
        LedgerError: the budget does not allow it.
    """
    if column not in site.site.policy.columns or column not in site.site.columns:
        raise QueryRefused(NOT_ALLOWED)
    if (site.most.unit, site.most.adjacency) != (Unit.RECORD, Adjacency.ADD_REMOVE):
        raise QueryRefused(NOT_ALLOWED)
    if selection.epsilon > site.most.epsilon or selection.delta > site.most.delta:
        raise QueryRefused(NOT_ALLOWED)
    values = np.asarray(site.site.present()[0][column]).tolist()
    counts = Counter(str(value) for value in values if value is not None and _is_level(str(value)))
    if site.ledger is not None:
        site.ledger.spend(site.budget, selection.event, round_id=f"levels-{os.urandom(8).hex()}", unit=Unit.RECORD)
    return tuple(sorted(name for name, count in counts.items() if selection.keep(count, random=random)))


def _is_level(value: str) -> bool:
    return 1 <= len(value) <= MAX_NAME and value.isprintable()
