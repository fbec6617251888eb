"""stdin and stdout shared by many clients.

Theory. A regular file is read by each client for itself, from where it stood when we started. Anything else is read
once, while somebody is there to get it, and each chunk goes to all who are connected then, through a queue for each
(`queues.py`): who is slow slows the reading down, and who takes nothing is cut off.

On stdout what clients send is not mixed within a line: while there are several, the unfinished last line of a read is
held until its end comes, the client leaves, or it is longer than a line may be expected to be.
"""

from __future__ import annotations

import os

from pync.endpoints import Half, write_all
from pync.endpoints.client_queues import Queue, Queues
from pync.endpoints.stdio import STDIN, FileSource, is_regular
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pync.endpoints import Bytes, Sink, Source
    from pync.endpoints.streams import Stream
    from pync.loop.kernel import Loop

LONGEST_LINE = 1 << 16  # bytes of an unfinished line that are held back


class SharedStdin:
    """Gives each client a source of its own."""

    def __init__(self, loop: Loop, stdin: Source) -> None:
        self.loop = loop
        self.stdin = stdin
        self.start = os.lseek(STDIN, 0, os.SEEK_CUR) if is_regular(STDIN) else None
        self.readers: dict[Reader, None] = {}
        self.queues = Queues(loop)
        self.joined = Condition()
        self.over = False

    def join(self, far: Stream | None = None) -> Source:
        """A source for a new client, which is at the other end of `far`."""
        if self.start is not None:
            return FileSource(self.loop, STDIN, self.start)
        reader = Reader(self, far)
        self.readers[reader] = None
        self.joined.notify()
        return reader

    def leave(self, source: Source | None) -> None:
        """The client has gone."""
        if isinstance(source, Reader):
            self.readers.pop(source, None)
            self.queues.discard(source)

    async def run(self) -> None:
        """Read stdin for all, as long as it lasts (a regular file needs no such help). Raises InputError."""
        while self.start is None:
            await self._somebody()
            data = await self.stdin.read()
            if data is None:
                break
            await self._somebody()  # all may have left meanwhile: it is for the next who comes
            for reader in self.readers:
                reader.put(data)
            await self.queues.room()
        self.over = True
        for reader in self.readers:
            reader.arrived.notify()

    async def _somebody(self) -> None:
        while not self.readers:
            await self.loop.wait(self.joined)


class Reader(Queue, Half):
    """One client's view of a stdin that all share."""

    __slots__ = ("_given_up", "arrived", "shared")

    def __init__(self, shared: SharedStdin, far: Stream | None) -> None:
        super().__init__(shared.queues, far)
        self.shared = shared
        self.arrived = Condition()
        self._given_up: Condition | None = None

    @property
    def given_up(self) -> Condition:
        """Fires when the client blocks the others. Made when somebody asks: a silent client has no use for it."""
        if self._given_up is None:
            self._given_up = Condition()
        return self._given_up

    def give_up(self) -> None:
        """The client gets nothing more."""
        self.shared.readers.pop(self, None)
        self.given_up.notify()

    def put(self, data: Bytes) -> None:
        """Queue what was read."""
        super().put(data)
        self.arrived.notify()

    def over(self) -> bool:
        """Whether stdin is over, and all of it was read."""
        return self.shared.over and not self.pieces

    async def read(self) -> bytes | None:
        """The next chunk; None when stdin is over."""
        while not self.pieces:
            if self.over():
                return None
            await self.shared.loop.wait(self.arrived)
        data = bytes(self.pieces[0])  # as it is: no copy is made of bytes
        self.drop(len(data))
        return data

    def unread(self) -> int:
        """Bytes that wait for this client."""
        return self.size


class SharedStdout:
    """Gives each client a sink of its own on one stdout."""

    def __init__(self, loop: Loop, sink: Sink, *, lines: bool) -> None:
        """`lines`: what clients send are lines, not datagrams."""
        self.loop = loop
        self.sink = sink
        self.lines = lines
        self.shares: dict[Share, None] = {}
        self.busy = False
        self.free = Condition()

    def join(self) -> Share:
        """A sink for a new client; its `send_eof` leaves stdout open."""
        share = Share(self)
        self.shares[share] = None
        return share

    async def leave(self, share: Share) -> None:
        """The client is gone: what it left unfinished is written, and what another held back because of it."""
        if share in self.shares:
            del self.shares[share]
            await share.flush()
            if len(self.shares) == 1:
                await next(iter(self.shares)).flush()

    async def write(self, data: Bytes) -> None:
        """Write all of `data` without anything of another client in between."""
        while self.busy:
            await self.loop.wait(self.free)
        self.busy = True
        try:
            await write_all(self.sink, data)
        finally:
            self.busy = False
            self.free.notify()


class Share(Half):
    """One client's part of stdout."""

    __slots__ = ("shared", "unfinished")

    def __init__(self, shared: SharedStdout) -> None:
        self.shared = shared
        self.unfinished = b""

    async def write(self, data: Bytes) -> int:
        """Write whole lines; the rest is held while other clients are there."""
        text = self.unfinished + data
        end = len(text)
        if self.shared.lines and len(self.shared.shares) > 1:
            end = text.rfind(b"\n") + 1
            if end == 0 and len(text) > LONGEST_LINE:
                end = len(text)
        self.unfinished = text[end:]
        await self.shared.write(text[:end])
        return len(data)

    async def flush(self) -> None:
        """Write what is held back."""
        held, self.unfinished = self.unfinished, b""
        await self.shared.write(held)

    async def send_eof(self) -> None:
        """This client will write no more."""
        await self.shared.leave(self)
