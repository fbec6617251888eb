"""A mailbox: datagrams that have come for a session and wait to be read, in the pieces in which the kernel gave them.

Theory: a piece (`segments.py`) is cut only when one datagram of it is asked for. A reader that needs no boundaries gets
all that waits, and nothing is cut. The box only counts: `datagram_server.py`, which fills it, sets the limits.
"""

from __future__ import annotations

from collections import deque

from pync.endpoints.segments import cut
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.loop.kernel import Loop

DATAGRAM_OVERHEAD = 64  # bytes added for each datagram in the count, so that the number of empty ones is bounded, too


def cost(piece: bytes, size: int) -> int:
    """What a piece counts in a mailbox: its bytes, and something for each of its datagrams of `size` bytes."""
    return len(piece) + DATAGRAM_OVERHEAD * (-(-len(piece) // size) if size < len(piece) else 1)


class Mailbox:
    """Datagrams that have come and were not read yet, in the pieces in which the kernel gave them."""

    __slots__ = ("arrived", "closed", "first", "loop", "pieces", "size", "sizes")

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.first: list[bytes] = []  # the datagrams of the first piece, in reverse order, once it was cut
        self.pieces: deque[bytes] = deque()
        self.sizes: deque[int] = deque()  # for each piece, that of its datagrams
        self.size = 0
        self.arrived = Condition()
        self.closed = False

    def put(self, piece: bytes, size: int, counted: int) -> None:
        """Add a piece of datagrams of `size` bytes, and what it counts (`cost`)."""
        if not self.pieces:
            self.arrived.notify()
        self.pieces.append(piece)
        self.sizes.append(size)
        self.size += counted

    async def wait(self) -> bool:
        """Wait for a datagram; False once the box is closed and empty."""
        while not (self.first or self.pieces or self.closed):
            await self.loop.wait(self.arrived)
        return bool(self.first or self.pieces)

    def take(self) -> bytes:
        """The next datagram."""
        if not self.first:
            self.first = cut(self.pieces.popleft(), self.sizes.popleft())[::-1]
        data = self.first.pop()
        self.size -= cost(data, len(data))
        return data

    def take_all(self) -> bytes:
        """All datagrams that wait, joined."""
        self.pieces.extendleft(self.first)
        data = b"".join(self.pieces)
        self.first.clear()
        self.pieces.clear()
        self.sizes.clear()
        self.size = 0
        return data
