"""How much of its demand on privacy a node has given away, in a file that outlives runs: the server starts those.

Each round is noted with the number of rounds k that it was held to. All rounds in the account count as parts of the
least k that any of them, or the next, was held to: rounds of more noise do not buy rounds beyond the operator's number.
That is exact where all rounds are alike. Rounds of unlike noise may come to slightly more than the demand, by what the
bounds of single rounds differ in.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from secagg.errors import ParameterError

from ..core.files import sync
from ..masking.policy import PrivacyDemand
from .answered import folder_of
from .durable import ANSWERED, alone, make, noting, settle

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
        rounds = min(demand.rounds, _MOST).to_bytes(_ROUNDS_BYTES, "big")
        try:
            with alone(notes):
                _mend_cut_off(notes, bytes(32) + rounds)
                _append(notes, session_id + rounds)
        finally:
            settle(notes)
        sync(path.parent)
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
    return Fraction(len(rounds), max(1, min((demand.rounds, *rounds)))), len(rounds)


def _mend_cut_off(notes: int, instead: bytes) -> None:
    """Put a whole note in the place of one that was cut off, so that those behind it are read where they stand."""
    size = os.fstat(notes).st_size
    if size % _NOTE_BYTES:
        os.ftruncate(notes, size - size % _NOTE_BYTES)
        _append(notes, instead)


def _append(notes: int, note: bytes) -> None:
    if os.write(notes, note) < len(note):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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
