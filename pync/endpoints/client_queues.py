"""The queues of many who are told the same things, each at its own speed.

Theory: what is told is put into every queue, and a teller waits for `room` before the next. A queue may hold so much;
one that holds more is full. A client that is slow but moving slows the tellers down, and nobody loses anything; one
that takes nothing for two seconds while its queue is full is given up, so that it cannot stop the others. What that
means is for whoever owns the queue.

Must never copy what is put, and must cost nothing while there is nothing in it: a server has thousands of silent
clients.
"""

from __future__ import annotations

from collections import deque

from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes
    from pync.endpoints.streams import Stream
    from pync.loop.kernel import Loop

QUEUE = 1 << 20  # bytes that may wait for one client
PIECES = 1 << 14  # and in so many pieces: each takes room, however small it is
PATIENCE = 2.0  # seconds after which a client with a full queue that takes nothing is given up
LOOK = 0.25  # seconds between two looks whether it takes something


class Queues:
    """All the queues of those who are told the same."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.full: dict[Queue, None] = {}
        self.changed = Condition()  # one of the full ones is full no more

    async def room(self) -> None:
        """Wait until no queue is full; give up those that stand still."""
        while self.full:
            patience = min(queue.moved_at for queue in self.full) + PATIENCE
            await self.loop.wait(self.changed, min(patience, self.loop.clock() + LOOK))
            now = self.loop.clock()
            for queue in [*self.full]:
                if queue.moves():
                    queue.moved_at = now
                elif now >= queue.moved_at + PATIENCE:
                    self.discard(queue)
                    queue.give_up()

    def discard(self, queue: Queue) -> None:
        """Wait for this one no longer."""
        if queue in self.full:
            del self.full[queue]
            self.changed.notify()


class Queue:
    """What waits for one client, in the pieces in which it was put."""

    __slots__ = ("far", "moved_at", "pieces", "queues", "size", "unacknowledged")

    def __init__(self, queues: Queues, far: Stream | None = None) -> None:
        """`far` is asked what the client has acknowledged, where somebody else writes."""
        self.queues = queues
        self.far = far
        self.unacknowledged = 0  # bytes, when it was last looked at
        self.pieces: deque[Bytes] | None = None  # half a kilobyte: only while there is something in it
        self.size = 0
        self.moved_at = 0.0  # when something was taken, or the queue became full

    def put(self, data: Bytes) -> None:
        """Queue what was told."""
        if self.pieces is None:
            self.pieces = deque()
        self.pieces.append(data)
        self.size += len(data)
        if self._overfull() and self not in self.queues.full:
            self.queues.full[self] = None
            self.moved_at = self.queues.loop.clock()  # full from now on: patience begins

    def drop(self, count: int) -> None:
        """The client has taken so many bytes: all of the first piece, a part of it, or more than that."""
        assert self.pieces, "nothing is there to be taken"
        self.size -= count
        while len(piece := self.pieces.popleft()) < count:
            count -= len(piece)
        if len(piece) > count:
            self.pieces.appendleft(memoryview(piece)[count:])
        if not self.pieces:
            self.pieces = None
        self.moved_at = self.queues.loop.clock()
        if not self._overfull():
            self.queues.discard(self)

    def _overfull(self) -> bool:
        return self.size > QUEUE or (self.pieces is not None and len(self.pieces) > PIECES)

    def moves(self) -> bool:
        """Whether the client has acknowledged something since this was last asked.

        The kernel takes more of a slow client's data only once there is a lot of room again.
        """
        if self.far is None:
            return False
        before, self.unacknowledged = self.unacknowledged, self.far.unacknowledged()
        return self.unacknowledged < before

    def give_up(self) -> None:
        """The client has taken nothing for too long, and is waited for no longer."""
        raise NotImplementedError
