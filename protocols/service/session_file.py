"""Sessions as their operator writes them down: a file in TOML with one table for each.

[[session]]
title = "admissions by ward"
query = "query.toml"          # as `secagg stats` takes it, as seen from this file
members = 12                  # the first twelve that enrol; or their names

[[session]]
title = "votes"
vectors.votes = {length = 3, max_value = 1}
members = ["site-1", "site-2", "site-3", "site-4", "site-5"]

[[session]]
title = "an encrypted sum"
paillier = "round.parameters" # of `secagg paillier round`, which names everyone

[[session]]
title = "votes, with noise"
vectors.votes = {bins = 3, max_total = 1}          # or, of floats, {length = 4, l2_clip = 1.0}
private = {epsilon = 1.0, delta = 1e-6, budget = "votes"}
members = 20

[[session]]
title = "a model"
training = "model:proposed"   # bytes from which members train next, from the sum before; None ends
vectors.update = {length = 100, clip = 1.0}
members = 5
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec

from secagg.errors import ParameterError

from ..core.numbers import whole
from ..core.participants import Participants
from ..core.threat_model import Adversary, ThreatModel
from ..inputs.vectors import FloatVector, IntegerVector
from ..paillier.files import read_round
from ..paillier.parameters import RoundParameters
from ..privacy.joint import PlannedCounts, PlannedVector
from ..statistics.query import Query
from ..statistics.query_file import query_from_toml
from ..statistics.release import ReleasePolicy
from .deadlines import Deadlines
from .jobs import asking, paid, summing
from .noise import COUNTS_KEYS, VECTOR_KEYS, Private, Vector
from .sessions import Audience, Kind, Orders, SessionSpec

MAX_SESSIONS = 1000
_RELEASE = ("min_cell", "min_records", "min_sites")
_DEADLINES = ("seconds", "quorum", "grace")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One session, before it is known who takes part.

    Args:
        title: what its operator calls it.
        members: names, or how many are waited for; those of the parameters where there are some.
        query: what is asked of sites; or else
        vectors: what is summed; or else
        paillier: parameters of an encrypted sum.
        private: noise in the sums of the vectors, which have bounds for it, and who pays.
        training: `module:function` that proposes each round of training on the vectors, see `training.proposing`.
        corrupt: fraction that may collude with the server.
        dropout: fraction that may vanish.
        adversary: what the server may do.
        deadlines: of its phases.
        release: what of a query's totals is shown.
        results_to: who may read the result.

    Raises:
        ParameterError: the parts do not fit together.
    """

    title: str
    members: tuple[str, ...] | int = ()
    query: Query | None = None
    vectors: tuple[Vector, ...] = ()
    paillier: RoundParameters | None = None
    private: Private | None = None
    training: str | None = None
    corrupt: float = 0.1
    dropout: float = 0.1
    adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER
    deadlines: Deadlines = field(default_factory=Deadlines)
    release: ReleasePolicy | None = None
    results_to: Audience = Audience.OPERATOR

    def __post_init__(self) -> None:
        """Check what can be checked before members are known: a session of so many, whoever they are."""
        if self.paillier is not None:
            self._check_paillier(self.paillier)
            return
        if (self.query is None) is not bool(self.vectors):
            raise ParameterError(f"session {self.title!r:.60} needs a query or vectors, and not both")
        if self.training is not None and not self.vectors:
            raise ParameterError(f"session {self.title!r:.60} trains, and so needs vectors: what a member gives back")
        self._check_noise()
        if self.release is not None and self.query is None:
            raise ParameterError(f"session {self.title!r:.60} has no query, of which {', '.join(_RELEASE)} would be")
        if not self.adversary.needs_identities:
            self.spec(self.trial)
            return
        model = ThreatModel(self.count, self.corrupt, self.dropout, self.adversary)
        if self.private is not None:
            self.private.plan(model, self.vectors)

    def _check_noise(self) -> None:
        """Check that noise and bounds for it go together; a query's answer has a plan of its own."""
        if self.private is not None and self.query is not None:
            raise ParameterError(
                f"session {self.title!r:.60} is a query, which is answered without noise here: leave private out, or "
                "ask for sums"
            )
        planned = [vector.name for vector in self.vectors if isinstance(vector, PlannedVector | PlannedCounts)]
        if planned and self.private is None:
            raise ParameterError(
                f"vector {planned[0]!r:.60} of session {self.title!r:.60} has a bound for noise, but there is none: "
                "give private as well"
            )

    def _check_paillier(self, parameters: RoundParameters) -> None:
        """Check that nothing is said besides parameters that is theirs to say; they name who takes part."""
        own = ("title", "paillier", "deadlines", "results_to")
        for each in fields(self):
            if each.name not in own and getattr(self, each.name) != each.default:
                raise ParameterError(
                    f"session {self.title!r:.60} is encrypted by parameters, which say all: leave {each.name} out"
                )
        object.__setattr__(self, "members", (*parameters.contributors, *parameters.members))
        self.spec(self.trial)

    @property
    def digest(self) -> str:
        """What tells it from other sessions, in 32 hexadecimal digits."""
        query = b"" if self.query is None else self.query.digest
        facts: tuple[Any, ...] = (
            *(self.title, self.members, query, self.vectors),
            *(self.corrupt, self.dropout, self.adversary),
        )
        if self.paillier is not None:
            facts += (self.paillier.session,)
        if self.training is not None:
            facts += (self.training,)
        if self.private is not None:
            facts += (self.private,)
        return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:32]

    def check_begun(self, orders: Orders, results_to: Audience) -> None:
        """Return if a session that was begun by this digest is under the terms that are asked for now.

        Raises:
            ParameterError: it is not, and the digest does not tell: the text says which terms it has.
        """
        release = None if self.query is None else self.release or ReleasePolicy()
        now = _ordered(self.deadlines, release, self.results_to)
        begun = _ordered(orders.deadlines, orders.release, results_to)
        if self.training is not None:  # whose next rounds have the deadlines that are asked for now
            begun = {"results_to": begun["results_to"]}
        other = [f"{name} {value}" for name, value in begun.items() if now.get(name) != value]
        if other:
            raise ParameterError(
                f"session {self.title!r:.60} was begun under other terms ({', '.join(other)}): take another title, "
                "and end that one if it still runs"
            )

    @property
    def count(self) -> int:
        """How many take part."""
        return self.members if isinstance(self.members, int) else len(self.members)

    @property
    def trial(self) -> Participants:
        """Participants to check the session with."""
        return Participants.numbered(self.members) if isinstance(self.members, int) else Participants(self.members)

    def spec(self, participants: Participants, payload: bytes = b"") -> SessionSpec:
        """Return the session among these, with their keys where the adversary asks for identities.

        Args:
            participants: who takes part.
            payload: what training starts from.
        """
        more: dict[str, Any] = {"deadlines": self.deadlines, "results_to": self.results_to}
        if self.paillier is not None:
            return SessionSpec(self.title, self.paillier, **more)
        model = ThreatModel(len(participants), self.corrupt, self.dropout, self.adversary)
        among = participants if self.adversary.needs_identities else Participants(participants.names)
        if self.training is not None:
            more |= {"kind": Kind.TRAINING, "payload": payload}
        if self.query is not None:
            return asking(self.title, self.query, model, among, self.release, **more)
        if self.private is not None:
            return paid(self.title, self.private.plan(model, self.vectors), self.private.budget, among, **more)
        plain = (vector for vector in self.vectors if isinstance(vector, FloatVector | IntegerVector))
        return summing(self.title, plain, model, among, **more)


