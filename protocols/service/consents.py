"""What a participant keeps for itself: what was asked and given, names and sizes alone, and what it has opted out of.

Two files in a folder. `consents.json` is read before each answer, and where it cannot be read nothing is answered.
`asked.jsonl` grows by a line for each thing that was done; it is for people, and nothing is decided by it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import msgspec

from secagg.errors import ParameterError

from ..core.files import write_whole
from ..core.framing import printable
from ..masking.config import RoundConfig
from ..statistics.query_words import query_words
from .errors import ServiceError
from .sessions import Terms

MAX_NAME = 500
MAX_OPT_OUTS = 10_000
MOST_SESSIONS = 200
"""Of what was asked, so many sessions are shown, the newest."""
_LINE_BYTES = 1 << 16
_READ_BYTES = 4 << 20
"""Of the end of the account are shown. Older lines stay in the file until it is twice as long."""


class ConsentsError(ServiceError):
    """The file of opt-outs cannot be read or written. Nothing is answered without it."""


class What(StrEnum):
    """What a member has done."""

    ASKED = "asked"
    ANSWERED = "answered"
    REFUSED = "refused"
    ENDED = "ended"


@dataclass(frozen=True)
class Did:
    """One thing that was done in a session, for the member's own records.

    Attributes:
        what: it was.
        session: its id, in hex.
        title: what its operator calls it; empty where its terms were not read.
        kind: of the session; empty where its terms were not read.
        phase: of the service's session, or how it ended.
        num_bytes: of the answer.
        reason: of a refusal.
    """

    what: What
    session: str
    title: str
    kind: str
    phase: str
    num_bytes: int = 0
    reason: str = ""


class Consenting(Protocol):
    """Consent, and a record of what was asked and given. Both are called in threads."""

    def objection(self, session: str, terms: Terms) -> str:
        """Return a sentence for the service where the member does not agree; asked before each answer."""

    def note(self, did: Did) -> None:
        """Keep what was done."""


class OptOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a participant does not take part in.

    Attributes:
        matter: a data set, or a vector; empty for everything.
        purpose: only sessions for this purpose; empty for all of them.
        at: when it was said, in seconds since 1970.
    """

    matter: str
    purpose: str
    at: float

    def covers(self, matter: Matter) -> bool:
        """Tell whether a matter is what was opted out of."""
        if not self.matter:
            return True
        if self.purpose:
            return matter == Matter(self.matter, self.purpose) or matter.whole == f"{self.matter} for {self.purpose}"
        return self.matter in (matter.name, matter.whole) or matter.whole.startswith(f"{self.matter} for ")

    def __str__(self) -> str:
        if not self.matter:
            return "everything"
        return f"{self.matter} for {self.purpose}" if self.purpose else self.matter


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    out: tuple[OptOut, ...]


@dataclass(frozen=True)
class Matter:
    """What a session asks about.

    Attributes:
        name: the data set, or a vector's name.
        purpose: what for; of sums and training, that word.
    """

    name: str
    purpose: str

    @property
    def whole(self) -> str:
        """As a query calls it."""
        return f"{self.name} for {self.purpose}" if self.purpose else self.name


def matters_of(terms: Terms) -> tuple[Matter, ...]:
    """Return what a session asks about: a query's data set and its purpose, or each vector's name."""
    if terms.asked is not None:
        name, _, purpose = terms.asked.dataset.partition(" for ")
        return (Matter(name, purpose),)
    return tuple(Matter(name, str(terms.kind)) for name, _ in vectors_of(terms))


def vectors_of(terms: Terms) -> tuple[tuple[str, int], ...]:
    """Return names and lengths of what a session sums."""
    proposed = terms.proposed
    if isinstance(proposed, RoundConfig):
        return tuple((each.name, each.length) for each in proposed.vectors)
    return (("update", proposed.length),)


