"""How many groups: enough that a rule bears the bad clients, so few that each hides its honest ones."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import astuple, dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Self, TypeVar

import msgspec

from secagg.errors import ParameterError

from ..core import framing
from ..core.numbers import real, whole
from ..core.threat_model import ROUNDING_SLACK, Adversary, ThreatModel
from .occupancy import counted_sizes, group_sizes, more_than, most_marked, reaching
from .rules import Rule
from .tails import hypergeometric, mean_reached, spread

SPOILT_BITS = 20
"""More groups are spoilt than planned with a probability below 2**-20."""
HONEST_BITS = 40
"""Some group has fewer honest clients in its sum than planned with a probability below 2**-40."""
MAX_GROUPED_CLIENTS = 1_000_000
_EXACT_UP_TO = 10_000
"""For more clients than this, the laws of spoilt groups are computed in floats, rounded up."""
_EXACT_HONEST_UP_TO = 100_000
"""The same for how likely a sum has too few honest inputs."""
_MOST_BAD = 1 << 16
"""So many bad clients take some ten seconds to plan for."""
E = TypeVar("E", bound=StrEnum)
_Written = tuple[int, float, float, int, Rule, int, int, float, Adversary]
_SPOILT, _HONEST = Fraction(1, 1 << SPOILT_BITS), Fraction(1, 1 << HONEST_BITS)


@dataclass(frozen=True)
class GroupPlan:
    """Groups of a run: how many, how large, and what they bear. The probabilities are over the draw of the groups.

    A *bad* client sends what it likes; a *corrupt* one tells the server what it knows. Either is fixed before the draw.
    A group is *spoilt* if a bad client is in it.

    Args:
        num_clients: who are dealt to groups, 2 to 1,000,000.
        bad_fraction: the largest fraction of them that is bad: floor(bad_fraction n) clients.
        corrupt_fraction: the largest fraction of them that is corrupt.
        honest_minimum: how many who are not corrupt each group's sum must have at least, from 2.
        rule: what makes one vector of the groups' means.
        groups: how many; None for the fewest that serve.
        spare: how many groups may fail at least without ending the round, whatever the spoilt ones do.
        dropout_fraction: the largest fraction of a group that vanishes; one that loses more fails.
        adversary: what the server may do, in each group's session.

    Attributes (besides):
        max_spoilt: how many groups are spoilt at most, but for a probability below 2**-20: the least such number.
        min_groups: fewer than this are not combined, since more of them may be spoilt than the rule bears.
        sizes: of the groups, the larger ones first; they differ by one at most.

    Raises:
        ParameterError: a value out of range; or the two demands contradict each other: the text has both numbers.
    """

    num_clients: int
    bad_fraction: float
    corrupt_fraction: float
    honest_minimum: int = 5
    rule: Rule = Rule.MEDIAN
    groups: int | None = None
    spare: int = 0
    dropout_fraction: float = 0.1
    adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER

    def __post_init__(self) -> None:
        """Check every field, and settle the number of groups."""
        settled: dict[str, object] = {
            "num_clients": whole(self.num_clients, "num_clients", 2, MAX_GROUPED_CLIENTS),
            "honest_minimum": whole(self.honest_minimum, "honest_minimum", 2),
            "spare": whole(self.spare, "spare", 0),
            "rule": _named(Rule, self.rule, "rule"),
            "adversary": _named(Adversary, self.adversary, "adversary"),
        }
        for name in ("bad_fraction", "corrupt_fraction", "dropout_fraction"):
            settled[name] = float(real(getattr(self, name), name, 0, 1))
        for name, value in settled.items():
            object.__setattr__(self, name, value)
        # No group has a smaller fraction of corrupt clients, of those that there may be, than there are in all.
        ThreatModel(self.num_clients, self.num_corrupt / self.num_clients, self.dropout_fraction, self.adversary)
        if self.rule is Rule.SUM and self.num_bad:
            raise ParameterError(
                f"the sum bears no bad client, but {self.num_bad} of {self.num_clients} may be: choose another rule, "
                "or a bad_fraction of 0"
            )
        if self.groups is None:
            object.__setattr__(self, "groups", self._fewest())
        else:
            object.__setattr__(self, "groups", whole(self.groups, "groups", 1, self.num_clients))
            self._check(self.num_groups)

    @property
    def num_bad(self) -> int:
        """How many clients may be bad."""
        return math.floor((self.bad_fraction + ROUNDING_SLACK) * self.num_clients)

    @property
    def num_corrupt(self) -> int:
        """How many clients may be corrupt."""
        return math.floor((self.corrupt_fraction + ROUNDING_SLACK) * self.num_clients)

    @property
    def num_groups(self) -> int:
        """How many groups there are."""
        return self.groups or 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the groups, the larger ones first."""
        return group_sizes(self.num_clients, self.num_groups)

    @cached_property
    def max_spoilt(self) -> int:
        """How many groups are spoilt at most, but for a probability below 2**-20."""
        most = self.rule.bears(self.num_groups - self.spare)
        return bisect_left(range(most), True, key=lambda spoilt: self._rare(self.num_groups, spoilt))

    @property
    def min_groups(self) -> int:
        """How many groups must be left to be combined; of the sum, all but the spare ones."""
        return self.num_groups - self.spare if self.rule is Rule.SUM else self.rule.fewest(self.max_spoilt)

    @cached_property
    def spoilt_probability(self) -> float:
        """A bound on the probability that more than `max_spoilt` groups are spoilt; exact up to 10,000 clients."""
        if self.num_clients > _EXACT_UP_TO:
            return self._more_spoilt(self.num_groups, self.max_spoilt)[1]
        return float(reaching(self.num_clients, self.num_groups, self.num_bad, self.max_spoilt + 1))

    @cached_property
    def dishonest_probability(self) -> float:
        """A bound on the probability that some group's sum has fewer honest clients than planned: over all groups."""
        return float(self._too_few_honest(self.num_groups))

    @property
    def estimated_noise_factor(self) -> float:
        """Roughly how much more noise private rounds have by groups, each with all of it; no bound: see `Rule`."""
        return self.rule.estimated_noise_factor(self.num_groups, self.max_spoilt)

    def max_corrupt(self, size: int) -> int:
        """Return how many of a group of this size are corrupt at most, but for a share of 2**-40 for each group."""
        return self._most_corrupt(size, self.num_groups)

    def model(self, size: int) -> ThreatModel:
        """Return the threat model of a group of this size.

        A session with it sums at least `honest_minimum` inputs of clients that are not corrupt.
        """
        return self._model(size, self.max_corrupt(size))

    def written(self) -> bytes:
        """Return the plan as bytes, the same for equal plans: what a draw of the groups is bound to."""
        return msgspec.msgpack.encode(astuple(self))

    @classmethod
    def read(cls, written: bytes, num_clients: int) -> Self:
        """Return the plan that somebody has written, for so many clients.

        Raises:
            MalformedMessage: the bytes are no plan.
            ParameterError: it is for another number of clients, or no plan can be like that.
        """
        fields = framing.decode_body(written, _Written)
        if fields[0] != num_clients:  # before anything is computed for a number that a stranger chose
            raise ParameterError(f"the plan is for {fields[0]} clients, but there are {num_clients}")
        return cls(*fields)

    def _rare(self, groups: int, spoilt: int) -> bool:
        """Whether more of the groups are spoilt with a probability below the limit; rounded up above 10,000 clients."""
        low, high = self._more_spoilt(groups, spoilt)
        if high < _SPOILT:
            return True
        if low >= _SPOILT or self.num_clients > _EXACT_UP_TO:
            return False
        return reaching(self.num_clients, groups, self.num_bad, spoilt + 1) < _SPOILT

    def _more_spoilt(self, groups: int, spoilt: int) -> tuple[float, float]:
        """Return between which two numbers the probability is that more of the groups are spoilt."""
        if self.num_bad > _MOST_BAD:
            raise ParameterError(
                f"{self.num_bad} bad clients in {groups} groups are too many to plan for: assume fewer, or split the "
                "clients into runs"
            )
        return spread(self.num_clients, groups, self.num_bad).more_than(spoilt)

    def _bears(self, groups: int) -> bool:
        """Whether the rule bears what may be spoilt of so many groups, with as many to spare as are asked for."""
        most = self.rule.bears(groups - self.spare)
        return most > self._spoilt_on_average(groups) and self._rare(groups, most)

    def _spoilt_on_average(self, groups: int) -> int:
        """Return the largest x such that groups are spoilt on average so often that more than x are not rare: cheap.

        No more than all bad clients ever spoil. So the average is at most x + Pr[more than x] (bad - x).
        """
        average = mean_reached(self.num_clients, groups, self.num_bad) * (1 - 1e-8)
        return math.ceil((average - float(_SPOILT) * self.num_bad) / (1 - float(_SPOILT))) - 1

    def _model(self, size: int, corrupt: int) -> ThreatModel:
        return ThreatModel(size, corrupt / size, self.dropout_fraction, self.adversary)

    def _most_corrupt(self, size: int, groups: int) -> int:
        """Return the least x of which Pr[more than x of a group are corrupt] < 2**-40 / groups: in floats, as exact."""
        limit = _HONEST / groups
        may, surely = hypergeometric(self.num_clients, self.num_corrupt, size).least_rare(float(limit))
        return surely if may == surely else most_marked(self.num_clients, self.num_corrupt, size, limit)

    def _hides(self, groups: int) -> bool:
        """Whether the sums of so many groups have enough honest inputs, and their sessions a threat model."""
        return not any(self._lacking(size, groups) for size, _ in counted_sizes(self.num_clients, groups))

    def _lacking(self, size: int, groups: int) -> int:
        """Return how many clients a group of this size lacks at least, one of so many; 0 where it lacks none."""
        corrupt = self._most_corrupt(size, groups)
        lacking = self.honest_minimum + corrupt - self._summed(size)
        try:
            self._model(size, corrupt)
        except ParameterError:
            lacking = max(lacking, 1)
        return max(lacking, 0)

    def _summed(self, size: int) -> int:
        return math.ceil((1 - self.dropout_fraction - ROUNDING_SLACK) * size)

    def _too_few_honest(self, groups: int) -> Fraction:
        total = Fraction(0)
        for size, count in counted_sizes(self.num_clients, groups):
            most = self._summed(size) - self.honest_minimum
            if self.num_clients <= _EXACT_HONEST_UP_TO:
                total += count * more_than(self.num_clients, self.num_corrupt, size, most)
            else:
                total += count * Fraction(hypergeometric(self.num_clients, self.num_corrupt, size).more_than(most))
        return total

    def _fewest(self) -> int:
        """Return the fewest groups that the rule bears; raise ParameterError where they do not hide their clients."""
        groups = self._fewest_borne()
        if groups is None:
            raise ParameterError(
                f"{self.rule} bears {self.num_bad} bad clients of {self.num_clients} in no number of groups: assume "
                "fewer bad clients or spare groups"
            )
        if self._hides(groups):
            return groups
        raise ParameterError(
            f"{self.num_bad} bad clients of {self.num_clients} ask for at least {groups} groups, of "
            f"{self.num_clients // groups} clients or one more; {self._asked_for_honest(groups)}: assume fewer bad or "
            "corrupt clients or dropouts, lower honest_minimum, or invite more"
        )

    def _fewest_borne(self) -> int | None:
        """Return the fewest groups that the rule bears; None where it bears no number of them.

        More groups are never spoilt less. A further, empty group changes nothing. Then clients move from larger groups
        to smaller ones until all are equal; and of two groups of a and b that hold j bad clients, both are spoilt but
        for C(a, j) + C(b, j) of C(a + b, j) ways, which are fewer the more equal a and b are. So where more than x of
        some groups are not rarely spoilt, all numbers of groups from there on are passed over of which it bears x.
        """
        groups, spoilt = 1, -1
        while True:
            ahead = range(groups, self.num_clients + 1)
            ahead = ahead[bisect_left(ahead, True, key=lambda g: self.rule.bears(g - self.spare) > spoilt) :]
            if not ahead:
                return None
            groups, most = ahead[0], self.rule.bears(ahead[0] - self.spare)
            spoilt = max(spoilt, self._spoilt_on_average(groups))
            if most > spoilt:
                if self._rare(groups, most):
                    return groups
                spoilt = max(spoilt, spread(self.num_clients, groups, self.num_bad).not_rare(float(_SPOILT)))
                groups += 1

    def _check(self, groups: int) -> None:
        most = self.rule.bears(groups - self.spare)
        if most < 0:
            raise ParameterError(
                f"groups is {groups}, {self.spare} of them to spare, but {self.rule} needs {self.rule.fewest(0)} that "
                "are left, even if none is spoilt: take more groups, or a smaller spare"
            )
        if not self._bears(groups):
            raise ParameterError(
                f"of {groups} groups, {self.spare} of them to spare, {self.rule} bears {most} spoilt ones, but "
                f"{self.num_bad} bad clients of {self.num_clients} may well spoil more, not below 2**-{SPOILT_BITS}: "
                "take more groups or another rule, or assume fewer bad clients"
            )
        if not self._hides(groups):
            raise ParameterError(
                f"{groups} groups have {self.num_clients // groups} clients or one more; "
                f"{self._asked_for_honest(groups)}: take fewer groups, or lower honest_minimum or dropout_fraction"
            )

    def _asked_for_honest(self, groups: int) -> str:
        """Say how large groups must be, given a number of groups that are too small."""
        asked = (
            f"{self.honest_minimum} honest ones in each sum beside {self.num_corrupt} corrupt, with a dropout_fraction "
            f"of {self.dropout_fraction:g},"
        )
        fewer = self._most_hiding(groups - 1)
        if fewer is None:
            return f"{asked} are too many for any number of groups"
        return f"{asked} ask for at most {fewer}, of {self.num_clients // fewer} or one more"

    def _most_hiding(self, groups: int) -> int | None:
        """Return the most groups, up to so many, that hide their clients; None for none.

        One more client in a group is at most one more in its sum, and no fewer corrupt. So where a size lacks j
        clients, the j - 1 next are passed over, too, down to half as many groups, by whose limit it lacks them.
        """
        while groups:
            if self._hides(groups):
                return groups
            passed, half = groups - 1, (groups + 1) // 2
            for size, _ in counted_sizes(self.num_clients, groups):
                if lacking := self._lacking(size, half):
                    passed = min(passed, max(half - 1, self.num_clients // (size + lacking)))
            groups = passed
        return None


def _named(kind: type[E], value: E, name: str) -> E:
    if value not in tuple(kind):
        raise ParameterError(f"{name} is {value!r}, but must be one of {', '.join(kind)}")
    return kind(value)
