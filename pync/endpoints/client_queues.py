"""Queues for many clients that are sent the same bytes, each at its own speed.

Theory: what is sent to all is put into the queue of each client, and the sender waits for `room` before it puts more.
A queue that holds more than its limit is full. A client that is slow but takes something slows the senders down, and
no byte is dropped. A client that takes nothing for STALL seconds while its queue is full is stalled: senders do not
wait for its queue any longer, so it cannot stop the others. A subclass decides in `stalled` what else happens to it.

An `Outbox` is a queue that also writes. Usually the connection takes a piece at once, in one system call. What it does
not take goes into the queue, and a task writes it until the queue is empty.

`put` must never copy a piece. An empty queue must cost next to nothing: a server has thousands of silent clients.
"""

from __future__ import annotations

from collections import deque

from pync.endpoints import SHORT
from pync.errors import PeerLost
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes, Peer
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Task

QUEUE_BYTES = 1 << 20  # bytes that may wait for one client
QUEUE_PIECES = 1 << 14  # pieces that may wait for one client: each takes memory, however small it is
STALL = 2.0  # seconds after which a client with a full queue that takes nothing is stalled
LOOK = 0.25  # seconds between two checks of what the clients have taken


class Queues:
    """The queues that are filled with the same bytes, one for each client."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.full: dict[Queue, None] = {}
        self.changed = Condition()  # notified when a queue leaves `full`

    async def room(self) -> None:
        """Wait until no queue is full. A queue whose client is stalled is discarded."""
        while self.full:
            deadline = min(queue.moved_at for queue in self.full) + STALL
            await self.loop.wait(self.changed, min(deadline, self.loop.clock() + LOOK))
            now = self.loop.clock()
            for queue in [*self.full]:
                if queue.moves():
                    queue.moved_at = now
                elif now >= queue.moved_at + STALL:
                    self.discard(queue)
                    queue.stalled()

    def discard(self, queue: Queue) -> None:
        """Have `room` wait for this queue no longer."""
        if queue in self.full:
            del self.full[queue]
            self.changed.notify()


class Queue:
    """The pieces that wait for one client."""

    __slots__ = ("moved_at", "peer", "pieces", "queues", "size", "unacknowledged")

    def __init__(self, queues: Queues, peer: Peer) -> None:
        """`peer` is the client, which is asked how much it has acknowledged."""
        self.queues = queues
        self.peer = peer
        self.unacknowledged = 0  # bytes, at the last call of `moves`
        self.pieces: deque[Bytes] | None = None  # a deque takes half a kilobyte, so there is one only when needed
        self.size = 0
        self.moved_at = 0.0  # when the client last took something, or the queue became full

    def put(self, data: Bytes) -> None:
        """Add a piece."""
        if self.pieces is None:
            self.pieces = deque()
        self.pieces.append(data)
        self.size += len(data)
        if self._overfull() and self not in self.queues.full:
            self.queues.full[self] = None
            self.moved_at = self.queues.loop.clock()  # the STALL seconds begin now

    def drop(self, count: int) -> None:
        """Remove the `count` bytes that the client has taken: a part of the first piece, all of it, or more."""
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
        return self.size > QUEUE_BYTES or (self.pieces is not None and len(self.pieces) > QUEUE_PIECES)

    def moves(self) -> bool:
        """Whether the client has acknowledged something since the last call.

        Writing would not show it, because the kernel takes more for a slow client only once there is much room.
        """
        before, self.unacknowledged = self.unacknowledged, self.peer.unacknowledged()
        return self.unacknowledged < before

    def stall_error(self, unsent: int) -> PeerLost:
        """The error with which a stalled client is cut off; `unsent` bytes do not reach it."""
        what = f"connection to {self.peer.address}"
        return PeerLost(what, "cut off: it takes nothing, and others wait", unsent=unsent)

    def stalled(self) -> None:
        """Called when the client has taken nothing for too long, and its queue was discarded."""
        raise NotImplementedError


class Outbox(Queue):
    """A queue that also writes to its client."""

    __slots__ = ("writes", "writing")

    def __init__(self, queues: Queues, peer: Peer) -> None:
        super().__init__(queues, peer)
        self.writing: Task | None = None  # the task that writes, or the last one that did
        self.writes = 0  # the number of writes that sent something

    def put(self, data: Bytes) -> None:
        """Send the data, and queue what the connection does not take at once."""
        if not self.pieces:
            taken = self.peer.send_nowait(data)
            if taken:
                self.writes += 1
                if taken == len(data):
                    return
                data = memoryview(data)[taken:]
            self.writing = self.peer.loop.spawn(self._write(), Condition())
        super().put(data)

    async def _write(self) -> None:
        """Write until the queue is empty."""
        try:
            while self.pieces:
                self.drop(await self.peer.write(self._portion()))
                self.writes += 1
        except PeerLost as error:
            self.write_failed(error.also_unsent(self.size))

    def _portion(self) -> Bytes:
        """What to write next: a large piece as it is, or small pieces joined."""
        assert self.pieces
        if len(self.pieces) == 1 or len(self.pieces[0]) >= SHORT:
            return self.pieces[0]
        parts, size = [], 0
        for piece in self.pieces:
            parts.append(piece)
            size += len(piece)
            if size >= SHORT:
                break
        return b"".join(parts)

    def write_failed(self, error: PeerLost) -> None:
        """Called when writing to the client has failed."""
        raise NotImplementedError
