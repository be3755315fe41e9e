"""What the server remembers: enough, and in a form that can be written down, to finish a round in another process."""

from __future__ import annotations

import msgspec

from ..config import RoundConfig
from ..messages import AdvertiseKeys, UnmaskingShares
from ..transitions import ServerPhase


class ServerState(msgspec.Struct, forbid_unknown_fields=True):
    """The server's memory of one session; `sums` are the lanes of the running sum, little-endian.

    Each set holds the clients that got through that round, so later ones are subsets of earlier ones.
    """

    config: RoundConfig
    nonce: bytes
    phase: ServerPhase
    excluded: dict[int, str] = {}
    advertised: dict[int, AdvertiseKeys] = {}
    sealed: dict[int, dict[int, bytes]] = {}
    shared: set[int] = set()
    masked: set[int] = set()
    confirmations: dict[int, bytes] = {}
    responses: dict[int, UnmaskingShares] = {}
    liars: set[int] = set()
    sums: list[bytes] = []

    def __repr__(self) -> str:  # shares are secret
        return f"ServerState(phase={self.phase}, ...)"
