"""What the service raises besides the errors of sessions: about requests, and about the store."""

from __future__ import annotations

from collections.abc import Mapping

from secagg import errors
from secagg.errors import SecAggError

STATUSES: Mapping[str, int] = {
    "bad-request": 400,
    "wrong-digest": 400,
    "not-signed": 401,
    "stranger": 401,
    "revoked": 403,
    "not-invited": 403,
    "not-enrolled": 403,
    "unknown-session": 404,
    "no-result": 404,
    "too-slow": 408,
    "replayed": 409,
    "unexpected": 409,
    "taken-over": 409,
    "too-large": 413,
    "misdirected": 421,
    "refused-message": 422,
    "wire-version": 426,
    "too-fast": 429,
    "internal": 500,
    "too-many": 503,
    "store": 503,
    "ending": 503,
}
"""Kind of a refusal -> status. Those from 400 up that are not 408, 429, 500 or 503 are the sender's to mend."""

_OF_SESSIONS = frozenset({409, 422})
"""Statuses of answers that break a rule of their session: their kind is the name of the session's own error."""


def is_refusal(status: int, kind: str) -> bool:
    """Tell whether a service answers by this status and this kind where it refuses."""
    if kind in STATUSES:
        return STATUSES[kind] == status
    error = getattr(errors, kind, None) if kind.isidentifier() else None
    return status in _OF_SESSIONS and isinstance(error, type) and issubclass(error, SecAggError)


class ServiceError(SecAggError):
    """The root of what the service raises by itself."""


class UnknownSessionError(ServiceError, LookupError):
    """There is no such session."""


class NotInvitedError(ServiceError):
    """Whoever asks has no part in the session."""


class NoResultError(ServiceError):
    """The session has no result: it runs, it failed, or its result is not for whoever asks."""


class ReplayedRequestError(ServiceError):
    """The request's nonce was used before: it is a copy of one that was served."""


class CancelledSessionError(ServiceError):
    """The operator ended the session."""


class JobError(ServiceError):
    """What a job returns could not be had: its function has failed, or its process has ended."""


class JobDeadlineError(JobError):
    """A job has not returned in time."""


class StoreError(ServiceError):
    """The store cannot be reached, read or written; nothing was done, and repeating the call is safe."""


class StoreBusyError(StoreError):
    """Others held the store for too long; nothing was done, and repeating the call is safe."""


class DamagedStoreError(StoreError):
    """The store holds what nobody wrote there."""


class LostLeaseError(ServiceError):
    """Another process runs the session now; this one has changed nothing."""
