"""stderr, which is written without ever holding up the run.

Theory: stderr may take nothing: a pager that waits for its user, a terminal after Ctrl-S, a collector of logs that is
stuck. What it does not take at once waits in a queue, and a thread writes that when there is room again. What does not
fit into the queue is counted, and one line reports the number. The first attempt is the caller's own, so that on a
terminal the lines stay in order with stdout. O_NONBLOCK belongs to the open file description, which other processes
share. So it is never set on stderr itself: see `endpoints/stdio.py`.
"""

from __future__ import annotations

import os
import select
import stat
import time
from _thread import allocate_lock, start_new_thread

from pync.system import DONTWAIT, open_again, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STDERR = 2
QUEUE = 1 << 16  # bytes that wait at most, as many as a pipe holds
PATIENCE = 1.0  # seconds without any progress after which the end of a run waits no longer
PAUSE = 0.01  # seconds until the next attempt where a descriptor seems ready and takes nothing, as a terminal may


class Stderr:
    """Writes whole messages to a descriptor that pync was given."""

    def __init__(self, fd: int = STDERR) -> None:
        self.lossless = False  # the messages are the result of the run: each waits until it is taken
        self._lock = allocate_lock()  # for the attributes that follow, and for the descriptor
        self._queue = bytearray()
        self.missed = 0  # messages for which there was no room, since the last line that reported them
        self.notice = _missed  # makes that line of their number
        self.line_end: Callable[[], bytes] | None = None  # what a terminal that may be in raw mode needs now
        self.draining = False
        self._drawn = 0  # characters of a line that is to make room for the next message
        self.sock, self.fd, self._shared = _as_socket(fd), *_private(fd)

    def draw(self, line: bytes) -> None:
        """Show a line that the next message or line takes the place of; nothing while something waits in the queue."""
        with self._lock:
            if not self._queue:
                self._put(b"\r" + line.ljust(self._drawn))
                self._drawn = len(line)

    @property
    def waiting(self) -> int:
        """The bytes in the queue."""
        return len(self._queue)

    def write(self, message: bytes) -> None:
        """Write the message, now or when there is room. A stderr that is closed or full is no error."""
        with self._lock:
            message = self._ended(message)
            if self._drawn:
                message = b"\r" + b" " * self._drawn + b"\r" + message
                self._drawn = 0
            self._put(message)

    def _ended(self, message: bytes) -> bytes:
        return message.replace(b"\n", self.line_end()) if self.line_end else message

    def _put(self, message: bytes) -> None:
        if not self._queue:
            message = message[self._take(message) :]
            self._queue += message
        elif self.lossless or len(self._queue) + len(message) <= QUEUE:
            self._queue += message
        else:
            self.missed += 1
        if self._queue and not self.draining:
            self._start_draining()

    def finish(self, *, wait: bool) -> None:
        """Write what is in the queue, and wait for its reader if it goes on reading, or if the run must be lossless."""
        self._drain((None if self.lossless else PATIENCE) if wait else 0.0)

    def _start_draining(self) -> None:
        try:
            start_new_thread(self._drain, (None,))
            self.draining = True
        except RuntimeError:  # no thread can be started: the next message or the end tries again
            pass

    def _drain(self, patience: float | None) -> None:
        idle = 0.0
        while self._queue and self._poll(patience):
            with self._lock:
                taken = self._take(self._queue)
                del self._queue[:taken]
                if not self._queue and self.missed:
                    self._queue += self._ended(self.notice(self.missed))
                    self.missed = 0
                elif not self._queue:
                    self.draining = False
                    return
            idle = 0.0 if taken else idle + PAUSE
            if patience is not None and idle > patience:
                return
            if not taken:
                time.sleep(PAUSE)

    def _poll(self, seconds: float | None) -> bool:
        from pync.system.looks import takes_more  # most runs write to a stderr that takes every line

        return takes_more(self.fd, seconds)

    def _take(self, data: bytes | bytearray) -> int:
        """How many bytes are written now. All are if that fails: there is no other place to report it."""
        try:
            if self.sock:
                return self.sock.send(data, DONTWAIT)
            if not self._shared:
                return os.write(self.fd, data)
            return os.write(self.fd, data[: select.PIPE_BUF]) if self._poll(0) else 0
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)


def _missed(count: int) -> bytes:
    return b"pync: %d message%s not shown\n" % (count, b" was" if count == 1 else b"s were")


def _as_socket(fd: int) -> socket.socket | None:
    try:
        return socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(os.fstat(fd).st_mode) else None
    except OSError:
        return None


def _private(fd: int) -> tuple[int, bool]:
    """A non-blocking descriptor of our own for a pipe or terminal; otherwise `fd`, and whether it may block."""
    try:
        if not (stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd)):
            return fd, False
        return open_again(fd, os.O_WRONLY | os.O_NONBLOCK), False
    except OSError:
        return fd, True


STANDARD = Stderr()
