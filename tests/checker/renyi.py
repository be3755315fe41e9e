"""SPEC sections 14, 15 and 33: Renyi divergences of noise, and the epsilon that follows from them."""

import math
from collections.abc import Callable
from typing import Any

from .privacy import summed_gaussians_ratio

TENTHS = [tenths / 10 for tenths in range(11, 110)]
BUDGET_ORDERS = [*TENTHS, *map(float, range(11, 513))]
"""Section 33."""
ORDERS = [
    *TENTHS,
    *map(float, range(11, 65)),
    96.0,
    128.0,
    256.0,
    512.0,
    1024.0,
    *(2 ** (j / 4) for j in range(24, 96)),
]
"""Section 15, where nothing is sampled."""


def conversion(order: float, delta: float) -> float:
    """What a divergence at an order is less than the epsilon that follows from it."""
    return math.log(1 - 1 / order) - (math.log(delta) + math.log(order)) / (order - 1)


def epsilon_from(divergence: Callable[[float], float], delta: float) -> float:
    """Section 15: the best order's."""
    return max(0.0, min(divergence(order) + conversion(order, delta) for order in ORDERS))


def of_gaussian(multiplier: float, order: float) -> float:
    return order / (2 * multiplier**2)


def of_pure(epsilon: float, order: float) -> float:
    """That of randomised response, or epsilon."""
    less, more = (order - 1) * epsilon, order * epsilon
    rest = -math.expm1(-more) / (1 + math.exp(-epsilon))
    grown = less + math.log(rest) if less > 700 else math.log1p(math.expm1(less) * rest)
    return min(epsilon, grown / (order - 1))


def counted(clients: int) -> list[int]:
    """Section 14: the numbers of clients that may stand for so many."""
    numbers = list(range(1, min(clients, 500) + 1))
    while numbers[-1] >= 500 and 501 * numbers[-1] // 500 <= clients:
        numbers.append(501 * numbers[-1] // 500)
    return numbers


def sums_of(local_sigma: float, clients: int, l2: float, l1: float, dimension: int) -> Callable[[float], float]:
    """Section 14: the sum of discrete Gaussians of so many clients, or of fewer where that is better."""
    terms = []
    for number in counted(clients):
        tau = summed_gaussians_ratio({"local_sigma": local_sigma.hex(), "clients": number})
        sigma = local_sigma * math.sqrt(number)
        terms.append((l2 / sigma, l1 / sigma, tau))

    def divergence(order: float) -> float:
        return min(
            min(
                order * u**2 / 2 + tau * dimension,
                order * (u**2 + 2 * w * tau + tau**2 * dimension) / 2,
                order * (u + math.sqrt(dimension) * tau) ** 2 / 2,
            )
            for u, w, tau in terms
        )

    return divergence


def of_event(event: dict[str, Any], order: float) -> float:
    """The divergence of one of section 34's costs, none of them sampled."""
    kind = event["type"]
    if kind == "Repeated":
        return event["count"] * of_event(event["event"], order)
    if kind == "Composed":
        return math.fsum(of_event(part, order) for part in event["events"])
    if kind == "SummedDiscreteGaussianEvent":
        norms = event["l2_sensitivity"], event["l1_sensitivity"]
        return sums_of(event["local_sigma"], event["clients"], *norms, event["dimension"])(order)
    simple: dict[str, Callable[[], float]] = {
        "GaussianEvent": lambda: of_gaussian(event["noise_multiplier"], order),
        "DiscreteGaussianEvent": lambda: of_gaussian(event["sigma"] / event["sensitivity"], order),
        "ZCDPEvent": lambda: order * event["rho"],
        "LaplaceEvent": lambda: of_pure(1 / event["noise_multiplier"], order),
        "DiscreteLaplaceEvent": lambda: of_pure(event["sensitivity"] / event["scale"], order),
    }
    return simple[kind]()
