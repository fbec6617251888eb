"""Our stdin and stdout as halves.

Theory: O_NONBLOCK belongs to the open file description, which we share with the shell and whoever else inherited
it. So it is never set on what we were given:
- a pipe, FIFO or terminal is opened again through /proc/self/fd, which makes a description of our own;
- a socket cannot be opened again, and is used with MSG_DONTWAIT;
- whatever is left (another user's pipe, no /proc) is waited for, then read once, or written by at most PIPE_BUF
  bytes, which a pipe that polls writable always takes;
- regular files and devices such as /dev/null are always ready.
"""

from __future__ import annotations

import os
import select
import stat

from pync.descriptors import grow, reserve
from pync.endpoints import CHUNK, FEW, Half, next_read_size, queued
from pync.errors import InputError, OutputClosed, OutputError, reason
from pync.system import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop

STDIN, STDOUT = 0, 1
ROOMY = 1 << 20  # bytes that a pipe is to hold: with the usual 64 KiB there are four times as many turns of the loop


def is_null(fd: int) -> bool:
    """Whether the descriptor is /dev/null (a closed one is, after `reserve`)."""
    device = os.fstat(fd)
    return stat.S_ISCHR(device.st_mode) and os.path.exists(os.devnull) and device.st_rdev == os.stat(os.devnull).st_rdev


def is_terminal(fd: int) -> bool:
    """Whether somebody sits at the other end."""
    return os.isatty(fd)


def is_regular(fd: int) -> bool:
    """Whether the descriptor is a regular file: it has a size and a position."""
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _private(fd: int, flags: int) -> int:
    """A non-blocking descriptor of our own for a pipe, FIFO or terminal; otherwise `fd` itself. A pipe is grown."""
    pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
    if pipe:
        grow(fd, ROOMY)
    if pipe or os.isatty(fd):
        try:
            return os.open(f"/proc/self/fd/{fd}", flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            pass
    return fd


def _as_socket(fd: int) -> socket.socket | None:
    return socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(os.fstat(fd).st_mode) else None


class Stdin(Half):
    """Reads a descriptor that we were given: stdin."""

    def __init__(self, loop: Loop, fd: int = STDIN, size: int = CHUNK) -> None:
        self.loop = loop
        self.most = size
        self.size = min(FEW, size)
        self.sock = _as_socket(fd)
        self.fd = _private(fd, os.O_RDONLY)

    async def read(self) -> bytes | None:
        """What is there; None at end-of-file. Raises InputError."""
        while True:
            await self.loop.readable(self.fd)
            try:
                data = self.sock.recv(self.size, socket.MSG_DONTWAIT) if self.sock else os.read(self.fd, self.size)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.failed(error) from None
            self.size = next_read_size(self.size, len(data), self.most)
            return data or None

    def raw(self) -> int | None:
        """The descriptor; a terminal has nothing to gain, and a socket that we share cannot be told not to block."""
        return None if self.sock or os.isatty(self.fd) else self.fd

    def failed(self, error: OSError) -> InputError:
        """What an error of stdin means."""
        return InputError("reading stdin", reason(error))

    def unread(self) -> int:
        """Bytes that a regular file or a pipe still holds; 0 for all else, which cannot tell."""
        if not is_regular(self.fd):
            return queued(self.fd) if stat.S_ISFIFO(os.fstat(self.fd).st_mode) else 0
        return max(0, os.fstat(self.fd).st_size - os.lseek(self.fd, 0, os.SEEK_CUR))


class FileSource(Half):
    """Reads a regular file from a position of its own, so that many can read the same descriptor."""

    def __init__(self, loop: Loop, fd: int, position: int) -> None:
        self.loop = loop
        self.fd = fd
        self.position = position

    async def read(self) -> bytes | None:
        """The next bytes; None at the file's end. Raises InputError."""
        await self.loop.sleep(0)  # always ready: let the other clients have their turn
        try:
            data = os.pread(self.fd, CHUNK, self.position)
        except OSError as error:
            raise self.failed(error) from None
        self.position += len(data)
        return data or None

    def raw(self) -> int | None:
        """The descriptor, which is to be read from `position`."""
        return self.fd

    def failed(self, error: OSError) -> InputError:
        """What an error of the file means."""
        return InputError("reading stdin", reason(error))

    def unread(self) -> int:
        """Bytes left until the file's end."""
        return max(0, os.fstat(self.fd).st_size - self.position)


class Stdout(Half):
    """Writes a descriptor that we were given: stdout. Its end-of-file is closing it."""

    def __init__(self, loop: Loop, fd: int = STDOUT) -> None:
        self.loop = loop
        self.given = fd
        self.sock = _as_socket(fd)
        self.fd = _private(fd, os.O_WRONLY)
        # A pipe that could not be opened again blocks on more than it promised when it polled writable.
        shared_pipe = self.fd == fd and (stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd))
        self.limit = select.PIPE_BUF if shared_pipe else None
        self.closed = False

    async def write(self, data: Bytes) -> int:
        """Write what it takes. Raises OutputClosed when nobody reads any more, OutputError when it is full or fails."""
        if self.limit:
            await self.loop.writable(self.fd)
        while True:
            try:
                if self.sock is not None:
                    return self.sock.send(data, socket.MSG_DONTWAIT)
                return os.write(self.fd, data[: self.limit])
            except BlockingIOError:
                await self.loop.writable(self.fd)
            except OSError as error:
                raise self.failed(error) from None

    async def send_eof(self) -> None:
        """Close stdout, so that its reader sees the end; /dev/null keeps its place. Raises OutputError."""
        if self.closed:
            return
        self.closed = True
        self.loop.forget(self.fd)
        if self.sock is not None:
            self.sock.close()
        if self.fd != self.given:
            os.close(self.fd)
        try:
            os.close(self.given)  # a network file system tells here that the data did not fit
        except OSError as error:
            raise self.failed(error) from None
        finally:
            reserve()

    def raw(self) -> int | None:
        """The descriptor; not of a terminal, nor of a socket or a pipe that we only share."""
        return None if self.sock or self.limit or os.isatty(self.fd) else self.fd

    def failed(self, error: OSError) -> OutputError:
        """What an error of stdout means: nobody reads it any more, or it takes no more."""
        gone = isinstance(error, (BrokenPipeError, ConnectionResetError))
        return (OutputClosed if gone else OutputError)("writing stdout", reason(error))


class Discard(Half):
    """Throws away what it is given: the stdout of a conversation that only sends."""

    async def write(self, data: Bytes) -> int:
        """Take all of it."""
        return len(data)

    async def send_eof(self) -> None:
        """Nothing to end."""
