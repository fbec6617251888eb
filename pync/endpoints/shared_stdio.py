"""stdin and stdout for a server whose clients share them: each client gets a source and a sink of its own.

Theory. A file or block device is read by each client for itself, from where it stood at the start. Any other stdin is
read once, while a client is there to receive it, and each chunk goes to all clients that are connected then, through a
queue for each (`client_queues.py`): a slow client slows the reading down, and a client that takes nothing is cut off.

On stdout the lines of different clients are not mixed: while there are several, the unfinished last line of a read is
held until its end comes, it is too long, or its client or all other clients have left.
"""

from __future__ import annotations

import sys

from pync.endpoints import Sink, Source, write_all
from pync.endpoints.client_queues import Queue, Queues
from pync.endpoints.file_source import FileSource, extent
from pync.endpoints.half_closed import HalfClosed
from pync.endpoints.stdio import STDIN
from pync.endpoints.wrappers import Attended, Chain
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from pync.endpoints import Bytes, Peer
    from pync.loop.kernel import Loop
    from pync.loop.tasks import Work
    from pync.relay.flow import Flow

    class Sender(Protocol):
        """What a session has its flow to the client in, once there is one."""

        sending: Flow | None


HELD_LINE = 1 << 16  # bytes of an unfinished line that are held back, at most
HELD_LINES = 1 << 24  # bytes of those of all clients together: each has an equal share of them


class SharedStdin:
    """Gives each client a source of its own."""

    def __init__(self, loop: Loop, stdin: Source, most: int = sys.maxsize) -> None:
        """With `most` clients the server is full."""
        self.loop = loop
        place = extent(STDIN)
        self.start = place[0] if place else None
        self.readers: dict[Reader, None] = {}
        self.queues = Queues(loop)
        self.half_closed = HalfClosed(self.readers, most)
        self.joined = Condition()
        self.stdin = Attended(loop, stdin, self.readers, self.joined)
        self.given = False  # some of it went to the clients
        self.ended = False

    def join(self, client: Peer) -> FileSource | Reader:
        """A source for a new client."""
        if self.start is not None:
            return FileSource(self.loop, STDIN, self.start)
        reader = Reader(self, client)
        self.readers[reader] = None
        self.half_closed.make_room()
        self.joined.notify()
        return reader

    def leave(self, reader: Reader) -> None:
        """Drop the reader of a client that has left."""
        self.readers.pop(reader, None)
        self.queues.discard(reader)
        self.half_closed.discard(reader)

    def is_over(self) -> bool:
        """Whether there is nothing left for a client that comes now, although there was something for others."""
        return self.ended and self.given

    async def run(self) -> None:
        """Read stdin for all clients until its end; nothing to do for a file. Raises InputError."""
        while self.start is None:
            data = await self.stdin.read()
            if data is None:
                break
            self.give(data)
            await self.queues.room()
        self.finish()

    def give(self, data: bytes) -> None:
        """Put a chunk into the queue of each client."""
        self.given = True
        self.half_closed.sent_to_all()
        for reader in self.readers:
            reader.put(data)

    def finish(self) -> None:
        """Take note that stdin has ended, and wake the clients that wait for more."""
        self.ended = True
        for reader in self.readers:
            reader.arrived.notify()


