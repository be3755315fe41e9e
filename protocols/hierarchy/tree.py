"""Who is where: the groups of each level, for whoever runs a whole hierarchy, and the checks that nobody can skip."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from secagg.errors import ParameterError

from ..core.numbers import whole
from ..core.participants import Participants


@dataclass(frozen=True)
class Tree:
    """The groups of each level, by name: clients at the bottom, one group at the top.

    Args:
        levels: from the lowest: name of a group -> its members. Those of a level are the groups of the one below.

    Raises:
        ParameterError: a group or a client is nowhere or in two places, or the highest level has not one group.
    """

    levels: tuple[Mapping[str, Participants], ...]

    def __post_init__(self) -> None:
        """Check that everyone is in one place."""
        object.__setattr__(self, "levels", tuple(dict(level) for level in self.levels))
        if not self.levels or len(self.levels[-1]) != 1:
            raise ParameterError("the highest level of a tree has one group")
        taken: set[str] = set()
        for name in self._everywhere():
            if name in taken:
                raise ParameterError(f"{name!r} is in two places of the tree: its input would be summed twice")
            taken.add(name)
        for below, above in zip(self.levels, self.levels[1:], strict=False):
            members = {name for group in above.values() for name in group}
            if members != set(below):
                raise ParameterError(
                    f"{min(members ^ set(below))!r} is not in both a level and the one above it: each group is a member"
                )

    @classmethod
    def even(cls, sizes: Iterable[int]) -> Tree:
        """Return a tree of groups that are alike.

        Args:
            sizes: members of a group at each level, from the lowest: (10, 5) is 5 groups of 10 clients. These are
                named client-01 and so on, groups by their place, such as 2.3 for the third in the second; the highest
                is all.
        """
        sizes = [whole(size, "the number of members", 2) for size in sizes]
        if not sizes:
            raise ParameterError("a tree has at least one level")
        clients = iter(Participants.numbered(math.prod(sizes)))
        levels: list[dict[str, Participants]] = []
        groups: list[tuple[int, ...]] = [()]
        for place, size in reversed(list(enumerate(sizes))):
            paths = {group: [(*group, number) for number in range(1, size + 1)] for group in groups}
            levels.insert(
                0,
                {
                    _named(group): Participants(map(_named, below) if place else islice(clients, size))
                    for group, below in paths.items()
                },
            )
            groups = [path for below in paths.values() for path in below]
        return cls(tuple(levels))

    @property
    def clients(self) -> tuple[str, ...]:
        """The names of all clients."""
        return tuple(name for group in self.levels[0].values() for name in group)

    def _everywhere(self) -> Iterator[str]:
        yield from self.clients
        for level in self.levels:
            yield from level


def _named(path: tuple[int, ...]) -> str:
    return ".".join(map(str, path)) or "all"
