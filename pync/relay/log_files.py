"""Log files: copies of the bytes that pass, as they are or as a hex dump in the format of nc.traditional's `-o`.

They are written as the bytes pass, in the order of the reads. A log that cannot be written ends the run, because the
user has asked for it; one of a single session ends that session (`client_logs.py`). A line of the dump is

    > 00000000 66 72 6f 6d 20 63 6c 69 65 6e 74 0a             # from client.

that is: a mark for the direction (`>` sent, `<` received), the offset of the line's first byte in that direction,
sixteen cells of hexadecimal, and from column 59 `# ` and the bytes in ASCII. Each read or write begins a new line.
With time stamps a line in front of each read or write says when it was: `# 2026-11-29T04:21:57.123456Z`.
"""

from __future__ import annotations

import os

from pync.errors import OutputError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pync.endpoints import Peer
    from pync.errors import PyncError

SENT, RECEIVED = ">", "<"
_WIDTH = 16
_ASCII = bytes(byte if 32 <= byte <= 126 else ord(".") for byte in range(256))


class LogFile:
    """A file to which copies are written. Raises its `failure` when it cannot be opened or written."""

    failure: type[PyncError] = OutputError

    def __init__(self, path: str, *, append: bool) -> None:
        self.path = path
        try:
            self.fd = self._open(append=append)
        except OSError as error:
            raise self.failure(f"opening {path}", reason(error)) from None

    def _open(self, *, append: bool) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_APPEND if append else os.O_TRUNC)
        return os.open(self.path, flags, 0o666)

    def write(self, data: bytes) -> None:
        """Append all of `data`."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self.fd, rest) :]
        except OSError as error:
            raise self.failure(f"writing {self.path}", reason(error)) from None


class LogStage:
    """A stage that writes each chunk to the logs and passes it on unchanged.

    It stands in the flow where the bytes are those of the network: after the stages that change what is sent, before
    those that change what is received. It is the only stage that does I/O.
    """

    def __init__(self, writers: Sequence[Callable[[bytes], None]]) -> None:
        self.writers = writers

    def feed(self, data: bytes) -> bytes:
        """Log the data and return it."""
        for write in self.writers:
            write(data)
        return data

    def flush(self) -> bytes:
        """Nothing, because nothing is held back."""
        return b""


class HexDump:
    """Makes the lines of the dump for one direction. `stamp` returns the text of the present moment."""

    def __init__(self, mark: str, stamp: Callable[[], str] | None = None) -> None:
        self._mark = mark
        self._stamp = stamp
        self._offset = 0

    def feed(self, data: bytes) -> bytes:
        """The lines for one read or write; none if it is empty."""
        lines = [self._line(data[at : at + _WIDTH], self._offset + at) for at in range(0, len(data), _WIDTH)]
        if lines and self._stamp:
            lines.insert(0, f"# {self._stamp()}\n")
        self._offset += len(data)
        return "".join(lines).encode()

    def flush(self) -> bytes:
        """Nothing, because every line is complete."""
        return b""

    def _line(self, part: bytes, offset: int) -> str:
        # From 4 GiB on the offset is wider than its column, which is better than to start at 0 again.
        return f"{self._mark} {offset:08x} {part.hex(' '):<{3 * _WIDTH}}# {part.translate(_ASCII).decode()}\n"


class LogFiles:
    """Some logs. Each flow has a `LogStage` stage of its own, and mostly offsets of its own."""

    descriptors = 0  # files that each session has for itself

    def __init__(
        self,
        raw: LogFile | None = None,
        hexadecimal: LogFile | None = None,
        stamp: Callable[[], str] | None = None,
        *,
        runs_on: bool = False,
    ) -> None:
        """`runs_on`: the offsets of all flows of a direction run on from each to the next."""
        self.raw = raw
        self.hexadecimal = hexadecimal
        self.stamp = stamp
        self.dumps = {mark: HexDump(mark, stamp) for mark in (SENT, RECEIVED)} if runs_on else {}

    def of(self, peer: Peer) -> LogFiles:
        """All logs of the session with this peer. Raises as `LogFile` if they are opened now."""
        return self

    def own(self, peer: Peer) -> LogFiles:
        """Those of them that are by the session's own name (`client_logs.py`)."""
        return LogFiles()

    def copy(self, mark: str) -> tuple[LogStage, ...]:
        """The stage for one flow, if anything is logged. `mark` is SENT or RECEIVED, for the lines of the hex dump."""
        writers: list[Callable[[bytes], None]] = []
        if self.raw:
            writers.append(self.raw.write)
        if self.hexadecimal:
            dump, file = self.dumps.get(mark) or HexDump(mark, self.stamp), self.hexadecimal
            writers.append(lambda data: file.write(dump.feed(data)))
        return (LogStage(writers),) if writers else ()
