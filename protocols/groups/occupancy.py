"""How many groups a few clients reach: exact laws, for groups of any two sizes that differ by one.

Clients are dealt to groups by a uniform permutation, so that the m clients of one kind are a uniform set of m seats.
Which of them are bad does not depend on the draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt


def group_sizes(num_clients: int, groups: int) -> tuple[int, ...]:
    """Return the sizes of groups that are as equal as can be, the larger ones first."""
    least, larger = divmod(num_clients, groups)
    return (least + 1,) * larger + (least,) * (groups - larger)


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


def nearly_reaching(num_clients: int, groups: int, clients: int, least: int) -> float:
    """Return the same in floats, in the time of clients * groups; its relative error is below 2**-28.

    Seats are filled one by one. Among equal groups, how many are reached is a Markov chain: its steps and all that
    follows add products of positive numbers, so that nothing cancels, and each of at most 8 * clients roundings costs
    2**-53. The clients in the larger groups are hypergeometric, and both kinds of groups go on by themselves.
    """
    if least <= 0:
        return 1.0
    if least > min(groups, clients):
        return 0.0
    size, larger = divmod(num_clients, groups)
    in_larger = _chain(larger, size + 1, clients)
    in_others = _chain(groups - larger, size, clients)
    tails = np.cumsum(in_others[:, ::-1], axis=1)[:, ::-1]  # at least k of the others
    total = 0.0
    for there, share in enumerate(_hypergeometric(num_clients, larger * (size + 1), clients)):
        if share:
            needed = least - np.arange(larger + 1)
            tail = tails[clients - there]
            others = np.where(needed <= 0, 1.0, np.append(tail, 0.0)[np.clip(needed, 0, len(tail))])
            total += share * float(np.dot(in_larger[there], others))
    return total


def _chain(groups: int, size: int, most: int) -> npt.NDArray[np.float64]:
    """Return the laws of how many of equal groups j clients reach, j from 0 to most: shape (most + 1, groups + 1)."""
    law = np.zeros((most + 1, groups + 1))
    law[0, 0] = 1.0
    reached = np.arange(groups + 1)
    for j in range(min(most, groups * size)):
        left = groups * size - j
        law[j + 1] = law[j] * np.maximum(reached * size - j, 0) / left
        law[j + 1, 1:] += law[j, :-1] * ((groups - reached[:-1]) * size / left)
    return law


def _hypergeometric(total: int, marked: int, drawn: int) -> npt.NDArray[np.float64]:
    """Return Pr[x of the drawn are marked] for x from 0 to drawn."""
    first, last = max(0, drawn - (total - marked)), min(drawn, marked)
    mass, ways = np.zeros(drawn + 1), math.comb(total, drawn)
    mass[first : last + 1] = [count / ways for count in _products(marked, total - marked, drawn)]
    return mass


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