@dataclass(frozen=True)
class Asked:
    """A session as a participant has seen it.

    Attributes:
        session: its id, in hex.
        title: what the service's operator calls it.
        kind: what for.
        protocol: which one sums.
        matters: what it asks about.
        vectors: names and lengths.
        question: of a query, what is asked of what, in words.
        at: when it was asked first, in seconds since 1970.
        given: phase and bytes of each answer.
        ended: how it ended; empty while it has not.
        refused: why this participant refused; empty if it did not.
    """

    session: str
    title: str = ""
    kind: str = ""
    protocol: str = ""
    matters: tuple[Matter, ...] = ()
    vectors: tuple[tuple[str, int], ...] = ()
    question: tuple[tuple[str, str], ...] = ()
    at: float = 0.0
    given: tuple[tuple[str, int], ...] = ()
    ended: str = ""
    refused: str = ""

    @property
    def handed_in(self) -> bool:
        """Whether values left, under masks or encrypted."""
        return any(phase in ("masked-input", "contributions") for phase, _ in self.given)


@dataclass
class Consents:
    """What a participant has opted out of, and what it was asked. All methods may block: call them in threads.

    Args:
        folder: where both files are; made if it is not there.
        clock: seconds since 1970.

    Raises:
        ConsentsError: the folder cannot be made; opting out cannot be kept.
    """

    folder: Path
    clock: Callable[[], float] = time.time
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _told: set[str] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        """Make the folder."""
        with _named("the folder of consents cannot be made"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def out(self) -> tuple[OptOut, ...]:
        """Return what was opted out of; raise ConsentsError where the file cannot be read."""
        path = self.folder / "consents.json"
        try:
            found = msgspec.json.decode(path.read_bytes(), type=_File)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ConsentsError(f"{path} cannot be read: {error.strerror}") from None
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise ConsentsError(f"{path} holds no opt-outs: mend it, or opt out anew without it") from None
        if found.version != 1:
            raise ConsentsError(f"{path} has version {found.version}, but this is version 1")
        return found.out

    def opt_out(self, matter: str = "", purpose: str = "") -> None:
        """Take no part in a matter from the next answer on: it is on the disk when this returns.

        Args:
            matter: a data set or a vector; empty for everything.
            purpose: only for this one; empty for all.

        Raises:
            ParameterError: no names.
            ConsentsError: it cannot be kept.
        """
        _check(matter, purpose)
        with self._lock:
            now = tuple(each for each in self.out() if (each.matter, each.purpose) != (matter, purpose))
            if len(now) >= MAX_OPT_OUTS:
                raise ParameterError(f"there are {MAX_OPT_OUTS:,} opt-outs: opt out of everything")
            self._keep((*now, OptOut(matter, purpose, self.clock())))

    def opt_in(self, matter: str = "", purpose: str = "") -> None:
        """Take an opt-out back, the one that was said in these words; others stay. Raises ConsentsError."""
        with self._lock:
            self._keep(tuple(each for each in self.out() if (each.matter, each.purpose) != (matter, purpose)))

    def objection(self, session: str, terms: Terms) -> str:
        """Return why this participant does not take part, in a sentence for the service; empty if it does.

        What is asked is noted for the page. Asked before each answer, so that an opt-out counts at once.
        """
        matters = matters_of(terms)
        if session not in self._told:
            self._told.add(session)
            self._append(
                {
                    "what": "terms",
                    "session": session,
                    "title": terms.title,
                    "kind": str(terms.kind),
                    "protocol": str(terms.protocol),
                    "matters": [[each.name, each.purpose] for each in matters],
                    "vectors": [list(each) for each in vectors_of(terms)],
                    "question": []
                    if terms.asked is None
                    else [list(each) for each in query_words(terms.asked).items()],
                }
            )
        try:
            covering = [each for each in self.out() if any(map(each.covers, matters))]
        except ConsentsError:
            return "the participant cannot read what it has opted out of, and answers nothing"
        return f"the participant has opted out of {covering[0]}" if covering else ""

    def note(self, did: Did) -> None:
        """Keep what was done, for the page."""
        facts = {"what": str(did.what), "session": did.session, "title": did.title, "kind": did.kind}
        self._append(facts | {"phase": did.phase, "bytes": did.num_bytes, "reason": did.reason})

    def asked(self) -> tuple[Asked, ...]:
        """Return the newest sessions, newest first; raise ConsentsError where the account cannot be read."""
        found: dict[str, Asked] = {}
        for line in self._lines():
            session = line.get("session")
            if isinstance(session, str):
                try:
                    found[session] = _after(found.get(session, Asked(session)), line)
                except (KeyError, TypeError, ValueError):
                    continue  # a line that was half written, or by a later release
        return tuple(reversed(list(found.values())[-MOST_SESSIONS:]))

    def _keep(self, out: tuple[OptOut, ...]) -> None:
        with _named("what you have opted out of cannot be kept"):
            write_whole(self.folder / "consents.json", msgspec.json.encode(_File(1, out)) + b"\n", mode=0o600)

    def _append(self, facts: dict[str, Any]) -> None:
        """Add a line. A full disk costs the page a line, and no session its answer."""
        line = json.dumps({"at": round(self.clock(), 3), **facts}).encode()
        if len(line) > _LINE_BYTES:
            line = json.dumps(
                {"at": round(self.clock(), 3), **facts, "vectors": [], "matters": [], "question": []}
            ).encode()
        try:
            with self._lock:
                descriptor = os.open(self.folder / "asked.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
                with os.fdopen(descriptor, "r+b", buffering=0) as file:
                    size = file.seek(0, os.SEEK_END)
                    torn = size and os.pread(descriptor, 1, size - 1) != b"\n"  # by a process that was killed
                    file.write((b"\n" if torn else b"") + line + b"\n")
                if size > 2 * _READ_BYTES:
                    self._shorten()
        except OSError:
            return

    def _shorten(self) -> None:
        """Keep the end of the account alone: a service could else fill the disk with what it asks."""
        write_whole(self.folder / "asked.jsonl", self._end().partition(b"\n")[2], mode=0o600)

    def _end(self) -> bytes:
        with (self.folder / "asked.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _READ_BYTES))
            return file.read()

    def _lines(self) -> Iterator[dict[str, Any]]:
        with _named("what was asked cannot be read"):
            try:
                data = self._end()
            except FileNotFoundError:
                return
        for line in data.splitlines():
            try:
                facts = json.loads(line)
            except ValueError:
                continue
            if isinstance(facts, dict):
                yield facts


def _after(asked: Asked, line: dict[str, Any]) -> Asked:
    """Return a session after another line about it."""
    asked = replace(asked, at=asked.at or float(line["at"]), title=asked.title or str(line["title"]))
    match line["what"]:
        case "terms":
            return replace(
                asked,
                kind=str(line["kind"]),
                protocol=str(line["protocol"]),
                matters=tuple(Matter(str(name), str(purpose)) for name, purpose in line["matters"]),
                vectors=tuple((str(name), int(length)) for name, length in line["vectors"]),
                question=tuple((str(kind), str(of)) for kind, of in line.get("question", ())),
            )
        case "answered":
            given = (str(line["phase"]), int(line["bytes"]))
            return asked if given in asked.given else replace(asked, given=(*asked.given, given))
        case "refused":
            return replace(asked, refused=printable(line["reason"]))
        case "ended":
            return replace(asked, ended=str(line["phase"]))
    return asked


def _check(matter: str, purpose: str) -> None:
    for text in (matter, purpose):
        if not isinstance(text, str) or len(text) > MAX_NAME or not text.isprintable():
            raise ParameterError(f"what you opt out of must be printable text of at most {MAX_NAME} characters")
    if purpose and not matter:
        raise ParameterError("a purpose goes with a data set: name it, or opt out of everything")


@contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConsentsError(f"{what}: {error.strerror}") from None
