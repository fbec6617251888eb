"""A file that many clients read at the same time, each from a position of its own, by one descriptor.

Theory: pread(2) and sendfile(2) take a position, so the descriptor's own position stays where the shell has left it. A
file always has something to give, if only its end, so its reader never waits, and no client waits for another.
"""

from __future__ import annotations

import os
import stat

from pync.endpoints import CHUNK, Source
from pync.errors import InputError, reason
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pync.endpoints.shared_stdio import Sender
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Work


def extent(fd: int) -> tuple[int, int] | None:
    """Where a regular file or a block device stands, and where it ends; None for anything else.

    A pipe, a terminal and a socket have no position. A character device may have one that means nothing, and may wait.
    """
    facts = os.fstat(fd)
    if not (stat.S_ISREG(facts.st_mode) or stat.S_ISBLK(facts.st_mode)):
        return None
    start, end = os.lseek(fd, 0, os.SEEK_CUR), facts.st_size
    if stat.S_ISBLK(facts.st_mode):  # its size is where seeking to its end leads
        end = os.lseek(fd, 0, os.SEEK_END)
        os.lseek(fd, start, os.SEEK_SET)
    return start, end


class FileSource(Source):
    """Reads a file from a position of its own, so that many clients can read the same descriptor."""

    def __init__(self, loop: Loop, fd: int, position: int) -> None:
        self.loop = loop
        self.fd = fd
        self.start = position
        self.position: int | None = position
        self.stop: int | None = None
        self.arrived = Condition()  # never notified, because a file never waits for data

    async def read(self) -> bytes | None:
        """The next bytes; None at the file's end, or at `stop`. Raises InputError."""
        await self.loop.sleep(0)  # a file is always ready, so this gives the other clients their turn
        return self._read(CHUNK) or None

    def _read(self, most: int) -> bytes:
        position = self.position or 0
        if self.stop is not None:
            most = min(most, max(0, self.stop - position))
        try:
            data = os.pread(self.fd, most, position)
        except OSError as error:
            raise self.failed(error) from None
        self.position = position + len(data)
        return data

    async def begin(self) -> tuple[bytes, bool]:
        """Read the first CHUNK bytes, or all if there are fewer; whether they are all. Raises InputError.

        Only reading to the end shows how much there is of a small file: in /proc and /sys the size is a fiction.
        """
        await self.loop.sleep(0)
        first = b""
        while data := self._read(CHUNK - len(first)):
            first += data
        return first, len(first) < CHUNK

    def length(self) -> int | None:
        """Bytes from the start to the end, as the system has them now."""
        place = extent(self.fd)
        return place and max(0, place[1] - self.start)

    def rest(self, first: bytes, start: int, stop: int | None) -> Source:
        """A source of a part, the bytes from `start` up to `stop`, once `begin` has returned `first`."""
        self.position = self.start + start
        self.stop = None if stop is None else self.start + stop
        return self

    async def read_ahead(self) -> None:
        """Never return, because a file need not be read before it is sent."""
        await self.loop.wait(self.arrived)

    def raw(self) -> int | None:
        """The descriptor, which is to be read from `position`."""
        return self.fd

    def failed(self, error: OSError) -> InputError:
        """The exception for an error of the file."""
        return InputError("reading stdin", reason(error))

    def unread(self) -> int:
        """Bytes left until the file's end."""
        end = os.fstat(self.fd).st_size if self.stop is None else self.stop
        return max(0, end - (self.position or 0))

    def advance(self, count: int) -> None:
        """Take note that the kernel has moved `count` bytes from `position` on."""
        self.position = (self.position or 0) + count

    def is_silent(self) -> bool:
        """False, because a file always has something to give, if only its end."""
        return False

    async def attend(self, session: Work[Any], sender: Sender) -> None:
        """Run the client's session. It is never cut off: a client with a file of its own stops no other."""
        await session

    def client_ended(self) -> None:
        """Nothing to do when the client has half-closed: it has a file to receive, which shows whether it is there."""

    def leave(self) -> None:
        """Nothing to do when the client has left."""
