"""What a client remembers between rounds: one type a phase, which holds the secrets still needed and no others."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ..config import RoundConfig
from ..messages import AdvertiseKeys
from ..transitions import ClientPhase


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    def __repr__(self) -> str:  # fields are secret
        return f"{type(self).__name__}(...)"


class Session(_State, frozen=True):
    """What the invitation said, once it was accepted; `number` is this client's."""

    config: RoundConfig
    session_id: bytes
    number: int


class Peer(_State, frozen=True):
    """A neighbour whose keys were accepted: its mask and confirmation keys, and the key that opens what it sends."""

    mask_public_key: bytes
    confirmation_public_key: bytes
    opening_key: bytes


class Invited(_State, frozen=True, tag="invited"):
    """Nothing was said yet."""

    phase: ClassVar[ClientPhase] = ClientPhase.INVITED


class Advertised(_State, frozen=True, tag="advertised"):
    """Keys are out; private keys (the one for confirmations is empty if there is none) and self-mask seed are held."""

    phase: ClassVar[ClientPhase] = ClientPhase.ADVERTISED

    session: Session
    cipher_private_key: bytes
    mask_private_key: bytes
    confirmation_private_key: bytes
    self_mask_seed: bytes
    advertised: AdvertiseKeys


class Shared(_State, frozen=True, tag="shared"):
    """Shares are out; the cipher key is gone, the mask key and the self-mask seed are held."""

    phase: ClassVar[ClientPhase] = ClientPhase.SHARED

    session: Session
    mask_private_key: bytes
    mask_public_key: bytes
    confirmation_private_key: bytes
    self_mask_seed: bytes
    own_share: bytes
    peers: dict[int, Peer]
    everyone: bytes


class Accepted(_State, frozen=True, tag="accepted"):
    """Others' shares (seed share, key share) are held as far as they opened and fitted.

    peers are all whose shares came, with their mask and confirmation keys; complaints name those without shares.
    """

    phase: ClassVar[ClientPhase] = ClientPhase.ACCEPTED

    session: Session
    mask_private_key: bytes
    mask_public_key: bytes
    confirmation_private_key: bytes
    self_mask_seed: bytes
    own_share: bytes
    peers: dict[int, tuple[bytes, bytes]]
    shares: dict[int, tuple[bytes, bytes]]
    complaints: tuple[int, ...]
    everyone: bytes


class Masked(_State, frozen=True, tag="masked"):
    """The input is out; mask keys and seeds are gone, others' shares (seed share, key share) are held.

    own_share is the share of the own self-mask seed, empty in the sparse graph. peers are those whose masks are in the
    input, with their confirmation keys; of those that were complained of no shares are held.
    """

    phase: ClassVar[ClientPhase] = ClientPhase.MASKED

    session: Session
    confirmation_private_key: bytes
    own_share: bytes
    peers: dict[int, bytes]
    shares: dict[int, tuple[bytes, bytes]]
    everyone: bytes


class Confirmed(_State, frozen=True, tag="confirmed"):
    """Who shared keys and who survived is signed for, by the statement; the confirmation key is gone.

    Of the survivors, their number is held and which peers are among them: others' ids are in the statement alone.
    """

    phase: ClassVar[ClientPhase] = ClientPhase.CONFIRMED

    masked: Masked
    statement: bytes
    surviving_peers: tuple[int, ...]
    num_survivors: int


class Completed(_State, frozen=True, tag="completed"):
    """Everything was said; nothing is held."""

    phase: ClassVar[ClientPhase] = ClientPhase.COMPLETED


class Aborted(_State, frozen=True, tag="aborted"):
    """Something went wrong; nothing is held."""

    phase: ClassVar[ClientPhase] = ClientPhase.ABORTED

    reason: str


ClientState = Invited | Advertised | Shared | Accepted | Masked | Confirmed | Completed | Aborted
