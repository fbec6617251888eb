"""A stdin that is our controlling terminal: it is read only while this process is in the foreground (termios(3)).

Theory: a terminal has one process group in its foreground. The shell moves its jobs there and away again (`&`, Ctrl-Z,
`bg`, `fg`), and no process is notified of that. The kernel stops every process of another group that reads the terminal
(SIGTTIN); where that signal is ignored, the read fails with EIO. So it is ignored here, and while another group is in
the foreground nothing is read and the terminal is looked at once a LOOK. In the background an event of the terminal
ends only one wait: what is typed there for other processes costs nothing.

A module of its own, because a script's stdin is no terminal.
"""

from __future__ import annotations

import os

from pync.endpoints import Source
from pync.endpoints.stdio import STDIN
from pync.errors import InputError
from pync.system import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.loop.kernel import Loop

LOOK = 0.5  # seconds between two looks whether this process is in the foreground again


class Terminal(Source):
    """Reads a stdin that is our controlling terminal."""

    def __init__(self, loop: Loop, source: Source, fd: int = STDIN) -> None:
        """`source` reads `fd`, the terminal."""
        self.loop = loop
        self.source = source
        self.fd = fd
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)

    async def read(self) -> bytes | None:
        """Wait for data, and for the foreground; None at the end-of-file. Raises InputError."""
        while True:
            while self._in_background():
                await self.loop.sleep(LOOK)
            try:
                return await self.source.read()
            except InputError:  # it may be in the background since then
                if not self._in_background():
                    raise

    def _in_background(self) -> bool:
        try:
            return os.tcgetpgrp(self.fd) != os.getpgrp()
        except OSError:  # the terminal has hung up, which reading finds out
            return False
