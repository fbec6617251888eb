"""Many datagrams in one system call: segmentation offload of UDP (Linux), and the halves that make use of it.

Theory. A system call costs more than a short datagram. So the kernel joins datagrams of one sender that came together
into one piece, which it gives us with the size of its segments, and cuts a piece that we send into datagrams (udp(7),
UDP_GRO and UDP_SEGMENT). All segments of a piece have one size; the last may be shorter. An old kernel refuses this,
and datagrams are sent and received one by one.

Only datagrams that are there already travel together: nothing ever waits for more, and every boundary stays in place.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from pync.endpoints import CHUNK, Sink, Source
from pync.endpoints.stdio import Stdin
from pync.system import socket
from pync.system.sockets import HAS_SEGMENTS, JOINED, SEGMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from pync.endpoints import Bytes
    from pync.endpoints.datagrams import DatagramSocket
    from pync.loop.kernel import Loop

    class Joinable(Protocol):
        """A peer whose datagrams can be read all at once."""

        async def read_all(self) -> bytes | None:
            """All datagrams that are there, joined; at least one."""


LARGEST = 65507  # bytes: 65,535 less the headers of IPv4 and UDP
# A receive of this many bytes never cuts a UDP datagram, nor a piece of several. A receive of CHUNK bytes never cuts a
# unix datagram either, because net.core.wmem_default is less.
WHOLE = 1 << 16
BATCH = 64  # receives for each wake-up, and datagrams in a piece that is sent
NO_OFFLOAD = (errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT)


def _is_udp(sock: socket.socket) -> bool:
    return sock.family != socket.AF_UNIX and HAS_SEGMENTS


def cut(piece: bytes, size: int) -> list[bytes]:
    """The datagrams of a piece."""
    if size >= len(piece):
        return [piece]
    return [piece[start : start + size] for start in range(0, len(piece), size)]


class Receiver:
    """Receives from a datagram socket: one whole datagram, or a piece of several where the kernel joins them."""

    # One for all sockets, of which a server may have thousands: nothing stays in it from one receive to the next.
    buffer = memoryview(bytearray(CHUNK))

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.control = 0  # bytes of control messages that a receive asks for
        if _is_udp(sock):
            try:
                sock.setsockopt(socket.IPPROTO_UDP, JOINED, 1)
                self.control = socket.CMSG_SPACE(4)
            except OSError:  # before Linux 5.0
                pass

    def receive(self) -> tuple[bytes, int, Any]:
        """A piece, the size of its segments, and its sender's address as the system gives it. Raises OSError."""
        length, control, _, name = self.sock.recvmsg_into([self.buffer], self.control)
        size = int.from_bytes(control[0][2], sys.byteorder) if control else length
        return bytes(self.buffer[:length]), size, name


def shows_boundaries(fd: int) -> bool:
    """Whether the process at the other end of `fd` may see where one write ends and the next begins."""
    return stat.S_ISSOCK(os.fstat(fd).st_mode)


class Joined(Source):
    """A peer's datagrams as a stream, for a flow in which neither the sink nor a stage needs the boundaries."""

    def __init__(self, peer: Joinable) -> None:
        self.peer = peer

    async def read(self) -> bytes | None:
        """All that has arrived. Raises PeerLost."""
        return await self.peer.read_all()


class DatagramStdin(Stdin):
    """Stdin, where each read becomes a datagram."""

    def __init__(self, loop: Loop, size: int = LARGEST, fd: int = 0) -> None:
        super().__init__(loop, fd, size)
        self.own_pipe = self.fd != fd and stat.S_ISFIFO(os.fstat(fd).st_mode)

    def read_nowait(self) -> bytes | None:
        """What one more read of a pipe gives at once (in packet mode one write, pipe(2)); None if it would wait."""
        try:
            return os.read(self.fd, self.size) or None if self.own_pipe else None
        except BlockingIOError:
            return None


class Burst(Source, Sink):
    """Both ends of a flow from a source to one peer, which moves as many datagrams as are there at each turn.

    There must be no stage in between, because it could change their sizes.
    """

    def __init__(self, source: Source, peer: DatagramSocket) -> None:
        self.source = source
        self.peer = peer
        self.sizes: list[int] = []  # the sizes of the datagrams that were read and are not sent yet

    async def read(self) -> bytes | None:
        """The datagrams that are there, joined; None at the end-of-file. Raises what the source raises."""
        data = await self.source.read()
        if data is None:
            return None
        datagrams, size = [data], len(data)
        while len(datagrams) < BATCH and size < LARGEST and (data := self.source.read_nowait()) is not None:
            datagrams.append(data)
            size += len(data)
        self.sizes = [len(data) for data in datagrams]
        return b"".join(datagrams)

    async def write(self, data: Bytes) -> int:
        """Send the first of the datagrams, together with those of its size that follow. Raises PeerLost."""
        size = self.sizes[0]
        count = self._run() if self.peer.segmented and size else 1
        if count > 1:
            sent = await self.peer.write_many(data[: sum(self.sizes[:count])], size)
            count = -(-sent // size)
        else:
            sent = await self.peer.write(data[:size])
        del self.sizes[:count]
        return sent

    def _run(self) -> int:
        """How many datagrams go into the next piece: all are of one size, only the last may be shorter."""
        size = self.sizes[0]
        most = min(len(self.sizes), LARGEST // size)
        count = 1
        while count < most and self.sizes[count] == size:
            count += 1
        return count + (count < most and self.sizes[count] < size)

    async def send_eof(self) -> None:
        """Nothing: datagrams have no end-of-file."""

    def unread(self) -> int:
        """Bytes that are known to be left in the source."""
        return self.source.unread()


def is_segmented(sock: socket.socket) -> bool:
    """Whether the kernel cuts pieces that are sent. One that cannot would send a piece as a single datagram."""
    if _is_udp(sock):
        try:
            return sock.getsockopt(socket.IPPROTO_UDP, SEGMENT) == 0
        except OSError:  # before Linux 4.18
            pass
    return False


def send_segments(sock: socket.socket, data: Bytes, size: int) -> int:
    """Send all of `data` as datagrams of `size` bytes. Raises OSError; one of NO_OFFLOAD if the system cannot do it."""
    return sock.sendmsg([data], [(socket.IPPROTO_UDP, SEGMENT, size.to_bytes(2, sys.byteorder))])
