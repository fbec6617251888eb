"""Pipes for `zerocopy.Tunnel`, which does without one where there is none left.

Theory: a pipe makes copying faster, and takes two descriptors of a server that may need them for a client. So a server
says how many there may be at a time. A module of its own, because only a run that connects two sockets needs it.
"""

from __future__ import annotations

import os

from pync.system.moving import grow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.loop.kernel import Loop

    Pipe = tuple[int, int] | tuple[()]

UNLIMITED = 1 << 30


class SparePipes:
    """The pipes of a loop's tunnels. `left` is how many more there may be."""

    def __init__(self, loop: Loop) -> None:
        self.left = UNLIMITED

    def take(self, size: int) -> Pipe:
        """A pipe that holds at least `size` bytes; an empty tuple if there is none."""
        if not self.left:
            return ()
        try:
            pipe = os.pipe()
        except OSError:
            return ()
        self.left -= 1
        if grow(pipe[1], size) >= size:
            return pipe
        self.give_back(pipe)
        return ()

    def give_back(self, pipe: Pipe) -> None:
        """Close a pipe."""
        for end in pipe:
            os.close(end)
        self.left += bool(pipe)
