"""What the server remembers: enough, and in a form that can be written down, to finish a round in another process."""

from __future__ import annotations

import msgspec

from ...core.participants import Participants
from ..config import RoundConfig
from ..messages import AdvertiseKeys
from ..transitions import ServerPhase


class ServerState(msgspec.Struct, forbid_unknown_fields=True):
    """The server's memory of one session; `sums` are the running sums of all vectors, little-endian.

    Clients are numbers. Each collection holds the clients that got through that phase, so later ones are subsets of
    earlier ones. `accepted` has the fingerprint of each client's last accepted message, `everyone` the digest of all
    keys that were advertised, once they are; `sealed`, `commitments` and `responses` have records side by side as they
    came (`holding`), and `complaints` has the holders that complain of a dealer.
    """

    config: RoundConfig
    nonce: bytes
    phase: ServerPhase
    names: tuple[str, ...]
    keys: dict[str, bytes]
    revealed: bool = False
    excluded: dict[int, str] = {}
    accepted: dict[int, bytes] = {}
    everyone: bytes = b""
    advertised: dict[int, AdvertiseKeys] = {}
    sealed: dict[int, bytes] = {}
    commitments: dict[int, bytes] = {}
    shared: set[int] = set()
    receipts: set[int] = set()
    complaints: dict[int, set[int]] = {}
    masked: set[int] = set()
    confirmations: dict[int, bytes] = {}
    responses: dict[int, bytes] = {}
    liars: set[int] = set()
    sums: list[bytes] = []

    def participants(self) -> Participants:
        """Return the participants by name."""
        return Participants({name: self.keys[name] for name in self.names} if self.keys else self.names)

    def __repr__(self) -> str:  # shares are secret
        return f"ServerState(phase={self.phase}, ...)"
