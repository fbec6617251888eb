"""What one of many connections is told: sent at once while it takes everything, queued while it does not.

Theory: the usual case is a connection that takes all of it, and costs one system call. What is left over goes into
the queue, and a task that lasts as long as there is a queue writes it.
"""

from __future__ import annotations

from pync.endpoints import FEW
from pync.endpoints.client_queues import Queue
from pync.errors import PeerLost
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes
    from pync.endpoints.client_queues import Queues
    from pync.endpoints.streams import Stream
    from pync.loop.tasks import Task


class Outbox(Queue):
    """The way to one connection, which belongs to somebody else."""

    __slots__ = ("moved", "writing")
    far: Stream

    def __init__(self, queues: Queues, far: Stream) -> None:
        super().__init__(queues, far)
        self.writing: Task | None = None  # while there is a queue
        self.moved = 0  # how often something was taken

    def put(self, data: Bytes) -> None:
        """Send it, or queue what is not taken at once."""
        if not self.pieces:
            taken = self.far.send_nowait(data)
            if taken:
                self.moved += 1
                if taken == len(data):
                    return
                data = memoryview(data)[taken:]
            self.writing = self.far.loop.spawn(self._write(), Condition())
        super().put(data)

    async def _write(self) -> None:
        """Write all that waits."""
        try:
            while self.pieces:
                self.drop(await self.far.write(self._portion()))
                self.moved += 1
        except PeerLost as error:
            self.lost(error.also_unsent(self.size))

    def _portion(self) -> Bytes:
        """What to write next: a large piece as it is, small ones joined."""
        assert self.pieces
        if len(self.pieces) == 1 or len(self.pieces[0]) >= FEW:
            return self.pieces[0]
        parts, size = [], 0
        for piece in self.pieces:
            parts.append(piece)
            size += len(piece)
            if size >= FEW:
                break
        return b"".join(parts)

    def give_up(self) -> None:
        """Others wait for it in vain."""
        unsent = self.size + self.far.unacknowledged()
        self.cut_off(
            PeerLost(f"connection to {self.far.address}", "cut off: it takes nothing, and others wait", unsent=unsent)
        )

    def lost(self, error: PeerLost) -> None:
        """The connection broke."""
        raise NotImplementedError

    def cut_off(self, error: PeerLost) -> None:
        """The connection has to be broken."""
        raise NotImplementedError
