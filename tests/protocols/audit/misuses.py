"""Faults at the doors of the library and in what callers do without thinking, and the check that must notice each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dp import calibration, clipping
from dp.accounting import Method
from protocols.audit.checks import ledgers, primitives
from protocols.core.machine import Inputs
from protocols.hierarchy.total import Total
from protocols.inputs import noisy_counts, plain_codecs
from protocols.masking.client import Client
from protocols.masking.client import checks as client_checks
from protocols.masking.server import Server, closing
from protocols.paillier.parameters import RoundParameters
from secagg.encoding import Encoded
from secagg.errors import EncodingError

from .faults import Fault, around, nothing, replaced, together


class _NoLock:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _without_lock(original: Callable[..., None], self: Server, *args: Any) -> None:
    original(self, *args)
    self._lock = _NoLock()  # type: ignore[assignment]
    admit = self._admit

    def slowly(*message: Any) -> Any:
        receipt = admit(*message)
        time.sleep(0.05)  # so that the other threads are certain to be here, too
        return receipt

    self._admit = slowly  # type: ignore[method-assign]


def _silent_beyond(original: Callable[..., Encoded], self: noisy_counts.NoisyCounts, value: Any, *rest: Any) -> Any:
    if int(value.sum()) > self.spec.max_total:
        raise EncodingError("the counts sum to more than max_total")
    return original(self, value, *rest)


def _forgetful(patch: pytest.MonkeyPatch) -> None:
    load = Server.load

    def forgetting(data: bytes, **more: Any) -> Server:
        server = load(data, **more)
        server.outgoing = dict  # type: ignore[assignment, method-assign]
        return server

    patch.setattr(Server, "load", forgetting)


def _one_more(patch: pytest.MonkeyPatch) -> None:
    true = Total.handed_up

    def handed_up(self: Total) -> Inputs:
        given = true(self)
        given.values["votes"][0] += 1
        return given

    patch.setattr(Total, "handed_up", handed_up)


def added(owner: Any, name: str, value: Any) -> Fault:
    """Replace what may not be there."""
    return lambda patch: patch.setattr(owner, name, value, raising=False)


MISUSES: tuple[tuple[str, str, Fault], ...] = (
    ("primitives/public-keys", "unchecked", replaced(primitives, "check_public_key", nothing)),
    (
        "sessions/minimum",
        "neither side has a minimum",
        together(replaced(closing, "_check_minimum", nothing), replaced(client_checks, "_check_survivors", nothing)),
    ),
    ("sessions/hierarchies", "an operator hands up one more", _one_more),
    ("sessions/dumps", "servers forget what is to be sent", _forgetful),
    ("private/clipping", "nothing is left", around(clipping, "clip", lambda clip, *args: 0 * clip(*args))),
    ("private/clipping", "a thousandth too long", around(clipping, "clip", lambda clip, *args: 1.001 * clip(*args))),
    ("private/silence", "too many counts", around(noisy_counts.NoisyCounts, "_encode", _silent_beyond)),
    (
        "ledger/calibrated",
        "a millionth too little noise",
        around(ledgers, "noise_multiplier", lambda of, *goal, **more: of(*goal, **more) * (1 - 1e-6)),
    ),
    ("misuse/threads", "no lock", around(Server, "_open", _without_lock)),
    ("misuse/copies", "copies", added(Client, "__copy__", lambda self: self)),
    ("misuse/arrays", "what is hidden is read", replaced(plain_codecs, "readable", np.ma.getdata)),
    (
        "misuse/numbers",
        "texts are numbers",
        around(calibration, "noise_multiplier", lambda of, epsilon, *rest, **more: of(float(epsilon), *rest, **more)),
    ),
    (
        "misuse/names",
        "a look-alike is missed",
        around(
            calibration,
            "noise_multiplier",
            lambda of, *goal, method=Method.AUTO, **more: of(
                *goal, method=Method.RDP if method is Method.RDP else Method.AUTO, **more
            ),
        ),
    ),
    ("paillier/replayed", "nobody proves what it knows", added(RoundParameters, "_check_knowledge", nothing)),
)
