"""Endpoints: things with a readable half and a writable half. What these two words promise is written here.

A half may wait (that is what it is for); it must never hold bytes back, change them, or know what is at the other
end of the flow. `raw()` is the only hook of a faster way to copy: a half whose bytes the kernel may move by itself
answers its descriptor, everything that wraps a half answers None.

`write` takes what it can and says how much, as the system call does. So the loop that writes all of it stands
in the flow, not in every sink, and the flow knows to the byte what was moved when something breaks or stalls.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from pync.errors import PyncError

    Bytes = bytes | memoryview

    class Source(Protocol):
        """A readable half."""

        async def read(self) -> bytes | None:
            """The next bytes as they come (at most `CHUNK`); None at end-of-file; b"" is an empty datagram."""

        def unread(self) -> int:
            """Bytes that are known to be left; 0 if nothing is known."""

        def raw(self) -> int | None:
            """The descriptor that the kernel may copy from, or None."""

        def failed(self, error: OSError) -> PyncError:
            """What an error of that descriptor means. Asked only where `raw` has answered one."""

    class Sink(Protocol):
        """A writable half."""

        async def write(self, data: Bytes) -> int:
            """Write some of `data`, at least one byte (a datagram whole), and return how many; waits while refused."""

        async def send_eof(self) -> None:
            """Pass the end-of-file on: a half-close. Doing it again changes nothing."""

        def raw(self) -> int | None:
            """The descriptor that the kernel may copy into, or None."""

        def failed(self, error: OSError) -> PyncError:
            """What an error of that descriptor means. Asked only where `raw` has answered one."""


CHUNK = 256 * 1024  # bytes a stream is read in at most: large enough that the system calls do not show
FEW = 64 * 1024  # bytes asked for where little comes: getting a buffer of CHUNK costs more than a short read


def next_read_size(asked: int, got: int, most: int = CHUNK) -> int:
    """How many bytes to ask for next, after `got` of `asked` came."""
    if got == asked:
        return most
    return asked if got > FEW else min(FEW, most)


def queued(fd: int, *, sending: bool = False) -> int:
    """Bytes that the kernel holds for a descriptor: to be read, or `outward` those that are not acknowledged yet.

    0 where it does not tell (ioctl_tty(2), FIONREAD and TIOCOUTQ).
    """
    import fcntl
    import termios

    try:
        count = fcntl.ioctl(fd, termios.TIOCOUTQ if sending else termios.FIONREAD, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(count, sys.byteorder)


class Half:
    """What every half is unless it says otherwise: one that the kernel cannot reach, and that holds nothing back."""

    __slots__ = ()

    def raw(self) -> int | None:
        """None: it wraps something, shares it, or has to see what passes."""
        return None

    def failed(self, error: OSError) -> PyncError:
        """What an error of its descriptor means."""
        raise NotImplementedError

    def unread(self) -> int:
        """Bytes that are known to be left."""
        return 0


async def write_all(sink: Sink, data: Bytes) -> None:
    """Write all of `data`, for those who have no flow to do it."""
    rest = memoryview(data)
    while rest:
        rest = rest[await sink.write(rest) :]
