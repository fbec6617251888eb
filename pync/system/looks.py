"""What a descriptor shows at this moment: whether its other side has ended or broken, and whether it takes more.

Theory: poll(2) reports hang-ups and errors, and leaves an error where it is, for the process that reads it. Only Linux
and FreeBSD report the end of one direction (POLLRDHUP); elsewhere a look at the next byte shows it. Without poll,
select(2) and such looks have to do: then an error that is found is not there any more for others.
"""

from __future__ import annotations

import errno
import os
import select
import stat

from pync.system import DONTWAIT, queued, socket

ERROR, HANGUP, INVALID = 0x8, 0x10, 0x20  # POLLERR, POLLHUP, POLLNVAL: the same numbers on every system
RDHUP: int = getattr(select, "POLLRDHUP", 0) if hasattr(select, "poll") else 0


def new_epoll() -> select.epoll | None:
    """An epoll; None if the system has none. Raises OSError."""
    return select.epoll() if hasattr(select, "epoll") else None


def is_over(fd: int) -> bool:
    """Whether both directions have ended, or there is an error, or the descriptor is closed."""
    return _events(fd) & (ERROR | HANGUP | INVALID) != 0


def is_broken(fd: int) -> bool:
    """Whether there is an error."""
    return _events(fd) & ERROR != 0


def hangs_up(fd: int) -> bool:
    """Whether the other side of a pipe or a socket has left."""
    return _events(fd) & (ERROR | HANGUP) != 0


def has_ended(fd: int) -> bool:
    """Whether the other side of a pipe or a socket sends nothing more, although there may be something to read."""
    return _events(fd, RDHUP) != 0 or (not RDHUP and _is_at_end(fd))


def is_readable(fd: int) -> bool:
    """Whether a read would not wait, because there are bytes, an end or an error."""
    return bool(select.select([fd], [], [], 0)[0])


def takes_more(fd: int, seconds: float | None) -> bool:
    """Wait until a descriptor takes more, or has an error; False if `seconds` were too few."""
    if not hasattr(select, "poll"):
        return bool(select.select([], [fd], [], seconds)[1])
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def is_named(pipe: int) -> bool:
    """Whether a pipe has a path, by which another process may open it: then it is not on the device of all others."""
    try:
        ends = os.pipe()
    except OSError:  # no descriptor is left to find out
        return False
    try:
        return os.fstat(ends[0]).st_dev != os.fstat(pipe).st_dev
    finally:
        for end in ends:
            os.close(end)


def _events(fd: int, asked: int = 0) -> int:
    if not hasattr(select, "poll"):
        return _events_without_poll(fd)
    poll = select.poll()
    poll.register(fd, asked)
    return sum(events for _, events in poll.poll(0))


def _events_without_poll(fd: int) -> int:
    try:
        kind = os.fstat(fd).st_mode
        readable = bool(select.select([fd], [], [], 0)[0])
    except OSError:
        return INVALID
    if stat.S_ISSOCK(kind):
        return _events_of_socket(fd)
    # The writing end of a pipe is readable once there is an error. The reading end is at its end, too.
    return ERROR | HANGUP if stat.S_ISFIFO(kind) and readable and not queued(fd) else 0


def _events_of_socket(fd: int) -> int:
    sock = socket.socket(fileno=os.dup(fd))
    try:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return ERROR | HANGUP
        sock.send(b"")
        return 0
    except OSError as error:  # our own direction has ended
        return HANGUP if error.errno == errno.EPIPE and _is_at_end(fd) else 0
    finally:
        sock.close()


def _is_at_end(fd: int) -> bool:
    """Whether the next thing to be read from a stream socket is the end, or an error."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode) or not select.select([fd], [], [], 0)[0]:
        return False
    sock = socket.socket(fileno=os.dup(fd))
    try:
        return sock.type == socket.SOCK_STREAM and not sock.recv(1, socket.MSG_PEEK | DONTWAIT)
    except OSError as error:
        return not isinstance(error, BlockingIOError)
    finally:
        sock.close()
