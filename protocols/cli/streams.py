"""Standard output and error such that every text can be written, and that what cannot be written is told apart."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PLAIN = {"·": ".", "█": "#", "▒": "+", "░": "-", "✓": "+", "✗": "x", "≤": "<=", "±": "+-"}


class UnwrittenError(OSError):
    """Standard output takes no more, for another reason than that nobody reads it."""


class Output(io.TextIOWrapper):
    """Standard output, whose errors are told apart from those of other files."""

    def write(self, text: str) -> int:
        """Write."""
        with _own_error():
            return super().write(text)

    def flush(self) -> None:
        """Write what is held back."""
        with _own_error():
            super().flush()


@contextmanager
def _own_error() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnwrittenError(error.errno, error.strerror) from None


def prepare_streams() -> None:
    """Let every text be written in any encoding, and leave no descriptor that a ledger could be opened on."""
    codecs.register_error("plain", _plain)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    if sys.stdout is None:
        sys.stderr.write("secagg: standard output is closed: send it to /dev/null if nobody is to read it\n")
        sys.exit(2)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="plain")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = Output(
            sys.stdout.buffer,
            sys.stdout.encoding,
            "plain",
            line_buffering=sys.stdout.line_buffering,
            write_through=sys.stdout.write_through,
        )


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end
