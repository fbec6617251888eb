"""Terminals as people have them: one that controls a process, and an interactive shell with its jobs on it.

`terminal` gives the keyboard of a terminal and the descriptor for a process. A process that is started with
`controlled()` has it as its controlling terminal; without, it is a terminal like a serial line.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING

import pytest
from harness import DEADLINE, Running, require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO, Any


@contextlib.contextmanager
def terminal(*, raw: bool = False) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A pseudo-terminal without echo: what a user types goes into the first, the second is for the process.

    `raw`: no byte has a meaning, as on a serial line.
    """
    master, slave = pty.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[3] &= ~termios.ECHO
    if raw:
        attributes[1] &= ~termios.OPOST
        attributes[3] &= ~(termios.ICANON | termios.ISIG)
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    with os.fdopen(master, "r+b", 0) as keyboard, os.fdopen(slave, "r+b", 0) as screen:
        yield keyboard, screen


def controlled() -> dict[str, Any]:
    """Keywords for `Running`: its stdin, a terminal, becomes the controlling terminal of a session of its own."""
    return {"start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}


def resize(terminal: IO[bytes], rows: int, columns: int) -> None:
    """Give the window another size; the processes in the foreground get a SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Shell:
    """What runs on a terminal for a user, such as an interactive bash."""

    def __init__(self, keyboard: IO[bytes], process: Running) -> None:
        self.keyboard = keyboard
        self._shown = ""
        self.process = process

    def type(self, text: str) -> None:
        """Type something, at once."""
        self.keyboard.write(text.encode())

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until the terminal shows this, after all that was waited for before."""
        until = time.monotonic() + DEADLINE
        while not (found := re.search(pattern, self._shown)):
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.keyboard], [], [], left)[0]:
                pytest.fail(f"the terminal does not show {pattern!r} after {DEADLINE} s, but {self._shown!r}")
            self._shown += os.read(self.keyboard.fileno(), 1 << 16).decode(errors="replace")
        self._shown = self._shown[found.end() :]
        return found


@contextlib.contextmanager
def interactive_shell(folder: Path) -> Iterator[Shell]:
    """A shell with job control on a terminal of its own, in a folder."""
    words = [require("bash"), "--norc", "--noprofile", "--noediting", "-i"]
    environment = {**os.environ, "PS1": "ready> ", "HISTFILE": "/dev/null"}
    with terminal() as (keyboard, screen):
        popen: dict[str, Any] = {"stdin": screen, "stdout": screen, "stderr": screen, "cwd": folder, "env": environment}
        with Running(words, **popen, **controlled()) as process:
            shell = Shell(keyboard, process)
            shell.expect("ready> ")
            try:
                yield shell
            finally:
                process.signal(signal.SIGHUP)  # it ignores SIGTERM, as an interactive shell does
