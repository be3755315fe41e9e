"""Recorded randomness in place of the operating system's: for replaying the audit's vectors, and for nothing else.

A whole session can be held against recorded bytes only if its roles draw what was drawn when it was recorded. So the
rooms of the library that draw are given, for the time of one step, a source that hands out what a vector says. **Nobody
but the audit and the tests may use this**: whoever runs a real session inside one of these contexts gives its secrets
away. A test sees to it that no other room of these packages imports this one.

Three things keep it from doing harm in a process that does other work as well. What is replaced is put back, whatever
happens. Only the thread that has entered a context meets recorded randomness: all others go on drawing from the
operating system. And contexts neither nest nor overlap: a second one is refused, as it would put back the first's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock, get_ident
from typing import Any

import numpy as np

from dp import clipping, samplers
from dp.randomness import WordStream
from secagg import aead, shamir
from secagg.encoding import FixedPoint
from secagg.key_agreement import KeyPair
from secagg.paillier import open_partially
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import Identity

from ...masking.client import steps
from ...masking.server import server as server_room

Given = dict[str, Any]
_IN_USE = Lock()


class OtherRandomness(Exception):  # noqa: N818 - a finding about the library, not an error of the audit's
    """The library asks for other randomness than a session's record has: more of it, or of another length."""


class AlreadyFixed(Exception):  # noqa: N818
    """Randomness is already replaced: contexts do not nest, and only one thread may have one."""


Replacement = tuple[Any, str, Any]
"""Where a name is replaced, the name, and by what."""


@contextmanager
def _replaced(replacements: Iterable[Replacement]) -> Iterator[None]:
    """Replace names for this thread, and put back what was there."""
    if not _IN_USE.acquire(blocking=False):
        raise AlreadyFixed("randomness is already replaced: leave that context first")
    undo: list[Replacement] = []
    try:
        for owner, name, replacement in replacements:
            original = getattr(owner, name)
            undo.append((owner, name, original))
            setattr(owner, name, _of_this_thread(replacement, original) if callable(replacement) else replacement)
        yield
    finally:
        for owner, name, original in reversed(undo):
            setattr(owner, name, original)
        _IN_USE.release()


def _of_this_thread(replacement: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    owner = get_ident()

    def either(*args: Any, **kwargs: Any) -> Any:
        return (replacement if get_ident() == owner else original)(*args, **kwargs)

    return either


class _System:
    """Stands in for the module `os`: its `urandom` is another in this thread."""

    def __init__(self, source: RandomBytes) -> None:
        self.urandom = _of_this_thread(source, os.urandom)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def _next(of: Iterator[Any]) -> Any:
    try:
        return next(of)
    except StopIteration:
        raise OtherRandomness("the library draws more often than when this was recorded") from None


def _source(recorded: Iterable[str]) -> RandomBytes:
    """A source that hands out byte strings, one after the other."""
    left = iter(recorded)

    def random(size: int) -> bytes:
        drawn = bytes.fromhex(_next(left))
        if len(drawn) != size:
            raise OtherRandomness(f"the library draws {size} bytes, where {len(drawn)} were recorded")
        return drawn

    return random


def _urandom(recorded: Iterable[str]) -> _System:
    return _System(_source(recorded))


def _by_default(function: Any, source: RandomBytes) -> Replacement:
    """Let a function of `secagg` draw from this source where it is handed none."""
    function = getattr(function, "__func__", function)
    return function, "__kwdefaults__", function.__kwdefaults__ | {"random": _of_this_thread(source, SYSTEM)}


def for_server(nonce: str) -> AbstractContextManager[None]:
    """Return a context in which a server that is made draws this nonce."""
    return _replaced([(server_room, "os", _urandom([nonce]))])


def for_rounding(seed: str) -> AbstractContextManager[None]:
    """Return a context in which stochastic rounding of one vector takes this seed."""
    return _replaced([_by_default(FixedPoint.encode, _source([seed]))])


def for_client(given: Given) -> AbstractContextManager[None]:
    """Return a context in which a client draws, in one step, what its entry in a vector says."""
    return _replaced(
        [
            _by_default(KeyPair.generate, _source([given["cipher_private_key"], given["mask_private_key"]])),
            _by_default(
                Identity.generate, _source([given[key] for key in ("confirmation_private_key",) if key in given])
            ),
            (steps, "os", _urandom([given["self_mask_seed"]])),
            _by_default(FixedPoint.encode, _source(given["rounding_seeds"].values())),
            _by_default(shamir.split, _source(_coefficients(given))),
            (aead, "seal", _sealing(given["nonces"])),
            *_noise(given),
        ]
    )


def for_proof(nonce: int) -> AbstractContextManager[None]:
    """Return a context in which a partial opening is proven with this nonce."""
    left = iter([nonce])
    source = lambda size: (_next(left) % (1 << 8 * size)).to_bytes(size, "little")  # noqa: E731
    return _replaced([_by_default(open_partially, source)])


def _coefficients(given: Given) -> Iterator[str]:
    for rows in (given["seed_coefficients"], given["mask_key_coefficients"]):
        yield np.array(rows, dtype="<u4").tobytes().hex()


def _sealing(recorded: dict[str, str]) -> Callable[..., bytes]:
    """Nonces are recorded by recipient: who that is says the associated data."""
    seal = aead.seal

    def sealing(key: bytes, plaintext: bytes, *, associated_data: bytes) -> bytes:
        recipient = str(int.from_bytes(associated_data[-4:], "big"))
        nonce = recorded.get(recipient, "00" * aead.NONCE_BYTES)  # for whoever is none, bytes that nobody recorded
        return seal(key, plaintext, associated_data=associated_data, random=_source([nonce]))

    return sealing


# The noise and the rounding of private vectors


def _noise(given: Given) -> Iterator[Replacement]:
    """Rounding and noise take the streams of the seeds that a client's vectors have, one vector after the other."""
    names = iter(given.get("noise_seeds", ()))
    current = next(names, "")

    def for_rounding(expected_words: int, *, random: RandomBytes) -> WordStream:
        if current not in given["rounding_seeds"]:
            raise OtherRandomness("the library rounds at random where no rounding was recorded")
        return WordStream(expected_words, random=always(given["rounding_seeds"][current]))

    def for_noise(expected_words: int, *, random: RandomBytes) -> WordStream:
        nonlocal current
        if not current:
            raise OtherRandomness("the library draws noise where none was recorded")
        seed, current = given["noise_seeds"][current], next(names, "")
        return WordStream(expected_words, random=always(seed))

    yield clipping, "WordStream", for_rounding
    yield samplers, "WordStream", for_noise


def always(seed: str) -> RandomBytes:
    """Return a source of random bytes that is this seed, whenever it is asked."""

    def draw(size: int) -> bytes:
        drawn = bytes.fromhex(seed)
        if len(drawn) != size:
            raise OtherRandomness(f"the library draws {size} bytes, where {len(drawn)} were recorded")
        return drawn

    return draw
