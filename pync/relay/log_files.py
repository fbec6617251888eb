"""Log files: copies of the bytes that pass, as they are or as a hex dump in the format of nc.traditional's `-o`.

They are written as the bytes pass, in the order of the reads. A log that cannot be written ends the run, because the
user has asked for it. A line of the dump is

    > 00000000 66 72 6f 6d 20 63 6c 69 65 6e 74 0a             # from client.

that is: a mark for the direction (`>` sent, `<` received), the offset of the line's first byte in that direction,
sixteen cells of hexadecimal, and from column 59 `# ` and the bytes in ASCII. Each read or write begins a new line.
"""

from __future__ import annotations

import os

from pync.errors import OutputError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pync.config import Logs

SENT, RECEIVED = ">", "<"
_WIDTH = 16
_ASCII = bytes(byte if 32 <= byte <= 126 else ord(".") for byte in range(256))


class LogFile:
    """A file to which copies are written. Raises OutputError when it cannot be opened or written."""

    def __init__(self, path: str, *, append: bool) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_APPEND if append else os.O_TRUNC)
        try:
            self.fd = os.open(path, flags, 0o666)
        except OSError as error:
            raise OutputError(f"opening {path}", reason(error)) from None

    def write(self, data: bytes) -> None:
        """Append all of `data`."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self.fd, rest) :]
        except OSError as error:
            raise OutputError(f"writing {self.path}", reason(error)) from None


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
    """Makes the lines of the dump for one direction."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._offset = 0

    def feed(self, data: bytes) -> bytes:
        """The lines for one read or write; none if it is empty."""
        lines = [self._line(data[at : at + _WIDTH], self._offset + at) for at in range(0, len(data), _WIDTH)]
        self._offset += len(data)
        return "".join(lines).encode()

    def flush(self) -> bytes:
        """Nothing, because every line is complete."""
        return b""

    def _line(self, part: bytes, offset: int) -> str:
        # From 4 GiB on the offset is wider than its column, which is better than to start at 0 again.
        return f"{self._mark} {offset:08x} {part.hex(' '):<{3 * _WIDTH}}# {part.translate(_ASCII).decode()}\n"


class LogFiles:
    """The logs of a run. Each flow has a `LogStage` stage of its own, and mostly offsets of its own."""

    def __init__(self, logs: Logs, *, runs_on: bool = False) -> None:
        """`runs_on`: the offsets of all flows of a direction run on from each to the next."""
        self.raw = LogFile(logs.raw, append=logs.append) if logs.raw else None
        self.hexadecimal = LogFile(logs.hexadecimal, append=logs.append) if logs.hexadecimal else None
        self.dumps = {mark: HexDump(mark) for mark in (SENT, RECEIVED)} if runs_on else {}

    def copy(self, mark: str) -> tuple[LogStage, ...]:
        """The stage for one flow, if anything is logged. `mark` is SENT or RECEIVED, for the lines of the hex dump."""
        writers: list[Callable[[bytes], None]] = []
        if self.raw:
            writers.append(self.raw.write)
        if self.hexadecimal:
            dump, file = self.dumps.get(mark) or HexDump(mark), self.hexadecimal
            writers.append(lambda data: file.write(dump.feed(data)))
        return (LogStage(writers),) if writers else ()
