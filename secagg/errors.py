"""Every error that secagg and protocols raise on purpose.

Facts are attributes, so that a caller can act on them; texts name the value, the limit and the remedy. No
text and no repr holds a secret. Any other exception out of a public function, on any input bytes, is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial


class SecAggError(Exception):
    """The root: catch this to catch everything that this library raises on purpose."""


class ParameterError(SecAggError, ValueError):
    """An impossible or unsafe configuration; the text says what change would make it possible."""


class MissingDependencyError(SecAggError, ImportError):
    """An optional package is not installed; the text says which extra brings it."""


class EncodingError(SecAggError, ValueError):
    """A value that cannot be encoded or decoded. `index` is where it stands, when one element is to blame."""

    def __init__(self, message: str, *, index: tuple[int, ...] | None = None) -> None:
        super().__init__(message)
        self.index = index


class QueryRefused(SecAggError):  # noqa: N818 - the name is the protocol's vocabulary
    """A site does not answer a query. `reason` is one word of a fixed list, all that leaves the site.

    Reasons: `another-dataset`, `not-allowed` (a column, statistic or filter), `another-schema` (columns that are not
    there, or were declared otherwise before), `too-many-answers` (the site answers no further questions, but those that
    it has answered), `disclosure` (an answer might tell of single records).
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class EstimateError(SecAggError, ValueError):
    """The sums do not determine this statistic; `reason` is one word of a fixed list and tells nothing about a record.

    Reasons: `too-few-records`, `constant` (nothing varies), `empty-margin` (a row, column or group without records),
    `zero-cell`, `singular-design`, `no-convergence`.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[partial[EstimateError], tuple[object, ...]]:
        """Let the error cross process borders."""
        return partial(type(self), reason=self.reason), self.args


class StateError(SecAggError, RuntimeError):
    """A method was called out of order; nobody but the caller is to blame."""


class ThresholdError(SecAggError):
    """Too few are left to go on; nobody is to blame. Whether shares were given by then, `Server.revealed` says.

    Attributes:
        needed: how many are.
        have: how many there are.
        missing: names of all who are not there, where the raising party knows whom it waits for.
    """

    def __init__(self, message: str, *, needed: int, have: int, missing: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.needed = needed
        self.have = have
        self.missing = frozenset(missing)

    def __reduce__(self) -> tuple[partial[ThresholdError], tuple[object, ...]]:
        """Let the error cross process borders, as frameworks send it."""
        return partial(type(self), needed=self.needed, have=self.have, missing=self.missing), self.args


class PeerError(SecAggError):
    """A peer broke the protocol.

    Attributes:
        reason: how.
        culprits: who did: names where the raising party knows its peers by name, else their numbers on the wire.
    """

    def __init__(self, reason: str, *, culprits: Iterable[int | str] = ()) -> None:
        self.reason = reason
        self.culprits = frozenset(culprits)
        in_order = sorted(self.culprits, key=lambda culprit: (str(type(culprit)), culprit))
        named = f" (culprits: {', '.join(map(str, in_order))})" if in_order else ""
        super().__init__(reason + named)


class MalformedMessage(PeerError):  # noqa: N818 - the names are the protocol's vocabulary
    """Bytes that are no message of ours, or a message whose contents are out of bounds."""


class UnexpectedMessage(PeerError):  # noqa: N818
    """A well-formed message at the wrong time, for the wrong session, or from someone who has no part in it."""


class AuthenticationFailed(PeerError):  # noqa: N818
    """A ciphertext, signature or key that does not verify."""


class ContradictoryRequest(PeerError):  # noqa: N818
    """Asked for something that contradicts what was said before, or that would unmask a single client."""


class InconsistentShares(PeerError):  # noqa: N818
    """Shares that do not lie on one polynomial, or that reconstruct to something else than was promised."""
