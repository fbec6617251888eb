"""A connected datagram socket (UDP or unix) as an endpoint.

Theory: a read is one whole datagram. A write is one whole datagram, or it fails. An empty datagram is data, never an
end. There is no end-of-file, and so no half-close. Where the kernel can do it, many datagrams travel in one system call
(`segments.py`). A socket here has one peer; for a socket with many peers see `datagram_server.py`.
"""

from __future__ import annotations

import errno
import os
from collections import deque

from pync.endpoints import CHUNK, Peer
from pync.endpoints.segments import (
    BATCH,
    NO_OFFLOAD,
    WHOLE,
    Burst,
    Joined,
    Receiver,
    cut,
    is_segmented,
    send_segments,
)
from pync.endpoints.streams import ConnectedSocket
from pync.errors import PeerLost, reason
from pync.events import as_address
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.endpoints import Bytes, Sink, Source
    from pync.loop.kernel import Loop

PORT_REFUSED = os.strerror(errno.ECONNREFUSED)


class OwnPath:
    """The path to which a unix datagram socket of a client is bound, if it is. No answer reaches it afterwards."""

    def __init__(self, sock: socket.socket) -> None:
        name = sock.getsockname() if sock.family == socket.AF_UNIX else None
        self.name = name if isinstance(name, str) else None  # an abstract name is bytes, and ends with the socket
        self.file = self._file()

    def remove(self) -> None:
        """Remove the path, if it is still this socket's. Doing it again changes nothing."""
        if self.name and self.file and self._file() == self.file:
            try:
                os.unlink(self.name)
            except OSError:
                pass

    def _file(self) -> tuple[int, int] | None:
        try:
            status = os.lstat(self.name) if self.name else None
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if status else None


def remove_own_path(sock: socket.socket) -> None:
    """Remove the path to which a socket was bound a moment ago, because it could not be connected."""
    OwnPath(sock).remove()


class DatagramSocket(ConnectedSocket, Peer):
    """A socket connected to its one peer. What other senders had sent before it was connected is dropped."""

    def __init__(self, loop: Loop, sock: socket.socket, name: Any, first: list[bytes] | None = None) -> None:
        """`name` is the peer's address as the system gives it; `first`: datagrams of it that were received already."""
        super().__init__(loop, sock, as_address(name))
        self.name = name
        self.arrived = deque(first or ())
        self.answered = False  # the peer has sent something
        self.refused: PeerLost | None = None
        self.receiver = Receiver(sock)
        self.private = False  # whether nothing is left that other senders sent before the socket was connected
        self.segmented = is_segmented(sock)
        # The path of a listener, which has received the first datagrams, is the matter of `net/unix_path.py`.
        self.own_path = OwnPath(sock) if first is None else None

    async def read(self) -> bytes | None:
        """One datagram of the peer's. Raises PeerLost if its port is closed, once all that came before was read."""
        if not self.arrived:
            for piece, size in await self._pieces():
                self.arrived += cut(piece, size)
        return self.arrived.popleft()

    async def read_all(self) -> bytes | None:
        """All datagrams that are there, joined; at least one. Raises PeerLost."""
        if self.arrived:
            data = b"".join(self.arrived)
            self.arrived.clear()
            return data
        while self.private and not self.refused:
            await self.loop.readable(self.sock.fileno())
            if not self.refused and (stream := self._stream()) is not None:
                return stream
        return b"".join([piece for piece, _ in await self._pieces()])

    def as_stream(self) -> Source:
        """A source of which each read gives all datagrams that are there, joined."""
        return Joined(self)

    def sending_ends(self, source: Source) -> tuple[Source, Sink]:
        """Both ends of a flow from the source to the peer, which moves many datagrams at a time."""
        burst = Burst(source, self)
        return burst, burst

    def _stream(self) -> bytes | None:
        """What is there, joined, or None. Names and sizes are left out: they would cost more than the datagrams."""
        buffer, count, end = self.receiver.buffer, 0, 0
        try:
            while count < BATCH and end <= len(buffer) - WHOLE:
                end += self.sock.recv_into(buffer[end:])
                count += 1
        except BlockingIOError:
            pass
        except OSError as error:
            self.refused = self.failed(error)
        self.answered = self.answered or count > 0
        return bytes(buffer[:end]) if count else None

    async def _pieces(self) -> list[tuple[bytes, int]]:
        """Wait for datagrams: pieces of one or more, each with the size of its segments. Raises PeerLost."""
        while True:
            if not self.refused:
                await self.loop.readable(self.sock.fileno())
            pieces: list[tuple[bytes, int]] = []
            room = CHUNK
            for _ in range(BATCH):
                received = self._receive()
                if received is None:
                    if self.refused and not pieces:
                        raise self.refused
                    break
                piece, size, name = received
                if self.is_from_peer(name):
                    pieces.append((piece, size))
                    room -= len(piece)
                if room < WHOLE:
                    break
            if pieces:
                self.answered = True
                return pieces

    def _receive(self) -> tuple[bytes, int, Any] | None:
        """The next piece, or None. The kernel reports a refusal before the datagrams that had come earlier."""
        while True:
            try:
                received = self.receiver.receive()
            except BlockingIOError:
                self.private = self.sock.family != socket.AF_UNIX
                return None
            except OSError as error:
                self.refused = self.failed(error)
            else:
                # Once `_pass_on` has shut the socket, an empty result without a name is no datagram.
                shut = self.refused and not received[2]
                return None if shut else received

    def is_from_peer(self, name: Any) -> bool:
        """Whether a datagram from this address is the peer's. A unix peer may have no address."""
        return name == self.name or not name

    async def write(self, data: Bytes) -> int:
        """Send one datagram. Raises PeerLost if it is too long, or if an earlier one was refused (see `_pass_on`)."""
        try:
            return await super().write(data)
        except PeerLost as error:
            await self._pass_on(error)
            raise

    async def write_many(self, data: Bytes, size: int) -> int:
        """Send datagrams of `size` bytes, the last may be shorter: all at once, or else the first. Raises PeerLost."""
        try:
            return send_segments(self.sock, data, size)
        except BlockingIOError:
            pass  # no room: below, the first datagram waits for it
        except OSError as error:
            if error.errno not in NO_OFFLOAD:
                broken = self.failed(error)
                await self._pass_on(broken)
                raise broken from None
            self.segmented = False
        return await self.write(data[:size])

    async def _pass_on(self, error: PeerLost) -> None:
        """Let the reader be the first to report a refusal, after it has read what came before."""
        if error.cause == PORT_REFUSED:
            self.refused = error
            try:
                self.sock.shutdown(socket.SHUT_RD)  # this wakes the reader
            except OSError:
                pass
            await self.loop.sleep(0)

    def close(self) -> None:
        """Close the socket, and remove the path of our own end (unix)."""
        if self.own_path:
            self.own_path.remove()
            self.own_path = None
        super().close()

    def failed(self, error: OSError) -> PeerLost:
        """The exception for an error of the socket."""
        return PeerLost(f"datagrams to {self.address}", reason(error))
