"""What a loop waits with where there is no epoll: kqueue, poll or select, made to refuse what epoll refuses.

Theory: the loop takes a refusal (PermissionError) for a descriptor that is always ready. epoll refuses files and
/dev/null. poll and select report them as ready at each turn. kqueue reports a file only up to its end, which would be
a wait for ever. A module of its own, because Linux does not need it.
"""

from __future__ import annotations

import errno
import os
import selectors
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from _typeshed import FileDescriptorLike

ALWAYS_READY = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFBLK)


def is_always_ready(fd: int) -> bool:
    """Whether reading and writing never wait for anything but a disk."""
    facts = os.fstat(fd)
    if stat.S_ISCHR(facts.st_mode):
        return os.path.exists(os.devnull) and facts.st_rdev == os.stat(os.devnull).st_rdev
    return stat.S_IFMT(facts.st_mode) in ALWAYS_READY


class Waiting(selectors.DefaultSelector):
    """The best selector that this system has."""

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a descriptor. Raises PermissionError if it is always ready."""
        if is_always_ready(fileobj if isinstance(fileobj, int) else fileobj.fileno()):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return super().register(fileobj, events, data)
