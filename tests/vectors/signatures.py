"""Signatures that RFC 8032 publishes, and signatures that verifiers disagree on: nobody may take these."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from tests.checker.edwards import BASE, ORDER, Point, add, decode, encode, times

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
]
"""RFC 8032, section 7.1: private key, public key, message, signature."""

_SMALL = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"
_LARGE = "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43"
_MIXED = "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d"
_PRIME = "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623"
_NOT_CANONICAL = "ec" + "ff" * 31
_MESSAGES = (
    "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
    "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
    "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
    "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
    "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
    "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
    "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
    "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
)
_RESPONSE = "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04"
_COMMITMENT = "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc"

SPECCHECK = [
    ("speccheck 0: A and R of small order, S = 0", _SMALL, _MESSAGES[0], _SMALL[:-2] + "7a" + "00" * 32),
    ("speccheck 1: A of small order", _SMALL, _MESSAGES[1], _LARGE + _RESPONSE),
    (
        "speccheck 2: R of small order",
        _LARGE,
        _MESSAGES[2],
        _SMALL + "8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
    ),
    (
        "speccheck 3: A and R of mixed order, either equation holds",
        _MIXED,
        _MESSAGES[1],
        "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f"
        "87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
    ),
    (
        "speccheck 4: A and R of mixed order, the equation with the cofactor holds",
        _MIXED,
        _MESSAGES[3],
        "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512"
        "5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
    ),
    (
        "speccheck 5: A of mixed order, the equation with the cofactor holds",
        _MIXED,
        _MESSAGES[3],
        "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7"
        "e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
    ),
    (
        "speccheck 6: S above L",
        _PRIME,
        _MESSAGES[4],
        "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e"
        "547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
    ),
    (
        "speccheck 7: S far above L",
        _PRIME,
        _MESSAGES[4],
        "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942"
        "7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
    ),
    (
        "speccheck 8: R of small order and not canonical, reduced before it is hashed",
        _LARGE,
        _MESSAGES[5],
        _NOT_CANONICAL + "03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
    ),
    (
        "speccheck 9: R of small order and not canonical, hashed as it is",
        _LARGE,
        _MESSAGES[5],
        _NOT_CANONICAL + "ca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
    ),
    (
        "speccheck 10: A of small order and not canonical, reduced before it is hashed",
        _NOT_CANONICAL,
        _MESSAGES[6],
        _COMMITMENT + _RESPONSE,
    ),
    (
        "speccheck 11: A of small order and not canonical, hashed as it is",
        _NOT_CANONICAL,
        _MESSAGES[7],
        _COMMITMENT + _RESPONSE,
    ),
]
"""Chalkias, Garillot, Nikolaenko, Taming the many EdDSAs (2020), and their ed25519-speccheck: name, A, message, R S."""


def _eighth() -> Point:
    point = decode(bytes.fromhex(_SMALL))
    if point is None:
        raise ValueError("no point of order 8")
    return point


def off_by(key: int, commitment: int, message: bytes) -> tuple[bytes, bytes]:
    """A public key and a signature that satisfy the equation with the cofactor, for every message.

    The point of order 8 is added to the key and to R so many times; without it, all is as honest signers have it.
    """
    scalar, nonce, eighth = 2**251 + 9, 2**250 + 7, _eighth()
    public = encode(add(times(scalar, BASE), times(key, eighth)))
    committed = encode(add(times(nonce, BASE), times(commitment, eighth)))
    challenge = int.from_bytes(hashlib.sha512(committed + public + message).digest(), "little")
    return public, committed + ((nonce + challenge * scalar) % ORDER).to_bytes(32, "little")


def off_the_subgroup() -> Iterator[tuple[str, str, str, str]]:
    """Cases as in SPECCHECK: A, R or both are off the subgroup, by points of order 2, 4 and 8."""
    for order in (2, 4, 8):
        for name, key, commitment in (("A", 8 // order, 0), ("R", 0, 8 // order), ("A and R", 8 // order, 8 // order)):
            public, signature = off_by(key, commitment, b"text")
            yield f"{name} off the subgroup, order {order}", public.hex(), b"text".hex(), signature.hex()
