"""Tokens that people hold to act on a page, and how a browser shows that it was given one.

Who signs in gets a cookie that says until when it holds, under a MAC whose key follows from the token: nothing is kept,
all processes of a service agree, and a new token ends every sign-in.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from pathlib import Path

from secagg.errors import ParameterError
from secagg.randomness import SYSTEM, RandomBytes

from ..core.files import write_whole

TOKEN_BYTES = 32
SIGNED_IN_SECONDS = 12 * 3600
_SHORTEST = 16
_LONGEST = 1024
_LABEL = b"secagg page cookie"
_COOKIE = re.compile(r"([1-9][0-9]{9,11})\.([0-9a-f]{64})")


class Token:
    """What lets whoever knows it act. Its repr tells nothing.

    Args:
        text: 16 to 1024 printable characters without blanks, hard to guess.

    Raises:
        ParameterError: it is none.
    """

    def __init__(self, text: str) -> None:
        if not text.isascii() or not text.isprintable() or " " in text or not _SHORTEST <= len(text) <= _LONGEST:
            raise ParameterError(
                f"a token must be {_SHORTEST} to {_LONGEST} printable ASCII characters without blanks: "
                "leave its file out, and one is made"
            )
        self._text = text

    @classmethod
    def new(cls, random: RandomBytes = SYSTEM) -> Token:
        """Return a new token of 64 hexadecimal digits."""
        return cls(random(TOKEN_BYTES).hex())

    @classmethod
    def in_file(cls, path: Path, random: RandomBytes = SYSTEM) -> Token:
        """Return the token in a file that its owner alone may read; where there is no file, make one with a new token.

        Raises:
            ParameterError: it cannot be read or made, others may read it, or it holds no token.
        """
        try:
            with path.open(encoding="utf-8") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise ParameterError(
                        f"others than its owner may read {path}: chmod 600 it, and think of a new token"
                    )
                text = file.read(_LONGEST + 2)
        except FileNotFoundError:
            token = cls.new(random)
            try:
                write_whole(path, f"{token.text}\n", mode=0o600, new=True)
            except FileExistsError:  # another process was quicker
                return cls.in_file(path, random)
            except OSError as error:
                raise ParameterError(f"{path} cannot be written: {error.strerror}") from None
            return token
        except OSError as error:
            raise ParameterError(f"{path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ParameterError(f"{path} holds no token: leave it out, and one is made") from None
        try:
            return cls(text.strip())
        except ParameterError as error:
            raise ParameterError(f"{path}: {error}") from None

    def __repr__(self) -> str:
        return "Token(...)"

    @property
    def text(self) -> str:
        """The token itself, for a terminal or a file."""
        return self._text

    def matches(self, text: str) -> bool:
        """Tell whether this is the token, in a time that does not depend on where it differs."""
        return hmac.compare_digest(_digest(text), _digest(self._text))

    def cookie(self, now: float) -> str:
        """Return what a browser keeps after it has shown the token."""
        until = str(int(now) + SIGNED_IN_SECONDS)
        return f"{until}.{self._mac(until)}"

    def admits(self, cookie: str, now: float) -> bool:
        """Tell whether a cookie was made with this token, and still holds."""
        found = _COOKIE.fullmatch(cookie)
        if found is None or not hmac.compare_digest(found[2], self._mac(found[1])):
            return False
        return now < int(found[1]) <= now + SIGNED_IN_SECONDS + 1

    def _mac(self, until: str) -> str:
        key = hmac.digest(self._text.encode(), _LABEL, "sha256")
        return hmac.new(key, until.encode(), hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
