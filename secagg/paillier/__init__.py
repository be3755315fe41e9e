"""Paillier summation: packed vectors, streaming sums, threshold decryption. Imports neither phe nor gmpy2."""

from .keys import DEFAULT_KEY_BITS, PrivateKey, PublicKey, generate
from .knowledge import check_knowledge, encrypt_and_prove
from .lanes import Lanes
from .moduli import MAX_KEY_BITS, MIN_KEY_BITS
from .randomness import FullExponents, KeyHolder, NoisePool, NoiseSource, ShortExponents
from .sums import Accumulator, Part, multiply
from .threshold import KeyShare, Opened, PartialOpening, ThresholdKey, check_partial, combine, deal, open_partially
from .vectors import EncryptedVector, decrypt, encrypt, rerandomise
from .warming import warm_up

__all__ = [
    "DEFAULT_KEY_BITS",
    "MAX_KEY_BITS",
    "MIN_KEY_BITS",
    "Accumulator",
    "EncryptedVector",
    "FullExponents",
    "KeyHolder",
    "KeyShare",
    "Lanes",
    "NoisePool",
    "NoiseSource",
    "Opened",
    "Part",
    "PartialOpening",
    "PrivateKey",
    "PublicKey",
    "ShortExponents",
    "ThresholdKey",
    "check_knowledge",
    "check_partial",
    "combine",
    "deal",
    "decrypt",
    "encrypt",
    "encrypt_and_prove",
    "generate",
    "multiply",
    "open_partially",
    "rerandomise",
    "warm_up",
]
