"""How much of its demand on privacy a node has given away, in a file that outlives runs: the server starts those.

A round that was held to a demand for k rounds is a k-th part of it. Whoever raises the number of rounds later, and a
run's configuration may, gets more noise in each, and no more than what is left.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from secagg.errors import ParameterError

from ..masking.policy import PrivacyDemand
from .answered import folder_of
from .durable import ANSWERED, make, noting, settle, settle_folder

_ACCOUNTS = "private-rounds"
_NUMBER = "partition-id"
_ROUNDS_BYTES = 8
_NOTE_BYTES = 32 + _ROUNDS_BYTES
_MOST = (1 << 8 * _ROUNDS_BYTES) - 1


def check_left(node: Mapping[str, Any], demand: PrivacyDemand) -> None:
    """Return if one more round fits a node's demand.

    Raises:
        ParameterError: it does not, or the account cannot be read; where and why is in the node's log.
    """
    _check(*_spent(_file(node), demand), further=Fraction(1, demand.rounds))


def charge(node: Mapping[str, Any], session_id: bytes, demand: PrivacyDemand) -> None:
    """Note for good that a node gives input to a private round under a demand, and return if that still fits it.

    Raises:
        ParameterError: it does not, or it cannot be noted; where and why is in the node's log.
    """
    path = _file(node)
    with noting(path):
        make(path.parent)
        notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(notes, session_id + min(demand.rounds, _MOST).to_bytes(_ROUNDS_BYTES, "big"))
        finally:
            settle(notes)
        settle_folder(path.parent)
    _check(*_spent(path, demand), further=Fraction(0))


def _spent(path: Path, demand: PrivacyDemand) -> tuple[Fraction, int]:
    """Return which part of a demand has been given away, and in how many rounds."""
    with noting(path):
        try:
            notes = path.read_bytes()
        except FileNotFoundError:
            return Fraction(0), 0
    whole = len(notes) - len(notes) % _NOTE_BYTES
    rounds = [
        int.from_bytes(notes[end - _ROUNDS_BYTES : end], "big") for end in range(_NOTE_BYTES, whole + 1, _NOTE_BYTES)
    ]
    if whole < len(notes):  # a note that was cut off counts
        rounds.append(demand.rounds)
    return sum((Fraction(1, max(1, number)) for number in rounds), Fraction(0)), len(rounds)


def _check(spent: Fraction, taken: int, *, further: Fraction) -> None:
    if spent + further > 1:
        taken -= not further  # the one that was noted last is none yet
        raise ParameterError(
            f"this node has taken part in {taken} private rounds, in all runs together, and its demand on privacy is "
            f"for no more: a greater demand is a new one, with an account in another folder, {ANSWERED}; so are a "
            "simulation and each of several nodes on one machine"
        )


def _file(node: Mapping[str, Any]) -> Path:
    """Go by what the operator says alone: a node's id is the SuperLink's to give. Simulations number their nodes."""
    number = node.get(_NUMBER)
    own = ANSWERED in node or isinstance(number, bool) or not isinstance(number, int)
    return folder_of(node) / _ACCOUNTS / ("all" if own else f"partition-{number}")
