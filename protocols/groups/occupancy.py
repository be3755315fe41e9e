"""How many groups a few clients reach: exact laws, for groups of any two sizes that differ by one.

Clients are dealt to groups by a uniform permutation, so that the m clients of one kind are a uniform set of m seats.
Which of them are bad does not depend on the draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction


def group_sizes(num_clients: int, groups: int) -> tuple[int, ...]:
    """Return the sizes of groups that are as equal as can be, the larger ones first."""
    least, larger = divmod(num_clients, groups)
    return (least + 1,) * larger + (least,) * (groups - larger)


def counted_sizes(num_clients: int, groups: int) -> list[tuple[int, int]]:
    """Return each size of groups that are as equal as can be, the larger first, and how many groups have it."""
    least, larger = divmod(num_clients, groups)
    return [(size, count) for size, count in ((least + 1, larger), (least, groups - larger)) if count]


def reaching(num_clients: int, groups: int, clients: int, least: int) -> Fraction:
    """Return the exact probability that so many clients are in at least `least` of the groups.

    Inclusion and exclusion over the groups that they leave alone. With T_u, the sum over all u of the groups of the
    ways to seat the clients elsewhere, at least c groups are left alone in the alternating sum over u >= c of
    C(u - 1, c - 1) T_u ways. They are in at least `least` if at most groups - `least` are left alone.
    """
    if least <= 0:
        return Fraction(1)
    if least > min(groups, clients):
        return Fraction(0)
    size, larger = divmod(num_clients, groups)
    alone = groups - least + 1
    ways = _choices(num_clients, clients)
    spread = 0
    for u in range(alone, groups + 1):
        seats = (num_clients - u * size - a for a in range(max(0, u - groups + larger), min(larger, u) + 1))
        both = _products(larger, groups - larger, u)
        elsewhere = sum(chosen * ways[left] for chosen, left in zip(both, seats, strict=True))
        spread += (-1) ** (u - alone) * math.comb(u - 1, alone - 1) * elsewhere
    return 1 - Fraction(spread, ways[num_clients])


def _choices(total: int, chosen: int) -> list[int]:
    """Return C(N, chosen) for N from 0 to total."""
    ways = [0] * chosen + [1]
    for number in range(chosen + 1, total + 1):
        ways.append(ways[-1] * number // (number - chosen))
    return ways


def _products(first: int, second: int, together: int) -> Iterator[int]:
    """Yield C(first, a) C(second, together - a) for every a that leaves none of them zero, ascending."""
    least = max(0, together - second)
    product = math.comb(first, least) * math.comb(second, together - least)
    for a in range(least, min(first, together) + 1):
        yield product
        product = product * (first - a) * (together - a) // ((a + 1) * (second - together + a + 1))


def more_than(num_clients: int, marked: int, size: int, most: int) -> Fraction:
    """Return the exact probability that more than `most` of the clients of one group are marked."""
    first = max(0, size - (num_clients - marked))
    counts = enumerate(_products(marked, num_clients - marked, size), start=first)
    return Fraction(sum(count for x, count in counts if x > most), math.comb(num_clients, size))


def most_marked(num_clients: int, marked: int, size: int, limit: Fraction) -> int:
    """Return the least x such that more than x of one group's clients are marked with a probability below the limit."""
    first = max(0, size - (num_clients - marked))
    counts = list(_products(marked, num_clients - marked, size))
    allowed, above = limit * math.comb(num_clients, size), 0
    for place in range(len(counts) - 1, -1, -1):
        above += counts[place]
        if above >= allowed:
            return first + place
    return first
