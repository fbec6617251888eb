"""The clients that have half-closed and were sent nothing since then: each of them may have closed its socket.

Theory: a socket that was closed looks like one that was half-closed, until something is sent to it. Its system answers
that with a reset (RFC 9293 §3.10.7.1). Not even a probe shows it before that system forgets the socket, which takes
Linux a minute. But a client that only receives has half-closed as well (`pync HOST PORT < /dev/null`), so it is kept,
and probed until then. When a server is full, the client that half-closed first gives its place to others. So health
checks, which connect and close, never fill a server. What is sent to all shows which clients are there.

A module of its own, because only a server that sends the same to many clients has such clients.
"""

from __future__ import annotations

from pync.system import socket
from pync.system.sockets import probe_peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sized
    from typing import Protocol

    from pync.endpoints.client_queues import Queue

    class Clients(Container[Queue], Sized, Protocol):
        """All clients of a server."""


PROBE = 5  # seconds between two probes


class HalfClosed:
    """Those clients of a server, in the order in which they have half-closed."""

    def __init__(self, clients: Clients, most: int) -> None:
        """`clients` are all of them. With `most` of them the server is full."""
        self.clients = clients
        self.most = most
        self.silent: dict[Queue, None] = {}

    def add(self, client: Queue) -> None:
        """Take note that a client has half-closed."""
        if client in self.clients:
            self.silent[client] = None
            probe(client.peer.sock, PROBE)
            self.make_room()

    def make_room(self) -> None:
        """Cut off such clients while the server is full. To be called when a client was added."""
        while self.silent and len(self.clients) >= self.most:
            client = next(iter(self.silent))
            del self.silent[client]
            client.stalled("it has half-closed, and its place is needed")

    def discard(self, client: Queue) -> None:
        """Take note that a client has left."""
        self.silent.pop(client, None)

    def sent_to_all(self) -> None:
        """Take note that something was sent to all clients: those that have closed their sockets will break."""
        self.silent.clear()


def probe(sock: socket.socket, seconds: int) -> None:
    """Have TCP ask the peer's system after each so many seconds of silence whether the connection is still there."""
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        probe_peer(sock, seconds)
