"""The path of a unix socket that listens: it is taken over from a dead socket alone, and removed only if it is ours.

Theory. A socket is dead if nothing answers at its path. It also looks dead between its bind(2) and its listen(2). Of
two starts over one dead path, each could remove what the other one has just made. So only one start at a time is at
work on a path: it holds a lock meanwhile, which leaves nothing behind and which ends with its process.

The directory is opened once, and stays open. So what is removed is in the directory in which the socket was made, even
if a part of the path leads elsewhere by then: root must remove no file that another user has put there.
"""

from __future__ import annotations

import errno
import os
import stat

from pync.system import socket
from pync.system.files import DIRECTORY
from pync.system.starting import lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.loop.kernel import Loop

# Seconds that another start may take, and those between two looks. A start takes less than a millisecond, so after this
# time the name is held by something else, which must not keep a server from starting.
PATIENCE, LOOK = 2.0, 0.02


class UnixPath:
    """A path in a directory that is held open. Raises OSError if there is no such directory."""

    def __init__(self, path: str) -> None:
        directory, self.name = os.path.split(path)
        self.path = path
        self.directory: int | None = os.open(directory or ".", DIRECTORY)
        self.ours: tuple[int, int] | None = None  # the device and the number of our file

    def note(self) -> None:
        """Take note that the file at the path is ours."""
        self.ours = self._file()

    def lock(self) -> Callable[[], None] | None:
        """Hold the lock of the start that is at work on this path; what lets go of it, or None."""
        assert self.directory is not None
        return lock(self.directory, self.name)

    def is_dead(self, kind: int) -> bool:
        """Whether the path is a socket at which nothing answers."""
        if not stat.S_ISSOCK(os.stat(self.name, dir_fd=self.directory, follow_symlinks=False).st_mode):
            return False
        probe = socket.socket(socket.AF_UNIX, kind)
        try:
            probe.setblocking(False)
            return probe.connect_ex(self.path) == errno.ECONNREFUSED
        finally:
            probe.close()

    def unlink(self) -> None:
        """Remove the file at the path. Raises OSError."""
        os.unlink(self.name, dir_fd=self.directory)

    def leave(self) -> None:
        """Let go of the directory, and leave our file behind."""
        self.ours = None
        self.remove()

    def remove(self) -> None:
        """Remove our file, and let go of the directory. Doing it again changes nothing."""
        if self.directory is None:
            return
        if self.ours and self._file() == self.ours:
            try:
                self.unlink()
            except OSError:  # the privilege for it may have been dropped
                pass
        os.close(self.directory)
        self.directory = None

    def _file(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except OSError:
            return None
        return status.st_dev, status.st_ino


async def bind_path(
    loop: Loop, path: str, bind: Callable[[], socket.socket], kind: int
) -> tuple[socket.socket, UnixPath]:
    """What `bind` gives, which binds to the path, and the path, to be removed at the end. Raises OSError.

    `kind`: SOCK_STREAM or SOCK_DGRAM.
    """
    place = UnixPath(path)
    try:
        let_go = await _alone(loop, place)
        try:
            sock = _bind_or_take_over(place, bind, kind)
            place.note()
        finally:
            let_go()
    except BaseException:
        place.remove()
        raise
    return sock, place


def _bind_or_take_over(place: UnixPath, bind: Callable[[], socket.socket], kind: int) -> socket.socket:
    try:
        return bind()
    except OSError as error:
        try:
            if error.errno != errno.EADDRINUSE or not place.is_dead(kind):
                raise
            place.unlink()
        except FileNotFoundError:  # it was removed meanwhile
            pass
    return bind()


async def _alone(loop: Loop, place: UnixPath) -> Callable[[], None]:
    """Wait until no other start is at work on the path. None begins until the function is called that this returns."""
    until = loop.clock() + PATIENCE
    while (let_go := place.lock()) is None:
        if loop.clock() >= until:
            return lambda: None
        await loop.sleep(LOOK)
    return let_go
