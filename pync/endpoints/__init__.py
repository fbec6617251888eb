"""Endpoints: things with a readable half (`Source`), a writable half (`Sink`) or both. Here is what each promises.

A half may wait: for data, for room, or (one that wraps another) for the end of a line or of a delay. It must never know
what is at the other end of the flow. `raw()` is the only hook of the kernel's fast path: a half whose bytes the kernel
may move returns its descriptor, and a half that wraps another returns None.

`write` takes what it can and returns how many bytes that was, as write(2) does. So the loop that writes everything
is in the flow and not in every sink, and the flow knows to the byte what was moved when a connection breaks or stalls.

A `Peer` is what a session is connected to. The base class has the null ending, which is that of datagrams: they have
no end-of-file, closing their socket sends nothing, and they are never acknowledged. A stream overrides all of it.
"""

from __future__ import annotations

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
LINGER = 2.0  # seconds that a peer has, at the end of a session, to take what it was sent


def next_read_size(asked: int, got: int, most: int = CHUNK) -> int:
    """How many bytes the next read asks for (at most `most`), after a read of `asked` bytes got `got`."""
    return most if got == asked else asked if got > SHORT else min(SHORT, most)


class Half:
    """What the two halves have in common. By default the kernel cannot move their bytes."""

    __slots__ = ()

    def raw(self) -> int | None:
        """The descriptor that the kernel may move bytes from or to; None if the bytes have to pass through here."""
        return None

    def failed(self, error: OSError) -> PyncError:
        """The exception for an error of the descriptor that `raw` has returned. Called only where there is one."""
        raise NotImplementedError


class Source(Half):
    """A readable half."""

    __slots__ = ()
    position: int | None = None  # where to read next in a file that clients share; None: at its descriptor's position
    stop: int | None = None  # the position where such a source ends, if that is not the end of the file

    async def read(self) -> bytes | None:
        """Wait for the next bytes, at most `CHUNK`; None at the end-of-file. b"" is an empty datagram."""
        raise NotImplementedError

    def read_nowait(self) -> bytes | None:
        """One more datagram that is there already; None if there is none, or if the source gives no datagrams."""
        return None

    def unread(self) -> int:
        """Bytes that are known to be left to read; 0 if that is not known."""
        return 0

    def advance(self, count: int) -> None:
        """Take note that the kernel has moved `count` bytes from `position` on."""


class Sink(Half):
    """A writable half."""

    __slots__ = ()
    below: Sink | None = None  # the sink into which this one writes, if it wraps one or shares it

    async def write(self, data: Bytes) -> int:
        """Write some of `data`, at least one byte (a datagram whole), and return how many. Waits for room."""
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
    taken = 0  # bytes that a write which was cut short has taken: some of them may have been sent
    has_half_close = True  # whether the peer can go on sending after our end-of-file
    has_members = False  # whether this is a group, of which each member answers in its own time

    async def send_eof(self) -> None:
        """Half-close, where there is an end-of-file to be sent."""

    async def peek(self) -> bytes | None:
        """Wait for the next bytes of a stream and leave them unread; None at its end-of-file. Raises PeerLost."""
        raise NotImplementedError

    async def skip(self, count: int) -> None:
        """Drop `count` of the bytes that `peek` has returned."""
        raise NotImplementedError

    def send_nowait(self, data: Bytes) -> int:
        """Send what the kernel takes at once, and return how many bytes. An error is left for the next `write`."""
        return 0

    def carries_tls(self) -> None:
        """Take note that TLS lies over this: its bytes are not those that are to be sent, and are not counted."""

    def expect_much(self) -> None:
        """Have the next read ask for as much as possible, where that can be chosen."""

    def as_stream(self) -> Source:
        """The source for a flow in which the boundaries between datagrams do not matter."""
        return self

    def sending_ends(self, source: Source) -> tuple[Source, Sink]:
        """Both ends of a flow from the source to this peer, in which nothing changes the size of a datagram."""
        return source, self

    def unacknowledged(self) -> int:
        """Bytes that were accepted for sending and that the peer has not acknowledged."""
        return 0

    def unsent(self) -> int:
        """Bytes of these that were not even sent: the peer cannot have received them."""
        return 0

    async def wait_closed(self) -> None:
        """Wait until the connection is closed in both directions (datagrams: for ever). Raises PeerLost at a reset."""
        await self.loop.wait(Condition())

    async def linger(self, limit: float | None = LINGER) -> bool:
        """Half-close, and wait until the peer has taken what it was sent; False if `limit` seconds were too few."""
        return True

    def check_clean_end(self) -> None:
        """Raise PeerLost if reading ended without a proper end of the peer's, such as the close_notify of TLS."""

    async def shutdown(self) -> None:
        """Send a proper end where closing sends none (TLS: close_notify). Raises PeerLost like `check_clean_end`."""

    def close(self) -> None:
        """Close the connection. The kernel still sends what it holds for the peer."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close the connection so that the peer sees it break, where it can (datagrams: as `close`)."""
        self.close()


async def write_all(sink: Sink, data: Bytes) -> None:
    """Write all of `data`, for callers that have no flow to do it."""
    rest = memoryview(data)
    while rest:
        rest = rest[await sink.write(rest) :]
