"""Logs by name: a file for each session, in whose name its peer, the time of its start or its number stands.

Theory: a peer chooses the path of its own socket, and other users may be able to write where the logs are. So what
comes from a peer is never a directory, nor a part of a path that leads up. Only a regular file that has no other name
is opened. If a log fails, its session ends with a reset, and no other session does (`LogError`).

Sessions with equal names write into one file. The first of a run begins the file anew, and the later ones append to it.
Otherwise the second connection of a client would erase the log of the first. For this the names of a run are
remembered, MOST of them; once there are so many, every file is appended to. A name with `%n` comes once, and is not
remembered.
"""

from __future__ import annotations

import errno
import os
import stat

from pync.errors import PyncError, reason
from pync.relay.log_files import LogFile, LogFiles
from pync.wall_time import compact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.config import Config, LogName
    from pync.endpoints import Peer
    from pync.events import Address

MOST = 1 << 16
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
KEPT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:_-@%")


class LogError(PyncError):
    """The log of one session cannot be opened or written."""


def facts(peer: Address, moment: int, number: int) -> dict[str, str]:
    """What the letters in a name stand for, in a session that begins at `moment` (nanoseconds since 1970)."""
    host = "".join(letter if letter in KEPT else "_" for letter in peer.host) or "unix"
    host = "_" + host[1:] if host.startswith(".") else host
    return {"a": host, "p": str(peer.port or 0), "t": compact(moment), "n": str(number)}


def spelled_out(name: LogName, facts: dict[str, str]) -> str:
    """The path of a session's log."""
    return "".join(facts[part] if at % 2 else part for at, part in enumerate(name))


class OwnFile(LogFile):
    """The log of one session, or of several sessions with equal names."""

    failure = LogError
    users = 0  # sessions that have it open

    def _open(self, *, append: bool) -> int:
        try:
            fd = os.open(self.path, FLAGS, 0o666)
        except OSError:
            if os.path.islink(self.path):  # the system's word for this is about a loop of links
                raise _unfit("it is a symbolic link") from None
            raise
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise _unfit("it is no regular file")
            if status.st_nlink != 1:
                raise _unfit("the file has another name, too")
            if not append:
                os.ftruncate(fd, 0)
        except BaseException:
            os.close(fd)
            raise
        return fd


def _unfit(why: str) -> OSError:
    return OSError(errno.EINVAL, why)


class LogsByName(LogFiles):
    """The logs of a run: those of its sessions, and as its own files those that all sessions share."""

    def __init__(self, config: Config, shared: LogFiles, now: Callable[[], int]) -> None:
        """`now` returns the time of the wall clock. Raises LogError if the directory of the logs is missing."""
        super().__init__(shared.raw, shared.hexadecimal, shared.stamp)
        logs = config.logs
        self._names = [name if isinstance(name, tuple) else None for name in (logs.raw, logs.hexadecimal)]
        self.descriptors = sum(name is not None for name in self._names)
        self._append = logs.append
        self._now = now
        self._own: dict[Peer, LogFiles] = {}
        self._open: dict[str, OwnFile] = {}
        self._begun: set[str] = set()  # names of files that were begun anew, and may be opened again
        self._number = 0  # sessions so far
        for name in filter(None, self._names):
            _check_directory(name, writable=config.user is None)

    def of(self, peer: Peer) -> LogFiles:
        """The logs of a session, and those that all sessions share."""
        own = self.own(peer)
        return LogFiles(self.raw or own.raw, self.hexadecimal or own.hexadecimal, self.stamp)

    def own(self, peer: Peer) -> LogFiles:
        """The logs of a session that has begun."""
        return self._own[peer]

    def begin(self, peer: Peer) -> None:
        """Open the files of a session. Raises LogError; the peer sees its connection break then."""
        self._number += 1
        meaning = facts(peer.address, self._now(), self._number)
        files: list[OwnFile | None] = []
        try:
            for name in self._names:
                files.append(self._opened(name, meaning) if name else None)
        except BaseException:
            self._leave(*files)
            peer.abort()
            raise
        self._own[peer] = LogFiles(files[0], files[1], self.stamp)

    def end(self, peer: Peer) -> None:
        """Close the files of a session that has begun, unless another session has them open."""
        own = self._own.pop(peer)
        self._leave(own.raw, own.hexadecimal)

    def _opened(self, name: LogName, meaning: dict[str, str]) -> OwnFile:
        path = spelled_out(name, meaning)
        if path not in self._open:
            append = self._append or path in self._begun or len(self._begun) >= MOST
            self._open[path] = OwnFile(path, append=append)
            if not append and "n" not in name[1::2]:
                self._begun.add(path)
        self._open[path].users += 1
        return self._open[path]

    def _leave(self, *files: LogFile | None) -> None:
        for file in files:
            assert file is None or isinstance(file, OwnFile)
            if file:
                file.users -= 1
                if not file.users:
                    del self._open[file.path]
                    os.close(file.fd)


class LogsInTurn(LogsByName):
    """The logs of a run that connects: its sessions follow each other, and each begins when its flows are made."""

    def __init__(self, config: Config, shared: LogFiles, now: Callable[[], int]) -> None:
        super().__init__(config, shared, now)
        self._goes_on = bool(config.reconnect)  # the connections are parts of one conversation

    def own(self, peer: Peer) -> LogFiles:
        """The logs of the session with this peer. Raises LogError."""
        if peer not in self._own and not (self._goes_on and self._own):
            for former in [*self._own]:
                self.end(former)
            self.begin(peer)
        return next(iter(self._own.values()))


def logs_by_name(config: Config, shared: LogFiles, now: Callable[[], int]) -> LogFiles:
    """The logs for a config that has names for them, beside the `shared` ones. Raises LogError."""
    return (LogsByName if config.mode == "listen" else LogsInTurn)(config, shared, now)


def _check_directory(name: LogName, *, writable: bool) -> None:
    """Find out now what would be wrong for every session. Raises LogError."""
    if any("/" in part for part in name[2::2]):  # each session may have its own directory
        return
    directory = os.path.dirname(name[0]) or "."
    try:
        if not stat.S_ISDIR(os.stat(directory).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if writable and not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise LogError(f"directory {directory} for logs", reason(error)) from None
