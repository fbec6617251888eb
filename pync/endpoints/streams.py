"""A connected stream socket as an endpoint: TCP, unix.

Theory: the socket is non-blocking. Reading waits first; writing is tried first and waits when refused. A reset is
`PeerLost`, never an end-of-file. Closing a TCP socket while input is unread sends a reset, which can destroy what
we sent last (RFC 2525 §2.17): `linger` ends a conversation that the other side has not ended.
"""

from __future__ import annotations

import errno
import os
import select
import sys

from pync.endpoints import FEW, Half, next_read_size, queued
from pync.errors import PeerLost, reason
from pync.loop.tasks import Condition
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes
    from pync.events import Address
    from pync.loop.kernel import Loop

LINGER = 2.0  # seconds given to the peer to read the end of what it was sent
RESET = (1).to_bytes(4, sys.byteorder) + bytes(4)  # struct linger for SO_LINGER: on, for 0 seconds (socket(7))
SHORTEST_LOOK, LONGEST_LOOK = 0.01, 1.0  # seconds between two looks at what the peer has acknowledged


class Stream(Half):
    """A connection with an end-of-file in each direction, whatever carries it: a session owns one and closes it."""

    __slots__ = ()
    loop: Loop
    address: Address
    sock: socket.socket

    async def read(self) -> bytes | None:
        """What has arrived; None at the peer's end-of-file. Raises PeerLost."""
        raise NotImplementedError

    async def write(self, data: Bytes) -> int:
        """Send some of `data`, waiting while nothing is taken; how much it was. Raises PeerLost."""
        raise NotImplementedError

    async def send_eof(self) -> None:
        """Half-close."""
        raise NotImplementedError

    async def peek(self) -> bytes | None:
        """Wait for the next bytes and see them without taking them; None at the peer's end-of-file. Raises PeerLost."""
        raise NotImplementedError

    async def skip(self, count: int) -> None:
        """Take so many of the bytes that `peek` has shown."""
        raise NotImplementedError

    def send_nowait(self, data: Bytes) -> int:
        """Send what is taken at once, and return how much that is; errors are left to be found by `write`."""
        return 0

    def unacknowledged(self) -> int:
        """Bytes that were accepted and that the peer has not acknowledged."""
        raise NotImplementedError

    async def wait_closed(self) -> None:
        """Wait until the connection is gone in both directions; raises PeerLost if it was reset."""
        raise NotImplementedError

    async def linger(self, limit: float | None = LINGER) -> bool:
        """Half-close, and let the peer take the end of what it was sent; False if `limit` seconds were too few."""
        raise NotImplementedError

    def check_clean_end(self) -> None:
        """Raises PeerLost if what was taken for the peer's end-of-file was none."""

    async def shutdown(self) -> None:
        """Say goodbye where closing alone does not. Raises as `ended_well`."""

    def close(self) -> None:
        """Close the connection; what the kernel still holds for the peer goes on its way."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close the connection so that the peer sees that it broke."""
        raise NotImplementedError


class ConnectedSocket(Half):
    """What connected sockets of every kind have in common. It owns the socket and closes it."""

    __slots__ = ("loop", "address", "sock")

    def __init__(self, loop: Loop, sock: socket.socket, peer: Address) -> None:
        sock.setblocking(False)
        self.loop = loop
        self.sock = sock
        self.address = peer

    async def write(self, data: Bytes) -> int:
        """Send what the kernel takes (a datagram whole); waits while it takes nothing. Raises PeerLost."""
        while True:
            try:
                return self.sock.send(data)
            except BlockingIOError:
                await self.loop.writable(self.sock.fileno())
            except OSError as error:
                raise self.failed(error) from None

    def close(self) -> None:
        """Close the socket; what the kernel still holds for the peer goes on its way."""
        if self.sock.fileno() >= 0:
            self.loop.forget(self.sock.fileno())
            self.sock.close()

    def failed(self, error: OSError) -> PeerLost:
        """How the connection broke."""
        raise NotImplementedError


