"""Datagram sockets as endpoints: UDP, unix datagrams.

Theory: a read is one datagram and a write is one datagram, whole or an error. An empty datagram is data, never an
end. There is no end-of-file, and so no half-close. Each peer address is an endpoint of its own: `DatagramSocket` has
one socket and one peer, `Peer` shares the socket of a `Mailroom` that sorts what arrives by its sender.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import OrderedDict, deque
from contextlib import suppress

from pync.endpoints.sockets import ConnectedSocket
from pync.errors import PeerLost, reason
from pync.events import Address, Denied
from pync.tasks import Signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pync.endpoints import Bytes
    from pync.events import Report
    from pync.loop import Loop

LARGEST = 65507  # bytes: 65,535 less the headers of IPv4 and UDP
WHOLE = 1 << 16  # bytes: a receive of this size never cuts a UDP datagram
WHOLE_UNIX = 1 << 18  # bytes: nor this one a unix datagram (net.core.wmem_default is less)
QUEUE = 1 << 20  # bytes that may wait for one peer's session
BATCH = 64  # datagrams received for each wake-up
REFUSED = os.strerror(errno.ECONNREFUSED)
PEERS = 16384  # sessions at a time; then the one silent for longest ends
AGAIN = 0.002  # seconds between two tries to send to a unix peer whose queue is full


def address(name: Any) -> Address:
    """A socket's address as the system gives it: a tuple for IP, a path for unix (abstract ones begin with NUL)."""
    if isinstance(name, tuple):
        return Address(host=name[0], port=name[1])
    text = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name or ""
    return Address(host="@" + text[1:] if text.startswith("\0") else text)


def receive(sock: socket.socket) -> tuple[bytes, Any]:
    """A whole datagram, and its sender's name. Raises OSError."""
    return sock.recvfrom(WHOLE_UNIX if sock.family == socket.AF_UNIX else WHOLE)


def remove_own_path(sock: socket.socket) -> None:
    """Remove the path that a unix datagram socket is bound to: nobody can be answered there any more."""
    name = sock.getsockname() if sock.family == socket.AF_UNIX else None
    if name and isinstance(name, str):  # an abstract one is bytes, and goes with the socket
        with suppress(OSError):  # a privilege that we dropped may be missing
            os.unlink(name)


class DatagramSocket(ConnectedSocket):
    """A socket connected to its one peer: what others send, or had sent before we connected, is left out."""

    def __init__(self, loop: Loop, sock: socket.socket, name: Any, first: list[bytes] | None = None) -> None:
        """`name` is the peer's address as the system gives it; `first`: datagrams of it received already."""
        super().__init__(loop, sock, address(name))
        self.name = name
        self.arrived = deque(first or ())
        self.heard = False  # the peer has said something
        self.refused: PeerLost | None = None

    async def read(self) -> bytes | None:
        """One datagram of the peer's. Raises PeerLost (nobody listens there), once all that came before is read."""
        if self.arrived:
            return self.arrived.popleft()
        while True:
            if not self.refused:
                await self.loop.readable(self.sock.fileno())
            try:
                data, name = receive(self.sock)
            except BlockingIOError:
                if self.refused:
                    raise self.refused from None
            except OSError as error:  # it is told first, before what still waits to be read
                self.refused = self.lost(error)
            else:
                if self.refused and not name:  # no datagram: we have shut the socket
                    raise self.refused
                if name == self.name or not name:
                    self.heard = True
                    return data

    async def write(self, data: Bytes) -> int:
        """Send one datagram. Raises PeerLost: too long, or an earlier one was refused (told to who reads first)."""
        try:
            return await super().write(data)
        except PeerLost as error:
            if error.cause == REFUSED:
                self.refused = error
                with suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RD)  # wakes who reads
                await self.loop.sleep(0)
            raise

    async def send_eof(self) -> None:
        """Nothing: datagrams have no end-of-file."""

    def raw(self) -> int | None:
        """None: the kernel's copying would not keep datagrams apart."""
        return None

    def close(self) -> None:
        """Close the socket, and remove the unix path of our own end."""
        if self.sock.fileno() >= 0:
            remove_own_path(self.sock)
        super().close()

    def lost(self, error: OSError) -> PeerLost:
        """What went wrong with this peer."""
        return PeerLost(f"datagrams to {self.peer}", reason(error))


