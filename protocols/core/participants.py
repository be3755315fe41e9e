"""Who takes part: names, the numbers that stand for them on the wire, and their public keys where there are any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self, final

from secagg import signatures
from secagg.errors import ParameterError

from .numbers import whole

MAX_NAME_BYTES = 200


@final
class Participants:
    """The participants of one session, by name. Equal sets of names and keys are equal, in whatever order given.

    Numbers from 1 follow the names in order of their code points, so that everyone who has the names has the numbers.

    Args:
        names: distinct, printable, 1 to 200 bytes of UTF-8 each. A mapping gives each name's Ed25519 public key,
            32 bytes, as well.

    Raises:
        ParameterError: a name or a key is not usable, or there twice.
    """

    __slots__ = ("_keys", "_names", "_numbers")

    def __init__(self, names: Iterable[str] | Mapping[str, bytes]) -> None:
        given = [str.__str__(name) if isinstance(name, str) else name for name in names]  # numpy's are written nowhere
        for name in given:
            if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
                raise ParameterError(
                    f"a participant's name is {str(name)[:50]!r}, but must be printable text of 1 to {MAX_NAME_BYTES} "
                    "bytes"
                )
        keys = dict(zip(given, names.values(), strict=True)) if isinstance(names, Mapping) else {}
        if len(set(given)) != len(given):
            twice = next(name for name in given if given.count(name) > 1)
            raise ParameterError(f"participant {twice!r} is named twice: give each a name of its own")
        for name, key in keys.items():
            if not isinstance(key, bytes) or len(key) != signatures.PUBLIC_KEY_BYTES:
                raise ParameterError(f"the public key of {name!r} is not {signatures.PUBLIC_KEY_BYTES} bytes")
        if len(set(keys.values())) != len(keys):
            raise ParameterError("two participants have the same public key: each needs its own")
        self._names = tuple(sorted(given))
        self._numbers = {name: number for number, name in enumerate(self._names, start=1)}
        self._keys: dict[str, bytes] = keys

    @classmethod
    def numbered(cls, count: int, prefix: str = "client") -> Self:
        """Return `count` participants without keys whose names end in their numbers: client-01 to client-10."""
        count = whole(count, "the number of participants", 1)
        digits = len(str(count))
        return cls(f"{prefix}-{number:0{digits}}" for number in range(1, count + 1))

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of their numbers."""
        return self._names

    @property
    def keys(self) -> dict[str, bytes]:
        """Name -> Ed25519 public key; empty where no identities are used."""
        return dict(self._keys)

    def number(self, name: str) -> int:
        """Return a name's number; raise ParameterError for a stranger's."""
        if name not in self._numbers:
            raise ParameterError(f"{name!r} is none of the {len(self)} participants")
        return self._numbers[name]

    def name(self, number: int) -> str:
        """Return a number's name; raise ParameterError if nobody has it."""
        if not 1 <= number <= len(self._names):
            raise ParameterError(f"number {number} is none of 1 to {len(self)}")
        name: str = self._names[number - 1]
        return name

    def named(self, numbers: Iterable[int]) -> frozenset[str]:
        """Return the names of numbers."""
        return frozenset(map(self.name, numbers))

    def numbered_keys(self) -> dict[int, bytes]:
        """Return number -> public key; empty where no identities are used."""
        return {self._numbers[name]: key for name, key in self._keys.items()}

    def key(self, number: int) -> bytes:
        """Return a number's public key; raise ParameterError where there is none."""
        key: bytes | None = self._keys.get(self.name(number))
        if key is None:
            raise ParameterError(f"the public key of {self.name(number)!r} is not known")
        return key

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Participants) and (self._names, self._keys) == (other._names, other._keys)

    def __hash__(self) -> int:
        return hash(self._names)

    def __repr__(self) -> str:
        shown = ", ".join(self._names[:3]) + (", ..." if len(self) > 3 else "")
        return f"Participants({len(self)}: {shown})"
