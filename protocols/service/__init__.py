"""A service that runs sessions over HTTPS, and the loop of those who take part.

Names are loaded when they are used: who takes part loads no server and no database.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import take_part
    from .connection import Connection
    from .deadlines import Deadlines
    from .desk import Desk
    from .driver import Driver
    from .hosting import Hosted
    from .jobs import asking, paid, summing
    from .jobsteps import Ended
    from .post import Post
    from .serving import Service
    from .sessions import Audience, Kind, Payment, SessionSpec, Terms, read_terms
    from .store import Store

_PLACES = {
    "client": ("take_part",),
    "connection": ("Connection",),
    "deadlines": ("Deadlines",),
    "desk": ("Desk",),
    "driver": ("Driver",),
    "hosting": ("Hosted",),
    "jobs": ("asking", "paid", "summing"),
    "jobsteps": ("Ended",),
    "post": ("Post",),
    "serving": ("Service",),
    "sessions": ("Audience", "Kind", "Payment", "SessionSpec", "Terms", "read_terms"),
    "store": ("Store",),
}

__all__ = [
    "Audience",
    "Connection",
    "Deadlines",
    "Desk",
    "Driver",
    "Ended",
    "Hosted",
    "Kind",
    "Payment",
    "Post",
    "Service",
    "SessionSpec",
    "Store",
    "Terms",
    "asking",
    "paid",
    "read_terms",
    "summing",
    "take_part",
]


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