class Peer:
    """One peer of a socket that serves many. Its queue is bounded: what does not fit is dropped, as UDP does."""

    def __init__(self, mailroom: Mailroom, sock: socket.socket, name: Any) -> None:
        self.mailroom = mailroom
        self.loop = mailroom.loop
        self.sock = sock
        self.name = name
        self.peer = address(name)
        self.queue: deque[bytes] = deque()
        self.size = 0
        self.arrived = Signal()
        self.closed = False

    def deliver(self, data: bytes) -> bool:
        """Queue a datagram that came from this peer; False if there is no room."""
        if self.size + len(data) > QUEUE:
            return False
        self.queue.append(data)
        self.size += len(data) + 64  # an empty one takes room as well
        self.arrived.fire()
        return True

    async def read(self) -> bytes | None:
        """One datagram of the peer's; None once the session was closed to make room."""
        while not self.queue and not self.closed:
            await self.loop.wait(self.arrived)
        if not self.queue:
            return None
        data = self.queue.popleft()
        self.size -= len(data) + 64
        return data

    async def write(self, data: Bytes) -> int:
        """Send one datagram to the peer. Raises PeerLost."""
        if not self.name:
            raise PeerLost(f"datagrams to {self.peer}", "it cannot be answered")
        while True:
            try:
                return self.sock.sendto(data, self.name)
            except BlockingIOError:
                await self.mailroom.room(self.sock)
            except OSError as error:
                raise PeerLost(f"datagrams to {self.peer}", reason(error)) from None

    async def send_eof(self) -> None:
        """Nothing: datagrams have no end-of-file."""

    def raw(self) -> int | None:
        """None: the socket is shared."""
        return None

    def close(self) -> None:
        """End the session: the next datagram of this peer begins a new one."""
        if not self.closed:  # else it would end that new one
            self.closed = True
            self.mailroom.sessions.pop((self.sock, self.name), None)
            self.arrived.fire()


class Mailroom:
    """Sorts the datagrams of one or more bound sockets into sessions, one for each peer."""

    def __init__(self, loop: Loop, report: Report, welcome: Callable[[Peer], bool]) -> None:
        """`welcome` is asked for each new peer, and starts its session or says no."""
        self.loop = loop
        self.report = report
        self.welcome = welcome
        self.sessions: OrderedDict[tuple[socket.socket, Any], Peer] = OrderedDict()
        self._room: dict[socket.socket, Signal] = {}

    async def receive(self, sock: socket.socket) -> None:
        """Receive for ever."""
        while True:
            await self.loop.readable(sock.fileno())
            for _ in range(BATCH):
                try:
                    data, name = receive(sock)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # what another peer's host answered to a datagram of ours
                self._sort(sock, name, data)

    def _sort(self, sock: socket.socket, name: Any, data: bytes) -> None:
        key = (sock, name)
        peer = self.sessions.get(key)
        if peer is None:
            peer = Peer(self, sock, name)
            if not self.welcome(peer):
                return
            self.sessions[key] = peer
            if len(self.sessions) > PEERS:
                next(iter(self.sessions.values())).close()
        self.sessions.move_to_end(key)
        if not peer.deliver(data):
            self.report(Denied(peer=peer.peer, why="its queue is full, a datagram was dropped"))

    async def room(self, sock: socket.socket) -> None:
        """Wait until the socket takes a datagram again: one task waits for all the sessions on it."""
        if sock in self._room:
            await self.loop.wait(self._room[sock])
            return
        self._room[sock] = Signal()
        try:
            await self.loop.writable(sock.fileno())
            if sock.family == socket.AF_UNIX:  # it is the peer's queue that is full, and nothing tells when it is not
                await self.loop.sleep(AGAIN)
        finally:
            self._room.pop(sock).fire()
