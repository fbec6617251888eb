"""A lock for the moment of a start: it leaves nothing behind, and ends with its process.

Linux has a namespace of sockets for that. Elsewhere the directory itself is locked: then two starts wait for each other
also where their paths differ. A module of its own, because only a listener with a unix path needs it.
"""

from __future__ import annotations

import os

from pync.system import LINUX, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def lock(directory: int, name: str) -> Callable[[], None] | None:
    """Hold what one process at a time can hold for a path; what lets go of it, or None if another process has it."""
    return _by_name(directory, name) if LINUX else _by_directory(directory)


def _by_name(directory: int, name: str) -> Callable[[], None] | None:
    status = os.fstat(directory)
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind(b"\0pync starts at %d:%d " % (status.st_dev, status.st_ino) + os.fsencode(name)[:40])
    except OSError:
        holder.close()
        return None
    return holder.close


def _by_directory(directory: int) -> Callable[[], None] | None:
    import fcntl

    fd = os.open(".", os.O_RDONLY, dir_fd=directory)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return lambda: os.close(fd)
