"""A stdin that can be read only once, kept for clients each of which is to get all of it: a page that comes by a pipe.

Theory: what was read goes into a spool, which is memory at first, and for many clients an unnamed temporary file above
MEMORY bytes. Each client reads the spool at its own speed, so none has to wait for another. Stdin is read when a client
has read all that is kept and wants more: a client that comes early gets what is there and then what follows, as it
comes, and one that comes later gets the same bytes.

The spool has a limit: MEMORY bytes for one answer, and otherwise half of the space that is free where temporary files
are. Beyond it stdin is a stream: what still comes goes to the clients that are connected then (`shared_stdio.py`).
"""

from __future__ import annotations

import os

from pync.endpoints import CHUNK, Source
from pync.endpoints.file_source import FileSource
from pync.endpoints.shared_stdio import Reader, SharedStdin
from pync.errors import InputError, reason
from pync.loop.tasks import Condition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from pync.endpoints import Peer
    from pync.loop.kernel import Loop

MEMORY = 1 << 20  # bytes that are kept in memory


class Full(Exception):
    """No more can be kept: why, in words."""


class Spool:
    """The bytes that are kept. They are counted from the start of stdin."""

    def __init__(self, *, on_disk: bool) -> None:
        """`on_disk`: what is more than MEMORY bytes goes into a temporary file."""
        self.size = 0
        self.memory = bytearray()
        self.file: IO[bytes] | None = None
        self.on_disk = on_disk
        self.room = MEMORY

    def append(self, data: bytes) -> None:
        """Keep all of `data`. Raises Full, and then keeps none of it."""
        try:
            if self.on_disk and not self.file and self.size + len(data) > MEMORY:
                self._move_to_disk()
            if self.size + len(data) > self.room:
                raise Full("it is more than half of the space for temporary files")
            if self.file:
                _write(self.file.fileno(), data, self.size)
            else:
                self.memory += data
        except OSError as error:
            raise Full(reason(error)) from None
        self.size += len(data)

    def _move_to_disk(self) -> None:
        from tempfile import TemporaryFile

        file = TemporaryFile(buffering=0)  # noqa: SIM115 - it is open as long as the spool
        space = os.fstatvfs(file.fileno())
        _write(file.fileno(), self.memory, 0)
        self.file, self.room = file, max(MEMORY, space.f_bavail * space.f_frsize // 2)
        self.memory.clear()

    def read(self, position: int, stop: int | None) -> bytes:
        """What is kept from `position` on, at most CHUNK bytes, and none from `stop` on. Raises InputError."""
        end = min(self.size if stop is None else stop, position + CHUNK)
        if not self.file:
            return bytes(self.memory[position:end])
        try:
            return os.pread(self.file.fileno(), max(0, end - position), position)
        except OSError as error:
            raise InputError("reading stdin again", reason(error)) from None

    def close(self) -> None:
        """Drop what is kept."""
        self.memory.clear()
        if self.file:
            self.file.close()


def _write(fd: int, data: bytes | bytearray, position: int) -> None:
    """Write all of `data` into a file. Raises OSError."""
    rest = memoryview(data)
    while rest:
        count = os.pwrite(fd, rest, position)
        rest, position = rest[count:], position + count


class KeptStdin(SharedStdin):
    """Gives each client a source that begins at the start of stdin."""

    def __init__(self, loop: Loop, stdin: Source, full: Callable[[str], None], *, on_disk: bool) -> None:
        """`full` is called with the reason once no more can be kept; `on_disk` is as for the spool."""
        super().__init__(loop, stdin)
        self.source = stdin
        self.full = full
        self.spool = Spool(on_disk=on_disk)
        self.keeping = True  # stdin has not ended, and all that it gave is kept
        self.streaming = False  # more came than could be kept
        self.wanting: dict[KeptSource, None] = {}  # the clients that have read all that is kept
        self.wanted = Condition()  # notified when there is such a client

    def join(self, client: Peer) -> FileSource | Reader:
        """A source for a new client."""
        if self.start is not None:
            return super().join(client)
        reader = KeptSource(self, client, self.spool.size if self.streaming else 0)
        self.readers[reader] = None
        self.joined.notify()
        return reader

    async def run(self) -> None:
        """Read stdin for all clients until its end. Raises InputError."""
        while self.keeping and self.start is None:
            while not self.wanting:
                await self.loop.wait(self.wanted)
            self._keep(await self.source.read())
            wanting, self.wanting = self.wanting, {}
            for reader in wanting:
                reader.arrived.notify()
        if self.streaming:
            await super().run()

    def _keep(self, data: bytes | None) -> None:
        if data is None:
            self.keeping = False
            self.finish()
            return
        try:
            self.spool.append(data)
        except Full as full:
            self.keeping, self.streaming = False, True
            self.give(data)
            self.full(str(full))

    async def more(self, reader: KeptSource) -> None:
        """Wait until stdin has given more, or has ended."""
        self.wanting[reader] = None
        self.wanted.notify()
        try:
            await self.loop.wait(reader.arrived)
        finally:
            self.wanting.pop(reader, None)

    def leave(self, reader: Reader) -> None:
        """Drop the reader of a client that has left, and what is kept if no later client can have a use for it."""
        super().leave(reader)
        size = self.spool.size
        if self.streaming and not any((other.position or 0) < size for other in self.readers):
            self.spool.close()


class KeptSource(Reader):
    """One client's view: what is kept, from a position of its own, and then what its queue holds."""

    __slots__ = ("position", "start", "stop")
    shared: KeptStdin

    def __init__(self, shared: KeptStdin, client: Peer, start: int) -> None:
        super().__init__(shared, client)
        self.start = start
        self.position: int | None = start
        self.stop: int | None = None

    async def read(self) -> bytes | None:
        """The next bytes; None at the end of stdin, or at `stop`. Raises InputError."""
        await self.shared.loop.sleep(0)  # what is kept is always ready, so this gives the other clients their turn
        while True:
            position = self.position or 0
            if position < self.shared.spool.size and (data := self.shared.spool.read(position, self.stop)):
                self.position = position + len(data)
                return data
            if self.stop is not None:
                return None
            if not self.shared.keeping:
                return await super().read()
            await self.shared.more(self)

    async def begin(self) -> tuple[bytes, bool]:
        """The first bytes, and whether they are all. Raises InputError."""
        data = await self.read() or b""
        return data, self.position == self.length()

    def length(self) -> int | None:
        """How much stdin has given, once it has ended and all of it is kept."""
        return self.shared.spool.size if self.shared.ended and not self.shared.streaming else None

    def rest(self, first: bytes, start: int, stop: int | None) -> Source:
        """A source of a part, the bytes from `start` up to `stop`, once `begin` has returned `first`."""
        if self.start:  # this client came too late for what is kept
            return super().rest(first, start, stop)
        self.position, self.stop = start, stop
        return self

    async def read_ahead(self) -> None:
        """Have stdin read before this client takes it. Returns once all that MEMORY holds waits for the client."""
        while self.shared.keeping and self.shared.spool.size < MEMORY:
            await self.shared.more(self)
        if self.shared.ended:
            await super().read_ahead()

    def raw(self) -> int | None:
        """The descriptor of the temporary file, once it holds all that the client still gets."""
        file = self.shared.spool.file
        return file.fileno() if file and self.stop is not None else None

    def failed(self, error: OSError) -> InputError:
        """The exception for an error of that file."""
        return InputError("reading stdin again", reason(error))

    def advance(self, count: int) -> None:
        """Take note that the kernel has moved `count` bytes from `position` on."""
        self.position = (self.position or 0) + count

    def unread(self) -> int:
        """Bytes that wait for this client."""
        end = self.shared.spool.size if self.stop is None else self.stop
        return max(0, end - (self.position or 0)) + self.size
