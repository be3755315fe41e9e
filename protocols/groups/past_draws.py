"""What a client remembers of the draws that it took part in: over the same data it is dealt to one group, once."""

from __future__ import annotations

import threading
from typing import Self

import msgspec

from secagg.errors import ContradictoryRequest, ParameterError

from ..core.dumps import decode_state, encode_state
from ..core.numbers import whole

MAX_DRAWS = 4
"""Who holds a nonce back has seen the groups; each further draw is a further try at groups that please him."""


class _Remembered(msgspec.Struct):
    runs: dict[bytes, str] = {}
    shown: dict[str, int] = {}
    settled: dict[str, bytes] = {}


class PastDraws:
    """The memory of one client, over all runs. It must outlive the process: store `dump` before an answer leaves.

    A data set is named by the client itself, never by the server: for data that stay (statistics) one name for ever,
    for updates that change in each run a name for each run.

    Args:
        max_draws: how many nonces the client shows over the same data, from 1. All bounds of a plan hold for one draw;
            for all of them together they are so many times larger.
    """

    def __init__(self, max_draws: int = MAX_DRAWS) -> None:
        self._max_draws = whole(max_draws, "max_draws", 1)
        self._known = _Remembered()
        self._alone = threading.Lock()

    def check(self, data: str, run: bytes | None = None) -> None:
        """Return if a draw over the data may begin; in a run, once it is known.

        Raises:
            ParameterError: the data have no name.
            ContradictoryRequest: the run has had a draw, the data are in a group, or there were too many draws.
        """
        if not isinstance(data, str) or not data:
            raise ParameterError(f"data are named {data!r:.60}, but must be by text of at least one character")
        known = self._known
        if run in known.runs:
            raise ContradictoryRequest("asked to draw groups again in a run that had its draw")
        if data in known.settled:
            raise ContradictoryRequest(f"asked to draw groups again over {data!r}, which is in a group already")
        if self.num_shown(data) >= self._max_draws:
            raise ContradictoryRequest(
                f"{self._max_draws} draws over {data!r} were broken off after a nonce was shown: no further one"
            )

    def show(self, run: bytes, data: str) -> None:
        """Count a draw: a nonce is about to be shown. Raises as `check`; a draw is counted once."""
        with self._alone:
            self.check(data, run)
            self._known.runs[run] = data
            self._known.shown[data] = self.num_shown(data) + 1

    def settle(self, run: bytes, data: str, coin: bytes) -> None:
        """Note that the data are in a group now; raise ContradictoryRequest if they were, by another draw."""
        with self._alone:
            if self._known.runs.get(run) != data or self._known.settled.get(data, coin) != coin:
                raise ContradictoryRequest(f"asked to settle groups over {data!r} by a draw that was not counted")
            self._known.settled[data] = coin

    def num_shown(self, data: str) -> int:
        """Return in how many draws over the data a nonce was shown."""
        return self._known.shown.get(data, 0)

    def coin(self, data: str) -> bytes | None:
        """Return the coin by which the data are in a group; None if they are in none."""
        return self._known.settled.get(data)

    def dump(self) -> bytes:
        """Return all that is remembered, for `load`."""
        with self._alone:
            return encode_state(self._known)

    @classmethod
    def load(cls, dumped: bytes, max_draws: int = MAX_DRAWS) -> Self:
        """Return the memory that was dumped; raise StateError for bytes that are none."""
        made = cls(max_draws)
        made._known = decode_state(dumped, _Remembered)
        return made
