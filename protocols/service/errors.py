"""What the service raises besides the errors of sessions: about requests, and about the store."""

from __future__ import annotations

from secagg.errors import SecAggError


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


class StoreError(ServiceError):
    """The store cannot be reached, read or written; nothing was done, and repeating the call is safe."""


class StoreBusyError(StoreError):
    """Others held the store for too long; nothing was done, and repeating the call is safe."""


class DamagedStoreError(StoreError):
    """The store holds what nobody wrote there."""


class LostLeaseError(ServiceError):
    """Another process runs the session now; this one has changed nothing."""
