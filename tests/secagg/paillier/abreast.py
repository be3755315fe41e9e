"""Blocks of residues laid out by hand, for both kinds of limbs."""

from __future__ import annotations

import numpy as np
import pytest

from secagg.paillier.limbs import DOUBLES, INTEGERS, LANES, Limbs
from secagg.paillier.montgomery import Blocks

BOTH = [INTEGERS, DOUBLES]
both_kinds = pytest.mark.parametrize("limbs", BOTH, ids=["integers", "doubles"])
"""Every processor computes with both, if not as fast."""


def blocks_of(values: list[int], count: int, limbs: Limbs) -> Blocks:
    """Lay values below the radix out as they are, reduced or not; eight a block."""
    full = (1 << limbs.bits) - 1
    cut = [[value >> (limbs.bits * limb) & full for limb in range(count)] for value in values]
    return np.ascontiguousarray(np.array(cut, limbs.kind).reshape(-1, LANES, count).transpose(0, 2, 1))


def values_of(blocks: Blocks, limbs: Limbs) -> list[int]:
    """Read every value back as it is, reduced or not."""
    assert blocks.dtype == limbs.kind
    assert blocks.max(initial=0) < 1 << limbs.bits
    assert blocks.min(initial=0) >= 0
    rows = blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])
    return [sum(int(limb) << (limbs.bits * place) for place, limb in enumerate(row)) for row in rows]


def quotient_of(product: int, modulus: int, radix: int) -> int:
    """Return how many times the modulus make the product a multiple of the radix."""
    return -product * pow(modulus, -1, radix) % radix


def unreduced_product(a: int, b: int, modulus: int, radix: int) -> int:
    """Return what Montgomery's multiplication leaves, before any reduction."""
    return (a * b + quotient_of(a * b, modulus, radix) * modulus) // radix


def heavy_limb(limbs: Limbs) -> int:
    """Return a limb with a square of which both halves are nearly as large as can be."""
    return (1 << limbs.bits) - (1 << limbs.bits // 2) + 1


def extreme_limbs(limbs: Limbs) -> list[int]:
    """Return limbs whose products have the largest halves, of either sign, and some right between two roundings."""
    full, half = (1 << limbs.bits) - 1, 1 << limbs.bits // 2
    return [0, 1, full, full - 1, full // 2, full // 2 + 1, full - half + 2, full + 1 - half, full - half, half]


def extreme_moduli(count: int, limbs: Limbs) -> dict[str, int]:
    """Return moduli whose arithmetic takes so many limbs: as close to an eighth of the radix as may be, and as far."""
    bits, heavy_one, full = limbs.bits, heavy_limb(limbs), (1 << limbs.bits) - 1
    top = bits * count - 3
    heavy = sum(heavy_one << (bits * limb) for limb in range(count - 1))
    return {
        "full": (1 << top) - 1,
        "inverse full": (1 << top) - full,  # 1 mod 2**bits
        "heavy": heavy | heavy_one >> 3 << (bits * (count - 1)),
        "sparse": (1 << (top - 1)) + 1,
        "nothing in the top limb": max((1 << (bits * (count - 1))) - 1, (1 << 52) + 1),
    }
