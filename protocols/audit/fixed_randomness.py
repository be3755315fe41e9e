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
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock, get_ident
from types import ModuleType
from typing import Any

import numpy as np

from dp import clipping, samplers
from dp.randomness import RandomBytes, WordStream
from secagg import aead, encoding, field, key_agreement, signatures

from .. import client_steps
from .. import server as server_room

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
            private = replacement if isinstance(replacement, _System) else _of_this_thread(replacement, original)
            setattr(owner, name, private)
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
    """Stands in for the module `os`, or `secrets`: one of its functions is another in this thread."""

    def __init__(self, module: ModuleType, name: str, function: Callable[..., Any]) -> None:
        self._module = module
        setattr(self, name, _of_this_thread(function, getattr(module, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _next(of: Iterator[Any]) -> Any:
    try:
        return next(of)
    except StopIteration:
        raise OtherRandomness("the library draws more often than when this was recorded") from None


def _urandom(recorded: Iterable[str]) -> _System:
    """An `os` whose `urandom` hands out byte strings, one after the other."""
    left = iter(recorded)

    def urandom(size: int) -> bytes:
        drawn = bytes.fromhex(_next(left))
        if len(drawn) != size:
            raise OtherRandomness(f"the library draws {size} bytes, where {len(drawn)} were recorded")
        return drawn

    return _System(os, "urandom", urandom)


def for_server(nonce: str) -> AbstractContextManager[None]:
    """Return a context in which a server that is made draws this nonce."""
    return _replaced([(server_room, "os", _urandom([nonce]))])


def for_rounding(seed: str) -> AbstractContextManager[None]:
    """Return a context in which stochastic rounding of one vector takes this seed."""
    return _replaced([(encoding, "os", _urandom([seed]))])


def for_client(given: Given) -> AbstractContextManager[None]:
    """Return a context in which a client draws, in one step, what its entry in a vector says."""
    return _replaced(
        [
            (key_agreement, "os", _urandom([given["cipher_private_key"], given["mask_private_key"]])),
            (signatures, "os", _urandom([given[key] for key in ("confirmation_private_key",) if key in given])),
            (client_steps, "os", _urandom([given["self_mask_seed"]])),
            (encoding, "os", _urandom(given["rounding_seeds"].values())),
            (field, "random_elements", _elements(given)),
            *_nonces(given["nonces"]),
            *_noise(given),
        ]
    )


def for_secrets(room: ModuleType, function: str, drawn: Iterable[Callable[[int], int]]) -> AbstractContextManager[None]:
    """Return a context in which a function of `secrets` that a room calls returns what these make of its argument."""
    left = iter(drawn)

    def draw(bound: int) -> Any:
        return _next(left)(bound)

    return _replaced([(room, "secrets", _System(secrets, function, draw))])


def _elements(given: Given) -> Callable[[int], Any]:
    rows = iter([given["seed_coefficients"], given["mask_key_coefficients"]])

    def elements(count: int) -> Any:
        flat = np.array(_next(rows), dtype=np.uint64).reshape(-1)
        if flat.size != count:
            raise OtherRandomness(f"the library draws {count} field elements, where {flat.size} were recorded")
        return flat

    return elements


def _nonces(recorded: dict[str, str]) -> Iterator[Replacement]:
    """Nonces are recorded by recipient: who that is says the associated data."""
    seal, current = aead.seal, [""]

    def sealing(key: bytes, plaintext: bytes, *, associated_data: bytes) -> bytes:
        recipient = str(int.from_bytes(associated_data[-4:], "big"))
        current[0] = recorded.get(recipient, "00" * aead.NONCE_BYTES)  # for whoever is none, bytes that nobody recorded
        return seal(key, plaintext, associated_data=associated_data)

    def nonces() -> Iterator[str]:
        while True:
            yield current[0]

    yield aead, "seal", sealing
    yield aead, "os", _urandom(nonces())


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
