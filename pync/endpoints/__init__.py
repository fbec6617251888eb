"""Endpoints: things with a readable half and a writable half. This module states what the two halves promise.

A half may wait; that is what it is for. It must never hold bytes back, change them, or know what is at the other end
of the flow. `raw()` is the only hook of the kernel's fast path: a half whose bytes the kernel may move answers its
descriptor, and everything that wraps a half answers None.

`write` takes what it can and returns how much that was, as the system call does. So the loop that writes everything
stands in the flow and not in every sink, and the flow knows to the byte what was moved when something breaks or stalls.

A `Peer` is what a session is connected to. The base class has the null ending, which is that of datagrams: they have
no end-of-file, closing one sends nothing, and nothing of them is ever acknowledged. A stream overrides all of it.
"""

from __future__ import annotations

import sys

from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from pync.errors import PyncError
    from pync.events import Address
    from pync.loop.kernel import Loop

    Bytes = bytes | memoryview

CHUNK = 256 * 1024  # bytes that one read of a stream gives at most: enough to make the system calls cheap
SHORT = 64 * 1024  # bytes asked for where little comes: a buffer of CHUNK costs more than a short read
LINGER = 2.0  # seconds that a peer has to take the end of what it was sent


def next_read_size(asked: int, got: int, most: int = CHUNK) -> int:
    """How many bytes to ask for next, after `got` of `asked` bytes came."""
    if got == asked:
        return most
    return asked if got > SHORT else min(SHORT, most)


def queued(fd: int, *, unsent: bool = False) -> int:
    """Bytes that the kernel holds for a descriptor: to be read, or with `unsent` those that are not acknowledged yet.

    0 where the kernel does not say (ioctl_tty(2), FIONREAD and TIOCOUTQ).
    """
    import fcntl
    import termios

    try:
        count = fcntl.ioctl(fd, termios.TIOCOUTQ if unsent else termios.FIONREAD, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(count, sys.byteorder)


class Half:
    """What the two halves have in common. By default the kernel cannot reach them."""

    __slots__ = ()

    def raw(self) -> int | None:
        """The descriptor that the kernel may copy from or into; None: something has to see the bytes."""
        return None

    def failed(self, error: OSError) -> PyncError:
        """What an error of that descriptor means. Asked only where `raw` has answered one."""
        raise NotImplementedError


class Source(Half):
    """A readable half."""

    __slots__ = ()
    position: int | None = None  # where a file that many read is read next; None: where its descriptor stands

    async def read(self) -> bytes | None:
        """The next bytes as they come (at most `CHUNK`); None at end-of-file; b"" is an empty datagram."""
        raise NotImplementedError

    def read_nowait(self) -> bytes | None:
        """One more datagram that is there already; None if there is none, or for a source of anything else."""
        return None

    def unread(self) -> int:
        """Bytes that are known to be left; 0 if nothing is known."""
        return 0

    def advance(self, count: int) -> None:
        """The kernel has moved `count` bytes from `position` on."""


class Sink(Half):
    """A writable half."""

    __slots__ = ()

    async def write(self, data: Bytes) -> int:
        """Write some of `data`, at least one byte (a datagram whole), and return how many; waits while refused."""
        raise NotImplementedError

    async def send_eof(self) -> None:
        """Pass the end-of-file on: a half-close. Doing it again changes nothing."""
        raise NotImplementedError


class Peer(Source, Sink):
    """What a session is connected to, with the null ending. A session owns its peer and closes it.

    Reading and writing raise PeerLost when the connection breaks.
    """

    __slots__ = ()
    loop: Loop
    address: Address
    sock: socket.socket
    has_eof = False  # whether each direction has an end-of-file

    async def send_eof(self) -> None:
        """Half-close, where there is an end-of-file to be sent."""

    async def peek(self) -> bytes | None:
        """Wait for the next bytes of a stream and leave them unread; None at its end-of-file. Raises PeerLost."""
        raise NotImplementedError

    async def skip(self, count: int) -> None:
        """Drop that many of the bytes that `peek` has shown."""
        raise NotImplementedError

    def send_nowait(self, data: Bytes) -> int:
        """Send what is taken at once, and return how much that is; the next `write` finds an error."""
        return 0

    def expect_much(self) -> None:
        """Read as much as possible at a time, where that can be chosen."""

    def as_stream(self) -> Source:
        """The source for a flow in which boundaries between datagrams do not matter."""
        return self

    def sending_ends(self, source: Source) -> tuple[Source, Sink]:
        """Both ends of a flow from the source to this peer, in which nothing changes the size of a datagram."""
        return source, self

    def unacknowledged(self) -> int:
        """Bytes that were accepted for sending and that the peer has not acknowledged."""
        return 0

    async def wait_closed(self) -> None:
        """Wait until the connection is closed in both directions. Raises PeerLost if it was reset."""
        await self.loop.wait(Condition())

    async def linger(self, limit: float | None = LINGER) -> bool:
        """Half-close, and let the peer take the end of what it was sent; False if `limit` seconds were too few."""
        return True

    def check_clean_end(self) -> None:
        """Raise PeerLost if what was read as the peer's end-of-file was none."""

    async def shutdown(self) -> None:
        """Send the close_notify where closing alone sends no proper end. Raises as `check_clean_end`."""

    def close(self) -> None:
        """Close the connection; what the kernel still holds for the peer goes on its way."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close the connection so that the peer sees that it broke."""
        self.close()


async def write_all(sink: Sink, data: Bytes) -> None:
    """Write all of `data`, where there is no flow to do it."""
    rest = memoryview(data)
    while rest:
        rest = rest[await sink.write(rest) :]