def _ordered(deadlines: Deadlines, release: ReleasePolicy | None, results_to: Audience) -> dict[str, Any]:
    """Return by name what a digest leaves out."""
    facts: dict[str, Any] = msgspec.to_builtins(deadlines)
    return facts | (msgspec.to_builtins(release) or {}) | {"results_to": str(results_to)}


def read_sessions(path: Path) -> list[Asked]:
    """Return the sessions that a file asks for, in order.

    Raises:
        ParameterError: a file cannot be read, or is not what it should be; the text names what.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ParameterError(f"{path} is no TOML: {str(error)!r:.200}") from None
    _known(given, ("session",), str(path))
    tables = given.get("session")
    if not isinstance(tables, list) or not 1 <= len(tables) <= MAX_SESSIONS:
        raise ParameterError(f"{path} needs [[session]] tables, 1 to {MAX_SESSIONS}")
    return [_session(table, path) for table in tables]


def read_query_file(path: Path) -> Query:
    """Return the query in a file; raise ParameterError where there is none."""
    try:
        return query_from_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise error if isinstance(error, ParameterError) else ParameterError(f"{path} is no text in UTF-8") from None


def _session(given: Any, path: Path) -> Asked:
    what = f"a session of {path}"
    if not isinstance(given, dict):
        raise ParameterError(f"{what} must be a table")
    _known(given, (*(one.name for one in fields(Asked)), *_RELEASE, *_DEADLINES), what)
    plain = {name: value for name, value in given.items() if name not in (*_RELEASE, *_DEADLINES)}
    title = plain.get("title")
    if not isinstance(title, str) or not title:
        raise ParameterError(f"{what} needs a title, a text")
    what = f"session {title!r:.60} of {path}"
    if "deadlines" in plain or "release" in plain:
        raise ParameterError(f"{what} has {', '.join((*_DEADLINES, *_RELEASE))} by themselves")
    _read_parts(plain, path, what)
    try:
        release = {name: given[name] for name in _RELEASE if name in given}
        if release:
            plain["release"] = ReleasePolicy(**release)
        plain["deadlines"] = Deadlines(**{name: given[name] for name in _DEADLINES if name in given})
        return Asked(**plain)
    except (ParameterError, TypeError, ValueError) as error:
        raise ParameterError(f"{what}: {error}") from None


def _read_parts(plain: dict[str, Any], path: Path, what: str) -> None:
    """Put what a session's parts stand for in their places."""
    for name in ("query", "paillier"):
        if not isinstance(plain.get(name, ""), str):
            raise ParameterError(f"{what}: {name} must be the name of a file")
    if not isinstance(plain.get("training", ""), str):
        raise ParameterError(f"{what}: training must be a text such as module:function")
    if "paillier" in plain:
        plain["paillier"] = read_round(path.parent / plain["paillier"])
    if "paillier" not in plain or "members" in plain:
        plain["members"] = _members(plain.get("members"), what)
    if "query" in plain:
        plain["query"] = read_query_file(path.parent / plain["query"])
    if "vectors" in plain:
        plain["vectors"] = _vectors(plain["vectors"], what)
    if "private" in plain:
        plain["private"] = _table(plain["private"], Private, f"private of {what}")
    for name, kind in (("adversary", Adversary), ("results_to", Audience)):
        if name in plain:
            if plain[name] not in tuple(kind):
                raise ParameterError(f"{what}: {name} must be one of {', '.join(kind)}")
            plain[name] = kind(plain[name])


