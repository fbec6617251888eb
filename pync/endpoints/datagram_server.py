"""Datagram sockets with many peers: each peer address is an endpoint of its own.

Theory: a `Mailroom` receives for all, and sorts what arrives by its sender into one queue for each `Peer`. Both the
queues and their number are bounded. What a datagram costs does not depend on how many peers there are.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from pync.endpoints import Half
from pync.endpoints.segments import BATCH, Inbox, cut
from pync.errors import PeerLost, reason
from pync.events import Denied, as_address
from pync.loop.tasks import Condition
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pync.endpoints import Bytes
    from pync.events import Report
    from pync.loop.kernel import Loop

QUEUE = 1 << 20  # bytes that may wait for one peer's session
PEERS = 16384  # sessions at a time; then the one silent for longest ends
AGAIN = 0.002  # seconds between two tries to send to a unix peer whose queue is full


class DatagramPeer(Half):
    """One peer of a socket that serves many. Its queue is bounded: what does not fit is dropped, as UDP does."""

    def __init__(self, mailroom: DatagramServer, sock: socket.socket, name: Any) -> None:
        self.mailroom = mailroom
        self.loop = mailroom.loop
        self.sock = sock
        self.name = name
        self.address = as_address(name)
        self.queue: deque[bytes] = deque()
        self.size = 0
        self.arrived = Condition()
        self.closed = False

    def deliver(self, data: bytes) -> bool:
        """Queue a datagram that came from this peer; False if there is no room."""
        if self.size + len(data) > QUEUE:
            return False
        if not self.queue:
            self.arrived.notify()
        self.queue.append(data)
        self.size += len(data) + 64  # an empty one takes room as well
        return True

    async def read(self) -> bytes | None:
        """One datagram of the peer's; None once the session was closed to make room."""
        if not await self._something():
            return None
        data = self.queue.popleft()
        self.size -= len(data) + 64
        return data

    async def read_all(self) -> bytes | None:
        """All that wait, joined; None as for `read`."""
        if not await self._something():
            return None
        data = b"".join(self.queue)
        self.queue.clear()
        self.size = 0
        return data

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
                await self.mailroom.room(self.sock)
            except OSError as error:
                raise PeerLost(f"datagrams to {self.address}", reason(error)) from None

    async def send_eof(self) -> None:
        """Nothing: datagrams have no end-of-file."""

    def close(self) -> None:
        """End the session: the next datagram of this peer begins a new one."""
        if not self.closed:  # else it would end that new one
            self.closed = True
            self.mailroom.sessions.pop((self.sock, self.name), None)
            self.arrived.notify()


class DatagramServer:
    """Sorts the datagrams of one or more bound sockets into sessions, one for each peer."""

    def __init__(self, loop: Loop, report: Report, welcome: Callable[[DatagramPeer], bool]) -> None:
        """`welcome` is asked for each new peer, and starts its session or says no."""
        self.loop = loop
        self.report = report
        self.welcome = welcome
        self.sessions: OrderedDict[tuple[socket.socket, Any], DatagramPeer] = OrderedDict()
        self._room: dict[socket.socket, Condition] = {}

    async def receive(self, sock: socket.socket) -> None:
        """Receive for ever."""
        inbox = Inbox(sock)
        while True:
            await self.loop.readable(sock.fileno())
            for _ in range(BATCH):
                try:
                    piece, size, name = inbox.receive()
                except BlockingIOError:
                    break
                except OSError:
                    continue  # what another peer's host answered to a datagram of ours
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
        """Wait until the socket takes a datagram again: one task waits for all the sessions on it."""
        if sock in self._room:
            await self.loop.wait(self._room[sock])
            return
        self._room[sock] = Condition()
        try:
            await self.loop.writable(sock.fileno())
            if sock.family == socket.AF_UNIX:  # it is the peer's queue that is full, and nothing tells when it is not
                await self.loop.sleep(AGAIN)
        finally:
            self._room.pop(sock).notify()
