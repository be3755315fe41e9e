"""A dealt key, its shares and a round's parameters in files: what a committee and contributors are handed.

The key and the parameters are public, and trusted: whoever can write them decides who takes part and who opens sums. A
share is its member's secret.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from secagg.errors import ParameterError
from secagg.paillier import KeyShare, PublicKey, ThresholdKey

from ..core.files import write_whole
from ..core.participants import Participants
from .parameters import RoundParameters
from .written import MAX_PARAMETERS_BYTES, read_parameters, write_parameters

VERSION = 1
MAX_KEY_BYTES = 1 << 20
_KEY = {"version", "threshold", "n", "generator", "members", "one_session_without_proofs"}
_SHARE = {"version", "key", "member", "secret"}


def write_key(path: Path, key: ThresholdKey, members: Participants) -> None:
    """Write a dealt key to a new file, with the names of those who hold its shares, in the order of their numbers.

    Raises:
        ParameterError: the file exists, or cannot be written; or there are more or fewer members than shares.
    """
    if len(members) != key.num_members:
        raise ParameterError(f"{len(members)} members, but the key was dealt to {key.num_members}")
    facts = {
        "version": VERSION,
        "threshold": key.threshold,
        "n": f"{key.public_key.n:x}",
        "generator": f"{key.generator:x}",
        "members": {name: f"{each:x}" for name, each in zip(members, key.member_keys, strict=True)},
        "one_session_without_proofs": key.one_session_without_proofs,
    }
    _write_new(path, json.dumps(facts, indent=2) + "\n", mode=0o644)


def read_key(path: Path) -> tuple[ThresholdKey, tuple[str, ...]]:
    """Return a dealt key, and the names of those who hold its shares.

    Raises:
        ParameterError: the file cannot be read, others than its owner may write it, or it is no key.
    """
    facts = _read(path, _KEY, 0o022, "a dealt key")
    try:
        names = tuple(facts["members"])
        key = ThresholdKey(
            PublicKey(_number(facts["n"])),
            facts["threshold"],
            _number(facts["generator"]),
            tuple(_number(each) for each in facts["members"].values()),
            facts["one_session_without_proofs"],
        )
    except ParameterError as error:
        raise ParameterError(f"{path} is no dealt key: {error}") from None
    except (ValueError, TypeError, AttributeError):
        raise ParameterError(f"{path} is no dealt key: `secagg paillier deal` writes one") from None
    if Participants(names).names != names:
        raise ParameterError(f"{path} is no dealt key: its members do not stand in the order of their names")
    return key, names


def write_share(path: Path, share: KeyShare, name: str) -> None:
    """Write a member's share to a new file that its owner alone may read; raise ParameterError as `write_key`."""
    facts = {"version": VERSION, "key": share.key.digest().hex(), "member": name, "secret": f"{share.secret:x}"}
    _write_new(path, json.dumps(facts, indent=2) + "\n", mode=0o600)


def read_share(path: Path, parameters: RoundParameters) -> tuple[KeyShare, str]:
    """Return the share of a round's key that a file holds, and whose it is.

    Raises:
        ParameterError: the file cannot be read, others than its owner may read or write it, or it is no share of this
            key.
        AuthenticationFailed: the secret does not fit the key.
    """
    facts = _read(path, _SHARE, 0o077, "a share of a key")
    name, key = facts["member"], parameters.key
    if facts["key"] != key.digest().hex():
        raise ParameterError(f"{path} is a share of another key than the round's")
    if not isinstance(name, str) or name not in parameters.members:
        raise ParameterError(f"{path} is the share of somebody who is not in the round's committee")
    try:
        secret = _number(facts["secret"])
    except (ValueError, TypeError):
        raise ParameterError(f"{path} is no share of a key") from None
    return KeyShare(key, parameters.members.number(name), secret), name


def write_round(path: Path, parameters: RoundParameters) -> None:
    """Write a round's parameters to a new file; raise ParameterError as `write_key`."""
    _write_new(path, write_parameters(parameters), mode=0o644)


def read_round(path: Path) -> RoundParameters:
    """Return the parameters in a file.

    Raises:
        ParameterError: the file cannot be read, others than its owner may write it, or it holds no parameters.
    """
    try:
        return read_parameters(_bytes(path, 0o022, MAX_PARAMETERS_BYTES))
    except ParameterError as error:
        raise ParameterError(f"{path}: {error}") from None


def _read(path: Path, keys: set[str], mask: int, what: str) -> dict[str, Any]:
    data = _bytes(path, mask, MAX_KEY_BYTES)
    try:
        facts = json.loads(data, object_pairs_hook=_without_repeats)
        if not isinstance(facts, dict) or facts.keys() != keys or facts["version"] != VERSION:
            raise ValueError("other keys, or another version")
    except (ValueError, RecursionError):
        raise ParameterError(f"{path} is not {what}: `secagg paillier deal` writes one") from None
    return facts


def _bytes(path: Path, mask: int, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & mask:
                may, less = ("read", "go-rw") if mask & 0o044 else ("write", "go-w")
                raise ParameterError(f"others than its owner may {may} {path}: chmod {less} it")
            data = file.read(most + 1)
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror}") from None
    except ParameterError:
        raise
    except ValueError:  # of a name with a zero in it
        raise ParameterError(f"{str(path)!r:.100} is no name of a file") from None
    if len(data) > most:
        raise ParameterError(f"{path} takes more than {most:,} bytes")
    return data


def _number(text: Any) -> int:
    """Return the number that hexadecimal digits are, as they are written here."""
    number = int(text, 16)
    if f"{number:x}" != text:
        raise ValueError("a number is not written in hexadecimal digits")
    return number


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _write_new(path: Path, data: bytes | str, *, mode: int) -> None:
    try:
        write_whole(path, data, mode=mode, new=True)
    except FileExistsError:
        raise ParameterError(f"{path} exists: it is never overwritten; name another") from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be written: {error.strerror}") from None
