"""Descriptors and files as Linux shows them in /proc, and what other systems have instead."""

from __future__ import annotations

import errno
import os

from pync.system import LINUX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OWN = "/proc/self/fd"
LISTING = OWN if LINUX else "/dev/fd"
# To hold a directory open. Only Linux can do so where it may not be read.
DIRECTORY: int = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
PATH = 1024  # bytes that F_GETPATH gives
MOST = 1 << 16  # descriptors that are tried one by one


def name_of(fd: int) -> str | None:
    """The name of a file that is open; None where the system does not give it."""
    import fcntl

    try:
        if command := getattr(fcntl, "F_GETPATH", None):  # of macOS
            return os.fsdecode(fcntl.fcntl(fd, command, bytes(PATH)).rstrip(b"\0"))
        return os.readlink(f"{OWN}/{fd}")
    except OSError:
        return None


def open_descriptors() -> list[int]:
    """The descriptors of this process, with that of a listing. Raises OSError where they cannot be listed.

    Without its own file system, /dev/fd of FreeBSD has 0, 1 and 2 and no more (fdescfs(5)).
    """
    if not LINUX and os.stat(LISTING).st_dev == os.stat("/dev").st_dev:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return [int(name) for name in os.listdir(LISTING)]


def possible_descriptors() -> list[int] | range:
    """The descriptors of this process, or if they cannot be listed all that it may have."""
    try:
        return open_descriptors()
    except OSError:
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return range(MOST if most < 0 else min(most, MOST))


def load_from_memory(data: bytes, load: Callable[[str], object]) -> None:
    """Call `load` with a path that leads to `data` meanwhile. It is in memory only where the system can do that."""
    try:
        with open(os.memfd_create("data"), "wb", buffering=0) as file:
            file.write(data)
            load(f"{OWN}/{file.fileno()}")
    except (AttributeError, OSError):  # there is no such call here, or no /proc
        from tempfile import NamedTemporaryFile

        # No other user may read this file, and it is removed at once.
        with NamedTemporaryFile(buffering=0) as named:
            named.write(data)
            load(named.name)
