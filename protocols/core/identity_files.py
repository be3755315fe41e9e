"""Ed25519 identities in files: private keys as PEM (PKCS #8), readable by their owner alone; public keys as a roster.

A roster is JSON: {"version": 1, "identities": {name: 64 hexadecimal digits}}. It is trusted: whoever can write it
decides who takes part.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

from secagg.errors import AuthenticationFailed, ParameterError
from secagg.signatures import PRIVATE_KEY_BYTES, Identity, check_public_key

from .files import write_whole
from .participants import Participants

ROSTER_VERSION = 1
_PKCS8_PREFIX = bytes.fromhex("302e020100300506032b657004220420")
"""What stands before the 32 bytes of an Ed25519 private key in PKCS #8 (RFC 8410, section 7)."""

_BEGIN, _END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"


def write_identity(path: Path, identity: Identity) -> None:
    """Write a private key to a new file that its owner alone may read.

    Raises:
        ParameterError: the file exists, or cannot be written.
    """
    line = base64.b64encode(_PKCS8_PREFIX + identity.private_bytes).decode("ascii")
    _write_new(path, f"{_BEGIN}\n{line}\n{_END}\n", mode=0o600)


def read_identity(path: Path) -> Identity:
    """Read a private key, as `write_identity` and `openssl genpkey -algorithm ed25519` write it.

    Raises:
        ParameterError: the file cannot be read, others than its owner may read or write it, or it is no Ed25519 key.
    """
    try:
        with path.open(encoding="ascii") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise ParameterError(f"others than its owner may read {path}: chmod 600 it, and think of a new key")
            pem = file.read()
        begin, line, end = pem.splitlines()
        key = base64.b64decode(line, validate=True)
    except ParameterError:
        raise
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ParameterError(f"{path} is no private Ed25519 key in PEM: make one with `secagg keygen`") from None
    prefix, private_bytes = key[: len(_PKCS8_PREFIX)], key[len(_PKCS8_PREFIX) :]
    if (begin, prefix, end) != (_BEGIN, _PKCS8_PREFIX, _END) or len(private_bytes) != PRIVATE_KEY_BYTES:
        raise ParameterError(f"{path} is no private Ed25519 key: make one with `secagg keygen`")
    return Identity(private_bytes)


def write_participants(path: Path, participants: Participants) -> None:
    """Write the participants' public keys to a new file.

    Raises:
        ParameterError: they have none, or the file exists or cannot be written.
    """
    if not participants.keys:
        raise ParameterError("the participants have no public keys: give Participants a mapping of names to keys")
    roster = {"version": ROSTER_VERSION, "identities": {name: key.hex() for name, key in participants.keys.items()}}
    _write_new(path, json.dumps(roster, indent=2) + "\n", mode=0o644)


def read_participants(path: Path) -> Participants:
    """Read participants: names and public keys.

    Raises:
        ParameterError: the file cannot be read, others than its owner may write it, or it is no roster, or has a bad
            name or key, or one key twice.
    """
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o022:
                raise ParameterError(
                    f"others than its owner may write {path}, and decide who is trusted: chmod go-w it"
                )
            roster = json.load(file, object_pairs_hook=_without_repeats)
        if roster["version"] != ROSTER_VERSION:
            raise ParameterError(f"{path} has version {roster['version']!r}, but this is version {ROSTER_VERSION}")
        identities = {str(name): bytes.fromhex(key) for name, key in roster["identities"].items()}
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror}") from None
    except ParameterError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ParameterError(f"{path} is no roster of public keys: make one with `secagg keygen`") from None
    for name, key in identities.items():
        try:
            check_public_key(key)
        except AuthenticationFailed as error:
            raise ParameterError(f"{path}, {name!r}: {error.reason}") from None
    try:
        return Participants(identities)
    except ParameterError as error:
        raise ParameterError(f"{path}: {error}") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice: JSON's reader would keep the last."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _write_new(path: Path, text: str, *, mode: int) -> None:
    try:
        write_whole(path, text, mode=mode, new=True)
    except FileExistsError:
        raise ParameterError(f"{path} exists: keys are never overwritten; name another folder") from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be written: {error.strerror}") from None
