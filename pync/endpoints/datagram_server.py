"""Datagram sockets that serve many peers: each peer address becomes an endpoint of its own.

Theory: a `DatagramServer` receives for all peers and sorts what arrives by its sender, into one queue for each
`DatagramPeer`. The queues and their number are bounded. A datagram costs the same however many peers there are.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from pync.endpoints import Peer
from pync.endpoints.segments import BATCH, Joined, Receiver, cut
from pync.errors import PeerLost, reason
from pync.events import Denied, as_address
from pync.loop.tasks import Condition
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pync.endpoints import Bytes, Source
    from pync.events import Report
    from pync.loop.kernel import Loop

PEER_BYTES = 1 << 20  # bytes that may wait for one peer's session
DATAGRAM_OVERHEAD = 64  # bytes added for each datagram in the count, so that the number of empty ones is bounded, too
PEERS = 16384  # sessions at a time, at most; one more ends the one whose last datagram is the oldest
UNIX_RETRY = 0.002  # seconds between two attempts to send to a unix peer whose queue is full


class DatagramPeer(Peer):
    """One peer of a socket that serves many. Its queue is bounded, and what does not fit is dropped, as by UDP."""

    def __init__(self, server: DatagramServer, sock: socket.socket, name: Any) -> None:
        self.server = server
        self.loop = server.loop
        self.sock = sock
        self.name = name
        self.address = as_address(name)
        self.queue: deque[bytes] = deque()
        self.size = 0
        self.arrived = Condition()
        self.closed = False

    def deliver(self, data: bytes) -> bool:
        """Queue a datagram that came from this peer; False if there is no room."""
        if self.size + len(data) > PEER_BYTES:
            return False
        if not self.queue:
            self.arrived.notify()
        self.queue.append(data)
        self.size += len(data) + DATAGRAM_OVERHEAD
        return True

    async def read(self) -> bytes | None:
        """One datagram of the peer's; None once the session is closed, perhaps to make room for another."""
        if not await self._something():
            return None
        data = self.queue.popleft()
        self.size -= len(data) + DATAGRAM_OVERHEAD
        return data

    async def read_all(self) -> bytes | None:
        """All datagrams that wait, joined; None once the session is closed."""
        if not await self._something():
            return None
        data = b"".join(self.queue)
        self.queue.clear()
        self.size = 0
        return data

    def as_stream(self) -> Source:
        """A source of which each read gives all datagrams that wait, joined."""
        return Joined(self)

    async def _something(self) -> bool:
        while not self.queue and not self.closed:
            await self.loop.wait(self.arrived)
        return bool(self.queue)

    async def write(self, data: Bytes) -> int:
        """Send one datagram to the peer. Raises PeerLost."""
        if not self.name:
            raise PeerLost(f"datagrams to {self.address}", "it cannot be answered")
        while True:
            try:
                return self.sock.sendto(data, self.name)
            except BlockingIOError:
                await self.server.room(self.sock)
            except OSError as error:
                raise PeerLost(f"datagrams to {self.address}", reason(error)) from None

    def close(self) -> None:
        """End the session. The next datagram of this peer begins a new one."""
        if not self.closed:  # closing twice must not end that new session
            self.closed = True
            self.server.sessions.pop((self.sock, self.name), None)
            self.arrived.notify()


class DatagramServer:
    """Sorts the datagrams of one or more bound sockets into sessions, one for each peer."""

    def __init__(self, loop: Loop, report: Report, welcome: Callable[[DatagramPeer], bool]) -> None:
        """`welcome` is called for each new peer: it starts a session, or refuses the peer and returns False."""
        self.loop = loop
        self.report = report
        self.welcome = welcome
        self.sessions: OrderedDict[tuple[socket.socket, Any], DatagramPeer] = OrderedDict()
        self._room: dict[socket.socket, Condition] = {}

    async def receive(self, sock: socket.socket) -> None:
        """Receive from one of the sockets for ever, and give each datagram to its session."""
        receiver = Receiver(sock)
        while True:
            await self.loop.readable(sock.fileno())
            for _ in range(BATCH):
                try:
                    piece, size, name = receiver.receive()
                except BlockingIOError:
                    break
                except OSError:
                    continue  # the host of one of the peers has answered a datagram of ours with an error
                self._sort(sock, name, cut(piece, size))

    def _sort(self, sock: socket.socket, name: Any, arrived: list[bytes]) -> None:
        key = (sock, name)
        peer = self.sessions.get(key)
        if peer is None:
            peer = DatagramPeer(self, sock, name)
            if not self.welcome(peer):
                return
            self.sessions[key] = peer
            if len(self.sessions) > PEERS:
                next(iter(self.sessions.values())).close()
        self.sessions.move_to_end(key)
        for data in arrived:
            if not peer.deliver(data):
                self.report(Denied(peer=peer.address, why="its queue is full, a datagram was dropped"))

    async def room(self, sock: socket.socket) -> None:
        """Wait until the socket takes a datagram again. One task waits for all the sessions on it."""
        if sock in self._room:
            await self.loop.wait(self._room[sock])
            return
        self._room[sock] = Condition()
        try:
            await self.loop.writable(sock.fileno())
            # Of a unix socket the peer's queue is what is full, and the system does not report when that has room.
            if sock.family == socket.AF_UNIX:
                await self.loop.sleep(UNIX_RETRY)
        finally:
            self._room.pop(sock).notify()