class StreamSocket(ConnectedSocket, Stream):
    """A connected stream socket."""

    __slots__ = ("half_closed", "size")

    def __init__(self, loop: Loop, sock: socket.socket, peer: Address) -> None:
        super().__init__(loop, sock, peer)
        self.half_closed = False
        self.size = FEW

    async def read(self) -> bytes | None:
        """What has arrived; None at the peer's end-of-file. Raises PeerLost."""
        while True:
            await self.loop.readable(self.sock.fileno())
            try:
                data = self.sock.recv(self.size)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.failed(error) from None
            self.size = next_read_size(self.size, len(data))
            return data or None

    async def peek(self) -> bytes | None:
        """What has arrived, left where it is; None at the peer's end-of-file. Raises PeerLost."""
        while True:
            await self.loop.readable(self.sock.fileno())
            try:
                return self.sock.recv(FEW, socket.MSG_PEEK) or None
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.failed(error) from None

    async def skip(self, count: int) -> None:
        """Take so many of the bytes that `peek` has shown."""
        while count:
            count -= len(self.sock.recv(count))

    def send_nowait(self, data: Bytes) -> int:
        """Send what the kernel takes at once."""
        try:
            return self.sock.send(data)
        except OSError:
            return 0

    async def send_eof(self) -> None:
        """Half-close: the peer reads an end-of-file after all that was written."""
        if not self.half_closed:
            self.half_closed = True
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:  # the connection is gone: reading tells how
                pass

    def raw(self) -> int | None:
        """The socket's descriptor."""
        return self.sock.fileno()

    def failed(self, error: OSError) -> PeerLost:
        """How the connection broke, with what the kernel had accepted and the peer never acknowledged."""
        if error.errno == errno.EPIPE and self.sock.family != socket.AF_UNIX and not self.half_closed:
            # Only a reset stops TCP from sending. sendfile(2) keeps the one to itself that strikes in its middle.
            error = OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        return PeerLost(f"connection to {self.address}", reason(error), unsent=self.unacknowledged())

    def unacknowledged(self) -> int:
        """Bytes that the kernel accepted and the peer has not acknowledged (SIOCOUTQ, tcp(7)), a reset included."""
        if self.sock.family == socket.AF_UNIX:  # where it counts something else
            return 0
        return max(0, queued(self.sock.fileno(), sending=True) - self.half_closed)  # a FIN counts as one

    async def wait_closed(self) -> None:
        """Wait until the connection is gone in both directions; raises PeerLost if it was reset.

        For a time when nobody reads the socket: an end-of-file that was read already would make it "readable" for
        ever. An epoll of its own that asks for nothing is told of nothing but hang-ups and errors (epoll_ctl(2)),
        and is itself a descriptor to wait for. Where none is to be had this waits for ever.
        """
        try:
            hangups = select.epoll(1)
        except (AttributeError, OSError):
            await self.loop.wait(Condition())
            return
        with hangups:
            hangups.register(self.sock.fileno(), 0)
            try:
                await self.loop.readable(hangups.fileno())
            finally:
                self.loop.forget(hangups.fileno())
        if code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise self.failed(OSError(code, os.strerror(code)))

    def abort(self) -> None:
        """Close the socket; a TCP peer sees a reset."""
        if self.sock.fileno() >= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    async def linger(self, limit: float | None = LINGER) -> bool:
        """Half-close; read and drop what still comes until the peer's end, or until it has taken all we sent.

        Gives up after `limit` seconds, and answers False then. Raises PeerLost.
        """
        await self.send_eof()
        try:
            await self.loop.within(limit, self._drain())
        except TimeoutError:
            return False
        return True

    async def _drain(self) -> None:
        pause = SHORTEST_LOOK
        while True:
            if await self.loop.readable(self.sock.fileno(), self.loop.clock() + pause):
                if await self.read() is None:
                    return
            elif self.unacknowledged():
                pause = min(2 * pause, LONGEST_LOOK)
            else:
                return
