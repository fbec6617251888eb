"""Moving bytes inside the kernel from a socket to a socket (`zerocopy.py` says how a mover works).

Theory: little is copied through Python, which takes two system calls as well, and so a connection on which little is
sent holds no pipe. Once a read was full there is a pipe for splice(2), until a read brings little again. Where the
system has no pipe to give, copying goes on. A module of its own, because only connections that are passed on need it.
"""

from __future__ import annotations

import os

from pync.descriptors import pipe_of_size
from pync.endpoints import SHORT
from pync.relay.zerocopy import SLICE, Mover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pync.endpoints import Sink, Source
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Work


class Tunnel(Mover):
    """From a socket to a socket. Nothing new is read while something is left here."""

    def __init__(self, loop: Loop, source: Source, sink: Sink, from_fd: int, to_fd: int) -> None:
        super().__init__(loop, source, sink, from_fd, to_fd)
        self.pipe: tuple[int, int] | tuple[()] = ()
        self.copied = b""  # what is left, if it is not in the pipe
        self.much = False

    def ready(self, repeat: Callable[[], bool]) -> Work[bool]:
        """While something is left, the sink is what has to be ready."""
        if self.left:
            return self.loop.writable(self.to_fd, repeat=lambda: not repeat() and self.left > 0)
        return super().ready(repeat)

    def step(self) -> int:
        """As for every mover; only what has reached the sink counts."""
        if not self.left:
            self._take()
        count = self._give() if self.left else 0
        if self.pipe and not (self.left or self.much):
            self.close()
        return count

    def _take(self) -> None:
        if self.much and not self.pipe:
            self.pipe = pipe_of_size(SLICE)
        try:
            if self.pipe:
                self.left = os.splice(self.from_fd, self.pipe[1], SLICE, None, None, os.SPLICE_F_NONBLOCK)
                self.begun = True
            else:
                self.copied = os.read(self.from_fd, SHORT)
                self.left = len(self.copied)
        except OSError as error:
            raise self.broken(error, self.source) from None
        self.much = self.left >= SHORT

    def _give(self) -> int:
        try:
            if self.pipe:
                count = os.splice(self.pipe[0], self.to_fd, self.left, None, None, os.SPLICE_F_NONBLOCK)
            else:
                count = os.write(self.to_fd, self.copied)
                self.copied = self.copied[count:]
        except OSError as error:
            raise self.broken(error, self.sink) from None
        self.left -= count
        return count

    def close(self) -> None:
        """Close the pipe, if there is one."""
        pipe, self.pipe = self.pipe, ()
        for end in pipe:
            os.close(end)
