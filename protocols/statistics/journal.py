"""What a site has answered, in a file that is on the disk before an answer leaves: which rows in which cells.

A line of JSON an answer. A row is named by 8 bytes of a digest, so that rows are recognised when others come or go; it
is named once, and known by its number from then on. A line's checksum covers that of the line before: lines that are
lost in the middle are noticed. Lines that are lost at the end are not.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.errors import ParameterError

from ..core.files import sync
from .partitions import Codes, Partition

ROW_BYTES = 8
Rows = npt.NDArray[np.uint64]
"""Names of rows, each once."""
_WIDTHS = {"u1": 1 << 8, "u2": 1 << 16, "u4": 1 << 32}


@dataclass(frozen=True)
class Entry:
    """One answer, or one question that was refused for what the rows are: that has no partitions and names no rows.

    Attributes:
        query: digest of the query.
        columns: name -> digest of how it was declared.
        rows: names of rows that no entry before has named; they get the next numbers.
        partitions: which sums it told, the selected rows first; codes by the rows' numbers, for all rows named so far.
    """

    query: bytes
    columns: Mapping[str, str]
    rows: Rows
    partitions: Sequence[Partition]

    def line(self, before: bytes) -> bytes:
        """Return the entry as it is written behind a line of this checksum, `FIRST` for none, with its own in front."""
        facts = {
            "columns": dict(sorted(self.columns.items())),
            "partitions": [[list(each.columns), *_written(each.codes)] for each in self.partitions],
            "query": self.query.hex(),
            "rows": base64.b64encode(self.rows.astype("<u8").tobytes()).decode(),
        }
        text = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
        return _checksum(before, text) + b" " + text + b"\n"


FIRST = b"0" * 64
"""What the first line of a journal takes for the checksum of a line before it."""
_BEGINNING = re.compile(rb'[0-9a-f]{64} \{"columns":\{')
"""What a first line that was cut off must begin with: less may be anything, such as a key."""


def _checksum(before: bytes, text: bytes) -> bytes:
    return hashlib.sha256(before + text).hexdigest().encode()


def _written(codes: Codes) -> tuple[str, str]:
    """Return codes in bits where there is one cell, else in the narrowest numbers."""
    most = int(codes.max(initial=0))
    if most <= 1:
        return "bits", base64.b64encode(np.packbits(codes.astype(np.bool_)).tobytes()).decode()
    width = next(width for width, beyond in _WIDTHS.items() if most < beyond)
    return width, base64.b64encode(codes.astype(f"<{width}").tobytes()).decode()


def _read(columns: Sequence[str], width: str, written: str, *, length: int) -> Partition:
    """Return a partition of so many rows. Raises ValueError and the like where it is none."""
    data = base64.b64decode(written, validate=True)
    if width == "bits":
        codes = np.unpackbits(np.frombuffer(data, dtype=np.uint8))[:length]
    else:
        codes = np.frombuffer(data, dtype={name: f"<{name}" for name in _WIDTHS}[width])
    if len(codes) != length or not all(isinstance(name, str) for name in columns):
        raise ValueError
    return Partition(tuple(columns), codes.astype(np.uint32))


def named_rows(ids: Iterable[str]) -> Rows:
    """Return the names of rows with these ids, one a row, in the rows' own order."""
    digests = (hashlib.blake2b(each.encode(), digest_size=ROW_BYTES, person=b"secagg-row").digest() for each in ids)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def read_entries(data: bytes) -> list[Entry]:
    """Return the entries of a journal. A last line without its end was never answered, and is left out.

    Raises:
        ParameterError: any other line is not as it was written, or not behind the line that it was written behind: a
            site that has lost its memory answers nothing. Or all that there is begins no line of a journal.
    """
    *lines, tail = data.split(b"\n")
    if not lines and tail and not _BEGINNING.match(tail):
        raise ParameterError("this is no journal, and is left as it is: name a new file, or one that holds a journal")
    entries, before, rows = list[Entry](), FIRST, 0
    for number, line in enumerate(lines, 1):
        entry = _entry(line, number, before, rows)
        entries.append(entry)
        before, rows = line[: len(FIRST)], rows + len(entry.rows)
    return entries


