"""What a site has answered, in a file that is on the disk before an answer leaves: rows, and how columns were declared.

A line of JSON an answer. A row is named by 8 bytes of a digest, so that rows are recognised when others come or go.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.errors import ParameterError

ROW_BYTES = 8
Rows = npt.NDArray[np.uint64]
"""Names of rows, ascending, each once."""


@dataclass(frozen=True)
class Entry:
    """One answer.

    Attributes:
        query: digest of the query.
        columns: name -> digest of how it was declared.
        rows: which rows it was about.
    """

    query: bytes
    columns: Mapping[str, str]
    rows: Rows

    def line(self) -> bytes:
        """Return the entry as it is written, with a checksum in front."""
        rows = base64.b64encode(self.rows.astype("<u8").tobytes()).decode()
        facts = {"columns": dict(sorted(self.columns.items())), "query": self.query.hex(), "rows": rows}
        text = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
        return hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n"


def named_rows(ids: Iterable[str]) -> Rows:
    """Return the names of rows with these ids, one a row, in the rows' own order."""
    digests = (hashlib.blake2b(each.encode(), digest_size=ROW_BYTES, person=b"secagg-row").digest() for each in ids)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def read_entries(data: bytes) -> list[Entry]:
    """Return the entries of a journal. A last line without its end was never answered, and is left out.

    Raises:
        ParameterError: any other line is not as it was written: a site that has lost its memory answers nothing.
    """
    return [_entry(line, number) for number, line in enumerate(data.split(b"\n")[:-1], 1)]


def _entry(line: bytes, number: int) -> Entry:
    damaged = ParameterError(f"line {number} of the journal is damaged: restore it, or the site can answer nothing")
    checksum, _, text = line.partition(b" ")
    if hashlib.sha256(text).hexdigest().encode() != checksum:
        raise damaged
    try:
        facts: Any = json.loads(text)
        rows = np.frombuffer(base64.b64decode(facts["rows"], validate=True), dtype="<u8").astype(np.uint64)
        entry = Entry(bytes.fromhex(facts["query"]), dict(facts["columns"]), rows)
        if entry.line() != line + b"\n":
            raise damaged
    except ParameterError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise damaged from None
    return entry


class Journal:
    """A site's memory of its answers. One process at a time looks and adds.

    Args:
        path: of the file; made when the first answer is noted. None: in memory alone, for trials.
    """

    def __init__(self, path: Path | str | None) -> None:
        self.path = None if path is None else Path(path)
        self._data = b""

    @contextmanager
    def open(self) -> Iterator[Adding]:
        """Give the entries, and a way to add one, while nobody else adds.

        Raises:
            ParameterError: the file cannot be read, written or believed.
        """
        if self.path is None:
            adding = Adding(read_entries(self._data), None)
            yield adding
            self._data += adding.added
            return
        try:
            new = not self.path.exists()
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                _lock(descriptor)
                if new:
                    _settle_folder(self.path.parent)
                data = _whole(descriptor)
                os.ftruncate(descriptor, data.rfind(b"\n") + 1)  # an answer that was never given
                yield Adding(read_entries(data), descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ParameterError(f"the journal {self.path} cannot be kept: {error.strerror}") from None


class Adding:
    """An open journal: its entries so far, and a way to add one."""

    def __init__(self, entries: list[Entry], descriptor: int | None) -> None:
        self.entries, self._descriptor, self.added = entries, descriptor, b""

    def add(self, entry: Entry) -> None:
        """Note an answer; when this returns, it is on the disk."""
        line = entry.line()
        if self._descriptor is None:
            self.added += line
            return
        left = memoryview(line)
        while left:
            left = left[os.write(self._descriptor, left) :]
        os.fsync(self._descriptor)


def _whole(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read()


def _lock(descriptor: int) -> None:
    """Keep other processes out until the file is closed."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _settle_folder(folder: Path) -> None:
    """Have the new file's name reach the disk."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
