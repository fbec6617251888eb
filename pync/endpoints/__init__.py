"""Endpoints: things with a readable half and a writable half. What these two words promise is written here.

A half may wait (that is what it is for); it must never hold bytes back, change them, or know what is at the other
end of the flow. `raw()` is the only hook of a faster way to copy: a half whose bytes the kernel may move by itself
answers its descriptor, everything that wraps a half answers None.

`write` takes what it can and says how much, as the system call does. So the loop that writes all of it stands
in the flow, not in every sink, and the flow knows to the byte what was moved when something breaks or stalls.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    Bytes = bytes | memoryview

    class Source(Protocol):
        """A readable half."""

        async def read(self) -> bytes | None:
            """The next bytes as they come (at most `CHUNK`); None at end-of-file; b"" is an empty datagram."""

        def raw(self) -> int | None:
            """The descriptor that the kernel may copy from, or None."""

    class Sink(Protocol):
        """A writable half."""

        async def write(self, data: Bytes) -> int:
            """Write some of `data`, at least one byte (a datagram whole), and return how many; waits while refused."""

        async def send_eof(self) -> None:
            """Pass the end-of-file on: a half-close. Doing it again changes nothing."""

        def raw(self) -> int | None:
            """The descriptor that the kernel may copy into, or None."""

    class Endpoint(Source, Sink, Protocol):
        """Both halves of a connection."""

        def close(self) -> None:
            """Give the descriptor back. Doing it again changes nothing."""


CHUNK = 256 * 1024  # bytes a stream is read in: large enough that the system calls do not show


async def write_all(sink: Sink, data: Bytes) -> None:
    """Write all of `data`, for those who have no flow to do it."""
    rest = memoryview(data)
    while rest:
        rest = rest[await sink.write(rest) :]
