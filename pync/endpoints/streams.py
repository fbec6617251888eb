"""A connected stream socket (TCP, unix, SCTP or vsock) as an endpoint.

Theory: the socket is non-blocking. Reading waits first; writing is tried first and waits when refused. A reset raises
`PeerLost` and is never an end-of-file. Closing a TCP socket while input is unread sends a reset, which can destroy the
bytes that were sent last (RFC 2525 §2.17). So a conversation that the peer has not ended is ended by `linger`.
"""

from __future__ import annotations

import errno
import os
import sys

from pync.endpoints import CHUNK, LINGER, SHORT, Half, Peer, next_read_size
from pync.errors import PeerLost, reason
from pync.loop.tasks import Condition
from pync.system import NOT_SENT, TO_SEND, queued, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes
    from pync.events import Address
    from pync.loop.kernel import Loop

RESET = (1).to_bytes(4, sys.byteorder) + bytes(4)  # struct linger for SO_LINGER: on, for 0 seconds (socket(7))
SHORTEST_LOOK, LONGEST_LOOK = 0.01, 1.0  # seconds between two checks of what the peer has acknowledged


class Stream(Peer):
    """A connection with an end-of-file in each direction, whatever carries it."""

    __slots__ = ()
    has_eof = True


class ConnectedSocket(Half):
    """What connected sockets of every kind have in common: each owns its socket and closes it."""

    __slots__ = ("address", "loop", "sock")

    def __init__(self, loop: Loop, sock: socket.socket, address: Address) -> None:
        """`address` is the peer's."""
        sock.setblocking(False)
        self.loop = loop
        self.sock = sock
        self.address = address

    async def write(self, data: Bytes) -> int:
        """Send what the kernel takes (a datagram whole), and wait while it takes nothing. Raises PeerLost."""
        while True:
            try:
                return self.sock.send(data)
            except BlockingIOError:
                await self.loop.writable(self.sock.fileno())
            except OSError as error:
                raise self.failed(error) from None

    def close(self) -> None:
        """Close the socket. The kernel still sends what it holds for the peer."""
        if self.sock.fileno() >= 0:
            self.loop.forget(self.sock.fileno())
            self.sock.close()

    def failed(self, error: OSError) -> PeerLost:
        """The exception for an error of the socket."""
        raise NotImplementedError


class StreamSocket(ConnectedSocket, Stream):
    """A connected stream socket."""

    __slots__ = ("encrypted", "fin", "half_closed", "size")

    def __init__(self, loop: Loop, sock: socket.socket, address: Address) -> None:
        super().__init__(loop, sock, address)
        self.encrypted = False
        self.half_closed = False
        self.fin = 0  # FINs in the kernel's count of bytes to be sent
        self.size = SHORT

    async def read(self) -> bytes | None:
        """Wait for what arrives; None at the peer's end-of-file. Raises PeerLost."""
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
        """Wait for what arrives, and leave it unread; None at the peer's end-of-file. Raises PeerLost."""
        while True:
            await self.loop.readable(self.sock.fileno())
            try:
                return self.sock.recv(SHORT, socket.MSG_PEEK) or None
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.failed(error) from None

    async def skip(self, count: int) -> None:
        """Drop `count` of the bytes that `peek` has returned."""
        while count:
            count -= len(self.sock.recv(count))

    def send_nowait(self, data: Bytes) -> int:
        """Send what the kernel takes at once, and return how many bytes."""
        try:
            return self.sock.send(data)
        except OSError:
            return 0

    def carries_tls(self) -> None:
        """Take note that TLS lies over this."""
        self.encrypted = True

    def expect_much(self) -> None:
        """Have the next read ask the kernel for a whole chunk."""
        self.size = CHUNK

    async def send_eof(self) -> None:
        """Half-close: the peer reads an end-of-file after all that was written."""
        if not self.half_closed:
            self.half_closed = True
            try:
                self.sock.shutdown(socket.SHUT_WR)
                self.fin = 1
            except OSError:  # the connection is broken, and the next read reports how
                pass

    def raw(self) -> int | None:
        """The socket's descriptor."""
        return self.sock.fileno()

    def failed(self, error: OSError) -> PeerLost:
        """The exception for an error of the socket, with the bytes that were not sent.

        What was sent may have arrived: the reset itself can acknowledge it, and the kernel does not count that.
        """
        if error.errno == errno.EPIPE and self.sock.family != socket.AF_UNIX:
            # Only a reset stops TCP from sending. After a reset in the middle of sendfile(2) the error is EPIPE alone.
            error = OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        return PeerLost(f"connection to {self.address}", reason(error), unsent=0 if self.encrypted else self.unsent())

    def unacknowledged(self) -> int:
        """Bytes that the kernel took and the peer has not acknowledged (SIOCOUTQ, tcp(7)), also after a reset."""
        return self._held(TO_SEND)

    def unsent(self) -> int:
        """Those of them that the kernel has not sent."""
        return self._held(NOT_SENT)

    def _held(self, request: str | int) -> int:
        if self.sock.family == socket.AF_UNIX:  # there the kernel counts memory, not bytes of the stream
            return 0
        return max(0, queued(self.sock.fileno(), request) - self.fin)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed in both directions, while no task reads it. Raises PeerLost at a reset.

        After an end-of-file the socket stays readable for ever, so only its hang-up can be waited for.
        """
        from pync.loop.hangups import Hangups

        await self.loop.shared(Hangups).wait(self.sock.fileno(), Condition())
        self._check()

    def _check(self) -> None:
        if code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            # Here EPIPE is a reset after the peer's end: it had closed both directions, and has taken nothing more.
            late = self.unacknowledged() - self.unsent() if code == errno.EPIPE and not self.encrypted else 0
            raise self.failed(OSError(code, os.strerror(code))).also_unsent(late)

    def abort(self) -> None:
        """Close the socket; a TCP peer sees a reset."""
        if self.sock.fileno() >= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    async def linger(self, limit: float | None = LINGER) -> bool:
        """Half-close, and drop what still comes, until the peer has taken all that was sent.

        False if `limit` seconds were too few. Raises PeerLost.
        """
        await self.send_eof()
        try:
            await self.loop.within(limit, self._drain())
        except TimeoutError:
            return False
        return True

    async def _drain(self) -> None:
        pause, ended = SHORTEST_LOOK, False
        while True:
            if ended:
                # A peer that had closed both directions answers what was sent later with a reset.
                self._check()
                if not self.unacknowledged():
                    return
                await self.loop.sleep(pause)
            elif await self.loop.readable(self.sock.fileno(), self.loop.clock() + pause):
                ended = await self.read() is None
                continue
            elif not self.unacknowledged():
                return
            pause = min(2 * pause, LONGEST_LOOK)
