"""The kernel's fast path: sendfile(2) and splice(2) for a flow of which both ends have a descriptor.

Theory. `mover_between` looks at the two descriptors and returns a mover, or None. A mover's `step` makes a few system
calls: it moves what it can and returns how many bytes. Only a `Tunnel` that carries little copies bytes to Python.
`move` drives a mover as the flow drives its copying loop: with the same waiting, order, counts and ends.
- A regular file is sent by sendfile(2), in slices, so that other tasks have their turn.
- A pipe and a socket are spliced directly. The size of the pipe decides the speed, so it is grown, never shrunk.
- From a socket to a file or a device, bytes pass through a pipe of our own.
- From a socket to a socket, few bytes are copied, and many pass through a pipe of our own.
The kernel refuses some ends (a file opened to append, /dev/full, files of /proc) with EINVAL, and it does so before
the first byte: `step` then raises `Unsuitable`, and the copying loop takes over from there.

splice(2) fails with EAGAIN and does not report which side is not ready. The source was just seen readable, so `move`
waits for room in the sink, and then for the source again, in case another process has emptied it.
"""

from __future__ import annotations

import errno
import os
import stat

from pync.endpoints import SHORT
from pync.system import moving
from pync.system.moving import grow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.endpoints import Sink, Source
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Work
    from pync.relay.flow import Flow
    from pync.relay.spare_pipes import Pipe

SLICE = 1 << 20  # bytes that one call moves at most, and the size of the pipes
KERNEL_REFUSES = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
UNREADABLE = (errno.EBADF, errno.EIO)  # errors of a file or device that cannot be read


class Unsuitable(Exception):
    """The kernel does not move bytes between these two ends, and the call that failed has moved none."""


async def move(flow: Flow) -> bool:
    """Have the kernel move everything from the flow's source to its sink; False if the rest has to be copied."""
    mover = mover_between(flow.loop, flow.source, flow.sink)
    if mover is None:
        return False
    flow.mover = mover
    try:
        while not flow.ended:
            flow.waiting_since = flow.loop.clock()
            await mover.ready(lambda: _advance(flow, mover))
            flow.waiting_since = None
            if not flow.ended:
                await mover.room()
    except Unsuitable:
        return False
    finally:
        flow.waiting_since = None
        mover.close()
    return True


def _advance(flow: Flow, mover: Mover) -> bool:
    """Move what is there. False if the sink has to be waited for, or the source has ended."""
    try:
        count = mover.step()
    except BlockingIOError:
        return False
    if not count:
        flow.ended = True
        return False
    flow.moved += count
    flow.waiting_since = flow.count_read()
    flow.progress.notify()
    return not mover.left


def mover_between(loop: Loop, source: Source, sink: Sink) -> Mover | None:
    """A mover from source to sink, or None where the kernel cannot move the bytes."""
    from_fd, to_fd = source.raw(), sink.raw()
    if from_fd is None or to_fd is None:
        return None
    mover = _mover(stat.S_IFMT(os.fstat(from_fd).st_mode), stat.S_IFMT(os.fstat(to_fd).st_mode))
    try:
        return mover(loop, source, sink, from_fd, to_fd) if mover else None
    except OSError:  # no descriptor is left for a pipe, and copying needs none
        return None


def _mover(from_kind: int, to_kind: int) -> type[Mover] | None:
    match from_kind, to_kind:
        case stat.S_IFREG, stat.S_IFSOCK:
            return SendFile if moving.can_send_files() else None
        case _ if not moving.can_splice():
            return None
        case (stat.S_IFIFO, stat.S_IFSOCK) | (stat.S_IFSOCK, stat.S_IFIFO):
            return Splice
        case stat.S_IFSOCK, stat.S_IFREG | stat.S_IFCHR:
            return Pipeline
        case stat.S_IFSOCK, stat.S_IFSOCK:
            return Tunnel
    return None


class Mover:
    """Moves bytes from a source to a sink whose descriptors the kernel can connect."""

    def __init__(self, loop: Loop, source: Source, sink: Sink, from_fd: int, to_fd: int) -> None:
        self.loop = loop
        self.source = source
        self.sink = sink
        self.from_fd = from_fd
        self.to_fd = to_fd
        self.into_socket = stat.S_ISSOCK(os.fstat(to_fd).st_mode)
        self.begun = False
        self.left = 0  # bytes that were taken from the source and have not reached the sink

    def ready(self, repeat: Callable[[], bool]) -> Work[bool]:
        """Call `repeat` each time the source has data, an end or an error, until it returns False."""
        return self.loop.readable(self.from_fd, repeat=repeat)

    def room(self) -> Work[bool]:
        """Wait until the sink takes something, or has an error."""
        return self.loop.writable(self.to_fd)

    def step(self) -> int:
        """Move some bytes and return how many, 0 at the end-of-file.

        Raises BlockingIOError when an end is not ready, Unsuitable, or the failure of an end.
        """
        try:
            count = self.move()
        except OSError as error:
            raise self.failure_for(error, self.sink if self.into_socket else self.source) from None
        self.begun = True
        return count

    def move(self) -> int:
        """Make the system call, and return how many bytes it moved. Raises OSError."""
        raise NotImplementedError

    def failure_for(self, error: OSError, end: Source | Sink) -> Exception:
        """The exception for an error: the error itself if an end is not ready, Unsuitable, or the failure of `end`.

        Unsuitable leaves the rest to the copying loop, so no byte may be left here. It is for ends that the kernel
        refuses, a source that cannot be read, and a pipe without a reader: at the source's end that is no failure.
        """
        if isinstance(error, BlockingIOError):
            return error
        unread_pipe = error.errno == errno.EPIPE and not self.into_socket
        refused = error.errno in KERNEL_REFUSES and not self.begun
        if not self.left and (unread_pipe or refused or error.errno in UNREADABLE):
            return Unsuitable()
        return end.failed(error)

    def close(self) -> None:
        """Close what the mover itself has opened."""


