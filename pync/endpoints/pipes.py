"""The two ends of a program that we hold: its stdin is a sink, its stdout a source (`child.py` starts it).

Theory: closing the sink is the half-close. What a program does not read, because it has closed its stdin or is gone,
is dropped: that is its right. The end of its output is end-of-file on a pipe, EIO on a pseudo-terminal.
"""

from __future__ import annotations

import os

from pync.endpoints import CHUNK, FEW, Half, next_read_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop

TERMINAL = 4095  # bytes that reading a terminal gives at most (n_tty.c)
PIECES = 15  # of them that are taken before they are passed on


class End(Half):
    """One end, while it is open; None is one that the program does not share with us."""

    def __init__(self, loop: Loop, fd: int | None) -> None:
        self.loop = loop
        self.fd = fd

    def raw(self) -> int | None:
        """The descriptor."""
        return self.fd

    def close(self) -> None:
        """Give the descriptor back. Doing it again changes nothing."""
        fd, self.fd = self.fd, None
        if fd is not None:
            self.loop.forget(fd)
            os.close(fd)


class Input(End):
    """What the program reads."""

    async def write(self, data: Bytes) -> int:
        """Write to the program's stdin; what it will not read is dropped."""
        while self.fd is not None:
            try:
                return os.write(self.fd, data)
            except BlockingIOError:
                await self.loop.writable(self.fd)
            except OSError:
                break
        return len(data)

    async def send_eof(self) -> None:
        """Close the program's stdin."""
        self.close()


class Output(End):
    """What the program writes."""

    def __init__(self, loop: Loop, fd: int | None, most: int = CHUNK) -> None:
        """`most`: bytes that one read gives at most."""
        super().__init__(loop, fd)
        self.most = most
        self.size = min(FEW, most)

    async def read(self) -> bytes | None:
        """What the program wrote; None when its output has ended."""
        while self.fd is not None:
            await self.loop.readable(self.fd)
            try:
                data = os.read(self.fd, self.size)
            except BlockingIOError:
                continue
            except OSError:  # EIO: nobody has the pseudo-terminal open any more
                break
            self.size = next_read_size(self.size, len(data), self.most)
            return self._and_more(self.fd, data) if len(data) == TERMINAL else data or None
        return None

    def raw(self) -> int | None:
        """The descriptor of a pipe: a terminal gives too little at a time, and another end."""
        return None if self.fd is None or os.isatty(self.fd) else self.fd

    def _and_more(self, fd: int, data: bytes) -> bytes:
        """What else is there already: a terminal gives no more than a small piece at a time."""
        pieces = [data]
        try:
            while len(pieces) < PIECES and len(pieces[-1]) == TERMINAL:
                pieces.append(os.read(fd, TERMINAL))
        except OSError:  # nothing, or the end: the next read finds it again
            pass
        return b"".join(pieces)
