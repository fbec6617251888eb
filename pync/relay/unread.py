"""Watches whether a process still reads our stdout, so that pync ends with its reader while nothing is written to it.

Theory: the writing end of a pipe is never readable, so epoll(7) reports nothing of it but the error that it shows once
no process has the reading end (poll(2), POLLERR). This costs one registration, and no descriptor. A socket can become
readable, so it is looked at once a LOOK. Its other side has left when it is shut down in both directions. A fifo with a
name may get another reader, and has a while for it.

stdout is watched at its own number, where /dev/null is put when it is closed (`Stdout.send_eof`): a watch that is still
waiting then never ends. A module of its own, because only a pipe and a socket have a reader.
"""

from __future__ import annotations

import errno
import os
import stat

from pync.endpoints.stdio import STDIN, STDOUT, is_readable
from pync.errors import OutputClosed
from pync.loop.tasks import Condition
from pync.system import looks, queued
from pync.system.looks import is_named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Peer
    from pync.endpoints.stdio import Stdio
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Work
    from pync.relay.flow import Flow

LOOK = 0.5  # seconds between two looks at a socket
RETURN = 2.0  # seconds that a fifo has to get another reader, such as the next `cat` of a loop


async def while_read(relay: Work[None], peer: Peer, stdio: Stdio, sending: Flow) -> None:
    """Run a relay, at the longest until no process reads stdout and all of stdin is sent.

    Raises what the relay raises; OutputClosed, and before it PeerLost if all of stdin was sent and did not arrive.
    """
    try:
        await peer.loop.first(relay, unread(peer.loop, stdio, sending))
    except OutputClosed:
        if sending.ended:
            if peer.unacknowledged():
                await peer.linger()
            await peer.shutdown()
        raise


async def unread(loop: Loop, stdio: Stdio, sending: Flow) -> None:
    """Wait until no process reads stdout and all of stdin is sent, and raise OutputClosed."""
    await reader_left(loop)
    while stdio.source and not sending.ended:
        await loop.wait(sending.progress)
    raise output_closed()


def output_closed() -> OutputClosed:
    """The error of a write to a stdout that no process reads."""
    return OutputClosed("writing stdout", os.strerror(errno.EPIPE))


async def reader_left(loop: Loop) -> None:
    """Wait until no process reads our stdout; for ever if it is closed before, or if we have the reading end, too.

    One task at a time can wait for this.
    """
    if stat.S_ISSOCK(os.fstat(STDOUT).st_mode):
        while not looks.hangs_up(STDOUT):
            await loop.sleep(LOOK)
    elif is_readable(STDOUT):
        await loop.wait(Condition())
    else:
        await loop.readable(STDOUT)
        while is_named(STDOUT):
            await loop.sleep(RETURN)
            if looks.hangs_up(STDOUT):
                return
            if not stat.S_ISFIFO(os.fstat(STDOUT).st_mode):  # it was closed meanwhile
                await loop.wait(Condition())
            await loop.readable(STDOUT)


def is_loop() -> bool:
    """Whether what we write may come back: stdin and stdout are pipes, and one is a named FIFO (fifo(7))."""
    both = (STDIN, STDOUT)
    return all(stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in both) and any(is_named(fd) for fd in both)


def has_ended(fd: int) -> bool:
    """Whether a stdin that nothing reads yet has nothing to give, and never will."""
    kind = stat.S_IFMT(os.fstat(fd).st_mode)
    if kind in (stat.S_IFIFO, stat.S_IFSOCK):
        return looks.has_ended(fd) and not queued(fd)
    return kind == stat.S_IFREG and os.fstat(fd).st_size <= os.lseek(fd, 0, os.SEEK_CUR)