class SendFile(Mover):
    """From a regular file to a socket. The file is read at its descriptor's position, or at the source's own."""

    def ready(self, repeat: Callable[[], bool]) -> Work[bool]:
        """A file is always ready. Waiting for the socket instead gives the other tasks their turn."""
        return self.loop.writable(self.to_fd, repeat=repeat)

    def move(self) -> int:
        """Call sendfile(2)."""
        most, stop = SLICE, self.source.stop
        if stop is not None:
            most = min(most, max(0, stop - (self.source.position or 0)))
        count = moving.send_file(self.to_fd, self.from_fd, self.source.position, most)
        self.source.advance(count)
        return count


class Splice(Mover):
    """Between a pipe and a socket."""

    def __init__(self, loop: Loop, source: Source, sink: Sink, from_fd: int, to_fd: int) -> None:
        super().__init__(loop, source, sink, from_fd, to_fd)
        grow(from_fd if self.into_socket else to_fd, SLICE)

    def move(self) -> int:
        """Call splice(2)."""
        return moving.splice(self.from_fd, self.to_fd, SLICE)


class Pipeline(Mover):
    """From a socket to a file or a device, through a pipe of our own."""

    def __init__(self, loop: Loop, source: Source, sink: Sink, from_fd: int, to_fd: int) -> None:
        super().__init__(loop, source, sink, from_fd, to_fd)
        self.out, self.into = os.pipe()
        grow(self.into, SLICE)

    def room(self) -> Work[bool]:
        """Wait for the source instead: it was not ready, because files and devices always have room."""
        return self.loop.readable(self.from_fd)

    def step(self) -> int:
        """Move bytes as every mover does. At first an empty pipe is spliced, to find out whether the sink allows it."""
        if not self.begun:
            try:
                moving.splice(self.out, self.to_fd, SLICE)
            except OSError as error:
                if isinstance(refusal := self.failure_for(error, self.sink), Unsuitable):
                    raise refusal from None
        return super().step()

    def move(self) -> int:
        """Fill our pipe from the socket, and empty it into the sink."""
        count = left = moving.splice(self.from_fd, self.into, SLICE)
        while left:
            try:
                left -= moving.splice_all(self.out, self.to_fd, left)
            except OSError as error:
                raise self.sink.failed(error) from None
        return count

    def close(self) -> None:
        """Close our pipe."""
        os.close(self.out)
        os.close(self.into)


class Tunnel(Mover):
    """From a socket to a socket. Nothing new is read while some bytes are left here.

    Few bytes are copied by read(2) and write(2), which is two system calls, as splice(2) would take: so a connection
    on which little is sent holds no pipe. After a full read there is a pipe for splice(2), until a read brings little
    again. Where the system gives no pipe, copying goes on.
    """

    def __init__(self, loop: Loop, source: Source, sink: Sink, from_fd: int, to_fd: int) -> None:
        super().__init__(loop, source, sink, from_fd, to_fd)
        from pync.relay.spare_pipes import SparePipes

        self.pipes = loop.shared(SparePipes)
        self.pipe: Pipe = ()
        self.copied = b""  # what is left, if it is not in the pipe
        self.much = False

    def ready(self, repeat: Callable[[], bool]) -> Work[bool]:
        """Call `repeat` each time the source is ready, or the sink while some bytes are left."""
        if self.left:
            return self.loop.writable(self.to_fd, repeat=lambda: not repeat() and self.left > 0)
        return super().ready(repeat)

    def step(self) -> int:
        """Move bytes as every mover does. Only those that have reached the sink count."""
        if not self.left:
            self._take()
        count = self._give() if self.left else 0
        if self.pipe and not (self.left or self.much):
            self.close()
        return count

    def _take(self) -> None:
        if self.much and not self.pipe:
            self.pipe = self.pipes.take(SLICE)
        try:
            if self.pipe:
                self.left = moving.splice(self.from_fd, self.pipe[1], SLICE)
                self.begun = True
            else:
                self.copied = os.read(self.from_fd, SHORT)
                self.left = len(self.copied)
        except OSError as error:
            raise self.failure_for(error, self.source) from None
        self.much = self.left >= SHORT

    def _give(self) -> int:
        try:
            if self.pipe:
                count = moving.splice(self.pipe[0], self.to_fd, self.left)
            else:
                count = os.write(self.to_fd, self.copied)
                self.copied = self.copied[count:]
        except OSError as error:
            raise self.failure_for(error, self.sink) from None
        self.left -= count
        return count

    def close(self) -> None:
        """Close our pipe, if there is one."""
        pipe, self.pipe = self.pipe, ()
        self.pipes.give_back(pipe)
