"""What becomes of bytes and lines when they travel as datagrams: each piece, or each line, is one (`--lines`).

Theory: a read of a file or a pipe ends anywhere, but a datagram should not. `Pieces` bounds the size and is enough
where one read is one datagram. `Lines` gives one line at a time, and holds the beginning of a line back until its end
has come. In the other direction `LineEnds` writes each datagram as a line. A line that is longer than a datagram may
be is sent in several; never is the newline alone the last of them.
"""

from __future__ import annotations

from pync.endpoints import Sink, Source, write_all
from pync.endpoints.segments import LARGEST, DatagramStdin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.config import Config
    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop


def most_bytes(config: Config) -> int:
    """Bytes of stdin that go into one datagram, at most. The stages of -C and -t may make two bytes of one."""
    most = config.datagram_size or LARGEST
    return max(1, most // 2) if config.crlf or config.telnet else most


def open_datagram_stdin(loop: Loop, config: Config) -> DatagramStdin:
    """Our stdin, of which each read becomes a datagram. Lines are cut out of larger reads."""
    return DatagramStdin(loop, LARGEST if config.lines else most_bytes(config))


def as_datagrams(config: Config, source: Source) -> Source:
    """The source of a flow of datagrams: each read of it is one. For a client's stdin the size of its reads does."""
    if config.lines or config.pace:
        return Lines(source, most_bytes(config))
    if config.keep_open or config.program:
        return Pieces(source, most_bytes(config))
    return source


class Pieces(Source):
    """Gives what the source gives, in pieces of at most `size` bytes."""

    def __init__(self, source: Source, size: int) -> None:
        self.source = source
        self.size = size
        self.pieces: list[bytes] = []  # those that wait, in reverse order

    async def read(self) -> bytes | None:
        """The next piece; None at the end. Raises what the source raises."""
        while not self.pieces:
            data = await self.source.read()
            self.pieces = (self.tail() if data is None else self.split(data))[::-1]
            if data is None and not self.pieces:
                return None
        return self.pieces.pop()

    def read_nowait(self) -> bytes | None:
        """One more piece that is there already; None if there is none."""
        return self.pieces.pop() if self.pieces else None

    def split(self, data: bytes) -> list[bytes]:
        """The pieces that can be given once this was read."""
        return [data[start : start + self.size] for start in range(0, len(data), self.size)] or [data]

    def tail(self) -> list[bytes]:
        """The pieces that are left at the end-of-file."""
        return []

    def unread(self) -> int:
        """Bytes known to be left: the pieces that wait, and those of the source."""
        return sum(map(len, self.pieces)) + self.source.unread()


class Lines(Pieces):
    """Gives one line at a time, with its newline, or in pieces if it has more than `size` bytes."""

    def __init__(self, source: Source, size: int) -> None:
        super().__init__(source, size)
        self.begun = b""  # the beginning of a line, at most `size` bytes of it

    def split(self, data: bytes) -> list[bytes]:
        """The lines that have ended, and of a longer one the pieces that can have no newline."""
        *whole, begun = (self.begun + data).split(b"\n")
        pieces = [piece for line in whole for piece in self._pieces(line + b"\n")]
        *cut, self.begun = self._pieces(begun)
        return pieces + cut

    def tail(self) -> list[bytes]:
        """The last line, if it has no newline."""
        begun, self.begun = self.begun, b""
        return [begun] if begun else []

    def _pieces(self, line: bytes) -> list[bytes]:
        pieces = []
        while len(line) > self.size:
            # Of "1234\n" and a size of 4 the pieces are "123" and "4\n".
            alone = line[self.size :] == b"\n" and self.size > 1
            pieces.append(line[: self.size - alone])
            line = line[self.size - alone :]
        return [*pieces, line]

    def unread(self) -> int:
        """Bytes known to be left: the line that has begun, too."""
        return len(self.begun) + super().unread()


class LineEnds(Sink):
    """Writes each datagram as a line: one that does not end with a newline gets it."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    async def write(self, data: Bytes) -> int:
        """Write a datagram, whole. Raises what the sink raises."""
        await write_all(self.sink, data if data[-1:] == b"\n" else bytes(data) + b"\n")
        return len(data)

    async def send_eof(self) -> None:
        """Pass the end-of-file on."""
        await self.sink.send_eof()
