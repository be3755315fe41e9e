"""Connections that are accepted and not yet served: under TLS, those whose handshakes are under way.

A protocol hears of a connection when its handshake is done, which costs processor time. So that nobody holds many
half-open ones, or begins them without end, sockets count them from the moment when they are accepted.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from .limits import Limits, Rate, peer_of


class Handshakes:
    """Counts connections from when they are accepted until they are served, or lost.

    Args:
        limits: of connections, in all and of one address: so many may be under way besides those that are served; and
            of the rate at which one address begins them.
        turned_away: is called for each that is closed at once, with the kind of refusal.
        clock: seconds.
    """

    def __init__(
        self, limits: Limits, turned_away: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._rate = Rate(limits.handshakes_a_second, limits.burst_handshakes, clock)
        self._turned_away = turned_away
        self._of: dict[Any, str] = {}
        self._peers: Counter[str] = Counter()

    def listen(self, host: str, port: int) -> list[socket.socket]:
        """Return sockets that are bound to all addresses of a host, and count what they accept.

        Raises:
            OSError: nothing can be served there.
        """
        bound: list[socket.socket] = []
        infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, kind, protocol, _, address in dict.fromkeys(infos):
                try:
                    made = _Listening(self, family, kind, protocol)
                except OSError:  # a machine without IPv6 has addresses of it all the same
                    continue
                bound.append(made)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.bind(address)
                made.setblocking(False)
        except OSError:
            for each in bound:
                each.close()
            raise
        return bound

    def begun(self, address: Any) -> bool:
        """Count a connection that was accepted, unless it is one too many; return whether it is to be had."""
        self.done(address)  # which reaches another address of this host from the same port, and counts once
        peer = peer_of(str(address[0])) if address else ""
        if len(self._of) >= self._limits.connections or self._peers[peer] >= self._limits.connections_a_peer:
            self._turned_away("too-many")
            return False
        if not self._rate.allows(peer):
            self._turned_away("too-fast")
            return False
        self._of[address] = peer
        self._peers[peer] += 1
        return True

    def done(self, address: Any) -> None:
        """Count a connection no more, since it is served or lost; once more changes nothing."""
        peer = self._of.pop(address, None)
        if peer is not None:
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]


class _Listening(socket.socket):
    """A socket whose connections are counted."""

    def __init__(self, handshakes: Handshakes, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._handshakes = handshakes

    def accept(self) -> tuple[socket.socket, Any]:
        """Return a connection; raise ConnectionAbortedError for one too many, which an event loop takes for lost."""
        found, address = super().accept()
        if not self._handshakes.begun(address):
            found.close()
            raise ConnectionAbortedError("too many handshakes are under way, or come too fast")
        return _Accepted(self._handshakes, address, found), address


class _Accepted(socket.socket):
    """A connection that says when it is lost."""

    def __init__(self, handshakes: Handshakes, address: Any, found: socket.socket) -> None:
        super().__init__(found.family, found.type, found.proto, fileno=found.detach())
        self._handshakes, self._address = handshakes, address

    def close(self) -> None:
        """Close it."""
        super().close()
        self._handshakes.done(self._address)
