"""Safe primes for tests, published here and therefore secure for nobody.

The door around the least key size is the private `_min_bits` of keys and dealers: nothing public opens it.
"""

from __future__ import annotations

from functools import cache

from secagg.paillier import KeyShare, NoisePool, PrivateKey, ShortExponents, ThresholdKey
from secagg.paillier.threshold import _deal

_PRIMES = {
    256: (0xCEE898FC8E82F343562C4FA2CEA828C7, 0xE8DB99BD28D21FB6255FD91643F80163),
    384: (0xDE82DA42264097608E127F244F228D5AC9258D046F14AC4F, 0xE27BEC7C424995A45AD70D75067CEC52B44F9C91FACB222B),
    512: (
        0xC2D7859F5EDB4066867FB59C90FE0AA8D3CFBC83454536B9D77D61F01DD4D82F,
        0xF2AFF5E05F858368907E45C78660BBAB27932A66E29B2D0A54717F07EC3DCB73,
    ),
    2048: (
        int(
            "c48a8b9886c9257e90aa9d2166df8c14620c73c6df05db9fa928f459f45b9d2ec008504a3fda2ba513c568284fbff21d"
            "621b910121168815d8297ae167425c0631a607d438d7526d5a9624aac066a33d7ad66ac3ad27364cb88af5451140b569"
            "77e0067b95099091cad586e7b1ec90e5b705ee847603e5345e606ce11337f64b",
            16,
        ),
        int(
            "f4a7a36b3795ea22168cd3e789a6bc037478d12974d93cb28c7b17192d0cc5a8b272b67350f19e09de335261e4695743"
            "91caa6b384453d79a8c210cce642bf41f9e3f1631ffa66ad82dc3825012614c5187ada71e4be6f27edb1c26d95bea8a7"
            "0cd3975a4f618334923456a72ba53181e7c16c66a7283d75482799ab4d29033b",
            16,
        ),
    ),
    3072: (
        int(
            "c56e985a6d4c2dd75c9f92b8a6e1483d447870d6d8249bcadf5e71207a3dc002384634b112230f1530453ace7b6f267c"
            "762d97c71bc3b73227c7aef3b9c715fde28e72262dc2f70904da9ae61747d34103a311a1d8da46491691f321d60fbd28"
            "fe31e74ad181a48ef4ed0aa50d290018babaae4bd404ccde831db05743b45a3e85d18eeb867d6785d5846c6eff29464c"
            "4c66ff36f36b7d1b9f129bdd671e902fb6b067864de2c6a84e09bba7644b2cad89e611bebb6bcb48d9b19cb8c800a0f7",
            16,
        ),
        int(
            "e5f5c1654db84b47467ce2f5ee9e5187a356de1780ec701f36c538052c02cd0b0c52ce4fb14890b94ee461e365f04731"
            "36750fe347709b3e6199fd162a1e3b70c2b29b384b1d3b5223b1451df7509015d524bfa9b36359323cc05cfdbc8e545d"
            "11aba4a340a3e393d3a8d351cda6707b03bb6387ab9a20745182f4d28f2ce173a129e9ecdc95aaf5f206aa85d0fe5daf"
            "3e63c7c2462bf336786587aecc8fe94a4fc3e0f3375d2a49b14756b7ac20e938aefc8b5a4f6a0ada3fc625a1ee36a2bf",
            16,
        ),
    ),
}
"""key_bits -> two safe primes of half as many."""

OTHER_PRIMES = (0xEF9CCB678A563C9C0957401B133DD4CB, 0xC7555696EED65551617F45B03721D10F)
"""For a second key of 256 bits."""


@cache
def private_key(key_bits: int = 256) -> PrivateKey:
    return PrivateKey(*_PRIMES[key_bits], _min_bits=key_bits)


@cache
def other_private_key() -> PrivateKey:
    return PrivateKey(*OTHER_PRIMES, _min_bits=256)


@cache
def noise(key_bits: int = 256) -> NoisePool:
    return NoisePool(ShortExponents(private_key(key_bits).public_key))


@cache
def dealt(threshold: int, members: int, key_bits: int = 256) -> tuple[ThresholdKey, tuple[KeyShare, ...]]:
    key, shares = _deal(threshold, members, *_PRIMES[key_bits], min_bits=key_bits)
    return key, tuple(shares)
