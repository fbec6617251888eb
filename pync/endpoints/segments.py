"""Many datagrams at a time: segmentation offload of UDP (Linux), and halves that take what is there at once.

Theory. A system call costs more than a short datagram. So the kernel hands over datagrams of one sender that came
together as one piece with the size of its segments, and cuts a piece that we give it into datagrams (udp(7), UDP_GRO
and UDP_SEGMENT). All segments of a piece are of one size; the last may be shorter. A kernel that does not know this
refuses, and datagrams come and go one by one.

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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from pync.endpoints import Bytes
    from pync.endpoints.datagrams import DatagramSocket
    from pync.loop.kernel import Loop

    class Joinable(Protocol):
        """A peer of which all that has arrived can be read at once."""

        async def read_all(self) -> bytes | None:
            """All datagrams that are there, joined; at least one."""


LARGEST = 65507  # bytes: 65,535 less the headers of IPv4 and UDP
WHOLE = 1 << 16  # bytes: a receive of this size never cuts a UDP datagram, nor a piece of several; one of
# CHUNK no unix datagram either (net.core.wmem_default is less)
BATCH = 64  # receives for each wake-up, and datagrams in a piece that is sent
SEGMENT, GRO = 103, 104  # options and control messages at IPPROTO_UDP: the size of the segments, an int when received
NO_OFFLOAD = (errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT)


def _is_udp(sock: socket.socket) -> bool:
    return sock.family != socket.AF_UNIX and sys.platform == "linux"


def cut(piece: bytes, size: int) -> list[bytes]:
    """The datagrams of a piece."""
    if size >= len(piece):
        return [piece]
    return [piece[start : start + size] for start in range(0, len(piece), size)]


class Receiver:
    """Receives from a datagram socket: a whole datagram, or where the kernel joins them a piece of several."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = memoryview(bytearray(CHUNK))
        self.control = 0  # bytes of control messages to expect
        if _is_udp(sock):
            try:
                sock.setsockopt(socket.IPPROTO_UDP, GRO, 1)
                self.control = socket.CMSG_SPACE(4)
            except OSError:  # before Linux 5.0
                pass

    def receive(self) -> tuple[bytes, int, Any]:
        """A piece, the size of its segments, and its sender's name. Raises OSError."""
        length, control, _, name = self.sock.recvmsg_into([self.buffer], self.control)
        size = int.from_bytes(control[0][2], sys.byteorder) if control else length
        return bytes(self.buffer[:length]), size, name


def shows_boundaries(fd: int) -> bool:
    """Whether the reader at the other end may see where one write ended and the next began."""
    return stat.S_ISSOCK(os.fstat(fd).st_mode)


class Joined(Source):
    """What a peer sends, as a stream: for a sink that keeps no boundaries, with nothing in between that needs them."""

    def __init__(self, peer: Joinable) -> None:
        self.peer = peer

    async def read(self) -> bytes | None:
        """All that has arrived. Raises PeerLost."""
        return await self.peer.read_all()


class DatagramStdin(Stdin):
    """Stdin, of which each read is a datagram."""

    def __init__(self, loop: Loop, fd: int = 0) -> None:
        super().__init__(loop, fd, LARGEST)
        self.own_pipe = self.fd != fd and stat.S_ISFIFO(os.fstat(fd).st_mode)

    def read_nowait(self) -> bytes | None:
        """What a pipe holds for the next read (in packet mode, one write each, pipe(2)); None: that has to wait."""
        try:
            return os.read(self.fd, self.size) or None if self.own_pipe else None
        except BlockingIOError:
            return None


class Burst(Source, Sink):
    """From a source to one peer, as many datagrams as are there at each turn of the flow: it is both ends of that flow.

    Nothing may stand in between that changes their sizes.
    """

    def __init__(self, source: Source, peer: DatagramSocket) -> None:
        self.source = source
        self.peer = peer
        self.sizes: list[int] = []  # of the datagrams that were read and are not sent yet

    async def read(self) -> bytes | None:
        """The datagrams that are there, joined; None at the end. Raises what the source raises."""
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
        """How many of the datagrams make a piece: all are of one size, only the last may be shorter."""
        size = self.sizes[0]
        most = min(len(self.sizes), LARGEST // size)
        count = 1
        while count < most and self.sizes[count] == size:
            count += 1
        return count + (count < most and self.sizes[count] < size)

    async def send_eof(self) -> None:
        """Nothing: datagrams have no end-of-file."""

    def unread(self) -> int:
        """Bytes known to be left in the source."""
        return self.source.unread()


def is_segmented(sock: socket.socket) -> bool:
    """Whether the kernel cuts what is sent to this socket's peer: where it does not, it would send it in one."""
    if _is_udp(sock):
        try:
            return sock.getsockopt(socket.IPPROTO_UDP, SEGMENT) == 0
        except OSError:  # before Linux 4.18
            pass
    return False


def send_segments(sock: socket.socket, data: Bytes, size: int) -> int:
    """Send all of `data` as datagrams of `size` bytes. Raises OSError; one of NO_OFFLOAD if the system cannot do it."""
    return sock.sendmsg([data], [(socket.IPPROTO_UDP, SEGMENT, size.to_bytes(2, sys.byteorder))])
