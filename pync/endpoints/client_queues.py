"""Queues for many clients that are sent the same bytes, each at its own speed.

Theory: what is sent to all is put into the queue of each client, and the sender waits for `room` before it puts more.
A queue that holds more than its limit is full. A client that is slow but takes something slows the senders down, and
no byte is dropped. But it cannot stop the others: senders wait no longer for the queue of a client that takes nothing
for STALL seconds while its queue is full, or that needs more than PATIENCE seconds in which its queue is full to take
as much as was in it at their beginning. Such a client is stalled. A subclass decides in `stalled` what happens to it.

The time in which a queue is not full does not count, because then no sender waits. What a client takes is measured by
what it acknowledges: the kernel takes more for a slow client only in large steps.

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
PATIENCE = 30.0  # seconds with a full queue in which a client has to take as much as the queue held
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
            deadline = min(queue.deadline() for queue in self.full)
            await self.loop.wait(self.changed, min(deadline, self.loop.clock() + LOOK))
            for queue in [*self.full]:
                if why := queue.hindrance(self.loop.clock()):
                    self.discard(queue)
                    queue.stalled(why)

    def discard(self, queue: Queue) -> None:
        """Have `room` wait for this queue no longer."""
        if queue in self.full:
            del self.full[queue]
            queue.patience -= self.loop.clock() - queue.full_at
            self.changed.notify()


class Queue:
    """The pieces that wait for one client."""

    __slots__ = ("full_at", "moved_at", "owed", "patience", "peer", "pieces", "queues", "size", "unacknowledged")

    def __init__(self, queues: Queues, peer: Peer) -> None:
        """`peer` is the client, which is asked how much it has acknowledged."""
        self.queues = queues
        self.peer = peer
        self.unacknowledged = 0  # bytes that were not acknowledged at the last look, and what was taken since then
        self.pieces: deque[Bytes] | None = None  # a deque takes half a kilobyte, so there is one only when needed
        self.size = 0
        self.moved_at = 0.0  # when the client last took something, or the queue became full
        self.full_at = 0.0  # when the queue last became full, or `owed` was set while it was
        self.owed = 0  # bytes that the client has to acknowledge within `patience` seconds of a full queue
        self.patience = PATIENCE

    def put(self, data: Bytes) -> None:
        """Add a piece."""
        if self.pieces is None:
            self.pieces = deque()
        self.pieces.append(data)
        self.size += len(data)
        if self._overfull() and self not in self.queues.full:
            self.queues.full[self] = None
            self.moves()  # what the client has taken until now is not taken within these seconds
            self.moved_at = self.full_at = self.queues.loop.clock()
            if self.owed <= 0:
                self._demand()

    def drop(self, count: int) -> None:
        """Remove the `count` bytes that the client has taken: a part of the first piece, all of it, or more."""
        assert self.pieces, "nothing is there to be taken"
        self.size -= count
        self.unacknowledged += count
        while len(piece := self.pieces.popleft()) < count:
            count -= len(piece)
        if len(piece) > count:
            self.pieces.appendleft(memoryview(piece)[count:])
        if not self.pieces:
            self.pieces = None
            self.owed = 0
        self.moved_at = self.queues.loop.clock()
        if not self._overfull():
            self.queues.discard(self)

    def _overfull(self) -> bool:
        return self.size > QUEUE_BYTES or (self.pieces is not None and len(self.pieces) > QUEUE_PIECES)

    def _demand(self) -> None:
        """Have the client take as much as its queue holds now, within PATIENCE seconds."""
        self.owed, self.patience, self.full_at = self.size, PATIENCE, self.queues.loop.clock()

    def deadline(self) -> float:
        """The moment at which the full queue is to be looked at again."""
        return min(self.moved_at + STALL, self.full_at + self.patience)

    def hindrance(self, now: float) -> str:
        """Why senders shall not wait for this full queue any longer; "" if they shall."""
        if self.moves():
            self.moved_at = now
        if self.owed <= 0:
            self._demand()
        if now >= self.moved_at + STALL:
            return "it takes nothing, and others wait"
        return "it is too slow, and others wait" if now >= self.full_at + self.patience else ""

    def moves(self) -> bool:
        """Whether the client has acknowledged something since the last call."""
        before, self.unacknowledged = self.unacknowledged, self.peer.unacknowledged()
        if self.owed > 0:
            # The difference may be negative: a source's reader takes a piece from here before the kernel has all of it.
            self.owed -= before - self.unacknowledged
        return self.unacknowledged < before

    def cut_off(self, why: str, waiting: int) -> PeerLost:
        """The error that ends the client's session. `waiting` bytes, and those in the kernel, do not reach it."""
        what = f"connection to {self.peer.address}"
        return PeerLost(what, f"cut off: {why}", unsent=waiting + self.peer.unacknowledged())

    def stalled(self, why: str) -> None:
        """Called when senders wait for the client no longer, and its queue was discarded; `why` is the reason."""
        raise NotImplementedError


class Outbox(Queue):
    """A queue that also writes to its client."""

    __slots__ = ("sent", "writes", "writing")

    def __init__(self, queues: Queues, peer: Peer) -> None:
        super().__init__(queues, peer)
        self.writing: Task | None = None  # the task that writes, or the last one that did
        self.writes = 0  # the number of writes that sent something
        self.sent = 0  # bytes

    def put(self, data: Bytes) -> None:
        """Send the data, and queue what the connection does not take at once."""
        if not self.pieces:
            taken = self.peer.send_nowait(data)
            if taken:
                self.writes += 1
                self.sent += taken
                self.unacknowledged += taken
                if taken == len(data):
                    return
                data = memoryview(data)[taken:]
            self.writing = self.peer.loop.spawn(self._write(), Condition())
        super().put(data)

    async def _write(self) -> None:
        """Write until the queue is empty."""
        try:
            while self.pieces:
                taken = await self._write_some()
                self.sent += taken
                self.drop(taken)
                self.writes += 1
        except Exception as error:  # a bug, too: it ends the client's session, and is reported there
            self.write_failed(error.also_unsent(self.size) if isinstance(error, PeerLost) else error)

    async def _write_some(self) -> int:
        """Write what is next. While a client takes nothing, no bytes are joined and kept for it alone (TLS copies)."""
        plain = self.peer.raw()
        if plain is None:
            return await self.peer.write(self._portion())
        await self.peer.loop.writable(plain)
        assert self.pieces
        return self.peer.send_nowait(self._portion()) or await self.peer.write(self.pieces[0])

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

    def write_failed(self, error: Exception) -> None:
        """Called when writing to the client has failed."""
        raise NotImplementedError