def _members(given: Any, what: str) -> tuple[str, ...] | int:
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        return tuple(given)
    if isinstance(given, list) or given is None:
        raise ParameterError(f"{what} needs members: their names, or how many")
    return whole(given, f"members of {what}", 2, 1_000_000)


def _vectors(given: Any, what: str) -> tuple[Vector, ...]:
    if not isinstance(given, dict) or not given:
        raise ParameterError(f"{what}: vectors must be a table such as votes = {{length = 3, max_value = 1}}")
    return tuple(_vector(name, table, f"vector {name!r:.60} of {what}") for name, table in given.items())


def _vector(name: str, given: Any, what: str) -> Vector:
    if not isinstance(given, dict):
        raise ParameterError(f"{what} must be a table")
    for planned, bound, keys in ((PlannedVector, "l2_clip", VECTOR_KEYS), (PlannedCounts, "bins", COUNTS_KEYS)):
        if bound in given:
            _known(given, keys, what)
            noisy: PlannedVector | PlannedCounts = _table(given | {"name": name}, planned, what)
            return noisy
    kind: Any = FloatVector if "clip" in given else IntegerVector
    made: FloatVector | IntegerVector = _table(given | {"name": name, "type": kind.__struct_config__.tag}, kind, what)
    return made


def _table(given: Any, kind: Any, what: str) -> Any:
    """Return what a table says, of a dataclass or struct; raise ParameterError where it says something else."""
    if not isinstance(given, dict):
        raise ParameterError(f"{what} must be a table")
    if is_dataclass(kind):
        _known(given, (each.name for each in fields(kind)), what)
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise ParameterError(f"{what}: {error}") from None


def _known(given: Mapping[str, Any], keys: Iterable[str], what: str) -> None:
    known = list(keys)
    strange = sorted(set(given) - set(known))
    if strange:
        raise ParameterError(f"{what} has no key {strange[0]!r:.60}: there are {', '.join(known)}")
