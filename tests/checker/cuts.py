"""SPEC section 2.4: may a group be summed apart? Bounds in decimals of 40 digits that are always rounded up."""

import math
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import lru_cache

UP = Context(prec=40, rounding=ROUND_CEILING, Emax=MAX_EMAX, Emin=MIN_EMIN)
DOWN = Context(prec=40, rounding=ROUND_FLOOR, Emax=MAX_EMAX, Emin=MIN_EMIN)
WEIGHTS = [Fraction(x) for x in ("5/4", "3/2", "2", "3", "4", "6", "8")]
ONE = Decimal(1)


def power(base: Fraction, exponent: int) -> Decimal:
    """At least base ** exponent, for a base that is not negative."""
    factor, product = UP.divide(Decimal(base.numerator), Decimal(base.denominator)), ONE
    while exponent:
        if exponent & 1:
            product = UP.multiply(product, factor)
        factor, exponent = UP.multiply(factor, factor), exponent >> 1
    return product


def factorials(context: Context, most: int) -> list[Decimal]:
    found = [ONE]
    for i in range(1, most + 1):
        found.append(context.multiply(found[-1], Decimal(i)))
    return found


class Bounds:
    def __init__(self, n: int, corrupt: int, late: int) -> None:
        self.n, self.corrupt, self.late, self.honest = n, corrupt, late, n - corrupt
        self.above, self.below = factorials(UP, self.honest), factorials(DOWN, self.honest)

    def choices(self, *parts: int) -> Decimal:
        """At least the number of ways to part the honest clients so."""
        below = ONE
        for part in parts:
            below = DOWN.multiply(below, self.below[part])
        return UP.divide(self.above[self.honest], below)

    def dense(self, s: int, k: int, t: int) -> Decimal:
        """Each of a group of s has t neighbours in the group or among the corrupt."""
        n, c = self.n, self.corrupt

        def cost(x: Fraction) -> float:
            return k / 2 * math.log(self.dense_cycle(s, x)) - t * math.log(x)

        x = min(WEIGHTS, key=cost)  # any x gives a bound
        reached = UP.multiply(power(self.dense_cycle(s, x), s * k // 2), power(1 / x, s * t))
        return UP.multiply(self.choices(s, n - c - s), reached)

    def dense_cycle(self, s: int, x: Fraction) -> Fraction:
        n, c = self.n, self.corrupt
        g = 1 + c * (x - 1) / (n - s - 1)
        return ((s - 1) * x * x + (n - s + c * (x - 1)) * g) / (n - 1)

    def cut(self, s: int, k: int) -> Decimal:
        """No edge leads from a group of s to those that are neither late nor corrupt."""
        n = self.n
        late = min(self.late, self.honest - 2 * s)
        r = self.honest - s - late
        h = Fraction(n - s - 1 - r, n - s - 1)
        cycle = max((s - 1 + (n - s - r) * h) / (n - 1), Fraction(0))
        return UP.multiply(self.choices(s, late, r), power(cycle, s * k // 2))


@lru_cache(maxsize=2)
def bounds_of(n: int, corrupt: int, late: int) -> Bounds:
    return Bounds(n, corrupt, late)


def bound(n: int, corrupt: int, late: int, k: int, t: int, curious: bool, limit: Decimal = ONE) -> Decimal:
    """At least the probability that some group of 2 to half of the honest clients is summed apart, up to the limit."""
    bounds, total = bounds_of(n, corrupt, late), Decimal(0)
    for s in range((n - corrupt) // 2, 1, -1):
        dense = bounds.dense(s, k, t)
        total = UP.add(total, min(dense, bounds.cut(s, k)) if curious else dense)
        if total > limit:
            break
    return total


def hold_together(n: int, corrupt: int, late: int, k: int, t: int, curious: bool) -> bool:
    limit = Decimal(2) ** -41
    return bound(n, corrupt, late, k, t, curious, limit) <= limit