class Reader(Queue, Source):
    """One client's view of a stdin that all share."""

    __slots__ = ("_stalled", "_why", "arrived", "shared")

    def __init__(self, shared: SharedStdin, client: Peer) -> None:
        super().__init__(shared.queues, client)
        self.shared = shared
        self.arrived = Condition()
        self._why = ""  # the reason why its session shall end, if there is one
        self._stalled: Condition | None = None  # made on demand: a silent client has no use for it

    async def attend(self, session: Work[Any], sender: Sender) -> None:
        """Run the client's session, in which `sender` has the flow. Raises PeerLost when the client is stalled."""
        await self.shared.loop.first(session, self._wait_for_stall(sender))

    async def _wait_for_stall(self, sender: Sender) -> None:
        if self._stalled is None:
            self._stalled = Condition()
        while not self._why:
            await self.shared.loop.wait(self._stalled)
        raise self.cut_off(self._why, sender.sending.unsent() if sender.sending else self.size)

    def stalled(self, why: str) -> None:
        """Give the client nothing more, and end its session."""
        self.shared.readers.pop(self, None)
        self._why = why
        if self._stalled:
            self._stalled.notify()

    def put(self, data: Bytes) -> None:
        """Queue a chunk for the client, and wake its flow."""
        super().put(data)
        self.arrived.notify()

    def is_silent(self) -> bool:
        """Whether there is nothing for this client now, not even the end-of-file."""
        return not (self.shared.ended or self.pieces)

    async def read(self) -> bytes | None:
        """The next chunk; None when stdin has ended."""
        while not self.pieces:
            if self.shared.ended:
                return None
            await self.shared.loop.wait(self.arrived)
        data = bytes(self.pieces[0])  # bytes of bytes are the same object: nothing is copied
        self.drop(len(data))
        return data

    async def begin(self) -> tuple[bytes, bool]:
        """The first chunk, and whether that is all. Raises nothing: an error of stdin is that of all clients."""
        data = await self.read()
        return data or b"", data is None

    def length(self) -> int | None:
        """None, because it is not known how much will come."""
        return None

    def rest(self, first: bytes, start: int, stop: int | None) -> Source:
        """A source of all of it, once `begin` has returned `first`."""
        return Chain([first], self)

    async def read_ahead(self) -> None:
        """Never return, because what comes is for this moment."""
        await self.shared.loop.wait(Condition())

    def unread(self) -> int:
        """Bytes that wait for this client."""
        return self.size

    def client_ended(self) -> None:
        """Take note that the client has half-closed, and perhaps closed."""
        self.shared.half_closed.add(self)

    def leave(self) -> None:
        """Drop this reader, because its client has left."""
        self.shared.leave(self)


class SharedStdout:
    """Gives each client a sink of its own on one stdout."""

    def __init__(self, loop: Loop, sink: Sink, *, lines: bool) -> None:
        """`lines`: clients send lines, not datagrams."""
        self.loop = loop
        self.sink = sink
        self.lines = lines
        self.shares: dict[Share, None] = {}
        self.busy = False
        self.free = Condition()

    def join(self, ended: Callable[[], None] = lambda: None) -> Share:
        """A sink for a new client. Its `send_eof` leaves stdout open, and calls `ended`."""
        share = Share(self, ended)
        self.shares[share] = None
        return share

    async def leave(self, share: Share) -> None:
        """A client has left: write its unfinished line, and that of the last client that remains, if only one does."""
        if share in self.shares:
            del self.shares[share]
            await share.flush()
            if len(self.shares) == 1:
                await next(iter(self.shares)).flush()

    async def write(self, data: Bytes) -> None:
        """Write all of `data`, with nothing of another client in between."""
        while self.busy:
            await self.loop.wait(self.free)
        self.busy = True
        try:
            await write_all(self.sink, data)
        finally:
            self.busy = False
            self.free.notify()


class Share(Sink):
    """One client's part of stdout."""

    __slots__ = ("below", "ended", "shared", "unfinished")

    def __init__(self, shared: SharedStdout, ended: Callable[[], None]) -> None:
        self.shared = shared
        self.below = shared.sink
        self.ended = ended
        self.unfinished = b""

    async def write(self, data: Bytes) -> int:
        """Write whole lines, and hold back the rest while other clients are there. Raises OutputError."""
        text = self.unfinished + data
        end = len(text)
        if self.shared.lines and len(self.shared.shares) > 1:
            end = text.rfind(b"\n") + 1
            if end == 0 and len(text) > min(HELD_LINE, HELD_LINES // len(self.shared.shares)):
                end = len(text)
        self.unfinished = text[end:]
        await self.shared.write(text[:end])
        return len(data)

    async def flush(self) -> None:
        """Write what is held back."""
        held, self.unfinished = self.unfinished, b""
        await self.shared.write(held)

    async def send_eof(self) -> None:
        """End this client's part: what it holds back is written, and stdout stays open."""
        self.ended()
        await self.shared.leave(self)
