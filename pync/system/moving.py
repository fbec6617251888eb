"""Bytes that the kernel moves by itself, from one descriptor to another, and the sizes of the pipes for that.

A module of its own, because the forms of these calls differ from system to system, and some have none.
"""

from __future__ import annotations

import os

from pync.system import LINUX


def can_splice() -> bool:
    """Whether the system moves bytes between a pipe and anything else."""
    return hasattr(os, "splice")


def can_send_files() -> bool:
    """Whether the system sends a file to a socket."""
    return hasattr(os, "sendfile")


def splice(from_fd: int, to_fd: int, most: int) -> int:
    """Move at most so many bytes without waiting; one of the two is a pipe. Returns how many. Raises OSError."""
    return os.splice(from_fd, to_fd, most, None, None, os.SPLICE_F_NONBLOCK)


def splice_all(from_fd: int, to_fd: int, most: int) -> int:
    """As `splice`, but wait for the end that is not ready."""
    return os.splice(from_fd, to_fd, most)


def send_file(to_socket: int, file: int, position: int | None, most: int) -> int:
    """Send at most so many bytes of a file from a position, or from that of its descriptor, which moves on then.

    Returns how many. Raises OSError.
    """
    if LINUX:
        return os.sendfile(to_socket, file, position, most)
    if not most:  # to macOS and FreeBSD, 0 means up to the end
        return 0
    start = os.lseek(file, 0, os.SEEK_CUR) if position is None else position
    count = os.sendfile(to_socket, file, start, most)
    if position is None:
        os.lseek(file, start + count, os.SEEK_SET)
    return count


def grow(pipe: int, size: int) -> int:
    """Let the pipe hold `size` bytes if it is smaller, and return how many it holds then; 0 if that is not known.

    All pipes of a user may hold 64 MiB together. Pipes that are opened then are small and cannot grow (pipe(7)).
    """
    import fcntl

    held = 0
    try:
        held = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
        return held if held >= size else fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)
    except (AttributeError, OSError):  # the user's share is used up, or there is no such call
        return held
