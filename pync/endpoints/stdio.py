"""Our stdin and stdout as endpoints, and `Stdio`, which is both of them as one side of a conversation.

Theory: O_NONBLOCK belongs to the open file description, which pync shares with the shell and with every other process
that inherited it. So it is never set on a descriptor that was given to pync:
- A pipe, FIFO or terminal is opened again through /proc/self/fd, which makes a description of our own.
- A socket cannot be opened again, and is used with MSG_DONTWAIT.
- Anything else (another user's pipe, no /proc) is waited for and then read once, or written by at most PIPE_BUF bytes,
  which a pipe that polls writable always takes.
- Regular files and devices such as /dev/null are always ready.
"""

from __future__ import annotations

import os
import select
import stat

from pync.descriptors import reserve
from pync.endpoints import CHUNK, SHORT, Sink, Source, next_read_size
from pync.errors import InputError, OutputClosed, OutputError, reason
from pync.system import DONTWAIT, open_again, queued, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes
    from pync.loop.kernel import Loop
    from pync.relay.flow import Flow

STDIN, STDOUT = 0, 1
PIPE_SIZE = 1 << 20  # bytes that a pipe is to hold: with the usual 64 KiB the loop turns four times as often


def is_null(fd: int = STDIN) -> bool:
    """Whether the descriptor is /dev/null, as one that was closed at the start is (`descriptors.reserve`)."""
    device = os.fstat(fd)
    return stat.S_ISCHR(device.st_mode) and os.path.exists(os.devnull) and device.st_rdev == os.stat(os.devnull).st_rdev


def is_terminal(fd: int = STDIN) -> bool:
    """Whether the descriptor is our controlling terminal, where a person types. A serial line is none."""
    try:
        return os.tcgetpgrp(fd) >= 0
    except OSError:
        return False


def is_readable(fd: int = STDIN) -> bool:
    """Whether the descriptor is open for reading. The one that nohup(1) puts in a terminal's place is not."""
    from fcntl import F_GETFL, fcntl

    return fcntl(fd, F_GETFL) & os.O_ACCMODE != os.O_WRONLY


def has_reader(fd: int = STDOUT) -> bool:
    """Whether the descriptor is a pipe or a socket, which shows when no process reads it any more."""
    return stat.S_IFMT(os.fstat(fd).st_mode) in (stat.S_IFIFO, stat.S_IFSOCK)


def is_regular(fd: int) -> bool:
    """Whether the descriptor is a regular file: it has a size and a position."""
    return stat.S_ISREG(os.fstat(fd).st_mode)


class Stdio:
    """Our side of a conversation: where its bytes come from (None: it sends nothing), and where they go."""

    watched = False  # it is noticed, also while nothing is written, when no process reads stdout any more
    loops = False  # what goes to the sink may come back by the source, after any time
    sending: Flow | None = None  # the flow from the source, once there is one
    since: float | None = None  # when the session has begun, if that was before its conversation

    def __init__(self, source: Source | None, sink: Sink, *, terminal: bool = False) -> None:
        """`terminal`: the source is a terminal, which is not read any more once the peer has ended."""
        self.source = source
        self.sink = sink
        self.terminal = terminal


def _private(fd: int, flags: int) -> int:
    """A non-blocking descriptor of our own for a pipe, FIFO or terminal; otherwise `fd` itself. A pipe is grown."""
    pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
    if pipe:
        from pync.system.moving import grow

        grow(fd, PIPE_SIZE)
    if pipe or os.isatty(fd):
        try:
            return open_again(fd, flags | os.O_NONBLOCK)
        except OSError:
            pass
    return fd


def _as_socket(fd: int) -> socket.socket | None:
    return socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(os.fstat(fd).st_mode) else None


class Stdin(Source):
    """Reads a descriptor that pync was given: stdin."""

    def __init__(self, loop: Loop, fd: int = STDIN, size: int = CHUNK) -> None:
        self.loop = loop
        self.most = size
        self.size = min(SHORT, size)
        self.sock = _as_socket(fd)
        self.fd = _private(fd, os.O_RDONLY)

    async def read(self) -> bytes | None:
        """Wait for data; None at the end-of-file. Raises InputError."""
        while True:
            await self.loop.readable(self.fd)
            try:
                data = self.sock.recv(self.size, DONTWAIT) if self.sock else os.read(self.fd, self.size)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self.failed(error) from None
            self.size = next_read_size(self.size, len(data), self.most)
            return data or None

    def raw(self) -> int | None:
        """The descriptor; None for a terminal, where nothing is gained, and for a shared socket, which would block."""
        return None if self.sock or os.isatty(self.fd) else self.fd

    def failed(self, error: OSError) -> InputError:
        """The exception for an error of stdin."""
        return InputError("reading stdin", reason(error))

    def unread(self) -> int:
        """Bytes that a regular file or a pipe still holds; 0 for anything else, where that is not known."""
        if not is_regular(self.fd):
            return queued(self.fd) if stat.S_ISFIFO(os.fstat(self.fd).st_mode) else 0
        return max(0, os.fstat(self.fd).st_size - os.lseek(self.fd, 0, os.SEEK_CUR))


class Stdout(Sink):
    """Writes a descriptor that pync was given: stdout. Closing it is its end-of-file."""

    def __init__(self, loop: Loop, fd: int = STDOUT) -> None:
        self.loop = loop
        self.given = fd
        self.sock = _as_socket(fd)
        self.fd = _private(fd, os.O_WRONLY)
        # A pipe that could not be opened again is a blocking one: once it polls writable, it takes PIPE_BUF bytes.
        shared_pipe = self.fd == fd and (stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd))
        self.limit = select.PIPE_BUF if shared_pipe else None
        self.closed = False

    async def write(self, data: Bytes) -> int:
        """Write what stdout takes. Raises OutputClosed if its reader has closed it, OutputError for other failures."""
        if self.limit:
            await self.loop.writable(self.fd)
        while True:
            try:
                if self.sock is not None:
                    return self.sock.send(data, DONTWAIT)
                return os.write(self.fd, data[: self.limit])
            except BlockingIOError:
                await self.loop.writable(self.fd)
            except OSError as error:
                raise self.failed(error) from None

    async def send_eof(self) -> None:
        """Close stdout, so that its reader sees the end, and put /dev/null in its place. Raises OutputError."""
        if self.closed:
            return
        self.closed = True
        self.loop.forget(self.fd)
        self.loop.forget(self.given)
        if self.sock is not None:
            from pync.endpoints.socket_end import end

            end(self.sock)
        if self.fd != self.given:
            os.close(self.fd)
        try:
            os.close(self.given)  # a network file system reports here that the data did not fit
        except OSError as error:
            raise self.failed(error) from None
        finally:
            reserve()

    def raw(self) -> int | None:
        """The descriptor; None once it is closed, for a terminal, and for a socket or pipe that pync only shares."""
        return None if self.closed or self.sock or self.limit or os.isatty(self.fd) else self.fd

    def failed(self, error: OSError) -> OutputError:
        """The exception for an error of stdout: its reader has closed it, or it takes no more."""
        closed = isinstance(error, (BrokenPipeError, ConnectionResetError))
        return (OutputClosed if closed else OutputError)("writing stdout", reason(error))