def _entry(line: bytes, number: int, before: bytes, named: int) -> Entry:
    damaged = ParameterError(f"line {number} of the journal is damaged: restore it, or the site can answer nothing")
    checksum, _, text = line.partition(b" ")
    if _checksum(before, text) != checksum:
        raise damaged
    try:
        facts: Any = json.loads(text)
        rows = np.frombuffer(base64.b64decode(facts["rows"], validate=True), dtype="<u8").astype(np.uint64)
        partitions = [_read(*each, length=named + len(rows)) for each in facts["partitions"]]
        entry = Entry(bytes.fromhex(facts["query"]), dict(facts["columns"]), rows, partitions)
        if (len(rows) and not partitions) or entry.line(before) != line + b"\n":
            raise damaged
    except ParameterError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise damaged from None
    return entry


class Journal:
    """A site's memory of its answers. One thread of one process at a time looks and adds.

    Args:
        path: of the file; made when the first answer is noted. None: in memory alone, for trials.
    """

    def __init__(self, path: Path | str | None) -> None:
        self.path = None if path is None else Path(path)
        self._data = b""
        self._lock = threading.Lock()  # of what is in memory alone: a file is locked itself

    @contextmanager
    def open(self) -> Iterator[Adding]:
        """Give the entries, and a way to add one, while nobody else adds.

        Raises:
            ParameterError: the file cannot be read, written or believed.
        """
        if self.path is None:
            with self._lock:
                adding = Adding(self._data, None)
                try:
                    yield adding
                finally:
                    self._data += adding.added
            return
        try:
            new = not self.path.exists()
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                _lock(descriptor)
                if new:
                    sync(self.path.parent)
                data = _whole(descriptor)
                adding = Adding(data, descriptor)  # before anything is changed: the file may be another one
                os.ftruncate(descriptor, data.rfind(b"\n") + 1)  # an answer that was never given
                yield adding
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ParameterError(f"the journal {self.path} cannot be kept: {error.strerror}") from None


class Adding:
    """An open journal: its entries so far, the rows that they name, and a way to add one.

    Args:
        data: the journal; a last line without its end is left out.
        descriptor: of its file; None for a journal in memory.

    Raises:
        ParameterError: as `read_entries`.
    """

    def __init__(self, data: bytes, descriptor: int | None) -> None:
        self.entries, self._descriptor, self.added = read_entries(data), descriptor, b""
        whole = data[: data.rfind(b"\n") + 1]
        self._before = whole[whole.rfind(b"\n", 0, -1) + 1 :][: len(FIRST)] or FIRST
        self.rows: Rows = np.concatenate([np.zeros(0, dtype=np.uint64), *(entry.rows for entry in self.entries)])

    def entry(self, query: bytes, columns: Mapping[str, str], rows: Rows, partitions: Sequence[Partition]) -> Entry:
        """Return the entry of an answer.

        Args:
            query: its digest.
            columns: name -> digest of how it is declared.
            rows: names of the n rows that the partitions are of.
            partitions: with codes (n,), the selected rows first.
        """
        chosen = partitions[0].codes > 0
        rows = rows[chosen]
        order = np.argsort(self.rows)
        place = np.searchsorted(self.rows, rows, sorter=order)
        number = np.concatenate([order, [-1]])[place]
        new = (number < 0) | (np.concatenate([self.rows, rows[:1]])[number] != rows)
        number[new] = len(self.rows) + np.arange(np.count_nonzero(new))
        placed = []
        for each in partitions:
            codes = np.zeros(len(self.rows) + np.count_nonzero(new), dtype=np.uint32)
            codes[number] = each.codes[chosen]
            placed.append(Partition(each.columns, codes))
        return Entry(query, columns, rows[new], placed)

    def add(self, entry: Entry) -> None:
        """Note an answer; when this returns, it is on the disk."""
        line = entry.line(self._before)
        self._before, self.rows = line[: len(FIRST)], np.concatenate([self.rows, entry.rows])
        self.entries.append(entry)
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
