"""Copies of what passes, kept in files: as it is, or as a hex dump.

Written as it happens, in the order of the reads. A log that cannot be written ends the run: whoever asked for one
wants to know.
"""

from __future__ import annotations

import os

from pync.errors import OutputError, reason
from pync.relay.hexdump import HexDump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pync.config import Logs

SENT, RECEIVED = ">", "<"


class LogFile:
    """A file that copies are written to. Raises OutputError when it cannot be opened or written."""

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


class Copy:
    """Shows each chunk to the logs and lets it pass.

    It has the form of a stage, so that it stands in the flow where the bytes are those of the network: after what
    changes them on the way out, before what changes them on the way in. It is the only one that does I/O.
    """

    def __init__(self, writers: Sequence[Callable[[bytes], None]]) -> None:
        self.writers = writers

    def feed(self, data: bytes) -> bytes:
        """Log it and return it."""
        for write in self.writers:
            write(data)
        return data

    def flush(self) -> bytes:
        """Nothing is held back."""
        return b""


class LogFiles:
    """The logs of a run. Each flow takes a copy of its own, so that each has offsets of its own."""

    def __init__(self, logs: Logs) -> None:
        self.raw = LogFile(logs.raw, append=logs.append) if logs.raw else None
        self.hexadecimal = LogFile(logs.hexadecimal, append=logs.append) if logs.hexadecimal else None

    def copy(self, mark: str) -> tuple[Copy, ...]:
        """The stage for one flow, if anything is logged: `SENT` or `RECEIVED` marks the lines of the hex dump."""
        writers: list[Callable[[bytes], None]] = []
        if self.raw:
            writers.append(self.raw.write)
        if self.hexadecimal:
            dump, file = HexDump(mark), self.hexadecimal
            writers.append(lambda data: file.write(dump.feed(data)))
        return (Copy(writers),) if writers else ()
